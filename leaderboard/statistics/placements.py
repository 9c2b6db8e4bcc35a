"""AUROC per condition, and how much each test subject moves the primary metric of each run.

The influence values are what the Obuchowski-Rockette test in `divsal_bench.leaderboard.statistics.reader_case` needs of
the test images: the sum over subjects of the product of two runs' influence values estimates the covariance
that the two runs share because they were scored on the same images.

Sources:
    DeLong, DeLong, Clarke-Pearson 1988, Biometrics 44:837 (placement values, one row per subject);
    Obuchowski 1997, Biometrics 53:567 (several rows per subject).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class AurocRows:
    """The test rows that one AUROC is computed from.

    Attributes:
        name: Shown in messages, e.g. the name of an unseen source.
        positives: (N,) mask of the rows with label 1.
        negatives: (N,) mask of the rows with label 0; conditions may share them.
    """

    name: str
    positives: Bools
    negatives: Bools


@dataclass(frozen=True)
class SubjectCounts:
    """How many people a condition rests on.

    Attributes:
        positives: Subjects with at least one positive row.
        negatives: Subjects with at least one negative row.
        largest_share: Of the rows of either class, the largest share that one subject has, in (0, 1].
    """

    name: str
    positives: int
    negatives: int
    largest_share: float


@dataclass(frozen=True, eq=False)
class ConditionScores:
    """What `clustered_influence` found for R runs on C conditions with K subjects.

    Attributes:
        auroc: (R, C) AUROC of each run on each condition, in [0, 1].
        primary: (R,) mean over the conditions, the primary metric.
        influence: (R, K) change of `primary` due to each subject; NaN where it cannot be estimated.
        subjects: (K,) the subjects, sorted, in the order of the columns of `influence`.
    """

    auroc: Floats
    primary: Floats
    influence: Floats
    subjects: npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Placements:
    """Where the rows of each class stand among those of the other, on one condition.

    Attributes:
        auroc: (...) AUROC.
        v10: (..., n1) of each positive, the share of negatives that score below it, ties one half.
        v01: (..., n0) of each negative, the share of positives that score above it, ties one half.
    """

    auroc: Floats
    v10: Floats
    v01: Floats


def clustered_influence(scores: Floats, conditions: Sequence[AurocRows], subjects: npt.NDArray[Any]) -> ConditionScores:
    """Compute AUROC per run and condition, their mean, and the influence of each subject on that mean.

    For run r and subject k, with theta_c the AUROC of condition c, n1 and n0 its positives and negatives, and
    m1 and m0 the numbers of subjects that have such rows:

        I_r[k] = sum_c 1/C * [ sum over k's positives (V10 - theta_c)/n1 * sqrt(m1/(m1 - 1))
                             + sum over k's negatives (V01 - theta_c)/n0 * sqrt(m0/(m0 - 1)) ]

    V10 of a positive is the share of negatives that score below it, V01 of a negative the share of positives
    that score above it; ties count one half. The sums over conditions are taken before anything is squared,
    so a negative that serves two conditions brings its covariance between them along. With one row per
    subject and one condition, the sum of I_r[k]^2 is DeLong's variance; where every subject has one class
    only, or every subject has both, it is Obuchowski's clustered variance.

    With m1 = 1 or m0 = 1 nothing is known of how subjects differ in that class: the influence of every run is
    then NaN and every test built on it `undefined`. The AUROC itself stays.

    Args:
        scores: (R, N) logit margins, higher = more positive; infinities are legal, NaN is not.
        conditions: At least one, each with rows of both classes.
        subjects: (N,) the subject of each row, of any sortable type.

    Raises:
        ValueError: A shape does not fit, a score is NaN, a condition lacks a class, or a row is in both.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or np.shape(subjects) != scores.shape[1:]:
        raise ValueError(f"scores {scores.shape} must be (R, N) with subjects {np.shape(subjects)} (N,)")
    if np.isnan(scores).any():
        raise ValueError("a score is NaN: such a run has failed and has no AUROC")
    if not conditions:
        raise ValueError("no condition to score")
    names, codes = np.unique(subjects, return_inverse=True)

    auroc = np.empty((scores.shape[0], len(conditions)))
    influence = np.zeros((scores.shape[0], len(names)))
    classes = [_class_rows(condition, scores.shape[1]) for condition in conditions]
    for column, (found, rows) in enumerate(zip(placements(scores, conditions), classes, strict=True)):
        auroc[:, column] = found.auroc
        for values, own in zip((found.v10, found.v01), rows, strict=True):
            influence += _sum_by_subject(values - found.auroc[:, None], codes[own], len(names)) / len(conditions)
    return ConditionScores(auroc, auroc.mean(axis=1), influence, names)


def count_subjects(conditions: Sequence[AurocRows], subjects: npt.NDArray[Any]) -> list[SubjectCounts]:
    """Count the subjects behind each class of each condition.

    Args:
        conditions: Each with rows of both classes.
        subjects: (N,) the subject of each row, of any sortable type.
    """
    found = []
    for condition in conditions:
        positive, negative = _class_rows(condition, len(subjects))
        rows_each = [np.unique(subjects[rows], return_counts=True)[1] for rows in (positive, negative)]
        largest = max(float(rows.max() / rows.sum()) for rows in rows_each)
        found.append(SubjectCounts(condition.name, len(rows_each[0]), len(rows_each[1]), largest))
    return found


def _class_rows(condition: AurocRows, n: int) -> tuple[Ints, Ints]:
    """Return the row numbers of a condition's positives and negatives, after checking the masks."""
    masks = (np.asarray(condition.positives), np.asarray(condition.negatives))
    # An array of row numbers would index without complaint and mean something else.
    if any(mask.dtype != np.bool_ or mask.shape != (n,) for mask in masks):
        raise ValueError(f"condition {condition.name!r}: masks must be boolean with shape ({n},)")
    if (masks[0] & masks[1]).any():
        raise ValueError(f"condition {condition.name!r}: a row is both positive and negative")
    if not (masks[0].any() and masks[1].any()):
        raise ValueError(f"condition {condition.name!r}: no AUROC with one class only")
    return np.flatnonzero(masks[0]), np.flatnonzero(masks[1])


def placements(scores: Floats, conditions: Sequence[AurocRows]) -> list[Placements]:
    """Place every row of a class among the rows of the other class, on each condition: O(N log N), not all pairs.

    Pairs are counted in halves, which are exact in binary: runs that order the rows differently but equally well get
    the identical AUROC, so that "no difference" is exactly 0.

    Args:
        scores: (..., N), without NaN.
        conditions: Each with rows of both classes.
    """
    used = np.logical_or.reduce([mask for c in conditions for mask in (c.positives, c.negatives)])
    if not used.all():
        scores = scores[..., used]
    order = np.argsort(scores, axis=-1)
    ordered = np.take_along_axis(scores, order, axis=-1)
    tied = ordered[..., 1:] == ordered[..., :-1]
    ends = _ends_of_ties(tied) if tied.any() else None
    below: dict[bytes, Floats] = {}
    found = []
    for condition in conditions:
        masks = positives, negatives = condition.positives[used], condition.negatives[used]
        for mask in masks:
            if mask.tobytes() not in below:
                below[mask.tobytes()] = _number_below(order, mask, ends)
        n1, n0 = int(positives.sum()), int(negatives.sum())
        negatives_below = below[negatives.tobytes()][..., positives]
        positives_below = below[positives.tobytes()][..., negatives]
        auroc = np.asarray(negatives_below.sum(axis=-1) / (n1 * n0))
        found.append(Placements(auroc, negatives_below / n0, 1.0 - positives_below / n1))
    return found


def _ends_of_ties(tied: Bools) -> tuple[Ints, Ints]:
    """For each place in the order, (..., N), where the scores that tie with it begin, and where they have ended."""
    n = tied.shape[-1] + 1
    first = np.zeros((*tied.shape[:-1], n), dtype=np.intp)
    first[..., 1:] = np.where(tied, 0, np.arange(1, n))
    last = np.full_like(first, n)
    last[..., :-1] = np.where(tied, n, np.arange(1, n))
    return np.maximum.accumulate(first, axis=-1), np.minimum.accumulate(last[..., ::-1], axis=-1)[..., ::-1]


def _number_below(order: Ints, mask: Bools, ends: tuple[Ints, Ints] | None) -> Floats:
    """Count for each row, (..., N), the rows of `mask` (N,) that score below it, ties one half."""
    member = mask[order]
    counts = np.cumsum(member, axis=-1, dtype=np.int32)
    if ends is None:
        ordered = (counts - member).astype(np.float64)
    else:
        counts = np.concatenate([np.zeros_like(counts[..., :1]), counts], axis=-1)
        lower, upper = (np.take_along_axis(counts, end, axis=-1) for end in ends)
        ordered = (lower + upper) / 2.0
    found = np.empty(order.shape)
    np.put_along_axis(found, order, ordered, axis=-1)
    return found


def _sum_by_subject(deviations: Floats, codes: Ints, n_subjects: int) -> Floats:
    """Sum (R, n) deviations over each subject's rows, to (R, K), times sqrt(m/(m - 1)) / n."""
    n, m = len(codes), len(np.unique(codes))
    if m == 1:
        return np.full((len(deviations), n_subjects), np.nan)
    weight = np.sqrt(m / (m - 1)) / n
    by_subject = sparse.csr_array((np.full(n, weight), (codes, np.arange(n))), shape=(n_subjects, n))
    return np.asarray((by_subject @ deviations.T).T, dtype=np.float64)
