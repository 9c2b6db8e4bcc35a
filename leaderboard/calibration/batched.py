"""The statistics of the board for many simulated boards at once.

One board at a time, the functions of `placements`, `reader_case` and `families` need minutes for what
`divsal-bench calibrate` does in seconds. These give the same numbers to 1e-10, which a test asserts on the
same boards: without it, a calibration would speak of a copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from divsal_bench.leaderboard.statistics import families
from divsal_bench.leaderboard.statistics.families import ALPHA
from divsal_bench.leaderboard.statistics.placements import AurocRows, SubjectCounts, placements
from divsal_bench.leaderboard.statistics.reader_case import LEVEL, ZERO

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Estimates:
    """Means over seeds or their differences, with everything that a test and an interval need.

    Attributes:
        mean: (B, m) mean over seeds.
        c_plus: (B, m) covariance between seeds, at least 0.
        variance: (B, m) what the seeds bring + c+; 0 where no run differs.
        subjects: (B, m) effective number of test subjects; NaN where no subject has any influence.
        df: (B, m) degrees of freedom; NaN where the variance is 0.
    """

    mean: Floats
    c_plus: Floats
    variance: Floats
    subjects: Floats
    df: Floats

    def __getitem__(self, columns: Ints | slice) -> Estimates:
        """The same of some of the m."""
        return Estimates(*(getattr(self, name)[:, columns] for name in self.__dataclass_fields__))

    def withheld(self, counts: Sequence[SubjectCounts]) -> Bools:
        """(B, m) where the product prints neither p nor interval: too few subjects, or nothing differs."""
        few = self.subjects <= families.MIN_EFFECTIVE_SUBJECTS
        return np.asarray(np.isnan(self.df) | few | bool(families.withheld(counts, np.nan)))

    def p(self) -> Floats:
        """(B, m) two-sided p of "the mean is 0", not adjusted; 1 where nothing differs at all, else NaN without df."""
        with np.errstate(invalid="ignore", divide="ignore"):
            found = 2.0 * stats.t.sf(np.abs(self.mean) / np.sqrt(self.variance), self.df)
        return np.where((self.variance == 0.0) & (np.abs(self.mean) < ZERO), 1.0, found)

    def half_width(self) -> Floats:
        """(B, m) half the 95 % population interval of a difference."""
        return np.asarray(stats.t.ppf(0.5 + LEVEL / 2, self.df) * np.sqrt(self.variance))

    def difference_covers(self, truth: Floats) -> Bools:
        """(B, m) whether the interval of a difference contains `truth` (m,)."""
        return np.asarray(np.abs(self.mean - truth) <= self.half_width())

    def mean_interval(self) -> tuple[Floats, Floats]:
        """(B, m) ends of the interval of one method's mean, which is one of logits."""
        with np.errstate(invalid="ignore", divide="ignore"):
            half = self.half_width() / (self.mean * (1.0 - self.mean))
            return special.expit(special.logit(self.mean) - half), special.expit(special.logit(self.mean) + half)

    def mean_covers(self, truth: Floats) -> Bools:
        """(B, m) whether the interval of one method's mean contains `truth` (m,)."""
        low, high = self.mean_interval()
        return np.asarray((low <= truth) & (truth <= high))

    def smallest_visible_effect(self, family_size: int) -> Floats:
        """(B, m), as `families.smallest_visible_effect` gives it."""
        quantiles = stats.t.ppf(1 - ALPHA / (2 * family_size), self.df) + stats.t.ppf(families.POWER, self.df)
        return np.asarray(quantiles * np.sqrt(self.variance))

    def visible_effect_range(self, family_size: int) -> tuple[Floats, Floats]:
        """(B, m) twice, as `families.visible_effect_range` gives it."""
        effect = self.smallest_visible_effect(family_size)
        low, high = (effect * np.sqrt(self.df / stats.chi2.ppf(end, self.df)) for end in (0.975, 0.025))
        return low, high


def condition_influence(scores: Floats, conditions: Sequence[AurocRows], subjects: Ints) -> tuple[Floats, Floats]:
    """Compute AUROC (C, ...) and influence (C, ..., K) of scores (..., N) on each condition by itself.

    Their means over the first axis are primary metric and influence as `placements` gives them for (R, N).
    """
    auroc = np.empty((len(conditions), *scores.shape[:-1]))
    influence = np.zeros((len(conditions), *scores.shape[:-1], int(subjects.max()) + 1))
    for i, (c, found) in enumerate(zip(conditions, placements(scores, conditions), strict=True)):
        auroc[i] = found.auroc
        for rows, values in ((c.positives, found.v10), (c.negatives, found.v01)):
            codes = subjects[rows]
            m = len(np.unique(codes))
            weighted = (values - auroc[i][..., None]) * (np.sqrt(m / (m - 1)) / len(codes))
            if m == len(codes):
                influence[i][..., codes] += weighted
            else:
                influence[i] += weighted @ np.equal.outer(codes, np.arange(influence.shape[-1])).astype(np.float64)
    return auroc, influence


