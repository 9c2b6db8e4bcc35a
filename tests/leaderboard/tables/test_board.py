"""Tables: what is compared, what is kept apart, and what is said about it."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from divsal_bench.errors import UserError
from divsal_bench.leaderboard.sheets import scored
from divsal_bench.leaderboard.sheets.entries import from_runs
from divsal_bench.leaderboard.statistics.families import Rank
from divsal_bench.leaderboard.tables import board, deciding, notes, notes_on_tests, render, schema
from divsal_bench.runs.reading import Run
from divsal_bench.runs.records import DataFacts

MakeRun = Callable[..., Run]
Predictions = Callable[..., pd.DataFrame]


def board_of(make_run: MakeRun, seeds: int = 5, strengths: dict[str, float] | None = None) -> schema.Table:
    """A table of four methods."""
    chosen = strengths or {"cross-entropy": 1.5, "cyborg": 1.5, "difference": 1.5, "cyborg-shuffled": 1.5}
    runs = [make_run(method, seed, strength) for method, strength in chosen.items() for seed in range(seeds)]
    (table,) = board.tables_of_runs(runs)
    return table


def row_of(table: schema.Table, label: str) -> schema.MethodRow:
    (found,) = [row for row in table.rows if row.label == label]
    return found


def test_cells_are_the_means_of_the_runs_own_scores(make_run: MakeRun) -> None:
    runs = [make_run("cross-entropy", seed) for seed in range(5)]
    (row,) = board.tables_of_runs(runs)[0].rows
    for name in ("in_domain", "open_set", "worst"):
        values = [getattr(run.record.scores, name) for run in runs]
        cell = getattr(row, name).seeds
        assert cell.mean == pytest.approx(np.mean(values))
        assert cell.sd == pytest.approx(np.std(values, ddof=1))
        half = stats.t.ppf(0.975, 4) * np.std(values, ddof=1) / np.sqrt(5)
        assert (cell.low, cell.high) == pytest.approx((np.mean(values) - half, np.mean(values) + half))


def test_open_set_is_the_mean_over_unseen_conditions_from_the_predictions_themselves(make_run: MakeRun) -> None:
    run = make_run("cross-entropy", 3)
    table = run.predictions()
    test = table[table["split"] == "test"]
    source = test[test["condition"] == "b"]
    lens = test[(test["condition"] == "lens") | ((test["condition"] == "in-domain") & (test["label"] == 0))]
    expected = np.mean([roc_auc_score(part["label"], part["logit1"]) for part in (source, lens)])
    assert board.tables_of_runs([run])[0].rows[0].open_set.seeds.mean == pytest.approx(expected)


def test_the_population_interval_is_wider_than_the_seeds_alone_say(make_run: MakeRun) -> None:
    row = board_of(make_run).rows[0]
    population = row.open_set.population
    assert population is not None
    assert population.low < row.open_set.seeds.low
    assert population.high > row.open_set.seeds.high
    assert population.estimate == pytest.approx(row.open_set.seeds.mean)


def test_families_hold_the_pairs_the_design_names(make_run: MakeRun) -> None:
    table = board_of(make_run)
    assert {(test.family, test.first, test.second) for test in table.tests} == {
        ("baseline", "cyborg", "cross-entropy"),
        ("baseline", "difference", "cross-entropy"),
        ("divergence", "difference", "cyborg"),
        ("controls", "cyborg", "cyborg-shuffled"),
    }
    assert {test.family_size for test in table.tests if test.family == "baseline"} == {2}


def test_a_large_difference_is_found_and_a_null_is_not(make_run: MakeRun) -> None:
    table = board_of(make_run, 5, {"cross-entropy": 0.3, "cyborg": 3.0, "difference": 0.3})
    p = {test.first: test.p_holm for test in table.tests if test.family == "baseline"}
    assert p["cyborg"] < 0.001
    assert p["difference"] > 0.05
    (row,) = [row for row in table.rows if row.label == "cyborg"]
    assert row.difference is not None
    assert row.difference.low > 0


def test_three_seeds_are_a_preview_without_p_or_rank(make_run: MakeRun) -> None:
    table = board_of(make_run, 3)
    assert not table.tests
    assert all(row.rank is None for row in table.rows)
    assert any("all methods (n = 3, a test needs 5 seeds)" in note for note in table.notes)
    assert all(row.difference is None or math.isnan(row.difference.p) for row in table.rows)
    assert all(not row.marks for row in table.rows)


def test_survivors_have_no_mean_no_p_and_no_star(make_run: MakeRun) -> None:
    good = [make_run("cyborg", seed, 3.0) for seed in range(5)]
    bad = [make_run("cyborg", 5, status="failed"), make_run("cyborg", 6, status="diverged")]
    others = [make_run(method, seed, 0.3) for method in ("cross-entropy", "difference") for seed in range(7)]
    (table,) = board.tables_of_runs([*good, *bad, *others])
    row = row_of(table, "cyborg")
    assert (len(row.seeds), row.failed, row.diverged) == (5, 1, 1)
    assert row.open_set.seeds.n == row.in_domain.seeds.n == row.worst.seeds.n == 0
    assert (row.rank, row.difference, row.conditions, row.field_metrics, row.true_cam) == (None, None, (), (), None)
    assert not any("cyborg" in (test.first, test.second) for test in table.tests)
    assert not any("cyborg" in (pair.first, pair.second) for pair in table.pairs)
    assert row.survivors is not None
    assert (row.survivors.seeds, row.survivors.asked) == (5, 7)
    mean = np.mean([run.record.scores.open_set for run in good])  # type: ignore[union-attr]
    assert row.survivors.open_set.mean == pytest.approx(mean)
    text = render.render_tables([table], "terminal")
    assert "5, 1 failed, 1 diverged" in text
    assert f"{mean:.3f}" not in text
    assert "cyborg (runs without a result: 1 failed, 1 diverged)" in text
    # One family of one: what has no result is in no family.
    assert [(test.first, test.family_size) for test in table.tests] == [("difference", 1)]
    assert [cell.q is None for row in table.rows for cell in row.conditions] == [True] * 3 + [False] * 3


def test_nothing_is_held_against_the_survivors_of_cross_entropy(make_run: MakeRun) -> None:
    runs = [make_run(method, seed) for method in ("cross-entropy", "cyborg", "difference") for seed in range(5)]
    table = board.tables_of_runs([*runs, make_run("cross-entropy", 5, status="failed")])[0]
    assert all(row.difference is None for row in table.rows)
    assert not [test for test in table.tests if test.family == "baseline"]
    assert any("No p against cross-entropy" in note and "1 failed" in note for note in table.notes)
    assert row_of(table, "cyborg").rank is not None


def test_a_method_whose_every_run_failed_still_has_its_row(make_run: MakeRun) -> None:
    runs = [make_run("cross-entropy", 0), make_run("cyborg", 0, status="failed")]
    table = board.tables_of_runs(runs)[0]
    assert [row.label for row in table.rows] == ["cross-entropy", "cyborg"]
    assert "n/a" in render.render_tables([table], "terminal")
    alone = board.tables_of_runs([make_run("difference", 0, status="failed")])
    assert "n/a" in render.render_tables(alone, "markdown")


@pytest.mark.parametrize(
    "change",
    [{"task": "iris-pad"}, {"data_fingerprint": "e" * 64}, {"protocol": "cyborg-v1"}, {"backbone": "resnet18"},
     {"head": "one-logit"}, {"protocol_settings": {"epochs": 13}}, {"weights": "abc"}, {"engine_version": 2}],
)  # fmt: skip
def test_what_must_not_be_compared_is_never_in_one_table(make_run: MakeRun, change: dict[str, object]) -> None:
    assert len(board.tables_of_runs([make_run("cross-entropy", 0), make_run("cyborg", 0, **change)])) == 2


def test_other_fields_and_versions_are_rows_of_their_own(make_run: MakeRun) -> None:
    runs = [
        make_run("cyborg", 0, fields={"alpha": 0.5}),
        make_run("cyborg", 0, fields={"alpha": 0.3}, record={"method_label": "cyborg:alpha=0.3"}),
        make_run("cyborg", 0, fields={"alpha": 0.5}, method_version=2),
    ]
    assert {row.label for row in board.tables_of_runs(runs)[0].rows} == {"cyborg", "cyborg@v1", "cyborg:alpha=0.3"}


def test_comparisons_use_the_seeds_both_have(make_run: MakeRun) -> None:
    runs = [make_run("cross-entropy", seed) for seed in range(5)] + [make_run("cyborg", seed) for seed in range(8)]
    table = board.tables_of_runs(runs)[0]
    row = table.rows[1]
    assert row.difference is not None
    assert row.difference.n == 5
    assert [test.comparison.n for test in table.tests] == [5]
    assert any("differ in their seeds" in note for note in table.notes)


def test_runs_scored_on_other_rows_are_refused(make_run: MakeRun, predictions: Predictions) -> None:
    other = predictions(1.5, 0)
    other.loc[other.index[-1], "sample_id"] = "another"
    with pytest.raises(UserError, match="other rows"):
        board.tables_of_runs([make_run("cross-entropy", 0), make_run("cyborg", 0, table=other)])


def test_the_order_of_runs_changes_nothing(make_run: MakeRun) -> None:
    runs = [make_run(method, seed) for method in ("cross-entropy", "cyborg", "difference") for seed in range(5)]
    shuffled = [runs[i] for i in np.random.default_rng(0).permutation(len(runs))]
    assert render.render_tables(board.tables_of_runs(runs), "json") == render.render_tables(
        board.tables_of_runs(shuffled), "json"
    )


@pytest.mark.parametrize("seeds", [3, 4, 5])
@pytest.mark.parametrize(
    ("strength", "mark"),
    [(2.0, None), (0.0, "not shown above chance"), (-2.0, "shown below chance")],
)
def test_one_rule_marks_what_is_not_above_chance_and_what_is_below(
    make_run: MakeRun, seeds: int, strength: float, mark: str | None
) -> None:
    (row,) = board.tables_of_runs([make_run("cyborg", seed, strength) for seed in range(seeds)])[0].rows
    assert list(row.marks) == ([mark] if mark else [])
    assert {cell.mark for cell in row.conditions} == {mark or ""}
    assert row.worst_mark == (mark or "")
    interval = row.open_set.population
    assert interval is not None
    assert (interval.low <= 0.5, interval.high < 0.5) == (mark is not None, mark == "shown below chance")


def test_one_seed_claims_nothing_about_chance(make_run: MakeRun) -> None:
    (row,) = board.tables_of_runs([make_run("cyborg", 0, -1.5)])[0].rows
    assert (row.marks, row.worst_mark, {cell.mark for cell in row.conditions}) == ((), "", {""})


def test_the_lowest_condition_is_above_chance_only_where_all_are(make_run: MakeRun, predictions: Predictions) -> None:
    runs = []
    for seed in range(5):
        table = predictions(3.0, seed)
        lens = (table["condition"] == "lens").to_numpy()
        table.loc[lens, "logit1"] = predictions(-3.0, seed).loc[lens, "logit1"]
        runs.append(make_run("cyborg", seed, table=table))
    (row,) = board.tables_of_runs(runs)[0].rows
    assert {cell.condition: cell.mark for cell in row.conditions} == {
        "in-domain": "", "b": "", "lens": "shown below chance",
    }  # fmt: skip
    assert row.worst_mark == "shown below chance"
    notes = board.tables_of_runs(runs)[0].notes
    assert "By condition, shown below chance: lens: cyborg; worst: cyborg." in notes


def test_a_loss_in_domain_is_marked_beside_what_is_below_chance(make_run: MakeRun) -> None:
    runs = [make_run("cross-entropy", seed, 3.0) for seed in range(5)]
    runs += [make_run("cyborg", seed, -1.5) for seed in range(5)]
    rows = {row.label: row for row in board.tables_of_runs(runs)[0].rows}
    assert rows["cross-entropy"].marks == ()
    assert rows["cyborg"].marks == ("shown below chance", "in-domain worse")
    assert rows["cyborg"].rank is not None
    assert not rows["cyborg"].rank.top


def test_the_lowest_condition_has_no_interval_that_a_minimum_would_belie(make_run: MakeRun) -> None:
    row = board_of(make_run).rows[0]
    assert row.worst.population is None
    assert not math.isnan(row.worst.seeds.mean)


def test_the_other_families_are_said_below_the_table(make_run: MakeRun) -> None:
    table = board_of(make_run)
    for family, words in (("divergence", "Each two-cam method − cyborg, one test, so not adjusted: difference "),
                          ("controls", "cyborg − each control, one test, so not adjusted: cyborg-shuf")):  # fmt: skip
        (test,) = [test for test in table.tests if test.family == family]
        (note,) = [note for note in table.notes if note.startswith(words)]
        assert f"{test.comparison.difference:+.3f}" in note
        assert f"p {test.p_holm:.3f}" in note


@pytest.mark.parametrize(
    ("methods", "reason"),
    [
        (("cyborg", "difference"), "No p against cross-entropy: it is not in the table"),
        (("cross-entropy", "cyborg-shuffled"), "controls are tested against cyborg alone"),
    ],
)
def test_a_missing_p_has_its_true_reason(make_run: MakeRun, methods: tuple[str, ...], reason: str) -> None:
    runs = [make_run(method, seed) for method in methods for seed in range(5)]
    assert any(reason in note for note in board.tables_of_runs(runs)[0].notes)


def with_subjects(make_run: MakeRun, predictions: Predictions, name: Callable[[int], str]) -> schema.Table:
    """Two methods that differ much, the unseen category's rows given to the subjects that ``name`` says."""
    runs = []
    for i, method in enumerate(("cross-entropy", "cyborg")):
        for seed in range(5):
            table = predictions(0.3 + 2 * i, 100 * i + seed)
            lens = table["condition"] == "lens"
            table.loc[lens, "subject"] = [name(j) for j in range(lens.sum())]
            runs.append(make_run(method, seed, table=table))
    (found,) = board.tables_of_runs(runs)
    return found


