"""Class activation maps and human maps on one grid: the algebra every method and every audit shares.

Only tensor methods are used at import time, so that plugins can be listed without loading torch.
Shapes: B samples, K classes, C channels, an h × w CAM grid, S × S images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

#: Maps whose span is below this share of their largest magnitude are constant up to float32 rounding.
FLAT = 1e-6
#: Human maps that are pooled in one go: pixels of many would fill the memory.
MAPS_AT_ONCE = 128


class StoredMaps(Protocol):
    """What has the face of an array of human maps, uint8 (N, S, S)."""

    def __len__(self) -> int:
        """N."""

    def __getitem__(self, which: Any, /) -> np.ndarray:
        """Those of a slice."""


def class_cams(features: Tensor, weight: Tensor) -> Tensor:
    """Compute the CAM of every class in one pass: ``M_k = Σ_c W[k, c] · A[c]``, without the bias.

    Args:
        features: The globally average-pooled features A, (B, C, h, w).
        weight: The linear classifier's rows W, (K, C), K ≥ 2.

    Returns:
        (B, K, h, w); the mean over the grid plus the bias is the logit (Zhou et al., CVPR 2016).
    """
    import torch
    from torch.nn.functional import linear

    features = features.to(weight.dtype)
    if len(features) == 1:
        return torch.einsum("bchw,kc->bkhw", features, weight)  # sums in another order; stored maps have this one
    # The same sums as one plain matrix product, which goes backwards in half the time.
    return linear(features.permute(0, 2, 3, 1), weight).permute(0, 3, 1, 2)


def select(cams: Tensor, classes: Tensor) -> Tensor:
    """Pick one class's CAM per sample: (B, K, h, w) and class numbers (B,) to (B, h, w)."""
    index = classes.view(-1, 1, 1, 1).expand(-1, 1, *cams.shape[-2:])
    return cams.gather(1, index).squeeze(1)


def normalise(maps: Tensor) -> Tensor:
    """Min–max scale each map to [0, 1]; a constant map gives 0 and zero gradients, never NaN.

    Args:
        maps: (..., h, w). Gradients flow through the values, the minimum and the maximum, as in CYBORG.
    """
    import torch

    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    span = high - low
    flat = span <= FLAT * torch.maximum(high, -low)  # the larger of these is the largest magnitude
    # The divisor is guarded before dividing: masking a NaN afterwards would still leave NaN gradients. What is divided
    # by infinity is 0, and so are its gradients.
    return (maps - low) / span.masked_fill(flat, torch.inf)


def pool(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Area-average maps (B, S, S) onto the CAM grid (B, h, w)."""
    from torch.nn.functional import adaptive_avg_pool2d

    return adaptive_avg_pool2d(maps.unsqueeze(1), grid).squeeze(1)


def human_cells(maps: StoredMaps, grid: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Stored human maps, uint8 (N, S, S), area-averaged onto the CAM grid: (N, h, w) in [0, 1].

    They are read :data:`MAPS_AT_ONCE` at a time.
    """
    import numpy as np
    import torch

    cells = np.empty((len(maps), *grid), np.float32)
    for start in range(0, len(maps), MAPS_AT_ONCE):
        part = slice(start, start + MAPS_AT_ONCE)
        cells[part] = pool(torch.from_numpy(np.array(maps[part])).float() / 255, grid).numpy()
    return cells


def human_target(
    maps: Tensor, mapped: Tensor, grid: tuple[int, int], places: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Bring human maps to the form the losses compare with: H, and which samples have one.

    Args:
        maps: Human maps under the image's own augmentation, (B, S, S) in [0, 1].
        mapped: Which samples came with a map, (B,) bool.
        grid: The CAM grid (h, w).
        places: Whose maps these are, (n,) int64, where they are (n, S, S), those of some samples only.

    Returns:
        H, (B, h, w), area-pooled and min–max scaled to [0, 1], 0 for those that are left out; and (B,) bool, False
        also for maps that are constant after pooling, which count as no map.
    """
    target = normalise(pool(maps, grid))
    if places is not None:
        target = target.new_zeros(len(mapped), *grid).index_copy_(0, places, target)
    return target, mapped & (target.amax((-2, -1)) > 0)


def blend(cross_entropy: Tensor, saliency: Tensor, mapped: Tensor, alpha: float) -> Tensor:
    """``α · CE + (1 − α) · Σ over mapped samples of s_i / max(1, n_mapped)``.

    Args:
        cross_entropy: Mean cross-entropy over the whole batch, scalar.
        saliency: s_i, one number per sample, (B,); those of unmapped samples are ignored.
        mapped: (B,) bool.
        alpha: Weight of the cross-entropy, in [0, 1].
    """
    count = mapped.sum().clamp_min(1)
    return alpha * cross_entropy + (1 - alpha) * saliency.masked_fill(~mapped, 0.0).sum() / count