def paired_estimates(primary: Floats, influence: Floats, first: Ints, second: Ints) -> Estimates:
    """Compare method first[i] with second[i] on every board, as `reader_case.compare_paired` does.

    Args:
        primary: (B, k, n) primary metric of each run.
        influence: (B, k, n, K) influence of each subject on it.
        first, second: (m,) methods a and b of each pair.
    """
    cross, of_method = _between_seeds(influence), influence.mean(axis=2)
    c = cross[:, first, first] + cross[:, second, second] - cross[:, first, second] - cross[:, second, first]
    values = primary[:, first] - primary[:, second]
    return _estimates(values.mean(axis=-1), [_of_seeds(values)], c, of_method[:, first] - of_method[:, second])


def mean_estimates(primary: Floats, influence: Floats) -> Estimates:
    """Give each method's mean, (B, k), as `reader_case.population_interval` does."""
    c = np.diagonal(_between_seeds(influence), axis1=1, axis2=2)
    return _estimates(primary.mean(axis=-1), [_of_seeds(primary)], c, influence.mean(axis=2))


def unpaired_estimates(a: Floats, b: Floats, influence_a: Floats, influence_b: Floats) -> Estimates:
    """Compare one set of runs with another on every board, (B, 1), as `reader_case.compare_unpaired` does.

    Args:
        a, b: (B, n_a) and (B, n_b) primary metric.
        influence_a, influence_b: (B, n_a, K) and (B, n_b, K) influence of each subject.
    """
    own = [_between_seeds(one[:, None])[:, :, 0] for one in (influence_a, influence_b)]
    of_a, of_b = influence_a.mean(axis=1), influence_b.mean(axis=1)
    c = own[0] + own[1] - 2.0 * (of_a * of_b).sum(axis=-1)[:, None]
    mean = (a.mean(axis=-1) - b.mean(axis=-1))[:, None]
    return _estimates(mean, [_of_seeds(a[:, None]), _of_seeds(b[:, None])], c, (of_a - of_b)[:, None])


def _between_seeds(influence: Floats) -> Floats:
    """Mean over j != l of sum_k I_aj[k] * I_bl[k] for all methods a, b: (B, k, k).

    Linear in either method, so that c of any difference follows without going back to the subjects.
    """
    boards, k, n, _ = influence.shape
    total = influence.sum(axis=2)
    rows = influence.reshape(boards, k, -1)
    same_seed = rows @ rows.transpose(0, 2, 1)
    return np.asarray((total @ total.transpose(0, 2, 1) - same_seed) / (n * (n - 1)))


def _of_seeds(values: Floats) -> tuple[Floats, int]:
    """s^2/n, (B, m), of (B, m, n) values, and n."""
    n = values.shape[-1]
    s2 = values.var(axis=-1, ddof=1)
    return np.where(s2 < ZERO**2, 0.0, s2) / n, n


def _estimates(mean: Floats, between_seeds: Sequence[tuple[Floats, int]], c: Floats, influence: Floats) -> Estimates:
    """Combine the parts of the variance, (B, m) each, with the mean influence over seeds, (B, m, K)."""
    c_plus = np.where(c >= ZERO**2, c, 0.0)
    squares = influence**2
    with np.errstate(invalid="ignore", divide="ignore"):
        subjects = np.maximum(2.0, squares.sum(axis=-1) ** 2 / (squares**2).sum(axis=-1))
        parts = [(part * ((n - 1) / float(stats.chi2.ppf(0.10, n - 1))), float(n - 1)) for part, n in between_seeds]
        top = sum((part for part, _ in parts), c_plus)
        bottom = sum((part**2 / df for part, df in parts), np.where(c_plus > 0.0, c_plus**2 / (subjects - 1.0), 0.0))
        df = top**2 / bottom
    return Estimates(mean, c_plus, sum((part for part, _ in between_seeds), c_plus), subjects, df)


def paired_t(primary: Floats, first: Ints, second: Ints) -> Floats:
    """Two-sided p "on exactly these images", (B, m), as `reader_case.compare_on_fixed_images` gives it."""
    values = primary[:, first] - primary[:, second]
    none = np.zeros((*values.shape[:-1], 1))
    return _estimates(values.mean(axis=-1), [_of_seeds(values)], none[..., 0], none).p()


def rank_ends(k: int, first: Ints, second: Ints, difference: Floats, p: Floats) -> tuple[Ints, Ints]:
    """Give the best and worst rank of methods 0 to k - 1, each (B, k), as `families.rank_intervals` does.

    Args:
        first, second: (k(k - 1)/2,) methods a and b of each pair.
        difference: (B, k(k - 1)/2) mean of a - b.
        p: (B, k(k - 1)/2) unadjusted p.
    """
    significant = families.holm(p) <= ALPHA
    a, b = (np.equal.outer(members, np.arange(k)).astype(np.intp) for members in (first, second))
    won, lost = significant & (difference > 0), significant & (difference < 0)
    return 1 + won @ b + lost @ a, k - won @ a - lost @ b
