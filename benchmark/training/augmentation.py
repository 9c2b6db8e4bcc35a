"""Batched random affine augmentation that moves image and human map together."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from divsal_bench.registry.protocols import Protocol


def draw_affine(count: int, protocol: Protocol, generator: torch.Generator) -> Tensor:
    """Draw one affine map a sample, from output to input coordinates in [−1, 1].

    Args:
        count: Batch size B.
        protocol: Its rotate (degrees), scale and shift (shares) bound the uniform draws; flip: a chance.
        generator: On the CPU, so that the same seed gives the same augmentation on every device.

    Returns:
        (B, 2, 3) float32.
    """
    import torch

    draws = torch.rand(5, count, generator=generator)
    angle, zoom, right, down = (draws[:4] * 2 - 1).unbind()
    angle = angle * (protocol.rotate * math.pi / 180)
    zoom = 1 + zoom * protocol.scale
    mirror = torch.where(draws[4] < protocol.flip, -1.0, 1.0)
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    # A shift of one share of the side is 2 in coordinates that run from −1 to 1.
    rows = [mirror * cos, -sin, 2 * protocol.shift * right, mirror * sin, cos, 2 * protocol.shift * down]
    return torch.stack(rows, 1).view(count, 2, 3)


def sampler(
    count: int, side: int, protocol: Protocol, generator: torch.Generator, device: torch.device
) -> Callable[..., Tensor]:
    """One batch's geometry, drawn once, to be applied to its images and to any maps.

    Returns:
        A function of (B, C, S, S) float and the padding mode ("border" for images, whose outside is unknown;
        "zeros" for maps, which mark nothing there) to the moved tensor. Some samples alone, (n, C, S, S), are moved
        when their places in the batch, (n,) int64, are given too.
    """
    from torch.nn.functional import affine_grid, grid_sample

    if not any((protocol.rotate, protocol.scale, protocol.shift, protocol.flip)):
        return lambda tensor, padding, places=None: tensor
    theta = draw_affine(count, protocol, generator).to(device, non_blocking=True)
    inside = affine_grid(theta, [count, 1, side, side], align_corners=False)
    # Clamping to the outermost pixel centres is border padding, which not every device's grid_sample has.
    edge = 1 - 1 / side
    grids = {"zeros": inside, "border": inside.clamp(-edge, edge)}

    def move(tensor: Tensor, padding: str, places: Tensor | None = None) -> Tensor:
        grid = grids[padding] if places is None else grids[padding].index_select(0, places)
        return grid_sample(tensor, grid.to(tensor.dtype), mode="bilinear", padding_mode="zeros", align_corners=False)

    return move
