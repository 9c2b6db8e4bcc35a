"""The canonical data set: Parquet that ``datasets.load_dataset`` reads, and ``divsal.json`` beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from divsal_bench.contracts.adapter import SaliencyKind, SourceTerms, Split
from divsal_bench.data.fingerprint import RowIdentity, bytes_digest
from divsal_bench.data.spelling import LONGEST_NAME
from divsal_bench.errors import UserError
from divsal_bench.files import foreign, parquet

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq

SCHEMA_VERSION = 1
INFO_FILE = "divsal.json"
SPLITS: tuple[Split, ...] = get_args(Split)
SALIENCY_KINDS: tuple[SaliencyKind, ...] = get_args(SaliencyKind)
#: More than any data set here: rows in all, and parts of a split from one source.
MOST_ROWS, MOST_COUNTS = 5_000_000, 20_000
#: What the rows of a file may unpack to, beside so many bytes for each of its own; uncompressed pictures shrink most.
MOST_OTHER_BYTES, MOST_BYTES_A_BYTE = 2**24, 64
#: No image has fewer bytes than this, however well it is packed; and rows that a small file may have all the same.
LEAST_BYTES_A_ROW, MOST_OTHER_ROWS = 8, 1_000
#: Rows that are read at once, and bytes that they may take.
MOST_AT_ONCE, BATCH_BYTES = 16, 2**28
#: Rows without their pictures that are read where one with them would be.
LIGHTER = 64
#: The columns of texts.
SHARED = ("sample_id", "saliency_kind", "source", "category", "subject")
#: Columns of the tables that hold a data set's rows without its images.
COLUMNS = ("sample_id", "split", "label", "source", "category", "subject", "saliency_kind", "has_map")
#: Called with (rows done, all rows).
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of a canonical data set, with the bytes of its files.

    They are those delivered, or 8-bit PNGs where a source's reading was told or found (see
    :mod:`divsal_bench.data.reading`).

    Attributes:
        blank: Whether its map has the same value everywhere, and so counts as none; not stored.
    """

    sample_id: str
    split: Split
    label: int
    source: str
    category: str
    subject: str
    image: bytes
    saliency: bytes | None
    saliency_kind: SaliencyKind
    blank: bool = False

    def identity(self) -> RowIdentity:
        """Return what of the row counts for the fingerprint."""
        return RowIdentity(
            self.sample_id,
            self.split,
            self.label,
            self.source,
            self.category,
            self.subject,
            bytes_digest(self.image),
            bytes_digest(self.saliency),
        )


@dataclass(frozen=True)
class Count:
    """How many rows a split has from one source, and how many of them carry a map that is not blank."""

    split: Split
    source: str
    negatives: int
    positives: int
    maps: int


@dataclass(frozen=True)
class Info:
    """What ``divsal.json`` says.

    Attributes:
        schema_version: :data:`SCHEMA_VERSION` of the program that wrote it.
        sources: What each source allows.
        files: Parquet file, relative to the folder, to its size in bytes.
        notices: What was left out or is unusual.
        readings: Source to how its files were read; sources whose files are kept as delivered are left out.
    """

    schema_version: int
    task: str
    class_names: tuple[str, str]
    adapter: str
    fingerprint: str
    sources: dict[str, SourceTerms]
    counts: tuple[Count, ...]
    files: dict[str, int]
    notices: tuple[str, ...]
    readings: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of rows over all splits."""
        return sum(count.negatives + count.positives for count in self.counts)


def canonical_features(class_names: tuple[str, str]) -> datasets.Features:
    """Return the schema of a canonical data set."""
    from datasets import ClassLabel, Features, Image, Value

    return Features(
        {
            "sample_id": Value("string"),
            "image": Image(),
            "label": ClassLabel(names=list(class_names)),
            "saliency": Image(),
            "saliency_kind": Value("string"),
            "source": Value("string"),
            "category": Value("string"),
            "subject": Value("string"),
        }
    )


def is_prepared(folder: Path) -> bool:
    """Tell whether a folder looks like a prepared data set (it may still be damaged)."""
    return (folder / INFO_FILE).is_file()


def read_info(folder: Path) -> Info:
    """Read ``divsal.json`` and compare the files it lists with those on the disk, by size.

    Raises:
        UserError: It is not a prepared data set, a newer program wrote it, or files are missing or changed.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    path = folder / INFO_FILE
    if not path.is_file():
        raise UserError(
            f"{folder} is not a prepared data set (no {INFO_FILE}); make one with divsal-bench data prepare"
        )
    info = parse_info(path)
    for name, size in info.files.items():
        file = folder / name
        if not file.is_file():
            raise UserError(f"{folder} is damaged: {name} is missing; prepare it again with --force")
        if file.stat().st_size != size:
            raise UserError(f"{file} was changed after preparing; prepare the data again with --force")
    return info


