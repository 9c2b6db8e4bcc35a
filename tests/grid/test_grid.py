"""The pool with real processes: what dies is tried again, what is finished stays, what is asked for gets done."""

from __future__ import annotations

import dataclasses
import os
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from installed_package import installed

from divsal_bench.cli import EXIT_INTERRUPTED
from divsal_bench.errors import UserError
from divsal_bench.files.owners import is_abandoned, own_tag
from divsal_bench.grid import planning, pool
from divsal_bench.grid.jobs import Job
from divsal_bench.processes import crew
from divsal_bench.registry import method_choice, method_source, plugins, protocols
from divsal_bench.runs import messages, store
from divsal_bench.runs.names import STDERR_FILE
from divsal_bench.runs.reading import Run, read_run, read_runs

#: Somebody else's package: a tiny task, and methods that misbehave. Test and methods talk through files.
PACKAGE = r'''
import os, signal, subprocess, sys, time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from divsal_bench.contracts.method import Method
from divsal_bench.words import Kind
from divsal_bench.contracts.task import StandIn, Task
from divsal_bench.errors import UserError


def mark(name):
    return Path(os.environ["OUTSIDE_MARKS"], name)


class Outside(Method):
    kind: ClassVar[Kind] = "unguided"

    def loss(self, batch, out):
        return {"loss": out.cross_entropy}


@dataclass
class Waiting(Outside):
    """Says that it has begun, then waits to be let go."""

    name: ClassVar[str] = "waiting"

    def loss(self, batch, out):
        mark(f"began-{os.getpid()}").touch()
        while not mark("go").exists():
            time.sleep(0.02)
        return super().loss(batch, out)


@dataclass
class Killed(Outside):
    """Kills its own process, as the system does that has no memory left; a child of it stays and holds its pipes."""

    name: ClassVar[str] = "killed"

    def loss(self, batch, out):
        mark(f"tried-{os.getpid()}").touch()
        if os.fork() == 0:
            while not mark("over").exists():
                time.sleep(0.1)
            os._exit(0)
        os.kill(os.getpid(), 9)


@dataclass
class Loud(Outside):
    """Prints on every way to standard output and reads standard input; neither is its own."""

    name: ClassVar[str] = "loud"

    def loss(self, batch, out):
        lie = '{"event": "finished", "path": "nowhere"}'
        print(lie, flush=True)
        print("half a line", end="")
        os.write(1, lie.encode() + bytes([10, 255, 10]))
        sys.__stdout__.write(lie)
        subprocess.run(["echo", lie], check=True)
        assert os.getpid() == int(os.environ["OUTSIDE_PARENT"]) or sys.stdin.read() == ""
        return super().loss(batch, out)


@dataclass
class Ending(Outside):
    """Ends its process, in one of the ways there are."""

    name: ClassVar[str] = "ending"
    how: str = "exit"

    def loss(self, batch, out):
        if self.how == "exit":
            sys.exit(3)
        if self.how == "base":
            raise BaseException("gone")
        if self.how == "interrupt":
            raise KeyboardInterrupt
        if self.how == "user":
            raise UserError("not the user's")
        if self.how == "unsayable":
            raise Unsayable
        print("the last words", file=sys.stderr, flush=True)
        if self.how == "leave":
            os._exit(7)
        if self.how == "leave-well":
            os._exit(0)
        os.kill(os.getpid(), getattr(signal, self.how))
        time.sleep(60)


class Unsayable(Exception):
    def __str__(self):
        raise ValueError


@dataclass
class Meddling(Outside):
    """Changes what the next run in its process would compute with."""

    name: ClassVar[str] = "meddling"
    how: str = "patch"

    def loss(self, batch, out):
        import torch
        import divsal_bench.training.training

        losses = super().loss(batch, out)
        if self.how == "patch":
            functional = torch.nn.functional
            original = functional.cross_entropy
            functional.cross_entropy = lambda *given, **named: 1.1 * original(*given, **named)
        elif self.how == "engine":
            divsal_bench.training.training.Streams.of = classmethod(lambda cls, *given: cls(1, 2, 3, 4))
        elif self.how == "precision":
            torch.set_default_dtype(torch.float64)
        elif self.how == "hook":
            torch.nn.modules.module.register_module_forward_hook(lambda module, given, out: out * 1.01)
        elif self.how == "kept":
            divsal_bench.networks.inference.as_input.__defaults__ = None
            divsal_bench.training.training.batches.__code__ = (lambda count, size, generator: [
                rows for rows in __import__("torch").arange(count).split(size) if len(rows) > 1
            ]).__code__
        return losses


@dataclass
class Talkative(Outside):
    """Writes more, and other, into its record than a record may hold."""

    name: ClassVar[str] = "talkative"

    def setup(self, train):
        train.notices += ["x" * 9000, "right to \u2067left", "two\nlines \x1b[31m", 7, None, Unsayable()]
        train.notices += ["many"] * 200_000

    def loss(self, batch, out):
        losses = super().loss(batch, out)
        return {**losses, "y" * 5000: losses["loss"], "a,b\n\x1b[31m\u202e": losses["loss"]}


@dataclass
class Shouting(Outside):
    """Prints more than is kept, then ends as it is told to."""

    name: ClassVar[str] = "shouting"
    how: str = "done"

    def loss(self, batch, out):
        for _ in range(100):
            print(f"{self.how} " + "x" * 1000, file=sys.stderr)
        print(f"{self.how} says \x1b[31mred \N{WINKING FACE}", file=sys.stderr, flush=True)
        if self.how == "fail":
            raise ValueError("as told")
        if self.how == "die":
            os._exit(1)
        return {"loss": out.cross_entropy * (float("nan") if self.how == "diverge" else 1)}


@dataclass
class Counting(Outside):
    """Leaves a note for each run that begins."""

    name: ClassVar[str] = "counting"

    def setup(self, train):
        mark(f"began-{os.getpid()}").touch()


@dataclass
class Broken(Outside):
    """Raises, or diverges, until it is mended."""

    name: ClassVar[str] = "broken"
    diverge: bool = False

    def loss(self, batch, out):
        if mark("mended").exists():
            return super().loss(batch, out)
        if self.diverge:
            return {"loss": out.cross_entropy * float("inf")}
        raise ValueError("out of luck")


def draw(variant, seed):
    import numpy as np
    import pandas as pd

    generator = np.random.default_rng(seed)
    plan = [("train", "a", 40), ("validation", "a", 16), ("test", "a", 16), ("test", "b", 16)]
    rows = [(split, source, number % 2) for split, source, count in plan for number in range(count)]
    table = pd.DataFrame(rows, columns=["split", "source", "label"])
    names = [f"s{number}" for number in range(len(table))]
    kinds = table["label"].map({0: "none", 1: "mask"})
    table = table.assign(
        sample_id=names, subject=names, saliency_kind=kinds, category=table["label"].map({0: "", 1: "blob"})
    )
    images = generator.integers(0, 200, (len(table), 16, 16), np.uint8)
    maps = np.zeros_like(images)
    maps[table["label"] == 1, 4:9, 4:9] = 255
    images[maps > 0] += 55
    return StandIn(table, images, maps)


TASK = Task(
    name="outside", version=1, title="Outside", description="a blob?", class_names=("no", "yes"), channels=1,
    category_meaning="", field_metrics=(), draw_standin=draw, standin_version=1, citation="", licence="",
)
'''
#: A module that changes torch when it is imported, in the processes of the test that asks for it.
PATCH = """
import os
from dataclasses import dataclass
from typing import ClassVar
from divsal_bench.contracts.method import Method

if "OUTSIDE_PATCH" in os.environ:
    import torch
    torch.nn.functional.batch_norm = torch.nn.functional.instance_norm

@dataclass
class Patching(Method):
    name: ClassVar[str] = "patching"
    kind: ClassVar[str] = "unguided"

    def loss(self, batch, out):
        return {"loss": out.cross_entropy}
"""
ENTRY_POINTS = """
[divsal_bench.methods]
ending = outside_package:Ending
shouting = outside_package:Shouting
meddling = outside_package:Meddling
talkative = outside_package:Talkative
counting = outside_package:Counting
patching = outside_patch:Patching
waiting = outside_package:Waiting
killed = outside_package:Killed
loud = outside_package:Loud
broken = outside_package:Broken

[divsal_bench.tasks]
outside = outside_package:TASK
"""
TINY = dataclasses.replace(protocols.PROTOCOLS["quick-v1"], input_size=32, epochs=2, batch_size=10)