def test_a_condition_with_one_subject_in_a_class_has_no_interval_and_no_test(
    make_run: MakeRun, predictions: Predictions
) -> None:
    found = with_subjects(make_run, predictions, lambda j: "one")
    assert found.withheld == "lens has 1 subject of one class, 10 are needed"
    assert all(test.comparison.status == "undefined" and test.withheld for test in found.tests)
    text = render.render_tables([found], "terminal")
    assert text.count(found.withheld) == 1
    assert "No interval and no test on a condition" not in text
    assert "nan" not in text
    assert "undefined" not in text


@pytest.mark.parametrize("subjects", [4, 9])
def test_too_few_subjects_have_no_p_no_rank_and_no_mark(
    make_run: MakeRun, predictions: Predictions, subjects: int
) -> None:
    found = with_subjects(make_run, predictions, lambda j: f"few-{j % subjects}")
    assert found.withheld == f"lens has {subjects} subjects of one class, 10 are needed"
    assert not found.pairs
    for row in found.rows:
        assert row.rank is None
        assert row.marks == ()
        assert row.worst_mark in ("", "not shown above chance")
        assert row.open_set.population is not None
        assert math.isnan(row.open_set.population.low)
        assert row.difference is None or (math.isnan(row.difference.p) and math.isnan(row.difference.low))
        by_name = {cell.condition: cell for cell in row.conditions}
        assert (by_name["lens"].q, by_name["lens"].mark) == (None, "")
        if row.label == "cyborg":
            assert by_name["b"].q is not None, "the other condition has subjects enough"
    assert all(math.isnan(test.comparison.p) and math.isnan(test.p_holm) for test in found.tests)
    assert all(math.isnan(test.smallest_effect) for test in found.tests)
    for form in render.FORMATS:
        text = render.render_tables([found], form)
        assert "*" not in text.replace("{*}", "*").replace("**", "").replace("uses the p", ""), form
        assert "10 are needed" in text
    row = next(csv.DictReader(io.StringIO(render.render_tables([found], "csv"))))
    assert row["withheld"] == found.withheld
    assert row["p"] == ""


