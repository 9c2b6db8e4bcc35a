"""Files and folders written aside and renamed into place, so that what is there is whole; and what was left of it.

Everything unfinished has a hidden name with ``partial-`` or ``old-`` and the tag of its process in it, and goes away
however the writing ends; what a killed process leaves is swept by the next command that writes there.
"""

from __future__ import annotations

import ctypes
import errno
import glob
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from divsal_bench.errors import UserError
from divsal_bench.files import owners

#: Hidden names of work in progress, folders of data included; what follows begins with its owner's tag.
ASIDE = re.compile(r"\.(?:.+\.)?partial-(.+)", re.DOTALL)


def aside_of(path: Path, part: str = "", number: int | None = None) -> Path:
    """A name beside a path that nobody else uses.

    Args:
        path: Where the work belongs in the end.
        part: What begins the name, such as the folder's own name; a file's may be as long as names can be.
        number: Of the file among several.
    """
    start, end = f".{part}" if part else "", "" if number is None else f"-{number}"
    return path.with_name(f"{start}.partial-{owners.own_tag()}{end}")


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a place aside, in the same folder; rename it to ``path`` when the block ends without an exception.

    Args:
        path: A file of that name is replaced, anything else there is not.

    Raises:
        UserError: It cannot be written. An OSError of the block counts as that.
    """
    aside = aside_of(path)
    try:
        if os.path.lexists(path) and not path.is_file():
            raise UserError(f"{path} is a {'folder' if path.is_dir() else 'device or a pipe'}, no file; give another")
        yield aside
        flush(aside)
        aside.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}); free some space, or mend it") from error
    finally:
        remove(aside)


def write(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all; UserError if that is impossible."""
    with new_file(path) as aside:
        aside.write_bytes(content)


def write_files(files: Mapping[Path, bytes], fix: str) -> None:
    """Write files all or none; each appears whole, and one that is there with this content is not touched.

    All are written aside before the first is put in place, and what was there is kept until the last is: going back
    needs no space, only renames.

    Args:
        files: Path to content, in the order in which they are put in place.
        fix: What the user can do, beside making room, when one cannot be written.

    Raises:
        UserError: One cannot be written; then all are as before.
    """
    files = {path: content for path, content in files.items() if not _holds(path, content)}
    aside = {path: aside_of(path, number=number) for number, path in enumerate(files)}
    before = {path: aside_of(path, "before", number) for number, path in enumerate(files)}
    put: list[Path] = []
    made: list[Path] = []
    whole = False
    try:
        for path, content in files.items():
            made += [parent for parent in path.parents if not parent.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
            aside[path].write_bytes(content)
            flush(aside[path])
        for path in files:
            if path.exists():
                _keep(path, before[path])
        for path in files:
            put.append(path)  # before it is: an interruption may come right after
            aside[path].replace(path)
        whole = True
    except BaseException as error:
        for done in put:
            with suppress(OSError):
                before[done].replace(done) if before[done].exists() else done.unlink()
        if isinstance(error, OSError):
            raise UserError(
                f"{path} cannot be written ({error.strerror or error}); free some space or {fix}"
            ) from error
        raise
    finally:
        for left in (*aside.values(), *before.values()):
            remove(left)
        if not whole:
            remove_empty(made)


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
    aside = aside_of(out, out.name)
    mend(out)
    done = False
    try:
        # mkdir and not mkdtemp: the folder must keep the permissions that the user's umask gives.
        aside.mkdir(parents=True)
        yield aside
        flush(aside)
        _put_folder(aside, out, replace)
        done = True
    except FileExistsError:
        raise
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror or error}; free some space or {fix}") from error
    finally:
        if not done:
            remove(aside)
            remove_empty(missing)


def mend(out: Path) -> list[Path]:
    """Remove what killed processes left beside a folder, put back what one moved away; return what others write."""
    working = []
    for left in sorted(out.parent.glob(f".{glob.escape(out.name)}.*")):
        kind, dash, owner = left.name.removeprefix(f".{out.name}.").partition("-")
        if not dash or kind not in ("partial", "old"):
            continue
        if not owners.is_abandoned(owner):
            working.append(left)
        elif kind == "old" and not out.exists():
            with suppress(OSError):
                left.rename(out)
        else:
            remove(left)
    return working


def is_aside(name: str) -> bool:
    """Whether a file or folder of this name is unfinished, whosever it is."""
    return ASIDE.fullmatch(name) is not None


def sweep(folders: Iterable[Path]) -> list[Path]:
    """Remove what processes that are gone left unfinished right in some folders, and return what was removed.

    A folder that is not there or cannot be read holds nothing; what cannot be removed stays.
    """
    found = []
    for folder in dict.fromkeys(folders):
        with suppress(OSError):
            for path in sorted(folder.iterdir()):
                unfinished = ASIDE.fullmatch(path.name)
                if unfinished and owners.is_abandoned(unfinished[1]) and remove(path):
                    found.append(path)
    return found


def remove(path: Path) -> bool:
    """Delete a file or a folder, which may not be there, as far as it can be; whether nothing is there now."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    return not os.path.lexists(path)


def remove_empty(folders: Iterable[Path]) -> None:
    """Delete folders that were made for nothing, the innermost first."""
    for folder in folders:
        with suppress(OSError):  # not empty: another process uses it
            folder.rmdir()


def flush(path: Path) -> None:
    """Write a file, or every file of a folder, through to the disk: a power cut must not leave empty ones."""
    for one in path.rglob("*") if path.is_dir() else (path,):
        if one.is_file():
            with one.open("r+b") as file:
                os.fsync(file.fileno())


def _keep(path: Path, copy: Path) -> None:
    """Give a file a second name; where the file system has no links, a copy."""
    try:
        os.link(path, copy)
    except OSError:
        shutil.copy2(path, copy)


def _holds(path: Path, content: bytes) -> bool:
    """Whether a file has this content already."""
    try:
        return path.read_bytes() == content
    except OSError:
        return False


def _put_folder(aside: Path, out: Path, replace: bool) -> None:
    """Rename ``aside`` to ``out``; a folder that is replaced goes away last.

    Where the system can exchange two folders in one step, whoever looks always finds one of them.
    """
    if replace and out.is_dir() and _exchange(aside, out):
        remove(aside)
        return
    old = out.with_name(f".{out.name}.old-{owners.own_tag()}")
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
    remove(old)


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
