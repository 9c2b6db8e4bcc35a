"""CASE: a class's map without what it shares with the classes it is confused with.

Williamson, Dwyer, Ji 2025 (arXiv 2506.07327), for heads with a closed form: the Grad-CAM weights of class c are
g_c = W_c / (h·w), so that CASE's own weights are a sum of rows. The classes that c is confused with, the paper's
contrast set, are its rivals here. A binary decision breaks the published form: the rival is always the other class,
whose row cross-entropy makes anti-parallel, so that removing the component along it removes nearly all, and min–max
scaling makes a full picture of what is left, rounding errors or noise. Hence the residual ratio, which marks such maps
undefined, and the clamped form, which removes shared components only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from divsal_bench.maps.evidence import ONE_LOGIT, Evidence, Maps, combine

if TYPE_CHECKING:
    from torch import Tensor

#: Below this share of the class's row, what is left of it is no map.
SMALLEST_RESIDUAL = 0.1
#: Added to the squared norm of the rivals' mean row in the published projection.
EPSILON = 1e-8
WHY = f"less than {SMALLEST_RESIDUAL:.0%} of the class's row is left when its contrast is removed"


def case_map(evidence: Evidence, target: Tensor, rivals: Tensor | None = None) -> Maps:
    """CASE as published: w = g_c − (g_c·ḡ / (‖ḡ‖² + 1e-8))·ḡ, with ḡ the mean of the rivals' weights.

    Args:
        target: The class c to explain, (B,) int64.
        rivals: Of c, (B, k) int64, as :func:`next_logits` gives it (the default, k = 1). With two classes it
            is the other one, whatever k.

    Returns:
        Times h·w, so that a map with nothing to remove is the class's CAM, and before the ReLU of the paper.
    """
    return without_rivals(evidence, target, rivals, clamped=False)


def clamped_case_map(evidence: Evidence, target: Tensor, rivals: Tensor | None = None) -> Maps:
    """CASE with the projection's coefficient not below 0: only what class and rivals share is removed.

    Our remedy: equal to the class's CAM, and never undefined, where the rows point apart (cos ≤ 0).
    """
    return without_rivals(evidence, target, rivals, clamped=True)


def without_rivals(evidence: Evidence, target: Tensor, rivals: Tensor | None, clamped: bool) -> Maps:
    """Both forms: a class's CAM minus a multiple of the mean CAM of its rivals."""
    import torch

    if rivals is None:
        rivals = next_logits(evidence.logits, target)
    # In float64, because the published epsilon meets squared norms of its own size.
    rows = evidence.weight.double() / (evidence.grid[0] * evidence.grid[1])
    own, other = rows[target], rows[rivals].mean(1)
    share = (own * other).sum(1) / ((other * other).sum(1) + EPSILON)
    if clamped:
        share = share.clamp_min(0)
    coefficients = torch.zeros(len(target), evidence.classes, dtype=torch.float64, device=target.device)
    coefficients.scatter_(1, target.view(-1, 1), 1.0)
    spread = (share / rivals.shape[1]).view(-1, 1).expand(rivals.shape)
    coefficients.scatter_add_(1, rivals, -spread)
    ratio = residual_ratio(evidence.weight, target, rivals, clamped)
    why = ONE_LOGIT if evidence.head == "one-logit" and not clamped else WHY
    return Maps(combine(evidence, coefficients).values, ratio < SMALLEST_RESIDUAL, why)


def residual_ratio(weight: Tensor, target: Tensor, rivals: Tensor, clamped: bool = False) -> Tensor:
    """How much of a class's row is left after removing its component along its rivals' mean: ‖w_perp‖ / ‖w_c‖.

    Computed with unit vectors: with the published epsilon, what is left of a one-logit head's gradient, which should
    be nothing, is .2 of it at ‖g‖ = 2e-4 and more below.

    Args:
        weight: Rows W, (K, C), of any scale.
        target: (B,) int64.
        rivals: (B, k) int64.
        clamped: Of :func:`clamped_case_map`: 1 where the rows point apart.

    Returns:
        (B,) float64 in [0, 1]; 0 for a row of zeros, 1 for rivals of zeros.
    """
    import torch

    rows = weight.double()
    own, other = unit_rows(rows[target]), unit_rows(rows[rivals].mean(1))
    cosine = (own * other).sum(1, keepdim=True)
    if clamped:
        cosine = cosine.clamp_min(0)
    left: Tensor = torch.linalg.vector_norm(own - cosine * other, dim=1)
    return left


def unit_rows(vectors: Tensor) -> Tensor:
    """Each of (B, C) divided by its length; zeros stay zeros."""
    import torch

    length: Tensor = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return vectors / length.masked_fill(length == 0, 1.0)


def next_logits(logits: Tensor, target: Tensor, count: int = 1) -> Tensor:
    """The rivals of each image: the classes with the largest logits besides ``target`` (published as a variant).

    Args:
        logits: (B, K).
        target: (B,) int64.
        count: How many, k.

    Returns:
        (B, k) int64, the largest first, ties to the lower class; k is K − 1 where fewer than ``count`` are left.
    """
    import torch

    others = logits.scatter(1, target.view(-1, 1), -torch.inf)
    return torch.argsort(others, dim=1, descending=True, stable=True)[:, : min(count, logits.shape[1] - 1)]
