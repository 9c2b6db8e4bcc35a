"""Verify a result: from its weights to its predictions to its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from divsal_bench.errors import DivergedError, UserError
from divsal_bench.evaluation import predictions
from divsal_bench.networks.trained import protocol_of
from divsal_bench.scores.schema import ConditionScore, FieldScore, MapAgreement, Scores, Threshold
from divsal_bench.scores.scoring import margins, score

if TYPE_CHECKING:
    import pandas as pd

    from divsal_bench.data.arrays import DataArrays
    from divsal_bench.networks.backbones import CamNet
    from divsal_bench.runs.reading import Run

#: Largest |ΔAUROC| that counts as the same: other processors and libraries round in other places.
WITHIN = 1e-3
#: Largest |Δmargin| that counts as the same, in units of max(1, standard deviation of the recomputed margins), by
#: precision. Measured against float32 on small networks fitted to noise, which amplify rounding: another order of
#: float32 sums moves a margin by 1e-6, the TF32 of CUDA convolutions (imitated) by up to 5e-3, bfloat16 by up to 9e-2.
#: Several times as much is allowed. Other weights, or margins written by hand, differ by about 1.
MARGINS_WITHIN = {"fp32": 3e-2, "bf16": 3e-1}
#: Largest |Δ| of rates at a threshold and of calibration errors: an image on the threshold may fall on either side.
RATES_WITHIN = 2e-2
#: Of a map agreement: numbers of maps are the same, means differ by at most 1e-3 × max(1, |claimed|).
COUNTS = ("maps_negative", "maps_positive", "empty", "auc_maps", "cc_maps")
MEANS = ("pe", "lift", "auc", "cc", "pe_nonempty", "lift_nonempty")
#: Number to value and largest |Δ| that counts as the same.
Numbers = dict[str, tuple[float | None, float]]


@dataclass(frozen=True)
class ComparedNumber:
    """One number, claimed and found, None where there is none; ``allowed`` is the largest |Δ| that is the same."""

    name: str
    claimed: float | None
    found: float | None
    allowed: float = WITHIN

    @property
    def difference(self) -> float:
        """|Δ|; infinite where only one of both has the number."""
        if self.claimed is None or self.found is None:
            return 0.0 if self.claimed is self.found else float("inf")
        return abs(self.claimed - self.found)


@dataclass(frozen=True)
class Verification:
    """Everything that was compared.

    Attributes:
        aurocs: In-domain, open-set, worst, validation, and every condition.
        agreement: With people, of both kinds of map.
        others: Thresholds, rates at them, field metrics, and how many images everything is of.
        margin: The row whose margin differs most.
    """

    aurocs: tuple[ComparedNumber, ...]
    agreement: tuple[ComparedNumber, ...]
    margin: ComparedNumber
    others: tuple[ComparedNumber, ...] = ()

    @property
    def largest(self) -> float:
        """Largest |ΔAUROC|."""
        return max((line.difference for line in self.aurocs), default=0.0)

    @property
    def first_difference(self) -> ComparedNumber | None:
        """The first that differs by more than is allowed; None if the result is verified."""
        lines = (*self.aurocs, self.margin, *self.agreement, *self.others)
        return next((line for line in lines if not line.difference <= line.allowed), None)


def compare_with_weights(
    run: Run,
    model: CamNet,
    data: DataArrays,
    field_metrics: Sequence[str],
    claimed: Scores,
    claimed_margins: Mapping[str, float],
) -> Verification:
    """Recompute predictions from weights and compare what follows with a claim.

    Args:
        run: What was run; only its specification is read.
        model: From its weights, wherever they were found; see :func:`divsal_bench.networks.trained.load_model`.
        data: The data of the run, at the size of its protocol.
        field_metrics: Of the task.
        claimed_margins: Sample id to its margin, of every validation and test row.

    Raises:
        UserError: It is not the run's data, or its weights give scores that are not finite.
    """
    run.require_data(data.fingerprint)
    protocol = protocol_of(run)
    try:
        table = predictions.predictions(model, data, protocol)
    except DivergedError as error:
        raise UserError(f"{run.path}: its weights give no result: {error}") from None
    found = score(table, tuple(field_metrics))
    margin = compare_margins(claimed_margins, table, MARGINS_WITHIN[protocol.precision], run.path)
    others = (*compare_decisions(claimed, found, margin.allowed), *compare_counts(run, data))
    return Verification(compare_aurocs(claimed, found), compare_agreement(claimed, found), margin, others)


def compare_aurocs(claimed: Scores, found: Scores) -> tuple[ComparedNumber, ...]:
    """Set two sets of AUROCs side by side."""
    lines = [
        ComparedNumber(name.replace("_", "-"), getattr(claimed, name), getattr(found, name))
        for name in ("in_domain", "open_set", "worst", "validation")
    ]
    names = [one.name for one in claimed.conditions]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"the claim has the condition {twice[:60]!r} twice; nothing can be verified")
    before, after = ({c.name: c.auroc for c in scores.conditions} for scores in (claimed, found))
    lines += [ComparedNumber(f"condition {name}", before.get(name), after.get(name)) for name in {**before, **after}]
    return tuple(lines)


def compare_decisions(claimed: Scores, found: Scores, margin: float) -> tuple[ComparedNumber, ...]:
    """Set thresholds, rates at them, field metrics and counts side by side.

    Args:
        claimed, found: Two sets of scores.
        margin: What is allowed between two margins, and so between two thresholds on them.
    """
    primary = [float(one.primary == "open-set") for one in (claimed, found)]
    lines = [ComparedNumber("primary metric is open-set", primary[0], primary[1], 0.0)]
    for before, after in zip(numbers_by_name(claimed, margin), numbers_by_name(found, margin), strict=True):
        for name in {**before, **after}:
            old, new = before.get(name, {}), after.get(name, {})
            if not (old and new):
                lines.append(ComparedNumber(name, float(bool(old)), float(bool(new)), 0.0))
                continue
            for number in {**old, **new}:
                (first, allowed), (second, _) = (part.get(number, (None, 0.0)) for part in (old, new))
                lines.append(ComparedNumber(f"{name} {number}".strip(), first, second, allowed))
    return tuple(lines)


def numbers_by_name(scores: Scores, margin: float) -> tuple[dict[str, Numbers], ...]:
    """Conditions, thresholds and field metrics by name, which says everything about them that is not a number."""
    return (
        {f"condition {one.name} ({one.axis}, {one.kind})": condition_numbers(one) for one in scores.conditions},
        {f"threshold ({one.rule})": threshold_numbers(one, margin) for one in scores.thresholds},
        {f"{one.metric} on {one.condition}": field_numbers(one) for one in scores.field_metrics},
    )


def condition_numbers(one: ConditionScore) -> Numbers:
    """Of a condition, beside its AUROC."""
    return {
        "positives": (one.positives, 0.0),
        "negatives": (one.negatives, 0.0),
        "false-positive rate": (one.false_positive_rate, RATES_WITHIN),
    }


def threshold_numbers(one: Threshold, margin: float) -> Numbers:
    """Of a decision threshold."""
    return {"": (one.value, margin), "negatives": (one.negatives, 0.0)}


def field_numbers(one: FieldScore) -> Numbers:
    """Of a field metric."""
    species = {f"of {name}": (value, RATES_WITHIN) for name, value in one.species.items()}
    return {
        "": (one.value, RATES_WITHIN), "achieved": (one.achieved, RATES_WITHIN), "oracle": (one.oracle, RATES_WITHIN),
        **species,
    }  # fmt: skip


def compare_counts(run: Run, data: DataArrays) -> tuple[ComparedNumber, ...]:
    """How many images the record says its data has, and how many there are."""
    split = data.rows["split"].to_numpy(dtype=str)
    mapped = data.rows["has_map"].to_numpy(dtype=bool)
    facts = run.record.data
    return tuple(
        ComparedNumber(f"{name} images", float(claimed), float(found), 0.0)
        for name, claimed, found in (
            ("training", facts.train, (split == "train").sum()),
            ("validation", facts.validation, (split == "validation").sum()),
            ("test", facts.test, (split == "test").sum()),
            ("mapped training", facts.train_maps, (mapped & (split == "train")).sum()),
        )
    )


def compare_agreement(claimed: Scores, found: Scores) -> tuple[ComparedNumber, ...]:
    """Set agreement with people side by side; what only one of both has differs."""
    lines = []
    for kind in ("true_cam", "difference_map"):
        before: MapAgreement | None = getattr(claimed, kind)
        after: MapAgreement | None = getattr(found, kind)
        for name in (*COUNTS, *MEANS):
            old, new = (getattr(one, name, None) for one in (before, after))
            allowed = 0.0 if name in COUNTS else 1e-3 * max(1.0, abs(old or 0.0))
            lines.append(ComparedNumber(f"{kind} {name}", old, new, allowed))
    return tuple(lines)


def compare_margins(claimed: Mapping[str, float], table: pd.DataFrame, within: float, where: object) -> ComparedNumber:
    """The row whose margin differs most from the claimed one.

    Args:
        claimed: Sample id to margin.
        within: As :data:`MARGINS_WITHIN`.

    Raises:
        UserError: The claimed margins are of other rows.
    """
    names, found = table["sample_id"].astype(str).tolist(), margins(table)
    if set(names) != set(claimed):
        raise UserError(f"{where} has predictions on other samples than the data set holds; delete it and run again")
    old = np.array([claimed[name] for name in names])
    worst = int(np.argmax(np.abs(old - found)))  # NaN counts as the largest
    allowed = within * max(1.0, float(np.std(found)))
    split = table["split"].iloc[worst]
    return ComparedNumber(f"margin of {split} sample {names[worst]!r}", float(old[worst]), float(found[worst]), allowed)
