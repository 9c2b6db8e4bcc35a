"""Fidelity: does covering what a map marks change the decision more than covering something else would?

Confidence drop as in Williamson, Dwyer, Ji 2025 (arXiv 2506.07327), whose code draws other images for every map and
covers the transposed place, so that its numbers are not comparable; deletion and insertion as in Petsiuk, Das, Saenko
(RISE, BMVC 2018), on the probability and on the margin, which does not saturate. All beside two controls on the same
images with the same numbers of cells: a random order, and nearest to the centre first, since on small grids much of
what a map scores is only that it points at the middle. For decisions between two classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from divsal_bench import seeds
from divsal_bench.maps.covering import Cover, Score, covered, on_pixels

if TYPE_CHECKING:
    from torch import Tensor

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Order = npt.NDArray[np.int64]

CONTROLS = ("random", "centre")
COLUMNS = ("drop", "deletion_probability", "deletion_margin", "insertion_probability", "insertion_margin")
#: Standard deviation of the centred Gaussian, as a share of the side; that of the control method cyborg-center.
SIGMA = 0.25


class ImageRows(Protocol):
    """A tensor of images, or what reads them when rows are asked for: (N, channels, S, S), normalised."""

    def __len__(self) -> int:
        """N."""

    def __getitem__(self, which: Any, /) -> Tensor:
        """The images of an array of row numbers."""


@dataclass(frozen=True, eq=False)
class Curves:
    """What is left of each decision while cells are covered or uncovered.

    Attributes:
        share: The share of cells covered (deletion) or shown (insertion), (T,), from 0 to 1.
        deletion, insertion: Margins in favour of the decision on the whole image, (N, T).
    """

    share: Floats
    deletion: Floats
    insertion: Floats

    def areas(self) -> dict[str, Floats]:
        """Areas under the curves by the trapezoid rule, (N,) each: low is good for deletion, high for insertion."""
        found: dict[str, Floats] = {}
        for name, margins in (("deletion", self.deletion), ("insertion", self.insertion)):
            found[f"{name}_probability"] = np.asarray(np.trapezoid(sigmoid(margins), self.share, axis=1))
            found[f"{name}_margin"] = np.asarray(np.trapezoid(margins, self.share, axis=1))
        return found


@dataclass(frozen=True, eq=False)
class Fidelity:
    """Scores of maps and controls on the same images.

    Attributes:
        rows: Positions of the images used, (n,).
        total, correct, eligible: N; correctly classified ones; of those the ones where every map is defined.
        scores: Map or control to column to one number for each image used, (n,). ``drop`` is the share of the
            decision's probability that is lost when the top k % are covered, never below 0; the others are areas.
        k: Per cent.
        cells: How many cells k % is.
        steps: Points of a curve after the first.
        cover: What a covered cell shows on the curves; for ``drop`` it is the mean colour, as published.
        note: How many of how many images, and how they were chosen.
    """

    rows: npt.NDArray[np.int64]
    total: int
    correct: int
    eligible: int
    scores: dict[str, dict[str, Floats]]
    k: float
    cells: int
    steps: int
    cover: Cover
    note: str


def measure_fidelity(
    score: Score,
    images: ImageRows,
    maps: Mapping[str, npt.NDArray[np.floating]],
    labels: npt.NDArray[np.integer],
    margins: Floats,
    ids: Sequence[str],
    fingerprint: str,
    *,
    usable: Bools | None = None,
    count: int = 200,
    k: float = 50.0,
    steps: int = 16,
    cover: Cover = "mean",
) -> Fidelity:
    """Score maps and controls.

    Args:
        score: Images to margins z1 − z0, as :func:`divsal_bench.maps.covering.margin_score` makes it.
        images: N; only those that are used are read.
        maps: Name to signed maps for the right class, which is the predicted one of the images used, (N, h, w).
        labels: (N,), 0 or 1.
        margins: z1 − z0 on the whole images, (N,); they decide which images are correctly classified.
        ids: Sample ids. Which images are used and how ties and the random control fall depends on them and the
            fingerprint alone, so that all networks and maps meet the same choices.
        fingerprint: Of the data.
        usable: (N,): where every map is defined.
        count: Use at most so many images.
        k: Per cent of the cells to cover for ``drop``.
        steps: Points of a curve after the first; fewer on a grid with fewer cells.
        cover: ``mean`` or ``blur``.

    Raises:
        ValueError: k or a count is out of range, maps or arguments do not fit each other, or a name is a control's.
    """
    if not 0 < k <= 100 or count < 0 or steps < 1:
        raise ValueError(f"k must lie in (0, 100], count be 0 or more and steps 1 or more, not {k:g}, {count}, {steps}")
    grids = {values.shape[1:] for values in maps.values()}
    if len(grids) != 1 or {len(images), *map(len, maps.values())} != {len(labels)} or set(maps) & set(CONTROLS):
        raise ValueError(
            f"maps on the grids {sorted(grids)} of {len(labels)} images; not named {' or '.join(CONTROLS)}"
        )
    (grid,) = grids
    correct = (margins >= 0) == (labels == 1)
    eligible = correct if usable is None else correct & usable
    rows = choose_images(ids, eligible, count, fingerprint)
    chosen, direction = images[rows], np.where(labels[rows] == 1, 1.0, -1.0)
    ties = np.array([uniform(fingerprint, ids[row], grid) for row in rows]).reshape(len(rows), *grid)
    ranked = {name: descending(values[rows], ties) for name, values in maps.items()}
    ranked["random"] = descending(np.zeros((len(rows), *grid)), ties)
    ranked["centre"] = descending(np.broadcast_to(centred(grid), (len(rows), *grid)), ties)

    cells = max(1, round(k / 100 * grid[0] * grid[1]))
    scores = {}
    nothing: Floats = np.zeros(0)
    whole = direction * score(chosen) if len(rows) else nothing
    blank = direction * score(covered(chosen, cover, grid)) if len(rows) else nothing
    for name, order in ranked.items():
        left = direction * score_covered(score, chosen, order, grid, np.array([cells]), "mean")[:, 0]
        before, after = sigmoid(whole), sigmoid(left)
        drop = {"drop": np.maximum(before - after, 0) / before}
        scores[name] = drop | curves(score, chosen, order, grid, direction, whole, blank, steps, cover).areas()
    note = (
        f"{len(rows)} of {int(eligible.sum())} correctly classified images with defined maps ({len(labels)} in all), "
        "drawn by sample id and data fingerprint"
    )
    found = steps_of(steps, grid)
    return Fidelity(
        rows, len(labels), int(correct.sum()), int(eligible.sum()), scores, k, cells, len(found) - 1, cover, note
    )


def choose_images(ids: Sequence[str], eligible: Bools, count: int, fingerprint: str) -> npt.NDArray[np.int64]:
    """At most ``count`` eligible rows, the first of an order that the fingerprint draws, whoever is eligible."""
    keys = np.array([seeds.derive("explained image", fingerprint, sample) for sample in ids], np.int64)
    order = np.argsort(keys, kind="stable")
    return np.sort(order[eligible[order]][:count]).astype(np.int64)


def uniform(fingerprint: str, sample: str, grid: tuple[int, ...]) -> Floats:
    """One image's own random numbers, on its grid."""
    return np.random.default_rng(seeds.derive("explained cells", fingerprint, sample)).random(grid)


