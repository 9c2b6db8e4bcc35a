"""From the predictions of one run to all its numbers. A leaf: used when a run ends and when re-scored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from divsal_bench.scores import metrics
from divsal_bench.scores.conditions import IN_DOMAIN, Condition, restore
from divsal_bench.scores.schema import ConditionScore, FieldScore, MapAgreement, Scores, Threshold

if TYPE_CHECKING:
    import pandas as pd

#: Field metric to the false-positive rate (BPCER, 1 − specificity) of its operating point.
OPERATING_RATES = {"apcer@bpcer=1%": 0.01, "bpcer@bpcer=1%": 0.01, "sensitivity@specificity=95%": 0.05}
#: Older runs were made with other definitions: of tied scores and of several species run.json may say another number.
REDEFINED = ("ece", "d-eer")
#: The operating point of tasks that name none: false-positive rates need some threshold.
DEFAULT_RATE = 0.05


def margins(predictions: pd.DataFrame) -> metrics.Floats:
    """The score: the logit margin z1 − z0 in float64, (N,)."""
    z0, z1 = (predictions[column].to_numpy(np.float64) for column in ("logit0", "logit1"))
    return np.asarray(z1 - z0)


@dataclass(frozen=True, eq=False)
class Layout:
    """What all runs scored on the same rows share: which row is what.

    Attributes:
        is_test: (N,); the other rows are validation.
        validation: Labels of the validation rows.
        test: Labels of the test rows.
        categories: Of the test rows.
        conditions: Of the test rows.
    """

    is_test: npt.NDArray[np.bool_]
    validation: metrics.Labels
    test: metrics.Labels
    categories: npt.NDArray[np.object_]
    conditions: list[Condition]


def layout(rows: pd.DataFrame) -> Layout:
    """Sort validation and test rows, columns split, label, condition, condition_axis and category."""
    labels = rows["label"].to_numpy(np.int64)
    is_test = (rows["split"] == "test").to_numpy()
    found = restore(
        labels[is_test],
        rows["condition"].to_numpy(object)[is_test],
        rows["condition_axis"].to_numpy(object)[is_test],
    )
    categories = rows["category"].to_numpy(object)[is_test]
    return Layout(is_test, labels[~is_test], labels[is_test], categories, found)


def score(predictions: pd.DataFrame, field_metrics: tuple[str, ...]) -> Scores:
    """Compute every number of a run.

    Args:
        predictions: Validation and test rows: split, label, condition, condition_axis, category, logit0,
            logit1, and agreement columns (``true_pe``, ``difference_lift``, …), NaN without a human map.
        field_metrics: What the task's field prints beside AUROC.

    Raises:
        ValueError: A score is not finite.
    """
    mapped = predictions[(predictions["split"] == "test").to_numpy()]
    return score_margins(
        margins(predictions),
        layout(predictions),
        field_metrics,
        map_agreement(mapped, "true"),
        map_agreement(mapped, "difference"),
    )


def score_margins(
    values: metrics.Floats,
    rows: Layout,
    field_metrics: tuple[str, ...],
    true_cam: MapAgreement | None = None,
    difference_map: MapAgreement | None = None,
) -> Scores:
    """Compute every number that follows from the margins.

    Args:
        values: Logit margins, (N,), in the order of the layout.
        rows: What each of them belongs to.
        field_metrics: What the task's field prints beside AUROC.
        true_cam: Agreement with people, which margins do not tell; it is passed on.
        difference_map: The same, of the difference map.

    Raises:
        ValueError: A score is not finite.
    """
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} of {len(values)} scores are not finite")
    validation = Rows(rows.validation, values[~rows.is_test])
    test = Rows(rows.test, values[rows.is_test], rows.categories)
    found = rows.conditions
    rates = sorted({OPERATING_RATES[name] for name in field_metrics if name in OPERATING_RATES}) or [DEFAULT_RATE]
    points = {rate: metrics.operating_point(validation.labels, validation.scores, rate) for rate in rates}
    first = points[rates[0]]
    enough = min(first.negatives, in_domain_negatives(found)) >= math.ceil(1 / first.rate)
    scored = [condition_score(condition, test, first, enough) for condition in found]
    unseen = [
        row.auroc
        for row, condition in zip(scored, found, strict=True)
        if condition.in_primary and row.auroc is not None
    ]
    in_domain = next((row.auroc for row in scored if row.name == IN_DOMAIN), None)
    return Scores(
        primary="open-set" if unseen else "in-domain",
        validation=number(metrics.auroc(validation.labels, validation.scores)),
        in_domain=in_domain,
        open_set=float(np.mean(unseen)) if unseen else None,
        worst=min(unseen) if unseen else None,
        conditions=scored,
        field_metrics=[
            row
            for name in field_metrics
            for condition in found
            for row in field_score(name, condition, test, points, found)
        ],
        thresholds=[
            Threshold(
                rule=f"lowest threshold with a false-positive rate of at most {rate:g} on the validation split",
                rate=rate,
                value=point.threshold if math.isfinite(point.threshold) else None,
                negatives=point.negatives,
            )
            for rate, point in points.items()
        ],
        true_cam=true_cam,
        difference_map=difference_map,
    )


class Rows:
    """Labels (N,), scores (N,) and categories (N,) of one split."""

    def __init__(self, labels: metrics.Labels, scores: metrics.Floats, categories: np.ndarray | None = None) -> None:
        self.labels = labels
        self.scores = scores
        self.categories = categories if categories is not None else np.full(len(labels), "", object)


def number(value: float) -> float | None:
    """None for NaN, as JSON has no NaN."""
    return None if math.isnan(value) else float(value)


def condition_score(condition: Condition, test: Rows, point: metrics.OperatingPoint, enough: bool) -> ConditionScore:
    """AUROC of one condition and, with enough negatives, its false-positive rate at the validation threshold."""
    rows = condition.positives | condition.negatives
    auroc = metrics.auroc(test.labels[rows], test.scores[rows]) if condition.has_auroc else math.nan
    rate = metrics.rate_at(test.scores[condition.negatives], point.threshold) if enough else math.nan
    return ConditionScore(
        name=condition.name,
        axis=condition.axis,
        kind=condition.kind,
        reason=condition.reason,
        auroc=number(auroc),
        positives=int(condition.positives.sum()),
        negatives=int(condition.negatives.sum()),
        false_positive_rate=number(rate),
    )


def in_domain_negatives(found: list[Condition]) -> int:
    """How many there are to check an operating point with."""
    return next((int(c.negatives.sum()) for c in found if c.name == IN_DOMAIN), 0)


def field_score(
    name: str,
    condition: Condition,
    test: Rows,
    points: dict[float, metrics.OperatingPoint],
    found: list[Condition],
) -> list[FieldScore]:
    """One field metric on one condition; nothing where the condition lacks what it measures."""
    positives, negatives = test.scores[condition.positives], test.scores[condition.negatives]
    if len(negatives) == 0 or (len(positives) == 0 and name != "bpcer@bpcer=1%"):
        return []
    rows = condition.positives | condition.negatives
    labels, scores = test.labels[rows], test.scores[rows]
    species = test.categories[condition.positives]
    if name in OPERATING_RATES:
        rate = OPERATING_RATES[name]
        return [at_operating_point(name, condition.name, positives, negatives, species, points[rate], found)]
    if name == "d-eer":
        value = metrics.detection_equal_error_rate(negatives, [positives[species == s] for s in sorted(set(species))])
    elif name == "eer":
        value = metrics.equal_error_rate(negatives, positives)
    elif name == "ap":
        value = metrics.average_precision(labels, scores)
    elif name == "ece":
        value = metrics.expected_calibration_error(labels, scores)
    else:
        raise ValueError(f"unknown field metric {name!r}")
    return [FieldScore(metric=name, condition=condition.name, value=number(value))]


def at_operating_point(
    name: str,
    condition: str,
    positives: metrics.Floats,
    negatives: metrics.Floats,
    species: np.ndarray,
    point: metrics.OperatingPoint,
    found: list[Condition],
) -> FieldScore:
    """A rate at the threshold set on validation, with the rate really achieved and the same-set oracle."""
    in_domain = in_domain_negatives(found)
    needed = math.ceil(1 / point.rate)
    if min(point.negatives, in_domain) < needed:
        note = f"n/a (N_val={point.negatives}, N_test={in_domain}; {needed} negatives are needed in each)"
        return FieldScore(metric=name, condition=condition, value=None, note=note)
    achieved = metrics.rate_at(negatives, point.threshold)
    if name.startswith("bpcer"):
        return FieldScore(metric=name, condition=condition, value=achieved, achieved=achieved)
    both = np.concatenate([negatives, positives])
    classes = np.concatenate([np.zeros(len(negatives), int), np.ones(len(positives), int)])
    own = metrics.operating_point(classes, both, point.rate).threshold
    if name.startswith("apcer"):
        missed = metrics.species_apcer(positives, species, point.threshold)
        oracle = max(metrics.species_apcer(positives, species, own).values())
        return FieldScore(
            metric=name,
            condition=condition,
            value=max(missed.values()),
            achieved=achieved,
            oracle=oracle,
            species=missed,
        )
    return FieldScore(
        metric=name,
        condition=condition,
        value=metrics.rate_at(positives, point.threshold),
        achieved=1 - achieved,
        oracle=metrics.rate_at(positives, own),
    )


def map_agreement(test: pd.DataFrame, kind: str) -> MapAgreement | None:
    """Means over the test rows that have a human map; None when there are none."""
    column = f"{kind}_pe"
    rows = test[test[column].notna()] if column in test else test.iloc[:0]
    if len(rows) == 0:
        return None
    filled = rows[rows[f"{kind}_empty"] == 0]
    positives = int((rows["label"] == 1).sum())
    return MapAgreement(
        maps_negative=len(rows) - positives,
        maps_positive=positives,
        empty=len(rows) - len(filled),
        pe=number(rows[f"{kind}_pe"].mean()),
        lift=number(rows[f"{kind}_lift"].mean()),
        auc=number(rows[f"{kind}_auc"].mean()),
        auc_maps=int(rows[f"{kind}_auc"].notna().sum()),
        cc=number(rows[f"{kind}_cc"].mean()),
        cc_maps=int(rows[f"{kind}_cc"].notna().sum()),
        pe_nonempty=number(filled[f"{kind}_pe"].mean()),
        lift_nonempty=number(filled[f"{kind}_lift"].mean()),
    )
