"""Workers at their places: what each sees, who is alone after memory ran out, what hangs, and how work stops."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from installed_package import installed

from divsal_bench.errors import StoppedError
from divsal_bench.grid import planning, pool, work
from divsal_bench.grid.jobs import Job, Watch
from divsal_bench.networks import accelerators
from divsal_bench.processes import places
from divsal_bench.registry import method_choice, protocols
from divsal_bench.runs.reading import read_runs

#: A tiny task, and methods that note where and when they are, and that fail in the ways that hardware has.
PACKAGE = r'''
import json, os, time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from divsal_bench.contracts.method import Method
from divsal_bench.contracts.task import StandIn, Task
from divsal_bench.errors import StoppedError
from divsal_bench.processes.serving import asked_to_stop


def mark(name):
    return Path(os.environ["OUTSIDE_MARKS"], name)


@dataclass
class Placed(Method):
    """Notes its process's place, and from when to when it worked there."""

    kind: ClassVar[str] = "unguided"
    name: ClassVar[str] = "placed"

    def loss(self, batch, out):
        self.note()
        self.trouble()
        return {"loss": out.cross_entropy}

    def note(self):
        if not hasattr(self, "began"):
            self.began = time.monotonic()
        wanted = ("CUDA_VISIBLE_DEVICES", "DIVSAL_BENCH_SLOTS", "OMP_NUM_THREADS")
        text = json.dumps({
            "method": self.name, "began": self.began, "now": time.monotonic(),
            "processors": sorted(os.sched_getaffinity(0)), **{name: os.environ.get(name) for name in wanted},
        })
        aside = mark(f".{os.getpid()}")
        aside.write_text(text)
        aside.rename(mark(f"at-{os.getpid()}"))

    def trouble(self):
        pass


def here(name):
    return len([path for path in mark("").glob("at-*") if json.loads(path.read_text())["method"] == name])


@dataclass
class Gathered(Placed):
    """Waits until so many of its kind are at work."""

    name: ClassVar[str] = "gathered"
    count: int = 2

    def trouble(self):
        while here("gathered") < self.count:
            self.note()
            time.sleep(0.05)


@dataclass
class Slow(Placed):
    name: ClassVar[str] = "slow"

    def trouble(self):
        time.sleep(0.2)


@dataclass
class Hungry(Placed):
    """Finds no memory the first time, or every time; another run is beside it the first time."""

    name: ClassVar[str] = "hungry"
    how: str = "raise"
    always: bool = False

    def trouble(self):
        import torch

        time.sleep(0.2)
        if here(self.name) > 1 and not self.always:
            return
        while here("slow") == 0 and not self.always:
            time.sleep(0.05)
        if self.how == "raise":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        if self.how == "allocate":
            torch.empty(2**60)
        os.kill(os.getpid(), 9)


@dataclass
class Silent(Placed):
    """Hangs the first time, or every time."""

    name: ClassVar[str] = "silent"
    always: bool = False

    def trouble(self):
        if self.always or here("silent") == 1:
            time.sleep(600)


@dataclass
class Obedient(Placed):
    """Works until it is let go, and stops where it is when it is asked to; its state need not be saved."""

    name: ClassVar[str] = "obedient"

    def trouble(self):
        while not mark("go").exists():
            if asked_to_stop():
                raise StoppedError(1)
            time.sleep(0.02)


def draw(variant, seed):
    import numpy as np
    import pandas as pd

    generator = np.random.default_rng(seed)
    plan = [("train", "a", 40), ("validation", "a", 16), ("test", "a", 16), ("test", "b", 16)]
    rows = [(split, source, number % 2) for split, source, count in plan for number in range(count)]
    table = pd.DataFrame(rows, columns=["split", "source", "label"])
    names = [f"s{number}" for number in range(len(table))]
    table = table.assign(
        sample_id=names, subject=names, saliency_kind="none", category=table["label"].map({0: "", 1: "blob"})
    )
    images = generator.integers(0, 200, (len(table), 16, 16), np.uint8)
    return StandIn(table, images, np.zeros_like(images))