@pytest.fixture(scope="module", autouse=True)
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Install the outside package for this module's tests and the processes they start."""
    modules = {"outside_package": PACKAGE, "outside_patch": PATCH}
    with installed(tmp_path_factory.mktemp("site"), modules, ENTRY_POINTS):
        yield


@pytest.fixture(autouse=True)
def marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where test and methods leave notes for each other."""
    folder = tmp_path / "marks"
    folder.mkdir()
    monkeypatch.setenv("OUTSIDE_MARKS", str(folder))
    yield folder
    (folder / "over").touch()


def grid(out: Path, methods: str, seeds: tuple[int, ...] = (0,), retry_failed: bool = False) -> planning.Grid:
    chosen = tuple(method_choice.choose_methods(methods))
    return planning.Grid(
        ("outside",), chosen, seeds, out, TINY, data="standin", device="cpu", retry_failed=retry_failed
    )


def missing(asked: planning.Grid) -> list[Job]:
    return [job for part in planning.plan(asked) for job in part.jobs]


def name_of(run: Run) -> tuple[str, int]:
    return run.spec.method, run.spec.seed


def processes(marks: Path, kind: str = "began") -> list[int]:
    """Processes that left a note."""
    return [int(file.name.partition("-")[2]) for file in marks.glob(f"{kind}-*")]


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Wait until it is so; only a hang fails."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, f"{what}: still not after two minutes"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has collected has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return is_abandoned(f"{own_tag().split('-')[0]}-{pid}-")


# ---------------------------------------------------------------- workers that die


def test_a_worker_killed_in_the_middle_of_a_run_costs_one_retry(tmp_path: Path, marks: Path) -> None:
    events: list[pool.Event] = []

    def kill() -> None:
        wait_for(lambda: processes(marks) or (marks / "over").exists(), "the run begins")
        (victim,) = processes(marks)
        (marks / "go").touch()
        os.kill(victim, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    runs = pool.run_jobs(missing(grid(tmp_path, "waiting", (0, 1))), 1, events.append)
    (marks / "over").touch()
    killer.join()
    assert [(name_of(run), run.record.status, run.record.attempts) for run in runs] == [
        (("waiting", 0), "done", 2),
        (("waiting", 1), "done", 1),
    ]
    assert [event.kind for event in events] == ["begun", "retry", *["epoch", "epoch", "finished"] * 2]
    assert [(event.done, event.total) for event in events if event.kind == "epoch"] == [(1, 2), (2, 2)] * 2
    assert {run.path for run in runs} == {run.path for run in read_runs(tmp_path)}
    assert len(set(processes(marks))) == 3, "each run and each try has a process of its own"


def test_a_method_that_kills_its_process_fails_after_two_tries_and_the_others_finish(
    tmp_path: Path, marks: Path
) -> None:
    events: list[pool.Event] = []
    jobs = missing(grid(tmp_path, "killed,cross-entropy"))
    jobs.sort(key=lambda job: job.spec.method != "killed")
    runs = pool.run_jobs(jobs, 1, events.append)
    assert [name_of(run) for run in runs] == [("killed", 0), ("cross-entropy", 0)]
    failed, done = (run.record for run in runs)
    assert (failed.status, failed.attempts, failed.scores) == ("failed", 2, None)
    assert failed.error == (
        "its process died 2 times (SIGKILL; too little memory is the usual cause), the last time with nothing beside it"
    )
    assert failed.method_source == method_source.source_hash(plugins.methods().get("killed"))
    assert failed.seconds > 0
    assert failed.peak_mb > 100
    assert failed.versions["torch"]
    assert (done.status, done.attempts) == ("done", 1)
    assert len(processes(marks, "tried")) == 2
    assert [event.kind for event in events] == ["begun", "retry", "finished", "epoch", "epoch", "finished"]
    assert [run.record for run in read_runs(tmp_path)] == [done, failed]


ENDS = {
    "exit": ("SystemExit: 3", "sys.exit(3)"),
    "base": ("BaseException: gone", 'raise BaseException("gone")'),
    "interrupt": ("KeyboardInterrupt: ", "raise KeyboardInterrupt"),
    "user": ("UserError: not the user's", 'raise UserError("not'),
    "unsayable": ("Unsayable", "raise Unsayable"),
    "leave": ("its process died 2 times (exit code 7; the method, or", "the last words"),
    "leave-well": ("its process died 2 times (exit code 0; the method, or", "the last words"),
    "SIGSEGV": ("its process died 2 times (SIGSEGV)", "the last words\nFatal Python error: Segmentation fault"),
    "SIGABRT": ("its process died 2 times (SIGABRT)", "the last words\nFatal Python error: Aborted"),
    "SIGALRM": ("its process died 2 times (SIGALRM)", "the last words"),
}


def test_a_method_that_ends_its_process_is_recorded_with_the_true_reason_and_the_others_finish(tmp_path: Path) -> None:
    methods = ",".join(["cross-entropy", *(f"ending:how={how}" for how in ENDS)])
    runs = {run.record.method_label: run.record for run in pool.run_jobs(missing(grid(tmp_path, methods)), 1)}
    assert runs.pop("cross-entropy").status == "done"
    assert len(runs) == len(ENDS)
    for how, (error, last) in ENDS.items():
        found = runs["ending" if how == "exit" else f"ending:how={how}"]
        assert found.status == "failed"
        assert found.error.startswith(error.strip()), how
        assert last in found.notices[0], (how, found.notices)
        assert "memory" not in found.error
        assert found.method_source == method_source.source_hash(plugins.methods().get("ending"))
        assert found.seconds > 0
        assert found.peak_mb > 100
        assert found.attempts == (2 if "its process died" in error else 1)


def test_a_run_whose_process_died_is_recorded_as_a_failed_one_is(tmp_path: Path) -> None:
    """A run that raises and one that is killed: the same facts are there, and none is empty."""
    methods = "ending:how=base,ending:how=SIGKILL"
    raised, died = (run.record for run in pool.run_jobs(missing(grid(tmp_path, methods)), 1))
    assert (raised.error, died.error[:26]) == ("BaseException: gone", "its process died 2 times (")
    facts = [
        {name for name, value in record.model_dump().items() if value not in ("", 0, 0.0, [], {}, None)}
        for record in (raised, died)
    ]
    assert facts[0] - facts[1] == set()
    assert facts[1] - facts[0] == {"files"}, "what it printed last"
    for name in ("device", "processor", "method_source", "model_args", "versions", "data", "method_kind"):
        assert getattr(raised, name) == getattr(died, name)
        assert name in facts[1]


def test_what_a_run_without_a_result_printed_is_kept_beside_its_record(tmp_path: Path) -> None:
    """Bounded and printable; of a run with a result nothing is kept, and nothing of the run before it."""
    jobs = missing(grid(tmp_path, "shouting:how=done,shouting:how=fail,shouting:how=diverge,shouting:how=die"))
    runs = {run.spec.fields["how"]: run for run in pool.run_jobs(jobs, 1)}
    assert {how: run.record.status for how, run in runs.items()} == {
        "done": "done", "fail": "failed", "diverge": "diverged", "die": "failed",
    }  # fmt: skip
    assert not (runs.pop("done").path / STDERR_FILE).exists()
    for how, run in runs.items():
        printed = (run.path / STDERR_FILE).read_text(encoding="utf-8")
        assert printed.splitlines()[-1] == f"{how} says ?[31mred \N{WINKING FACE}"
        assert set(printed.splitlines()[1:-1]) == {f"{how} " + "x" * 1000}, "another's words"
        assert 20_000 < len(printed) < 40_000
        run.check_file(STDERR_FILE)
        assert STDERR_FILE in run.record.files
    assert "die says ?[31mred" in runs["die"].record.notices[0]


# ---------------------------------------------------------------- runs that others cannot reach


@pytest.mark.slow
def test_no_method_changes_another_methods_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patched functions, global settings, global hooks, edited code, and a plugin that only needs to be imported."""
    alone = pool.run_jobs(missing(grid(tmp_path / "alone", "cross-entropy")), 1)
    ways = ["patch", "engine", "precision", "hook", "kept"]
    monkeypatch.setenv("OUTSIDE_PATCH", "1")
    methods = ",".join(["cross-entropy", "patching", *(f"meddling:how={how}" for how in ways)])
    jobs = missing(grid(tmp_path / "among", methods))
    jobs.sort(key=lambda job: job.spec.method == "cross-entropy")
    among = pool.run_jobs(jobs, 1)
    assert [name_of(run) for run in among][-1] == ("cross-entropy", 0)
    assert_same_numbers(alone, among[-1:])
    patched = next(run for run in among if run.spec.method == "patching")
    assert patched.record.status == "done"
    assert patched.predictions()["logit1"].tolist() != alone[0].predictions()["logit1"].tolist(), "nothing was changed"


