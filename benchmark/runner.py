"""Plan a grid of runs, and run what is missing with a pool of worker processes."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from divsal_bench import conditions, devices, plugins, protocols, store, work
from divsal_bench.backbones import Head
from divsal_bench.contracts.adapter import SourceTerms
from divsal_bench.contracts.task import Task
from divsal_bench.data.arrays import DataArrays
from divsal_bench.data.catalogue import DataSource
from divsal_bench.data.reading import window_of
from divsal_bench.errors import UserError
from divsal_bench.method_choice import MethodChoice
from divsal_bench.protocols import Protocol
from divsal_bench.records import DataFacts, Record, Run, Spec, read_run

#: A run whose worker dies is tried once more; then it is recorded as failed.
ATTEMPTS = 2
#: Workers in a row that may die before they take a job.
STILLBORN = 5


@dataclass(frozen=True)
class Grid:
    """What was asked for: tasks × methods × one backbone × seeds under one protocol.

    Attributes:
        data: As ``--data``; None chooses per task.
        backbone: None takes the protocol's.
        retry_failed: Run failed and diverged runs again.
    """

    tasks: tuple[str, ...]
    methods: tuple[MethodChoice, ...]
    seeds: tuple[int, ...]
    out: Path
    protocol: Protocol = protocols.PROTOCOLS["quick-v1"]
    backbone: str | None = None
    head: Head = "two-logit"
    data: str | None = None
    device: str = "auto"
    retry_failed: bool = False


@dataclass(frozen=True)
class TaskPlan:
    """One task's part of a plan: its data, the runs that are there (of any status), and those missing."""

    task: Task
    source: DataSource
    arrays: DataArrays
    done: tuple[Run, ...]
    jobs: tuple[work.Job, ...]
    notices: tuple[str, ...]


@dataclass(frozen=True)
class Event:
    """What happened in the pool.

    Attributes:
        kind: ``epoch`` (done of total), ``finished`` (with its run) or ``retry`` (a worker died).
    """

    kind: Literal["epoch", "finished", "retry"]
    job: work.Job
    done: int = 0
    total: int = 0
    run: Run | None = None


def plan(grid: Grid, progress: Callable[[int, int], None] | None = None) -> list[TaskPlan]:
    """Find the data, write down every specification and look which runs exist.

    Nothing is written but the decoded images' cache.

    Raises:
        UserError: Anything that would make the runs fail and that the user can mend.
    """
    if not grid.seeds:
        raise UserError("no seeds to run; --seeds takes a number from 1, e.g. --seeds 5")
    backbone = grid.backbone or grid.protocol.backbone
    weights = "scratch"
    if grid.backbone or grid.protocol.pretrained:
        backbone, weights = check_backbone(backbone, grid)
    tasks = [plugins.tasks().get(name) for name in dict.fromkeys(grid.tasks)]
    return [plan_task(task, grid, backbone, weights, progress) for task in tasks]


def check_backbone(backbone: str, grid: Grid) -> tuple[str, str]:
    """Full name and weights hash of a backbone that is known to build and to have a closed-form CAM."""
    from divsal_bench import backbones

    backbone = backbones.full_name(backbone, grid.protocol)
    channels = {3 if grid.protocol.channels == 3 else plugins.tasks().get(name).channels for name in grid.tasks}
    for in_chans in sorted(channels):
        backbones.build(backbone, grid.protocol, in_chans, grid.head, seed=0)
    return backbone, backbones.weights_hash(backbone, grid.protocol)


def plan_task(
    task: Task, grid: Grid, backbone: str, weights: str, progress: Callable[[int, int], None] | None
) -> TaskPlan:
    """Plan one task."""
    from divsal_bench.data import arrays as data_arrays
    from divsal_bench.data import catalogue, rules

    source = catalogue.resolve(task, grid.data)
    arrays = data_arrays.load(task, source, grid.protocol.input_size, progress)
    check_splits(arrays, source)
    rules.require_sound(arrays.rows, task.class_names, source.name)
    facts = facts_of(arrays, source)
    settings = work.settings_of(grid.protocol)
    done: list[Run] = []
    jobs: list[work.Job] = []
    # Seeds outermost: a grid that is stopped early has the same seeds for every method.
    for seed, choice in itertools.product(dict.fromkeys(grid.seeds), grid.methods):
        method = plugins.methods().get(choice.name)
        spec = Spec(
            task=task.name,
            task_version=task.version,
            data=source.name,
            data_fingerprint=arrays.fingerprint,
            method=choice.name,
            method_version=method.version,
            fields=choice.fields,
            backbone=backbone,
            weights=weights,
            head=grid.head,
            protocol=grid.protocol.name,
            protocol_settings=settings,
            seed=seed,
        )
        run = store.find(grid.out, spec)
        if run is not None and (run.record.status == "done" or not grid.retry_failed):
            done.append(run)
        else:
            out = str(grid.out.absolute())
            jobs.append(work.Job(spec, choice.label, method.kind, str(arrays.path), facts, out, grid.device))
    notices = tuple(filter(None, (source.notice, *arrays.notices, *warnings(grid, done, facts))))
    return TaskPlan(task, source, arrays, tuple(done), tuple(jobs), notices)


