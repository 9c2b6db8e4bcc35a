"""Prepare: data as it is delivered into the canonical form, and a check of what is in that form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.data import catalogue
from divsal_bench.registry import plugins

if TYPE_CHECKING:
    from divsal_bench.data.canonical import Progress
    from divsal_bench.data.check_report import CheckReport
    from divsal_bench.data.prepare import Prepared


def prepare(
    task: str,
    source: Path | None = None,
    *,
    adapter: str = "manifest-csv",
    out: Path | None = None,
    options: Mapping[str, str] | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Prepared:
    """Read a data set as its owner delivers it, check every row, and write it in the canonical form.

    Args:
        task: The task's name.
        source: The file or folder that the adapter reads.
        adapter: How the data is delivered.
        out: The folder to write; it appears whole or not at all. None is the task's own, where runs find it.
        options: The adapter's options, and ``window`` and ``map``: how 16-bit images and maps in colours are read.
        force: Replace a prepared set that is there.
        progress: Called with (rows done, all rows).

    Returns:
        Where it is and what it holds: rows per split and source, notices, the fingerprint.

    Raises:
        UserError: What is wrong, in which row and file, and what to do: all mistakes at once, one line for each kind.

    Example:
        >>> from pathlib import Path
        >>> from divsal_bench.workflows.preparing import prepare
        >>> prepare("cxr", adapter="standin", out=Path("drawn")).counts[0].split  # doctest: +SKIP
        'train'
    """
    from divsal_bench.data.prepare import prepare_data_set

    known = plugins.tasks().get(task)
    reader = plugins.adapters().get(adapter)
    return prepare_data_set(
        known, reader, source, out or catalogue.default_folder(known.name), options, force, progress
    )


def check_data(data: str, *, progress: Progress | None = None) -> CheckReport:
    """Verify a prepared set: is it what it says it is, and can a benchmark stand on it?

    Args:
        data: A task's name, for what is prepared in its usual place, a folder, or a Hub id ``org/name[@revision]``.
        progress: Called with (rows done, all rows).

    Returns:
        Everything that was found; its ``ok`` says whether there are no problems.

    Raises:
        UserError: There is no such data, or it cannot be read at all.

    Example:
        >>> from divsal_bench.workflows.preparing import check_data
        >>> check_data("cxr").ok  # doctest: +SKIP
        True
    """
    from divsal_bench.data.check import check_data_set

    return check_data_set(catalogue.default_folder(data) if data in plugins.tasks().found else data, progress)