TASK = Task(
    name="outside", version=1, title="Outside", description="a blob?", class_names=("no", "yes"), channels=1,
    category_meaning="", field_metrics=(), draw_standin=draw, standin_version=1, citation="", licence="",
)
'''
ENTRY_POINTS = """
[divsal_bench.methods]
placed = placed_package:Placed
gathered = placed_package:Gathered
slow = placed_package:Slow
hungry = placed_package:Hungry
silent = placed_package:Silent
obedient = placed_package:Obedient

[divsal_bench.tasks]
outside = placed_package:TASK
"""
TINY = dataclasses.replace(protocols.PROTOCOLS["quick-v1"], input_size=32, epochs=2, batch_size=10)


@pytest.fixture(scope="module", autouse=True)
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Install the outside package for this module's tests and the processes they start."""
    with installed(tmp_path_factory.mktemp("site"), {"placed_package": PACKAGE}, ENTRY_POINTS):
        yield


@pytest.fixture(autouse=True)
def marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where test and methods leave notes for each other."""
    folder = tmp_path / "marks"
    folder.mkdir()
    monkeypatch.setenv("OUTSIDE_MARKS", str(folder))
    return folder


def missing(out: Path, methods: str, seeds: int = 1) -> list[Job]:
    chosen = tuple(method_choice.choose_methods(methods))
    asked = planning.Grid(("outside",), chosen, tuple(range(seeds)), out, TINY, data="standin", device="cpu")
    return [job for part in planning.plan(asked) for job in part.jobs]


def noted(marks: Path) -> list[dict[str, Any]]:
    """What the runs' processes noted, with their process id."""
    return [{**json.loads(path.read_text()), "pid": int(path.name[3:])} for path in marks.glob("at-*")]


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait until it is so; only a hang fails."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, f"{what}: still not after two minutes"
        time.sleep(0.02)


def goes_on(pid: int) -> bool:
    """Whether a process is there; one that nobody has collected is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def fake_devices(slots: int) -> tuple[places.Place, ...]:
    """Places on two devices that are not there: the processor stands in."""
    seen = {"cuda:0": {"CUDA_VISIBLE_DEVICES": "GPU-aa"}, "cuda:1": {"CUDA_VISIBLE_DEVICES": "MIG-bb"}}
    return accelerators.on_devices(seen, slots)


# ---------------------------------------------------------------- places


def test_each_worker_sees_its_own_device_and_no_two_share_a_slot(tmp_path: Path, marks: Path) -> None:
    runs = pool.run_jobs(missing(tmp_path, "gathered:count=4", seeds=4), fake_devices(2))
    assert sorted((one["CUDA_VISIBLE_DEVICES"], one["DIVSAL_BENCH_SLOTS"]) for one in noted(marks)) == [
        ("GPU-aa", "2"), ("GPU-aa", "2"), ("MIG-bb", "2"), ("MIG-bb", "2"),
    ]  # fmt: skip
    assert sorted(run.record.place for run in runs) == [
        "cuda:0, slot 1 of 2", "cuda:0, slot 2 of 2", "cuda:1, slot 1 of 2", "cuda:1, slot 2 of 2",
    ]  # fmt: skip
    assert {run.record.status for run in runs} == {"done"}


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="nobody can choose processors here")
def test_workers_on_the_processor_divide_it(tmp_path: Path, marks: Path) -> None:
    usable = os.sched_getaffinity(0)
    count = min(2, len(usable))
    runs = pool.run_jobs(missing(tmp_path, "gathered", seeds=2), 2)
    sets = [set(one["processors"]) for one in noted(marks)]
    assert len(sets) == 2
    if count == 2:
        assert set.union(*sets) == usable
        assert not set.intersection(*sets)
        assert {run.record.place for run in runs} == {place.name for place in places.on_processors(2, 1)}
    else:
        assert sets == [usable, usable]
    assert {one["DIVSAL_BENCH_SLOTS"] for one in noted(marks)} == {None}


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize("how", ["raise", "kill"])
@pytest.mark.parametrize("devices", [0, 2], ids=["processor", "devices"])
@pytest.mark.slow
def test_a_run_without_memory_is_tried_again_with_nothing_beside_it(
    tmp_path: Path, marks: Path, how: str, devices: int
) -> None:
    """On its device, and the other device goes on; on the processor, nothing runs beside it at all."""
    jobs = missing(tmp_path, f"hungry:how={how},slow", seeds=3)
    first = [job for job in jobs if job.spec.method == "hungry"][:1]
    events: list[pool.Event] = []
    where = fake_devices(2) if devices else places.anywhere(2)
    runs = pool.run_jobs([*first, *(job for job in jobs if job.spec.method == "slow")], where, events.append)
    assert [(run.record.status, run.record.attempts) for run in runs if run.spec.method == "hungry"] == [("done", 2)]
    assert {run.record.status for run in runs} == {"done"}
    (retry,) = [event for event in events if event.kind == "retry"]
    assert re.search(r"trying that run once more, alone" + r" on cuda:[01]" * (devices > 0) + r"\Z", retry.why)
    assert ("ran out of memory" in retry.why) == (how == "raise")
    spans = noted(marks)
    alone = max((one for one in spans if one["method"] == "hungry"), key=lambda one: one["began"])
    for one in spans:
        if one is not alone and one["CUDA_VISIBLE_DEVICES"] == alone["CUDA_VISIBLE_DEVICES"]:
            assert one["now"] < alone["began"] or alone["now"] < one["began"], f"{one} runs beside {alone}"


def test_memory_that_is_missing_twice_fails_the_run_and_says_so(tmp_path: Path) -> None:
    (run,) = pool.run_jobs(missing(tmp_path, "hungry:how=allocate,always=true"), 1)
    assert (run.record.status, run.record.attempts) == ("failed", 2)
    assert run.record.error.startswith("out of memory 2 times, the last time with nothing beside it: RuntimeError: "), (
        run.record.error
    )


# ---------------------------------------------------------------- silence


@pytest.mark.slow
def test_a_run_that_makes_no_progress_is_ended_and_tried_once_more(tmp_path: Path, marks: Path) -> None:
    events: list[pool.Event] = []
    runs = pool.run_jobs(missing(tmp_path, "silent,silent:always=true,placed"), 1, events.append, stall=20)
    ends = {run.record.method_label: run.record for run in runs}
    assert (ends["silent"].status, ends["silent"].attempts) == ("done", 2)
    assert ends["placed"].attempts == 1
    failed = ends["silent:always=True"]
    assert (failed.status, failed.attempts) == ("failed", 2)
    assert failed.error.startswith("it made no progress for 20 seconds and was ended, in the last of 2 tries")
    assert [event.why for event in events if event.kind == "retry"] == [
        "made no progress for 20 seconds and was ended; trying that run once more"
    ] * 2
    wait_until(lambda: not any(goes_on(one["pid"]) for one in noted(marks)), "the runs' processes are gone")


# ---------------------------------------------------------------- stopping


class Begun:
    """``divsal-bench run`` of obedient runs, in a process group of its own."""

    def __init__(self, out: Path, log: str, seeds: int = 2) -> None:
        self.arguments = [
            *("run", "--task", "outside", "--data", "standin", "--device", "cpu", "--method", "obedient"),
            *("--seeds", str(seeds), "--workers", "2", "--out", str(out)),
        ]
        self.log = out.with_name(log)
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "divsal_bench", *self.arguments],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file, start_new_session=True,
            )  # fmt: skip

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("number", "group", "code"), [(signal.SIGTERM, True, 143), (signal.SIGHUP, False, 129), (signal.SIGINT, True, 130)]
)
@pytest.mark.slow
def test_a_command_that_is_asked_to_stop_lets_its_runs_save_their_state_and_says_how_to_go_on(
    tmp_path: Path, marks: Path, number: int, group: bool, code: int
) -> None:
    """As a scheduler does, to all its processes at once, or to the command alone."""
    command = Begun(tmp_path / "out", "log")
    wait_until(lambda: len(noted(marks)) == 2 or command.process.poll() is not None, "two runs begin")
    (os.killpg if group else os.kill)(command.process.pid, number)
    assert command.process.wait(timeout=100) == code, command.said()
    last = command.said().splitlines()[-1]
    assert last.startswith("stopped: 0 of 2 runs finished and kept, 2 go on from epoch 1. To go on: divsal-bench run ")
    assert shlex.split(last.partition("To go on: ")[2]) == ["divsal-bench", *command.arguments]
    assert "Traceback" not in command.said()
    assert read_runs(tmp_path / "out") == []


@pytest.mark.slow
def test_another_command_takes_up_what_a_stopping_one_leaves(tmp_path: Path, marks: Path) -> None:
    first = Begun(tmp_path / "out", "first")
    wait_until(lambda: len(noted(marks)) == 2 or first.process.poll() is not None, "two runs begin")
    second = Begun(tmp_path / "out", "second", seeds=3)
    wait_until(lambda: len(noted(marks)) == 3 or second.process.poll() is not None, "the second begins what is left")
    wait_until(lambda: "making 2 of these runs; this one makes the others" in second.said(), "it says so")
    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait(timeout=100) == 143
    wait_until(lambda: len(noted(marks)) >= 4 or second.process.poll() is not None, "the second takes up a run")
    (marks / "go").touch()
    assert second.process.wait(timeout=300) == 0, second.said()
    runs = read_runs(tmp_path / "out")
    assert sorted(run.spec.seed for run in runs) == [0, 1, 2]
    assert {run.record.status for run in runs} == {"done"}


@pytest.mark.slow
def test_a_run_that_is_asked_to_stop_from_outside_is_tried_once_more(tmp_path: Path, marks: Path) -> None:
    """First its process alone, then its worker, which hands it on."""
    asked: list[int] = []

    def ask() -> None:
        wait_until(lambda: len(noted(marks)) == 1, "the run begins")
        (run,) = noted(marks)
        asked.append(run["pid"])
        os.kill(run["pid"], signal.SIGTERM)
        wait_until(lambda: len(noted(marks)) == 2, "it begins again")
        (again,) = [one["pid"] for one in noted(marks) if one["pid"] != run["pid"]]
        os.kill(int(Path(f"/proc/{again}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGTERM)
        wait_until(lambda: not goes_on(again), "it ends")
        (marks / "go").touch()

    asking = threading.Thread(target=ask)
    asking.start()
    runs = pool.run_jobs(missing(tmp_path, "obedient", seeds=2), 1)
    asking.join()
    assert [(run.record.status, run.record.error) for run in runs] == [
        ("failed", "it was asked to stop 2 times, from outside"), ("done", ""),
    ]  # fmt: skip
    assert runs[1].record.attempts == 1


def test_in_this_process_the_first_signal_stops_between_two_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute(job: Job, watch: Watch, notices: list[str]) -> Path:
        watch.on_epoch(3, 5)
        os.kill(os.getpid(), signal.SIGINT)
        while not watch.should_stop():
            time.sleep(0.01)
        raise StoppedError(4)

    monkeypatch.setattr(work, "execute", execute)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    events: list[pool.Event] = []
    try:
        with pytest.raises(KeyboardInterrupt):
            pool.run_jobs(missing(tmp_path, "placed", seeds=2), 0, events.append)
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert [(event.kind, event.done) for event in events] == [("begun", 0), ("epoch", 3), ("stopped", 4)]
