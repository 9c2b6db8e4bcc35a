"""Several launchers on one output folder divide the work."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from divsal_bench.files import locks as file_locks
from divsal_bench.runs import locks, store
from divsal_bench.runs.names import ASIDE

LOCK = """
import os, sys, time
from pathlib import Path
from divsal_bench.runs import locks
print(locks.lock_run(Path(sys.argv[1]), "0123456789abcdef") is not None, flush=True)
time.sleep(float(sys.argv[2]))
"""


def unfinished(out: Path) -> list[Path]:
    return sorted((out / ASIDE).iterdir())


def locked(out: Path, seconds: float) -> tuple[subprocess.Popen[str], bool]:
    """Another process that locks a run, and whether it got it."""
    process = subprocess.Popen(
        [sys.executable, "-c", LOCK, str(out), str(seconds)], stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    assert process.stdout is not None
    return process, process.stdout.readline() == "True\n"


def test_one_process_at_a_time_has_a_lock_and_a_killed_one_leaves_it(tmp_path: Path) -> None:
    store.prepare_folder(tmp_path)
    own = locks.lock_run(tmp_path, "0123456789abcdef")
    assert own is not None
    assert locks.lock_run(tmp_path, "0123456789abcdef") is None
    assert locks.lock_run(tmp_path, "fedcba9876543210") is not None
    assert locked(tmp_path, 0)[1] is False
    own.release()
    owner, got = locked(tmp_path, 600)
    assert got
    assert locks.lock_run(tmp_path, "0123456789abcdef") is None
    owner.kill()
    owner.wait()
    again = locks.lock_run(tmp_path, "0123456789abcdef")
    assert again is not None
    again.release()


def test_the_lock_of_a_killed_process_is_swept(tmp_path: Path) -> None:
    store.prepare_folder(tmp_path)
    owner, got = locked(tmp_path, 600)
    assert got
    store.prepare_folder(tmp_path)
    assert len(unfinished(tmp_path)) == 1
    owner.kill()
    owner.wait()
    store.prepare_folder(tmp_path)
    assert not unfinished(tmp_path)


def test_a_folder_without_locks_gives_everybody_every_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    store.prepare_folder(tmp_path)
    monkeypatch.setattr(file_locks.fcntl, "flock", flock)
    first, second = (locks.lock_run(tmp_path, "0123456789abcdef") for _ in range(2))
    assert first is not None
    assert second is not None