def test_runs_that_share_a_process_say_so(tmp_path: Path) -> None:
    first, second = pool.run_jobs(missing(grid(tmp_path, "cross-entropy", (0, 1))), 0)
    assert first.record.notices == []
    assert second.record.notices == [pool.SHARED]


def test_a_run_that_writes_more_than_a_record_may_hold_is_cut_and_can_be_read(tmp_path: Path) -> None:
    (run,) = pool.run_jobs(missing(grid(tmp_path, "talkative")), 1)
    assert run.record.status == "done"
    notices = run.record.notices
    assert len(notices[0]) == messages.LONGEST_NOTICE
    assert notices[1:6] == [
        "right to ?left", "two lines ?[31m", "7", "None", "a Unsayable that cannot be shown",
    ]  # fmt: skip
    assert notices[-1] == "and 199,986 more"
    assert [run.record for run in read_runs(tmp_path)] == [run.record]
    names = list(pd.read_csv(run.path / "history.csv"))
    assert names[-1] == "a,b ?[31m?"
    assert max(map(len, names)) == messages.LONGEST_NAME


# ---------------------------------------------------------------- several launchers


@pytest.mark.slow
def test_launchers_on_one_folder_divide_the_work(tmp_path: Path, marks: Path) -> None:
    asked = grid(tmp_path, "counting", (0, 1, 2, 3))
    plans = [missing(asked) for _ in range(3)]
    events: list[list[pool.Event]] = [[], [], []]
    found: list[list[Run]] = [[], [], []]

    def launch(number: int) -> None:
        found[number] = pool.run_jobs(plans[number], 1, events[number].append)

    launchers = [threading.Thread(target=launch, args=(number,)) for number in range(3)]
    for launcher in launchers:
        launcher.start()
    for launcher in launchers:
        launcher.join()
    assert len(processes(marks)) == 4, "each run is trained once"
    for runs in found:
        assert sorted(map(name_of, runs)) == [("counting", seed) for seed in range(4)]
        assert {run.record.status for run in runs} == {"done"}
    ends = [event for one in events for event in one if event.kind == "finished"]
    assert sorted(event.elsewhere for event in ends) == [False] * 4 + [True] * 8
    assert not list((tmp_path / store.ASIDE).iterdir())


