"""Verify a result: from its weights to its predictions to its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from divsal_bench import evaluation
from divsal_bench.errors import UserError
from divsal_bench.records import Scores
from divsal_bench.scoring import score
from divsal_bench.trained import protocol_of

if TYPE_CHECKING:
    from divsal_bench.backbones import CamNet
    from divsal_bench.data.arrays import DataArrays
    from divsal_bench.records import Run

#: Largest |ΔAUROC| that counts as the same: other processors and libraries round in other places.
WITHIN = 1e-3


@dataclass(frozen=True)
class Line:
    """One AUROC, as claimed and as found; None where there is none."""

    name: str
    claimed: float | None
    found: float | None

    @property
    def difference(self) -> float:
        """|Δ|; infinite where only one of both has the metric."""
        if self.claimed is None or self.found is None:
            return 0.0 if self.claimed is self.found else float("inf")
        return abs(self.claimed - self.found)


@dataclass(frozen=True)
class Verification:
    """In-domain, open-set, worst, and every condition."""

    lines: tuple[Line, ...]

    @property
    def largest(self) -> float:
        """Largest |ΔAUROC|."""
        return max((line.difference for line in self.lines), default=0.0)

    @property
    def first_difference(self) -> Line | None:
        """The first that differs by more than :data:`WITHIN`; None if the result is verified."""
        return next((line for line in self.lines if not line.difference <= WITHIN), None)


def verify(run: Run, model: CamNet, data: DataArrays, field_metrics: Sequence[str], claimed: Scores) -> Verification:
    """Recompute predictions from weights and compare what follows with a claim.

    Args:
        run: What was run; only its specification is read.
        model: From its weights, wherever they were found; see :func:`divsal_bench.trained.load_model`.
        data: The data of the run, at the size of its protocol.
        field_metrics: Of the task.
        claimed: The numbers to check.

    Raises:
        UserError: It is not the run's data.
    """
    if data.fingerprint != run.spec.data_fingerprint:
        raise UserError(
            f"the data given has fingerprint {data.fingerprint[:8]}, {run.path} was run on "
            f"{run.spec.data_fingerprint[:8]}; give that with --data"
        )
    found = score(evaluation.predictions(model, data, protocol_of(run)), tuple(field_metrics))
    return compare(claimed, found)


def compare(claimed: Scores, found: Scores) -> Verification:
    """Set two sets of AUROCs side by side."""
    lines = [
        Line(name.replace("_", "-"), getattr(claimed, name), getattr(found, name))
        for name in ("in_domain", "open_set", "worst")
    ]
    before, after = ({c.name: c.auroc for c in scores.conditions} for scores in (claimed, found))
    lines += [Line(f"condition {name}", before.get(name), after.get(name)) for name in {**before, **after}]
    return Verification(tuple(lines))
