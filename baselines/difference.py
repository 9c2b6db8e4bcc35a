"""Difference Salience: the human map against the true-class minus the false-class CAM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from divsal_bench.contracts.cams import normalise
from divsal_bench.contracts.method import Batch, Guided, Kind, Outputs

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Difference(Guided):
    """The difference map should look like the human map: s = mean (N(M_t − M_f) − H)².

    "Difference Salience", Piland, Sweet, Czajka 2025 (arXiv 2507.17000): the unnormalised maps are
    subtracted first. Min–max scaling after the subtraction is our choice. M_t − M_f is the CAM of the logit
    margin: one vector added to both rows of the classifier changes CYBORG's loss but no decision; it leaves
    this loss as it is.
    """

    name: ClassVar[str] = "difference"
    kind: ClassVar[Kind] = "two-cam"

    def loss(self, batch: Batch, out: Outputs) -> dict[str, Tensor]:
        """α·CE + (1 − α)·mean over mapped samples of the mean squared difference."""
        human, mapped = batch.human(out.grid)
        saliency = (normalise(out.true_cam - out.false_cam) - human).square().mean((-2, -1))  # (B,)
        return self.blended(out, saliency, mapped)
