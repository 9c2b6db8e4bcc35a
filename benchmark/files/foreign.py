"""Files that may be anybody's: read whole, within bounds, or refused in one line; never waited for."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, FileIO
from pathlib import Path

from divsal_bench.files.texts import first_line

#: Bytes of a JSON file that describes data; ours have some thousands, and some megabytes with many sources.
LARGEST_JSON = 2**24
#: Bytes of an image, a map or a list of them.
LARGEST_FILE = 2**30


class RefusedError(ValueError):
    """A file is not read, or its content not taken; the text is what is wrong, as ``it …`` goes on."""


def why_unread(error: Exception) -> str:
    """Why a file could not be read, in one short line that stands by itself."""
    if isinstance(error, RefusedError):
        return f"it {error}"
    return getattr(error, "strerror", None) or first_line(error)


@contextmanager
def open_regular(path: Path) -> Iterator[BufferedReader]:
    """Open a file to read it.

    A pipe, a socket, a device or a folder is not opened: reading it might never end, or act on something. The opened
    file is looked at again, so that nothing can take its place between the look and the reading.

    Args:
        path: The file; a link is followed.

    Raises:
        OSError: It is not there or cannot be read.
        RefusedError: It is no regular file.
    """
    with opened_regular(path) as file:
        yield BufferedReader(file)


def opened_regular(path: Path) -> FileIO:
    """Open a file to read it for as long as the caller likes; arguments and errors as of :func:`open_regular`."""
    _require_regular(path.stat().st_mode)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    file = FileIO(os.open(path, flags))
    try:
        _require_regular(os.fstat(file.fileno()).st_mode)
    except BaseException:
        file.close()
        raise
    return file


def read_bytes(path: Path, most: int = LARGEST_FILE) -> bytes:
    """Read a file whole.

    Raises:
        OSError: It is not there or cannot be read.
        RefusedError: It is no regular file, or larger than allowed.
    """
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise RefusedError(f"has more than {most:,} bytes")
    return content


def sha256(path: Path) -> str:
    """Hash of a file's bytes, 64 hexadecimal digits.

    Raises:
        OSError: It is not there or cannot be read.
        RefusedError: It is no regular file.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path, most: int = LARGEST_JSON, finite: bool = False) -> object:
    """Read a JSON file.

    Args:
        finite: Whether NaN and infinities, which JSON lacks and Python reads, are refused.

    Raises:
        OSError: It is not there or cannot be read.
        ValueError: It is no regular file, too large, not JSON, or nested too deeply.
    """
    return json_of(read_bytes(path, most), finite)


def json_of(content: bytes, finite: bool = False) -> object:
    """The value that a JSON file's bytes say; arguments and errors as of :func:`read_json`."""
    try:
        found: object = json.loads(content.decode("utf-8-sig"), parse_constant=_no_number if finite else None)
    except RecursionError:
        raise RefusedError("is nested too deeply") from None
    return found


def _no_number(text: str) -> float:
    raise ValueError(f"it holds {text}, scores must be finite numbers")


def _require_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise RefusedError("is not a regular file")
