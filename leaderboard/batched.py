"""The statistics of the board for many simulated boards at once.

One board at a time, the functions of `placements`, `reader_case` and `families` need minutes for what
`divsal-bench calibrate` does in seconds. These give the same numbers to 1e-10, which a test asserts on the
same boards: without it, a calibration would speak of a copy. They know nothing of edge cases (ties, a
variance of 0, missing seeds), which simulated scores do not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from divsal_bench.leaderboard.families import ALPHA
from divsal_bench.leaderboard.placements import Condition
from divsal_bench.leaderboard.reader_case import LEVEL

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Estimates:
    """Means over seeds or their differences, with everything that a test and an interval need.

    Attributes:
        mean: (B, m) mean over seeds.
        variance: (B, m) s^2/n + c+.
        df: (B, m) degrees of freedom.
    """

    mean: Floats
    variance: Floats
    df: Floats

    def p(self) -> Floats:
        """(B, m) two-sided p of "the mean is 0", not adjusted."""
        return np.asarray(2.0 * stats.t.sf(np.abs(self.mean) / np.sqrt(self.variance), self.df))

    def half_width(self) -> Floats:
        """(B, m) half the 95 % population interval of a difference."""
        return np.asarray(stats.t.ppf(0.5 + LEVEL / 2, self.df) * np.sqrt(self.variance))

    def difference_covers(self, truth: Floats) -> Bools:
        """(B, m) whether the interval of a difference contains `truth` (m,)."""
        return np.asarray(np.abs(self.mean - truth) <= self.half_width())

    def mean_covers(self, truth: Floats) -> Bools:
        """(B, m) whether the interval of one method's mean, which is one of logits, contains `truth` (m,)."""
        distance = np.abs(special.logit(self.mean) - special.logit(truth)) * self.mean * (1.0 - self.mean)
        return np.asarray(distance <= self.half_width())


def clustered_influence(scores: Floats, conditions: Sequence[Condition], subjects: Ints) -> tuple[Floats, Floats]:
    """Compute primary metric (...) and influence (..., K) of scores (..., N), as `placements` does for (R, N).

    Raises:
        ValueError: Two scores of one run are equal.
    """
    order = np.argsort(scores, axis=-1)
    ordered = np.take_along_axis(scores, order, axis=-1)
    if (ordered[..., 1:] == ordered[..., :-1]).any():
        raise ValueError("ties: simulated scores are continuous")
    below = {}
    for mask in (mask for c in conditions for mask in (c.positives, c.negatives)):
        if mask.tobytes() not in below:
            below[mask.tobytes()] = _number_below(order, mask)
    primary = np.zeros(scores.shape[:-1])
    influence = np.zeros(scores.shape)
    for c in conditions:
        n1, n0 = int(c.positives.sum()), int(c.negatives.sum())
        negatives_below = below[c.negatives.tobytes()][..., c.positives]
        positives_below = below[c.positives.tobytes()][..., c.negatives]
        theta = negatives_below.sum(axis=-1) / (n1 * n0)
        primary += theta / len(conditions)
        for rows, values, n in (
            (c.positives, negatives_below / n0, n1),
            (c.negatives, 1.0 - positives_below / n1, n0),
        ):
            m = len(np.unique(subjects[rows]))
            influence[..., rows] += (values - theta[..., None]) * (np.sqrt(m / (m - 1)) / (n * len(conditions)))
    return primary, _sum_by_subject(influence, subjects)


def _number_below(order: Ints, mask: Bools) -> npt.NDArray[np.int32]:
    """Count for each row, (..., N), the rows of `mask` (N,) that score below it."""
    member = mask[order]
    counts = np.cumsum(member, axis=-1, dtype=np.int32) - member
    found = np.empty_like(counts)
    np.put_along_axis(found, order, counts, axis=-1)
    return found


def _sum_by_subject(values: Floats, subjects: Ints) -> Floats:
    """Sum (..., N) over each subject's rows, to (..., K); subjects are numbered from 0."""
    indicator = subjects[:, None] == np.arange(subjects.max() + 1)
    if len(indicator) == indicator.shape[1]:
        return np.asarray(values[..., np.argsort(subjects)])
    return np.asarray(values @ indicator.astype(np.float64))


def compare(primary: Floats, influence: Floats, first: Ints, second: Ints) -> Estimates:
    """Compare method first[i] with second[i] on every board, as `reader_case.compare` does.

    Args:
        primary: (B, k, n) primary metric of each run.
        influence: (B, k, n, K) influence of each subject on it.
        first: (m,) method a of each pair.
        second: (m,) method b.
    """
    cross = _between_seeds(influence)
    c = cross[:, first, first] + cross[:, second, second] - cross[:, first, second] - cross[:, second, first]
    return _estimates(primary[:, first] - primary[:, second], c)


def single(primary: Floats, influence: Floats) -> Estimates:
    """Give each method's mean, (B, k), as `reader_case.single` does."""
    return _estimates(primary, np.diagonal(_between_seeds(influence), axis1=1, axis2=2))


def _between_seeds(influence: Floats) -> Floats:
    """Mean over j != l of sum_k I_aj[k] * I_bl[k] for all methods a, b: (B, k, k).

    Linear in either method, so that c of any difference follows without going back to the subjects.
    """
    boards, k, n, _ = influence.shape
    total = influence.sum(axis=2)
    rows = influence.reshape(boards, k, -1)
    same_seed = rows @ rows.transpose(0, 2, 1)
    return np.asarray((total @ total.transpose(0, 2, 1) - same_seed) / (n * (n - 1)))


def _estimates(values: Floats, c: Floats) -> Estimates:
    """Combine (B, m, n) values and (B, m) covariances c between seeds."""
    n = values.shape[-1]
    s2 = values.var(axis=-1, ddof=1)
    c_plus = np.maximum(c, 0.0)
    u = (n - 1) / float(stats.chi2.ppf(0.10, n - 1))
    return Estimates(values.mean(axis=-1), s2 / n + c_plus, (n - 1) * (1.0 + n * c_plus / (u * s2)) ** 2)


def paired_t(primary: Floats, first: Ints, second: Ints) -> Floats:
    """Two-sided p "on exactly these images", (B, m), as `reader_case.on_these_images` gives it."""
    values = primary[:, first] - primary[:, second]
    n = values.shape[-1]
    return Estimates(values.mean(axis=-1), values.var(axis=-1, ddof=1) / n, np.full(values.shape[:-1], n - 1.0)).p()


def holm(p: Floats) -> Floats:
    """Adjust (B, m) p-values within each board, as `families.holm` does."""
    order = np.argsort(p, axis=-1)
    stepped = np.maximum.accumulate(np.take_along_axis(p, order, axis=-1) * np.arange(p.shape[-1], 0, -1), axis=-1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.minimum(stepped, 1.0), axis=-1)
    return adjusted


def rank_intervals(k: int, first: Ints, second: Ints, difference: Floats, p: Floats) -> tuple[Ints, Ints]:
    """Give the best and worst rank of methods 0 to k - 1, each (B, k), as `families.rank_intervals` does.

    Args:
        k: Number of ranked methods.
        first: (k(k - 1)/2,) method a of each pair.
        second: (k(k - 1)/2,) method b.
        difference: (B, k(k - 1)/2) mean of a - b.
        p: (B, k(k - 1)/2) unadjusted p.
    """
    significant = holm(p) <= ALPHA
    a, b = (np.equal.outer(members, np.arange(k)).astype(np.intp) for members in (first, second))
    won, lost = significant & (difference > 0), significant & (difference < 0)
    return 1 + won @ b + lost @ a, k - won @ a - lost @ b