def test_a_condition_outside_the_primary_mean_has_a_floor_of_its_own(
    make_run: MakeRun, predictions: Predictions
) -> None:
    runs = []
    for i, method in enumerate(("cross-entropy", "cyborg")):
        for seed in range(5):
            table = predictions(0.3 + 2 * i, 100 * i + seed)
            inside = (table["condition"] == "in-domain") & (table["label"] == 1)
            table.loc[inside, "subject"] = [f"few-{j % 6}" for j in range(inside.sum())]
            runs.append(make_run(method, seed, table=table))
    (found,) = board.tables_of_runs(runs)
    assert not found.withheld
    row = row_of(found, "cyborg")
    assert row.rank is not None
    assert row.in_domain.population is not None
    assert math.isnan(row.in_domain.population.low)
    assert [cell.q is None for cell in row.conditions] == [True, False, False]
    note = "No interval and no test on a condition: in-domain has 6 subjects of one class, 10 are needed."
    assert note in found.notes


def test_ten_subjects_are_enough(make_run: MakeRun, predictions: Predictions) -> None:
    found = with_subjects(make_run, predictions, lambda j: f"few-{j % 12}")
    assert not found.withheld
    assert row_of(found, "cyborg").rank is not None


def test_a_pair_that_differs_by_one_subject_takes_no_ones_rank(make_run: MakeRun) -> None:
    runs = [make_run(method, seed, s) for method, s in (("cross-entropy", 0.3), ("cyborg", 3.0)) for seed in range(5)]
    (sheet,) = from_runs(runs)
    found, subjects = scored.score_sheet(sheet), scored.subjects_of(sheet)
    assert subjects is not None
    # The scores of cross-entropy, but for one subject.
    one = np.eye(1, subjects.total)[0]
    odd = {seed: (value + 0.01 * (seed + 1), influence + 0.004 * one)
           for seed, (value, influence) in found["cross-entropy"].primary.items()}  # fmt: skip
    entry = dataclasses.replace(found["cross-entropy"].entry, label="odd")
    methods = [*found.values(), dataclasses.replace(found["cross-entropy"], entry=entry, primary=odd)]
    pairs = deciding.decide_pairs(methods, subjects)
    (withheld,) = [pair for pair in pairs if pair.withheld]
    assert {withheld.first, withheld.second} == {"cross-entropy", "odd"}
    assert withheld.withheld == "one test subject decides the result"
    assert math.isnan(withheld.p)
    ranks = deciding.ranks_of(pairs, [one.entry.label for one in methods], {})
    assert ranks == {"cyborg": Rank(1, 1, True), "cross-entropy": Rank(2, 3, False), "odd": Rank(2, 3, False)}
    table = dataclasses.replace(board.table_of_sheet(sheet), pairs=tuple(pairs))
    (note,) = [note for note in notes.about_subjects(table) if note.startswith("Not tested, and counted as not sep")]
    assert "cross-entropy − odd (one test subject decides the result)" in note
    assert deciding.ranks_of([withheld], ["cross-entropy", "odd"], {}) == {}


