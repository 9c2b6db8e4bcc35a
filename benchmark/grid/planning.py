"""Plan a grid of runs, and run what is missing with a pool of worker processes."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from divsal_bench.contracts.adapter import SourceTerms
from divsal_bench.contracts.task import Task
from divsal_bench.data.arrays import DataArrays
from divsal_bench.data.catalogue import DataSource
from divsal_bench.data.reading import window_of
from divsal_bench.errors import UserError
from divsal_bench.grid import work
from divsal_bench.networks import devices
from divsal_bench.networks.backbones import Head
from divsal_bench.registry import plugins, protocols
from divsal_bench.registry.method_choice import MethodChoice
from divsal_bench.registry.protocols import Protocol
from divsal_bench.runs import store
from divsal_bench.runs.records import DataFacts, Run, Spec, check_content, read_run
from divsal_bench.scores import conditions

#: A run whose worker dies is tried once more; then it is recorded as failed.
ATTEMPTS = 2
#: Workers in a row that may die before they take a job.
STILLBORN = 5
#: Seconds between two looks at runs that another launcher is making.
POLL = 0.5
#: Bytes kept of what a run prints, and characters of them in the record of one that ends without a word.
KEPT_OUTPUT, SHOWN_OUTPUT = 2**15, 3000
#: Noted in runs that had no process of their own.
SHARED = (
    "made in one process with other runs (--workers 0): their methods may have changed its numbers; take --workers 1 "
    "for results"
)


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
        kind: ``epoch`` (done of total), ``finished`` (with its run), ``retry`` (its process died) or ``waiting``
            (nothing is left but ``total`` runs that other launchers are making).
        elsewhere: Another launcher made the run.
    """

    kind: Literal["epoch", "finished", "retry", "waiting"]
    job: work.Job
    done: int = 0
    total: int = 0
    run: Run | None = None
    elsewhere: bool = False


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
    from divsal_bench.networks import backbones

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
            check_record(spec, choice.label, facts)
            jobs.append(
                work.Job(
                    spec=spec,
                    label=choice.label,
                    kind=method.kind,
                    cache=str(arrays.path),
                    data=facts,
                    out=str(grid.out.absolute()),
                    device=grid.device,
                    task_from=plugins.tasks().origin.get(task.name, ""),
                    method_from=plugins.methods().origin.get(choice.name, ""),
                    replaces=run.record.created if run is not None else "",
                )
            )
    notices = tuple(filter(None, (source.notice, *arrays.notices, *warnings(grid, done, facts))))
    return TaskPlan(task, source, arrays, tuple(done), tuple(jobs), notices)


def warnings(grid: Grid, done: Sequence[Run], facts: DataFacts) -> list[str]:
    """What would make a table say something else than its reader thinks."""
    found = []
    methods = plugins.methods()
    made_by = {(run.spec.method, run.record.method_source) for run in done}
    stale = {name for name, source in made_by if plugins.has_changed(methods.get(name), source)}
    if stale:
        found.append(
            f"the code of {', '.join(sorted(stale))} has changed since these runs were made; raise its `version` to "
            "run it again"
        )
    guided = [c.label for c in grid.methods if plugins.methods().get(c.name).kind != "unguided"]
    if guided and not facts.train_maps:
        found.append(f"no training image has a human map: {', '.join(guided)} have nothing to be guided by")
    return found


def check_record(spec: Spec, label: str, data: DataFacts) -> None:
    """Refuse a run whose record could not be read back, before any work."""
    content = {"method_label": label, "spec": spec.model_dump(mode="json"), "data": data.model_dump(mode="json")}
    try:
        check_content(content)
    except ValueError as error:
        raise UserError(
            f"a run of {label} on {spec.data} could not be read back ({error}); shorten that name or field"
        ) from None


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
        return run_here(jobs, on_event)
    with Pool(min(workers, len(jobs)), threads=int(jobs[0].spec.protocol_settings["threads"])) as pool:
        return pool.run(jobs, on_event)


