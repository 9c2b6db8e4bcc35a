"""Prepare: data as it is delivered into the canonical form, and a check of what is in that form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.data import catalogue
from divsal_bench.registry import plugins
from divsal_bench.workflows.telling import OnCount, unheard

if TYPE_CHECKING:
    from divsal_bench.data.check_report import CheckReport
    from divsal_bench.data.prepare import Prepared


def prepare(
    task: str,
    source: str | Path | None = None,
    *,
    adapter: str = "manifest-csv",
    out: str | Path | None = None,
    options: Mapping[str, str] | None = None,
    force: bool = False,
    on_row: OnCount = unheard,
) -> Prepared:
    """Read a data set as its owner delivers it, check every row, and write it in the canonical form.

    Args:
        task: The task's name.
        source: The file or folder that the adapter reads.
        adapter: How the data is delivered.
        out: The folder to write; it appears whole or not at all. None is the task's own, where runs find it.
        options: The adapter's options, and ``window`` and ``map``: how 16-bit images and maps in colours are read.
        force: Replace a prepared set that is there.
        on_row: Told how many rows are done, and of how many.

    Returns:
        Where it is and what it holds: rows per split and source, notices, the fingerprint.

    Raises:
        UserError: What is wrong, in which row and file, and what to do: all mistakes at once, one line for each kind.

    Example:
        >>> import divsal_bench
        >>> done = divsal_bench.prepare("cxr", adapter="standin", out="prepared")
        >>> len(done.frame()) == sum(count.negatives + count.positives for count in done.counts)
        True
    """
    from divsal_bench.data.prepare import prepare_data_set

    known = plugins.tasks().get(task)
    reader = plugins.adapters().get(adapter)
    folder = catalogue.default_folder(known.name) if out is None else Path(out)
    return prepare_data_set(known, reader, None if source is None else Path(source), folder, options, force, on_row)


def check_data(data: str | Path, *, on_row: OnCount = unheard) -> CheckReport:
    """Verify a prepared set: is it what it says it is, and can a benchmark stand on it?

    Args:
        data: A task's name, for what is prepared in its usual place, a folder, or a Hub id ``org/name[@revision]``.
        on_row: Told how many rows are done, and of how many.

    Returns:
        Everything that was found; its ``ok`` says whether there are no problems.

    Raises:
        UserError: There is no such data, or it cannot be read at all.

    Example:
        >>> import divsal_bench
        >>> done = divsal_bench.prepare("cxr", adapter="standin", out="checked")
        >>> divsal_bench.check_data("checked").ok
        True
    """
    from divsal_bench.data.check import check_data_set

    return check_data_set(catalogue.default_folder(str(data)) if data in plugins.tasks().found else data, on_row)
