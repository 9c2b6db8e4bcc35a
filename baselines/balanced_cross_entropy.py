"""Cross-entropy with class weights, for imbalanced training data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from divsal_bench.contracts.method import Batch, Kind, Method, Outputs, TrainingSplit

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class BalancedCrossEntropy(Method):
    """Cross-entropy with weights 1 (minority) and N_min/N_maj (majority), counted in the training split.

    Zhang, Bieri, Günther, SDS 2024 (arXiv 2403.14435), with the weights of MOON (Rudd et al., ECCV 2016)
    for a balanced target. The sum is divided by the batch size, not by the sum of weights.
    """

    name: ClassVar[str] = "balanced-cross-entropy"
    kind: ClassVar[Kind] = "unguided"

    def setup(self, train: TrainingSplit) -> None:
        """Fix the class weights."""
        import torch

        counts = train.label_counts
        self._weights = torch.tensor([min(counts) / count for count in counts])
        if len(set(counts)) == 1:
            train.notices.append("the training classes are balanced, so this is cross-entropy")

    def loss(self, batch: Batch, out: Outputs) -> dict[str, Tensor]:
        """Σ w_y · CE_i / B."""
        from torch.nn.functional import cross_entropy

        self._weights = self._weights.to(out.logits)  # once: later they are there
        total = cross_entropy(out.logits, out.labels, weight=self._weights, reduction="sum")
        return {"loss": total / len(out.labels)}
