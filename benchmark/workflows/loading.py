"""What Python users look up by name: tasks, methods, data, runs and trained networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.registry import method_choice, plugins

if TYPE_CHECKING:
    from divsal_bench.contracts.method import Method
    from divsal_bench.contracts.task import Task
    from divsal_bench.data.arrays import DataArrays
    from divsal_bench.prediction.pretrained import Pretrained
    from divsal_bench.runs.reading import Run


def list_tasks() -> list[str]:
    """Names of all tasks."""
    return list(plugins.tasks().found)


def list_methods() -> list[str]:
    """Names of all methods, as tables order them."""
    return plugins.ranked_order(plugins.methods().found)


def load_task(name: str) -> Task:
    """The task of this name; UserError with the closest name otherwise."""
    return plugins.tasks().get(name)


def load_method(text: str) -> Method:
    """A method ready to train with, e.g. ``load_method("cyborg:alpha=0.3")``."""
    return method_choice.choose_method(text).build()


def load_data(task: str, data: str | None = None, size: int = 64) -> DataArrays:
    """A task's data as memory-mapped uint8 arrays of ``size`` px.

    Args:
        task: A task's name.
        data: A prepared folder, a Hub id, or a stand-in variant; None as :func:`divsal_bench.run` chooses.
        size: Side of the square images.
    """
    from divsal_bench.data import arrays, catalogue

    found = load_task(task)
    return arrays.load_arrays(found, catalogue.resolve(found, data), size)


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
    from divsal_bench.prediction import loading

    if Path(name).exists():
        return loading.pretrained_in(Path(name), str(name))
    found = snapshot(str(name))
    if found.notice:
        warnings.warn(found.notice, stacklevel=2)
    return loading.pretrained_in(found.folder, found.origin)
