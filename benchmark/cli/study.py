"""``divsal-bench study``: three published findings, looked for on this benchmark's data."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from divsal_bench.cli import say, tables
from divsal_bench.cli.run import with_progress
from divsal_bench.errors import plural
from divsal_bench.files import escaping
from divsal_bench.leaderboard.statistics.over_seeds import seed_cell

if TYPE_CHECKING:
    from divsal_bench.studies.study_table import StudyTable


def command(arguments: argparse.Namespace) -> int:
    """Train what is missing, measure, print."""
    from divsal_bench.workflows import studying

    found = with_progress(
        lambda on_event: studying.study(
            arguments.study, arguments.runs or None, task=arguments.task, seeds=arguments.seeds, data=arguments.data,
            images=arguments.images, k=arguments.k, tau=arguments.tau, epochs=arguments.epochs,
            protocol=arguments.protocol, device=arguments.device, workers=arguments.workers, out=arguments.out,
            say=say, on_event=on_event,
        )
    )  # fmt: skip
    print(rendered_study(found, arguments.format))
    return 0


def rendered_study(found: Sequence[StudyTable], form: str) -> str:
    """All tables as text."""
    if form == "json":
        return json.dumps([study_json(table) for table in found], indent=1)
    if form == "csv":
        lines = [
            [table.title, " / ".join(key), name, *(json_value(value) for value in over_its_seeds(values))]
            for table in found
            for key, row in table.rows.items()
            for name, values in row.items()
        ]
        return escaping.csv_text([["table", "row", "metric", "mean", "low", "high", "n"], *lines])
    return "\n\n".join(study_text(table, form) for table in found)


def study_text(table: StudyTable, form: str) -> str:
    """One table for people: mean [95 % t-interval over seeds]."""
    metrics = list(dict.fromkeys(name for row in table.rows.values() for name in row))
    count = max((len(found) for row in table.rows.values() for found in row.values()), default=0)
    lines = [[*key, *(mean_and_interval(row.get(name, [])) for name in metrics)] for key, row in table.rows.items()]
    markdown = form == "markdown"
    rows = escaping.escaped_rows(lines, form)
    body = tables.shown_table(rows, [*table.keys, *metrics], style="github" if markdown else "simple")
    notes = [f"n = {plural(count, 'seed')}: mean [95 % t-interval over seeds].", *table.notes]
    heading = f"**{table.title}**" if markdown else table.title
    return "\n".join([heading, "", body, "", *(("- " if markdown else "  ") + note for note in notes)])


def over_its_seeds(found: Sequence[float]) -> tuple[float, float, float, int]:
    """Mean and t-interval of the seeds that have a number."""
    values = np.array([value for value in found if not math.isnan(value)])
    summary = seed_cell(values)
    return summary.mean, summary.low, summary.high, len(values)


def mean_and_interval(found: Sequence[float]) -> str:
    """``mean [low, high]``, or a dash."""
    mean, low, high, count = over_its_seeds(found)
    if not count:
        return "–"
    text = f"{mean:.2f}" if math.isnan(low) or low == high else f"{mean:.2f} [{low:.2f}, {high:.2f}]"
    text = text.replace("-0.00", "0.00")
    return text if count == len(found) else f"{text} (n {count})"


def study_json(table: StudyTable) -> dict[str, Any]:
    """Every seed's number."""
    return {
        "title": table.title,
        "rows": [
            {**dict(zip(table.keys, key, strict=True)), "seeds": {name: list(map(json_value, found)) for name, found in
                                                                  row.items()}}
            for key, row in table.rows.items()
        ],
        "notes": list(table.notes),
    }  # fmt: skip


def json_value(value: float) -> float | None:
    """JSON and CSV have no NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value
