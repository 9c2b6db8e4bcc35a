"""What a change of accepted results does to the board, as Markdown for a reviewer. The text may be hostile."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from divsal_bench.leaderboard.board import Row, Table
from divsal_bench.leaderboard.families import ALPHA
from divsal_bench.leaderboard.saved import SavedBoard
from divsal_bench.leaderboard.scored import Metric

NONE = "–"
#: Characters that mean something in Markdown or HTML, or make a mention or a link.
SPECIAL = re.compile(r"[\\`*_{}\[\]()<>#+!|~@:/&$]|(?<=www)[.]", re.IGNORECASE)
#: A summary that is longer is cut: GitHub refuses more than 1 MiB.
MOST_LINES = 400


@dataclass(frozen=True)
class Facts:
    """What of a row is compared, as it is shown."""

    primary: str
    runs: str
    rank: str
    stars: str
    state: str


def changes(base: SavedBoard, new: SavedBoard) -> str:
    """Rows added, removed and changed, table by table.

    Args:
        base: Before.
        new: After.

    Returns:
        Markdown in which nothing from a result file can act: every such text is escaped.
    """
    before, after = ({identity(one.table): one.table for one in found.tables} for found in (base, new))
    parts = []
    for key in sorted(before.keys() | after.keys()):
        lines = list(table_changes(before.get(key), after.get(key)))
        if lines:
            parts.append(f"### {heading(after.get(key) or before[key])}\n\n" + "\n".join(lines))
    if not parts:
        return "## Board\n\nNo row changes."
    lines = "\n\n".join(["## Board", *parts]).split("\n")
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], "", f"… and {len(lines) - MOST_LINES} more lines"]
    return "\n".join(lines)


def identity(table: Table) -> tuple[str, ...]:
    """What makes two tables the same."""
    return table.task, table.fingerprint, table.protocol, table.backbone, table.head, table.digest


def heading(table: Table) -> str:
    """One line that names a table."""
    parts = [table.task, f"data {table.data} ({table.fingerprint[:8]})", table.protocol, table.backbone]
    parts += [table.head] * (table.head != "two-logit")
    return f"{' · '.join(map(escaped, parts))} · {table.primary} AUROC"


def table_changes(before: Table | None, after: Table | None) -> Iterable[str]:
    """A Markdown table of the rows that changed; nothing if none did."""
    old, new = (facts_of(table) if table else {} for table in (before, after))
    changed = [label for label in sorted(old.keys() | new.keys()) if old.get(label) != new.get(label)]
    if not changed:
        return
    yield "| change | method | primary, mean [95 % population interval] | runs | rank | significant | state |"
    yield "|---|---|---|---|---|---|---|"
    for label in changed:
        was, now = old.get(label), new.get(label)
        word = "added" if was is None else "removed" if now is None else "changed"
        cells = [
            arrow(getattr(was, name, None), getattr(now, name, None))
            for name in ("primary", "runs", "rank", "stars", "state")
        ]
        yield f"| {word} | {escaped(label)} | " + " | ".join(cells) + " |"


def arrow(was: str | None, now: str | None) -> str:
    """Old and new; one of them where they agree or there is one only."""
    return " → ".join(dict.fromkeys(text for text in (was, now) if text is not None))


def facts_of(table: Table) -> dict[str, Facts]:
    """What of each row is compared, by label."""
    return {
        row.label: Facts(
            primary=interval(row.primary),
            runs=runs(row),
            rank=NONE if row.rank is None else ranks(row.rank.low, row.rank.high, row.rank.top),
            stars=stars(table, row.label),
            state=escaped(row.standing.state if row.standing else NONE),
        )
        for row in table.rows
    }


def interval(metric: Metric) -> str:
    """``0.812 [0.790, 0.834]``."""
    if metric.seeds.n == 0 or math.isnan(metric.seeds.mean):
        return "n/a"
    text = f"{metric.seeds.mean:.4f}"
    found = metric.population
    return text if found is None or math.isnan(found.low) else f"{text} [{found.low:.4f}, {found.high:.4f}]"


def runs(row: Row) -> str:
    """``10``, or ``9 (1 failed)``."""
    lost = row.failed + row.diverged
    return f"{len(row.seeds)} ({lost} without result)" if lost else str(len(row.seeds))


def ranks(low: int, high: int, top: bool) -> str:
    """``1–3, top``."""
    text = str(low) if low == high else f"{low}–{high}"
    return f"{text}, top" if top else text


def stars(table: Table, label: str) -> str:
    """The tests of a row that are significant in their family, with direction and adjusted p."""
    found = [
        f"{'>' if test.comparison.difference > 0 else '<'} {test.second} (p = {test.p_holm:.3f})"
        for test in table.tests
        if test.first == label and test.p_holm <= ALPHA
    ]
    return escaped("; ".join(found)) if found else NONE


def escaped(text: str) -> str:
    """Text as HTML entities where Markdown, HTML or GitHub would read it as more than text."""
    flat = "".join(character if character.isprintable() else " " for character in text)
    return SPECIAL.sub(lambda found: f"&#{ord(found[0])};", flat)