class ToDo:
    """Jobs that are not begun. Each is claimed before it is handed out, so that launchers divide the work."""

    def __init__(self, jobs: Sequence[work.Job]) -> None:
        self.waiting = deque(jobs)
        self.claims: dict[str, store.Claim] = {}

    def __enter__(self) -> ToDo:
        return self

    def __exit__(self, *_: object) -> None:
        for claim in self.claims.values():
            claim.release()

    def next(self) -> tuple[work.Job, Run | None] | None:
        """A job to run, or with its run if another launcher made it; None if others are making all that is left."""
        for _ in range(len(self.waiting)):
            job = self.waiting.popleft()
            run_id, out = job.spec.run_id, Path(job.out)
            if run_id in self.claims:
                return job, None
            claim = store.claim(out, run_id)
            if claim is None:
                self.waiting.append(job)
                continue
            self.claims[run_id] = claim
            run = store.find(out, job.spec)
            if run is None or (run.record.status != "done" and run.record.created == job.replaces):
                return job, None
            self.release(job)
            return job, run
        return None

    def again(self, job: work.Job) -> None:
        """Hand a job out once more, before all others; it stays claimed."""
        self.waiting.appendleft(job)

    def release(self, job: work.Job) -> None:
        """Let go of a job that has its run."""
        self.claims.pop(job.spec.run_id).release()


def run_here(jobs: Sequence[work.Job], on_event: Callable[[Event], None]) -> list[Run]:
    """Run jobs one after another in this process."""
    finished: list[Run] = []
    made, said = 0, False
    with ToDo(jobs) as to_do:
        while len(finished) < len(jobs):
            found = to_do.next()
            if found is None:
                if not said:
                    on_event(Event("waiting", to_do.waiting[0], total=len(to_do.waiting)))
                said = True
                time.sleep(POLL)
                continue
            job, run = found
            elsewhere = run is not None
            if run is None:
                run = read_run(work.execute(job, epochs_of(job, on_event), [SHARED] if made else []))
                to_do.release(job)
                made += 1
            finished.append(run)
            on_event(Event("finished", job, run=run, elsewhere=elsewhere))
    return finished


def epochs_of(job: work.Job, on_event: Callable[[Event], None]) -> Callable[[int, int], None]:
    """Forward a job's epochs as events."""
    return lambda done, total: on_event(Event("epoch", job, done, total))


