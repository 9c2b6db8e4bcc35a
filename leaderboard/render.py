"""Tables as text: for a terminal, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Sequence
from typing import Any, Literal

from tabulate import tabulate

from divsal_bench import escaping
from divsal_bench.leaderboard import families
from divsal_bench.leaderboard.board import Agreement, Row, Table
from divsal_bench.leaderboard.scored import Metric

Format = Literal["terminal", "markdown", "latex", "csv", "json"]
FORMATS: tuple[Format, ...] = ("terminal", "markdown", "latex", "csv", "json")
NONE = "–"


def render(tables: Sequence[Table], form: Format) -> str:
    """Write tables in one of :data:`FORMATS`; every number of JSON is unrounded."""
    if form == "json":
        return json.dumps([plain(dataclasses.asdict(table)) for table in tables], indent=1)
    if form == "csv":
        return as_csv(tables)
    if form == "latex":
        return "\n\n".join(as_latex(table) for table in tables)
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
    ranked = any(one.rank for one in table.rows)
    if ranked:
        headers.insert(1, "rank")
    adjusted = against_baseline(table)
    body = [
        [
            plainly(one.label, form) + ("".join(f"{gap}({mark})" for mark in one.marks)),
            *([ranks(one)] if ranked else []),
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
    title = plainly(heading(table), form)
    notes = [plainly(note, form) for note in (*table.notes, *more_notes(table))]
    if form == "markdown":
        return f"**{title}**\n\n{text}\n\n" + "\n".join(f"- {note}" for note in notes)
    return f"{title}\n\n{text}\n\n" + "\n".join(f"  {note}" for note in notes)


def plainly(text: str, form: Format) -> str:
    """Text that may be from outside, as it is shown: Markdown must not read it as more than text."""
    return escaping.markdown(text) if form == "markdown" else text


def against_baseline(table: Table) -> dict[str, float]:
    """Label to the adjusted p against cross-entropy."""
    return {test.first: test.p_holm for test in table.tests if test.second == families.BASELINE}


def ranks(one: Row) -> str:
    """``1–4``: the ranks a method may hold; a dash where it has none."""
    if one.rank is None:
        return NONE
    return str(one.rank.low) if one.rank.low == one.rank.high else f"{one.rank.low}–{one.rank.high}"


def more_notes(table: Table) -> list[str]:
    """What explains ranks and conditions where the table has them."""
    said = []
    count = sum(one.rank is not None for one in table.rows)
    if count:
        said.append(f"rank: ranks a method may hold among {count}, Holm over all pairs; * uses the p of its family.")
    tested = [cell for one in table.rows for cell in one.conditions if cell.q is not None]
    if tested:
        shown = [found for name, *_ in table.conditions if (found := shown_in(table, name))]
        said.append(
            f"Exploratory, against {families.BASELINE} by condition (Benjamini–Hochberg over {len(tested)}, "
            f"q ≤ {families.ALPHA:g}): {'; '.join(shown) or 'none'}."
        )
    return said


def shown_in(table: Table, condition: str) -> str:
    """``sensor-b: cyborg, difference better``, or nothing."""
    found = [(one.label, cell) for one in table.rows for cell in one.conditions if cell.condition == condition]
    marked = [(label, cell.difference.difference) for label, cell in found
              if cell.difference is not None and cell.q is not None and cell.q <= families.ALPHA]  # fmt: skip
    sides = [
        f"{', '.join(label for label, difference in marked if (difference > 0) is better)} {word}"
        for better, word in ((True, "better"), (False, "worse"))
        if any((difference > 0) is better for _, difference in marked)
    ]
    return f"{condition}: {', '.join(sides)}" if sides else ""


def as_latex(table: Table) -> str:
    """A ``table`` for the booktabs package; intervals stand on a second line, notes below."""
    ranked = any(one.rank for one in table.rows)
    headers = ["method", *(["rank"] if ranked else []), "in-domain", "open-set", "worst", "− cross-entropy", "p",
               "lift true/diff", "runs"]  # fmt: skip
    adjusted = against_baseline(table)
    lines = []
    for one in table.rows:
        cells = [
            *([ranks(one)] if ranked else []), scored(one.in_domain, "\n"), scored(one.open_set, "\n"),
            scored(one.worst, "\n"), difference(one, "\n"), probability(adjusted.get(one.label)), lifts(one),
            run_counts(one),
        ]  # fmt: skip
        first, second = zip(*(cell.partition("\n")[::2] for cell in cells), strict=True)
        # In braces: a row that begins with a bracket or a star would be read as an argument of the row before.
        lines.append(latex_row([f"{{{latex(one.label)}}}", *map(latex, first)]))
        marks = f"({', '.join(one.marks)})" if one.marks else ""
        if marks or any(second):
            small = [latex(text) for text in (marks, *second)]
            lines.append(latex_row([f"{{\\scriptsize {text}}}" if text else "{}" for text in small]))
    notes = " ".join(latex(note) for note in (*table.notes, *more_notes(table)))
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{latex(heading(table))}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(headers) - 1)}}}",
            r"\toprule",
            latex_row([latex(header) for header in headers]),
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            rf"\par\medskip\raggedright\footnotesize {notes}",
            r"\end{table}",
        ]
    )


def latex_row(cells: Sequence[str]) -> str:
    """One line of a ``tabular``."""
    return " & ".join(cells) + r" \\"


#: What TeX reads otherwise. Brackets and stars mean something after the end of a row.
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "[": "{[}", "]": "{]}", "*": "{*}", "−": "$-$", "±": r"$\pm$",
    "–": r"\textendash{}", "·": r"$\cdot$", "≤": r"$\le$", "…": r"\dots{}",
}  # fmt: skip


def latex(text: str) -> str:
    """Text with everything escaped that TeX would read otherwise, on one line."""
    plain_text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    escaped = "".join(LATEX.get(character, character) for character in plain_text)
    # A hyphen before a digit is a minus; two hyphens would become a dash.
    return re.sub(r"(?<![\w.-])-(?=\d)", "$-$", escaped).replace("--", "-{}-")


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
    return write_csv([csv_row(table, one) for table in tables for one in table.rows])


def write_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows with the same columns as CSV; nothing without rows."""
    if not rows:
        return ""
    return escaping.csv_text([list(rows[0]), *([row[name] for name in rows[0]] for row in rows)])


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
    test = next((t for t in table.tests if t.second == families.BASELINE and t.first == one.label), None)
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
