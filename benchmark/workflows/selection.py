"""Runs by the tasks and methods that are named."""

from __future__ import annotations

from divsal_bench.errors import UserError
from divsal_bench.registry.method_choice import choose_method, split_items
from divsal_bench.runs.reading import Run


def runs_named(runs: list[Run], tasks: str | None, methods: str | None) -> list[Run]:
    """Runs of the named tasks and methods; a name alone is the method with its default fields.

    Raises:
        UserError: None is left.
    """
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


def label_of_item(method: str) -> str:
    """A method as tables call it, however its fields were written; as it is where it is not installed here."""
    try:
        return choose_method(method).label
    except UserError:
        return method
