"""Parquet files of anybody: the header is looked at before the content, and a text before it is copied to many rows."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.files.foreign import RefusedError, open_regular

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

#: More rows than any data set here, and bytes in memory of a file's header.
MOST_ROWS, MOST_HEADER = 2_000_000, 1_000_000
#: What a cell takes in a table, beside a text's own bytes.
BYTES_A_CELL = 8
#: Arrow's names of the types of texts.
TEXT_TYPES = ("string", "large_string")


@dataclass(frozen=True)
class Form:
    """What a file must be.

    Attributes:
        columns: Name to the Arrow types it may have, the usual one first.
        most_bytes: Rows and bytes of the file to the bytes that it may take in memory.
        alone: Whether no other columns may stand beside.
        rows: How many it must have; None leaves that open.
        longest_text: Bytes of one text; None leaves that open.
        filled: Columns that have no empty cells.
    """

    columns: Mapping[str, Sequence[str]]
    most_bytes: Callable[[int, int], int]
    alone: bool = False
    rows: int | None = None
    longest_text: int | None = None
    filled: Sequence[str] = ()

    @property
    def texts(self) -> list[str]:
        """Names of the columns that hold texts."""
        return [name for name, kinds in self.columns.items() if kinds[0] in TEXT_TYPES]


@contextmanager
def open_parquet(source: Path | bytes, shared: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file.

    Args:
        source: The file, or its bytes.
        shared: Columns to read as dictionaries: a text that a million rows share is one there, as in the file.

    Raises:
        OSError, ValueError, pyarrow.ArrowException: It is no regular file or no Parquet, or cannot be read.
    """
    import pyarrow.parquet as pq

    if isinstance(source, bytes):
        with pq.ParquetFile(io.BytesIO(source), read_dictionary=[*shared]) as file:
            yield file
        return
    with open_regular(source) as handle, pq.ParquetFile(handle, read_dictionary=[*shared]) as file:
        yield file


def read_table(source: Path | bytes, form: Form) -> pa.Table:
    """Read a file whole.

    Returns:
        The columns of the form, in its order, with the types that the file has.

    Raises:
        OSError, ValueError, pyarrow.ArrowException: It cannot be read, or has another form.
    """
    import pyarrow as pa

    with open_parquet(source) as file:
        kinds = column_types(file.schema_arrow, form)
        rows = int(file.metadata.num_rows)
        if form.rows is not None and rows != form.rows:
            raise RefusedError(f"has {rows:,} rows, {form.rows} belong there")
        if not 0 <= rows <= MOST_ROWS:
            raise RefusedError(f"has {rows:,} rows, {MOST_ROWS:,} are allowed")
        most = form.most_bytes(rows, len(source) if isinstance(source, bytes) else source.stat().st_size)
        cells = BYTES_A_CELL * len(form.columns) * rows
        check_unpacked(max(sum(group_sizes(file.metadata)), cells), most)
    with open_parquet(source, form.texts) as file:
        table = file.read(columns=list(form.columns)).select(list(form.columns))
    if len(table) != rows:
        raise ValueError("its header counts other rows")
    table.validate(full=True)
    for name in form.filled:
        if table[name].null_count:
            raise ValueError(f"column {name!r} has empty cells")
    check_texts(table, form, most - cells)
    # By way of string: there is no direct way from a dictionary to every kind of text.
    table = table.cast(pa.schema([(name, pa.string() if name in form.texts else kinds[name]) for name in kinds]))
    return table.cast(pa.schema(list(kinds.items())))


def check_texts(table: pa.Table, form: Form, most: int) -> None:
    """Refuse texts that are too long, or take too much once each row has its own."""
    chunks = [(name, chunk) for name in form.texts for chunk in table[name].chunks]
    for name, chunk in chunks:
        longest = longest_text(chunk)
        if form.longest_text is not None and longest > form.longest_text:
            raise RefusedError(f"has a {name} of {longest:,} bytes, {form.longest_text} are allowed")
    size = sum(size_of_texts(chunk) for _, chunk in chunks)
    if size > most:
        raise ValueError(f"its texts take {size:,} bytes, {most:,} are allowed")


def column_types(schema: pa.Schema, form: Form) -> dict[str, pa.DataType]:
    """The types of a form's columns in a file.

    Raises:
        ValueError: One is missing or of another type, or there are others where none may be.
    """
    if form.alone:
        stated, expected = ({(field.name, str(field.type)) for field in schema},
                            {(name, kinds[0]) for name, kinds in form.columns.items()})  # fmt: skip
        if stated != expected or len(schema) != len(expected):
            raise RefusedError(f"has other columns or types than it should: {sorted(stated ^ expected)[:4]}")
    found = {}
    for name, kinds in form.columns.items():
        places = schema.get_all_field_indices(name)
        if len(places) != 1:
            raise RefusedError(f"has {'no' if not places else 'more than one'} column {name!r}")
        found[name] = schema.field(places[0]).type
        if str(found[name]) not in kinds:
            raise ValueError(f"column {name!r} holds {str(found[name])[:60]}, {kinds[0]} belongs there")
    return found


def group_sizes(header: pq.FileMetaData) -> list[int]:
    """Bytes of each group of rows without compression, by the file's header.

    The groups' own sums are read, not the columns': pyarrow ends the process on a column with damaged statistics.
    """
    return [abs(int(header.row_group(number).total_byte_size)) for number in range(header.num_row_groups)]


def check_unpacked(unpacked: int, most: int) -> None:
    """Refuse a file that takes more memory than it may."""
    if unpacked > most:
        raise RefusedError(f"unpacks to {unpacked:,} bytes, {most:,} are allowed")


def longest_text(texts: pa.DictionaryArray) -> int:
    """Bytes of the longest text."""
    import pyarrow.compute as pc

    return int(pc.max(pc.binary_length(texts.dictionary)).as_py() or 0)


def size_of_texts(texts: pa.DictionaryArray) -> int:
    """Bytes of all texts once each row has its own."""
    import pyarrow.compute as pc

    return int(pc.sum(pc.take(pc.binary_length(texts.dictionary), texts.indices)).as_py() or 0)