def parse_info(path: Path) -> Info:
    """Read one ``divsal.json``, perhaps anybody's, and check its types; UserError if it is not valid or newer."""
    from pydantic import TypeAdapter, ValidationError

    try:
        raw: Any = foreign.read_json(path)
        version = raw["schema_version"]
        if not isinstance(version, int):
            raise ValueError(f"its schema_version is {version!r}"[:100])
        if version > SCHEMA_VERSION:
            raise UserError(f"{path} was written by a newer divsal-bench (schema {version}); upgrade this one")
        info = TypeAdapter(Info).validate_python(raw)
        if len(info.counts) > MOST_COUNTS or not 0 <= info.rows <= MOST_ROWS:
            raise ValueError(f"it counts {info.rows:,} rows in {len(info.counts):,} parts")
        if len(set(info.class_names)) != 2 or not all(0 < len(name) <= LONGEST_NAME for name in info.class_names):
            raise ValueError("its classes have no two names")
    except (OSError, ValueError, TypeError, KeyError, ValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} cannot be read ({reason}); prepare the data again with --force") from error
    if any(Path(name).is_absolute() or ".." in Path(name).parts for name in info.files):
        raise UserError(f"{path} names files outside its folder; do not use this data set")
    return info


def read_samples(folder: Path, info: Info) -> Iterator[Sample]:
    """The rows of a prepared data set, file by file; UserError if one is damaged or has other columns."""
    for name in info.files:
        yield from read_shard(folder / name, info)


def read_shard(path: Path, info: Info) -> Iterator[Sample]:
    """Read the rows of one Parquet file of a prepared data set.

    Args:
        path: The file; its name begins with its split.

    Raises:
        UserError: The file is damaged or has other columns.
    """
    for split, row in _columns_of(path, info, pictures=True):
        yield _sample_of_row(row, split)


def read_rows(folder: Path, info: Info) -> list[tuple[Any, ...]]:
    """The rows of a prepared data set without its pictures: columns :data:`COLUMNS`.

    What ``has_map`` says is whether the row comes with a map, which may be blank.

    Raises:
        UserError: As :func:`read_shard`, or a row lacks a value.
    """
    found = []
    for name in info.files:
        for split, row in _columns_of(folder / name, info, pictures=False):
            sample = Sample(split=split, image=b"", **(row | {"saliency": None}))
            wrong = value_problem(sample)
            if wrong:
                raise UserError(f"{folder}: sample {sample.sample_id!r}: {wrong}; see divsal-bench data check")
            texts = (sample.source, sample.category, sample.subject, sample.saliency_kind)
            found.append((sample.sample_id, split, sample.label, *texts, row["saliency"] is not None))
    return found


def _columns_of(path: Path, info: Info, pictures: bool) -> Iterator[tuple[Split, dict[str, Any]]]:
    """The values of one Parquet file, row by row, and its split."""
    import pyarrow as pa

    schema = canonical_features(info.class_names).arrow_schema
    split = next((split for split in SPLITS if path.name.startswith(f"{split}-")), None)
    if split is None:
        raise UserError(f"{path} belongs to no split; its name must begin with one of {', '.join(SPLITS)}")
    try:
        with parquet.open_parquet(path) as file:
            if not file.schema_arrow.equals(schema):
                raise UserError(f"{path} has other columns or types than {', '.join(schema.names)}")
            step = _batch_size(path, file.metadata)
        # Whether there is a map shows in a small part of it.
        columns = schema.names if pictures else [*SHARED, "label", "saliency.path"]
        step *= 1 if pictures else LIGHTER
        left = _most_bytes(path)
        # A text that many rows share is one in the file: it is measured before it is copied to them.
        with parquet.open_parquet(path, SHARED) as file:
            for batch in file.iter_batches(batch_size=step, columns=columns):
                left -= _unpacked(batch)
                if left < 0:
                    raise ValueError(f"its rows unpack to more than {_most_bytes(path):,} bytes")
                for row in batch.to_pylist():
                    yield split, row
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(
            f"{path} is damaged ({foreign.why_unread(error)}); prepare the data again with --force"
        ) from error


def _most_bytes(path: Path) -> int:
    """Bytes that the rows of a file may take: images are compressed already, so that they hardly grow."""
    return MOST_OTHER_BYTES + MOST_BYTES_A_BYTE * path.stat().st_size


def _batch_size(path: Path, header: pq.FileMetaData) -> int:
    """Rows to read at a time, by what the file says of itself; ValueError if that is more than images can hold."""
    rows, size = int(header.num_rows), path.stat().st_size
    most = MOST_OTHER_ROWS + size // LEAST_BYTES_A_ROW
    if not 0 <= rows <= min(most, MOST_ROWS):
        raise ValueError(f"it has {rows:,} rows in {size:,} bytes")
    groups = parquet.group_sizes(header)
    parquet.check_unpacked(sum(groups), _most_bytes(path))
    return max(1, min(MOST_AT_ONCE, BATCH_BYTES // max([1, *groups])))


def _unpacked(batch: pa.RecordBatch) -> int:
    """Bytes of the values of a batch once each row has its own; of the texts, as if each were the longest."""
    size = sum(int(batch.column(name).nbytes) for name in batch.schema.names if name not in SHARED)
    return size + len(batch) * sum(parquet.longest_text(batch.column(name)) for name in SHARED)


def value_problem(sample: Sample) -> str:
    """What no row may have, in words; "" where all is well.

    The types say otherwise, but the file may come from anybody.
    """
    texts = (sample.sample_id, sample.source, sample.category, sample.subject, sample.saliency_kind)
    if any(text is None for text in texts) or sample.label not in (0, 1):
        return f"a value is missing, or the label {sample.label} is neither 0 nor 1"
    return ""


def _sample_of_row(row: dict[str, Any], split: Split) -> Sample:
    row["image"] = (row["image"] or {}).get("bytes") or b""
    row["saliency"] = row["saliency"] and row["saliency"]["bytes"]
    return Sample(split=split, **row)
