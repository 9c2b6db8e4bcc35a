"""A crew of real processes: jobs are divided, what dies is told with its last words, nothing outlives its parent."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from divsal_bench.errors import UserError
from divsal_bench.processes.crew import Crew, Ended, Free, Told
from divsal_bench.processes.places import Place, anywhere

WORKER = """
import os, sys, time
from divsal_bench.errors import UserError
from divsal_bench.processes.serving import serve

def do(content, send):
    print("standard output is nobody's")
    how = content["how"]
    if how == "stop":
        raise UserError("mend it")
    print(f"{how} said", file=sys.stderr, flush=True)
    if how == "raise":
        raise ZeroDivisionError
    if how == "die":
        os.kill(os.getpid(), 9)
    if how == "worker dies":
        os.kill(os.getppid() if FORK else os.getpid(), 9)
        time.sleep(60)
    if how == "fork" and os.fork() == 0:
        send("told", pid=0)
        os._exit(0)
    if how == "junk":
        for number in range(3, 20):
            try:
                os.write(number, b'{"x": 1}\\n[1]\\n')
            except OSError:
                pass
        time.sleep(60)
    send("told", pid=os.getpid(), place=os.environ.get("PLACE"))

if __name__ == "__main__":
    serve(["json"], lambda content: FORK, do)
"""


@pytest.fixture(params=[True, False], ids=["forks", "one process a job"])
def module(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A worker that forks for every job, or does one and ends."""
    if request.param and sys.platform != "linux":
        pytest.skip("forks on Linux alone")
    name = f"crew_worker_{request.param}".lower()
    (tmp_path / f"{name}.py").write_text(WORKER.replace("FORK", str(request.param)), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def work_through(
    module: str, hows: list[str], size: int = 1, overhear: bool = True
) -> tuple[list[dict[str, Any]], list[Ended[str]]]:
    """Give each job once; what was told, and what ended untold."""
    waiting = list(hows)
    told, ended = [], []
    crew: Crew[str] = Crew(
        module, anywhere(size), lambda: bool(waiting), lambda how: {"how": how}, threads=1, overhear=overhear
    )
    with crew:
        while len(told) + len(ended) < len(hows):
            happened = crew.next(60)
            assert happened is not None, "nothing happens"
            if isinstance(happened, Free) and waiting:
                crew.give(happened.worker, waiting.pop(0))
            elif isinstance(happened, Told):
                happened.worker.job = None
                told.append(happened.content)
            elif isinstance(happened, Ended):
                ended.append(happened)
    assert all(worker.process.poll() is not None for worker in crew.workers), "a worker outlives its crew"
    return told, ended


def test_every_job_has_a_process_of_its_own(module: str) -> None:
    told, ended = work_through(module, ["well", "fork", "well"], size=2)
    assert ended == []
    assert len({one["pid"] for one in told} - {0}) == 3, "what a job forks says nothing"


def test_a_death_is_told_with_its_way_and_its_own_last_words(module: str) -> None:
    told, ended = work_through(module, ["well", "die", "raise", "well"])
    assert len(told) == 2
    by_job = {one.job: one for one in ended}
    assert by_job["die"].how == "SIGKILL; too little memory is the usual cause"
    assert by_job["raise"].how.startswith("exit code 1; ")
    assert by_job["die"].printed.splitlines()[-1] == "die said"
    assert "well said" not in by_job["die"].printed
    assert "ZeroDivisionError" in by_job["raise"].printed
    assert "die said" not in by_job["raise"].printed
    assert all(0 < one.seconds < 60 for one in ended)


def test_what_something_else_writes_into_the_pipe_costs_one_job(module: str) -> None:
    told, ended = work_through(module, ["well", "junk", "well"])
    assert (len(told), [one.job for one in ended]) == (2, ["junk"])


def test_what_nobody_keeps_goes_through_as_it_is(module: str, capfd: pytest.CaptureFixture[str]) -> None:
    told, ended = work_through(module, ["well", "die"], overhear=False)
    assert (len(told), [one.printed for one in ended]) == (1, [""])
    out, err = capfd.readouterr()
    assert out == "", "standard output belongs to the command"
    assert sorted(set(err.splitlines())) == ["die said", "standard output is nobody's", "well said"]


def test_a_worker_that_dies_is_replaced_in_its_place(module: str) -> None:
    where = [Place(number, environment={"PLACE": name}) for number, name in enumerate("ab")]
    waiting = ["well", "worker dies", "well", "die", "worker dies", "well"]
    crew: Crew[str] = Crew(module, where, lambda: bool(waiting), lambda how: {"how": how})
    left = len(waiting)
    with crew:
        while left:
            happened = crew.next(60)
            assert happened is not None, "nothing happens"
            assert len({worker.place.number for worker in crew.workers}) == len(crew.workers), "two are in one place"
            if isinstance(happened, Free) and waiting:
                crew.give(happened.worker, waiting.pop(0))
            elif isinstance(happened, Told):
                happened.worker.job = None
                assert happened.content["place"] == happened.worker.place.environment["PLACE"]
                left -= 1
            elif isinstance(happened, Ended):
                assert (happened.job, happened.code) in (("worker dies", -9), ("die", -9))
                left -= 1


def test_what_is_the_users_to_mend_ends_the_work(module: str) -> None:
    with pytest.raises(UserError, match="mend it"):
        work_through(module, ["well", "stop", "well"])


def test_workers_that_cannot_start_are_not_started_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "crew_broken.py").write_text("raise SystemExit(3)", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="die before their first run"):
        work_through("crew_broken", ["well"], size=2)


def test_nothing_happens_and_that_is_told(module: str) -> None:
    crew: Crew[str] = Crew(module, anywhere(1), lambda: True, lambda how: {"how": how}, overhear=True)
    with crew:
        assert isinstance(crew.next(60), Free)
        started = time.monotonic()
        assert crew.next(0.05) is None
        assert time.monotonic() - started >= 0.05
        assert len(crew.idle) == 1
