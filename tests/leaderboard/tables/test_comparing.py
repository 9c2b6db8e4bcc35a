"""``compare``: what is paired with what, and the one sentence that may be claimed."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from divsal_bench.cli import main
from divsal_bench.errors import UserError
from divsal_bench.leaderboard.sheets.entries import from_runs
from divsal_bench.leaderboard.sheets.scored import score_sheet
from divsal_bench.leaderboard.statistics.reader_case import compare_unpaired
from divsal_bench.leaderboard.tables import board, comparing
from divsal_bench.leaderboard.tables.comparison_text import comparison_text
from divsal_bench.runs.reading import Run
from divsal_bench.runs.records import DataFacts

MakeRun = Callable[..., Run]
Predictions = Callable[..., pd.DataFrame]


def compared(runs: list[Run], first: str = "cyborg", second: str = "cross-entropy") -> comparing.PairComparison:
    (sheet,) = from_runs(runs)
    by_label = {entry.label: entry for entry in sheet.entries}
    return comparing.compare_entries(sheet, by_label[first], by_label[second])


def runs_of(make_run: MakeRun, strengths: dict[str, float], seeds: int = 5) -> list[Run]:
    return [make_run(method, seed, strength) for method, strength in strengths.items() for seed in range(seeds)]


def test_the_primary_line_is_the_boards_own_difference(make_run: MakeRun) -> None:
    runs = runs_of(make_run, {"cross-entropy": 1.0, "cyborg": 1.6})
    found = compared(runs)
    row = next(row for row in board.tables_of_runs(runs)[0].rows if row.label == "cyborg")
    assert found.lines[0].what == "open-set"
    assert found.lines[0].comparison == row.difference
    assert {line.what for line in found.lines} == {"open-set", "in-domain", "worst", "b", "lens"}
    assert [line.what for line in found.lines if line.q is not None] == ["b", "lens"]


def test_the_other_way_round_changes_only_the_sign(make_run: MakeRun) -> None:
    runs = runs_of(make_run, {"cross-entropy": 1.0, "cyborg": 1.6})
    one, other = compared(runs), compared(runs, "cross-entropy", "cyborg")
    assert one.lines[0].comparison.difference == pytest.approx(-other.lines[0].comparison.difference)
    assert one.lines[0].comparison.p == pytest.approx(other.lines[0].comparison.p)
    assert one.superiority == pytest.approx(1 - other.superiority)


@pytest.mark.parametrize(
    ("strengths", "seeds", "words"),
    [
        ({"cross-entropy": 0.3, "cyborg": 3.0}, 5, "cyborg has a higher open-set AUROC than cross-entropy, by 0."),
        ({"cross-entropy": 3.0, "cyborg": 0.3}, 5, "cyborg has a lower open-set AUROC than cross-entropy, by 0."),
        ({"cross-entropy": 1.5, "cyborg": 1.5}, 5, "No difference in open-set AUROC between cyborg and cross-entropy"),
        ({"cross-entropy": 0.3, "cyborg": 3.0}, 4, "resnet10t): 4 seeds, a test needs 5."),
    ],
)
def test_the_claim_says_what_the_test_says(
    make_run: MakeRun, strengths: dict[str, float], seeds: int, words: str
) -> None:
    claim = compared(runs_of(make_run, strengths, seeds)).claim
    assert words in claim
    if "No difference" in claim:
        assert "nor that they are equal" in claim
    if seeds >= 5:
        assert "drawn data" in claim


def test_a_minimum_over_conditions_has_no_interval_and_few_seeds_no_p(make_run: MakeRun) -> None:
    lines = {
        line.what: line.comparison for line in compared(runs_of(make_run, {"cross-entropy": 1, "cyborg": 2})).lines
    }
    assert all(math.isnan(value) for value in (lines["worst"].p, lines["worst"].low, lines["worst"].high))
    few = compared(runs_of(make_run, {"cross-entropy": 1, "difference": 2}, 4), "difference").lines
    assert all(math.isnan(line.comparison.p) for line in few)
    assert not math.isnan(few[0].comparison.low)


def test_methods_that_score_alike_are_called_alike(make_run: MakeRun, predictions: Predictions) -> None:
    runs = [make_run(method, seed, table=predictions(1.5, seed)) for method in ("cross-entropy", "cyborg")
            for seed in range(5)]  # fmt: skip
    assert "scored exactly alike" in compared(runs).claim


def test_methods_that_are_perfect_on_these_images_are_not_called_equal(
    make_run: MakeRun, predictions: Predictions
) -> None:
    runs = []
    for method, strength in (("cross-entropy", 50), ("cyborg", 60)):
        runs += [make_run(method, seed, table=predictions(strength, seed + strength)) for seed in range(5)]
    found = compared(runs)
    assert found.lines[0].comparison.status == "equal"
    assert np.isnan([found.lines[0].comparison.low, found.lines[0].comparison.high]).all()
    assert "Nothing may be claimed" in found.claim
    (table,) = board.tables_of_runs(runs)
    assert all(row.difference is None or math.isnan(row.difference.low) for row in table.rows)
    assert any("has p 1 and no interval" in note for note in table.notes)


def test_only_seeds_that_both_have_are_paired_and_it_says_which(make_run: MakeRun) -> None:
    runs = [make_run("cross-entropy", seed) for seed in range(6)] + [make_run("cyborg", seed) for seed in range(2, 9)]
    found = compared(runs)
    assert found.lines[0].comparison.n == 4
    assert "the 4 seeds that both have (2-5)" in found.paired


def test_what_a_choice_of_seeds_leaves_out_is_said(make_run: MakeRun) -> None:
    runs = runs_of(make_run, {"cross-entropy": 1.0, "cyborg": 1.6}, 7)
    runs += [make_run("cyborg", 7, status="failed")]
    (sheet,) = from_runs(runs)
    cyborg, plain = (next(one for one in sheet.entries if one.label == label) for label in ("cyborg", "cross-entropy"))
    found = comparing.compare_entries(
        sheet, comparing.with_seeds(cyborg, range(5)), comparing.with_seeds(plain, range(7))
    )
    assert found.lines[0].comparison.p <= 0.05
    assert "seeds 5-6 and 1 run without a result of cyborg are left out: whoever chose" in found.claim
    assert "of cross-entropy" not in found.claim
    (sheet,) = from_runs(runs_of(make_run, {"difference": 1.0}, 10))
    halves = [comparing.with_seeds(sheet.entries[0], seeds) for seeds in (range(5), range(5, 10))]
    assert "left out" not in comparing.compare_entries(sheet, *halves).claim


def test_a_method_can_be_held_against_itself_over_other_seeds(make_run: MakeRun) -> None:
    (sheet,) = from_runs([make_run("cross-entropy", seed) for seed in range(10)])
    (entry,) = sheet.entries
    halves = [comparing.with_seeds(entry, seeds) for seeds in (range(5), range(5, 10))]
    found = comparing.compare_entries(sheet, *halves)
    assert (found.first, found.second) == ("cross-entropy@0-4", "cross-entropy@5-9")
    assert "no seed in common" in found.paired
    assert "unpaired" in found.paired
    assert "has seeds 5-9, not those from 0 on" in found.claim
    scores = score_sheet(sheet)["cross-entropy"].primary
    a, b = ([scores[seed] for seed in seeds] for seeds in (range(5), range(5, 10)))
    expected = compare_unpaired(
        *(np.array([value for value, _ in some]) for some in (a, b)),
        *(np.array([influence for _, influence in some]) for some in (a, b)),
    )
    assert found.lines[0].comparison == expected
    assert all(line.on_these_images is None for line in found.lines)


def test_runs_without_common_seeds_are_compared_in_no_order(make_run: MakeRun, predictions: Predictions) -> None:
    runs = [make_run("cross-entropy", seed) for seed in range(5)]
    p = set()
    for numbers in ([5, 6, 7, 8, 9], [9, 7, 5, 8, 6], [6, 5, 9, 7, 8]):
        # The same five runs under other numbers: which seed stands beside which is an accident.
        others = [make_run("cyborg", number, table=predictions(1.5, 50 + seed))
                  for seed, number in enumerate(numbers)]  # fmt: skip
        p.add(round(compared([*runs, *others]).lines[0].comparison.p, 12))
    assert len(p) == 1


def test_the_number_of_seeds_may_differ_without_common_seeds(make_run: MakeRun) -> None:
    runs = [make_run("cross-entropy", seed) for seed in range(5)] + [make_run("cyborg", s) for s in range(5, 13)]
    found = compared(runs)
    assert "8 seeds (5-12) against 5 (0-4), compared unpaired" in found.paired
    assert found.lines[0].comparison.n == 5
    assert math.isfinite(found.lines[0].comparison.p)


def test_survivors_claim_nothing(make_run: MakeRun) -> None:
    runs = runs_of(make_run, {"cross-entropy": 0.3, "cyborg": 3.0})
    found = compared([*runs, make_run("cyborg", 5, status="diverged")])
    assert all(math.isnan(line.comparison.p) for line in found.lines)
    assert all(line.q is None or math.isnan(line.q) for line in found.lines)
    assert "Nothing may be claimed" in found.claim
    assert "survivors only, 5 of 6 seeds" in found.claim
    assert math.isnan(found.smallest_effect)


def test_without_training_maps_guidance_claims_nothing(make_run: MakeRun) -> None:
    facts = DataFacts(kind="folder", revision="", pixel_hash="", train=4, validation=60, test=230, train_maps=0)
    runs = [make_run(method, seed, strength, record={"data": facts})
            for method, strength in (("cross-entropy", 0.3), ("cyborg", 3.0)) for seed in range(5)]  # fmt: skip
    found = compared(runs)
    assert math.isnan(found.lines[0].comparison.p)
    assert "no training maps" in found.claim


def test_too_few_test_subjects_claim_nothing(make_run: MakeRun, predictions: Predictions) -> None:
    runs = []
    for i, method in enumerate(("cross-entropy", "cyborg")):
        for seed in range(5):
            table = predictions(0.3 + 2 * i, 100 * i + seed)
            lens = table["condition"] == "lens"
            table.loc[lens, "subject"] = [f"few-{j % 4}" for j in range(lens.sum())]
            runs.append(make_run(method, seed, table=table))
    found = compared(runs)
    assert "lens has 4 subjects of one class, 10 are needed" in found.claim
    lines = {line.what: line for line in found.lines}
    assert math.isnan(lines["open-set"].comparison.p)
    assert math.isnan(lines["open-set"].comparison.low)
    assert not math.isnan(lines["b"].comparison.low)


def test_other_conditions_and_the_visible_effect_are_described(make_run: MakeRun) -> None:
    found = compared(runs_of(make_run, {"cross-entropy": 1.0, "cyborg": 1.6}))
    each = [line.comparison.difference for line in found.lines if line.what in ("b", "lens")]
    assert found.without_one == pytest.approx((min(each), max(each)))
    assert all(math.isnan(value) for value in found.over_conditions)
    assert found.smallest_range[0] < found.smallest_effect < found.smallest_range[1]
    text = comparison_text(found, "terminal")
    assert f"left out the difference is {min(each):+.3f} to {max(each):+.3f} (descriptive)" in text
    assert f"{found.smallest_effect:.3f}, an estimate with 95 % range" in text
    assert "new test subjects; training data, conditions, protocol and backbone as they are" in text
    assert f"c⁺/v: {found.subject_share:.2f}" in text


def test_a_seed_that_is_not_there_is_named(make_run: MakeRun) -> None:
    (sheet,) = from_runs([make_run("cross-entropy", seed) for seed in range(3)])
    with pytest.raises(UserError, match="no result for seeds 3, 4; it has 0, 1, 2"):
        comparing.with_seeds(sheet.entries[0], range(5))


# -- the command ------------------------------------------------------------------------------------------------


@pytest.fixture
def compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["compare", *arguments, "--out", str(tmp_path)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_every_format_tells_the_same_difference(
    make_run: MakeRun, compare: Callable[..., tuple[int, str, str]]
) -> None:
    runs = runs_of(make_run, {"cross-entropy": 1.0, "cyborg": 1.6})
    difference = compared(runs).lines[0].comparison.difference
    for form in ("terminal", "markdown"):
        code, out, err = compare("cyborg", "cross-entropy", "--format", form)
        assert (code, err) == (0, "")
        assert f"{difference:+.3f}" in out
    (decoded,) = json.loads(compare("cyborg", "cross-entropy", "--format", "json")[1])
    assert decoded["lines"][0]["comparison"]["difference"] == difference
    rows = list(csv.DictReader(io.StringIO(compare("cyborg", "cross-entropy", "--format", "csv")[1])))
    assert float(rows[0]["difference"]) == difference


def test_two_folders_are_two_sets_of_runs(
    make_run: MakeRun, compare: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    runs_of(make_run, {"cross-entropy": 1.0, "cyborg": 1.6}, 6)
    shutil.copytree(tmp_path / "cxr", tmp_path.parent / f"{tmp_path.name}-copy" / "cxr")
    copy = tmp_path.parent / f"{tmp_path.name}-copy"
    code, out, _ = compare(f"{tmp_path / 'cxr' / 'cyborg'}", f"{copy / 'cxr' / 'cross-entropy'}")
    assert code == 0
    assert "cyborg − cross-entropy" in out
    code, out, _ = compare(str(tmp_path / "cxr"), str(copy))
    assert code == 0
    assert "cyborg − cyborg" in out.replace("@0-5", "")
    assert "scored exactly alike" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cyborgg", "cross-entropy"), "Did you mean 'cyborg'?"),
        (("cyborg", "cyborg"), "have runs in common"),
        (("cyborg@0-0", "cyborg"), "have runs in common"),
        (("cyborg@7-9", "cross-entropy"), "no result for seeds 7, 8, 9"),
        (("cyborg@x", "cross-entropy"), "'cyborg@x' names no seeds"),
        (("cyborg@", "cross-entropy"), "'cyborg@' names no seeds"),
        (("cyborg@4-2", "cross-entropy"), "'cyborg@4-2' names no seeds"),
        (("cyborg@0-99999", "cross-entropy"), "names no seeds or more than 1000"),
        (("cyborg@³", "cross-entropy"), "names no seeds"),
        (("cyborg@0", "cyborg"), "have runs in common"),
        (("cyborg@9", "cross-entropy"), "cyborg has no result for seed 9; it has 0, 1"),
        (("cyborg", "cross-entropy", "--task", "iris-pad"), "holds no runs of task iris-pad"),
    ],
)
def test_bad_input_is_one_line(
    make_run: MakeRun, compare: Callable[..., tuple[int, str, str]], arguments: tuple[str, ...], message: str
) -> None:
    runs_of(make_run, {"cross-entropy": 1.0, "cyborg": 1.6}, 2)
    code, out, err = compare(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert "--seeds" not in err, "compare has no such option"


def test_runs_of_different_protocols_are_never_compared(
    make_run: MakeRun, compare: Callable[..., tuple[int, str, str]]
) -> None:
    for seed in range(2):
        make_run("cyborg", seed)
        make_run("difference", seed, protocol="cyborg-v1")
    code, _, err = compare("cyborg", "difference")
    assert code == 2
    assert "share no table" in err
    assert "cyborg-v1" in err
