"""Prepare: what an adapter reads becomes a canonical data set, every row checked on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.contracts.adapter import Adapter, Row
from divsal_bench.contracts.task import Task
from divsal_bench.data import catalogue, reading, spelling, writer
from divsal_bench.data.canonical import SPLITS, Count, Progress
from divsal_bench.data.delivered_files import misplaced_files
from divsal_bench.data.delivered_rows import kept_samples
from divsal_bench.data.rules import Rules
from divsal_bench.data.terms import one_spelling
from divsal_bench.errors import UserError, refusal, unknown

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Prepared:
    """A data set that was written.

    Attributes:
        counts: Rows per split and source.
        notices: What was left out or is unusual, in plain language.
        rows: Columns :data:`divsal_bench.data.canonical.COLUMNS`.
    """

    path: Path
    counts: tuple[Count, ...]
    notices: tuple[str, ...]
    fingerprint: str
    rows: pd.DataFrame = field(repr=False)

    def frame(self) -> pd.DataFrame:
        """One row a sample, with the columns of the canonical form."""
        return self.rows


def prepare_data_set(
    task: Task,
    adapter: Adapter,
    source: Path | None,
    out: Path,
    options: Mapping[str, str] | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Prepared:
    """Read a data set as delivered, check every row, and write it in canonical form.

    Args:
        source: The file or folder the adapter reads; None only for an adapter that needs none.
        out: The folder to write; it appears whole or not at all.
        options: The adapter's options, and those of :data:`divsal_bench.data.reading.OPTIONS`.
        force: Whether a data set already in ``out`` is replaced.

    Raises:
        UserError: What is wrong, in which row and file, and what to do: all mistakes at once, one line for each kind.
    """
    options = options or {}
    for name in options:
        if name not in adapter.options and not reading.is_option(name):
            raise unknown(f"option of the adapter {adapter.name}", name, (*adapter.options, *reading.OPTIONS))
    told = reading.told({name: value for name, value in options.items() if name not in adapter.options})
    writer.check_target(out, force)
    if source is None and adapter.needs_source:
        raise UserError(f"the adapter {adapter.name} needs --source: {adapter.description}")
    if source is not None and not source.exists():
        raise UserError(f"there is no file or folder {source}; check --source")
    if force and source is not None and source.resolve().is_relative_to(out.resolve()):
        raise UserError(f"{source} lies in {out}, which --force would replace; move it, or choose another --out")

    source = source or Path()
    delivery = adapter.read(source, task, {name: options[name] for name in options if name in adapter.options})
    rows = [_composed(row) for row in delivery.rows]
    root = (source if source.is_dir() else source.parent).resolve()
    rules = Rules(task.class_names, task.category_meaning)
    for row in rows:
        has_map = row.saliency is not None
        names = (row.source, row.category, row.subject, row.saliency_kind)
        rules.add(row.where, row.sample_id, row.split, row.label, *names, has_map)
    # What a set lacks as a whole is known once every row can be read.
    found = [
        *delivery.mistakes,
        *(rules.mistakes if delivery.mistakes else rules.finish()),
        *misplaced_files(rows, root),
    ]
    if found:
        raise refusal(found)
    rows.sort(key=lambda row: (SPLITS.index(row.split), row.sample_id))

    notices = [*delivery.notices, *rules.warnings()]
    readings: dict[str, dict[str, str]] = {}
    info = writer.write_data_set(
        out,
        kept_samples(rows, root, task, told, notices, readings, progress),
        task=task.name,
        class_names=task.class_names,
        adapter=adapter.name,
        sources=one_spelling(delivery.terms),
        notices=notices,
        readings=readings,
        force=force,
    )
    if out.absolute() == catalogue.default_folder(task.name):
        catalogue.remember_prepared(out)
    return Prepared(out, info.counts, info.notices, info.fingerprint, rules.rows())


def _composed(row: Row) -> Row:
    """A row whose names are written with composed letters, whatever the system that wrote them."""
    source, category, subject = (spelling.composed(name) for name in (row.source, row.category, row.subject))
    return replace(row, source=source, category=category, subject=subject)
