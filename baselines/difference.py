"""Difference Salience: the human map against the true-class minus the false-class CAM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from divsal_bench.contracts.cams import blend, normalise
from divsal_bench.contracts.method import Batch, Kind, Method, Outputs, check_share

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Difference(Method):
    """The difference map should look like the human map: s = mean (N(M_t − M_f) − H)².

    "Difference Salience", Piland, Sweet, Czajka 2025 (arXiv 2507.17000): the unnormalised maps are
    subtracted first. Min–max scaling after the subtraction is our choice. M_t − M_f is the CAM of the logit
    margin: one vector added to both rows of the classifier changes CYBORG's loss but no decision; it leaves
    this loss as it is.
    """

    name: ClassVar[str] = "difference"
    kind: ClassVar[Kind] = "two-cam"
    alpha: float = 0.5

    def __post_init__(self) -> None:
        check_share("alpha", self.alpha)

    def loss(self, batch: Batch, out: Outputs) -> dict[str, Tensor]:
        """α·CE + (1 − α)·mean over mapped samples of the mean squared difference."""
        human, mapped = batch.human(out.grid)
        saliency = (normalise(out.true_cam - out.false_cam) - human).square().mean((-2, -1))  # (B,)
        return {
            "loss": blend(out.cross_entropy, saliency, mapped, self.alpha),
            "cross_entropy": out.cross_entropy,
        }