def warnings(grid: Grid, done: Sequence[Run], facts: DataFacts) -> list[str]:
    """What would make a table say something else than its reader thinks."""
    found = []
    now = {choice.name: plugins.source_hash(plugins.methods().get(choice.name)) for choice in grid.methods}
    stale = {run.spec.method for run in done if run.record.method_source not in ("", now[run.spec.method])}
    if stale:
        found.append(
            f"the code of {', '.join(sorted(stale))} has changed since these runs were made; raise its `version` to "
            "run it again"
        )
    guided = [c.label for c in grid.methods if plugins.methods().get(c.name).kind != "unguided"]
    if guided and not facts.train_maps:
        found.append(f"no training image has a human map: {', '.join(guided)} have nothing to be guided by")
    return found


def check_splits(arrays: DataArrays, source: DataSource) -> None:
    """Refuse data that cannot be trained on, selected with or tested on."""
    for split in ("train", "validation"):
        labels = arrays.rows.loc[arrays.rows["split"] == split, "label"]
        if labels.empty:
            raise UserError(f"the {split} split of {source.name} has no rows; prepare the data again with some")
        if labels.nunique() < 2:
            raise UserError(f"the {split} split of {source.name} holds one class only; both are needed there")
    if not (arrays.rows["split"] == "test").any():
        raise UserError(f"{source.name} has no test rows; prepare the data again with some")
    if not any(condition.kind == "scored" for condition in conditions.conditions(arrays.rows)):
        raise UserError(
            f"no condition of the test split of {source.name} has both classes, so nothing could be scored; see "
            "divsal-bench data check"
        )


def facts_of(arrays: DataArrays, source: DataSource) -> DataFacts:
    """What a run's record keeps about its data."""
    counts = arrays.rows["split"].value_counts()
    in_train = arrays.rows["split"] == "train"
    return DataFacts(
        kind="standin" if source.is_drawn else source.kind,
        revision=source.revision,
        pixel_hash=arrays.pixel_hash,
        train=int(counts.get("train", 0)),
        validation=int(counts.get("validation", 0)),
        test=int(counts.get("test", 0)),
        train_maps=int(arrays.rows.loc[in_train, "has_map"].sum()),
        terms=terms_of(arrays, source),
        windows=windows_of(source),
    )


def terms_of(arrays: DataArrays, source: DataSource) -> dict[str, dict[str, str]]:
    """What each source of the rows allows: the same images may later be prepared with other words."""
    if source.info is None:
        return {}
    stated = {name: source.info.sources.get(name, SourceTerms()) for name in sorted(set(arrays.rows["source"]))}
    return {
        str(name): {what: getattr(terms, f"redistribute_{what}") for what in ("images", "weights", "predictions")}
        for name, terms in stated.items()
    }


def windows_of(source: DataSource) -> dict[str, str]:
    """The window of each source whose 16-bit images were prepared with one."""
    readings = {} if source.info is None else source.info.readings
    return {name: said["window"] for name, said in sorted(readings.items()) if window_of(said.get("window", ""))}


def execute(
    jobs: Sequence[work.Job], workers: int, on_event: Callable[[Event], None] = lambda event: None
) -> list[Run]:
    """Run jobs and return their runs, in the order they finished.

    Args:
        jobs: From a plan.
        workers: Processes; 0 runs in this process.
        on_event: Told of every epoch, finished run and retry.

    Raises:
        UserError: A result cannot be written (disk full, say).
        KeyboardInterrupt: Handed on after the workers are stopped; finished runs are safe.
    """
    if workers < 0:
        raise UserError(f"workers must be 0 or more, not {workers}")
    if not jobs:
        return []
    store.prepare(Path(jobs[0].out))
    if workers == 0:
        devices.prepare_environment()
        return [run_here(job, on_event) for job in jobs]
    with Pool(min(workers, len(jobs)), threads=int(jobs[0].spec.protocol_settings["threads"])) as pool:
        return pool.run(jobs, on_event)


def run_here(job: work.Job, on_event: Callable[[Event], None]) -> Run:
    """Run one job in this process."""
    path = work.execute(job, lambda done, total: on_event(Event("epoch", job, done, total)))
    run = read_run(path)
    on_event(Event("finished", job, run=run))
    return run


