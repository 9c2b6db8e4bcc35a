"""Which pairs of methods are tested together, how their p-values are adjusted, and the ranks that follow.

An undefined test (p = NaN) keeps its place in its family: it counts in the family size as if its p were 1,
which is the cautious choice, and its own adjusted p stays NaN. Pairs that were never to be tested (fewer than
`MIN_SEEDS` seeds) are for the caller to leave out.

Sources:
    Holm 1979, Scandinavian Journal of Statistics 6:65; Benjamini, Hochberg 1995, JRSS B 57:289.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

from divsal_bench.leaderboard.statistics.placements import SubjectCounts
from divsal_bench.words import Kind

Floats = npt.NDArray[np.float64]
Pair = tuple[str, str]

#: Fewer seeds get no p and no rank: with 3 (preview) nothing but a huge effect could be seen.
MIN_SEEDS = 5

#: Fewer subjects in the smaller class of a condition get no p, no rank and no population interval. With 5 subjects and
#: ten seeds 13 % of boards with equal methods had a false star among all pairs, with 10 subjects 4 %.
MIN_SUBJECTS = 10

#: Nor does a condition in which one subject has a larger share of a class's rows. With 30 % of all rows, 6 % of boards
#: had a false star and the intervals of means covered 93 %, and less where the subject counts as few others; with 20 %
#: it was 3 and 95 %.
MAX_SHARE = 0.2

#: Nor where the effective number of test subjects (`reader_case.effective_subjects`) is not above this, its own lower
#: limit: one subject then decides, and the degrees of freedom are no longer known. A higher floor would do harm: a low
#: number costs degrees of freedom and so protects, and the boards above such a floor are those whose variance is small
#: by luck.
MIN_EFFECTIVE_SUBJECTS = 2.0

#: Error rate per family; an adjusted p at or below it is significant.
ALPHA = 0.05

#: Power at which the smallest visible effect is stated.
POWER = 0.80

#: The method that family 1 compares with.
BASELINE = "cross-entropy"

#: The method that families 2 and 3 compare with.
REFERENCE = "cyborg"

#: How the name of a family begins that is of one method, which joined after the edition.
OWN = "own family of "


@dataclass(frozen=True)
class Family:
    """Tests that share one error rate.

    Attributes:
        name: `baseline`, `divergence`, `controls`, or `own family of NAME`: of one method that joined later.
        pairs: (a, b) for the difference a - b; empty where the board lacks a method it needs.
    """

    name: str
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Rank:
    """The ranks one method may hold.

    Attributes:
        low: Best rank: 1 + number of methods significantly better.
        high: Worst rank: number of methods ranked - number of methods significantly worse.
        top: In the top group: unmarked, and none is significantly better.
    """

    low: int
    high: int
    top: bool


def families(
    kinds: Mapping[str, Kind],
    baseline: str = BASELINE,
    reference: str = REFERENCE,
    closed: Collection[str] | None = None,
) -> list[Family]:
    """List the families of one (task, data, protocol, backbone), in the order of `kinds`.

    (1) every non-control method except the baseline, against it; (2) every two-cam method against the
    reference, the paper's claim; (3) the reference against every control. Where these three are closed to some
    methods, every other method has a family of its own, against the baseline and the reference, and changes no p
    but its own.

    Args:
        kinds: Kind of each method that has a result and enough seeds.
        baseline: Name of the method without guidance.
        reference: Name of the one-map method.
        closed: The methods of the three families; None for all.
    """
    own = [m for m in kinds if closed is not None and m not in closed]
    kinds = {m: kind for m, kind in kinds.items() if m not in own}
    first = [(m, baseline) for m, kind in kinds.items() if kind != "control" and m != baseline]
    second = [(m, reference) for m, kind in kinds.items() if kind == "two-cam" and m != reference]
    third = [(reference, m) for m, kind in kinds.items() if kind == "control" and m != reference]
    return [
        Family("baseline", tuple(first) if baseline in kinds else ()),
        Family("divergence", tuple(second) if reference in kinds else ()),
        Family("controls", tuple(third) if reference in kinds else ()),
        *(Family(OWN + m, tuple((m, other) for other in (baseline, reference) if other in kinds)) for m in own),
    ]


def all_pairs(methods: Sequence[str]) -> list[Pair]:
    """List the k(k - 1)/2 pairs that the ranks are built from."""
    return list(combinations(methods, 2))


def holm(p: Floats) -> Floats:
    """Adjust (..., m) p-values of one family each so that comparing them with alpha bounds the family-wise error."""
    p, known = _with_ones(p)
    order = np.argsort(p, axis=-1)
    # statsmodels' multipletests gives the same numbers, but collects garbage on every call (46 ms, measured).
    stepped = np.take_along_axis(p, order, axis=-1) * np.arange(p.shape[-1], 0, -1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.minimum(np.maximum.accumulate(stepped, axis=-1), 1.0), axis=-1)
    return np.where(known, adjusted, np.nan)


def benjamini_hochberg(p: Floats) -> Floats:
    """Adjust (..., m) p-values of an exploratory grid each: comparing them with q bounds the false discovery rate."""
    p, known = _with_ones(p)
    if p.size == 0:
        return p
    return np.where(known, stats.false_discovery_control(p, axis=-1, method="bh"), np.nan)


def _with_ones(p: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Put 1 in the place of NaN, so that undefined tests count in the family; say which were known."""
    p = np.asarray(p, dtype=np.float64)
    known = ~np.isnan(p)
    return np.where(known, p, 1.0), known


