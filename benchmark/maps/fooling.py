"""Passive fooling: moving every class CAM to a place of one's choice without touching a decision.

A softmax depends on differences of logits only. W ← W + 1·uᵀ adds one vector to all rows: every class CAM gains the
map u·A, and decisions, margins and the difference map stay as they are. No training is needed; u is the answer to a
least squares problem. Passive fooling by training is Heo, Joo, Moon 2019 (arXiv 1902.02041), and of CAMs Piland, Sweet,
Czajka 2025 (arXiv 2506.08514).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from divsal_bench.errors import UserError
from divsal_bench.maps.closed_form import difference_map, true_cam
from divsal_bench.maps.evidence import Evidence
from divsal_bench.maps.measures import energy_inside

if TYPE_CHECKING:
    from torch import Tensor

Floats = npt.NDArray[np.float64]

UNDEFINED = "undefined for a one-logit head: its rows are ±½w, and no vector can be added to both"


def border(grid: tuple[int, int]) -> Tensor:
    """A target that nobody looks at: 1 in the outermost ring of cells and 0 inside, (h, w)."""
    import torch

    target = torch.ones(grid)
    target[1:-1, 1:-1] = 0
    return target


def attack(evidence: Evidence, labels: Tensor, target: Tensor, strength: float = 10.0, ridge: float = 1e-4) -> Tensor:
    """The vector u that brings M_t + u·A closest to a target in all images at once.

    Least squares over images and cells: u minimises Σ (M_t + u·A − γ·T)² + ridge·tr(AAᵀ)/C·‖u‖², γ = strength × the
    root mean square of M_t. What the features cannot express stays. The ridge keeps ‖u‖, and with it the rounding of
    margins, small.

    Args:
        evidence: The images to fool on; others follow as far as their features are alike.
        labels: Which class's CAM, (B,) int64.
        target: T, (h, w) or (B, h, w), in [0, 1].
        strength: The higher, the less of the old map is left.
        ridge: Relative to the mean squared feature.

    Returns:
        u, (C,) float64.

    Raises:
        UserError: A one-logit head, or no images.
    """
    import torch

    if evidence.head == "one-logit":
        raise UserError(f"the fooling attack is {UNDEFINED}")
    if not len(labels):
        raise UserError("the fooling attack needs at least one image")
    old = true_cam(evidence, labels).values.double()
    missing = strength * old.square().mean().sqrt() * target.to(old).expand_as(old) - old
    channels = evidence.features.shape[1]
    gram, right = old.new_zeros(channels, channels), old.new_zeros(channels)
    for rows in torch.arange(len(labels)).split(64):  # all features in float64 would be gigabytes
        features = evidence.features[rows].double().permute(0, 2, 3, 1).reshape(-1, channels)
        gram += features.T @ features
        right += features.T @ missing[rows].flatten()
    small = float(ridge * gram.diagonal().mean())
    gram.diagonal().add_(small if small > 0 else 1.0)  # features that are all 0 can be moved nowhere
    answer: Tensor = torch.linalg.solve(gram, right)
    return answer


def add_to_rows(evidence: Evidence, vector: Tensor) -> Evidence:
    """The evidence after W ← W + 1·uᵀ, u (C,): the same features, every logit moved by u · mean A."""
    moved = evidence.features.double().mean((-2, -1)) @ vector.double()
    weight = (evidence.weight.double() + vector.double()).to(evidence.weight.dtype)
    logits = (evidence.logits.double() + moved[:, None]).to(evidence.logits.dtype)
    return dataclasses.replace(evidence, weight=weight, logits=logits)


@dataclass(frozen=True, eq=False)
class Fooling:
    """What the attack did to one network's maps and decisions.

    Attributes:
        columns: ``true`` and ``difference`` to columns (N,): those of
            :func:`divsal_bench.maps.measures.energy_inside` in the target before and after (``pe_before``,
            ``pe_after``, …), and ``likeness``, the Pearson correlation of the map before with the map after: 1 where
            the attack did nothing to it.
        decisions_changed: How many; rounding apart none can.
        margin_error: The largest change of a margin, in logits: rounding only.
    """

    columns: dict[str, dict[str, Floats]]
    decisions_changed: int
    margin_error: float


def fooled(before: Evidence, after: Evidence, labels: Tensor, target: Tensor) -> Fooling:
    """Compare maps and decisions before and after an attack.

    Args:
        before, after: Of the same images; after :func:`add_to_rows`, or of a network that was trained to fool.
        labels: (N,) int64.
        target: Where the maps were to go, (h, w) or (N, h, w) in [0, 1]; or a human map, to see how agreement changes.
    """
    columns = {}
    place = target.cpu().numpy()
    for name, function in (("true", true_cam), ("difference", difference_map)):
        maps = [function(one, labels).values.cpu().double().numpy() for one in (before, after)]
        found = {"likeness": correlation(*maps)}
        for when, values in zip(("before", "after"), maps, strict=True):
            found |= {f"{column}_{when}": numbers for column, numbers in energy_inside(values, place).items()}
        columns[name] = found
    margins = [true_class_margins(one, labels) for one in (before, after)]
    return Fooling(
        columns,
        int((before.predicted != after.predicted).sum()),
        float(np.abs(margins[0] - margins[1]).max(initial=0)),
    )


def true_class_margins(evidence: Evidence, labels: Tensor) -> Floats:
    """z_t − z_f of each image."""
    logits, rival = evidence.logits.double(), evidence.rival(labels)
    own, other = (logits.gather(1, classes.view(-1, 1)).squeeze(1) for classes in (labels, rival))
    return np.asarray((own - other).cpu().numpy(), np.float64)


def correlation(first: Floats, second: Floats) -> Floats:
    """Pearson correlation of each pair of maps (N, h, w); NaN for a constant one."""
    a, b = (values.reshape(len(values), values.shape[1] * values.shape[2]) for values in (first, second))
    a, b = (values - values.mean(1, keepdims=True) for values in (a, b))
    scale = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return np.where(scale > 0, (a * b).sum(1) / np.where(scale > 0, scale, 1.0), np.nan)
