"""Which launcher makes a run: several on one output folder divide the work."""

from __future__ import annotations

from pathlib import Path

from divsal_bench.errors import UserError
from divsal_bench.files.locks import FileLock, is_locked, lock_file
from divsal_bench.runs.names import ASIDE

#: How the name of the file begins that a launcher holds locked while it makes a run.
LOCKED = "claim-"


def lock_run(out: Path, run_id: str) -> FileLock | None:
    """Lock a run, so that several launchers on one output folder divide the work; None while another holds it.

    The system takes a lock back from a process that dies. Where a folder knows none, everybody gets every one: work is
    then done twice, and the results are right.

    Args:
        out: The output folder, prepared.
    """
    try:
        return lock_file(out / ASIDE / f"{LOCKED}{run_id}")
    except OSError as error:
        raise UserError(
            f"output folder {out} cannot be written ({error.strerror or error}); choose another with --out"
        ) from error


def is_being_made(out: Path, run_id: str) -> bool:
    """Whether a launcher of this machine is making a run; nothing is locked or made by asking."""
    return is_locked(out / ASIDE / f"{LOCKED}{run_id}")
