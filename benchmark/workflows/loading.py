"""What Python users look up by name: tasks, methods, data, runs and trained networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.registry import method_choice, plugins
from divsal_bench.workflows.selection import takes

if TYPE_CHECKING:
    from divsal_bench.contracts.method import Method
    from divsal_bench.contracts.task import Task
    from divsal_bench.data.arrays import DataArrays
    from divsal_bench.prediction.finding import Model
    from divsal_bench.prediction.pretrained import Pretrained
    from divsal_bench.runs.reading import Run


def list_tasks() -> list[str]:
    """Names of all tasks.

    Returns:
        The names, in alphabetical order.

    Raises:
        UserError: Two plugins have one name.

    Example:
        >>> import divsal_bench
        >>> divsal_bench.list_tasks()
        ['cxr', 'face-forgery', 'face-pad', 'iris-pad']
    """
    return list(plugins.tasks().found)


def list_methods() -> list[str]:
    """Names of all methods.

    Returns:
        The names, as tables order them.

    Raises:
        UserError: Two plugins have one name.

    Example:
        >>> import divsal_bench
        >>> divsal_bench.list_methods()[:3]
        ['cross-entropy', 'balanced-cross-entropy', 'cyborg']
    """
    return plugins.ranked_order(plugins.methods().found)


def load_task(name: str) -> Task:
    """Look a task up.

    Args:
        name: The task's name.

    Returns:
        Its declaration.

    Raises:
        UserError: There is no such task; the closest name is named.

    Example:
        >>> import divsal_bench
        >>> divsal_bench.load_task("cxr").class_names
        ('normal', 'abnormal')
    """
    if not isinstance(name, str):
        raise takes("name", "a task's name", name)
    return plugins.tasks().get(name)


def load_method(method: str) -> Method:
    """A method ready to train with.

    Args:
        method: Its name, and fields after a colon.

    Returns:
        The method with these fields.

    Raises:
        UserError: There is no such method or field, or the value is none.

    Example:
        >>> import divsal_bench
        >>> divsal_bench.load_method("cyborg:alpha=0.3").alpha
        0.3
    """
    if not isinstance(method, str):
        raise takes("method", "a name, with fields after a colon", method)
    return method_choice.choose_method(method).build()


def load_data(task: str, data: str | Path | None = None, *, size: int = 64) -> DataArrays:
    """A task's data as memory-mapped uint8 arrays of ``size`` px.

    Args:
        task: A task's name.
        data: A prepared folder, a Hub id, or a stand-in variant; None as :func:`divsal_bench.run` chooses.
        size: Side of the square images.

    Returns:
        Images, human maps and rows of all splits.

    Raises:
        UserError: There is no such task or data.

    Example:
        >>> import divsal_bench
        >>> found = divsal_bench.load_data("cxr", "standin", size=32)
        >>> found.images.shape[1:], len(found.rows) == len(found.images)
        ((1, 32, 32), True)
    """
    from divsal_bench.data import arrays, catalogue

    found = load_task(task)
    return arrays.load_arrays(found, catalogue.resolve(found, None if data is None else str(data)), size)


def load_run(run: str | Path) -> Run:
    """One run: its record, and its predictions on demand.

    Args:
        run: The run directory.

    Returns:
        The run.

    Raises:
        UserError: There is none, or it is damaged.

    Example:
        >>> from pathlib import Path
        >>> import divsal_bench
        >>> run = divsal_bench.load_run(next(Path("runs/cxr/cyborg").iterdir()))
        >>> run.record.status, "logit1" in run.predictions()
        ('done', True)
    """
    from divsal_bench.runs.reading import read_run

    if not isinstance(run, str | Path):
        raise takes("run", "a run directory as text or Path", run)
    return read_run(Path(run))


def load_pretrained(model: Model) -> Pretrained:
    """A trained network with its preprocessing and its decision threshold; :meth:`Pretrained.predict` scores images.

    Args:
        model: A run directory, a :class:`Run`, or a model on the Hugging Face Hub as ``org/name[@revision]``: one
            pushed by this program (``seed-N`` are its seeds' branches, ``main`` is seed 0), or any timm repository
            with two classes. A network that was loaded is returned as it is.

    Returns:
        The network.

    Raises:
        UserError: There is no such thing, it cannot be reached, or it is not safe to load.

    Example:
        >>> from pathlib import Path
        >>> import divsal_bench
        >>> network = divsal_bench.load_pretrained(next(Path("runs/cxr/cyborg").iterdir()))
        >>> network.class_names
        ('normal', 'abnormal')
    """
    import warnings

    from divsal_bench.prediction import finding

    heard: list[str] = []
    found = finding.open_model(model, None, heard.append)
    for notice in heard:
        warnings.warn(notice.removeprefix("notice: "), stacklevel=2)
    return found
