"""Contrast: the true-class CAM towards the human map, the false-class CAM away from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from divsal_bench.contracts.cams import normalise
from divsal_bench.contracts.method import Batch, Guided, Kind, Outputs

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Contrast(Guided):
    """Our reading: s = ½ mean (N(M_t) − H)² + ½ mean (N(M_f) − (1 − H))².

    Our reading of the hypothesis of "Divisive Decisions" (Piland, Sweet, Czajka 2025, arXiv 2507.17000),
    that true- and false-class CAMs should diverge where people see the evidence. It is not the paper's
    formula, which is not available to us; ``version`` is raised when the authors' formula replaces it.
    """

    name: ClassVar[str] = "contrast"
    kind: ClassVar[Kind] = "two-cam"

    def loss(self, batch: Batch, out: Outputs) -> dict[str, Tensor]:
        """α·CE + (1 − α)·mean over mapped samples of the two halves."""
        human, mapped = batch.human(out.grid)
        true, false = normalise(out.both_cams).unbind(1)
        towards = (true - human).square().mean((-2, -1))  # (B,)
        away = (false - (1 - human)).square().mean((-2, -1))  # (B,)
        return self.blended(out, (towards + away) / 2, mapped)
