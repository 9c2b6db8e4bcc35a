"""Which runs are meant: by folders or as they were read, by tasks and by methods."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from divsal_bench.errors import UserError
from divsal_bench.registry.method_choice import choose_method, split_items
from divsal_bench.runs.reading import Run, collect_runs

#: Runs: an output folder, a run directory, a run that was read, or several of these.
Runs = str | Path | Run | Iterable[str | Path | Run]
#: Names of tasks or methods: one, several, or one text that joins them by commas.
Names = str | Iterable[str]


def listed(runs: Runs) -> list[str | Path | Run]:
    """One or several as a list.

    Raises:
        UserError: There is none.
    """
    found = [runs] if isinstance(runs, str | Path | Run) else list(runs)
    if not found:
        raise UserError("no runs are given; give an output folder, run directories, or runs")
    return found


def runs_meant(runs: Runs, task: Names | None = None, method: Names | None = None) -> list[Run]:
    """Runs as they are and those of folders, of the named tasks and methods.

    Raises:
        UserError: A folder that holds no run, or none is of that task and method.
    """
    several = listed(runs)
    folders = [Path(one) for one in several if not isinstance(one, Run)]
    ready = [one for one in several if isinstance(one, Run)]
    return runs_named(with_those_of(folders, ready), task, method)


def with_those_of(folders: Sequence[Path], ready: Sequence[Run]) -> list[Run]:
    """Runs that were read, then those of folders; each once."""
    found = [*ready, *(collect_runs(folders, Path()) if folders else [])]
    return list({run.path.resolve(): run for run in found}.values())


def runs_named(runs: Sequence[Run], task: Names | None, method: Names | None) -> list[Run]:
    """Runs of the named tasks and methods; a name alone is the method with its default fields.

    Raises:
        UserError: None is left.
    """
    tasks, methods = joined(task), joined(method)
    wanted = {name.strip() for name in tasks.split(",") if name.strip()} if tasks else None
    labels = {label for item in split_items(methods) for label in (item, label_of_item(item))} if methods else None
    kept = [
        run
        for run in runs
        if (wanted is None or run.spec.task in wanted) and (labels is None or run.record.method_label in labels)
    ]
    if not kept:
        there = sorted({f"{run.spec.task} {run.record.method_label}" for run in runs})
        raise UserError(f"no run is of that task and method; there are {', '.join(there[:12])}")
    return kept


def joined(names: Names | None) -> str:
    """Names as one text with commas; "" for none."""
    return "" if names is None else names if isinstance(names, str) else ",".join(names)


def label_of_item(method: str) -> str:
    """A method as tables call it, however its fields were written; as it is where it is not installed here."""
    try:
        return choose_method(method).label
    except UserError:
        return method
