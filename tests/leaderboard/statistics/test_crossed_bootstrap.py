"""The covariance that decides every test, against a crossed bootstrap that knows no formula.

One draw of subjects, with all their rows, serves every seed, both methods and every condition.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import rankdata

from divsal_bench.leaderboard.statistics import reader_case
from divsal_bench.leaderboard.statistics.placements import Condition, clustered_influence

pytestmark = pytest.mark.fast

Floats = npt.NDArray[np.float64]
DRAWS = 1500


def board(
    seed: int, subjects: int = 120, seeds: int = 4
) -> tuple[Floats, Floats, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Scores (2 · seeds, N) of two methods; labels; subject; kind: 0 negative, 1 and 2 two sorts of positives.

    A subject has one to three rows, alike in difficulty; both sorts of positives share the negatives.
    """
    g = np.random.default_rng(seed)
    subject = np.repeat(np.arange(subjects), g.integers(1, 4, subjects))
    kind = g.choice([0, 0, 1, 2], len(subject))
    easy = 0.7 * g.normal(size=subjects)[subject] + 0.7 * g.normal(size=len(subject))
    scores = []
    for method in range(2):
        own = 0.4 * g.normal(size=len(subject))
        scores += [
            1.2 * (kind > 0) + 0.2 * method * (kind == 2) + easy + own + 0.5 * g.normal(size=len(subject))
            for _ in range(seeds)
        ]
    return np.array(scores), (kind > 0).astype(np.int64), subject, kind


def auroc(scores: Floats, positive: npt.NDArray[np.bool_], negative: npt.NDArray[np.bool_]) -> Floats:
    """(R,) from mid-ranks."""
    n1, n0 = positive.sum(), negative.sum()
    ranks = rankdata(np.concatenate([scores[:, positive], scores[:, negative]], axis=1), axis=1)
    return np.asarray((ranks[:, :n1].sum(1) - n1 * (n1 + 1) / 2) / (n1 * n0))


def primary(scores: Floats, kind: npt.NDArray[np.int64]) -> Floats:
    """Mean AUROC of the two sorts of positives against the same negatives, (R,)."""
    return np.asarray((auroc(scores, kind == 1, kind == 0) + auroc(scores, kind == 2, kind == 0)) / 2)


def resampled(
    scores: Floats, subject: npt.NDArray[np.int64], kind: npt.NDArray[np.int64], g: np.random.Generator
) -> Floats:
    """The primary metric of every run under each draw of subjects, (DRAWS, R)."""
    rows_of = [np.flatnonzero(subject == k) for k in range(subject.max() + 1)]
    found = []
    for _ in range(DRAWS):
        rows = np.concatenate([rows_of[k] for k in g.integers(0, len(rows_of), len(rows_of))])
        found.append(primary(scores[:, rows], kind[rows]))
    return np.array(found)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_covariance_between_seeds_and_the_population_variance_are_those_of_the_bootstrap(seed: int) -> None:
    scores, _, subject, kind = board(seed)
    n = len(scores) // 2
    conditions = [Condition(str(sort), kind == sort, kind == 0) for sort in (1, 2)]
    found = clustered_influence(scores, conditions, subject)
    a, b = found.primary[:n], found.primary[n:]
    comparison = reader_case.compare_paired(a, b, found.influence[:n], found.influence[n:])
    one = reader_case.population_interval(a, found.influence[:n])

    g = np.random.default_rng(100 + seed)
    draws = resampled(scores, subject, kind, g)
    for estimate, values in ((comparison, draws[:, :n] - draws[:, n:]), (one, draws[:, :n])):
        covariance = np.cov(values.T)
        between = (covariance.sum() - np.trace(covariance)) / (n * (n - 1))
        # The sd of a bootstrap covariance over 1,500 draws, and the order 1/K that both approximations drop.
        assert estimate.c == pytest.approx(between, rel=0.2, abs=2e-5)
        crossed = values[np.arange(DRAWS)[:, None], g.integers(0, n, (DRAWS, n))].mean(1)
        # Law of total variance; n seeds drawn from n have (n − 1)/n of their variance.
        within = np.trace(covariance) / n - between
        expected = estimate.c + (estimate.sd**2 * (n - 1) / n + within * (n - 1) / n) / n + within / n
        assert crossed.var(ddof=1) == pytest.approx(expected, rel=0.25)
        assert estimate.variance == pytest.approx(estimate.sd**2 / n + max(estimate.c, 0))


def test_the_reference_itself_gives_the_metric() -> None:
    scores, _, subject, kind = board(7)
    conditions = [Condition(str(sort), kind == sort, kind == 0) for sort in (1, 2)]
    assert clustered_influence(scores, conditions, subject).primary == pytest.approx(primary(scores, kind))
