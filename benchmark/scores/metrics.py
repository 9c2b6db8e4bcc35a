"""Metrics of binary scores. A leaf: numpy, scipy and scikit-learn, no torch, nothing else of the project.

Higher scores mean class 1. A row is called positive when its score is at or above the threshold. Scores are
logit margins in float64: probabilities tie when they saturate. One class only gives NaN, never a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.integer]


def auroc(labels: Labels, scores: Floats) -> float:
    """Area under the ROC curve, ties ½; NaN with one class.

    Pairs are counted in whole numbers: runs that order the rows differently but equally well get the identical
    number. scikit-learn's differs in the last bits and takes thirty times as long, most of it on checks.

    Args:
        labels: (N,), 0 or 1.
        scores: (N,), finite.

    Raises:
        ValueError: A score is NaN.
    """
    if np.isnan(scores).any():
        raise ValueError("a score is NaN")
    negatives, positives = np.sort(scores[labels == 0]), scores[labels == 1]
    if len(negatives) == 0 or len(positives) == 0:
        return float("nan")
    below = int(np.searchsorted(negatives, positives, side="left").sum())
    not_above = int(np.searchsorted(negatives, positives, side="right").sum())
    return (below + not_above) / (2 * len(negatives) * len(positives))


def average_precision(labels: Labels, scores: Floats) -> float:
    """Average precision; NaN with one class. It depends on the prevalence."""
    from sklearn.metrics import average_precision_score

    if len(np.unique(labels)) < 2:
        return float("nan")
    return float(average_precision_score(labels, scores))


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold, and the rule that set it.

    Attributes:
        rate: The false-positive rate (BPCER; 1 − specificity) that the rule allows.
        threshold: May be infinite: nothing is called positive.
        negatives: How many negatives set it.
    """

    rate: float
    threshold: float
    negatives: int


def operating_point(labels: Labels, scores: Floats, rate: float) -> OperatingPoint:
    """The lowest threshold whose false-positive rate is at most ``rate``.

    Candidates are all distinct scores of both classes, and infinity: negatives' scores alone are not enough
    when scores tie.

    Raises:
        ValueError: No negatives.
    """
    negatives = np.sort(scores[labels == 0])
    if len(negatives) == 0:
        raise ValueError("an operating point needs negatives")
    candidates = np.append(np.unique(scores), np.inf)
    false_positives = len(negatives) - np.searchsorted(negatives, candidates, side="left")
    # Compared in whole rows: 0.05 × 100 is not exactly 5 in floating point.
    allowed = np.floor(rate * len(negatives) + 1e-9)
    return OperatingPoint(rate, float(candidates[false_positives <= allowed][0]), len(negatives))


def rate_at(scores: Floats, threshold: float) -> float:
    """Share of scores at or above the threshold; NaN when there are none."""
    return float(np.mean(scores >= threshold)) if len(scores) else float("nan")


def species_apcer(scores: Floats, species: npt.NDArray[np.object_], threshold: float) -> dict[str, float]:
    """Attack presentation classification error rate of each attack species (ISO/IEC 30107-3).

    Args:
        scores: Scores of attack presentations only, (N,).
        species: Attack species, (N,).
        threshold: Attacks below it are missed.

    Returns:
        Species, sorted, to the share of its attacks that are missed.
    """
    return {str(name): 1 - rate_at(scores[species == name], threshold) for name in sorted(set(species))}


def equal_error_rate(negatives: Floats, positives: Floats) -> float:
    """The rate at which false positives equal misses, interpolated linearly along the ROC curve.

    Args:
        negatives: Scores of negatives, (N,).
        positives: Scores of positives, (M,).

    Returns:
        In [0, 1]; NaN when either side is empty.
    """
    if len(negatives) == 0 or len(positives) == 0:
        return float("nan")
    thresholds = np.append(np.unique(np.concatenate([negatives, positives])), np.inf)
    false_positives = 1 - np.searchsorted(np.sort(negatives), thresholds, side="left") / len(negatives)
    misses = np.searchsorted(np.sort(positives), thresholds, side="left") / len(positives)
    gap = misses - false_positives  # rises from −1 to +1
    after = int(np.argmax(gap >= 0))
    if gap[after] == 0 or after == 0:
        return float(misses[after])
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(misses[after - 1] + share * (misses[after] - misses[after - 1]))


def detection_equal_error_rate(negatives: Floats, positives: Sequence[Floats]) -> float:
    """D-EER (ISO/IEC 30107-3): the equal error rate of the attack species that is detected worst.

    Each species has an equal error rate of its own, against all negatives; the largest is reported.

    Args:
        negatives: Scores of bona fide presentations, (N,).
        positives: Scores of attacks, one array a species.

    Returns:
        In [0, 1]; NaN when there are no negatives, no species, or a species without scores.
    """
    rates = [equal_error_rate(negatives, scores) for scores in positives]
    return float(np.max(rates)) if rates else float("nan")


def expected_calibration_error(labels: Labels, margins: Floats, bins: int = 15) -> float:
    """Expected calibration error of the probabilities of class 1, in bins of equal mass.

    Rows that tie count as equals: where they fall into several bins, each bin gets the same share of their
    positives, so that the order of the rows changes nothing.

    Args:
        labels: (N,), 0 or 1.
        margins: Logit margins, (N,).
        bins: How many; fewer rows than bins give one row a bin.
    """
    from scipy.special import expit

    if len(labels) == 0:
        return float("nan")
    values, group = np.unique(margins, return_inverse=True)
    positives = np.bincount(group, weights=labels, minlength=len(values)) / np.bincount(group)
    rows = np.sort(group)
    parts = np.array_split(rows, min(bins, len(rows)))
    probabilities = expit(values)
    gaps = [abs(probabilities[part].mean() - positives[part].mean()) * len(part) for part in parts]
    return float(sum(gaps) / len(labels))
