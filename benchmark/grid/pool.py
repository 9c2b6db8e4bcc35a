"""Run the jobs of a grid, in worker processes or in this one."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from divsal_bench.errors import UserError
from divsal_bench.files import whole
from divsal_bench.grid import recording, work
from divsal_bench.grid.jobs import Failure, Job, Watch
from divsal_bench.grid.to_do import ToDo
from divsal_bench.networks import devices
from divsal_bench.processes.crew import Crew, Ended, Free, Told, Worker
from divsal_bench.runs import store
from divsal_bench.runs.reading import Run, read_run

#: A run whose worker dies is tried once more; then it is recorded as failed.
ATTEMPTS = 2
#: Seconds between two looks at runs that another launcher is making.
POLL = 0.5
#: Characters of what a run printed in the record of one that ends without a word; the rest is in a file beside it.
SHOWN_OUTPUT = 3000
#: Noted in runs that had no process of their own.
SHARED = (
    "made in one process with other runs (--workers 0): their methods may have changed its numbers; take --workers 1 "
    "for results"
)


@dataclass(frozen=True)
class Event:
    """What happened to a run.

    Attributes:
        kind: ``begun`` (all ``total`` runs, before the first event), ``epoch`` (done of total), ``finished`` (with its
            run), ``retry`` (its process died) or ``waiting`` (nothing is left but ``total`` runs that other launchers
            are making).
        elsewhere: Another launcher made the run.
    """

    kind: Literal["begun", "epoch", "finished", "retry", "waiting"]
    job: Job
    done: int = 0
    total: int = 0
    run: Run | None = None
    elsewhere: bool = False


#: Told of what happens to the runs, the first of it ``begun``.
OnEvent = Callable[[Event], None]


def run_jobs(jobs: Sequence[Job], workers: int, on_event: OnEvent = lambda event: None) -> list[Run]:
    """Run jobs and return their runs, in the order they finished.

    Args:
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
    on_event(Event("begun", jobs[0], total=len(jobs)))
    if workers == 0:
        devices.prepare_environment()
        return run_here(jobs, on_event)
    return Launch(jobs, on_event).run(min(workers, len(jobs)))


def run_here(jobs: Sequence[Job], on_event: OnEvent) -> list[Run]:
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
                run = read_run(work.execute(job, Watch(on_epoch=epochs_of(job, on_event)), [SHARED] if made else []))
                to_do.release(job)
                made += 1
            finished.append(run)
            on_event(Event("finished", job, run=run, elsewhere=elsewhere))
    return finished


def epochs_of(job: Job, on_event: OnEvent) -> Callable[[int, int], None]:
    """Forward a job's epochs as events."""
    return lambda done, total: on_event(Event("epoch", job, done, total))


class Launch:
    """Jobs on their way through a crew; a process that dies costs one run one retry."""

    def __init__(self, jobs: Sequence[Job], on_event: OnEvent) -> None:
        self.jobs = jobs
        self.on_event = on_event
        self.to_do = ToDo(jobs)
        self.finished: list[Run] = []
        #: By run id: what is known for the record before the method's own code runs, and why there is no result.
        self.begun: dict[str, dict[str, Any]] = {}
        self.failures: dict[str, Failure] = {}

    def run(self, workers: int) -> list[Run]:
        """Work through the jobs."""
        said = False
        crew = Crew(
            "divsal_bench.grid.worker",
            workers,
            is_needed=lambda: bool(self.to_do.waiting),
            as_json=Job.to_json,
            threads=int(self.jobs[0].spec.protocol_settings["threads"]),
            overhear=True,
        )
        with self.to_do, crew:
            while len(self.finished) < len(self.jobs):
                happened = crew.next(POLL if crew.idle and self.to_do.waiting else None)
                if isinstance(happened, Free):
                    self.give(crew, happened.worker)
                elif isinstance(happened, Told):
                    self.hear(happened)
                elif isinstance(happened, Ended):
                    self.bury(happened)
                else:
                    if len(crew.idle) == len(crew.workers) and not said:
                        self.on_event(Event("waiting", self.to_do.waiting[0], total=len(self.to_do.waiting)))
                        said = True
                    for worker in crew.idle:
                        self.give(crew, worker)
        return self.finished

    def give(self, crew: Crew[Job], worker: Worker[Job]) -> None:
        """Hand a worker its next job, if there is one."""
        while (found := self.to_do.next()) is not None:
            job, run = found
            if run is None:
                crew.give(worker, job)
                return
            self.finish(job, run, elsewhere=True)

    def hear(self, told: Told[Job]) -> None:
        """Take note of what a run's process says."""
        job, content = told.job, told.content
        if told.event == "epoch":
            self.on_event(Event("epoch", job, content["done"], content["total"]))
        elif told.event == "begun":
            self.begun[job.spec.run_id] = content["facts"]
        elif told.event == "failed":  # stored when its process has ended and all that it printed is there
            self.failures[job.spec.run_id] = Failure(**content)
        elif told.event == "finished":
            told.worker.job = None
            self.to_do.release(job)
            self.finish(job, self.read_back(job, time.perf_counter() - told.worker.begun))

    def bury(self, ended: Ended[Job]) -> None:
        """A process ended without a result: record it; one that died is tried once more before that."""
        job = ended.job
        failure = self.failures.pop(job.spec.run_id, None)
        run = made_before_death(job) if failure is None else None
        if failure is None and run is None and job.attempts < ATTEMPTS:
            again = dataclasses.replace(job, attempts=job.attempts + 1)
            self.to_do.again(again)
            self.on_event(Event("retry", again))
            return
        if run is None:
            failure = failure or self.death(job, ended)
            failure.facts["peak_mb"] = max(ended.peak_mb, failure.facts["peak_mb"])
            run = read_run(recording.keep_failure(job, failure, ended.printed))
        self.to_do.release(job)
        self.finish(job, run)

    def death(self, job: Job, ended: Ended[Job]) -> Failure:
        """Why there is no result of a job whose process died over it."""
        notices = [f"the last it printed:\n{ended.printed[-SHOWN_OUTPUT:]}"] if ended.printed else []
        facts = {"peak_mb": 0.0, **self.begun.get(job.spec.run_id, {}), "notices": notices}
        return Failure("failed", f"its process died {ATTEMPTS} times ({ended.how})", ended.seconds, facts)

    def read_back(self, job: Job, seconds: float) -> Run:
        """The run that a process says it has saved; what cannot be read is recorded as failed."""
        path = store.run_path(Path(job.out), job.spec)
        try:
            return read_run(path)
        except UserError as error:
            whole.remove(path)
            reason = f"what it saved cannot be read: {error}"
            facts = {**self.begun.get(job.spec.run_id, {}), "notices": []}
            return read_run(recording.keep_failure(job, Failure("failed", reason, seconds, facts)))

    def finish(self, job: Job, run: Run, elsewhere: bool = False) -> None:
        """A job has its run."""
        self.finished.append(run)
        self.on_event(Event("finished", job, run=run, elsewhere=elsewhere))


def made_before_death(job: Job) -> Run | None:
    """The run of a process that died after it had saved it."""
    run = store.find_run(Path(job.out), job.spec)
    return run if run is not None and run.record.attempts == job.attempts and run.record.status == "done" else None
