"""Connected regions of a difference map, each with the logits it adds to the margin.

The difference map is the CAM of the margin: its mean over the grid, plus the difference of the biases, is the margin.
So the map falls into regions whose logits (sum over their cells / h·w), with the bias, are the whole decision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from divsal_bench.maps.covering import Score, covered, on_pixels

if TYPE_CHECKING:
    from torch import Tensor

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Region:
    """Cells that touch along a side and have one sign.

    Attributes:
        logits: What it adds to the margin; its sign is the region's.
        cells: (h, w).
        inside: Share of its logits that lies inside the human map, in [0, 1]; NaN without one.
        covers: Share of the human map that it covers, in [0, 1]; NaN without one.
    """

    logits: float
    cells: Bools
    inside: float
    covers: float


@dataclass(frozen=True, eq=False)
class Regions:
    """One image's difference map, taken apart.

    Attributes:
        shown: The largest regions by absolute logits, largest first.
        rest: Logits of all other regions together.
        rest_count: How many those are.
        bias: The difference of the biases.
    """

    shown: tuple[Region, ...]
    rest: float
    rest_count: int
    bias: float

    @property
    def margin(self) -> float:
        """The sum of all of it."""
        return math.fsum([*(region.logits for region in self.shown), self.rest, self.bias])


def regions(
    difference: npt.NDArray[np.floating],
    bias: float,
    human: npt.NDArray[np.floating] | None = None,
    count: int = 5,
) -> Regions:
    """Take one image's difference map apart.

    Args:
        difference: M_1 − M_0 for the margin z1 − z0, or true − false for that of the true class, (h, w), finite.
        bias: b_1 − b_0, or b_t − b_f.
        human: The human map area-pooled to the grid, in [0, 1], (h, w); one that is all zero is none.
        count: Name at most so many; the others are summed.

    Raises:
        ValueError: A negative count, or a map that is not finite.
    """
    from scipy import ndimage

    if count < 0:
        raise ValueError(f"count must be 0 or more, not {count}")
    values = np.asarray(difference, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("a difference map is not finite")
    share = values / values.size
    weight = None if human is None or not np.any(human) else np.asarray(human, np.float64)
    found = []
    for part in (values > 0, values < 0):
        numbered, number = ndimage.label(part)
        for cells in (numbered == one for one in range(1, number + 1)):
            logits = math.fsum(share[cells])
            inside = covers = math.nan
            if weight is not None:
                inside = float((values[cells] * weight[cells]).sum() / values[cells].sum())
                covers = float(weight[cells].sum() / weight.sum())
            found.append(Region(logits, cells, inside, covers))
    found.sort(key=lambda region: -abs(region.logits))
    rest = found[count:]
    return Regions(tuple(found[:count]), math.fsum(region.logits for region in rest), len(rest), float(bias))


@dataclass(frozen=True)
class Occlusion:
    """What covering one region did.

    Attributes:
        expected: Minus its logits: what would happen if nothing else changed and the cover added none of its own.
        moved: What happened to the margin.
        agrees: Whether both have the same sign.
    """

    expected: float
    moved: float
    agrees: bool


def occlusion(
    score: Score, images: Tensor, found: Sequence[Regions], direction: npt.NDArray[np.integer] | None = None
) -> list[tuple[Occlusion, ...]]:
    """Cover each named region with the mean colour and see whether the margin moves as its logits say.

    A cell's features look beyond the cell, and the covering itself is something to see: a check of sign and size, not
    an identity.

    Args:
        score: Images to margins z1 − z0.
        images: (N, channels, S, S), normalised: 0 is the mean colour.
        found: Of each image.
        direction: (N,): 1 where the map is of z1 − z0, −1 where it is of z0 − z1; None if all are of z1 − z0.

    Returns:
        For each image one result for each region that is named.
    """
    import torch

    sign = np.ones(len(images)) if direction is None else np.asarray(direction, np.float64)
    owner = [image for image, one in enumerate(found) for _ in one.shown]
    if not owner:
        return [() for _ in found]
    cells = torch.from_numpy(np.stack([region.cells for one in found for region in one.shown]))
    before = score(images)
    after = []
    for rows in torch.arange(len(owner)).split(256):
        some = images[[owner[row] for row in rows.tolist()]]
        hidden = on_pixels(cells[rows], (some.shape[-2], some.shape[-1])).unsqueeze(1).to(some.device)
        after.append(score(torch.where(hidden, covered(some, "mean", (1, 1)), some)))
    moved = iter((sign[owner] * (np.concatenate(after) - before[owner])).tolist())
    return [
        tuple(Occlusion(-region.logits, by := next(moved), by * -region.logits > 0) for region in one.shown)
        for one in found
    ]
