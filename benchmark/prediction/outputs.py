"""Files that are made of images: their names, what must not be written over, and the table."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.errors import UserError
from divsal_bench.files import escaping, whole
from divsal_bench.prediction.inputs import Input

if TYPE_CHECKING:
    import pandas as pd

#: Bytes of a file name before a clash's number and ``.png``; file systems allow 255 in all.
LONGEST_NAME = 180


def require_csv(path: Path | None, inputs: Sequence[Input], force: bool) -> None:
    """Refuse a --csv that cannot be written or would be lost."""
    if path is None:
        return
    if path.is_dir():
        raise UserError(f"--csv {path} is a folder; name a file")
    if path.exists() and not path.is_file():
        raise UserError(f"--csv {path} is a device or a pipe; name a file")
    if not path.parent.is_dir():
        raise UserError(f"--csv {path} cannot be written: there is no folder {path.parent}; make it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UserError(f"--csv {path} cannot be written (no permission in {path.parent}); choose another folder")
    refuse_inputs("--csv", [path], inputs)
    if path.exists() and not force:
        raise UserError(f"--csv {path} exists; choose another file, or replace it with --force")


def overlay_paths(folder: Path | None, inputs: Sequence[Input], force: bool) -> list[Path]:
    """Where each input's picture goes; empty without --overlay."""
    if folder is None:
        return []
    require_writable(folder, "--overlay")
    found = picture_paths(folder, inputs)
    refuse_inputs("--overlay", found, inputs)
    refuse_present("--overlay", found, force)
    return found


def picture_paths(folder: Path, inputs: Sequence[Input]) -> list[Path]:
    """A PNG of its own in a folder for each input."""
    return [folder / name for name in picture_names([one.parts for one in inputs])]


def picture_names(parts: Sequence[tuple[str, ...]]) -> list[str]:
    """One file name for each image, all different: its folders and its name joined by ``__``, a number on a clash.

    Args:
        parts: Of each image, its place below what was given. May be a stranger's; no name leads out of a folder.
    """
    taken: set[str] = set()
    names = []
    for own in parts:
        text = "__".join((*own[:-1], Path(own[-1]).stem)) if own else ""
        plain = unicodedata.normalize("NFC", re.sub(r"[^\w.-]+", "_", text))
        plain = plain.encode()[-LONGEST_NAME:].decode(errors="ignore").strip("._") or "image"
        number = 1
        # Some file systems do not tell upper from lower case.
        while (name := f"{plain}-{number}.png" if number > 1 else f"{plain}.png").casefold() in taken:
            number += 1
        taken.add(name.casefold())
        names.append(name)
    return names


def require_writable(folder: Path, option: str) -> None:
    """Refuse a folder that cannot be written, before any work and without creating it.

    Args:
        folder: May not be there yet.

    Raises:
        UserError: It, or the nearest parent that exists, is no folder or not writable.
    """
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    if not place.is_dir():
        raise UserError(f"{option} {folder} cannot be written ({place} is not a folder); choose another")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"{option} {folder} cannot be written (no permission in {place}); choose another")


def refuse_inputs(option: str, paths: Sequence[Path], inputs: Sequence[Input]) -> None:
    """Never write over an image that is to be read, with --force or without."""
    given = (str(one.source) for one in inputs if isinstance(one.source, str | Path))
    read = {os.path.realpath(path) for path in given if "\0" not in path}
    for path in paths:
        if os.path.realpath(path) in read:
            raise UserError(f"{option} would write over the image {path}; choose another folder")


def refuse_present(option: str, paths: Sequence[Path], force: bool) -> None:
    """Refuse to replace files in a folder, without --force."""
    there = [path for path in paths if path.exists()]
    if there and not force:
        more = f" and {len(there) - 1} more there" if len(there) > 1 else ""
        raise UserError(f"{option}: {there[0]}{more} exists; choose another folder, or replace it with --force")


def write_table(table: pd.DataFrame, path: Path) -> None:
    """A table as CSV, written aside and renamed: what is there is whole."""
    whole.write(path, escaping.table_csv(table).encode("utf-8", "backslashreplace"))
