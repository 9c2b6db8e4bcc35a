"""Class sensitivity: do the maps of an image's two likeliest classes mark different places?

The diagnostic of Williamson, Dwyer, Ji 2025 (arXiv 2506.07327): agreement = share of the top k % that both maps have in
common; a map passes if agreement is significantly below τ %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from divsal_bench.maps.closed_form import map_kind
from divsal_bench.maps.evidence import ONE_LOGIT
from divsal_bench.scores.agreement import EMPTY

if TYPE_CHECKING:
    from divsal_bench.maps.evidence import Evidence

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Version = Literal["tie-safe", "positive", "reference"]

#: Level of the test, and of the interval.
ALPHA = 0.05
#: A native grid on which k % are fewer cells than this is too coarse and is enlarged to FINE × FINE.
FEWEST, FINE = 5, 56
#: Maps that differ, or cancel, by less than this share of their size are one map.
SAME = 1e-5

CANNOT_DIFFER = "undefined for this map: it is the same for both classes, whatever the network has learned"
CANNOT_AGREE = "undefined for this map: one class's map is the other's negative, whatever the network has learned"
REFERENCE_DEFECT = (
    "the published code's version: it ranks maps after ReLU and min–max scaling, so that where fewer than k % of the "
    "pixels are positive it fills up with ties in the order of the pixels and counts those as agreement; two empty "
    "maps agree by 100 %"
)


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """The result of one map on one set of images.

    Attributes:
        agreement: Per cent, (N,); NaN where a map is empty or undefined.
        mean, median: Over the images that have a value; NaN without any, as all that follows.
        low, high: 95 % t-interval of the mean, images as the sample.
        p: One-sided Wilcoxon signed-rank test that agreement lies below τ.
        passes: p < .05; None without a test.
        total, valid: N, and how many have a value.
        empty_rate, undefined_rate: Shares of N whose maps are empty, and undefined.
        k: Per cent of the cells that are compared, which is also the agreement of independent maps.
        tau: Per cent.
        cells: How many cells or pixels k % is (version ``positive``: at most).
        grid: The side lengths on which cells are ranked.
        version: ``tie-safe``, ``positive`` or ``reference``.
        note: What the number does not mean, or why there is none.
    """

    agreement: Floats
    mean: float
    median: float
    low: float
    high: float
    p: float
    passes: bool | None
    total: int
    valid: int
    empty_rate: float
    undefined_rate: float
    k: float
    tau: float
    cells: int
    grid: tuple[int, int]
    version: Version
    note: str = ""


def pair(evidence: Evidence, name: str) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating], Bools]:
    """One map of the table for the two likeliest classes of each image.

    Args:
        name: Of :data:`divsal_bench.maps.closed_form.MAPS`.

    Returns:
        Maps of the predicted class and of the runner-up, each (B, h, w), and (B,) where either is undefined.
    """
    first, second = evidence.predicted, evidence.rival(evidence.predicted)
    found = [map_kind(name).function(evidence, target) for target in (first, second)]
    values = [maps.values.cpu().numpy() for maps in found]
    return values[0], values[1], (found[0].undefined | found[1].undefined).cpu().numpy()


def class_sensitivity(
    first: npt.NDArray[np.floating],
    second: npt.NDArray[np.floating],
    *,
    k: float = 5.0,
    tau: float = 50.0,
    version: Version = "tie-safe",
    undefined: Bools | None = None,
    head: str = "two-logit",
    side: int = 224,
) -> Sensitivity:
    """Compare the maps of the two likeliest classes.

    ``tie-safe`` ranks the signed maps on their own grid, or enlarged bilinearly where k % of it are fewer than
    :data:`FEWEST` cells. ``positive`` does so with no more cells than either map has positive ones. In both, cells that
    tie for the last place count with what independent random draws among them would share, and an image of which one
    map has no positive cell has no agreement and is counted. ``reference`` is for comparison with published numbers
    only; see its note.

    Args:
        first: Maps of the likeliest class, signed, (N, h, w).
        second: Maps of the second likeliest.
        k: Per cent of the cells, above 0 and at most 100; 5 as published.
        tau: Per cent. The published scripts take 70; a stricter reader 50.
        version: See above.
        undefined: (N,): images to leave out.
        head: Of a ``one-logit`` head the test is undefined, and the note says why; so it is of maps that are the same
            for both classes or each other's negative, which is found from the maps.
        side: Pixels of the square image, for ``reference``.

    Raises:
        ValueError: k or τ is out of range, or the maps differ in shape.
    """
    if not 0 < k <= 100 or not 0 <= tau <= 100:
        raise ValueError(f"k must lie in (0, 100] and tau in [0, 100], not {k:g} and {tau:g}")
    if first.shape != second.shape:
        raise ValueError(f"maps of shapes {first.shape} and {second.shape}")
    total = len(first)
    maps = [np.asarray(values, np.float64) for values in (first, second)]
    left_out = np.zeros(total, bool) if undefined is None else undefined
    empty = (no_positive(maps[0]) | no_positive(maps[1])) & ~left_out
    grid: tuple[int, int] = (first.shape[1], first.shape[2])
    note = ONE_LOGIT if head == "one-logit" else degenerate(*maps)
    if version == "reference":
        grid, note = (side, side), "; ".join(filter(None, [note, REFERENCE_DEFECT]))
    elif round(k / 100 * grid[0] * grid[1]) < FEWEST:
        grid = (max(FINE, grid[0]), max(FINE, grid[1]))
    cells = max(1, round(k / 100 * grid[0] * grid[1]))
    if version == "reference":
        found = np.array([reference_agreement(a, b, cells, side) for a, b in zip(*maps, strict=True)]).reshape(total)
        found[left_out] = np.nan
    else:
        fine = [enlarge(values, grid).reshape(total, grid[0] * grid[1]) for values in maps]
        counts = np.full(total, cells)
        if version == "positive":
            positive = [(values > 0).sum(1) for values in fine]
            counts = np.maximum(1, np.minimum(counts, np.minimum(*positive)))
        shares = [membership(values, counts) for values in fine]
        found = 100 * (shares[0] * shares[1]).sum(1) / counts
        found[empty | left_out] = np.nan
    if note and note != REFERENCE_DEFECT:
        found[:] = np.nan
    return Sensitivity(
        agreement=found, **agreement_summary(found, tau), total=total,
        empty_rate=float(empty.mean()) if total else math.nan,
        undefined_rate=float(left_out.mean()) if total else math.nan,
        k=k, tau=tau, cells=cells, grid=grid, version=version, note=note,
    )  # fmt: skip


def no_positive(maps: Floats) -> Bools:
    """Which maps (N, h, w) have no positive part, as :mod:`divsal_bench.scores.agreement` says it."""
    flat = maps.reshape(len(maps), maps.shape[1] * maps.shape[2])
    found: Bools = flat.max(1) <= EMPTY * np.abs(flat).max(1)
    return found


def degenerate(first: Floats, second: Floats) -> str:
    """Why two sets of maps cannot tell classes apart, or cannot but; "" if they can do either."""
    size = max(float(np.abs(first).max(initial=0)), float(np.abs(second).max(initial=0)))
    if size == 0:
        return ""
    if float(np.abs(first - second).max()) <= SAME * size:
        return CANNOT_DIFFER
    return CANNOT_AGREE if float(np.abs(first + second).max()) <= SAME * size else ""


def membership(values: Floats, counts: npt.NDArray[np.integer]) -> Floats:
    """How much each cell belongs to the top of its map: 1 above the last place, 0 below, a share each if tied for it.

    Args:
        values: (N, cells).
        counts: How many cells the top has, (N,), 1 or more.

    Returns:
        (N, cells); each row sums to its count.
    """
    descending = -np.sort(-values, axis=1)
    last = np.take_along_axis(descending, (counts - 1)[:, None], 1)
    above, tied = values > last, values == last
    share = (counts - above.sum(1)) / tied.sum(1)
    return np.asarray(above + tied * share[:, None], np.float64)


def reference_agreement(first: Floats, second: Floats, cells: int, side: int) -> float:
    """The published version for one image: |S1 ∩ S2| / |S1| · 100 of scaled maps on the pixels, with its ties."""
    tops = []
    for values in (first, second):
        shown = np.maximum(values, 0)
        shown = (shown - shown.min()) / (np.ptp(shown) + EMPTY)
        pixels = enlarge(shown[None], (side, side)).ravel()
        tops.append(set(np.argsort(pixels, kind="stable")[-cells:].tolist()))
    return 100 * len(tops[0] & tops[1]) / cells


def enlarge(maps: Floats, grid: tuple[int, int]) -> Floats:
    """Bilinear resizing of maps (N, h, w), pixel centres aligned as in torch with ``align_corners=False``."""
    rows, columns = (bilinear(size, wanted) for size, wanted in zip(maps.shape[1:], grid, strict=True))
    return np.asarray(np.einsum("yh,nhw,xw->nyx", rows, maps, columns, optimize=True), np.float64)


def bilinear(size: int, wanted: int) -> Floats:
    """The matrix (wanted, size) that resizes one axis; the identity where nothing changes."""
    place = np.clip((np.arange(wanted) + 0.5) * size / wanted - 0.5, 0, size - 1)
    low = np.minimum(place.astype(int), max(size - 2, 0))
    matrix = np.zeros((wanted, size))
    matrix[np.arange(wanted), low] = 1 - (place - low)
    matrix[np.arange(wanted), np.minimum(low + 1, size - 1)] += place - low
    return matrix


def agreement_summary(found: Floats, tau: float) -> dict[str, Any]:
    """Mean, median, interval and test over the images that have an agreement."""
    from scipy import stats

    values = found[~np.isnan(found)]
    count = len(values)
    mean = float(values.mean()) if count else math.nan
    half = math.nan
    if count > 1:
        half = float(stats.t.ppf(1 - ALPHA / 2, count - 1) * values.std(ddof=1) / math.sqrt(count))
    p = math.nan
    if (values != tau).any():  # differences that are all 0 have no signed ranks
        p = float(stats.wilcoxon(values - tau, alternative="less").pvalue)
    return {
        "mean": mean,
        "median": float(np.median(values)) if count else math.nan,
        "low": mean - half,
        "high": mean + half,
        "p": p,
        "passes": None if math.isnan(p) else p < ALPHA,
        "valid": count,
    }
