"""Progress: a live bar with time left on a terminal, one line a finished run elsewhere."""

from __future__ import annotations

import dataclasses
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from divsal_bench.cli import ToldInterruption, main
from divsal_bench.cli.progress import ProgressLines, duration
from divsal_bench.cli.run import with_progress
from divsal_bench.grid import planning, pool
from divsal_bench.registry import method_choice, protocols
from divsal_bench.workflows.running import OnEvent

SCRIPT = """
import dataclasses, sys
from divsal_bench.registry import protocols
from divsal_bench.cli import main
protocols.PROTOCOLS["quick-v1"] = dataclasses.replace(protocols.find_protocol("quick-v1"), epochs=2)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_terminal_sees_a_bar_and_standard_output_the_table_alone(tmp_path: Path) -> None:
    """A real pseudo-terminal as standard error."""
    reader, writer = pty.openpty()
    command = [sys.executable, "-c", SCRIPT, "run", "--task", "cxr", "--data", "standin", "--method", "cross-entropy",
               "--seeds", "1", "--workers", "0", "--out", str(tmp_path / "runs")]  # fmt: skip
    environment = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=writer, text=True, env=environment) as run:
        os.close(writer)
        shown = b""
        while True:
            try:
                part = os.read(reader, 65536)
            except OSError:  # how Linux reports that the other end is closed
                break
            if not part:
                break
            shown += part
        out = run.stdout.read() if run.stdout else ""
    os.close(reader)
    assert run.returncode == 0
    text = shown.decode(errors="replace")
    assert "plan: 1 run" in text
    assert "0/1 runs" in text
    assert "1/1 runs" in text
    assert "epochs" in text
    assert "left" in text
    assert out.startswith("cxr · data standin")
    assert "epochs" not in out


def test_lines_count_what_finished_and_estimate_what_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    protocol = dataclasses.replace(protocols.find_protocol("quick-v1"), epochs=1)
    grid = planning.Grid(
        ("cxr",), tuple(method_choice.choose_methods("cross-entropy")), (0, 1), tmp_path, protocol, data="standin"
    )
    jobs = planning.plan(grid)[0].jobs
    lines = ProgressLines()
    lines.on_event(pool.Event("begun", jobs[0], total=2))
    lines.on_event(pool.Event("retry", jobs[0], why="died (SIGSEGV); trying that run once more"))
    pool.run_jobs(jobs[:1], 0, lambda event: event.kind == "begun" or lines.on_event(event))
    shown = capsys.readouterr().err.splitlines()
    assert shown[0] == "cxr cross-entropy seed 0 died (SIGSEGV); trying that run once more"
    assert shown[1].startswith("[1/2] cxr cross-entropy seed 0: done, in-domain 0.")
    assert "left" in shown[1]


@pytest.mark.parametrize(("seconds", "text"), [(4.4, "4 s"), (65, "1 min 05 s"), (3720, "1 h 02 min")])
def test_durations_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("made", [0, 1])
def test_an_interruption_after_the_last_run_is_not_one_of_training(
    made: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is measured after training is not training that could go on."""
    protocol = dataclasses.replace(protocols.find_protocol("quick-v1"), epochs=1)
    grid = planning.Grid(
        ("cxr",), tuple(method_choice.choose_methods("cross-entropy")), (0,), tmp_path, protocol, data="standin"
    )
    jobs = planning.plan(grid)[0].jobs

    def work(on_event: OnEvent) -> None:
        on_event(pool.Event("begun", jobs[0], total=1))
        pool.run_jobs(jobs[:made], 0, on_event)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        with_progress(work)
    assert isinstance(caught.value, ToldInterruption) == (not made)
    assert ("stopped: 0 of 1 run finished and kept" in capsys.readouterr().err) == (not made)


@pytest.mark.parametrize(
    ("stopped", "said"),
    [
        ([], "1 of 4 runs finished and kept"),
        ([7], "1 of 4 runs finished and kept, 1 goes on from epoch 7"),
        ([7, 7], "1 of 4 runs finished and kept, 2 go on from epoch 7"),
        ([9, 1, 7], "1 of 4 runs finished and kept, 3 go on from epochs 1, 7 and 9"),
        ([0, 7], "1 of 4 runs finished and kept, 1 goes on from epoch 7, 1 begins again, nothing of it is kept"),
        ([0, 0], "1 of 4 runs finished and kept, 2 begin again, nothing of them is kept"),
    ],
)
def test_it_is_said_where_stopped_work_stands(
    stopped: list[int], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = planning.Grid(("cxr",), tuple(method_choice.choose_methods("cyborg")), (0,), tmp_path, data="standin")
    (job,) = planning.plan(asked)[0].jobs
    lines = ProgressLines()
    lines.on_event(pool.Event("begun", job, total=4))
    lines.finished = 1
    lines.on_event(pool.Event("joined", job, total=2))
    lines.on_event(pool.Event("stopping", job, total=len(stopped)))
    for done in stopped:
        lines.on_event(pool.Event("stopped", job, done=done))
    assert lines.standing() == said
    joined, *asked_to = capsys.readouterr().err.splitlines()
    assert joined == "another command is making 2 of these runs; this one makes the others"
    assert len(asked_to) == (1 if stopped else 0)


def test_options_that_contradict_each_other_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {
        ("--workers", "0", "--devices", "cuda:0"): "--workers 0 runs in this process, --devices in others",
        ("--slots", "2"): "--slots divides devices",
        ("--devices", "cuda:0", "--slots", "0"): "--slots must be 1 or more, not 0",
        ("--stall-minutes", "-1"): "--stall-minutes must be a number of minutes above 0, not -1",
    }
    for options, message in wrong.items():
        assert main(["run", "--task", "cxr", "--data", "standin", "--out", str(tmp_path / "out"), *options]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"divsal-bench: {message}")
    assert not (tmp_path / "out").exists()