@pytest.mark.parametrize("share", [0.15, 0.5])
def test_one_subject_with_many_rows_gives_no_verdict(make_run: MakeRun, predictions: Predictions, share: float) -> None:
    found = with_subjects(make_run, predictions, lambda j: "one" if j < share * 40 else f"many-{j}")
    assert ("one subject has" in found.withheld) == (share > 0.2)
    assert {one.name: one.largest_share for one in found.subjects}["lens"] == share
    assert (row_of(found, "cyborg").rank is None) == (share > 0.2)


def test_every_board_counts_its_subjects(make_run: MakeRun) -> None:
    found = board_of(make_run)
    counts = {one.name: (one.positives, one.negatives, one.largest_share) for one in found.subjects}
    assert counts == {
        "in-domain": (25, 30, 2 / 50), "b": (20, 20, 2 / 40), "lens": (20, 30, 2 / 40),
    }  # fmt: skip
    assert (found.test_subjects, found.single_subjects) == (115, 0)
    lowest = min(m.population.subjects for r in found.rows for c in r.conditions if c.condition == "b"
                 for m in [c.auroc] if m.population)  # fmt: skip
    assert {one.name: one.effective for one in found.subjects}["b"] == lowest
    (note,) = [note for note in found.notes if note.startswith("Test subjects")]
    assert f"b 20 + 20 (K {lowest:.0f}, 5 %)" in note
    assert "115 in all, none with a single row" in note
    (decoded,) = json.loads(render.render_tables([found], "json"))
    assert decoded["subjects"][1]["positives"] == 20
    row = next(csv.DictReader(io.StringIO(render.render_tables([found], "csv"))))
    assert "b: 20 + 20" in row["subjects_by_condition"]


