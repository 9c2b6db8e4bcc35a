"""Which runs are meant: by folders or as they were read, by tasks and by methods."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Sequence
from pathlib import Path

from divsal_bench.errors import UserError
from divsal_bench.registry.method_choice import choose_method, split_items
from divsal_bench.runs.reading import Run, collect_runs

#: Runs: an output folder, a run directory, a run that was read, or several of these.
Runs = str | Path | Run | Iterable[str | Path | Run]
#: Names of tasks or methods: one, several, or one text that joins them by commas.
Names = str | Iterable[str]


def listed(runs: Runs, argument: str = "runs") -> list[str | Path | Run]:
    """One or several as a list.

    Raises:
        UserError: There is none, or it is something else.
    """
    several = isinstance(runs, Iterable) and not isinstance(runs, str | bytes)
    found: list[str | Path | Run] = list(runs) if several else [runs]  # type: ignore[arg-type,list-item]
    if not found:
        raise UserError("no runs are given; give an output folder, run directories, or runs")
    for one in found:
        if not isinstance(one, str | Path | Run):
            raise takes(argument, "an output folder, a run directory, a Run, or several of these", one)
        if one == "":
            raise UserError(f"{argument} names no folder; give an output folder or a run directory, . for this one")
    return found


def image_paths(images: str | Path | Iterable[str | Path]) -> list[str | Path]:
    """Images that are named, one or several, as a list.

    Raises:
        UserError: They are no names.
    """
    several = isinstance(images, Iterable) and not isinstance(images, str | bytes)
    found: list[str | Path] = list(images) if several else [images]  # type: ignore[arg-type,list-item]
    for one in found:
        if not isinstance(one, str | Path):
            raise takes("images", "image files, folders or CSV files as text or Path, one or several", one)
    return found


def require_number(argument: str, value: object, *, whole: bool = True) -> None:
    """Refuse what is no number; None, the usual one, passes."""
    if value is not None and not isinstance(value, numbers.Integral if whole else numbers.Real):
        raise takes(argument, "a whole number" if whole else "a number", value)


def takes(argument: str, what: str, given: object) -> UserError:
    """The error for an argument of another kind than it takes."""
    shown = repr(given) if isinstance(given, str | int | float) else type(given).__name__
    return UserError(f"{argument} takes {what}, not {shown:.200}")


def runs_meant(
    runs: Runs, task: Names | None = None, method: Names | None = None, *, argument: str = "runs"
) -> list[Run]:
    """Runs as they are and those of folders, of the named tasks and methods.

    Raises:
        UserError: A folder that holds no run, or none is of that task and method.
    """
    several = listed(runs, argument)
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
    tasks, methods = joined(task, "task"), joined(method, "method")
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


def joined(names: Names | None, argument: str) -> str:
    """Names as one text with commas; "" for none. UserError where ``argument`` is no names."""
    if names is None or isinstance(names, str):
        return names or ""
    several: list[str] = list(names) if isinstance(names, Iterable) else [names]
    for one in several:
        if not isinstance(one, str):
            raise takes(argument, "a name, several, or one text with commas", one)
    return ",".join(several)


def label_of_item(method: str) -> str:
    """A method as tables call it, however its fields were written; as it is where it is not installed here."""
    try:
        return choose_method(method).label
    except UserError:
        return method
