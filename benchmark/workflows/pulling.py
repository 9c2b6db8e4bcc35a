"""Pull: a model repository of the Hub, checked, into the local cache or a folder."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from divsal_bench.errors import UserError
from divsal_bench.files import whole
from divsal_bench.hub import link
from divsal_bench.hub.client import address
from divsal_bench.hub.pull import Snapshot, snapshot
from divsal_bench.runs import store
from divsal_bench.runs.names import PUBLISHED, RUN_FILE, WEIGHTS_FILE
from divsal_bench.runs.reading import read_run
from divsal_bench.runs.store import weights_sha256
from divsal_bench.workflows.telling import Say, silent
from divsal_bench.workflows.tidying import sweep_unfinished

#: What task and method names look like; a record from outside must not choose another folder.
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@dataclass(frozen=True)
class Pulled:
    """A repository on this machine.

    Attributes:
        origin: Its pinned id, ``org/name@commit``.
        folder: Where its files lie: in the cache, where they belong to the Hub's client, or copied.
    """

    origin: str
    folder: Path


def pull(model: str, *, out: str | Path | None = None, say: Say = silent) -> Pulled:
    """Fetch a repository at a commit: bytes that the Hub vouches for, no pickles, nothing trusted.

    Args:
        model: ``org/name``, or ``org/name@REVISION``: a branch such as ``seed-3``, or a commit.
        out: Copy it to this output folder: a run to its place there, anything else to a folder of its own.
        say: Told what the user should know of the repository, and what killed commands had left.

    Returns:
        The pinned id, and where it lies.

    Raises:
        UserError: No such id, no access, no network and nothing cached, no network's weights in it, or a run that is
            there already with other weights.

    Example:
        >>> import divsal_bench
        >>> pushed = divsal_bench.push("runs", method="cross-entropy", to="ann")
        >>> done = divsal_bench.pull(f"{pushed[0].on_hub.repo}@seed-0", out="pulled")
        >>> divsal_bench.load_run(done.folder).spec.method
        'cross-entropy'
    """
    if Path(model).exists():
        raise UserError(f"{model} is on this machine already; give the id of a model on the Hub")
    found = snapshot(model)
    if found.notice:
        say(f"notice: {found.notice}")
    return Pulled(found.origin, found.folder if out is None else copied(found, Path(out), say))


def copied(found: Snapshot, out: Path, say: Say) -> Path:
    """Copy a snapshot: a run to its place in an output folder, anything else to a folder of its own."""
    store.check_writable(out)
    present = [name for name in PUBLISHED if (found.folder / name).is_file()]
    if RUN_FILE not in present:
        target = out / f"{found.repo.partition('/')[2]}-{found.commit[:8]}"
        target.mkdir(parents=True, exist_ok=True)
        sweep_unfinished([target], say)
        for name in present:
            with whole.new_file(target / name) as aside:
                shutil.copyfile(found.folder / name, aside)
        return target
    run = read_run(found.folder)
    record = run.record
    for name in present:
        run.check_file(name)
    for name in (record.spec.task, record.spec.method):
        if not NAME.fullmatch(name):
            raise UserError(f"{found.origin}: run.json names {name[:60]!r}, which is no name of a task or method")
    there = store.run_path(out, record.spec)
    if (there / WEIGHTS_FILE).exists() and weights_sha256(there) != weights_sha256(found.folder):
        raise UserError(f"{there} holds other weights of the same run; give another folder with --out")
    store.prepare_folder(out)

    def write_files(folder: Path) -> None:
        for name in present:
            if name != RUN_FILE:
                shutil.copyfile(found.folder / name, folder / name)
        where = link.Link(found.repo, found.commit, weights_sha256(folder), address())
        link.leave_link(folder, where)

    return store.save_run(out, record, write_files, as_it_is=True)
