"""Which launcher makes a run: several on one output folder divide the work."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from divsal_bench.errors import UserError
from divsal_bench.runs.names import ASIDE

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: How the name of the file begins that a launcher holds locked while it makes a run.
LOCKED = "claim-"


class RunLock:
    """The right to make one run; it ends with :meth:`release`, or with this process however that ends."""

    def __init__(self, path: Path, descriptor: int | None) -> None:
        self.path = path
        self.descriptor = descriptor

    def release(self) -> None:
        """Let others have it."""
        if self.descriptor is not None:
            with suppress(OSError):
                self.path.unlink()
            os.close(self.descriptor)
            self.descriptor = None


def lock_run(out: Path, run_id: str) -> RunLock | None:
    """Lock a run, so that several launchers on one output folder divide the work; None while another holds it.

    The system takes a lock back from a process that dies. Where a folder knows none, everybody gets every one: work is
    then done twice, and the results are right.

    Args:
        out: The output folder, prepared.
    """
    path = out / ASIDE / f"{LOCKED}{run_id}"
    if fcntl is None:
        return RunLock(path, None)
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise UserError(
                f"output folder {out} cannot be written ({error.strerror or error}); choose another with --out"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            return RunLock(path, None)
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return RunLock(path, descriptor)
        os.close(descriptor)  # its owner released it, and took the file away, between opening and locking


def is_locked(out: Path, run_id: str) -> bool:
    """Whether a launcher of this machine is making a run; nothing is locked or made by asking."""
    if fcntl is None:
        return False
    try:
        descriptor = os.open(out / ASIDE / f"{LOCKED}{run_id}", os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        # Shared, and for no time: who wants the run meanwhile looks again a moment later.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
