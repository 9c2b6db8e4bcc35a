"""Runs that are being made, or were until they were interrupted: where what is kept of them lies, and how far they are.

``OUT/.unfinished/RUN_ID/`` holds ``progress.json``, written every few seconds, and a checkpoint if there is any
(:mod:`divsal_bench.runs.checkpoints`). It goes when the run is saved.
"""

from __future__ import annotations

import errno
import json
import platform
import time
from contextlib import suppress
from pathlib import Path

from pydantic import Field

from divsal_bench.errors import UserError
from divsal_bench.files import whole
from divsal_bench.files.models import read_model
from divsal_bench.runs.bounds import check_content
from divsal_bench.runs.locks import is_being_made
from divsal_bench.runs.names import UNFINISHED
from divsal_bench.runs.reading import RUN_ID, read_run, run_folders
from divsal_bench.runs.records import Spec
from divsal_bench.scores.schema import Typed

PROGRESS_FILE = "progress.json"
#: What the name of a folder ends in whose checkpoint could not be used; one a run is kept.
SET_ASIDE = "-aside"
#: Bytes of a progress.json; ours have two thousand.
LARGEST_PROGRESS = 2**20
#: Steps, epochs or seconds of a run: more than anyone has, and little enough to reckon with.
LARGEST_COUNT = 10**12
#: Tries to make a folder while other runs take the one around it away.
MAKE_ATTEMPTS = 10
#: Seconds after which a run that another machine makes, whose locks may not be seen here, counts as interrupted.
SILENT = 600.0


class Progress(Typed):
    """The content of progress.json.

    Attributes:
        epoch: The one that is trained, from 1; one more than ``epochs`` once predictions are made.
        step: Training steps done, of ``steps`` in all.
        pace: Seconds a step, as this part of the run goes; 0 while that is not known.
        seconds: Spent on the run so far, in all its parts.
        saved_step: Steps that the last checkpoint holds; 0 without one.
        resumes: How often it went on from a checkpoint.
        host: The machine's name.
        updated: When this was written, in seconds since 1970.
    """

    spec: Spec
    method_label: str
    epoch: int = Field(ge=1, le=LARGEST_COUNT)
    epochs: int = Field(ge=0, le=LARGEST_COUNT)
    step: int = Field(ge=0, le=LARGEST_COUNT)
    steps: int = Field(ge=0, le=LARGEST_COUNT)
    pace: float = Field(ge=0, le=LARGEST_COUNT)
    seconds: float = Field(ge=0, le=LARGEST_COUNT)
    saved_step: int = Field(ge=0, le=LARGEST_COUNT)
    resumes: int = Field(ge=0, le=LARGEST_COUNT)
    host: str
    updated: float


def folder_of(out: Path, run_id: str) -> Path:
    """Where an unfinished run's files lie."""
    return out / UNFINISHED / run_id


def make_folder(out: Path, run_id: str) -> Path:
    """The folder of an unfinished run, made anew if somebody deleted it.

    Raises:
        OSError: It cannot be made, or something else is there.
    """
    path = folder_of(out, run_id)
    for left in reversed(range(MAKE_ATTEMPTS)):
        if path.parent.is_symlink() or path.is_symlink():
            raise NotADirectoryError(errno.ENOTDIR, "it is a link", str(path))
        try:
            path.mkdir(parents=True, exist_ok=True)
            break
        except FileNotFoundError:  # another run's end took the folder around it away
            if not left:
                raise
    return path


def note_progress(out: Path, progress: Progress) -> None:
    """Write down how far a run is; where that cannot be written, nobody learns it."""
    with suppress(OSError, UserError):
        path = make_folder(out, progress.spec.run_id) / PROGRESS_FILE
        aside = whole.aside_of(path)
        try:
            aside.write_text(json.dumps(progress.model_dump(mode="json")) + "\n", encoding="utf-8")
            aside.replace(path)  # not flushed: a power cut may take it
        finally:
            whole.remove(aside)


def read_progress(folder: Path) -> Progress | None:
    """How far the run of a folder is; None where that is not said, or of another run than the folder is named for."""
    try:
        path = folder / PROGRESS_FILE
        found = read_model(path, Progress, LARGEST_PROGRESS, finite=True)
        check_content(found.model_dump(mode="json"))
    except (OSError, ValueError, UserError, RecursionError):
        return None
    return found if found.spec.run_id == folder.name else None


def unfinished_runs(out: Path) -> list[tuple[Progress, bool]]:
    """Every unfinished run that says how far it is, and whether it is running; in a fixed order.

    One is running while a launcher of this machine holds it locked, or if another machine said so a short time ago.
    """
    found = []
    for folder in folders(out):
        progress = read_progress(folder)
        if progress is not None:
            elsewhere = progress.host != platform.node() and abs(time.time() - progress.updated) < SILENT
            found.append((progress, elsewhere or is_being_made(out, folder.name)))
    return sorted(found, key=lambda one: (one[0].spec.task, one[0].method_label, one[0].spec.seed))


def folders(out: Path) -> list[Path]:
    """The folders of unfinished runs; none where none can be read."""
    return sorted(path for path in entries_of(out / UNFINISHED) if RUN_ID.fullmatch(path.name))


def entries_of(folder: Path) -> list[Path]:
    """What lies in a folder; nothing where it cannot be read."""
    with suppress(OSError):
        return list(folder.iterdir())
    return []


def set_aside(out: Path, run_id: str) -> Path:
    """Keep an unfinished run's files under another name, in place of earlier ones; where they then are.

    Raises:
        OSError: They cannot be moved.
    """
    path = folder_of(out, run_id)
    if path.parent.is_symlink():
        raise NotADirectoryError(errno.ENOTDIR, "it is a link", str(path.parent))
    kept = path.with_name(path.name + SET_ASIDE)
    whole.remove(kept)
    path.rename(kept)
    return kept


def forget(out: Path, run_id: str) -> None:
    """Remove what is kept of a run that is saved, as far as it can be; nothing behind a link."""
    path = folder_of(out, run_id)
    if path.parent.is_symlink():
        return
    whole.remove(path)
    whole.remove(path.with_name(path.name + SET_ASIDE))
    whole.remove_empty([path.parent])


def sweep_done(out: Path) -> None:
    """Remove what is kept of runs that are done: a process may be killed right after its run is saved."""
    kept = {path.name.removesuffix(SET_ASIDE) for path in entries_of(out / UNFINISHED)}
    for folder in run_folders(out, 3) if kept else []:
        run_id = folder.name.rpartition("-")[2]
        if run_id in kept:
            with suppress(UserError):  # a damaged one is told by whoever needs it
                if read_run(folder).record.status == "done":
                    forget(out, run_id)
