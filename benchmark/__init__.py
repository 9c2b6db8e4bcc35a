"""divsal-bench: a benchmark for training image classifiers with human saliency.

>>> import divsal_bench
>>> divsal_bench.list_methods()                                    # doctest: +SKIP
>>> runs = divsal_bench.run("cxr", method="all", seeds=5)          # doctest: +SKIP
>>> divsal_bench.load_run(runs[0].path).record.scores.open_set     # doctest: +SKIP

Torch is imported only when something is trained.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from divsal_bench.contracts.method import Method
    from divsal_bench.contracts.task import Task
    from divsal_bench.data.arrays import DataArrays
    from divsal_bench.predict.prediction import Pretrained
    from divsal_bench.runs.reading import Run

__all__ = [
    "__version__",
    "list_methods",
    "list_tasks",
    "load_data",
    "load_method",
    "load_pretrained",
    "load_run",
    "load_task",
    "run",
]


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib.metadata import version

        return version("divsal-bench")
    raise AttributeError(f"module 'divsal_bench' has no attribute {name!r}")


def list_tasks() -> list[str]:
    """Names of all tasks."""
    from divsal_bench.registry import plugins

    return list(plugins.tasks().found)


def list_methods() -> list[str]:
    """Names of all methods, as tables order them."""
    from divsal_bench.registry import plugins

    return plugins.ranked_order(plugins.methods().found)


def load_task(name: str) -> Task:
    """The task of this name; UserError with the closest name otherwise."""
    from divsal_bench.registry import plugins

    return plugins.tasks().get(name)


def load_method(text: str) -> Method:
    """A method ready to train with, e.g. ``load_method("cyborg:alpha=0.3")``."""
    from divsal_bench.registry import method_choice

    return method_choice.choose_method(text).build()


def load_data(task: str, data: str | None = None, size: int = 64) -> DataArrays:
    """A task's data as memory-mapped uint8 arrays of ``size`` px.

    Args:
        task: A task's name.
        data: A prepared folder, a Hub id, or a stand-in variant; None as :func:`run` chooses.
        size: Side of the square images.
    """
    from divsal_bench.data import arrays, catalogue

    found = load_task(task)
    return arrays.load(found, catalogue.resolve(found, data), size)


def load_run(path: str | Path) -> Run:
    """One run from its directory: record, and predictions on demand."""
    from divsal_bench.runs.reading import read_run

    return read_run(Path(path))


def load_pretrained(name: str | Path) -> Pretrained:
    """A trained network with its preprocessing and its decision threshold; :meth:`Pretrained.predict` scores images.

    Args:
        name: A run directory, or a model on the Hugging Face Hub as ``org/name[@revision]``: one pushed by this
            program (``seed-N`` are its seeds' branches, ``main`` is seed 0), or any timm repository with two classes.

    Raises:
        UserError: There is no such thing, it cannot be reached, or it is not safe to load.
    """
    import warnings

    from divsal_bench.hub.pull import snapshot
    from divsal_bench.predict import loading

    if Path(name).exists():
        return loading.load(Path(name), str(name))
    found = snapshot(str(name))
    if found.notice:
        warnings.warn(found.notice, stacklevel=2)
    return loading.load(found.folder, found.origin)


def run(
    task: str | Iterable[str],
    method: str | Iterable[str] = "all",
    *,
    seeds: int | Iterable[int] = 5,
    protocol: str = "quick-v1",
    backbone: str | None = None,
    head: str = "two-logit",
    data: str | None = None,
    device: str = "auto",
    workers: int = 0,
    out: str | Path = "runs",
) -> list[Run]:
    """Run what is missing of a grid; the function behind ``divsal-bench run``.

    Args:
        task: A name or several.
        method: As ``--method``, or a list of such: names joined by commas, ``all``, ``all,controls``, fields after
            a colon.
        seeds: How many, from 0; or which.
        protocol: A protocol's name.
        backbone: A timm name; None takes the protocol's.
        head: ``two-logit`` or ``one-logit``.
        data: A prepared folder, a Hub id, or a stand-in variant; None takes the task's prepared data
            if there is any, else its stand-in.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        workers: Processes; 0 runs in this one.
        out: The output folder; runs it already holds are returned, not run again.

    Returns:
        Every run asked for, whatever its status.

    Raises:
        UserError: Something is wrong that the caller can mend.
    """
    from divsal_bench.errors import UserError
    from divsal_bench.grid import planning, pool
    from divsal_bench.registry import method_choice, protocols
    from divsal_bench.words import HEADS

    chosen = next((known for known in HEADS if known == head), None)
    if chosen is None:
        raise UserError(f"unknown head {head!r}; give one of {', '.join(HEADS)}")
    grid = planning.Grid(
        tasks=(task,) if isinstance(task, str) else tuple(task),
        methods=tuple(method_choice.choose_methods(method if isinstance(method, str) else ",".join(method))),
        seeds=tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds),
        out=Path(out),
        protocol=protocols.find_protocol(protocol),
        backbone=backbone,
        head=chosen,
        data=data,
        device=device,
    )
    plans = planning.plan(grid)
    new = pool.execute([job for plan in plans for job in plan.jobs], workers)
    return [found for plan in plans for found in plan.done] + new
