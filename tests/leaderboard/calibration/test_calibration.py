"""The simulation behind `divsal-bench calibrate`: the boards are what they claim, the fast statistics are the
product's own, and a short run meets the pass marks. The full table stands in docs/calibration.md."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from divsal_bench.cli import main
from divsal_bench.errors import UserError
from divsal_bench.leaderboard.calibration import batched, calibration, cells, simulation
from divsal_bench.leaderboard.calibration.boards import estimate, join_boards
from divsal_bench.leaderboard.calibration.calibration import MEASURES, TOPICS, CellRates, Measure, rate, simulate_cells
from divsal_bench.leaderboard.calibration.designs import DESIGNS
from divsal_bench.leaderboard.calibration.judging import errors, judge_boards, reproduction
from divsal_bench.leaderboard.calibration.report import render_rates
from divsal_bench.leaderboard.calibration.simulation import draw_scores, separations
from divsal_bench.leaderboard.statistics import families, placements, reader_case

Floats = npt.NDArray[np.float64]

CELLS = cells.cells()


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


# --- The fast statistics are the product's own ------------------------------------------------------------------

SAME = (
    "equal-0-n5", "clustered-n10", "four-conditions-n5", "few-subjects-n10", "nine-methods-n5", "effects-n3",
    "5-mixed-subjects-n10", "dominant-subject-n5", "saturated-n5", "ceiling-n5", "reproduction-n15",
)  # fmt: skip
EXACT = {"rtol": 1e-10, "atol": 1e-13}


@pytest.mark.parametrize("name", SAME)
def test_batched_statistics_are_those_of_the_board(name: str) -> None:
    cell, boards = CELLS[name], 3
    design = DESIGNS[cell.design]()
    scores = draw_scores(cell, design, boards, rng())
    on_each, influence_on_each = batched.condition_influence(scores, design.conditions, design.subjects)
    primary, influence = on_each.mean(axis=0), influence_on_each.mean(axis=0)
    methods = list(cell.kinds)
    pairs = families.all_pairs(methods)
    first, second = np.triu_indices(len(methods), 1)
    fast, fast_single = (
        batched.paired_estimates(primary, influence, first, second),
        batched.mean_estimates(primary, influence),
    )
    unpaired = batched.unpaired_estimates(primary[:, 1], primary[:, 2, :3], influence[:, 1], influence[:, 2, :3])
    p, fixed, truth = fast.p(), batched.paired_t(primary, first, second), cell.auroc[first] - cell.auroc[second]
    covered, covered_single = fast.difference_covers(truth), fast_single.mean_covers(cell.auroc)
    withheld = fast.withheld(design.counts)
    low, high = batched.rank_ends(len(methods), first, second, fast.mean, p)
    effects, (smallest, largest) = fast.smallest_visible_effect(4), fast.visible_effect_range(4)

    for b in range(boards):
        rows = scores[b].reshape(-1, scores.shape[-1])
        found = placements.clustered_influence(rows, design.conditions, design.subjects)
        np.testing.assert_allclose(on_each[:, b].reshape(len(design.uses), -1).T, found.auroc, **EXACT)
        slow_primary = found.primary.reshape(len(methods), cell.seeds)
        slow_influence = found.influence.reshape(len(methods), cell.seeds, -1)
        np.testing.assert_allclose(primary[b], slow_primary, **EXACT)
        np.testing.assert_allclose(influence[b], slow_influence, **EXACT)
        ones = [
            reader_case.compare_paired(slow_primary[i], slow_primary[j], slow_influence[i], slow_influence[j])
            for i, j in zip(first, second, strict=True)
        ]
        same = (("difference", fast.mean), ("c_plus", fast.c_plus), ("variance", fast.variance),
                ("subjects", fast.subjects), ("df", fast.df), ("p", p))  # fmt: skip
        for field, values in same:
            np.testing.assert_allclose(values[b], [getattr(one, field) for one in ones], **EXACT)
        assert [one.low <= gain <= one.high for one, gain in zip(ones, truth, strict=True)] == covered[b].tolist()
        reasons = [families.withheld(design.counts, one.subjects) for one in ones]
        undefined = [one.status != "ok" for one in ones]
        assert [bool(said) or none for said, none in zip(reasons, undefined, strict=True)] == withheld[b].tolist()
        slow_effects = [families.smallest_visible_effect(one.variance, one.df, 4) for one in ones]
        np.testing.assert_allclose(effects[b], slow_effects, **EXACT)
        ranges = [families.visible_effect_range(one.variance, one.df, 4) for one in ones]
        np.testing.assert_allclose(np.transpose([smallest[b], largest[b]]), ranges, **EXACT)
        alone = [reader_case.population_interval(*both) for both in zip(slow_primary, slow_influence, strict=True)]
        one_by_one = (("estimate", fast_single.mean), ("variance", fast_single.variance), ("df", fast_single.df))
        for field, values in one_by_one:
            np.testing.assert_allclose(values[b], [getattr(one, field) for one in alone], **EXACT)
        inside = [one.low <= auroc <= one.high for one, auroc in zip(alone, cell.auroc, strict=True)]
        assert inside == covered_single[b].tolist()
        apart = reader_case.compare_unpaired(
            slow_primary[1], slow_primary[2, :3], slow_influence[1], slow_influence[2, :3]
        )
        for field, values in (("difference", unpaired.mean), ("variance", unpaired.variance), ("df", unpaired.df)):
            np.testing.assert_allclose(values[b], [getattr(apart, field)], **EXACT)
        slow_fixed = [
            reader_case.compare_on_fixed_images(slow_primary[i], slow_primary[j]).p_t
            for i, j in zip(first, second, strict=True)
        ]
        np.testing.assert_allclose(fixed[b], slow_fixed, **EXACT)
        np.testing.assert_allclose(families.holm(p)[b], families.holm(p[b]), **EXACT)
        np.testing.assert_allclose(families.benjamini_hochberg(p)[b], families.benjamini_hochberg(p[b]), **EXACT)
        ranks = families.rank_intervals(methods, pairs, fast.mean[b], p[b])
        assert [(rank.low, rank.high) for rank in ranks.values()] == list(zip(low[b], high[b], strict=True))


def test_boards_on_which_nothing_differs_are_told_apart_as_the_product_does() -> None:
    design = DESIGNS["plain"]()
    positive = (design.positives >= 0).astype(np.float64)
    perfect = np.arange(220) + 1000.0 * positive
    scores = np.tile(perfect, (1, 3, 5, 1))
    scores[0, 2] = perfect + 5.0 * np.arange(5)[:, None]  # other scores, the same order
    auroc, influence = batched.condition_influence(scores, design.conditions, design.subjects)
    found = batched.paired_estimates(auroc.mean(0), influence.mean(0), np.array([0, 0, 1]), np.array([1, 2, 2]))
    assert found.p()[0].tolist() == [1.0, 1.0, 1.0]
    assert found.withheld(design.counts).all()
    undefined = reader_case.population_interval(auroc[:, 0, 0].mean(0), influence[:, 0, 0].mean(0))
    assert undefined.status == "undefined"
    assert not batched.mean_estimates(auroc.mean(0), influence.mean(0)).mean_covers(np.ones(3)).any()
    p = np.array([[0.01, np.nan, 0.03]])
    np.testing.assert_allclose(families.holm(p)[0], families.holm(p[0]))
    np.testing.assert_allclose(families.benjamini_hochberg(p)[0], families.benjamini_hochberg(p[0]))


@pytest.mark.parametrize("name", ["effects-n5", "nine-methods-n5"])
def test_what_is_counted_is_what_the_board_would_print(name: str) -> None:
    # Judged once more, a board at a time and with the product's functions alone.
    cell, boards = CELLS[name], 8
    design = DESIGNS[cell.design]()
    scores = draw_scores(cell, design, boards, rng())
    on_each, influence_on_each = batched.condition_influence(scores, design.conditions, design.subjects)
    counted = judge_boards(cell, design, estimate(on_each, influence_on_each))
    primary, influence = on_each.mean(axis=0), influence_on_each.mean(axis=0)
    truth = dict(zip(cell.kinds, cell.auroc, strict=True))
    row = {method: i for i, method in enumerate(cell.kinds)}
    for b in range(boards):

        def compare(first: str, second: str, b: int = b) -> reader_case.Comparison:
            i, j = row[first], row[second]
            return reader_case.compare_paired(primary[b, i], primary[b, j], influence[b, i], influence[b, j])

        for family in families.families(cell.kinds):
            found = [compare(*pair) for pair in family.pairs]
            adjusted = families.holm(np.array([one.p for one in found]))
            gains = [truth[first] - truth[second] for first, second in family.pairs]
            false = [
                p <= 0.05 and (gain == 0 or gain * one.difference < 0)
                for p, gain, one in zip(adjusted, gains, found, strict=True)
            ]
            if 0.0 in gains:
                assert counted[f"errors_{family.name}"][b] == any(false)
            if family.name == "baseline" and cell.gains:
                hits = [p <= 0.05 for p, gain in zip(adjusted, gains, strict=True) if math.isclose(gain, 0.03)]
                assert counted["power_0.03"][b] == np.mean(hits)
        ranked = [method for method, kind in cell.kinds.items() if kind != "control"]
        pairs = families.all_pairs(ranked)
        found = [compare(*pair) for pair in pairs]
        ranks = families.rank_intervals(
            ranked, pairs, np.array([one.difference for one in found]), np.array([one.p for one in found])
        )
        right = [
            ranks[m].low <= 1 + sum(truth[o] > truth[m] for o in ranked)
            and ranks[m].high >= len(ranked) - sum(truth[o] < truth[m] for o in ranked)
            for m in ranked
        ]
        assert counted["ranks"][b] == all(right)
        others = [
            one.low <= truth[first] - truth[second] <= one.high
            for one, (first, second) in zip(found, pairs, strict=True)
            if "cross-entropy" not in (first, second)
        ]
        assert counted["coverage_others"][b] == pytest.approx(np.mean(others))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), levels=st.sampled_from([1, 2, 5, 60]))
def test_ties_count_one_half(seed: int, levels: int) -> None:
    design = DESIGNS["small classes"]()
    scores = np.random.default_rng(seed).integers(0, levels, size=(4, len(design.subjects))).astype(np.float64)
    fast, influence = batched.condition_influence(scores, design.conditions, design.subjects)
    slow = placements.clustered_influence(scores, design.conditions, design.subjects)
    np.testing.assert_allclose(fast.T, slow.auroc, **EXACT)
    np.testing.assert_allclose(influence.mean(axis=0), slow.influence, **EXACT)


# --- The boards are what they claim -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["equal-0.35-n5", "clustered-effects-n5", "four-conditions-n5", "noisy-baseline-n5"])
def test_the_estimand_is_the_population_auroc(name: str) -> None:
    cell = CELLS[name]
    design = DESIGNS[cell.design]()
    # For a given run the AUROC over subjects is Phi(separation / sqrt 2), so its mean over runs is the truth.
    over_runs = stats.norm.cdf(separations(cell, design, 20_000, rng()) / 2**0.5).mean(axis=(0, 2, 3))
    np.testing.assert_allclose(over_runs, cell.auroc, atol=5e-4)
    # And what the board computes is, on average over boards, that number.
    scores = draw_scores(cell, design, 300, rng())
    on_each, _ = batched.condition_influence(scores, design.conditions, design.subjects)
    primary = on_each.mean(axis=0)
    difference = primary.mean(axis=2) - cell.auroc
    error = difference.std(axis=0, ddof=1) / len(difference) ** 0.5
    assert (np.abs(difference.mean(axis=0)) <= 4 * error).all()


def test_equal_methods_differ_on_the_subjects_drawn_and_not_in_the_population() -> None:
    # Sixty seeds do not help: all seeds of a method share its luck with these images.
    cell = replace(CELLS["equal-0.35-n5"], seeds=60, seed_sd=0.0)
    small, large = DESIGNS["plain"](), DESIGNS["plain"](scale=40)
    spread = {}
    for name, design in (("small", small), ("large", large)):
        scores = draw_scores(cell, design, 2, rng())
        primary = batched.condition_influence(scores, design.conditions, design.subjects)[0].mean(axis=0)
        spread[name] = primary.mean(axis=2).std(axis=1).mean()
    assert spread["small"] > 0.005
    assert spread["large"] < spread["small"] / 4


@pytest.mark.parametrize("effect", [0.0, 0.2, 0.35])
@pytest.mark.parametrize("design_name", ["plain", "clustered"])
def test_the_image_effect_has_its_size_in_score_sd(effect: float, design_name: str) -> None:
    cell = replace(CELLS["equal-0.35-n5"], image_effect=effect, seed_sd=0.0)
    design = DESIGNS[design_name](scale=10)
    negatives = draw_scores(cell, design, 2, rng())[..., design.positives < 0]
    assert negatives.var() == pytest.approx(1.0, abs=0.05)
    by_method = negatives.mean(axis=2)
    # What two methods' means over many seeds share is the difficulty; what they do not is the image effect.
    of_images = (by_method[:, 0] - by_method[:, 1]).var() / 2 - simulation.RUN_NOISE**2 / cell.seeds
    assert of_images == pytest.approx(effect**2, abs=0.02)


@pytest.mark.parametrize("name", ["heavy-tails-n5", "saturated-n5"])
def test_the_population_auroc_of_other_scores_is_that_of_many_subjects(name: str) -> None:
    cell = replace(CELLS[name], kinds={"cross-entropy": "unguided"}, seeds=2, seed_sd=0.3)
    design = DESIGNS["plain"](scale=300)
    on_each, _ = batched.condition_influence(draw_scores(cell, design, 12, rng()), design.conditions, design.subjects)
    sd = on_each.mean(axis=(2, 3)).std(axis=1, ddof=1) / 12**0.5
    assert (np.abs(on_each.mean(axis=(1, 2, 3)) - [0.80, 0.90]) <= 4 * sd).all()
    assert (sd < 0.02).all()


def test_saturated_scores_tie_at_both_ends() -> None:
    scores = draw_scores(CELLS["saturated-n5"], DESIGNS["plain"](), 20, rng())
    positive = DESIGNS["plain"]().positives >= 0
    assert (scores[..., ~positive] == 0.0).mean() == pytest.approx(0.5, abs=0.05)
    assert (scores[..., positive] == 1.5).mean() > 0.3


def test_heavy_tails_are_heavy_and_have_the_same_variance() -> None:
    drawn = simulation.image_level(rng(), (2000,), DESIGNS["plain"](), heavy_tails=True)
    assert (np.abs(drawn) > 4.0).mean() > 20 * (1 - stats.norm.cdf(4.0)) * 2
    quartiles = stats.t.ppf([0.25, 0.75], 3) / 3**0.5
    np.testing.assert_allclose(np.quantile(drawn, [0.25, 0.75]), quartiles, atol=0.01)


@pytest.mark.parametrize(
    ("name", "least", "share"),
    [("5 mixed", 5, 0.2), ("10 mixed", 10, 0.1), ("dominant", 41, 0.3), ("large", 39, 0.2),
     ("large, negative", 40, 0.15), ("small classes", 10, 0.1), ("rare positives", 12, 0.083)],
)  # fmt: skip
def test_designs_have_the_subjects_they_are_named_for(name: str, least: int, share: float) -> None:
    counts = DESIGNS[name]().counts
    assert min(min(one.positives, one.negatives) for one in counts) == least
    assert max(one.largest_share for one in counts) == pytest.approx(share, abs=0.01)


def test_rows_of_one_subject_are_alike() -> None:
    design = DESIGNS["clustered"]()
    assert np.bincount(design.subjects).tolist() == [1, 2, 3] * 50
    rows = simulation.image_level(rng(), (20_000,), design)
    observed = np.corrcoef(rows[:, :30].T)
    same = design.subjects[:30, None] == design.subjects[:30]
    np.testing.assert_allclose(observed, np.where(np.eye(30) == 1, 1.0, np.where(same, 0.5, 0.0)), atol=0.04)


def test_some_clustered_subjects_have_both_classes_and_some_have_one() -> None:
    design = DESIGNS["clustered"]()
    classes = [set((design.positives[design.subjects == k] >= 0).tolist()) for k in range(150)]
    assert sum(len(one) == 2 for one in classes) >= 30
    assert sum(len(one) == 1 and sum(design.subjects == k) > 1 for k, one in enumerate(classes)) >= 30


def test_conditions_share_their_negatives() -> None:
    for name, shared in (("plain", (0, 1)), ("clustered", (0, 1)), ("four conditions", (0, 1, 2))):
        conditions = DESIGNS[name]().conditions
        for a, b in combinations(shared, 2):
            assert (conditions[a].negatives == conditions[b].negatives).all()
            assert not (conditions[a].positives & conditions[b].positives).any()
    own = DESIGNS["four conditions"]().conditions
    assert not (own[3].negatives & own[0].negatives).any()


@pytest.mark.parametrize("name", DESIGNS)
def test_every_row_is_used_and_conditions_average_to_the_level(name: str) -> None:
    design = DESIGNS[name]()
    used = np.array([mask for c in design.conditions for mask in (c.positives, c.negatives)]).any(axis=0)
    assert used.all()
    assert sum(design.offsets) == pytest.approx(0.0, abs=1e-12)
    assert sorted(set(design.subjects.tolist())) == list(range(len(set(design.subjects.tolist()))))


def test_the_noisy_baseline_has_four_times_the_seed_sd() -> None:
    cell, design = CELLS["noisy-baseline-n10"], DESIGNS["plain"]()
    scores = draw_scores(cell, design, 200, rng())
    primary = batched.condition_influence(scores, design.conditions, design.subjects)[0].mean(axis=0)
    sd = primary.var(axis=2, ddof=1).mean(axis=0) ** 0.5
    np.testing.assert_allclose(sd[0] / sd[1:], 4.0, rtol=0.1)


def test_the_cells_cover_what_was_promised() -> None:
    for n in (5, 10):
        chosen = [cell for cell in CELLS.values() if cell.seeds == n]
        assert {cell.image_effect for cell in chosen} == {0.0, 0.2, 0.35}
        assert {cell.design for cell in chosen} == set(DESIGNS)
        assert {cell.baseline_factor for cell in chosen} == {
            1.0, cells.NOISY, cells.NOISIER, cells.UNSTABLE
        }  # fmt: skip
        assert {sum(kind != "control" for kind in cell.kinds.values()) for cell in chosen} == {6, 9}
        assert any(cell.gains for cell in chosen)
        assert any(not cell.gains for cell in chosen)
        assert any(cell.heavy_tails for cell in chosen)
        assert any(cell.cut for cell in chosen)
        assert max(cell.level for cell in chosen) == 0.995
        assert [cell.name for cell in chosen if not cell.is_marked] == [f"unstable-baseline-n{n}"]
    assert {cell.seeds for cell in CELLS.values()} == {3, 5, 10, 15}
    for cell in CELLS.values():
        assert next(iter(cell.kinds)) == "cross-entropy"
        assert all(family.pairs for family in families.families(cell.kinds))


# --- Counting ---------------------------------------------------------------------------------------------------


def test_an_error_is_a_verdict_without_a_difference_or_in_the_wrong_direction() -> None:
    truth = np.array([0.0, 0.03])
    difference = np.array([[0.02, 0.04], [0.02, 0.04], [0.02, -0.04], [0.02, -0.04], [0.02, -0.04]])
    p = np.array([[0.05, 0.4], [0.4, 0.01], [0.4, 0.01], [np.nan, 0.4], [np.nan, np.nan]])
    np.testing.assert_array_equal(errors(p, difference, truth), [1.0, 0.0, 1.0, 0.0, np.nan])


@pytest.mark.parametrize(
    ("measure", "hits", "is_marked", "holds"),
    [
        (Measure("e", "verdicts", "", at_most=0.06), 60, True, True),
        (Measure("e", "verdicts", "", at_most=0.06), 74, True, True),  # 2 Monte Carlo errors of .074 are .0166
        (Measure("e", "verdicts", "", at_most=0.06), 80, True, False),
        (Measure("c", "intervals", "", at_least=0.93), 915, True, True),
        (Measure("c", "intervals", "", at_least=0.93), 905, True, False),
        (Measure("r", "verdicts", "", at_least=0.94, allowance=0.0), 940, True, True),
        (Measure("r", "verdicts", "", at_least=0.94, allowance=0.0), 939, True, False),
        (Measure("e", "verdicts", "", at_most=0.06), 300, False, None),  # n = 3 is shown without a pass mark
        (Measure("power", "power", ""), 10, True, None),
    ],
)
def test_pass_marks_allow_for_monte_carlo_error(
    measure: Measure, hits: int, is_marked: bool, holds: bool | None
) -> None:
    values = np.repeat([1.0, 0.0], [hits, 1000 - hits])
    found = rate(measure, values, is_marked)
    assert found.value == pytest.approx(hits / 1000)
    assert found.error == pytest.approx((found.value * (1 - found.value) / 999) ** 0.5)
    assert found.holds is holds


def test_nothing_to_measure_is_neither_passed_nor_failed() -> None:
    found = rate(Measure("e", "verdicts", "", at_most=0.06), np.array([]))
    assert math.isnan(found.value)
    assert (found.holds, found.withheld) == (None, False)


def test_withheld_boards_are_neither_right_nor_wrong() -> None:
    measure = Measure("e", "verdicts", "", at_most=0.06)
    some = rate(measure, np.array([np.nan, 1.0, 0.0, np.nan, 0.0, 0.0]))
    assert some.value == 0.25
    none = rate(measure, np.full(5, np.nan))
    assert math.isnan(none.value)
    assert (none.holds, none.withheld) == (None, True)


def numbers(found: CellRates) -> list[tuple[float, float]]:
    return [(one.value, one.error) for one in found.rates]


def test_a_cell_depends_on_seed_name_and_boards_alone() -> None:
    cell, other = CELLS["equal-0.2-n5"], CELLS["effects-n3"]
    (alone,) = simulate_cells([cell], 60, seed=7)
    *_, after_another = simulate_cells([other, cell], 60, seed=7, workers=2)
    (reseeded,) = simulate_cells([cell], 60, seed=8)
    np.testing.assert_array_equal(numbers(alone), numbers(after_another))
    assert alone.boards == 60
    assert not np.array_equal(numbers(alone), numbers(reseeded), equal_nan=True)


# --- The floors -------------------------------------------------------------------------------------------------


def of_cell(cell: cells.SimulatedCell, boards: int = 400) -> dict[str, Floats]:
    parts = [calibration.simulate_batch(calibration.BoardBatch(cell, 0, i, 100)) for i in range(boards // 100)]
    return judge_boards(cell, DESIGNS[cell.design](), join_boards(parts))


@pytest.mark.parametrize(
    ("name", "floor", "opened"),
    [("5-mixed-subjects-n10", "MIN_SUBJECTS", 0), ("dominant-subject-n5", "MAX_SHARE", 1.0)],
)
def test_floors_withhold_every_verdict(name: str, floor: str, opened: float, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = CELLS[name]
    kept = of_cell(cell, 100)
    for measure in ("errors_baseline", "errors_pairs", "ranks", "coverage_others", "coverage_mean_others"):
        assert np.isnan(kept[measure]).all(), measure
    assert (kept["withheld_pairs"] == 1.0).all()
    monkeypatch.setattr(families, floor, opened)
    assert (of_cell(cell, 100)["withheld_pairs"] < 0.9).any()


def test_five_subjects_would_break_the_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "MIN_SUBJECTS", 0)
    found = of_cell(CELLS["5-mixed-subjects-n10"])
    assert found["errors_pairs"].mean() > 0.08
    assert found["ranks"].mean() < 0.92


def test_without_the_number_of_subjects_ten_would_break_them(monkeypatch: pytest.MonkeyPatch) -> None:
    # K infinite is what the degrees of freedom were before.
    known = batched._estimates

    def blind(mean: Floats, between: Any, c: Floats, influence: Floats) -> batched.Estimates:
        found = known(mean, between, c, influence)
        ((s2_n, n),) = between
        seeds = s2_n * (n - 1) / stats.chi2.ppf(0.10, n - 1)
        return replace(found, df=(n - 1) * (1 + found.c_plus / seeds) ** 2)

    cell = CELLS["10-mixed-subjects-n10"]
    assert np.nanmean(of_cell(cell)["errors_pairs"]) < 0.07
    monkeypatch.setattr(batched, "_estimates", blind)
    monkeypatch.setattr(
        batched, "unpaired_estimates", lambda a, b, x, y: batched.mean_estimates(a[:, None], x[:, None])
    )
    monkeypatch.setattr(batched, "paired_t", lambda primary, first, second: np.ones((len(primary), len(first))))
    assert np.nanmean(of_cell(cell)["errors_pairs"]) > 0.09


# --- Marks, conditions, false discoveries, reproduction ---------------------------------------------------------


@pytest.mark.parametrize("name", ["chance-n5", "losses-n5"])
def test_marks_and_conditions_are_judged_by_what_the_board_would_print(name: str) -> None:
    cell, boards = CELLS[name], 12
    design = DESIGNS[cell.design]()
    on_each, influence = batched.condition_influence(
        draw_scores(cell, design, boards, rng()), design.conditions, design.subjects
    )
    counted = judge_boards(cell, design, estimate(on_each, influence))
    names, true = list(cell.kinds), dict(zip(cell.kinds, cell.auroc, strict=True))
    for b in range(boards):
        means = [
            reader_case.population_interval(on_each[:, b, i].mean(axis=0), influence[:, b, i].mean(axis=0))
            for i in range(len(names))
        ]
        each = [
            [reader_case.compare_paired(on_each[c, b, i], on_each[c, b, 0], influence[c, b, i], influence[c, b, 0])
             for i in range(1, len(names))]
            for c in range(len(design.uses))
        ]  # fmt: skip
        truth = [true[method] - true[names[0]] for method in names[1:]]
        q = families.benjamini_hochberg(np.array([one.p for row in each for one in row]))
        false = [
            p <= 0.05 and (abs(gain) < 1e-9 or gain * one.difference < 0)
            for p, one, gain in zip(q, [one for row in each for one in row], truth * 2, strict=True)
        ]
        assert counted["false_discoveries"][b] == pytest.approx(sum(false) / max(1, sum(q <= 0.05)))
        if name == "chance-n5":
            at = [one for one, method in zip(means, names, strict=True) if true[method] == 0.5]
            assert counted["above_at_chance"][b] == np.mean([one.low > 0.5 for one in at])
            assert counted["below_at_chance"][b] == np.mean([one.high < 0.5 for one in at])
            (better,) = [one for one, method in zip(means, names, strict=True) if abs(true[method] - 0.6) < 1e-9]
            assert counted["unproven_0.60"][b] == float(better.low <= 0.5)
        else:
            for loss in (0.02, 0.06, 0.12):
                (one,) = [one for one, gain in zip(each[-1], truth, strict=True) if abs(gain + loss) < 1e-9]
                assert counted[f"worse_{loss:.2f}"][b] == float(one.high < -0.02)


def test_a_true_reproduction_fails_in_5_percent_and_the_stated_miss_in_80() -> None:
    values = 0.8 + 0.02 * np.random.default_rng(0).normal(size=(4000, 1, 10))
    found = reproduction(values)
    assert found["reproduction_rejected"].mean() == pytest.approx(0.05, abs=0.014)
    assert found["reproduction_noticed"].mean() == pytest.approx(0.80, abs=0.025)
    assert reproduction(values[..., :9]) == {}


# --- The short version of docs/calibration.md -------------------------------------------------------------------


def short(name: str) -> dict[str, tuple[float, float]]:
    (found,) = simulate_cells([CELLS[name]], 400)
    return {one.measure.name: (one.value, one.error) for one in found.rates}


SHORT = ("equal-0-n5", "equal-0.35-n10", "few-subjects-n5", "four-conditions-n10", "noisy-baseline-n5", "effects-n5")


@pytest.mark.parametrize("name", SHORT)
def test_a_short_calibration_meets_the_marks_within_its_error(name: str) -> None:
    found = short(name)
    for measure in MEASURES:
        value, error = found[measure.name]
        assert not value - 2 * error > measure.at_most, measure.name
        assert not value + 2 * error < measure.at_least, measure.name


def test_more_seeds_find_more_and_make_the_paired_t_worse() -> None:
    five, ten = short("effects-n5"), short("effects-n10")
    assert five["power_0.03"][0] + 0.2 < ten["power_0.03"][0]
    assert ten["power_0.05"][0] > 0.9
    five, ten = short("equal-0.35-n5"), short("equal-0.35-n10")
    assert 0.10 < five["errors_paired_t"][0] < ten["errors_paired_t"][0] - 0.1


# --- The command ------------------------------------------------------------------------------------------------


def test_calibrate_prints_the_table_alone(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["calibrate", "--boards", "30", "--cells", "equal-0-n5,effects-n3", "--format", "csv"])
    out, err = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["measure"] for row in rows] == 2 * [measure.name for measure in MEASURES]
    assert {row["cell"] for row in rows} == {"equal-0-n5", "effects-n3"}
    assert code == int(any(row["holds"] == "False" for row in rows))
    assert "[2/2] effects-n3" in err


@pytest.mark.parametrize("form", ["terminal", "markdown", "json"])
def test_every_format_says_the_same(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["calibrate", "--boards", "30", "--cells", "effects-n5", "--format", form])
    out = capsys.readouterr().out
    (expected,) = simulate_cells([CELLS["effects-n5"]], 30)
    power = next(one for one in expected.rates if one.measure.name == "power_0.03")
    if form == "json":
        records = {record["measure"]: record for record in json.loads(out)}
        assert records["power_0.03"]["value"] == power.value
        assert records["errors_controls"]["value"] is None
    else:
        assert f"{100 * power.value:.1f}" in out
        assert "pass mark" in out
        assert TOPICS["power"] in out
        assert TOPICS["marks"] not in out  # nothing of this cell belongs there


def test_what_is_withheld_is_said_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["calibrate", "--boards", "30", "--cells", "5-mixed-subjects-n5,equal-0-n5", "--format", "markdown"])
    out = capsys.readouterr().out
    assert "### Stars and ranks" in out
    few = [line for line in out.splitlines() if line.startswith("| 5-mixed-subjects-n5")]
    assert few[0].count("withheld") == 5
    assert "100.0 ± 0.0" in few[0]
    assert not any("withheld" in line for line in out.splitlines() if line.startswith("| equal-0-n5"))
    assert code in (0, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--boards", "1"], "--boards is 1; give 2 or more"),
        (["--seed", "-1"], "--seed is -1; give 0 or more"),
        (["--workers", "-1"], "--workers is -1; give 0 or more"),
        (["--cells", "efects-n5"], "Did you mean 'effects-n5'?"),
        (["--cells", ","], "unknown cell ','"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_the_documented_tables_are_of_the_cells_and_columns_that_there_are() -> None:
    text = (Path(__file__).parents[3] / "docs" / "calibration.md").read_text(encoding="utf-8")
    printed = render_rates(list(simulate_cells(list(CELLS.values()), 2)), "markdown", 0)

    def outline(lines: str) -> list[list[str]]:
        """Headings and first columns of the tables that `calibrate` prints."""
        found: list[list[str]] = []
        for title in TOPICS.values():
            _, _, rest = lines.partition(f"### {title}\n\n")
            rows = rest.split("\n\n")[0].splitlines()
            cells = [[entry.strip() for entry in row.strip("|").split("|")] for row in rows]
            assert cells, f"no table {title}"
            found.append([title, *cells[0][1:], *(row[0] for row in cells[2:])])
        return found

    assert outline(text) == outline(printed)
    assert "% of 2000 boards" in text


def test_choose_keeps_the_order_given() -> None:
    chosen = cells.cells_named("effects-n5, equal-0-n5,effects-n5")
    assert [cell.name for cell in chosen] == ["effects-n5", "equal-0-n5"]
    assert cells.cells_named("all") == list(CELLS.values())
    with pytest.raises(UserError):
        cells.cells_named("")
