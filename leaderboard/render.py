"""Tables as text: for a terminal, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Sequence
from typing import Any, Literal

from tabulate import tabulate

from divsal_bench.leaderboard.board import Agreement, Row, Table
from divsal_bench.leaderboard.scored import Metric

Format = Literal["terminal", "markdown", "csv", "json"]
FORMATS: tuple[Format, ...] = ("terminal", "markdown", "csv", "json")
NONE = "–"


def render(tables: Sequence[Table], form: Format) -> str:
    """Write tables in one of :data:`FORMATS`; every number of JSON is unrounded."""
    if form == "json":
        return json.dumps([plain(dataclasses.asdict(table)) for table in tables], indent=1)
    if form == "csv":
        return as_csv(tables)
    return "\n\n".join(as_text(table, form) for table in tables)


def heading(table: Table) -> str:
    """One line that names everything a row depends on, and the primary metric."""
    conditions = sum(kind == "scored" and name != "in-domain" for name, kind, _ in table.conditions)
    primary = "in-domain AUROC (primary)"
    if table.primary == "open-set":
        primary = f"open-set AUROC (primary): mean over {conditions} unseen condition{'s' * (conditions != 1)}"
    head = "" if table.head == "two-logit" else f" · {table.head}"
    data = f"data {table.data} ({table.fingerprint[:8]})"
    return f"{table.task} · {data} · {table.protocol} · {table.backbone}{head} · {primary}"


def as_text(table: Table, form: Format) -> str:
    """Heading, table and notes; intervals stand on a second line in a terminal."""
    gap = "\n" if form == "terminal" else " "
    negatives, positives = next((one.maps for one in table.rows if sum(one.maps)), (0, 0))
    headers = [
        "method", "in-domain", "open-set", "worst", "− cross-entropy", "p",
        f"lift true/diff{gap}({negatives}+{positives} maps)", "s/run", "runs",
    ]  # fmt: skip
    adjusted = {test.first: test.p_holm for test in table.tests if test.family == "baseline"}
    body = [
        [
            one.label + ("".join(f"{gap}({mark})" for mark in one.marks)),
            scored(one.in_domain, gap),
            scored(one.open_set, gap),
            scored(one.worst, gap),
            difference(one, gap),
            probability(adjusted.get(one.label)),
            lifts(one),
            f"{one.seconds:.1f}" if one.seeds else NONE,
            run_counts(one),
        ]
        for one in table.rows
    ]
    text = tabulate(
        body, headers, tablefmt="simple" if form == "terminal" else "github", disable_numparse=True,
        colalign=("left",) + ("right",) * (len(headers) - 1),
    )  # fmt: skip
    title = heading(table)
    if form == "markdown":
        return f"**{title}**\n\n{text}\n\n" + "\n".join(f"- {note}" for note in table.notes)
    return f"{title}\n\n{text}\n\n" + "\n".join(f"  {note}" for note in table.notes)


def scored(metric: Metric, gap: str) -> str:
    """``mean ± sd [interval]``."""
    if metric.seeds.n == 0 or math.isnan(metric.seeds.mean):
        return "n/a"
    text = f"{metric.seeds.mean:.3f}"
    if metric.seeds.n > 1:
        text += f" ± {metric.seeds.sd:.3f}"
    interval = metric.population
    if interval is not None and not math.isnan(interval.low):
        # An AUROC lies in [0, 1]; the t-interval of its mean may not.
        text += f"{gap}[{max(interval.low, 0):.3f}, {min(interval.high, 1):.3f}]"
    return text


def difference(one: Row, gap: str) -> str:
    """Difference to cross-entropy with its population interval."""
    found = one.difference
    if found is None:
        return NONE
    text = f"{found.difference:+.3f}"
    return text if math.isnan(found.low) else f"{text}{gap}[{found.low:+.3f}, {found.high:+.3f}]"


def probability(p: float | None) -> str:
    """A p-value with a star where it is at most .05."""
    if p is None:
        return NONE
    if math.isnan(p):
        return "undefined"
    text = "<.001" if p < 0.001 else f"{p:.3f}"
    return text + ("*" if p <= 0.05 else "")


def lifts(one: Row) -> str:
    """Lift of true-class CAM and of difference map."""

    def mean(found: Agreement | None) -> str:
        return NONE if found is None or math.isnan(found.lift.mean) else f"{found.lift.mean:.2f}"

    return f"{mean(one.true_cam)} / {mean(one.difference_map)}"


def run_counts(one: Row) -> str:
    """``5``, or ``4, 1 failed``."""
    parts = [str(len(one.seeds))]
    parts += [f"{count} {word}" for word, count in (("failed", one.failed), ("diverged", one.diverged)) if count]
    return ", ".join(parts)


def as_csv(tables: Sequence[Table]) -> str:
    """One flat row a method."""
    rows = [csv_row(table, one) for table in tables for one in table.rows]
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")


def csv_row(table: Table, one: Row) -> dict[str, Any]:
    """Unrounded numbers; empty where there is none."""
    content: dict[str, Any] = {
        "task": table.task,
        "data": table.data,
        "fingerprint": table.fingerprint,
        "protocol": table.protocol,
        "backbone": table.backbone,
        "head": table.head,
        "primary": table.primary,
        "method": one.label,
        "kind": one.kind,
        "n": len(one.seeds),
        "failed": one.failed,
        "diverged": one.diverged,
        "marks": "; ".join(one.marks),
    }
    for name in ("in_domain", "open_set", "worst"):
        metric: Metric = getattr(one, name)
        content |= {
            name: metric.seeds.mean,
            f"{name}_sd": metric.seeds.sd,
            f"{name}_t_low": metric.seeds.low,
            f"{name}_t_high": metric.seeds.high,
            f"{name}_population_low": metric.population.low if metric.population else None,
            f"{name}_population_high": metric.population.high if metric.population else None,
        }
    test = next((t for t in table.tests if t.family == "baseline" and t.first == one.label), None)
    found = one.difference
    content |= {
        "difference": found.difference if found else None,
        "difference_low": found.low if found else None,
        "difference_high": found.high if found else None,
        "p": test.comparison.p if test else None,
        "p_holm": test.p_holm if test else None,
        "family_size": test.family_size if test else None,
        "smallest_visible_effect": test.smallest_effect if test else None,
        "lift_true": one.true_cam.lift.mean if one.true_cam else None,
        "lift_difference": one.difference_map.lift.mean if one.difference_map else None,
        "maps_negative": one.maps[0],
        "maps_positive": one.maps[1],
        "seconds": one.seconds,
        "peak_mb": one.peak_mb,
    }
    return {name: "" if value is None or value != value else value for name, value in content.items()}


def plain(value: Any) -> Any:
    """Replace what JSON lacks: NaN and infinities become null, tuples lists."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
