"""Control: CYBORG with the same centred blob for every image."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from divsal_bench.baselines.cyborg import Cyborg
from divsal_bench.contracts.cams import normalise
from divsal_bench.contracts.method import Batch, Kind

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass
class CyborgCenter(Cyborg):
    """CYBORG with a centred Gaussian in place of each human map; ``sigma`` as a share of the side."""

    name: ClassVar[str] = "cyborg-center"
    kind: ClassVar[Kind] = "control"
    sigma: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sigma > 0:
            raise ValueError(f"sigma must be above 0, not {self.sigma:g}")

    def target(self, batch: Batch, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The Gaussian, for the samples that have a human map."""
        human, mapped = batch.human(grid)
        return centred_blob(grid, self.sigma, human.device, human.dtype).expand_as(human), mapped


@functools.cache  # the same in every step
def centred_blob(grid: tuple[int, int], sigma: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A Gaussian in the middle of the grid, (h, w), min–max scaled; ``sigma`` as a share of the side."""
    import torch

    y, x = ((torch.arange(size, device=device, dtype=dtype) + 0.5) / size - 0.5 for size in grid)
    distance = y[:, None].square() + x[None, :].square()
    return normalise((-distance / (2 * sigma**2)).exp())