def test_every_board_says_its_scope_and_what_would_narrow_its_intervals(make_run: MakeRun) -> None:
    found = board_of(make_run)
    scope = "new seeds and new test subjects; training data, conditions, protocol and backbone as they are"
    assert any(scope in note for note in found.notes)
    shares = [t.comparison.c_plus / t.comparison.variance for t in found.tests if t.second == "cross-entropy"]
    assert found.subject_share == pytest.approx(np.median(shares))
    (note,) = [note for note in found.notes if note.startswith("c⁺/v")]
    first, then = ("test subjects", "seeds") if found.subject_share > 0.5 else ("seeds", "test subjects")
    assert f"More {first} would narrow the intervals sooner than more {then}." in note
    for number in (0.51, 0.49):
        assert ("More test subjects would" in notes_on_tests.what_subject_share_means(number, "x")) == (number > 0.5)


def test_identical_methods_are_shown_once_and_counted_once(make_run: MakeRun, predictions: Predictions) -> None:
    def runs(twin: bool) -> list[Run]:
        made = [make_run(m, seed, s) for m, s in (("cross-entropy", 0.8), ("cyborg", 1.6), ("difference", 1.2))
                for seed in range(5)]  # fmt: skip
        twins = [
            make_run("balanced", seed, table=made[seed].predictions(), record={"method_kind": "unguided"})
            for seed in range(5)
        ]
        return [*made, *twins] if twin else made

    (alone,), (both,) = board.tables_of_runs(runs(False)), board.tables_of_runs(runs(True))
    row = row_of(both, "balanced")
    assert (row.identical_to, row.rank, row.open_set.seeds.n) == ("cross-entropy", None, 0)
    assert both.tests == alone.tests
    assert both.pairs == alone.pairs
    for label in ("cross-entropy", "cyborg", "difference"):
        assert row_of(both, label) == row_of(alone, label)
    text = render.render_tables([both], "terminal")
    assert "(identical to cross-entropy)" in text
    assert "balanced is identical to cross-entropy" in text


