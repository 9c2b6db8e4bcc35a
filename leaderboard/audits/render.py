"""Audit tables as text: blocks for a terminal and Markdown, long CSV, JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from divsal_bench.files import escaping, text_tables
from divsal_bench.leaderboard.audits.blocks import audit_notes, text_blocks
from divsal_bench.leaderboard.audits.cells import class_role
from divsal_bench.leaderboard.audits.table import AuditTable
from divsal_bench.leaderboard.tables.flat import records_csv
from divsal_bench.leaderboard.tables.render import without_nan

AuditFormat = Literal["terminal", "markdown", "csv", "json"]


def render_audits(tables: Sequence[AuditTable], form: AuditFormat, width: int | None = None) -> str:
    """Write audit tables; every number of CSV and JSON is unrounded.

    Args:
        width: Of the terminal, in characters, to which tables and notes are folded; None folds nothing.
    """
    if form == "json":
        return json.dumps([audit_content(table) for table in tables], indent=1)
    if form == "csv":
        return records_csv([row for table in tables for row in long_rows(table)])
    return "\n\n".join(audit_text(table, form, width) for table in tables)


def audit_heading(table: AuditTable) -> str:
    """One line that names everything a row depends on."""
    group = table.group
    head = "" if group.head == "two-logit" else f" · {group.head}"
    data = f"data {table.data} ({group.fingerprint[:8]})"
    return f"audit · {group.task} · {data} · {group.protocol} · {group.backbone}{head}"


def audit_text(table: AuditTable, form: AuditFormat, width: int | None = None) -> str:
    """Heading, blocks and notes."""
    markdown = form == "markdown"
    parts = [f"**{escaping.markdown(audit_heading(table))}**" if markdown else audit_heading(table)]
    for block in text_blocks(table):
        if block.rows:
            rows = escaping.escaped_rows(block.rows, form)
            align = "".join("l" if head in ("method", "images", "order") else "r" for head in block.headers)
            text = text_tables.fitted_table(
                rows, block.headers, align, "github" if markdown else "simple", None if markdown else width
            )
            parts.append(f"{f'**{block.title}**' + chr(10) if markdown else block.title}\n{text}")
        else:
            parts.append(f"**{block.title}**" if markdown else block.title)
        parts.append(notes_text(block.notes, form, width))
    parts.append(notes_text(audit_notes(table), form, width))
    return "\n\n".join(part for part in parts if part)


def notes_text(said: Iterable[str], form: AuditFormat, width: int | None) -> str:
    """Notes, a line each or more where they are folded."""
    if form == "markdown":
        return "\n".join(f"- {escaping.markdown(note)}" for note in said)
    return "\n".join(line for note in said for line in text_tables.wrapped_lines(note, width, "  "))


def shared_facts(table: AuditTable) -> dict[str, Any]:
    """What every row of a table shares."""
    names = ("task", "fingerprint", "protocol", "backbone", "head")
    shared = {name: getattr(table.group, name) for name in names}
    return {"task": shared.pop("task"), "data": table.data, **shared}


def long_rows(table: AuditTable) -> Iterator[dict[str, Any]]:
    """One row for each number of each method, and for each reason why there is none."""
    for row in table.rows:
        head = {**shared_facts(table), "method": row.label, "kind": row.kind}
        accuracy = (("in_domain", row.in_domain), ("open_set", row.open_set))
        found = [("accuracy", "decision", "all", name, value) for name, value in accuracy]
        found += [(one.block, one.of, one.images, one.metric, value) for one, value in row.values.items()]
        for block, of, group, metric, value in found:
            cell = value.cell
            yield {
                **head, "block": block, "of": of, "group": group, "role": class_role(table, group), "metric": metric,
                "mean": cell.mean, "sd": cell.sd, "low": cell.low, "high": cell.high, "n": cell.n,
                "missing": value.missing, "fewest_images": value.fewest, "most_images": value.most, "undefined": "",
            }  # fmt: skip
        blank = dict.fromkeys(("mean", "sd", "low", "high"), math.nan)
        for one in table.reasons:
            if row.label in one.labels:
                yield {
                    **head, "block": one.block, "of": one.of, "group": "", "role": "", "metric": "", **blank, "n": 0,
                    "missing": len(row.seeds), "fewest_images": 0, "most_images": 0, "undefined": one.why,
                }  # fmt: skip


def audit_content(table: AuditTable) -> dict[str, Any]:
    """Everything about one table."""
    one = table.audits[0]
    content = {
        **shared_facts(table),
        "settings": one.settings.model_dump(mode="json"),
        "grid": one.grid,
        "train": one.train_counts,
        "test": one.test,
        "maps": one.maps,
        "minority": one.minority,
        "without": table.without,
        "methods": [
            {"method": row.label, "kind": row.kind, "seeds": row.seeds, "unaudited": row.unaudited}
            for row in table.rows
        ],
        "numbers": [
            {name: value for name, value in row.items() if name in AFTER_FACTS} for row in long_rows(table)
            if not row["undefined"]
        ],
        "undefined": [dataclasses.asdict(reason) for reason in table.reasons],
        "notes": [note for block in text_blocks(table) for note in block.notes] + audit_notes(table),
    }  # fmt: skip
    found: dict[str, Any] = without_nan(content)
    return found


AFTER_FACTS = (
    "method", "block", "of", "group", "role", "metric", "mean", "sd", "low", "high", "n", "missing", "fewest_images",
    "most_images",
)  # fmt: skip