def test_a_launcher_waits_for_a_run_that_another_is_making_and_takes_over_when_that_dies(
    tmp_path: Path, marks: Path
) -> None:
    asked = grid(tmp_path, "counting")
    jobs = missing(asked)
    store.prepare_folder(tmp_path)
    code = (
        "import sys, time; from pathlib import Path; from divsal_bench.runs import locks; "
        "lock = locks.lock_run(Path(sys.argv[1]), sys.argv[2]); print(lock is not None, flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), jobs[0].spec.run_id], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "True\n"
    store.prepare_folder(tmp_path)
    assert len(list((tmp_path / store.ASIDE).iterdir())) == 1, "the lock of a living owner is swept"
    events: list[pool.Event] = []

    def take(event: pool.Event) -> None:
        events.append(event)
        if event.kind == "waiting":
            assert not processes(marks)
            owner.kill()

    (run,) = pool.run_jobs(jobs, 1, take)
    owner.wait()
    assert run.record.status == "done"
    assert [(event.kind, event.total) for event in events] == [
        ("begun", 1), ("waiting", 1), ("epoch", 2), ("epoch", 2), ("finished", 0),
    ]  # fmt: skip


def test_a_failed_run_that_another_launcher_has_tried_again_is_not_tried_once_more(tmp_path: Path, marks: Path) -> None:
    pool.run_jobs(missing(grid(tmp_path, "broken")), 0)
    planned = missing(grid(tmp_path, "broken", retry_failed=True))
    (marks / "mended").touch()
    again = pool.run_jobs(missing(grid(tmp_path, "broken", retry_failed=True)), 0)
    events: list[pool.Event] = []
    found = pool.run_jobs(planned, 0, events.append)
    assert [run.record for run in found] == [run.record for run in again]
    assert [(event.kind, event.elsewhere) for event in events] == [
        ("begun", False), ("finished", True),
    ]  # fmt: skip


def test_names_that_a_record_may_not_hold_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"could not be read back .* 401 characters, 400 are allowed"):
        missing(grid(tmp_path, f"ending:how={'x' * 401}"))