def test_a_reference_method_never_counts_as_a_copy(make_run: MakeRun) -> None:
    runs = [make_run("cross-entropy", seed, 0.5) for seed in range(5)]
    runs += [make_run("margin", seed, 1.0, record={"method_kind": "two-cam"}) for seed in range(5)]
    runs += [make_run("aaa", seed, 1.0, record={"method_kind": "two-cam"}) for seed in range(5)]
    (sheet,) = from_runs(runs)
    assert row_of(board.table_of_sheet(sheet), "margin").identical_to == "aaa"
    assert row_of(board.table_of_sheet(sheet, references={"margin"}), "aaa").identical_to == "margin"


def test_almost_identical_methods_are_two(make_run: MakeRun) -> None:
    first = [make_run("cross-entropy", seed) for seed in range(5)]
    tables = [run.predictions() for run in first]
    tables[3].loc[tables[3].index[-1], "logit1"] += 1e-9
    second = [make_run("cyborg", seed, table=table) for seed, table in enumerate(tables)]
    assert not row_of(board.tables_of_runs([*first, *second])[0], "cyborg").identical_to


def test_without_training_maps_no_guided_method_is_tested(make_run: MakeRun) -> None:
    facts = DataFacts(kind="folder", revision="", pixel_hash="", train=40, validation=60, test=230, train_maps=0)
    strengths = {"cross-entropy": 0.3, "cyborg": 3.0, "difference": 2.0, "cyborg-shuffled": 1.5}
    runs = [make_run(m, seed, s, record={"data": facts}) for m, s in strengths.items() for seed in range(5)]
    found = board.tables_of_runs(runs)[0]
    assert not found.tests
    assert not found.pairs
    for label in ("cyborg", "difference", "cyborg-shuffled"):
        row = row_of(found, label)
        assert (row.rank, row.untested) == (None, "no training maps")
        assert all(cell.q is None for cell in row.conditions)
    text = render.render_tables([found], "terminal")
    assert text.count("(no training maps)") == 4
    assert "Training rows with a human map: 0 of 40 (0 %)." in text


def test_every_board_says_how_many_training_rows_have_a_map(make_run: MakeRun) -> None:
    assert "Training rows with a human map: 2 of 4 (50 %)." in board_of(make_run).notes
    (sheet,) = from_runs([make_run("cyborg", 0)])
    unknown = board.table_of_sheet(dataclasses.replace(sheet, train=None, train_maps=None))
    assert "Training rows with a human map: unknown." in unknown.notes
    assert row_of(unknown, "cyborg").untested == "n = 1, a test needs 5 seeds"


