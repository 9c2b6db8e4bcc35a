"""What a change of accepted results does to the board, as Markdown for a reviewer. The text may be hostile."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from divsal_bench.files.texts import spaced
from divsal_bench.leaderboard.accepted.board_file import SavedBoard
from divsal_bench.leaderboard.sheets.entries import Entry, Group, Sheet
from divsal_bench.leaderboard.sheets.scored import Metric
from divsal_bench.leaderboard.statistics.families import ALPHA
from divsal_bench.leaderboard.tables.schema import Agreement, MethodRow, Table

NONE = "–"
#: Characters that mean something in Markdown or HTML, or make a mention or a link.
SPECIAL = re.compile(r"[\\`*_{}\[\]()<>#+!|~@:/&$]|(?<=www)[.]", re.IGNORECASE)
#: A summary that is longer is cut: GitHub refuses more than 1 MiB.
MOST_LINES = 400
#: What the table of changes shows of a row; the other facts are listed below it.
SHOWN = ("primary", "runs", "rank", "stars", "state")
#: A longer fact is cut; the hash of the claim still tells two long ones apart.
MOST_FACT = 300


@dataclass(frozen=True)
class Facts:
    """What of a row is compared, as it is shown: first what stands in the table, then the other facts.

    Attributes:
        claim: Short hash of the result's file: any edit shows.
        proofs: Each as ``what – stated by who``.
    """

    primary: str
    runs: str
    rank: str
    stars: str
    state: str
    in_domain: str
    worst: str
    lift: str
    difference_lift: str
    kind: str
    submitter: str
    fields: str
    field_metrics: str
    claim: str
    proofs: tuple[str, ...]


def changes(
    base: SavedBoard, new: SavedBoard, base_sheets: Sequence[Sheet] = (), new_sheets: Sequence[Sheet] = ()
) -> str:
    """Rows added, removed and changed, table by table.

    Args:
        base_sheets: What ``base`` was computed from: tells the fields, the proofs and the hashes of the claims.
        new_sheets: The same for ``new``.

    Returns:
        Markdown in which nothing from a result file can act: every such text is escaped.
    """
    before, after = ({one.table.group: one.table for one in found.tables} for found in (base, new))
    old, now = (
        {(sheet.group, entry.label): entry for sheet in sheets for entry in sheet.entries}
        for sheets in (base_sheets, new_sheets)
    )
    parts = []
    for key in sorted(before.keys() | after.keys()):
        was, found = (
            facts_by_label(each[key], own) if key in each else {} for each, own in ((before, old), (after, now))
        )
        lines = list(table_changes(was, found))
        if lines:
            parts.append(f"### {table_line(after.get(key) or before[key])}\n\n" + "\n".join(lines))
    if not parts:
        return "## Board\n\nNo row changes."
    lines = "\n\n".join(["## Board", *parts]).split("\n")
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], "", f"… and {len(lines) - MOST_LINES} more lines"]
    return "\n".join(lines)


def table_line(table: Table) -> str:
    """One line that names a table."""
    parts = [table.task, f"data {table.data} ({table.fingerprint[:8]})", table.protocol, table.backbone]
    parts += [table.head] * (table.head != "two-logit")
    return f"{' · '.join(map(escaped, parts))} · {table.primary} AUROC"


def table_changes(old: dict[str, Facts], new: dict[str, Facts]) -> Iterable[str]:
    """A Markdown table of the rows that changed, and what else is to be said of them; nothing if none did."""
    changed = [label for label in sorted(old.keys() | new.keys()) if old.get(label) != new.get(label)]
    if not changed:
        return
    yield "| change | method | primary, mean [95 % population interval] | runs | rank | significant | state |"
    yield "|---|---|---|---|---|---|---|"
    for label in changed:
        was, now = old.get(label), new.get(label)
        word = "added" if was is None else "removed" if now is None else "changed"
        cells = [old_and_new(getattr(was, name, None), getattr(now, name, None)) for name in SHOWN]
        yield f"| {word} | {escaped(label)} | " + " | ".join(cells) + " |"
    notes = [f"- {escaped(label)}: {note}" for label in changed for note in notes_of(old.get(label), new.get(label))]
    if notes:
        yield from ("", *notes)


def notes_of(was: Facts | None, now: Facts | None) -> Iterable[str]:
    """The facts of a row that changed and are no column of the table, and its new proofs."""
    if was is not None and now is not None:
        names = [one.name for one in fields(Facts) if one.name not in (*SHOWN, "proofs")]
        pairs = [(name, getattr(was, name), getattr(now, name)) for name in names]
        other = [f"{name.replace('_', ' ')} {old} → {new}" for name, old, new in pairs if old != new]
        lost = [proof for proof in was.proofs if proof not in now.proofs]
        other += [f"no longer: {proof}" for proof in lost]
        if other:
            yield f"other facts changed: {'; '.join(other)}"
    if now is not None:
        for proof in now.proofs:
            if was is None or proof not in was.proofs:
                yield f"{proof}, not established by this check"


def old_and_new(was: str | None, now: str | None) -> str:
    """Old and new; one of them where they agree or there is one only."""
    return " → ".join(dict.fromkeys(text for text in (was, now) if text is not None))


def facts_by_label(table: Table, entries: dict[tuple[Group, str], Entry]) -> dict[str, Facts]:
    """What of each row is compared, by label."""
    return {row.label: row_facts(table, row, entries.get((table.group, row.label))) for row in table.rows}


def row_facts(table: Table, row: MethodRow, entry: Entry | None) -> Facts:
    """What of one row is compared."""
    return Facts(
        primary=score_text(row.primary),
        runs=run_count(row),
        rank=NONE if row.rank is None else rank_span(row.rank.low, row.rank.high, row.rank.top),
        stars=significant_tests(table, row.label),
        state=escaped(row.standing.state if row.standing else NONE),
        in_domain=score_text(row.in_domain),
        worst=score_text(row.worst),
        lift=mean_lift(row.true_cam),
        difference_lift=mean_lift(row.difference_map),
        kind=escaped(row.kind),
        submitter=escaped(row.standing.submitter if row.standing else NONE),
        fields=cut_and_escaped(json.dumps(entry.fields, sort_keys=True)) if entry else NONE,
        field_metrics=field_metrics_text(row),
        claim=escaped(entry.content) if entry else NONE,
        proofs=tuple(f"{cut_and_escaped(what)} – stated by {cut_and_escaped(who)}" for who, what in entry.proofs)
        if entry
        else (),
    )


def mean_lift(found: Agreement | None) -> str:
    """``1.5123``."""
    return NONE if found is None else f"{found.lift.mean:.4f}"


def field_metrics_text(row: MethodRow) -> str:
    """``ap on all = 0.9012, …``."""
    parts = [
        f"{one.metric} on {one.condition} = {NONE if one.value is None else f'{one.value.mean:.4f}'}"
        for one in row.field_metrics
    ]
    return cut_and_escaped(", ".join(parts)) if parts else NONE


def cut_and_escaped(text: str) -> str:
    """Text from outside, cut and escaped."""
    return escaped(text if len(text) <= MOST_FACT else f"{text[:MOST_FACT]}…")


def score_text(metric: Metric) -> str:
    """``0.812 [0.790, 0.834]``."""
    if metric.seeds.n == 0 or math.isnan(metric.seeds.mean):
        return "n/a"
    text = f"{metric.seeds.mean:.4f}"
    found = metric.population
    return text if found is None or math.isnan(found.low) else f"{text} [{found.low:.4f}, {found.high:.4f}]"


def run_count(row: MethodRow) -> str:
    """``10``, or ``9 (1 failed)``."""
    lost = row.failed + row.diverged
    return f"{len(row.seeds)} ({lost} without result)" if lost else str(len(row.seeds))


def rank_span(low: int, high: int, top: bool) -> str:
    """``1–3, top``."""
    text = str(low) if low == high else f"{low}–{high}"
    return f"{text}, top" if top else text


def significant_tests(table: Table, label: str) -> str:
    """The tests of a row that are significant in their family, with direction and adjusted p."""
    found = [
        f"{'>' if test.comparison.difference > 0 else '<'} {test.second} (p = {test.p_holm:.3f})"
        for test in table.tests
        if test.first == label and test.p_holm <= ALPHA
    ]
    return escaped("; ".join(found)) if found else NONE


def escaped(text: str) -> str:
    """Text as HTML entities where Markdown, HTML or GitHub would read it as more than text."""
    return SPECIAL.sub(lambda found: f"&#{ord(found[0])};", spaced(text))