@dataclass(eq=False)
class Worker:
    """One worker process.

    Attributes:
        job: What it is on.
        begun: When it was given that, by :func:`time.monotonic`.
        ready: It has imported all it needs.
        idle: It could take a job.
        output: The last bytes of what the job printed.
    """

    process: subprocess.Popen[str]
    job: work.Job | None = None
    begun: float = 0.0
    ready: bool = False
    idle: bool = False
    output: bytes = b""

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
            [sys.executable, "-P", "-m", "divsal_bench.grid.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
            encoding="utf-8",
        )
        worker = Worker(process)
        reader = threading.Thread(target=self.forward, args=(worker,), daemon=True)
        reader.start()
        threading.Thread(target=self.overhear, args=(worker,), daemon=True).start()
        threading.Thread(target=self.bury, args=(worker, reader), daemon=True).start()
        return worker

    def overhear(self, worker: Worker) -> None:
        """Keep the end of what a worker prints: libraries warn there, and a crash leaves its place."""
        assert worker.process.stderr is not None
        while read := os.read(worker.process.stderr.fileno(), 2**16):
            worker.output = (worker.output + read)[-KEPT_OUTPUT:]

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
        finished: list[Run] = []
        stillborn = 0
        said = False

        def finish(job: work.Job, run: Run, elsewhere: bool = False) -> None:
            finished.append(run)
            on_event(Event("finished", job, run=run, elsewhere=elsewhere))

        def bury(worker: Worker, code: int, peak_mb: float) -> None:
            """A process died over its job: once more, or recorded as failed."""
            job, worker.job = worker.job, None
            assert job is not None
            run = made_before_death(job)
            if run is None and job.attempts < ATTEMPTS:
                again = dataclasses.replace(job, attempts=job.attempts + 1)
                to_do.again(again)
                on_event(Event("retry", again))
                return
            run = run or save_death(job, death_of(worker, code), output_of(worker), worker.begun, peak_mb)
            to_do.release(job)
            finish(job, run)

        def give(worker: Worker) -> None:
            """Hand a worker its next job, if there is one."""
            worker.idle = True
            while (found := to_do.next()) is not None:
                job, run = found
                if run is None:
                    worker.job, worker.idle = job, False
                    self.send(worker)
                    return
                finish(job, run, elsewhere=True)

        with ToDo(jobs) as to_do:
            while len(finished) < len(jobs):
                idle = [worker for worker in self.workers if worker.idle]
                try:
                    worker, event = self.events.get(timeout=POLL if idle and to_do.waiting else None)
                except queue.Empty:
                    if len(idle) == len(self.workers) and not said:
                        on_event(Event("waiting", to_do.waiting[0], total=len(to_do.waiting)))
                        said = True
                    for worker in idle:
                        give(worker)
                    continue
                job = worker.job
                if event is None:
                    self.workers.remove(worker)
                    stillborn = 0 if worker.ready else stillborn + 1
                    if job is not None:
                        bury(worker, worker.process.returncode, 0.0)
                    elif stillborn > STILLBORN:
                        raise UserError("worker processes die before their first run; try --workers 0 to see why")
                    if to_do.waiting:
                        self.workers.append(self.start())
                elif event["event"] == "ready":
                    worker.ready = True
                    give(worker)
                elif event["event"] == "stopped":
                    raise UserError(event["error"])
                elif event["event"] == "ended":
                    if job is not None:
                        bury(worker, event["code"], event["peak_mb"])
                    give(worker)
                elif job is None:
                    continue
                elif event["event"] == "epoch":
                    on_event(Event("epoch", job, event["done"], event["total"]))
                elif event["event"] == "finished":
                    run = read_back(job, worker.begun)
                    worker.job = None
                    to_do.release(job)
                    finish(job, run)
        return finished

    def send(self, worker: Worker) -> None:
        """Give a worker its job; one that died meanwhile is noticed by its forwarding thread."""
        assert worker.job is not None
        worker.begun, worker.output = time.monotonic(), b""
        try:
            worker.stdin.write(json.dumps(worker.job.to_json()) + "\n")
            worker.stdin.flush()
        except OSError:
            pass


def made_before_death(job: work.Job) -> Run | None:
    """The run of a process that died after it had saved it."""
    run = store.find(Path(job.out), job.spec)
    return run if run is not None and run.record.attempts == job.attempts and run.record.status == "done" else None


def read_back(job: work.Job, begun: float) -> Run:
    """The run that a process says it has saved; what cannot be read is recorded as failed."""
    try:
        return read_run(store.run_path(Path(job.out), job.spec))
    except UserError as error:
        store.remove(store.run_path(Path(job.out), job.spec))
        return save_death(job, f"what it saved cannot be read: {error}"[: work.LONGEST_ERROR], "", begun, 0.0)


def death_of(worker: Worker, code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        how = f"exit code {code}; the method, or a library it calls, ends the program"
    else:
        try:
            how = signal.Signals(-code).name
        except ValueError:
            how = f"signal {-code}"
        if how == "SIGKILL":
            how += "; too little memory is the usual cause"
    return f"its process died {ATTEMPTS} times ({how})"


def output_of(worker: Worker) -> str:
    """The last lines that a process printed before it died."""
    time.sleep(0.1)  # they may still be on their way
    lines = worker.output.decode("utf-8", errors="replace").splitlines()
    # Hundreds of names, none of which says where it crashed.
    return "\n".join(line for line in lines if not line.startswith("Extension modules:")).strip()[-SHOWN_OUTPUT:]


def save_death(job: work.Job, error: str, output: str, begun: float, peak_mb: float) -> Run:
    """Record a run whose process left nothing."""
    started = time.perf_counter() - (time.monotonic() - begun)
    facts = {
        "device": job.device,
        "attempts": job.attempts,
        "peak_mb": peak_mb,
        "method_source": plugins.source_hash(plugins.methods().get(job.spec.method)),
        "notices": [f"the last it printed:\n{output}"] if output else [],
    }
    return read_run(work.save_without_model(job, "failed", error, started, facts))