@pytest.mark.parametrize(("maps", "few"), [(1, True), (29, True), (30, False)])
def test_lift_on_few_maps_carries_their_number(
    make_run: MakeRun, predictions: Predictions, maps: int, few: bool
) -> None:
    table = predictions(1.5, 0)
    columns = [name for name in table if name.startswith(("true_", "difference_"))]
    rest = np.flatnonzero(table["true_pe"].notna())[maps:]
    table.loc[rest, columns] = np.nan
    text = render.render_tables(board.tables_of_runs([make_run("cross-entropy", 0, table=table)]), "terminal")
    assert f"(0+{maps} map{'s' * (maps > 1)}{', few' * few})" in text
    assert ("fewer than 30" in text) == few


def test_tests_describe_what_other_conditions_would_give(make_run: MakeRun) -> None:
    found = board_of(make_run)
    for test in found.tests:
        if test.second != "cross-entropy":
            continue
        cells = {cell.condition: cell.difference for cell in row_of(found, test.first).conditions}
        each = [cells[name].difference for name in ("b", "lens")]  # type: ignore[union-attr]
        assert test.without_one == pytest.approx((min(each), max(each)))
        assert all(math.isnan(end) for end in test.over_conditions)
        assert test.smallest_low < test.smallest_effect < test.smallest_high


def test_ranks_hold_the_methods_that_may_be_ranked(make_run: MakeRun) -> None:
    table = board_of(make_run, 5, {"cross-entropy": 0.3, "cyborg": 3.0, "difference": 0.3, "cyborg-shuffled": 1.0})
    ranks = {row.label: row.rank for row in table.rows}
    assert ranks["cyborg-shuffled"] is None
    assert ranks["cyborg"] is not None
    assert (ranks["cyborg"].low, ranks["cyborg"].high, ranks["cyborg"].top) == (1, 1, True)
    assert {(r.low, r.high) for name in ("cross-entropy", "difference") if (r := ranks[name])} == {(2, 3)}
    assert {(pair.first, pair.second) for pair in table.pairs} == {
        ("cross-entropy", "cyborg"), ("cross-entropy", "difference"), ("cyborg", "difference"),
    }  # fmt: skip


@pytest.mark.parametrize("seeds", [range(100, 105), range(1, 6), (0, 1, 2, 3, 5)])
def test_seeds_that_were_chosen_have_no_rank_and_no_p(make_run: MakeRun, seeds: Sequence[int]) -> None:
    runs = [make_run(method, seed, 2.0) for method in ("cross-entropy", "cyborg") for seed in range(5)]
    runs += [make_run("difference", seed, 0.2) for seed in seeds]
    table = board.tables_of_runs(runs)[0]
    row = row_of(table, "difference")
    assert row.rank is None
    assert "not 0–4" in row.unranked
    assert row_of(table, "cyborg").rank is not None
    assert [(pair.first, pair.second) for pair in table.pairs] == [("cross-entropy", "cyborg")]
    assert not any("difference" in (test.first, test.second) for test in table.tests)
    assert all(cell.q is None for cell in row.conditions)


@pytest.mark.parametrize("odd", ["cross-entropy", "cyborg", "difference"])
def test_who_is_ranked_does_not_hang_on_names(make_run: MakeRun, odd: str) -> None:
    runs = [
        make_run(method, seed) for method in ("cross-entropy", "cyborg", "difference")
        for seed in (range(5, 10) if method == odd else range(5))
    ]  # fmt: skip
    rows = board.tables_of_runs(runs)[0].rows
    assert [row.label for row in rows if row.rank is None] == [odd]


def test_a_method_with_a_failed_seed_has_no_rank(make_run: MakeRun) -> None:
    runs = [make_run(method, seed) for method in ("cross-entropy", "cyborg", "difference") for seed in range(6)]
    runs[-1] = make_run("difference", 6, status="failed")
    ranks = {row.label: row.rank for row in board.tables_of_runs(runs)[0].rows}
    assert ranks["difference"] is None
    assert ranks["cyborg"] is not None


def test_one_seed_of_a_method_that_is_there_twice_is_refused(make_run: MakeRun) -> None:
    run = make_run("cyborg", 0)
    with pytest.raises(UserError, match="seed 0 of cyborg is there twice"):
        board.tables_of_runs([run, run])


