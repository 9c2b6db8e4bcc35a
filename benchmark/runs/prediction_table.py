"""predictions.parquet: its columns, its bounds, and how it is read from anybody."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


#: Columns of predictions.parquet, as divsal_bench.evaluation.predictions.predictions describes them.
PREDICTION_TEXTS = ("sample_id", "split", "source", "category", "subject", "condition", "condition_axis")


PREDICTION_NUMBERS = (
    "logit0", "logit1",
    "true_pe", "true_lift", "true_auc", "true_cc", "true_empty",
    "difference_pe", "difference_lift", "difference_auc", "difference_cc", "difference_empty",
)  # fmt: skip


PREDICTIONS = (*PREDICTION_TEXTS[:2], "label", *PREDICTION_TEXTS[2:], *PREDICTION_NUMBERS)


#: More rows than any data set here, and bytes in memory: of a file's header, for each row, and for each byte on disk.
#: Ids and margins differ from row to row, so that a file which unpacks to far more than itself holds none.
MOST_ROWS, MOST_HEADER, MOST_BYTES_A_ROW, MOST_BYTES_A_BYTE = 2_000_000, 1_000_000, 600, 200


#: What a cell takes in a DataFrame, beside a text's own bytes.
BYTES_A_CELL = 8


def read_predictions(path: Path) -> pa.Table:
    """Read predictions.parquet, looking at its header before its content.

    Returns:
        The columns :data:`PREDICTIONS`, in this order.

    Raises:
        OSError, ValueError, KeyError, pyarrow.ArrowException: It cannot be read, or holds something else.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.exists() and not path.is_file():
        raise ValueError("it is not a regular file")
    with pq.ParquetFile(path) as file:
        kinds = prediction_types(file.schema_arrow)
        most = memory_limit(path, file.metadata)
        rows = file.metadata.num_rows
    # A long text that a million rows share is one in the file: it is measured before it is copied to them.
    with pq.ParquetFile(path, read_dictionary=list(PREDICTION_TEXTS)) as file:
        table = file.read(columns=list(PREDICTIONS)).select(PREDICTIONS)
    if len(table) != rows:
        raise ValueError("its header counts other rows")
    table.validate(full=True)
    require_text(table, most - BYTES_A_CELL * len(PREDICTIONS) * rows)
    # By way of string: there is no direct way from a dictionary to every kind of text.
    table = table.cast(pa.schema([(name, pa.string() if name in PREDICTION_TEXTS else kinds[name]) for name in kinds]))
    return table.cast(pa.schema(list(kinds.items())))


def prediction_types(schema: pa.Schema) -> dict[str, pa.DataType]:
    """The types of the columns :data:`PREDICTIONS`; others may stand beside them.

    Raises:
        ValueError: One is missing or of another type.
    """
    expected: dict[str, tuple[str, ...]] = {"label": ("int64",)}
    expected.update(dict.fromkeys(PREDICTION_NUMBERS, ("double",)))
    expected.update(dict.fromkeys(PREDICTION_TEXTS, ("string", "large_string")))
    found = {}
    for name in PREDICTIONS:
        places = schema.get_all_field_indices(name)
        if len(places) != 1:
            raise ValueError(f"it has {'no' if not places else 'more than one'} column {name!r}")
        found[name] = schema.field(places[0]).type
        if str(found[name]) not in expected[name]:
            raise ValueError(f"column {name!r} holds {str(found[name])[:60]}, {expected[name][0]} belongs there")
    return found


def memory_limit(path: Path, header: pq.FileMetaData) -> int:
    """Bytes that a file of this size and so many rows may take.

    Raises:
        ValueError: By its header alone it takes more.
    """
    rows = int(header.num_rows)
    if not 0 <= rows <= MOST_ROWS:
        raise ValueError(f"it has {rows:,} rows, {MOST_ROWS:,} are allowed")
    most = MOST_HEADER + min(MOST_BYTES_A_ROW * rows, MOST_BYTES_A_BYTE * path.stat().st_size)
    # The groups' own sums are read, not the columns': pyarrow ends the process on a column with damaged statistics.
    pages = sum(abs(int(header.row_group(i).total_byte_size)) for i in range(header.num_row_groups))
    unpacked = max(pages, BYTES_A_CELL * len(PREDICTIONS) * rows)
    if unpacked > most:
        raise ValueError(f"it unpacks to {unpacked:,} bytes, {most:,} are allowed")
    return most


def require_text(table: pa.Table, most: int) -> None:
    """Refuse predictions with empty cells where none can be, or whose texts take too much once each row has its own.

    Raises:
        ValueError: They do.
    """
    import pyarrow.compute as pc

    for name in (*PREDICTION_TEXTS, "label"):
        if table[name].null_count:
            raise ValueError(f"column {name!r} has empty cells")
    size = 0
    for name in PREDICTION_TEXTS:
        for chunk in table[name].chunks:
            size += pc.sum(pc.take(pc.binary_length(chunk.dictionary), chunk.indices)).as_py() or 0
    if size > most:
        raise ValueError(f"its texts take {size:,} bytes, {most:,} are allowed")


def table_problem(rows: int, size: int) -> str:
    """Why predictions.parquet could not hold some rows; "" if it can.

    Args:
        rows: Validation and test rows.
        size: Bytes of all their ids, sources, categories, subjects and conditions.
    """
    if rows > MOST_ROWS:
        return f"{rows:,} validation and test rows are more than a run holds ({MOST_ROWS:,})"
    if size > text_room(rows):
        return (
            f"the names of validation and test rows take {size / max(1, rows):,.0f} bytes a row, about "
            f"{text_room(rows) // max(1, rows):,} are allowed"
        )
    return ""


def text_room(rows: int) -> int:
    """Bytes that the texts of so many rows may take beside their numbers; the splits' own names are counted off."""
    return MOST_HEADER // 2 + (MOST_BYTES_A_ROW - BYTES_A_CELL * len(PREDICTIONS) - 2 * len("validation")) * rows