def withheld(counts: Sequence[SubjectCounts], effective: float) -> str:
    """Say why there is no p and no population interval: test subjects too few or unequal. "" where there are enough.

    Args:
        counts: Of every condition that the metric is a mean over.
        effective: Effective number of test subjects of the comparison or interval; NaN (nothing known of them)
            says nothing.
    """
    for one in counts:
        if min(one.positives, one.negatives) < MIN_SUBJECTS:
            few = min(one.positives, one.negatives)
            return f"{one.name} has {few} subject{'s' * (few != 1)} of one class, {MIN_SUBJECTS} are needed"
    for one in counts:
        if one.largest_share > MAX_SHARE:
            return (
                f"one subject has {one.largest_share:.0%} of the rows of one class of {one.name}, "
                f"{MAX_SHARE:.0%} are allowed"
            )
    return "one test subject decides the result" if effective <= MIN_EFFECTIVE_SUBJECTS else ""


def smallest_visible_effect(variance: float, df: float, family_size: int) -> float:
    """Effect that the test finds with 80 % power: (t(1 - alpha/(2m), df) + t(.80, df)) * sqrt(v).

    Smaller differences cannot be expected to show. Bonferroni's alpha/m stands for Holm's first step.

    Args:
        variance: v of a `Comparison`.
        df: Its degrees of freedom; NaN (undefined or equal) gives NaN.
        family_size: m, the number of tests in the family.
    """
    if family_size < 1:
        raise ValueError(f"a family has at least one test, got {family_size}")
    quantiles = stats.t.ppf([1 - ALPHA / (2 * family_size), POWER], df)
    return float(quantiles.sum() * np.sqrt(variance))


def smallest_visible_miss(sd: float, claimed: int, new: int, least: float = 0.0) -> float:
    """How far a reproduction's true mean must be from the claim for its check to fail in 80 % of cases.

    The check fails where the mean of the new seeds is further from the claimed one than t(.975, n - 1) times the
    standard error of their difference, on the same test images. That the standard error is an estimate, from the n
    claimed seeds, is averaged over.

    Args:
        sd: Standard deviation of the claimed seeds; the new ones are taken to vary as much.
        claimed: n, number of claimed seeds, at least 2.
        new: Number of new seeds, at least 1.
        least: Differences up to this are never held against anybody, in AUROC.
    """
    error = sd * (1 / claimed + 1 / new) ** 0.5
    if error == 0.0:
        return least
    ratios = np.sqrt(stats.chi2.ppf((np.arange(500) + 0.5) / 500, claimed - 1) / (claimed - 1))
    tolerances = np.maximum(least / error, float(stats.t.ppf(1 - ALPHA / 2, claimed - 1)) * ratios)

    def power(shift: float) -> float:
        return float(np.mean(special.ndtr(shift - tolerances) + special.ndtr(-shift - tolerances)))

    shift: float = optimize.brentq(lambda shift: power(shift) - POWER, 0, float(tolerances.max()) + 5)
    return float(error * shift)


def visible_effect_range(variance: float, df: float, family_size: int) -> tuple[float, float]:
    """95 % limits of the smallest visible effect, which is as uncertain as the variance it rests on.

    df * v / true variance is taken for a chi-squared number with df degrees of freedom, so that the true variance
    lies between df * v / chi2(.975, df) and df * v / chi2(.025, df).

    Args:
        variance, family_size: As `smallest_visible_effect` takes them.
        df: The same; infinite gives the effect itself twice, NaN gives NaN.
    """
    effect = smallest_visible_effect(variance, df, family_size)
    if np.isinf(df):
        return effect, effect
    low, high = np.sqrt(df / stats.chi2.ppf([0.975, 0.025], df))
    return float(effect * low), float(effect * high)


def rank_intervals(
    methods: Sequence[str],
    pairs: Sequence[Pair],
    differences: Floats,
    p: Floats,
    marked: Collection[str] = (),
) -> dict[str, Rank]:
    """Rank methods by Holm over all their pairwise tests; higher is better.

    Args:
        methods: The k ranked methods (no controls, at least `MIN_SEEDS` seeds each).
        pairs: Every pair of them once, in either direction, as `all_pairs` gives them.
        differences: (k(k - 1)/2,) mean of (first - second) for each pair.
        p: (k(k - 1)/2,) unadjusted p-value for each pair; NaN never counts as significant.
        marked: Methods with a mark, such as `shown below chance`; they keep their ranks and leave the top
            group.

    Raises:
        ValueError: A pair is missing, double or foreign, or the lengths differ.
    """
    wanted = Counter(frozenset(pair) for pair in all_pairs(methods))
    if Counter(frozenset(pair) for pair in pairs) != wanted:
        raise ValueError("ranks need the test of every pair of ranked methods exactly once")
    better, worse = Counter[str](), Counter[str]()
    for (first, second), difference, adjusted in zip(pairs, differences, holm(p), strict=True):
        if adjusted <= ALPHA:
            loser, winner = (second, first) if difference > 0 else (first, second)
            better[loser] += 1
            worse[winner] += 1
    return {
        method: Rank(
            low=1 + better[method],
            high=len(methods) - worse[method],
            top=better[method] == 0 and method not in marked,
        )
        for method in methods
    }