# ---------------------------------------------------------------- workers


@pytest.mark.slow
def test_a_killed_worker_takes_its_run_along_and_the_run_is_made_again(tmp_path: Path, marks: Path) -> None:
    victims: list[int] = []

    def kill() -> None:
        wait_for(lambda: processes(marks) or (marks / "over").exists(), "the run begins")
        (run,) = processes(marks)
        worker = int(Path(f"/proc/{run}/stat").read_text().rpartition(")")[2].split()[1])
        victims.extend([run, worker])
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: gone(run), "the run ends with its worker")
        (marks / "go").touch()

    killer = threading.Thread(target=kill)
    killer.start()
    (run,) = pool.run_jobs(missing(grid(tmp_path, "waiting")), 1)
    (marks / "over").touch()
    killer.join()
    assert (run.record.status, run.record.attempts) == ("done", 2)
    assert os.getpid() not in victims
    assert len(processes(marks)) == 2


@pytest.mark.slow
def test_where_a_fork_is_unsafe_each_run_gets_a_worker_of_its_own(
    tmp_path: Path, marks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an accelerator, and on systems other than Linux; here a device makes the workers think so."""
    monkeypatch.setattr(Job, "to_json", lambda job, plain=Job.to_json: {
        **plain(job), "device": "cpu:0",
    })  # fmt: skip
    runs = pool.run_jobs(missing(grid(tmp_path, "counting,ending:how=leave", (0, 1))), 1)
    by_method = {name_of(run): run.record for run in runs}
    assert [by_method["counting", seed].status for seed in (0, 1)] == ["done", "done"]
    assert [by_method["ending", seed].error[:41] for seed in (0, 1)] == [
        "its process died 2 times (exit code 7; th"
    ] * 2
    assert len(processes(marks)) == 2


def test_workers_that_cannot_start_end_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = missing(grid(tmp_path, "cross-entropy", tuple(range(50))))
    started: list[object] = []
    popen = subprocess.Popen

    def start(command: list[str], **options: object) -> object:
        started.append(command)
        assert len(started) < 40, "it goes on for ever"
        return popen([sys.executable, "-c", "raise SystemExit(3)"], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(crew.subprocess, "Popen", start)
    with pytest.raises(UserError, match="die before their first run; try --workers 0 to see why"):
        pool.run_jobs(jobs, 2)
    assert read_runs(tmp_path) == []


def test_a_full_disk_stops_the_command_and_the_same_command_goes_on(tmp_path: Path) -> None:
    import resource

    asked = grid(tmp_path, "cross-entropy")
    jobs = missing(asked)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))  # workers inherit it; a model needs more
    try:
        with pytest.raises(UserError, match=r"could not be written .* then give the same command again"):
            pool.run_jobs(jobs, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert read_runs(tmp_path) == []
    assert [run.record.status for run in pool.run_jobs(missing(asked), 0)] == ["done"]


# ---------------------------------------------------------------- the same numbers, the missing runs


def assert_same_numbers(first: list[Run], second: list[Run]) -> None:
    """Logits, maps' agreement and weights are equal to the last bit."""
    assert sorted(map(name_of, first)) == sorted(map(name_of, second))
    others = {run.record.run_id: run for run in second}
    for run in first:
        other = others[run.record.run_id]
        pd.testing.assert_frame_equal(run.predictions(), other.predictions(), check_exact=True)
        models = [(folder / "model.safetensors").read_bytes() for folder in (run.path, other.path)]
        assert models[0] == models[1]
        assert run.record.scores == other.record.scores


@pytest.mark.slow
def test_numbers_are_the_same_twice_and_with_any_number_of_workers(tmp_path: Path) -> None:
    """In this process, in two workers, and in another order; a loud method disturbs nothing."""
    methods = "cross-entropy,loud,cyborg-shuffled"
    here = pool.run_jobs(missing(grid(tmp_path / "a", methods, (0, 1))), 0)
    again = pool.run_jobs(list(reversed(missing(grid(tmp_path / "b", methods, (0, 1))))), 0)
    asked = grid(tmp_path / "c", methods, (0, 1))
    there = pool.run_jobs(missing(asked), 2)
    assert [run.record.status for run in (*here, *again, *there)] == ["done"] * 18
    assert_same_numbers(here, again)
    assert_same_numbers(here, there)
    by_seed = [run.predictions()["logit1"].tolist() for run in here if run.spec.method == "cross-entropy"]
    assert by_seed[0] != by_seed[1], "the comparison would not notice a difference"

    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "c").rglob("*.*")}
    (part,) = planning.plan(asked)
    assert part.jobs == ()
    assert {run.path for run in part.done} == {run.path for run in there}
    assert pool.run_jobs(part.jobs, 2) == []
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "c").rglob("*.*")} == before


