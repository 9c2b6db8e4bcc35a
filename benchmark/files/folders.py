"""Folders that appear whole or not at all."""

from __future__ import annotations

import ctypes
import errno
import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from divsal_bench.errors import UserError
from divsal_bench.files import owners


@contextmanager
def new_folder(out: Path, *, replace: bool = False, fix: str = "choose another folder") -> Iterator[Path]:
    """Yield an empty folder beside ``out``; rename it to ``out`` when the block ends without an exception.

    After an exception of any kind neither the folder nor parents made for it remain, and what was at ``out``
    is as before.

    Args:
        out: Where the folder belongs.
        replace: Whether a folder that is there already is replaced.
        fix: What the user can do when ``out`` cannot be written.

    Yields:
        The folder to fill.

    Raises:
        FileExistsError: ``out`` is there, is not empty, and ``replace`` is false.
        UserError: The disk is full or ``out`` cannot be written. An OSError of the block counts as that.
    """
    out = out.resolve()
    missing = [parent for parent in out.parents if not parent.exists()]
    aside = out.with_name(f".{out.name}.partial-{owners.mark()}")
    mend(out)
    done = False
    try:
        # mkdir and not mkdtemp: the folder must keep the permissions that the user's umask gives.
        aside.mkdir(parents=True)
        yield aside
        _flush(aside)
        _move(aside, out, replace)
        done = True
    except FileExistsError:
        raise
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror or error}; free some space or {fix}") from error
    finally:
        if not done:
            shutil.rmtree(aside, ignore_errors=True)
            for parent in missing:
                with suppress(OSError):  # not empty: another process uses it
                    parent.rmdir()


def mend(out: Path) -> list[Path]:
    """Remove what killed processes left beside ``out``, and put back what one of them had moved away.

    Returns:
        What others are writing or replacing at this moment.
    """
    working = []
    for left in sorted(out.parent.glob(f".{glob.escape(out.name)}.*")):
        kind, dash, owner = left.name.removeprefix(f".{out.name}.").partition("-")
        if not dash or kind not in ("partial", "old"):
            continue
        if not owners.is_abandoned(owner):
            working.append(left)
            continue
        with suppress(OSError):
            if kind == "old" and not out.exists():
                left.rename(out)
            else:
                shutil.rmtree(left)
    return working


def _flush(folder: Path) -> None:
    """Write everything through to the disk: a power cut must not leave a renamed folder of empty files."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("r+b") as file:
                os.fsync(file.fileno())


def _move(aside: Path, out: Path, replace: bool) -> None:
    """Rename ``aside`` to ``out``; a folder that is replaced goes away last.

    Where the system can exchange two folders in one step, whoever looks always finds one of them.
    """
    if replace and out.is_dir() and _exchange(aside, out):
        shutil.rmtree(aside, ignore_errors=True)
        return
    old = out.with_name(f".{out.name}.old-{owners.mark()}")
    if replace and out.exists():
        out.rename(old)
    try:
        aside.rename(out)
    except BaseException as error:
        if old.exists():
            old.rename(out)
        if isinstance(error, OSError) and error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise FileExistsError(errno.EEXIST, "already exists", str(out)) from error
        raise
    shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step: Linux's renameat2 or macOS's renamex_np; False where neither is to be had."""
    if os.name != "posix":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(one), os.fsencode(other)
    if hasattr(library, "renameat2"):
        here, flag = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
        return bool(library.renameat2(here, names[0], here, names[1], flag) == 0)
    if hasattr(library, "renamex_np"):
        return bool(library.renamex_np(*names, 2) == 0)  # RENAME_SWAP
    return False
