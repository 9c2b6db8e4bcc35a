"""Audits of many runs on several processes. Each audit runs on one thread, so that its numbers depend on neither."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from divsal_bench.errors import UserError
from divsal_bench.files import whole
from divsal_bench.networks import devices
from divsal_bench.processes.crew import Crew, Ended, Free, Told
from divsal_bench.processes.places import anywhere
from divsal_bench.runs.audit_record import Audit, AuditSettings, audit_file
from divsal_bench.runs.reading import Run, read_run

#: What each worker process runs.
WORKER = "divsal_bench.auditing.worker"
#: Told the position of a job, its audit as soon as it is there, and why it could not be kept ("" if it was).
OnDone = Callable[[int, Audit, str], None]


@dataclass(frozen=True)
class AuditJob:
    """One run to audit.

    Attributes:
        cache: Folder of its decoded data (``DataArrays.path``).
        keep: Write the audit beside the run.
    """

    path: Path
    cache: Path
    settings: AuditSettings
    keep: bool

    def to_json(self) -> dict[str, Any]:
        """For the pipe to a worker."""
        settings = self.settings.model_dump(mode="json")
        return {"path": str(self.path), "cache": str(self.cache), "settings": settings, "keep": self.keep}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> AuditJob:
        """From the pipe."""
        path, cache = Path(content["path"]), Path(content["cache"])
        return cls(path, cache, AuditSettings(**content["settings"]), content["keep"])


def audit_jobs(jobs: Sequence[AuditJob], workers: int, on_done: OnDone = lambda *_: None) -> list[Audit]:
    """Audit runs.

    Args:
        workers: Processes; 0 or 1 stays in this one.
        on_done: Called in the order in which they finish.

    Returns:
        One for each job, in their order.

    Raises:
        UserError: A run cannot be audited, or a process died.
        KeyboardInterrupt: Handed on after the processes are stopped; what was finished is kept.
    """
    found: dict[int, Audit] = {}

    def take(position: int, audit: Audit, lost: str) -> None:
        found[position] = audit
        on_done(position, audit, lost)

    if min(workers, len(jobs)) <= 1:
        for position, job in enumerate(jobs):
            take(position, *audit_one(job))
    else:
        for position, content in audited_elsewhere(jobs, min(workers, len(jobs))):
            take(position, Audit.model_validate(content["audit"]), content["lost"])
    return [found[position] for position in range(len(jobs))]


def audited_elsewhere(jobs: Sequence[AuditJob], workers: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Position and outcome of each job as soon as a worker process has it."""
    waiting = deque(range(len(jobs)))
    left = len(jobs)
    crew: Crew[int] = Crew(WORKER, anywhere(workers), lambda: bool(waiting), lambda position: jobs[position].to_json())
    with crew:
        while left:
            happened = crew.next()
            if isinstance(happened, Free) and waiting:
                crew.give(happened.worker, waiting.popleft())
            elif isinstance(happened, Told):
                if happened.event == "broke":
                    raise RuntimeError(f"in a worker process:\n{happened.content['trace']}")
                happened.worker.job = None
                left -= 1
                yield happened.job, happened.content
            elif isinstance(happened, Ended):
                raise UserError(
                    "a worker process died in the middle of an audit; too little memory is the usual cause, give fewer "
                    "--workers or --images"
                )


def audit_one(job: AuditJob) -> tuple[Audit, str]:
    """Audit one run and keep the result beside it; also say why it could not be kept, "" where it was."""
    devices.prepare_environment()

    from divsal_bench.auditing.one_run import audit_run
    from divsal_bench.data.arrays import open_cached
    from divsal_bench.networks.trained import load_model

    devices.make_deterministic(threads=1)
    run = read_run(job.path)
    found = audit_run(run, load_model(run), open_cached(job.cache), job.settings)
    return found, keep_audit(run, found) if job.keep else ""


def keep_audit(run: Run, audit: Audit) -> str:
    """Write an audit beside its run, whole or not at all; return why that failed, "" if it did not."""
    text = json.dumps(audit.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"
    try:
        whole.write(audit_file(run, audit.settings), text.encode())
    except UserError as error:
        return str(error)
    return ""
