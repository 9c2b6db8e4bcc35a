"""What is found in a data set: mean maps, the cells that decide, and the samples to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
ExplainedSplit = Literal["test", "validation"]
#: Map kinds that are averaged and compared with people's, with the prefix of their columns.
KINDS = ("true", "false", "difference")
#: How many cells a table has.
CELLS = 6


@dataclass(frozen=True, eq=False)
class MeanMaps:
    """Means over the images of one class in one condition.

    Attributes:
        maps: True-class CAM, false-class CAM and difference map (true − false) by :data:`KINDS`, each (h, w).
    """

    label: int
    condition: str
    count: int
    maps: dict[str, Floats]


@dataclass(frozen=True, eq=False)
class Deciding:
    """Where the decisions for one class come from.

    Attributes:
        count: Images that are called so.
        without: Of those, how many have no region that speaks for the class.
        against: Of those, how many have a margin for the other class: the threshold alone made them this one.
        share: Of those images, in how many each cell lies in the largest region that speaks for the class, (h, w).
        logits: What each cell adds to the margin towards the class, mean over those images, (h, w).
    """

    decision: int
    count: int
    without: int
    against: int
    share: Floats
    logits: Floats

    def top(self) -> list[tuple[int, int]]:
        """The cells (row, column) with the most logits of those that ever decide, at most :data:`CELLS`.

        Not by share: a region can be nearly the whole grid, and then most cells decide every time.
        """
        order = np.lexsort((-self.share.ravel(), -self.logits.ravel()))
        found = [divmod(int(place), self.share.shape[1]) for place in order]
        return [(y, x) for y, x in found if self.share[y, x] > 0][:CELLS]


@dataclass(frozen=True)
class Errors:
    """Errors at the network's threshold in one condition: how many of how many."""

    condition: str
    wrong: tuple[int, int]
    count: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Overview:
    """A data set, explained.

    Attributes:
        total: Images of the split; ``table`` may have fewer.
        grid: (h, w).
        positions: Of the images in the arrays, (N,), in the order of the table.
        table: One row an image, for samples.csv.
        differences: true − false of each image, (N, h, w).
        deciding: The cells of the region that decided each image, (N, h, w) bool.
        means: By class and condition.
        cells: Of each class that an image is called.
        errors: By condition.
        bias: b1 − b0.
        bias_share: Mean share of the bias in the decisions, as :func:`divsal_bench.maps.measures.bias_share`.
        common_share: Of the head's rows, as :class:`divsal_bench.maps.measures.ComparedRows`.
        low_lift: Rows of the table whose difference map lies least where people look; empty without human maps.
        failures: Rows where covering the region that decided moved the margin most in the other direction.
        confident: Wrong rows by how wrong, the worst first.
    """

    split: ExplainedSplit
    total: int
    grid: tuple[int, int]
    positions: npt.NDArray[np.int64]
    table: pd.DataFrame
    differences: Floats
    deciding: npt.NDArray[np.bool_]
    means: tuple[MeanMaps, ...]
    cells: tuple[Deciding, ...]
    errors: tuple[Errors, ...]
    bias: float
    bias_share: float
    common_share: float
    low_lift: tuple[int, ...]
    failures: tuple[int, ...]
    confident: tuple[int, ...]

    @property
    def mapped(self) -> int:
        """How many images have a human map."""
        return int(self.table["true_lift"].notna().sum()) if "true_lift" in self.table else 0