def test_numbers_that_are_not_those_of_the_predictions_are_refused(make_run: MakeRun, predictions: Predictions) -> None:
    run = make_run("cyborg", 0)
    other = predictions(0.1, 77)
    other.to_parquet(run.path / "predictions.parquet")
    with pytest.raises(UserError, match=r"predictions\.parquet is not what run .* wrote"):
        board.tables_of_runs([run])
    older = Run(run.path, run.record.model_copy(update={"files": {}}))  # it names no hashes
    with pytest.raises(UserError, match="its predictions say"):
        board.tables_of_runs([older])


def test_conditions_carry_adjusted_p_and_false_positive_rates(make_run: MakeRun) -> None:
    table = board_of(make_run, 5, {"cross-entropy": 0.3, "cyborg": 3.0})
    rows = {row.label: row for row in table.rows}
    assert all(cell.q is None for cell in rows["cross-entropy"].conditions)
    by_name = {cell.condition: cell for cell in rows["cyborg"].conditions}
    assert set(by_name) == {"in-domain", "b", "lens"}
    raw = [cell.difference.p for cell in by_name.values() if cell.difference]
    expected = stats.false_discovery_control(raw)
    assert [cell.q for cell in by_name.values()] == pytest.approx(list(expected))
    assert all(cell.false_positive_rate is not None for cell in by_name.values())
    assert {cell.metric for cell in rows["cyborg"].field_metrics} == {"ap"}


def test_devices_and_versions_that_differ_are_said(make_run: MakeRun) -> None:
    runs = [
        make_run("cross-entropy", 0),
        make_run("cyborg", 0, record={"device": "cuda (X)", "versions": {"torch": "2.16"}}),
    ]
    notes = " ".join(board.tables_of_runs(runs)[0].notes)
    assert "differ in device (cpu, cuda (X))" in notes
    assert "differ in torch version (2.15, 2.16)" in notes


def test_instruction_sets_that_differ_are_said_and_unknown_ones_are_no_difference(make_run: MakeRun) -> None:
    runs = [
        make_run("cross-entropy", 0, record={"processor": "AVX512"}),
        make_run("cyborg", 0, record={"processor": "AVX2"}),
        make_run("cyborg", 1),
    ]
    assert "differ in device (cpu (AVX2), cpu (AVX512))" in " ".join(board.tables_of_runs(runs)[0].notes)
    assert "differ in device" not in " ".join(board.tables_of_runs([runs[0], runs[2]])[0].notes)


def test_every_format_tells_the_same_numbers(make_run: MakeRun) -> None:
    table = board_of(make_run)
    (decoded,) = json.loads(render.render_tables([table], "json"))
    lines = list(csv.DictReader(io.StringIO(render.render_tables([table], "csv"))))
    text, markdown = (render.render_tables([table], form) for form in ("terminal", "markdown"))  # type: ignore[arg-type]
    for row, one, line in zip(table.rows, decoded["rows"], lines, strict=True):
        mean = row.open_set.seeds.mean
        assert one["open_set"]["seeds"]["mean"] == mean == float(line["open_set"])
        shown = f"{mean:.3f} ± {row.open_set.seeds.sd:.3f}"
        assert shown in text
        assert shown in markdown
    assert math.isnan(float(lines[0]["p_holm"] or "nan"))
    assert float(lines[1]["p_holm"]) == table.tests[0].p_holm
    assert "open-set AUROC (primary): mean over 2 unseen conditions" in text
    assert "a win here tests the software" in text


def test_without_human_maps_the_rest_is_printed(make_run: MakeRun, predictions: Predictions) -> None:
    table = board.tables_of_runs([make_run("cross-entropy", 0, table=predictions(1.5, 0, maps=False))])[0]
    assert table.rows[0].true_cam is None
    text = render.render_tables([table], "terminal")
    assert "lift true" not in text
    assert "No test image has a human map: no lift." in text


def test_conditions_that_make_the_primary_metric_are_named(make_run: MakeRun) -> None:
    assert "open-set: mean over b, lens." in board_of(make_run).notes


def test_maps_that_are_mostly_empty_are_said(make_run: MakeRun, predictions: Predictions) -> None:
    table = predictions(1.5, 0)
    mapped = table["true_pe"].notna()
    table.loc[mapped, ["true_empty", "true_pe", "true_lift"]] = [1.0, 0.0, 0.0]
    notes = board.tables_of_runs([make_run("cyborg", 1, table=table), make_run("cross-entropy", 0)])[0].notes
    assert any("no positive part" in note and note.endswith(": cyborg.") for note in notes)
