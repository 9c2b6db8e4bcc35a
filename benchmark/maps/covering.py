"""Covering cells of the CAM grid in the image, and scoring what is left. Fidelity and the check of regions share it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from divsal_bench.networks import devices

if TYPE_CHECKING:
    from torch import Tensor

    from divsal_bench.networks.backbones import CamNet

Floats = npt.NDArray[np.float64]
Cover = Literal["mean", "blur"]

#: Images (B, channels, S, S), normalised, to margins z1 − z0, (B,).
Score = Callable[["Tensor"], Floats]


def margin_score(model: CamNet, batch_size: int = 128) -> Score:
    """A network with two classes as a function from images to margins, in float64."""
    import torch

    def score(images: Tensor) -> Floats:
        model.net.eval()
        device = devices.device_of(model)
        with torch.inference_mode():
            logits = [model.forward(chunk.to(device))[0].double().cpu() for chunk in images.split(batch_size)]
        both = torch.cat(logits) if logits else torch.zeros(0, 2, dtype=torch.float64)
        return np.asarray((both[:, 1] - both[:, 0]).numpy(), np.float64)

    return score


def on_pixels(cells: Tensor, sides: tuple[int, int]) -> Tensor:
    """What holds for a cell, for each of its pixels: (…, h, w) to (…, *sides), by the nearest cell."""
    import torch

    rows, columns = (torch.arange(side) * size // side for size, side in zip(cells.shape[-2:], sides, strict=True))
    return cells[..., rows[:, None], columns[None, :]]


def covered(images: Tensor, cover: Cover, grid: tuple[int, int]) -> Tensor:
    """The images with everything covered: what a covered cell shows instead.

    Args:
        images: (B, channels, S, S), normalised.
        cover: ``mean``, the mean colour, which is 0 in normalised space; or ``blur``, a Gaussian whose standard
            deviation is the side of a cell, so that little of what a cell showed is left.
        grid: The CAM grid (h, w).
    """
    import torch
    from torch.nn import functional

    if cover == "mean":
        return torch.zeros_like(images)
    for axis, (side, size) in enumerate(zip(images.shape[-2:], grid, strict=True)):
        sigma = side / size
        reach = min(round(2 * sigma), side - 1)
        weights = torch.exp(-((torch.arange(-reach, reach + 1) / sigma) ** 2) / 2)
        weights = (weights / weights.sum()).to(images).expand(images.shape[1], 1, -1)
        edges = (0, 0, reach, reach) if axis == 0 else (reach, reach, 0, 0)
        padded = functional.pad(images, edges, mode="reflect")
        kernel = weights.unsqueeze(-1) if axis == 0 else weights.unsqueeze(-2)
        images = functional.conv2d(padded, kernel, groups=images.shape[1])
    return images
