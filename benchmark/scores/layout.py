"""Which row is what: shared by all runs scored on the same rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from divsal_bench.scores.conditions import Condition, restore
from divsal_bench.scores.metrics import Labels

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Layout:
    """What all runs scored on the same rows share: which row is what.

    Attributes:
        is_test: (N,); the other rows are validation.
        validation: Labels of the validation rows.
        test: Labels of the test rows.
        categories: Of the test rows.
        conditions: Of the test rows.
    """

    is_test: npt.NDArray[np.bool_]
    validation: Labels
    test: Labels
    categories: npt.NDArray[np.object_]
    conditions: list[Condition]


def layout_of(rows: pd.DataFrame) -> Layout:
    """Sort validation and test rows, columns split, label, condition, condition_axis and category."""
    labels = rows["label"].to_numpy(np.int64)
    is_test = (rows["split"] == "test").to_numpy()
    found = restore(
        labels[is_test],
        rows["condition"].to_numpy(object)[is_test],
        rows["condition_axis"].to_numpy(object)[is_test],
    )
    categories = rows["category"].to_numpy(object)[is_test]
    return Layout(is_test, labels[~is_test], labels[is_test], categories, found)
