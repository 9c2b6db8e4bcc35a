"""predictions.parquet: its columns, its bounds, and how it is read from anybody."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.files.parquet import MOST_HEADER, TEXT_TYPES, Form, read_table

if TYPE_CHECKING:
    import pyarrow as pa

#: Columns of predictions.parquet, as divsal_bench.evaluation.predictions.predictions describes them.
PREDICTION_TEXTS = ("sample_id", "split", "source", "category", "subject", "condition", "condition_axis")
PREDICTION_NUMBERS = (
    "logit0", "logit1",
    "true_pe", "true_lift", "true_auc", "true_cc", "true_empty",
    "difference_pe", "difference_lift", "difference_auc", "difference_cc", "difference_empty",
)  # fmt: skip
PREDICTIONS = (*PREDICTION_TEXTS[:2], "label", *PREDICTION_TEXTS[2:], *PREDICTION_NUMBERS)
#: Bytes in memory for each row, and for each byte on disk. Ids and margins differ from row to row, so that a file which
#: unpacks to far more than itself holds none.
MOST_BYTES_A_ROW, MOST_BYTES_A_BYTE = 600, 200


def most_bytes(rows: int, size: int) -> int:
    """Bytes in memory that a file of so many rows and bytes may take."""
    return MOST_HEADER + min(MOST_BYTES_A_ROW * rows, MOST_BYTES_A_BYTE * size)


FORM = Form(
    columns={
        name: TEXT_TYPES if name in PREDICTION_TEXTS else ("int64",) if name == "label" else ("double",)
        for name in PREDICTIONS
    },
    most_bytes=most_bytes,
    filled=(*PREDICTION_TEXTS, "label"),
)


def read_predictions(path: Path) -> pa.Table:
    """Read predictions.parquet, looking at its header before its content.

    Returns:
        The columns :data:`PREDICTIONS`, in this order.

    Raises:
        OSError, ValueError, pyarrow.ArrowException: It cannot be read, or holds something else.
    """
    return read_table(path, FORM)
