"""Run the jobs of a grid, in worker processes or in this one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from divsal_bench.errors import StoppedError, UserError
from divsal_bench.grid import work
from divsal_bench.grid.events import Event, OnEvent
from divsal_bench.grid.jobs import Job, Watch
from divsal_bench.grid.launch import POLL, STALL, Launch
from divsal_bench.grid.to_do import ToDo
from divsal_bench.networks import devices
from divsal_bench.networks.accelerators import places_for_workers
from divsal_bench.processes.places import Place
from divsal_bench.processes.stopping import StopRequest
from divsal_bench.runs import store
from divsal_bench.runs.reading import Run, read_run

#: Noted in runs that had no process of their own.
SHARED = (
    "made in one process with other runs (--workers 0): their methods may have changed its numbers; take --workers 1 "
    "for results"
)


def run_jobs(
    jobs: Sequence[Job],
    workers: int | Sequence[Place],
    on_event: OnEvent = lambda event: None,
    stall: float = STALL,
) -> list[Run]:
    """Run jobs and return their runs, in the order they finished.

    A signal that asks to stop (SIGINT, SIGTERM, SIGHUP) is handed on to the runs, which save their state; then it does
    what it would have done without. A second one does so at once.

    Args:
        workers: Processes, or their places; 0 runs in this process.
        on_event: Told of every epoch, finished run and retry.
        stall: Seconds without a sign of progress after which a run's process is ended; not in this process.

    Raises:
        UserError: A result cannot be written (disk full, say).
        KeyboardInterrupt: Handed on after the workers are stopped; finished runs are safe.
    """
    if isinstance(workers, int) and workers < 0:
        raise UserError(f"workers must be 0 or more, not {workers}")
    if not jobs:
        return []
    store.prepare_folder(Path(jobs[0].out))
    on_event(Event("begun", jobs[0], total=len(jobs)))
    with StopRequest() as request:
        if workers == 0:
            devices.prepare_environment()
            finished = run_here(jobs, on_event, request)
        else:
            count = min(workers, len(jobs)) if isinstance(workers, int) else workers
            places = places_for_workers(count, jobs[0].device, int(jobs[0].spec.protocol_settings["threads"]))
            finished = Launch(jobs, on_event, stall).run(places[: len(jobs)], request)
    if request.number:
        request.obey()
    return finished


def run_here(jobs: Sequence[Job], on_event: OnEvent, request: StopRequest) -> list[Run]:
    """Run jobs one after another in this process, until a request to stop."""
    finished: list[Run] = []
    made, said = 0, False
    with ToDo(jobs) as to_do:
        while len(finished) < len(jobs) and not request.number:
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
                watch = watch_of(job, on_event, request)
                try:
                    run = read_run(work.execute(job, watch, [SHARED] if made else []))
                except StoppedError as stopped:
                    on_event(Event("stopped", job, done=stopped.epoch))
                    break
                to_do.release(job)
                made += 1
            finished.append(run)
            on_event(Event("finished", job, run=run, elsewhere=elsewhere))
    return finished


def watch_of(job: Job, on_event: OnEvent, request: StopRequest) -> Watch:
    """Forward what a job says as events, and the request to stop to the job."""
    return Watch(
        on_epoch=lambda done, total: on_event(Event("epoch", job, done, total)),
        on_notice=lambda text: on_event(Event("notice", job, why=text)),
        should_stop=lambda: request.number != 0,
    )
