"""From the predictions of one run to all its numbers. A leaf: used when a run ends and when re-scored."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from divsal_bench.scores import metrics
from divsal_bench.scores.conditions import IN_DOMAIN, Condition
from divsal_bench.scores.field_scores import OPERATING_RATES, Rows, field_scores, in_domain_negatives, or_none
from divsal_bench.scores.layout import Layout, layout_of
from divsal_bench.scores.schema import ConditionScore, MapAgreement, Scores, Threshold

if TYPE_CHECKING:
    import pandas as pd

#: The operating point of tasks that name none: false-positive rates need some threshold.
DEFAULT_RATE = 0.05


def margins(predictions: pd.DataFrame) -> metrics.Floats:
    """The score: the logit margin z1 − z0 in float64, (N,)."""
    z0, z1 = (predictions[column].to_numpy(np.float64) for column in ("logit0", "logit1"))
    return np.asarray(z1 - z0)


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
        layout_of(predictions),
        field_metrics,
        mean_agreement(mapped, "true"),
        mean_agreement(mapped, "difference"),
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
        validation=or_none(metrics.auroc(validation.labels, validation.scores)),
        in_domain=in_domain,
        open_set=float(np.mean(unseen)) if unseen else None,
        worst=min(unseen) if unseen else None,
        conditions=scored,
        field_metrics=[
            row
            for name in field_metrics
            for condition in found
            for row in field_scores(name, condition, test, points, found)
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
        auroc=or_none(auroc),
        positives=int(condition.positives.sum()),
        negatives=int(condition.negatives.sum()),
        false_positive_rate=or_none(rate),
    )


def mean_agreement(test: pd.DataFrame, kind: str) -> MapAgreement | None:
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
        pe=or_none(rows[f"{kind}_pe"].mean()),
        lift=or_none(rows[f"{kind}_lift"].mean()),
        auc=or_none(rows[f"{kind}_auc"].mean()),
        auc_maps=int(rows[f"{kind}_auc"].notna().sum()),
        cc=or_none(rows[f"{kind}_cc"].mean()),
        cc_maps=int(rows[f"{kind}_cc"].notna().sum()),
        pe_nonempty=or_none(filled[f"{kind}_pe"].mean()),
        lift_nonempty=or_none(filled[f"{kind}_lift"].mean()),
    )
