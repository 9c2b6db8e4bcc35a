"""Control: CYBORG with the same centred blob for every image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from divsal_bench.baselines.cyborg import Cyborg
from divsal_bench.contracts.cams import normalise
from divsal_bench.contracts.method import Batch, Kind

if TYPE_CHECKING:
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
        import torch

        human, mapped = batch.human(grid)
        y, x = ((torch.arange(size, device=human.device, dtype=human.dtype) + 0.5) / size - 0.5 for size in grid)
        distance = y[:, None].square() + x[None, :].square()
        blob = normalise((-distance / (2 * self.sigma**2)).exp())
        return blob.expand_as(human), mapped