def test_seeds_are_outermost_and_repetitions_planned_once(tmp_path: Path) -> None:
    asked = grid(tmp_path, "cyborg,cross-entropy", (0, 1, 0))
    twice = dataclasses.replace(asked, tasks=("outside", "outside"))
    order = [(job.spec.seed, job.spec.method) for job in missing(twice)]
    assert order == [(0, "cross-entropy"), (0, "cyborg"), (1, "cross-entropy"), (1, "cyborg")]
    with pytest.raises(UserError, match="no seeds"):
        planning.plan(dataclasses.replace(asked, seeds=()))


def test_failed_runs_are_kept_and_only_retry_failed_runs_them_again(tmp_path: Path, marks: Path) -> None:
    methods = "cross-entropy,broken,broken:diverge=true"
    runs = {run.record.method_label: run for run in pool.run_jobs(missing(grid(tmp_path, methods)), 0)}
    failed, diverged = runs["broken"].record, runs["broken:diverge=True"].record
    assert (failed.status, failed.error) == ("failed", "ValueError: out of luck")
    assert "outside_package.py" in failed.notices[0], "the traceback is kept"
    assert (diverged.status, diverged.error) == ("diverged", "loss is not finite in epoch 1 of 2")
    assert runs["cross-entropy"].record.status == "done"

    (marks / "mended").touch()
    (part,) = planning.plan(grid(tmp_path, methods))
    assert part.jobs == ()
    assert {run.record.status for run in part.done} == {"done", "failed", "diverged"}

    again = missing(grid(tmp_path, methods, retry_failed=True))
    assert sorted(job.label for job in again) == ["broken", "broken:diverge=True"]
    kept = (runs["cross-entropy"].path / "run.json").stat().st_ino
    retried = pool.run_jobs(again, 0)
    assert [(run.record.status, run.path) for run in retried] == [("done", runs[job.label].path) for job in again]
    assert [run.record.status for run in read_runs(tmp_path)] == ["done"] * 3
    assert (runs["cross-entropy"].path / "run.json").stat().st_ino == kept
    assert missing(grid(tmp_path, methods, retry_failed=True)) == []