@dataclass(eq=False)
class Worker:
    """One worker process, the job it is on, and whether it ever asked for one."""

    process: subprocess.Popen[str]
    job: work.Job | None = None
    ready: bool = False

    @property
    def stdin(self) -> IO[str]:
        """Where its jobs go."""
        assert self.process.stdin is not None
        return self.process.stdin


class Pool:
    """Worker processes that take jobs one at a time; a dead one is replaced and costs one run one retry."""

    def __init__(self, size: int, threads: int) -> None:
        self.threads = threads
        self.events: queue.Queue[tuple[Worker, dict[str, Any] | None]] = queue.Queue()
        self.workers = [self.start() for _ in range(size)]

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.process.wait()

    def start(self) -> Worker:
        """Start a worker and a thread that forwards its events."""
        # The thread count must stand before torch is imported; results depend on it.
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(self.threads),
            "MKL_NUM_THREADS": str(self.threads),
        }
        # The same modules and plugins as here; without -P a file like ./queue.py would shadow the real one.
        environment["PYTHONPATH"] = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "divsal_bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # libraries warn there; what stops a run is in its record
            env=environment,
            text=True,
            encoding="utf-8",
        )
        worker = Worker(process)
        reader = threading.Thread(target=self.forward, args=(worker,), daemon=True)
        reader.start()
        threading.Thread(target=self.bury, args=(worker, reader), daemon=True).start()
        return worker

    def forward(self, worker: Worker) -> None:
        """Queue a worker's lines."""
        assert worker.process.stdout is not None
        try:
            for line in worker.process.stdout:
                self.events.put((worker, json.loads(line)))
        except ValueError:  # a line cut short: it died while writing, or can no longer be understood
            worker.process.kill()

    def bury(self, worker: Worker, reader: threading.Thread) -> None:
        """Queue None when a worker is gone, after its last line.

        The end of its pipe does not tell: a process that a plugin forked may hold it open.
        """
        worker.process.wait()
        reader.join(timeout=2)
        self.events.put((worker, None))

    def run(self, jobs: Sequence[work.Job], on_event: Callable[[Event], None]) -> list[Run]:
        """Work through the jobs."""
        waiting = deque(jobs)
        finished: list[Run] = []
        stillborn = 0
        while len(finished) < len(jobs):
            worker, event = self.events.get()
            job = worker.job
            if event is None:
                self.workers.remove(worker)
                stillborn = 0 if worker.ready else stillborn + 1
                if job is not None:
                    outcome = self.after_death(worker, job, waiting, on_event)
                    finished += [outcome] if outcome else []
                elif stillborn > STILLBORN:
                    raise UserError("worker processes die before their first run; try --workers 0 to see why")
                if waiting:
                    self.workers.append(self.start())
                continue
            if event["event"] == "epoch" and job is not None:
                on_event(Event("epoch", job, event["done"], event["total"]))
                continue
            if event["event"] == "stopped":
                raise UserError(event["error"])
            worker.ready = True
            if event["event"] == "finished" and job is not None:
                run = read_run(Path(event["path"]))
                finished.append(run)
                on_event(Event("finished", job, run=run))
            worker.job = waiting.popleft() if waiting else None
            if worker.job is not None:
                self.send(worker)
        return finished

    def send(self, worker: Worker) -> None:
        """Give a worker its job; one that died meanwhile is noticed by its forwarding thread."""
        assert worker.job is not None
        try:
            worker.stdin.write(json.dumps(worker.job.to_json()) + "\n")
            worker.stdin.flush()
        except OSError:
            pass

    def after_death(
        self, worker: Worker, job: work.Job, waiting: deque[work.Job], on_event: Callable[[Event], None]
    ) -> Run | None:
        """Queue the dead worker's run once more, or record it as failed."""
        existing = store.find(Path(job.out), job.spec)
        if existing is not None and existing.record.attempts == job.attempts and existing.record.status == "done":
            on_event(Event("finished", job, run=existing))
            return existing
        if job.attempts < ATTEMPTS:
            again = dataclasses.replace(job, attempts=job.attempts + 1)
            waiting.appendleft(again)
            on_event(Event("retry", again))
            return None
        code = worker.process.returncode
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        record = Record(
            run_id=job.spec.run_id,
            status="failed",
            method_label=job.label,
            method_kind=job.kind,
            spec=job.spec,
            data=job.data,
            error=f"its worker process died {ATTEMPTS} times ({how}); too little memory is the usual cause",
            attempts=job.attempts,
            device=job.device,
            versions=work.versions(),
            created=time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
        )
        run = read_run(store.save(Path(job.out), record))
        on_event(Event("finished", job, run=run))
        return run
