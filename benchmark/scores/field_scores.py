"""The field's own metrics on one condition, at operating points that validation set."""

from __future__ import annotations

import math

import numpy as np

from divsal_bench.scores import metrics
from divsal_bench.scores.conditions import IN_DOMAIN, Condition
from divsal_bench.scores.schema import FieldScore

#: Field metric to the false-positive rate (BPCER, 1 − specificity) of its operating point.
OPERATING_RATES = {"apcer@bpcer=1%": 0.01, "bpcer@bpcer=1%": 0.01, "sensitivity@specificity=95%": 0.05}
#: Older runs were made with other definitions: of tied scores and of several species run.json may say another number.
REDEFINED = ("ece", "d-eer")


class Rows:
    """Labels (N,), scores (N,) and categories (N,) of one split."""

    def __init__(self, labels: metrics.Labels, scores: metrics.Floats, categories: np.ndarray | None = None) -> None:
        self.labels = labels
        self.scores = scores
        self.categories = categories if categories is not None else np.full(len(labels), "", object)


def in_domain_negatives(found: list[Condition]) -> int:
    """How many there are to check an operating point with."""
    return next((int(c.negatives.sum()) for c in found if c.name == IN_DOMAIN), 0)


def field_scores(
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
    return [FieldScore(metric=name, condition=condition.name, value=or_none(value))]


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


def or_none(value: float) -> float | None:
    """None for NaN, as JSON has no NaN."""
    return None if math.isnan(value) else float(value)