# ---------------------------------------------------------------- commands that are stopped


class Command:
    """``divsal-bench run`` in a process group of its own, as a shell would start it."""

    def __init__(self, out: Path, method: str, seeds: int, workers: int) -> None:
        self.out = out
        self.log = out.with_name(f"{out.name}.log")
        self.arguments = [
            *("run", "--task", "outside", "--data", "standin", "--device", "cpu", "--method", method),
            *("--seeds", str(seeds), "--workers", str(workers), "--out", str(out)),
        ]

    def start(self) -> subprocess.Popen[bytes]:
        # A shell's background job ignores Ctrl-C, and so would everything started from it.
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "divsal_bench", *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")


def interrupt_parent(command: Command, process: subprocess.Popen[bytes]) -> None:
    """Twice: the run hangs, and does not hear the first."""
    process.send_signal(signal.SIGINT)
    wait_for(lambda: "stopping: 1 run asked to save its state" in command.said(), "the run is asked to stop")
    process.send_signal(signal.SIGINT)


def interrupt_group(command: Command, process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGINT)
    wait_for(lambda: "stopping: 1 run asked to save its state" in command.said(), "the run is asked to stop")
    os.killpg(process.pid, signal.SIGINT)


def kill_parent(command: Command, process: subprocess.Popen[bytes]) -> None:
    process.kill()


