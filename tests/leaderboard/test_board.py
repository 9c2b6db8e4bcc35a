"""Tables: what is compared, what is kept apart, and what is said about it."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from divsal_bench.errors import UserError
from divsal_bench.leaderboard import board, render
from divsal_bench.records import Run

MakeRun = Callable[..., Run]
Predictions = Callable[..., pd.DataFrame]


def board_of(make_run: MakeRun, seeds: int = 5, strengths: dict[str, float] | None = None) -> board.Table:
    """A table of four methods."""
    chosen = strengths or {"cross-entropy": 1.5, "cyborg": 1.5, "difference": 1.5, "cyborg-shuffled": 1.5}
    runs = [make_run(method, seed, strength) for method, strength in chosen.items() for seed in range(seeds)]
    (table,) = board.tables(runs)
    return table


def test_cells_are_the_means_of_the_runs_own_scores(make_run: MakeRun) -> None:
    runs = [make_run("cross-entropy", seed) for seed in range(5)]
    (row,) = board.tables(runs)[0].rows
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
    assert board.tables([run])[0].rows[0].open_set.seeds.mean == pytest.approx(expected)


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
    assert any("a test needs 5 seeds" in note for note in table.notes)
    assert all(not row.marks for row in table.rows)


def test_failed_and_diverged_runs_are_counted_and_not_averaged(make_run: MakeRun) -> None:
    good = [make_run("cyborg", seed) for seed in range(4)]
    bad = [make_run("cyborg", 4, status="failed"), make_run("cyborg", 5, status="diverged")]
    (row,) = board.tables([*good, *bad])[0].rows
    assert (len(row.seeds), row.failed, row.diverged) == (4, 1, 1)
    assert row.open_set.seeds.mean == pytest.approx(np.mean([run.record.scores.open_set for run in good]))  # type: ignore[union-attr]
    text = render.render(board.tables([*good, *bad]), "terminal")
    assert "4, 1 failed, 1 diverged" in text


def test_a_method_whose_every_run_failed_still_has_its_row(make_run: MakeRun) -> None:
    runs = [make_run("cross-entropy", 0), make_run("cyborg", 0, status="failed")]
    table = board.tables(runs)[0]
    assert [row.label for row in table.rows] == ["cross-entropy", "cyborg"]
    assert "n/a" in render.render([table], "terminal")
    alone = board.tables([make_run("difference", 0, status="failed")])
    assert "n/a" in render.render(alone, "markdown")


@pytest.mark.parametrize(
    "change",
    [{"task": "iris-pad"}, {"data_fingerprint": "e" * 64}, {"protocol": "cyborg-v1"}, {"backbone": "resnet18"},
     {"head": "one-logit"}, {"protocol_settings": {"epochs": 13}}, {"weights": "abc"}, {"engine_version": 2}],
)  # fmt: skip
def test_what_must_not_be_compared_is_never_in_one_table(make_run: MakeRun, change: dict[str, object]) -> None:
    assert len(board.tables([make_run("cross-entropy", 0), make_run("cyborg", 0, **change)])) == 2


def test_other_fields_and_versions_are_rows_of_their_own(make_run: MakeRun) -> None:
    runs = [
        make_run("cyborg", 0, fields={"alpha": 0.5}),
        make_run("cyborg", 0, fields={"alpha": 0.3}, record={"method_label": "cyborg:alpha=0.3"}),
        make_run("cyborg", 0, fields={"alpha": 0.5}, method_version=2),
    ]
    assert {row.label for row in board.tables(runs)[0].rows} == {"cyborg", "cyborg@v1", "cyborg:alpha=0.3"}


def test_comparisons_use_the_seeds_both_have(make_run: MakeRun) -> None:
    runs = [make_run("cross-entropy", seed) for seed in range(5)] + [make_run("cyborg", seed) for seed in range(2, 8)]
    table = board.tables(runs)[0]
    row = table.rows[1]
    assert row.difference is not None
    assert row.difference.n == 3
    assert not table.tests
    assert any("differ in their seeds" in note for note in table.notes)


def test_runs_scored_on_other_rows_are_refused(make_run: MakeRun, predictions: Predictions) -> None:
    other = predictions(1.5, 0)
    other.loc[other.index[-1], "sample_id"] = "another"
    with pytest.raises(UserError, match="other rows"):
        board.tables([make_run("cross-entropy", 0), make_run("cyborg", 0, table=other)])


def test_the_order_of_runs_changes_nothing(make_run: MakeRun) -> None:
    runs = [make_run(method, seed) for method in ("cross-entropy", "cyborg", "difference") for seed in range(5)]
    shuffled = [runs[i] for i in np.random.default_rng(0).permutation(len(runs))]
    assert render.render(board.tables(runs), "json") == render.render(board.tables(shuffled), "json")


def test_below_chance_is_marked_and_so_is_a_loss_in_domain(make_run: MakeRun) -> None:
    runs = [make_run("cross-entropy", seed, 3.0) for seed in range(5)]
    runs += [make_run("cyborg", seed, -1.0) for seed in range(5)]
    rows = {row.label: row for row in board.tables(runs)[0].rows}
    assert rows["cross-entropy"].marks == ()
    assert rows["cyborg"].marks == ("at or below chance", "in-domain worse")


def test_with_few_seeds_the_mean_alone_shows_what_is_below_chance(make_run: MakeRun) -> None:
    runs = [make_run("cross-entropy", seed, 1.5) for seed in range(3)]
    runs += [make_run("cyborg", seed, -1.0) for seed in range(3)]
    assert [row.marks for row in board.tables(runs)[0].rows] == [(), ("at or below chance",)]


def test_the_lowest_condition_has_no_interval_that_a_minimum_would_belie(make_run: MakeRun) -> None:
    row = board_of(make_run).rows[0]
    assert row.worst.population is None
    assert not math.isnan(row.worst.seeds.mean)


def test_the_other_families_are_said_below_the_table(make_run: MakeRun) -> None:
    table = board_of(make_run)
    for family, words in (("divergence", "Two-cam methods − cyborg, Holm over 1: difference "),
                          ("controls", "cyborg − its controls, Holm over 1: cyborg-shuffled ")):  # fmt: skip
        (test,) = [test for test in table.tests if test.family == family]
        (note,) = [note for note in table.notes if note.startswith(words)]
        assert f"{test.comparison.difference:+.3f}" in note
        assert f"p {test.p_holm:.3f}" in note


@pytest.mark.parametrize(
    ("methods", "reason"),
    [
        (("cyborg", "difference"), "cross-entropy is not in the table"),
        (("cross-entropy", "cyborg-shuffled"), "controls are tested against cyborg alone"),
    ],
)
def test_a_missing_p_has_its_true_reason(make_run: MakeRun, methods: tuple[str, ...], reason: str) -> None:
    runs = [make_run(method, seed) for method in methods for seed in range(5)]
    assert any(reason in note for note in board.tables(runs)[0].notes)


def test_a_condition_with_one_subject_in_a_class_is_undefined_and_says_so(
    make_run: MakeRun, predictions: Predictions
) -> None:
    runs = []
    for i, method in enumerate(("cross-entropy", "cyborg")):
        for seed in range(5):
            table = predictions(1.5, 100 * i + seed)
            table.loc[table["condition"] == "lens", "subject"] = "one"
            runs.append(make_run(method, seed, table=table))
    (found,) = board.tables(runs)
    assert "undefined" in render.render([found], "terminal")
    assert any("from one subject" in note for note in found.notes)


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


def test_seeds_of_its_own_do_not_make_a_method_unbeatable(make_run: MakeRun) -> None:
    runs = [make_run(method, seed, 2.0) for method in ("cross-entropy", "cyborg") for seed in range(5)]
    runs += [make_run("difference", seed, 0.2) for seed in range(100, 105)]
    table = board.tables(runs)[0]
    rows = {row.label: row for row in table.rows}
    assert rows["difference"].rank is None
    assert "seeds in common" in rows["difference"].unranked
    assert rows["cyborg"].rank is not None
    assert [(pair.first, pair.second) for pair in table.pairs] == [("cross-entropy", "cyborg")]


def test_a_method_with_a_failed_seed_has_no_rank(make_run: MakeRun) -> None:
    runs = [make_run(method, seed) for method in ("cross-entropy", "cyborg", "difference") for seed in range(6)]
    runs[-1] = make_run("difference", 6, status="failed")
    ranks = {row.label: row.rank for row in board.tables(runs)[0].rows}
    assert ranks["difference"] is None
    assert ranks["cyborg"] is not None


def test_one_seed_of_a_method_that_is_there_twice_is_refused(make_run: MakeRun) -> None:
    run = make_run("cyborg", 0)
    with pytest.raises(UserError, match="seed 0 of cyborg is there twice"):
        board.tables([run, run])


def test_numbers_that_are_not_those_of_the_predictions_are_refused(make_run: MakeRun, predictions: Predictions) -> None:
    run = make_run("cyborg", 0)
    other = predictions(0.1, 77)
    other.to_parquet(run.path / "predictions.parquet")
    with pytest.raises(UserError, match=r"predictions\.parquet is not what run .* wrote"):
        board.tables([run])
    older = Run(run.path, run.record.model_copy(update={"files": {}}))  # it names no hashes
    with pytest.raises(UserError, match="its predictions say"):
        board.tables([older])


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
    notes = " ".join(board.tables(runs)[0].notes)
    assert "differ in device (cpu, cuda (X))" in notes
    assert "differ in torch version (2.15, 2.16)" in notes


def test_instruction_sets_that_differ_are_said_and_unknown_ones_are_no_difference(make_run: MakeRun) -> None:
    runs = [
        make_run("cross-entropy", 0, record={"processor": "AVX512"}),
        make_run("cyborg", 0, record={"processor": "AVX2"}),
        make_run("cyborg", 1),
    ]
    assert "differ in device (cpu (AVX2), cpu (AVX512))" in " ".join(board.tables(runs)[0].notes)
    assert "differ in device" not in " ".join(board.tables([runs[0], runs[2]])[0].notes)


def test_every_format_tells_the_same_numbers(make_run: MakeRun) -> None:
    table = board_of(make_run)
    (decoded,) = json.loads(render.render([table], "json"))
    lines = list(csv.DictReader(io.StringIO(render.render([table], "csv"))))
    text, markdown = (render.render([table], form) for form in ("terminal", "markdown"))  # type: ignore[arg-type]
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
    table = board.tables([make_run("cross-entropy", 0, table=predictions(1.5, 0, maps=False))])[0]
    assert table.rows[0].true_cam is None
    assert "– / –" in render.render([table], "terminal")


def test_conditions_that_make_the_primary_metric_are_named(make_run: MakeRun) -> None:
    assert "open-set: mean over b, lens." in board_of(make_run).notes


def test_maps_that_are_mostly_empty_are_said(make_run: MakeRun, predictions: Predictions) -> None:
    table = predictions(1.5, 0)
    mapped = table["true_pe"].notna()
    table.loc[mapped, ["true_empty", "true_pe", "true_lift"]] = [1.0, 0.0, 0.0]
    notes = board.tables([make_run("cyborg", 0, table=table), make_run("cross-entropy", 0)])[0].notes
    assert any("no positive part" in note and note.endswith(": cyborg.") for note in notes)


def test_the_public_table_is_the_commands(make_run: MakeRun) -> None:
    from divsal_bench.leaderboard import table

    runs = [make_run("cross-entropy", seed) for seed in range(2)]
    assert table(runs) == render.render(board.tables(runs), "terminal")
    with pytest.raises(UserError, match="Did you mean 'markdown'"):
        table(runs, "markdwn")
