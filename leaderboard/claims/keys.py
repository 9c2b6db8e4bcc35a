"""Published keys: salted hashes of sample and subject ids, and the two kinds of Parquet file that use them.

``key.parquet`` says once for a data set what each row is; ``<method>.parquet`` holds a method's margins.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from divsal_bench.errors import UserError
from divsal_bench.files import parquet
from divsal_bench.files.foreign import RefusedError, why_unread
from divsal_bench.leaderboard.sheets.entries import ROW_COLUMNS

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Margins = npt.NDArray[np.float32]
#: Hexadecimal digits of a published key.
DIGITS = 16
#: A margins file may be this large, or this large for each row, whichever is more.
MOST_BYTES, MOST_BYTES_A_ROW = 500_000, 60
#: Longest text of a cell, bytes.
MOST_TEXT = 400
AXES = {"test": ("in-domain", "source", "category"), "validation": ("",)}


def hashed(value: str, fingerprint: str, what: str) -> str:
    """The published key of one id: the same for everybody who has the same data, and no way back to the id.

    Args:
        value: A sample's or a subject's id.
        fingerprint: Of the data, 64 digits: the salt.
        what: ``sample`` or ``subject``; a subject called like a sample gets another key.
    """
    return hashlib.sha256(json.dumps([fingerprint, what, value]).encode()).hexdigest()[:DIGITS]


def published(rows: pd.DataFrame, fingerprint: str) -> pd.DataFrame:
    """Replace ids by keys.

    Args:
        rows: Columns :data:`divsal_bench.leaderboard.sheets.entries.ROW_COLUMNS`, ``key`` being the sample's id.

    Returns:
        The same columns, sorted by the new key.

    Raises:
        UserError: Two ids give one key.
    """
    content = rows[list(ROW_COLUMNS)].astype({"label": "int8"})
    for column, what in (("key", "sample"), ("subject", "subject")):
        keys = {value: hashed(str(value), fingerprint, what) for value in content[column].unique()}
        if len(set(keys.values())) < len(keys):
            raise UserError(f"two {what} ids of the data {fingerprint[:8]} give the same key; rename one of them")
        content = content.assign(**{column: content[column].map(keys)})
    return content.sort_values("key", ignore_index=True)


def are_same_rows(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """Whether two tables hold the same rows in the same order, whatever the types that files give their columns."""
    return all(first[name].tolist() == second[name].tolist() for name in ROW_COLUMNS)


def key_bytes(rows: pd.DataFrame) -> bytes:
    """``key.parquet`` of published rows."""
    import pyarrow as pa

    columns = {
        name: pa.array(rows[name].tolist(), pa.int8() if name == "label" else pa.string()) for name in ROW_COLUMNS
    }
    return parquet_bytes(pa.table(columns), column_encoding=None)


def margin_bytes(keys: Sequence[str], seeds: Sequence[int], margins: Margins) -> bytes:
    """``<method>.parquet``: a column ``key`` and for each seed a column of float32 margins.

    Args:
        keys: N, ascending.
        seeds: n.
        margins: (n, N).

    Raises:
        UserError: It is larger than an accepted file may be.
    """
    import pyarrow as pa

    names = [f"seed{seed}" for seed in seeds]
    table = pa.table({"key": pa.array(keys, pa.string()), **dict(zip(names, margins, strict=True))})
    # Floats compress when their bytes are stored by significance.
    content = parquet_bytes(table, column_encoding={"key": "PLAIN", **dict.fromkeys(names, "BYTE_STREAM_SPLIT")})
    if len(content) > limit(len(keys)):
        raise UserError(
            f"the margins of {len(seeds)} seeds on {len(keys):,} rows need {len(content):,} bytes, "
            f"{limit(len(keys)):,} are allowed; submit fewer seeds"
        )
    return content


def limit(rows: int) -> int:
    """Largest size of a margins file, bytes."""
    return max(MOST_BYTES, MOST_BYTES_A_ROW * rows)


def parquet_bytes(table: pa.Table, column_encoding: dict[str, str] | None) -> bytes:
    """A Parquet file's bytes: the same for the same content and the same version of pyarrow."""
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(
        table, sink, compression="zstd", compression_level=9, use_dictionary=column_encoding is None,
        column_encoding=column_encoding, store_schema=False, row_group_size=max(1, len(table)),
    )  # fmt: skip
    return sink.getvalue()


