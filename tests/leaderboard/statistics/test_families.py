"""Families, Holm, Benjamini-Hochberg, smallest visible effect, rank intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from divsal_bench.leaderboard.statistics.families import (
    Family,
    Rank,
    all_pairs,
    benjamini_hochberg,
    families,
    holm,
    rank_intervals,
    smallest_visible_effect,
    smallest_visible_miss,
    visible_effect_range,
    withheld,
)
from divsal_bench.leaderboard.statistics.placements import SubjectCounts
from divsal_bench.words import Kind

pytestmark = pytest.mark.fast

KINDS: dict[str, Kind] = {
    "cross-entropy": "unguided",
    "balanced-cross-entropy": "unguided",
    "cyborg": "one-cam",
    "difference": "two-cam",
    "contrast": "two-cam",
    "cyborg-shuffled": "control",
    "cyborg-inverted": "control",
}

p_values = st.lists(st.floats(0, 1, allow_nan=False), min_size=1, max_size=12)


def test_the_three_families() -> None:
    assert families(KINDS) == [
        Family(
            "baseline",
            (
                ("balanced-cross-entropy", "cross-entropy"),
                ("cyborg", "cross-entropy"),
                ("difference", "cross-entropy"),
                ("contrast", "cross-entropy"),
            ),
        ),
        Family("divergence", (("difference", "cyborg"), ("contrast", "cyborg"))),
        Family("controls", (("cyborg", "cyborg-shuffled"), ("cyborg", "cyborg-inverted"))),
    ]


def test_a_family_without_its_partner_is_empty() -> None:
    without_cyborg = {name: kind for name, kind in KINDS.items() if name != "cyborg"}
    assert [len(family.pairs) for family in families(without_cyborg)] == [3, 0, 0]
    without_baseline = {name: kind for name, kind in KINDS.items() if name != "cross-entropy"}
    assert [len(family.pairs) for family in families(without_baseline)] == [0, 2, 2]
    assert [len(family.pairs) for family in families({})] == [0, 0, 0]


def test_holm_by_hand() -> None:
    # Sorted .005 .01 .03 .04 times 4 3 2 1 = .02 .03 .06 .04, then never below the one before.
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.6, 0.9])), [1.0, 1.0])
    assert holm(np.array([])).shape == (0,)


def test_benjamini_hochberg_by_hand() -> None:
    # Sorted times 4/1 4/2 4/3 4/4 = .02 .02 .04 .04, from the largest downwards.
    np.testing.assert_allclose(benjamini_hochberg(np.array([0.01, 0.04, 0.03, 0.005])), [0.02, 0.04, 0.04, 0.02])


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_an_undefined_test_stays_in_the_family(adjust: object) -> None:
    assert callable(adjust)
    p = np.array([0.02, np.nan, 0.03])
    found = adjust(p)
    assert np.isnan(found[1])
    np.testing.assert_allclose(found[[0, 2]], adjust(np.array([0.02, 1.0, 0.03]))[[0, 2]])
    assert found[0] > adjust(np.array([0.02, 0.03]))[0]
    assert np.isnan(p[1])  # the caller's array is untouched
    assert np.isnan(adjust(np.array([np.nan, np.nan]))).all()


@given(p_values)
def test_holm_equals_the_step_down_rule(values: list[float]) -> None:
    # Holm as published: walk up the sorted p-values while p <= alpha / (tests left).
    for alpha in (0.01, 0.05, 0.3):
        rejected = set()
        for step, i in enumerate(sorted(range(len(values)), key=values.__getitem__)):
            if values[i] * (len(values) - step) > alpha:
                break
            rejected.add(i)
        assert {i for i, p in enumerate(holm(np.array(values))) if p <= alpha} == rejected


@given(p_values)
def test_benjamini_hochberg_equals_the_step_up_rule(values: list[float]) -> None:
    # As published: the largest rank i with p_(i) <= i q / m, and everything up to it.
    for q in (0.05, 0.3):
        ordered = sorted(values)
        passing = [p for i, p in enumerate(ordered, start=1) if p * (len(values) / i) <= q]
        cut = max(passing, default=-1.0)
        assert [bool(p <= q) for p in benjamini_hochberg(np.array(values))] == [p <= cut for p in values]


def test_smallest_visible_effect_by_hand() -> None:
    # Tables: t(.975, 4) = 2.776445, t(.80, 4) = .940965, t(.995, 4) = 4.604095,
    # z(.975) = 1.959964, z(.80) = .841621.
    assert smallest_visible_effect(0.0004, 4, 1) == pytest.approx(0.02 * 3.717410, abs=1e-7)
    assert smallest_visible_effect(0.0004, 4, 5) == pytest.approx(0.02 * 5.545060, abs=1e-7)
    assert smallest_visible_effect(0.0004, np.inf, 1) == pytest.approx(0.02 * 2.801585, abs=1e-7)
    assert np.isnan(smallest_visible_effect(0.0, np.nan, 1))
    with pytest.raises(ValueError, match="at least one"):
        smallest_visible_effect(0.0004, 4, 0)


def test_the_range_of_the_visible_effect_by_hand() -> None:
    # Tables: chi2(.975, 4) = 11.14329, chi2(.025, 4) = .4844186.
    effect = smallest_visible_effect(0.0004, 4, 3)
    expected = effect * (4 / 11.14329) ** 0.5, effect * (4 / 0.4844186) ** 0.5
    assert visible_effect_range(0.0004, 4, 3) == pytest.approx(expected, rel=1e-6)
    known = smallest_visible_effect(0.0004, np.inf, 3)
    assert visible_effect_range(0.0004, np.inf, 3) == (known, known)
    assert np.isnan(visible_effect_range(0.0004, np.nan, 3)).all()


def test_the_range_contains_the_visible_effect_in_95_percent() -> None:
    rng = np.random.default_rng(0)
    variance = rng.normal(size=(4000, 6)).var(axis=1, ddof=1)
    ranges = np.array([visible_effect_range(one, 5, 2) for one in variance])
    true = smallest_visible_effect(1.0, 5, 2)
    hits = (ranges[:, 0] <= true) & (true <= ranges[:, 1])
    assert hits.mean() == pytest.approx(0.95, abs=4 * (0.95 * 0.05 / 4000) ** 0.5)


def test_smallest_visible_miss_by_hand() -> None:
    """How often a miss of this size is noticed is simulated beside the check itself, in test_standing."""
    # With very many claimed seeds the standard error is known: 1.959964 + .841621 of it.
    assert smallest_visible_miss(0.02, 100_000, 5) == pytest.approx(2.801585 * 0.02 * (1 / 5 + 1e-5) ** 0.5, rel=1e-4)
    # Where the tolerance is the least there is, only the power comes on top.
    assert smallest_visible_miss(0.0001, 100_000, 5, least=0.001) == pytest.approx(
        0.001 + 0.841621 * 0.0001 * (1 / 5 + 1e-5) ** 0.5, rel=1e-4
    )
    assert smallest_visible_miss(0.0, 5, 5, least=0.001) == 0.001
    assert smallest_visible_miss(0.02, 10, 5) < smallest_visible_miss(0.02, 5, 5)


@pytest.mark.parametrize(
    ("counts", "effective", "said"),
    [
        ([(10, 12, 0.2)], 2.5, ""),
        ([(100, 9, 0.2)], 50.0, "c0 has 9 subjects of one class, 10 are needed"),
        ([(1, 100, 1.0)], 50.0, "c0 has 1 subject of one class, 10 are needed"),
        ([(50, 60, 0.1), (30, 5, 0.1)], 50.0, "c1 has 5 subjects of one class, 10 are needed"),
        ([(50, 60, 0.1), (30, 40, 0.31)], 50.0, "one subject has 31% of the rows of one class of c1, 20% are allowed"),
        ([(50, 60, 0.1)], 2.0, "one test subject decides the result"),
        ([(50, 60, 0.1)], np.nan, ""),  # nothing differs: that says nothing about subjects
        ([], np.nan, ""),
    ],
)
def test_too_few_or_unequal_subjects_withhold_with_the_reason(
    counts: list[tuple[int, int, float]], effective: float, said: str
) -> None:
    conditions = [SubjectCounts(f"c{i}", *one) for i, one in enumerate(counts)]
    assert withheld(conditions, effective) == said


def test_smallest_visible_effect_is_found_four_times_in_five() -> None:
    rng = np.random.default_rng(0)
    effect = smallest_visible_effect(1 / 10, 9, 1)
    p = stats.ttest_1samp(effect + rng.normal(size=(4000, 10)), 0.0, axis=1).pvalue
    assert np.mean(p < 0.05) == pytest.approx(0.80, abs=0.03)


def test_ranks_by_hand() -> None:
    methods = ["a", "b", "c", "d"]
    pairs = [("a", "b"), ("c", "a"), ("a", "d"), ("b", "c"), ("b", "d"), ("d", "c")]
    differences = np.array([0.01, -0.10, 0.20, 0.09, 0.19, -0.10])
    p = np.array([0.50, 0.001, 0.001, 0.30, 0.001, 0.001])
    # a beats c and d, b beats d, c beats d; a against b and b against c are open.
    assert rank_intervals(methods, pairs, differences, p) == {
        "a": Rank(1, 2, True),
        "b": Rank(1, 3, True),
        "c": Rank(2, 3, False),
        "d": Rank(4, 4, False),
    }
    marked = rank_intervals(methods, pairs, differences, p, marked={"a", "b"})
    assert marked["a"] == Rank(1, 2, False)
    assert not any(rank.top for rank in marked.values())


def test_ranks_use_the_adjusted_p() -> None:
    methods, differences = ["a", "b", "c"], np.array([0.1, 0.1, 0.1])
    found = rank_intervals(methods, all_pairs(methods), differences, np.array([0.02, 0.03, 0.04]))
    assert set(found.values()) == {Rank(1, 3, True)}
    found = rank_intervals(methods, all_pairs(methods), differences, np.array([0.01, np.nan, 0.04]))
    assert found == {"a": Rank(1, 2, True), "b": Rank(2, 3, False), "c": Rank(1, 3, True)}


def test_ranks_of_one_method_and_of_none() -> None:
    empty = np.array([])
    assert rank_intervals(["a"], [], empty, empty) == {"a": Rank(1, 1, True)}
    assert rank_intervals([], [], empty, empty) == {}


@given(st.integers(0, 10**6), st.integers(1, 7))
def test_ranks_do_not_depend_on_the_direction_of_a_pair(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    methods = [f"m{i}" for i in range(k)]
    pairs = all_pairs(methods)
    differences, p = rng.normal(size=len(pairs)), rng.choice([0.0001, 0.5], size=len(pairs))
    found = rank_intervals(methods, pairs, differences, p)
    flips = rng.random(len(pairs)) < 0.5
    turned = [(b, a) if flip else (a, b) for (a, b), flip in zip(pairs, flips, strict=True)]
    assert rank_intervals(methods, turned, np.where(flips, -differences, differences), p) == found
    for rank in found.values():
        assert 1 <= rank.low <= rank.high <= k


@pytest.mark.parametrize(
    "pairs", [[("a", "b")], [("a", "b"), ("b", "a"), ("a", "c")], [("a", "b"), ("a", "c"), ("b", "x")]]
)
def test_ranks_need_every_pair_once(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError, match="every pair"):
        rank_intervals(["a", "b", "c"], pairs, np.zeros(len(pairs)), np.ones(len(pairs)))
