"""``divsal-bench pull``: a model repository of the Hub, checked, into the cache or a folder."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import sys
from pathlib import Path

from divsal_bench.cli import tidy
from divsal_bench.errors import UserError
from divsal_bench.files import whole
from divsal_bench.hub import link
from divsal_bench.hub.client import endpoint
from divsal_bench.hub.pull import Snapshot, snapshot
from divsal_bench.runs.names import PUBLISHED, RUN_FILE, WEIGHTS_FILE
from divsal_bench.runs.reading import read_run
from divsal_bench.runs.store import weights_sha256

#: What task and method names look like; a record from outside must not choose another folder.
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def pull(arguments: argparse.Namespace) -> int:
    """Fetch a repository at a commit and say where it lies."""
    if Path(arguments.id).exists():
        raise UserError(f"{arguments.id} is on this machine already; give the id of a model on the Hub")
    found = snapshot(arguments.id)
    if found.notice:
        print(f"notice: {found.notice}", file=sys.stderr)
    folder = copy(found, arguments.out) if arguments.out is not None else found.folder
    print(f"{found.origin}\n{folder}")
    shown = found.origin if arguments.out is None else folder
    print(f"score images with: divsal-bench predict {shlex.quote(str(shown))} IMAGES", file=sys.stderr)
    return 0


def copy(found: Snapshot, out: Path) -> Path:
    """Copy a snapshot: a run to its place in an output folder, anything else to a folder of its own."""
    from divsal_bench.runs import store

    store.check_writable(out)
    present = [name for name in PUBLISHED if (found.folder / name).is_file()]
    if RUN_FILE not in present:
        target = out / f"{found.repo.partition('/')[2]}-{found.commit[:8]}"
        target.mkdir(parents=True, exist_ok=True)
        tidy([target])
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
        link.leave(folder, link.Link(found.repo, found.commit, weights_sha256(folder), endpoint() or link.PUBLIC))

    return store.save_run(out, record, write_files, as_it_is=True)
