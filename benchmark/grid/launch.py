"""Jobs on their way through worker processes: what dies, stalls or runs out of memory is tried once more."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from divsal_bench.errors import UserError
from divsal_bench.files import whole
from divsal_bench.grid import recording
from divsal_bench.grid.events import Event, OnEvent
from divsal_bench.grid.jobs import Failure, Job
from divsal_bench.grid.to_do import ToDo
from divsal_bench.grid.trouble import MEMORY, Trouble, asked_from_outside, memory_ran_out, no_progress, sudden_death
from divsal_bench.processes.crew import Crew, Ended, Free, Told, Worker
from divsal_bench.processes.places import Place
from divsal_bench.processes.stopping import StopRequest
from divsal_bench.runs import store
from divsal_bench.runs.reading import Run, read_run

#: A run whose worker dies is tried once more; then it is recorded as failed.
ATTEMPTS = 2
#: Seconds between two looks at signals, at silent runs, and at runs that another launcher is making.
POLL = 0.5
#: Seconds without a sign of progress after which a run is taken to hang, unless somebody says otherwise.
STALL = 30 * 60.0
#: Seconds in which runs that are asked to stop do so; then their processes are ended.
PATIENCE = 60.0
#: Seconds between two looks by which this process itself was suspended (Ctrl-Z), its runs with it.
SUSPENDED = 10.0
#: Characters of what a run printed in the record of one that ends without a word; the rest is in a file beside it.
SHOWN_OUTPUT = 3000


class Launch:
    """Jobs on their way through a crew; a process that dies costs one run one retry.

    Args:
        stall: Seconds without a sign of progress after which a run's process is ended.
    """

    def __init__(self, jobs: Sequence[Job], on_event: OnEvent, stall: float = STALL) -> None:
        self.jobs = jobs
        self.on_event = on_event
        self.stall = stall
        self.to_do = ToDo(jobs)
        self.finished: list[Run] = []
        #: By run id: what is known for the record before the method's own code runs, and why there is no result.
        self.begun: dict[str, dict[str, Any]] = {}
        self.failures: dict[str, Failure] = {}
        #: By run id, of those that were stopped: the epoch that they go on in, 0 for none.
        self.interrupted: dict[str, int] = {}
        #: Run ids: ended because they made no progress; tried alone, now or before.
        self.stalled: set[str] = set()
        self.lonely: set[str] = set()
        #: By device: what waits to be tried there with nothing beside it.
        self.alone: dict[str, list[Job]] = {}
        self.request = StopRequest()
        self.said: set[str] = set()
        self.looked = time.monotonic()

    def run(self, places: Sequence[Place], request: StopRequest) -> list[Run]:
        """Work through the jobs, until a request to stop."""
        self.request = request
        crew = Crew(
            "divsal_bench.grid.worker",
            places,
            is_needed=lambda: not self.stopping and bool(self.to_do.waiting or any(self.alone.values())),
            as_json=Job.to_json,
            threads=int(self.jobs[0].spec.protocol_settings["threads"]),
            overhear=True,
        )
        with self.to_do, crew:
            while len(self.finished) < len(self.jobs):
                if self.stopping:
                    self.stop(crew)
                    break
                self.take(crew, crew.next(POLL))
                self.end_stalled(crew)
        return self.finished

    @property
    def stopping(self) -> bool:
        """Whether nothing more is begun."""
        return self.request.number != 0

    def stop(self, crew: Crew[Job]) -> None:
        """Ask all runs to stop, and wait for that as long as patience lasts."""
        busy = [worker for worker in crew.workers if worker.job is not None]
        self.on_event(Event("stopping", self.jobs[0], total=len(busy)))
        for worker in busy:
            crew.ask(worker)
        limit = time.monotonic() + PATIENCE
        while any(worker.job is not None for worker in crew.workers) and time.monotonic() < limit:
            self.take(crew, crew.next(POLL))

    def take(self, crew: Crew[Job], happened: Free[Job] | Told[Job] | Ended[Job] | None) -> None:
        """Take note of what happened, and hand out what can be begun."""
        if isinstance(happened, Told):
            self.hear(happened)
            return
        if isinstance(happened, Ended):
            self.bury(happened)
        if self.stopping:
            return
        if happened is None and crew.workers and len(crew.idle) == len(crew.workers) and self.to_do.waiting:
            self.say_once("waiting", len(self.to_do.waiting))
        for worker in crew.idle:
            self.give(crew, worker)

    def give(self, crew: Crew[Job], worker: Worker[Job]) -> None:
        """Hand a worker its next job, if there is one and nothing is in its way."""
        others = [one for one in crew.workers if one.place.device == worker.place.device and one.ready and not one.idle]
        alone = self.alone.get(worker.place.device)
        if alone:
            if not others:
                crew.give(worker, at_place(alone.pop(0), worker.place))
            return
        if any(one.job is not None and one.job.spec.run_id in self.lonely for one in others):
            return
        while (found := self.to_do.next()) is not None:
            job, run = found
            if run is None:
                crew.give(worker, at_place(job, worker.place))
                if self.to_do.elsewhere:
                    self.say_once("joined", len(self.to_do.elsewhere))
                return
            self.finish(job, run, elsewhere=True)

    def say_once(self, kind: Any, total: int) -> None:
        """Tell of other launchers."""
        if kind not in self.said:
            self.said.add(kind)
            self.on_event(Event(kind, self.to_do.waiting[0], total=total))

    def hear(self, told: Told[Job]) -> None:
        """Take note of what a run's process says."""
        job, content = told.job, told.content
        if told.event == "epoch":
            self.on_event(Event("epoch", job, content["done"], content["total"]))
        elif told.event == "begun":
            self.begun[job.spec.run_id] = content["facts"]
        elif told.event == "interrupted":  # what that means is known when its process has ended
            self.interrupted[job.spec.run_id] = content["epoch"]
        elif told.event == "notice":
            self.on_event(Event("notice", job, why=content["text"]))
        elif told.event == "failed":  # stored when its process has ended and all that it printed is there
            self.failures[job.spec.run_id] = Failure(**content)
        elif told.event == "finished":
            told.worker.job = None
            self.to_do.release(job)
            self.finish(job, self.read_back(job, time.perf_counter() - told.worker.begun))

    def end_stalled(self, crew: Crew[Job]) -> None:
        """End workers that have said nothing about their run for too long, and their run with them."""
        now = time.monotonic()
        paused, self.looked = now - self.looked, now
        for worker in crew.workers:
            if worker.job is None or worker.job.spec.run_id in self.stalled:
                continue
            if paused > SUSPENDED:
                worker.heard += paused
            if now - worker.heard > self.stall:
                self.stalled.add(worker.job.spec.run_id)
                worker.process.kill()

    def bury(self, ended: Ended[Job]) -> None:
        """A process ended without a result: record it; what may go better a second time is tried before that."""
        job, run_id = ended.job, ended.job.spec.run_id
        failure = self.failures.pop(run_id, None)
        run = made_before_death(job) if failure is None else None
        trouble = self.trouble(ended, failure)
        self.stalled.discard(run_id)
        if run is None and trouble is not None and self.stopping:
            self.to_do.release(job)
            if run_id in self.interrupted:
                self.on_event(Event("stopped", job, done=self.interrupted[run_id]))
            return
        self.interrupted.pop(run_id, None)
        if run is None and trouble is not None and self.again(ended, trouble):
            return
        if run is None:
            failure = self.without_result(ended, failure, trouble)
            run = read_run(recording.keep_failure(job, failure, ended.printed))
        self.to_do.release(job)
        self.finish(job, run)

    def trouble(self, ended: Ended[Job], failure: Failure | None) -> Trouble | None:
        """Why a run has no result, if that may be no fault of its own."""
        run_id = ended.job.spec.run_id
        if failure is not None:
            return MEMORY if memory_ran_out(failure.error) else None
        if run_id in self.stalled:
            return no_progress(self.stall)
        if run_id in self.interrupted:
            return asked_from_outside()
        return sudden_death(ended)

    def again(self, ended: Ended[Job], trouble: Trouble) -> bool:
        """Try a run once more, where it was not yet."""
        job = ended.job
        alone = trouble.of_memory and job.spec.run_id not in self.lonely
        if not alone and (trouble.of_memory or job.attempts >= ATTEMPTS):
            return False
        next_try = dataclasses.replace(job, attempts=job.attempts + 1)
        if alone:
            self.lonely.add(job.spec.run_id)
            self.alone.setdefault(ended.place.device, []).append(next_try)
        else:
            self.to_do.again(next_try)
        where = f", alone{' on ' * bool(ended.place.device)}{ended.place.device}" if alone else ""
        self.on_event(Event("retry", next_try, why=f"{trouble.words}; trying that run once more{where}"))
        return True

    def without_result(self, ended: Ended[Job], failure: Failure | None, trouble: Trouble | None) -> Failure:
        """Why there is no result of a job, for its record."""
        lonely = ", the last time with nothing beside it" if ended.job.spec.run_id in self.lonely else ""
        if failure is None:
            assert trouble is not None
            notices = [f"the last it printed:\n{ended.printed[-SHOWN_OUTPUT:]}"] if ended.printed else []
            facts = {"peak_mb": 0.0, **self.begun.get(ended.job.spec.run_id, {}), "notices": notices}
            error = trouble.error.replace("{times}", str(ended.job.attempts)) + lonely
            failure = Failure("failed", error, ended.seconds, facts)
        elif trouble is not None:
            times = f"out of memory {ended.job.attempts} times{lonely}"
            failure = dataclasses.replace(failure, error=f"{times}: {failure.error}")
        failure.facts["peak_mb"] = max(ended.peak_mb, failure.facts["peak_mb"])
        return failure

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


def at_place(job: Job, place: Place) -> Job:
    """A job that knows where it is done, for its record."""
    return dataclasses.replace(job, place=place.name)


def made_before_death(job: Job) -> Run | None:
    """The run of a process that died after it had saved it."""
    run = store.find_run(Path(job.out), job.spec)
    return run if run is not None and run.record.attempts == job.attempts and run.record.status == "done" else None
