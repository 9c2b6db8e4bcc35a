"""The jobs of a grid that are not begun, divided among all launchers on one output folder."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

from divsal_bench.files.locks import FileLock
from divsal_bench.grid.jobs import Job
from divsal_bench.runs import locks, store
from divsal_bench.runs.reading import Run


class ToDo:
    """Jobs that are not begun. Each is claimed before it is handed out, so that launchers divide the work.

    Attributes:
        elsewhere: Run ids that other launchers were making when they were last looked at.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.waiting = deque(jobs)
        self.claims: dict[str, FileLock] = {}
        self.elsewhere: set[str] = set()

    def __enter__(self) -> ToDo:
        return self

    def __exit__(self, *_: object) -> None:
        for claim in self.claims.values():
            claim.release()

    def next(self) -> tuple[Job, Run | None] | None:
        """A job to run, or with its run if another launcher made it; None if others are making all that is left."""
        for _ in range(len(self.waiting)):
            job = self.waiting.popleft()
            run_id, out = job.spec.run_id, Path(job.out)
            if run_id in self.claims:
                return job, None
            claim = locks.lock_run(out, run_id)
            if claim is None:
                self.waiting.append(job)
                self.elsewhere.add(run_id)
                continue
            self.claims[run_id] = claim
            self.elsewhere.discard(run_id)
            run = store.find_run(out, job.spec)
            if run is None or (run.record.status != "done" and run.record.created == job.replaces):
                return job, None
            self.release(job)
            return job, run
        return None

    def again(self, job: Job) -> None:
        """Hand a job out once more, before all others; it stays claimed."""
        self.waiting.appendleft(job)

    def release(self, job: Job) -> None:
        """Let go of a job that has its run."""
        self.claims.pop(job.spec.run_id).release()
