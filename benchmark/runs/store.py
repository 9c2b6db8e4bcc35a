"""Run directories: written aside, renamed into place, so that what is there is whole."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError

from divsal_bench.errors import UserError
from divsal_bench.files import foreign, owners, whole
from divsal_bench.runs.locks import LOCKED, lock_run
from divsal_bench.runs.names import ASIDE, HISTORY_FILE, PREDICTIONS_FILE, RUN_FILE, STDERR_FILE, WEIGHTS_FILE
from divsal_bench.runs.reading import NoRunError, Run, check_place, read_run, require_utf8
from divsal_bench.runs.records import Record, Spec
from divsal_bench.runs.unfinished import sweep_done

#: Tries to rename a run into place while others do the same.
PUT_ATTEMPTS = 10
#: What a run may hold beside run.json, which names their hashes.
FILES = (HISTORY_FILE, WEIGHTS_FILE, PREDICTIONS_FILE, STDERR_FILE)
#: Seconds after which a half-written run of a machine that cannot be asked is taken for left behind. One is written
#: in seconds.
FORGOTTEN = 24 * 3600


class UnreadableError(UserError):
    """A record that would be damaged as soon as it is written."""


def run_path(out: Path, spec: Spec) -> Path:
    """Where a run lives: task, method, seed and run id. Every part is a checked name or our own digits."""
    return out / spec.task / spec.method / f"seed{spec.seed}-{spec.run_id}"


def find_run(out: Path, spec: Spec) -> Run | None:
    """The finished run of this specification, whatever its status; None if it has yet to be run."""
    try:
        run = read_run(run_path(out, spec))
    except NoRunError:
        return None
    check_place(run)
    return run


def check_writable(out: Path) -> None:
    """Refuse an output folder that cannot be written, before any work and without creating it.

    Raises:
        UserError: It, or the nearest parent that exists, is no folder or not writable.
    """
    require_utf8(out)
    try:
        place = next(path for path in (out.absolute(), *out.absolute().parents) if os.path.lexists(path))
        is_folder, writable = place.is_dir(), os.access(place, os.W_OK | os.X_OK)
    except OSError as error:
        raise UserError(
            f"output folder {out} cannot be written ({error.strerror}); choose another with --out"
        ) from error
    if not (is_folder and writable):
        reason = f"{place} is not a folder" if not is_folder else f"no permission to write in {place}"
        raise UserError(f"output folder {out} cannot be written ({reason}); choose another with --out")


def prepare_folder(out: Path) -> None:
    """Create the output folder and sweep what processes that are gone left; UserError if it cannot be written."""
    try:
        (out / ASIDE).mkdir(parents=True, exist_ok=True)
        probe = out / ASIDE / f"{owners.own_tag()}-probe"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"output folder {out} cannot be written ({error.strerror or error}); choose another with --out"
        ) from error
    for left in (out / ASIDE).iterdir():
        if left.name.startswith(LOCKED):
            lock = lock_run(out, left.name.removeprefix(LOCKED))
            if lock is not None:
                lock.release()
        elif owners.is_abandoned(left.name) or (owners.is_tag(left.name) and is_forgotten(left)):
            whole.remove(left)
    sweep_done(out)


def is_forgotten(path: Path) -> bool:
    """Whether nothing was written there for a day."""
    try:
        return time.time() - path.stat().st_mtime > FORGOTTEN
    except OSError:
        return False


def save_run(
    out: Path, record: Record, write_files: Callable[[Path], None] = lambda folder: None, as_it_is: bool = False
) -> Path:
    """Write one run and move it into place in a single step.

    Args:
        record: Becomes run.json, written last, with the hashes of the other files.
        write_files: Writes the run's other files into the folder it is given.
        as_it_is: The record is somebody else's: it keeps the hashes that it came with.

    Returns:
        The run directory. A run of the same specification that finished meanwhile stays; a failed or diverged
        one is replaced.

    Raises:
        UnreadableError: :func:`read_run` would refuse the record.
        UserError: The disk is full or the folder cannot be written; nothing half-written stays.
    """
    path = run_path(out, record.spec)
    mark = f"{owners.own_tag()}-{record.run_id}"
    aside, replaced = (out / ASIDE / f"{mark}-{part}" for part in ("new", "old"))
    try:
        aside.mkdir(parents=True)
        write_files(aside)
        if not as_it_is:
            record = record.model_copy(update={"files": hashes(aside)})
        with (aside / RUN_FILE).open("w", encoding="utf-8") as file:
            json.dump(record.model_dump(mode="json"), file, indent=1, allow_nan=False)
            file.write("\n")
        check_readable(aside, path)
        whole.flush(aside)
        path.parent.mkdir(parents=True, exist_ok=True)
        put(aside, path, replaced)
    except (OSError, SafetensorError) as error:  # safetensors reports a full disk in an exception of its own
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"run {record.run_id} could not be written to {out} ({reason}); free some space or choose "
            "another folder with --out, then give the same command again"
        ) from error
    finally:
        whole.remove(aside)
        whole.remove(replaced)
    return path


def hashes(folder: Path) -> dict[str, str]:
    """Name to sha256 of a run's files, 64 digits."""
    return {name: foreign.sha256(folder / name) for name in FILES if (folder / name).is_file()}


def check_readable(aside: Path, path: Path) -> None:
    """Read a record back before it is in place, where it must never be damaged; UnreadableError if it is."""
    try:
        read_run(aside)
    except UserError as error:
        reason = str(error).replace(f"{aside}{os.sep}", "").partition("; delete its folder")[0]
        raise UnreadableError(f"the record of {path} could not be read back: {reason}") from error


def put(aside: Path, path: Path, replaced: Path) -> None:
    """Rename a finished run into place; a done run that is there stays, a failed one is moved to ``replaced``.

    Other processes may be putting or replacing the same run at any moment, so every look can be out of date.
    """
    for attempt in range(PUT_ATTEMPTS):
        try:
            aside.rename(path)
            return
        except OSError:
            if attempt + 1 == PUT_ATTEMPTS:
                raise
        if is_done(path):
            return
        with suppress(OSError):
            path.rename(replaced)
            if is_done(replaced):  # it was put there between the look and the move
                replaced.rename(path)
                return
            shutil.rmtree(replaced)
        time.sleep(0.01 * attempt)


def is_done(path: Path) -> bool:
    """Whether a done run lies there."""
    try:
        return read_run(path).record.status == "done"
    except NoRunError:
        return False


def weights_sha256(path: Path) -> str:
    """Hash of a run directory's weights, 64 hexadecimal digits; a missing file is a UserError."""
    if not (path / WEIGHTS_FILE).is_file():
        raise UserError(f"{path / WEIGHTS_FILE} is missing, or is not a regular file; run it again")
    try:
        return foreign.sha256(path / WEIGHTS_FILE)
    except (OSError, ValueError) as error:
        raise UserError(f"{path / WEIGHTS_FILE} cannot be read ({foreign.why_unread(error)}); run it again") from error
