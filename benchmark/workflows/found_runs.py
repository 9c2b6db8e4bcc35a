"""Runs by what people call them: folders on this machine, and repositories of the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from divsal_bench.errors import UserError
from divsal_bench.hub.client import parse_id
from divsal_bench.runs.names import RUN_FILE
from divsal_bench.runs.reading import Run, read_run
from divsal_bench.workflows.selection import Runs, listed, with_those_of
from divsal_bench.workflows.telling import Say, silent


class FoundRun(NamedTuple):
    """One run.

    Attributes:
        origin: Its pinned id on the Hub; "" for one on this machine.
    """

    run: Run
    origin: str

    @property
    def name(self) -> str:
        """What to call it: the pinned id, or its folder."""
        return self.origin or str(self.run.path)


def found_runs(runs: Runs, *, say: Say = silent) -> list[FoundRun]:
    """Runs from folders on this machine, and from the Hub where no such folder is.

    Args:
        runs: Run directories, folders of runs, runs that were read, or as text Hub ids (``org/name[@revision]``).
        say: Told what the user should know of a repository.

    Returns:
        Each run once: those that were read, those of folders, those of the Hub.

    Raises:
        UserError: Neither a folder with runs nor a Hub id, or a repository without a run.

    Example:
        >>> from divsal_bench.workflows.found_runs import found_runs
        >>> all(found.origin == "" for found in found_runs(["runs"]))
        True
    """
    from divsal_bench.hub.pull import snapshot

    ready: list[Run] = []
    folders: list[Path] = []
    pushed: list[str] = []
    for one in listed(runs):
        if isinstance(one, Run):
            ready.append(one)
        elif isinstance(one, str) and not Path(one).exists() and parse_id(one) is not None:
            pushed.append(one)
        else:
            folders.append(Path(one))
    several = [FoundRun(run, "") for run in with_those_of(folders, ready)]
    for name in pushed:
        found = snapshot(name)
        if found.notice:
            say(f"notice: {found.notice}")
        if not (found.folder / RUN_FILE).is_file():
            raise UserError(
                f"{found.origin} has no {RUN_FILE}: nothing can be verified, it was not pushed by divsal-bench"
            )
        several.append(FoundRun(read_run(found.folder), found.origin))
    return several
