"""``status``: runs that are being made and runs that were interrupted, from the files alone."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path

import pytest
from written_runs import write_run

from divsal_bench.cli import main
from divsal_bench.runs import locks, store, unfinished
from divsal_bench.runs.reading import Run

pytestmark = pytest.mark.fast


def unfinished_run(out: Path, done: Run, seed: int, **content: object) -> str:
    """A run beside a finished one, in the third of twelve epochs."""
    spec = done.spec.model_copy(update={"seed": seed})
    full = {
        "spec": spec, "method_label": done.record.method_label, "epoch": 3, "epochs": 12, "step": 30, "steps": 120,
        "pace": 2.0, "seconds": 75.0, "saved_step": 24, "resumes": 1, "host": "machine", "updated": time.time() - 9999,
    }  # fmt: skip
    unfinished.note_progress(out, unfinished.Progress(**{**full, **content}))
    return spec.run_id


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Two finished runs, one that is being made, one that was interrupted, and one that has just ended."""
    store.prepare_folder(tmp_path)
    done = write_run(tmp_path, "cyborg", 0)
    write_run(tmp_path, "cyborg", 1)
    unfinished_run(tmp_path, done, 1)
    assert locks.lock_run(tmp_path, unfinished_run(tmp_path, done, 2)) is not None
    unfinished_run(tmp_path, done, 3, pace=0.0, epoch=13, saved_step=120, step=120)
    return tmp_path


def test_status_counts_what_ended_and_lists_what_did_not(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--out", str(out)]) == 0
    text, said = capsys.readouterr()
    counted, _, listed = text.partition("\n\n")
    assert counted.splitlines()[-1].split() == [
        "cxr", "standin", "ffffffff", "quick-v1", "resnet10t", "cyborg", "2", "0", "0", "0", "1",
    ]  # fmt: skip
    head, _, *lines = listed.splitlines()
    assert head.split()[:6] == ["run", "task", "method", "seed", "state", "epoch"]
    assert [" ".join(line.split()[1:]) for line in lines] == [
        "cxr cyborg 2 running 3 of 12 20% 3 min 00 s machine",
        "cxr cyborg 3 interrupted predicting 100% – machine",
    ]
    assert said == "interrupted runs go on from what is saved of them when the command that began them is given again\n"


def test_status_in_other_formats(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--out", str(out), "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["method"], row["done"], row["seeds"]) == ("cyborg", 2, "0 1")
    running, interrupted = row["unfinished"]
    assert (running["seed"], running["running"], running["left"], running["epoch"]) == (2, True, 180.0, 3)
    assert (interrupted["seed"], interrupted["running"], interrupted["left"]) == (3, False, None)
    assert main(["status", "--out", str(out), "--format", "csv"]) == 0
    first, second = capsys.readouterr().out.split("\n\n")
    (row,) = csv.DictReader(io.StringIO(first))
    assert row["done"] == "2"
    assert [row["state"] for row in csv.DictReader(io.StringIO(second))] == ["running", "interrupted"]
    assert main(["status", "--out", str(out), "--format", "markdown"]) == 0
    assert "| interrupted " in capsys.readouterr().out


def test_status_of_runs_none_of_which_has_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = write_run(tmp_path / "elsewhere", "cyborg", 0)
    (tmp_path / "out").mkdir()
    unfinished_run(tmp_path / "out", done, 0)
    assert main(["status", "--out", str(tmp_path / "out")]) == 0
    text, said = capsys.readouterr()
    assert text.splitlines()[0].split()[0] == "run"
    assert "no runs" not in said
    unfinished.forget(tmp_path / "out", done.record.run_id)
    assert main(["status", "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr() == ("", f"there are no runs in {tmp_path / 'out'}\n")


def test_show_says_how_often_a_run_went_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for resumes, words in ((0, None), (1, "1 time from a checkpoint"), (2, "2 times from a checkpoint")):
        run = write_run(tmp_path, "cyborg", resumes, record={"resumes": resumes})
        assert main(["show", str(run.path)]) == 0
        shown = [line.split(maxsplit=2)[2] for line in capsys.readouterr().out.splitlines() if line.startswith("went")]
        assert shown == ([words] if words else [])


@pytest.mark.parametrize("minutes", ["-1", "nan", "inf", "x"])
def test_minutes_that_are_none_are_refused(minutes: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--task", "cxr", "--checkpoint-minutes", minutes]) == 2
    said = capsys.readouterr().err
    assert "--checkpoint-minutes" in said
    assert said.count("\n") == 1