def centred(grid: tuple[int, ...]) -> Floats:
    """A centred Gaussian on the grid (h, w)."""
    # Counted from the middle in half cells: cells that mirror each other get the identical number, and so tie.
    y, x = ((2 * np.arange(size) + 1 - size) / (2 * size) for size in grid)
    return np.asarray(np.exp(-(y[:, None] ** 2 + x[None, :] ** 2) / (2 * SIGMA**2)), np.float64)


def descending(maps: npt.NDArray[np.floating], ties: Floats) -> Order:
    """Cells of each map from the highest down, equal ones in the order of ``ties``: (N, h, w) to (N, h·w)."""
    flat, keys = (np.asarray(one, np.float64).reshape(len(maps), maps.shape[1] * maps.shape[2]) for one in (maps, ties))
    return np.lexsort((keys, -flat)).astype(np.int64)


def steps_of(steps: int, grid: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """How many cells are covered at each point of a curve, from none to all."""
    cells = grid[0] * grid[1]
    return np.unique(np.round(np.linspace(0, cells, steps + 1)).astype(np.int64))


def curves(
    score: Score,
    images: Tensor,
    order: Order,
    grid: tuple[int, ...],
    direction: Floats,
    whole: Floats,
    blank: Floats,
    steps: int,
    cover: Cover,
) -> Curves:
    """Deletion and insertion of cells in the given order.

    Args:
        images: (n, channels, S, S).
        order: (n, h·w), a permutation for each image.
        grid: (h, w).
        direction: 1 or −1, (n,): the class decided for.
        whole, blank: Margins towards it with nothing and with everything covered, (n,).
        steps: Points after the first.
    """
    counts = steps_of(steps, grid)
    inner = counts[1:-1]
    ends = (whole[:, None], blank[:, None])
    deleted = score_covered(score, images, order, grid, inner, cover)
    # Showing the first m cells is covering the last ones, which are the first of the order turned round.
    inserted = score_covered(score, images, order[:, ::-1], grid, (grid[0] * grid[1] - inner), cover)
    side = direction[:, None]
    return Curves(
        counts / (grid[0] * grid[1]),
        np.concatenate([ends[0], side * deleted, ends[1]], 1),
        np.concatenate([ends[1], side * inserted, ends[0]], 1),
    )


def score_covered(
    score: Score,
    images: Tensor,
    order: Order,
    grid: tuple[int, ...],
    counts: npt.NDArray[np.int64],
    cover: Cover,
    batch_size: int = 256,
) -> Floats:
    """Margins with the first cells of an order covered.

    Args:
        images: (n, channels, S, S).
        order: (n, h·w).
        grid: (h, w).
        counts: How many cells, (T,).
        batch_size: Images made at once, which bounds the memory and changes no result.

    Returns:
        (n, T).
    """
    import torch

    if not len(counts) or not len(images):
        return np.zeros((len(images), len(counts)))
    place = torch.from_numpy(np.argsort(order, axis=1)).reshape(len(order), *grid)
    wanted = torch.from_numpy(counts).view(1, -1, 1, 1)
    found = []
    for rows in torch.arange(len(images)).split(max(1, batch_size // len(counts))):
        some = images[rows]
        hidden = on_pixels(place[rows], (some.shape[-2], some.shape[-1])).unsqueeze(1) < wanted
        blank = covered(some, cover, (grid[0], grid[1]))
        made = torch.where(hidden.unsqueeze(2).to(some.device), blank.unsqueeze(1), some.unsqueeze(1))
        found.append(score(made.flatten(0, 1)).reshape(len(rows), -1))
    return np.concatenate(found)


def sigmoid(margins: Floats) -> Floats:
    """Probability of a margin, without overflow."""
    from scipy.special import expit

    return np.asarray(expit(margins), np.float64)
