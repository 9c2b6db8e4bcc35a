"""Files that one process at a time holds locked; the system takes the lock back from a process that dies."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class FileLock:
    """The right to do what a file stands for; it ends with :meth:`release`, or with this process however that ends."""

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


def lock_file(path: Path) -> FileLock | None:
    """Lock a file, which is made and goes with the lock; None while another holds it.

    Where a folder knows no locks, everybody gets every one.

    Raises:
        OSError: The file cannot be made.
    """
    if fcntl is None:
        return FileLock(path, None)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            with suppress(OSError):
                path.unlink()
            return FileLock(path, None)
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return FileLock(path, descriptor)
        os.close(descriptor)  # its owner released it, and took the file away, between opening and locking


def is_locked(path: Path) -> bool:
    """Whether a process of this machine holds a file; nothing is locked or made by asking."""
    if fcntl is None:
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        # Shared, and for no time: who wants the lock meanwhile looks again a moment later.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
