"""Control: CYBORG with the human map turned inside out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from divsal_bench.baselines.cyborg import Cyborg
from divsal_bench.contracts.method import Batch, Kind

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class CyborgInverted(Cyborg):
    """CYBORG with 1 − H: look everywhere except where people look."""

    name: ClassVar[str] = "cyborg-inverted"
    kind: ClassVar[Kind] = "control"

    def target(self, batch: Batch, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """1 − H for the same samples."""
        human, mapped = batch.human(grid)
        return 1 - human, mapped
