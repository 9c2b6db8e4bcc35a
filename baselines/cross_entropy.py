"""Plain training without human maps: the baseline of every comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from divsal_bench.contracts.method import Batch, Kind, Method, Outputs

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class CrossEntropy(Method):
    """Mean cross-entropy; human maps are not used."""

    name: ClassVar[str] = "cross-entropy"
    kind: ClassVar[Kind] = "unguided"

    def loss(self, batch: Batch, out: Outputs) -> dict[str, Tensor]:
        """CE, averaged over the batch."""
        return {"loss": out.cross_entropy}
