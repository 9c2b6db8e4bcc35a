"""Audit columns beside the board: the few numbers of an audit that stand next to ranks."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from divsal_bench.errors import UserError
from divsal_bench.leaderboard.audits.cells import number_of_row, quantity
from divsal_bench.leaderboard.audits.table import AuditRow, AuditTable
from divsal_bench.leaderboard.tables import flat, readable, render, wording
from divsal_bench.leaderboard.tables.schema import Table
from divsal_bench.runs.audit_record import Quantity

#: Name in CSV and JSON, heading, and what stands in the column.
COLUMNS: dict[str, tuple[str, Quantity]] = {
    "audit_pe": ("PE", quantity("energy", "difference", "all", "pe")),
    "audit_lift": ("lift", quantity("energy", "difference", "all", "lift")),
    "audit_empty": ("empty", quantity("energy", "difference", "all", "empty")),
    "audit_drop": ("drop", quantity("fidelity", "difference", "all", "drop")),
    "audit_drop_random": ("drop, random", quantity("fidelity", "random", "all", "drop")),
    "audit_agreement": ("class agreement %", quantity("sensitivity", "true-class", "all", "agreement")),
    "audit_shift": ("fooling shift", quantity("fooling", "true-class", "all", "shift")),
    "audit_bias_share": ("bias share", quantity("decision", "decision", "all", "bias_share")),
    "audit_common_share": ("common mode", quantity("decision", "head", "all", "common_share")),
}
MEANING = (
    "PE, lift, empty and drop are of the difference map; class agreement and fooling shift of the true-class CAM. "
    "Means over seeds with 95 % t-intervals on exactly these test images; exploratory, nothing is tested."
)


@dataclass(frozen=True)
class AuditBlock:
    """Audit columns of one table, as text.

    Attributes:
        rows: The method, then a number and its interval, or "", for each column.
    """

    headers: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    notes: tuple[str, ...]


def render_with_audits(
    tables: Sequence[Table], audits: Sequence[AuditTable], form: render.Format, width: int | None = None
) -> str:
    """Write board tables with the audit columns there are, folded to a terminal's width; UserError for LaTeX."""
    if form == "latex":
        raise UserError("audit columns are not written as LaTeX; take markdown, csv or json, or leave --audit out")
    pairs = [(table, audits_of(table, audits)) for table in tables]
    if form == "csv":
        return flat.records_csv(
            [row_with_audit(table, audit, row.label) for table, audit in pairs for row in table.rows]
        )
    if form == "json":
        return json.dumps([content_with_audit(table, audit) for table, audit in pairs], indent=1)
    return "\n\n".join(
        f"{readable.table_text(table, form, width)}\n\n{audit_columns_text(audit_columns(table, audits), form, width)}"
        for table in tables
    )


def audits_of(table: Table, audits: Sequence[AuditTable]) -> AuditTable | None:
    """The audits that belong to a table."""
    return next((one for one in audits if one.group == table.group), None)


def audit_columns(table: Table, audits: Sequence[AuditTable]) -> AuditBlock:
    """The audit columns of every method of a table, in its order; a note names the command that fills gaps."""
    audit = audits_of(table, audits)
    rows = {row.label: row for row in audit.rows} if audit is not None else {}
    found = []
    for one in table.rows:
        texts = [number_and_interval(audit, rows.get(one.label), quantity) for _, quantity in COLUMNS.values()]
        found.append((one.label, tuple((text[0], text[-1] if len(text) > 1 else "") for text in texts)))
    notes = [MEANING]
    without = audit.without if audit is not None else {}
    gaps = [
        one.label for one in table.rows
        if one.seeds and (audit is None or without.get(one.label, 0) > one.failed + one.diverged)
    ]  # fmt: skip
    if gaps:
        notes.append(f"Runs without an audit: {', '.join(gaps)}; `divsal-bench audit RUNS` makes them.")
    if audit is not None:
        used = audit.settings
        notes.append(
            f"Audited with at most {used.images} test images for agreement, drop and fooling, k = {used.k:g} %, "
            f"τ = {used.tau:g} %, {used.fidelity_k:g} % of the cells covered."
        )
        notes += sorted({one.why + "." for one in audit.reasons if not one.of or one.of == "head"})
    return AuditBlock(tuple(head for head, _ in COLUMNS.values()), tuple(found), tuple(notes))


def number_and_interval(audit: AuditTable | None, row: AuditRow | None, wanted: Quantity) -> list[str]:
    """A number and its interval; a dash without an audit."""
    if audit is None or row is None:
        return [wording.NONE]
    return number_of_row(audit, row, wanted.block, wanted.of, wanted.images, wanted.metric).split("\n")


def audit_columns_text(found: AuditBlock, form: render.Format, width: int | None = None) -> str:
    """The columns as a table of their own, below the board's: beside it they would not fit a terminal."""
    gap = " " if form == "markdown" else "\n"
    body = [[label, *(gap.join(filter(None, pair)) for pair in pairs)] for label, pairs in found.rows]
    return readable.titled_text("", ["audit", *found.headers], body, found.notes, form, width)


def audit_numbers(audit: AuditTable | None, label: str) -> dict[str, float | int | None]:
    """Unrounded: mean, interval and number of seeds of each column; None without an audit."""
    row = next((one for one in audit.rows if one.label == label), None) if audit is not None else None
    found: dict[str, float | int | None] = {}
    for name, (_, wanted) in COLUMNS.items():
        value = row.values.get(wanted) if row is not None else None
        cell = value.cell if value is not None and value.cell.n else None
        found |= {
            name: cell.mean if cell else None,
            f"{name}_low": cell.low if cell and not math.isnan(cell.low) else None,
            f"{name}_high": cell.high if cell and not math.isnan(cell.high) else None,
            f"{name}_n": cell.n if cell else 0,
        }
    return found


def row_with_audit(table: Table, audit: AuditTable | None, label: str) -> dict[str, Any]:
    """The board's columns, then those of the audit."""
    row = next(one for one in table.rows if one.label == label)
    own = {name: "" if value is None else value for name, value in audit_numbers(audit, label).items()}
    return {**flat.method_record(table, row), **own}


def content_with_audit(table: Table, audit: AuditTable | None) -> dict[str, Any]:
    """The table, each row with its audit."""
    content: dict[str, Any] = render.without_nan(dataclasses.asdict(table))
    for row in content["rows"]:
        row["audit"] = audit_numbers(audit, row["label"])
    return content
