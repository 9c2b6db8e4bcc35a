"""Where data lives on this machine, and which data a run uses."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from divsal_bench.contracts.task import VARIANTS, Task
from divsal_bench.data import remote
from divsal_bench.data.canonical import Info, is_prepared, read_info
from divsal_bench.data.fingerprint import standin_fingerprint
from divsal_bench.errors import UserError, unknown
from divsal_bench.files import whole
from divsal_bench.hub.client import parse_id

#: Stand-ins are one fixed data set a variant: the seeds of runs never change the data.
STANDIN_SEED = 0


@dataclass(frozen=True)
class DataSource:
    """The data a run uses, found but not loaded.

    Attributes:
        kind: A stand-in, a prepared folder, or a data set on the Hub.
        name: Short and without a path: ``standin:oracle``, ``cxr``, ``org/name@0123456``.
        fingerprint: As stated by the data; loading recomputes it.
        location: The folder; for the Hub None until :meth:`folder` downloads it.
        variant: The stand-in's variant, else "".
        repo: The Hub repository, else "".
        revision: The Hub commit, else "".
        info: ``divsal.json``; None for stand-ins.
        notice: What was chosen and how to change it; "" where the user chose.
        unnamed: Whether these are drawn images that nobody asked for: results on them must say so.
    """

    kind: Literal["standin", "folder", "hub"]
    name: str
    task: str
    fingerprint: str
    location: Path | None = None
    variant: str = ""
    repo: str = ""
    revision: str = ""
    info: Info | None = field(default=None, repr=False)
    notice: str = ""
    unnamed: bool = False

    @property
    def is_drawn(self) -> bool:
        """Whether the images are drawn by code, be it on the fly or as a prepared copy of the stand-in."""
        return self.kind == "standin" or (self.info is not None and self.info.adapter == "standin")

    @property
    def spec(self) -> str:
        """What to give as ``--data`` to get exactly this data again."""
        if self.kind == "hub":
            return f"{self.repo}@{self.revision}"
        return self.variant or str(self.location)

    def folder(self) -> Path:
        """Return the folder of prepared data, downloading it from the Hub if needed.

        Raises:
            UserError: The Hub cannot be reached.
            ValueError: It is a stand-in.
        """
        if self.kind == "hub":
            return remote.download(self.repo, self.revision)
        if self.location is None:
            raise ValueError("a stand-in has no folder")
        return self.location


@dataclass(frozen=True)
class PreparedSet:
    """One entry of the list of prepared data.

    Attributes:
        task: The task it is prepared for; the folder's name where that cannot be read.
        rows: Number of rows; 0 where it is broken.
        fingerprint: "" where it is broken.
        problem: "" where it is valid, else what is wrong.
    """

    task: str
    folder: Path
    rows: int
    fingerprint: str
    problem: str = ""


def home() -> Path:
    """Return the folder for all this program keeps: $DIVSAL_BENCH_HOME, else the user's cache folder."""
    stated = os.environ.get("DIVSAL_BENCH_HOME")
    if stated:
        return as_path(stated).absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("divsal-bench"))


def default_folder(task: str) -> Path:
    """Return where a task's prepared data belongs unless the user names a folder."""
    return home() / "data" / task


def prepared() -> list[PreparedSet]:
    """List what is prepared in the default place, by folder; broken sets are listed with the reason."""
    root = home() / "data"
    folders = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    found = []
    for folder in folders:
        if folder.name.startswith("."):  # being written, or left over from a crash
            continue
        try:
            info = read_info(folder)
            found.append(PreparedSet(info.task, folder, info.rows, info.fingerprint))
        except UserError as error:
            found.append(PreparedSet(folder.name, folder, 0, "", str(error)))
    return found