def read_exactly(path: Path, content: bytes, columns: dict[str, str], rows: int | None = None) -> pa.Table:
    """Read a small Parquet file from outside.

    Args:
        columns: Exactly its columns, to their Arrow types.
        rows: How many it must have.

    Raises:
        UserError: It is damaged, or holds something else.
    """
    import pyarrow as pa

    form = parquet.Form(
        columns={name: (kind,) for name, kind in columns.items()},
        most_bytes=lambda rows, size: parquet.MOST_HEADER + MOST_TEXT * len(columns) * rows,
        alone=True,
        rows=rows,
        longest_text=MOST_TEXT,
    )
    try:
        return parquet.read_table(content, form)
    except RefusedError as error:
        raise UserError(f"{path} {error}; submit it again") from None
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(f"{path} is damaged ({why_unread(error)}); submit it again") from error


def parse_keys(path: Path, content: bytes) -> pd.DataFrame:
    """Read ``key.parquet``.

    Returns:
        Columns :data:`divsal_bench.leaderboard.sheets.entries.ROW_COLUMNS`, sorted by key; label is int64.

    Raises:
        UserError: It is damaged or its content impossible.
    """
    import pandas as pd

    schema = {name: "int8" if name == "label" else "string" for name in ROW_COLUMNS}
    table = read_exactly(path, content, schema)
    if any(column.null_count for column in table.columns):
        raise UserError(f"{path} has empty cells; submit the data set's results again")
    rows = pd.DataFrame({name: table[name].to_numpy(zero_copy_only=False) for name in ROW_COLUMNS})
    rows = rows.astype({name: "int64" if name == "label" else object for name in ROW_COLUMNS})
    keys = rows["key"].tolist()
    problems = {
        "a key that is not 16 hexadecimal digits": not all(map(is_key, {*keys, *rows["subject"]})),
        "keys that are not ascending": keys != sorted(set(keys)),
        "a label other than 0 and 1": not rows["label"].isin((0, 1)).all(),
        "a split other than validation and test": not rows["split"].isin(AXES).all(),
        "no test rows": not (rows["split"] == "test").any(),
        "no negative validation rows": not ((rows["split"] == "validation") & (rows["label"] == 0)).any(),
    }
    for split, axes in AXES.items():
        here = rows.loc[rows["split"] == split, "condition_axis"]
        problems[f"a condition_axis that {split} rows cannot have"] = not here.isin(axes).all()
    for problem, found in problems.items():
        if found:
            raise UserError(f"{path} has {problem}; submit the data set's results again")
    return rows


def check_no_copies(where: object, seeds: Sequence[int], margins: Margins) -> None:
    """Refuse two seeds with the same margins on every row: one is a copy, and tells nothing new.

    Args:
        seeds: n, of the claim, of its reproduction, or of both.
        margins: (n, N) of them.

    Raises:
        UserError: Two seeds are the same.
    """
    seen: dict[bytes, int] = {}
    for seed, values in zip(seeds, margins, strict=True):
        # Adding 0 makes one zero of both.
        earlier = seen.setdefault((values + np.float32(0)).tobytes(), seed)
        if earlier != seed:
            raise UserError(
                f"{where}: seeds {earlier} and {seed} have the same margins on all {len(values):,} rows; each seed "
                "must be trained, leave one out"
            )


def is_key(text: Any) -> bool:
    """Whether a text is what :func:`hashed` gives."""
    return isinstance(text, str) and len(text) == DIGITS and not set(text) - set("0123456789abcdef")


def parse_margins(path: Path, content: bytes, seeds: Sequence[int], keys: Sequence[str]) -> Margins:
    """Read ``<method>.parquet``.

    Args:
        seeds: Those it must hold, n.
        keys: Those of ``key.parquet``, N.

    Returns:
        (n, N), finite.

    Raises:
        UserError: It is damaged, too large, has other seeds or rows, scores that are not finite, or a seed twice.
    """
    if len(content) > limit(len(keys)):
        raise UserError(f"{path} has {len(content):,} bytes, {limit(len(keys)):,} are allowed; submit fewer seeds")
    schema = {"key": "string", **{f"seed{seed}": "float" for seed in seeds}}
    table = read_exactly(path, content, schema, len(keys))
    if table["key"].to_pylist() != list(keys):
        raise UserError(f"{path} was scored on other rows than the data set's key.parquet lists; submit it again")
    values = np.empty((len(seeds), len(keys)), np.float32)
    for row, seed in zip(values, seeds, strict=True):
        column = table[f"seed{seed}"]
        row[:] = column.to_numpy() if not column.null_count else np.nan
        if not np.isfinite(row).all():
            raise UserError(f"{path} has scores of seed {seed} that are missing or not finite; leave that seed out")
    check_no_copies(path, seeds, values)
    return values
