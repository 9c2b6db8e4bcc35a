"""Files written aside and renamed into place, so that what is there is whole; and what killed processes left of it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from divsal_bench.errors import UserError
from divsal_bench.files import owners

#: Hidden names of work in progress, folders of data included; what follows begins with its owner's mark.
ASIDE = re.compile(r"\.(?:.+\.)?partial-(.+)", re.DOTALL)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a place aside, in the same folder; rename it to ``path`` when the block ends without an exception.

    Args:
        path: A file of that name is replaced, anything else there is not.

    Raises:
        UserError: It cannot be written. An OSError of the block counts as that.
    """
    aside = path.with_name(f".partial-{owners.mark()}")
    try:
        if os.path.lexists(path) and not path.is_file():
            raise UserError(f"{path} is a {'folder' if path.is_dir() else 'device or a pipe'}, no file; give another")
        yield aside
        with aside.open("r+b") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}); free some space, or mend it") from error
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def write(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        UserError: It cannot be written.
    """
    with new_file(path) as aside:
        aside.write_bytes(content)


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
                mark = ASIDE.fullmatch(path.name)
                if mark and owners.is_abandoned(mark[1]):
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
                    found.append(path)
    return found