@pytest.mark.parametrize(
    ("stop", "code"),
    [
        (interrupt_parent, EXIT_INTERRUPTED),
        (interrupt_group, EXIT_INTERRUPTED),
        (kill_parent, -signal.SIGKILL),
    ],
)
@pytest.mark.slow
def test_a_stopped_command_takes_its_workers_with_it_and_can_go_on(
    tmp_path: Path, marks: Path, stop: Callable[[Command, subprocess.Popen[bytes]], None], code: int
) -> None:
    command = Command(tmp_path / "out", "cross-entropy,waiting", seeds=1, workers=1)
    process = command.start()
    wait_for(lambda: processes(marks) or process.poll() is not None, "the second run begins")
    assert process.poll() is None, command.said()
    (worker,) = processes(marks)
    assert [name_of(run) for run in read_runs(command.out)] == [("cross-entropy", 0)]
    (finished,) = read_runs(command.out)
    stop(command, process)
    assert process.wait(timeout=120) == code, command.said()
    wait_for(lambda: gone(worker), "the worker ends with its command")
    assert read_runs(command.out) == [finished]

    if code == EXIT_INTERRUPTED:
        last = command.said().splitlines()[-1]
        assert last.startswith("stopped: 1 of 2 runs finished and kept. To go on: divsal-bench run ")
        assert "Traceback" not in command.said()
        assert shlex.split(last.partition("To go on: ")[2]) == ["divsal-bench", *command.arguments]
    asked = dataclasses.replace(grid(command.out, "cross-entropy,waiting"), protocol=planning.Grid.protocol)
    (part,) = planning.plan(asked)
    assert part.done == (finished,)
    assert [job.spec.method for job in part.jobs] == ["waiting"]


@pytest.mark.slow
def test_a_command_killed_again_and_again_loses_no_run_and_counts_none_twice(tmp_path: Path) -> None:
    """``kill -9`` of the whole group at random moments; tests/benchmarks/kill.py does it at length."""
    command = Command(tmp_path / "out", "cross-entropy,cyborg", seeds=3, workers=1)
    chance = random.Random(20)
    finished: dict[Path, bytes] = {}
    for kills in range(3):
        process = command.start()
        while len(read_runs(command.out)) == len(finished) and process.poll() is None:
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 1.5))
        assert process.poll() is None, f"it ended before kill {kills + 1}: {command.said()}"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        now = {run.path: (run.path / "run.json").read_bytes() for run in read_runs(command.out)}
        assert finished.items() <= now.items(), "a finished run was lost or changed"
        for path in now:
            assert_complete(read_run(path))
        finished = now
    assert command.start().wait(timeout=300) == 0, command.said()
    assert f"{len(finished)} already done, {6 - len(finished)} to do" in command.said()
    runs = read_runs(command.out)
    assert [name_of(run) for run in runs] == [(m, s) for m in ("cross-entropy", "cyborg") for s in range(3)]
    assert {run.record.status for run in runs} == {"done"}
    assert finished.items() <= {run.path: (run.path / "run.json").read_bytes() for run in runs}.items()
    assert list((command.out / store.ASIDE).iterdir()) == []
    assert {path for path in command.out.glob("*/*/*") if path.parent.parent.name == "outside"} == {
        run.path for run in runs
    }


def assert_complete(run: Run) -> None:
    """All four files are there and readable."""
    from safetensors.torch import load_file

    assert sorted(path.name for path in run.path.iterdir()) == [
        "history.csv", "model.safetensors", "predictions.parquet", "run.json",
    ]  # fmt: skip
    assert len(run.predictions()) == run.record.data.validation + run.record.data.test
    assert load_file(run.path / "model.safetensors")
    assert len(pd.read_csv(run.path / "history.csv")) == run.spec.protocol_settings["epochs"]
