"""CYBORG: the human map against one class's CAM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from divsal_bench.contracts.cams import normalise
from divsal_bench.contracts.method import Batch, Guided, Kind, Outputs

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Cyborg(Guided):
    """The true-class CAM should look like the human map: s = mean (N(M_t) − H)².

    Boyd, Tinsley, Bowyer, Czajka, WACV 2023 (arXiv 2112.00686). ``cam_class="predicted"`` compares the CAM
    of the predicted class instead, as part of the public code does.
    """

    name: ClassVar[str] = "cyborg"
    kind: ClassVar[Kind] = "one-cam"
    cam_class: Literal["true", "predicted"] = "true"

    def target(self, batch: Batch, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """H, (B, h, w), and which samples have one, (B,); the controls replace this."""
        return batch.human(grid)

    def loss(self, batch: Batch, out: Outputs) -> dict[str, Tensor]:
        """α·CE + (1 − α)·mean over mapped samples of the mean squared difference."""
        human, mapped = self.target(batch, out.grid)
        cam = out.true_cam if self.cam_class == "true" else out.predicted_cam
        saliency = (normalise(cam) - human).square().mean((-2, -1))  # (B,)
        return self.blended(out, saliency, mapped)