def resolve(task: Task, data: str | None) -> DataSource:
    """Find the data a run uses.

    Args:
        data: A stand-in variant, a prepared folder, or a Hub id ``org/name[@revision]``. None takes the
            task's prepared data if there is any, else the stand-in, and says so in ``notice``.

    Raises:
        UserError: There is no such data, it is broken, or it belongs to another task.
    """
    if data is None:
        return _default(task)
    if data in VARIANTS:
        return _standin(task, data)
    folder = as_path(data)
    # Path("") is the working directory.
    if data and folder.is_dir():
        return _folder(task, folder)
    if data.startswith("standin:"):
        raise unknown("stand-in", data, VARIANTS)
    hub = parse_id(data)
    if folder.suffix == ".csv" and folder.is_file():
        raise UserError(
            f"{data} is a manifest, not prepared data; first divsal-bench data prepare {task.name} "
            f"--source {shlex.quote(data)}"
        )
    if folder.exists() or hub is None or data.startswith((".", "~", "/")):
        raise UserError(
            f"there is no data {data!r}: give a prepared folder, a Hub id (org/name or org/name@revision), "
            f"or a stand-in ({', '.join(VARIANTS)})"
        )
    return _hub(task, *hub)


def as_path(text: str) -> Path:
    """Return what a user typed as a path; ``~name`` of an unknown user stays as it is, and names nothing."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def _default(task: Task) -> DataSource:
    folder = default_folder(task.name)
    # First those who write, then what is there: a replacement that ends in between is found.
    working = whole.mend(folder)
    if folder.is_dir() and (is_prepared(folder) or any(folder.iterdir())):
        remember_prepared(folder)
        # A damaged set is an error: falling back to drawn images would answer another question.
        found = _folder(task, folder)
        rows = found.info.rows if found.info else 0
        what = "a prepared copy of the stand-in" if found.is_drawn else "the prepared data"
        notice = (
            f"{task.name}: using {what} in {folder} ({rows:,} rows), not the built-in stand-in; "
            "for that one use --data standin."
        )
    elif working:
        raise UserError(
            f"{task.name}: another process is preparing {folder} ({working[0].name}); give the command again when "
            "it is done, or name the data with --data (--data standin for drawn images)"
        )
    elif _note(folder).exists():
        raise UserError(
            f"{task.name}: the prepared data that was in {folder} is gone; prepare it again, name other data with "
            f"--data (--data standin for drawn images), or delete {_note(folder)} to forget it"
        )
    else:
        found = _standin(task, "standin")
        notice = (
            f"{task.name}: using the built-in stand-in (drawn images), not prepared data: "
            f"there is none in {folder}. For real data run divsal-bench data prepare {task.name}, "
            "or use --data with a folder or a Hub id."
        )
    return replace(found, notice=notice, unnamed=found.is_drawn)


def remember_prepared(folder: Path) -> None:
    """Note that data was prepared in a task's own folder: from then on nothing else takes its place unasked."""
    with suppress(OSError):  # a home that cannot be written has been prepared by others
        _note(folder).touch()


def _note(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.prepared")


def _standin(task: Task, variant: str) -> DataSource:
    fingerprint = standin_fingerprint(task.name, variant, task.standin_version, STANDIN_SEED)
    return DataSource("standin", variant, task.name, fingerprint, variant=variant)


def _folder(task: Task, folder: Path) -> DataSource:
    folder = folder.resolve()
    info = read_info(folder)
    _same_task(task, info, str(folder))
    # A folder may be called like a stand-in; a run on it is not one on that.
    name = f"{folder.name}-folder" if folder.name in VARIANTS else folder.name
    return DataSource("folder", name, task.name, info.fingerprint, location=folder, info=info)


def _hub(task: Task, repo: str, revision: str | None) -> DataSource:
    commit = remote.commit_of(repo, revision)
    info = remote.info_of(repo, commit)
    _same_task(task, info, repo)
    name = f"{repo}@{commit[:7]}"
    return DataSource("hub", name, task.name, info.fingerprint, repo=repo, revision=commit, info=info)


def _same_task(task: Task, info: Info, where: str) -> None:
    if info.task != task.name:
        raise UserError(
            f"{where} is prepared for the task {info.task!r}, not for {task.name!r}; "
            f"give --task {info.task}, or other data with --data"
        )
    if info.class_names != task.class_names:
        raise UserError(
            f"{where} calls its classes {'/'.join(info.class_names)}, but the task {task.name!r} says "
            f"{'/'.join(task.class_names)}; prepare the data again"
        )
