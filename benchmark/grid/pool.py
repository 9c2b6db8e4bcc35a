"""Processes that do the work of a grid."""

from __future__ import annotations

import dataclasses
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

from divsal_bench.errors import UserError
from divsal_bench.files import whole
from divsal_bench.grid import work
from divsal_bench.grid.planning import KEPT_OUTPUT, SHOWN_OUTPUT
from divsal_bench.networks import devices
from divsal_bench.registry import method_source, plugins
from divsal_bench.runs import locks, store
from divsal_bench.runs.messages import LONGEST_ERROR
from divsal_bench.runs.reading import Run, read_run

#: A run whose worker dies is tried once more; then it is recorded as failed.
ATTEMPTS = 2


#: Workers in a row that may die before they take a job.
STILLBORN = 5


#: Seconds between two looks at runs that another launcher is making.
POLL = 0.5


#: Noted in runs that had no process of their own.
SHARED = (
    "made in one process with other runs (--workers 0): their methods may have changed its numbers; take --workers 1 "
    "for results"
)


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
    store.prepare_folder(Path(jobs[0].out))
    if workers == 0:
        devices.prepare_environment()
        return run_here(jobs, on_event)
    with Pool(min(workers, len(jobs)), threads=int(jobs[0].spec.protocol_settings["threads"])) as pool:
        return pool.run(jobs, on_event)


class ToDo:
    """Jobs that are not begun. Each is claimed before it is handed out, so that launchers divide the work."""

    def __init__(self, jobs: Sequence[work.Job]) -> None:
        self.waiting = deque(jobs)
        self.claims: dict[str, locks.RunLock] = {}

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
            claim = locks.lock_run(out, run_id)
            if claim is None:
                self.waiting.append(job)
                continue
            self.claims[run_id] = claim
            run = store.find_run(out, job.spec)
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
    run = store.find_run(Path(job.out), job.spec)
    return run if run is not None and run.record.attempts == job.attempts and run.record.status == "done" else None


def read_back(job: work.Job, begun: float) -> Run:
    """The run that a process says it has saved; what cannot be read is recorded as failed."""
    try:
        return read_run(store.run_path(Path(job.out), job.spec))
    except UserError as error:
        whole.remove(store.run_path(Path(job.out), job.spec))
        return save_death(job, f"what it saved cannot be read: {error}"[:LONGEST_ERROR], "", begun, 0.0)


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
        "method_source": method_source.source_hash(plugins.methods().get(job.spec.method)),
        "notices": [f"the last it printed:\n{output}"] if output else [],
    }
    return read_run(work.save_without_model(job, "failed", error, started, facts))
