"""Audits of many runs on several processes. Each audit runs on one thread, so that its numbers depend on neither."""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from divsal_bench.errors import UserError
from divsal_bench.files import whole
from divsal_bench.files.owners import end_with_parent
from divsal_bench.networks import devices
from divsal_bench.runs.audit_record import Audit, AuditSettings, audit_file
from divsal_bench.runs.reading import Run, read_run

#: Told the position of a job, its audit as soon as it is there, and why it could not be kept ("" if it was).
OnDone = Callable[[int, Audit, str], None]


@dataclass(frozen=True)
class AuditJob:
    """One run to audit.

    Attributes:
        path: The run directory.
        cache: Folder of its decoded data (``DataArrays.path``).
        keep: Write the audit beside the run.
    """

    path: Path
    cache: Path
    settings: AuditSettings
    keep: bool


def execute(jobs: Sequence[AuditJob], workers: int, on_done: OnDone = lambda *_: None) -> list[Audit]:
    """Audit runs.

    Args:
        jobs: Any number.
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
        with processes(min(workers, len(jobs))) as pool:
            positions = {pool.submit(audit_one, job): position for position, job in enumerate(jobs)}
            try:
                for done in as_completed(positions):
                    take(positions[done], *done.result())
            except BrokenProcessPool:
                raise UserError(
                    "a worker process died in the middle of an audit; too little memory is the usual cause, give fewer "
                    "--workers or --images"
                ) from None
    return [found[position] for position in range(len(jobs))]


@contextmanager
def processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """A pool that leaves no process behind, whatever ends it."""
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=prepare)
    try:
        yield pool
    except BaseException:
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def prepare() -> None:
    """Leave Ctrl-C to the parent, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def audit_one(job: AuditJob) -> tuple[Audit, str]:
    """Audit one run and keep the result beside it; also say why it could not be kept, "" where it was."""
    devices.prepare_environment()

    from divsal_bench.audit.one_run import audit
    from divsal_bench.data.arrays import open_cached
    from divsal_bench.networks.trained import load_model

    devices.make_deterministic(threads=1)
    run = read_run(job.path)
    found = audit(run, load_model(run), open_cached(job.cache), job.settings)
    return found, keep_audit(run, found) if job.keep else ""


def keep_audit(run: Run, audit: Audit) -> str:
    """Write an audit beside its run, whole or not at all.

    Returns:
        Why it could not be written, "" if it was; the audit is as good, only not kept.
    """
    text = json.dumps(audit.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"
    try:
        whole.write(audit_file(run, audit.settings), text.encode())
    except UserError as error:
        return str(error)
    return ""
