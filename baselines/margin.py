"""Margin: CYBORG, and a gap between the two CAMs inside the human map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from divsal_bench.contracts.cams import normalise
from divsal_bench.contracts.method import Batch, Guided, Kind, Outputs

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Margin(Guided):
    """Our reading: s = mean (N(M_t) − H)² + λ · mean H·relu(m − (N(M_t) − N(M_f))) / mean H.

    Our reading of the hypothesis of "Divisive Decisions" (Piland, Sweet, Czajka 2025, arXiv 2507.17000). It
    is not the paper's formula, which is not available to us; ``version`` is raised when the authors' formula
    replaces it. ``gap`` is m, ``weight`` is λ.
    """

    name: ClassVar[str] = "margin"
    kind: ClassVar[Kind] = "two-cam"
    gap: float = 0.5
    weight: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weight < 0:
            raise ValueError(f"weight must not be negative, not {self.weight:g}")

    def loss(self, batch: Batch, out: Outputs) -> dict[str, Tensor]:
        """α·CE + (1 − α)·mean over mapped samples of map distance and missing gap."""
        human, mapped = batch.human(out.grid)
        true, false = normalise(out.both_cams).unbind(1)
        distance = (true - human).square().mean((-2, -1))  # (B,)
        missing = (human * (self.gap - (true - false)).relu()).mean((-2, -1))  # (B,)
        # A mapped sample's H reaches 1 somewhere, so its mean is at least one cell; this guards the rest.
        area = human.mean((-2, -1)).clamp_min(1 / human[0].numel())
        return self.blended(out, distance + self.weight * missing / area, mapped)
