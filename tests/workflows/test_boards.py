"""What the commands board, compare and calibrate do, as functions: typed results, frames, and nothing printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from written_runs import write_run

from divsal_bench import cli
from divsal_bench.errors import UserError
from divsal_bench.runs.reading import Run
from divsal_bench.workflows.boards import board, check_accepted
from divsal_bench.workflows.calibrating import calibrate
from divsal_bench.workflows.comparing import compare

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods with five seeds in ``runs``."""
    place = tmp_path_factory.mktemp("boards")
    for method, strength in (("cross-entropy", 1.0), ("cyborg", 2.0)):
        for seed in range(5):
            write_run(place / "runs", method, seed, strength)
    return place


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def test_a_board_of_a_folder_of_runs_and_of_nothing_said_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    found = board()
    runs = [run for seed in range(5) for run in read(f"*/seed{seed}-*")]
    for other in (board("runs"), board(Path("runs")), board(["runs"]), board(runs)):
        assert other.text("json") == found.text("json")
    assert capsys.readouterr() == ("", "")
    methods = found.frame().set_index("method")
    (test,) = found.tables[0].tests
    for frame in (methods.loc["cyborg"], found.tests().loc[0]):
        assert (frame["p"], frame["p_unadjusted"]) == (test.p_holm, test.comparison.p)
    assert methods.loc["cyborg", "primary_mean"] > methods.loc["cross-entropy", "primary_mean"]
    assert set(found.conditions()["condition"]) == {"in-domain", "b", "lens"}
    assert cli.main(["board", "--format", "json"]) == 0
    assert capsys.readouterr().out == found.text("json") + "\n"


def read(pattern: str) -> list[Run]:
    from divsal_bench.runs.reading import read_run

    return [read_run(path) for path in sorted(Path("runs/cxr").glob(pattern))]


def test_a_page_is_written_with_its_folder(tmp_path: Path) -> None:
    found = board()
    found.write_page(tmp_path / "new" / "page.html")
    assert (tmp_path / "new" / "page.html").read_text(encoding="utf-8") == found.page()
    assert found.galleries == (None,)


def test_a_board_is_of_runs_or_of_accepted_results() -> None:
    for options in ({"accepted": True}, {"recompute": True}):
        with pytest.raises(UserError, match="either run directories"):
            board("runs", **options)
        with pytest.raises(UserError, match="accepted results hold no audits"):
            board(audits=True, **options)
    with pytest.raises(UserError, match="no results folder nowhere"):
        check_accepted("nowhere")


def test_the_shipped_results_make_a_board() -> None:
    found = board(accepted=True)
    frame = found.frame()
    assert len(frame) == sum(len(table.rows) for table in found.tables) > 0
    assert frame["primary_mean"].between(0, 1).sum() > 0
    assert len(found.tests()) == sum(len(table.tests) for table in found.tables)
    assert len(found.galleries) == len(found.tables)


def test_a_comparison_is_a_frame_and_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    found = compare("cyborg", "cross-entropy")
    (pair,) = found.pairs
    frame = found.frame()
    assert frame["metric"].tolist() == [one.what for one in pair.lines]
    assert frame["difference"][0] == pair.lines[0].comparison.difference > 0
    assert frame["q"].isna()[0]
    keys = ["task", "data", "fingerprint", "protocol", "backbone", "head"]
    assert frame[keys].drop_duplicates().equals(board().frame()[keys].drop_duplicates())
    by_runs = compare(read("cyborg/*"), read("cross-entropy/*"))
    assert [one.lines for one in by_runs.pairs] == [pair.lines]
    assert capsys.readouterr() == ("", "")
    for form in ("json", "csv", "markdown", "terminal"):
        assert cli.main(["compare", "cyborg", "cross-entropy", "--format", form]) == 0
        assert capsys.readouterr().out == found.text(form) + "\n"
    with pytest.raises(UserError, match="holds no runs of task face-pad"):
        compare("cyborg", "cross-entropy", task="face-pad")


def test_a_calibration_is_a_frame_and_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    found = calibrate("equal-0-n5", boards=4, say=said.append)
    frame = found.frame().set_index("measure")
    rates = {rate.measure.name: rate.value for rate in found.cells[0].rates}
    assert frame.loc["errors_pairs", "value"] == rates["errors_pairs"]
    assert len(said) == 1
    assert said[0].startswith("[1/1] equal-0-n5: ")
    code = cli.main(["calibrate", "--cells", "equal-0-n5", "--boards", "4", "--format", "json"])
    assert code == (1 if found.missed else 0)
    assert json.loads(capsys.readouterr().out) == json.loads(found.text("json"))
    with pytest.raises(UserError, match="--boards is 1; give 2 or more"):
        calibrate(boards=1)


def test_a_form_that_there_is_not_is_refused() -> None:
    for found in (board(), compare("cyborg", "cross-entropy"), calibrate("equal-0-n5", boards=2)):
        with pytest.raises(UserError, match="Did you mean 'markdown'"):
            found.text("markdwn")  # type: ignore[arg-type]


def test_tables_of_a_calibration_fold() -> None:
    found = calibrate("equal-0-n5", boards=4)
    assert max(map(len, found.text("terminal", 60).splitlines())) <= 60
    assert max(map(len, found.text("terminal").splitlines())) > 60
