"""Tables as text: for a terminal, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, Literal

from tabulate import tabulate

from divsal_bench.errors import plural, printable
from divsal_bench.files import escaping
from divsal_bench.leaderboard.sheets import entrants
from divsal_bench.leaderboard.sheets.scored import Metric
from divsal_bench.leaderboard.statistics import families
from divsal_bench.leaderboard.tables.notes import FEW_MAPS, with_sign
from divsal_bench.leaderboard.tables.schema import Agreement, Row, Table

Format = Literal["terminal", "markdown", "latex", "csv", "json"]
FORMATS: tuple[Format, ...] = ("terminal", "markdown", "latex", "csv", "json")
NONE = "–"
#: A narrower terminal gets lines of this many characters all the same.
MIN_WIDTH = 40


def render_tables(tables: Sequence[Table], form: Format, width: int | None = None) -> str:
    """Write tables in one of :data:`FORMATS`; every number of JSON is unrounded.

    Args:
        tables: Of any task.
        form: How.
        width: Of the terminal, in characters; a wider table is written method by method. None keeps it as it is.
    """
    if form == "json":
        return json.dumps([without_nan(dataclasses.asdict(table)) for table in tables], indent=1)
    if form == "csv":
        return tables_csv(tables)
    if form == "latex":
        return "\n\n".join(table_latex(table) for table in tables)
    return "\n\n".join(table_text(table, form, width) for table in tables)


def table_heading(table: Table) -> str:
    """One line that names everything a row depends on, and the primary metric."""
    conditions = sum(kind == "scored" and name != "in-domain" for name, kind, _ in table.conditions)
    primary = "in-domain AUROC (primary)"
    if table.primary == "open-set":
        primary = "open-set AUROC (primary)"
        if conditions:
            primary += f": mean over {plural(conditions, 'unseen condition')}"
    head = "" if table.head == "two-logit" else f" · {table.head}"
    drawn = "drawn; no data was named; " if table.unnamed else "drawn; " if table.standin else ""
    data = f"data {table.data} ({drawn}{table.fingerprint[:8]})"
    return f"{table.task} · {data} · {table.protocol} · {table.backbone}{head} · {primary}"


def table_text(table: Table, form: Format, width: int | None = None) -> str:
    """Heading, table and notes; intervals stand on a second line in a terminal."""
    gap = "\n" if form == "terminal" else " "
    headers, body = table_columns(table, gap)
    title = table_heading(table)
    notes = [*table.notes, *more_notes(table)]
    if form == "markdown":
        title, headers = escaping.markdown(title), [escaping.markdown(text) for text in headers]
        body = [[escaping.markdown(label), *cells] for label, *cells in body]
        text = grid(headers, body, "github")
        return f"**{title}**\n\n{text}\n\n" + "\n".join(f"- {escaping.markdown(note)}" for note in notes)
    return terminal(title, headers, body, notes, width)


def terminal(
    title: str, headers: Sequence[str], body: Sequence[Sequence[str]], notes: Sequence[str], width: int | None
) -> str:
    """A table with its heading and notes for a terminal, folded where that is narrower.

    Args:
        headers, body: The first column names the rows.
        width: In characters; None folds nothing.
    """
    text = grid(headers, body, "simple")
    if width is not None and max(map(len, text.splitlines())) > width:
        text = stacked(headers, body, width)
    lines = [*folded(title, width), "", *text.splitlines(), ""]
    lines += [line for note in notes for line in folded(note, width, "  ")]
    # Whatever a method or a data set is called, nothing acts on the terminal.
    return "\n".join(map(printable, lines))


def grid(headers: Sequence[str], body: Sequence[Sequence[str]], style: str) -> str:
    """A table, the first column to the left."""
    text: str = tabulate(
        body, headers, tablefmt=style, disable_numparse=True, colalign=("left",) + ("right",) * (len(headers) - 1)
    )
    return text


def stacked(headers: Sequence[str], body: Sequence[Sequence[str]], width: int) -> str:
    """Row by row, a line a cell."""
    names = [" ".join(text.split()) for text in headers]
    indent = 2 + max(map(len, names[1:])) + 2
    blocks = []
    for first, *cells in body:
        lines = folded(" ".join(first.split()), width)
        for name, cell in zip(names[1:], cells, strict=True):
            start = f"  {name}".ljust(indent)
            lines += folded(" ".join(cell.split()), width, start, " " * min(indent, width // 2))
        blocks.append("\n".join(lines))
    return "\n".join(blocks)


def folded(text: str, width: int | None, first: str = "", rest: str | None = None) -> list[str]:
    """Text in lines no longer than ``width``, the first after ``first``, the others after ``rest``."""
    if width is None:
        return [first + text]
    after = first if rest is None else rest
    return textwrap.wrap(text, max(width, MIN_WIDTH), initial_indent=first, subsequent_indent=after) or [first]


def table_columns(table: Table, gap: str) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of a table, for people.

    Args:
        table: Any.
        gap: Between a number and its interval.
    """
    negatives, positives = next((one.maps for one in table.rows if sum(one.maps)), (0, 0))
    few = ", few" if negatives + positives < FEW_MAPS else ""
    maps = (
        f"{gap}({negatives}+{positives} map{'s' * (negatives + positives != 1)}{few})" if negatives + positives else ""
    )
    ranked = any(one.rank for one in table.rows)
    tests = against_baseline(table)
    found: list[tuple[str, Callable[[Row], str]]] = [
        ("method", lambda one: one.label + "".join(f"{gap}({aside})" for aside in asides(one))),
        *([("rank", rank_text)] if ranked else []),
        ("in-domain", lambda one: auroc_text(one.in_domain, gap)),
        ("open-set", lambda one: auroc_text(one.open_set, gap)),
        ("worst", lambda one: auroc_text(one.worst, gap)),
        ("− cross-entropy", lambda one: difference_text(one, gap)),
        ("p", lambda one: starred_p(tests.get(one.label))),
        *([(f"lift true/diff{maps}", lifts)] if maps else []),
        ("s/run", lambda one: f"{one.seconds:.1f}" if one.seeds else NONE),
        ("runs", run_counts),
    ]
    body = [
        [NONE if one.identical_to and name not in ("method", "s/run", "runs") else cell(one) for name, cell in found]
        for one in table.rows
    ]
    return [name for name, _ in found], body


def asides(one: Row) -> list[str]:
    """What stands beside a method's name."""
    said = [entrants.NO_TRAINING_MAPS] if one.untested == entrants.NO_TRAINING_MAPS else []
    return [*one.marks, *([f"identical to {one.identical_to}"] if one.identical_to else []), *said]


def against_baseline(table: Table) -> dict[str, float | None]:
    """Label to the adjusted p against cross-entropy, in whatever family; None where it is withheld."""
    return {
        test.first: None if test.withheld else test.p_holm for test in table.tests if test.second == families.BASELINE
    }


def rank_text(one: Row) -> str:
    """``1–4``: the ranks a method may hold; a dash where it has none."""
    if one.rank is None:
        return NONE
    return str(one.rank.low) if one.rank.low == one.rank.high else f"{one.rank.low}–{one.rank.high}"


def more_notes(table: Table) -> list[str]:
    """What explains ranks and conditions where the table has them."""
    said = []
    count = sum(one.rank is not None for one in table.rows)
    if count:
        said.append(
            f"rank: ranks a method may hold among {count}, from all pairs ({pairs_adjusted(len(table.pairs))}). Two methods "
            "that share no rank are separated; two that share ranks may be too, and where they are not, that does not "
            "make them equal. Another method in the table changes the ranks. * uses the p of its family."
        )
    own = {test.first for test in table.tests if test.family.startswith(families.OWN)}
    tested = {one.label: n for one in table.rows if (n := sum(cell.q is not None for cell in one.conditions))}
    if tested:
        closed = sum(n for label, n in tested.items() if label not in own)
        grids = [plural(closed, "test")] if closed else []
        grids += ["the conditions of each method that has a family of its own"] if own & tested.keys() else []
        shown = [found for name, *_ in table.conditions if (found := shown_in(table, name))]
        said.append(
            f"Exploratory, against {families.BASELINE} by condition (Benjamini–Hochberg over "
            f"{' and, by itself, over '.join(grids)}, q ≤ {families.ALPHA:g}): {'; '.join(shown) or 'none'}."
        )
    return said


def pairs_adjusted(pairs: int) -> str:
    """How the p of all pairs is adjusted."""
    return f"Holm over {pairs}" if pairs > 1 else "one, so not adjusted"


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


def table_latex(table: Table) -> str:
    """A ``table`` for the booktabs package; intervals and marks stand on a second line, notes below."""
    headers, body = table_columns(table, "\n")
    kept = [i for i, name in enumerate(headers) if name != "s/run"]
    headers = [" ".join(headers[i].split()) for i in kept]
    lines = []
    for one, cells in zip(table.rows, body, strict=True):
        first, second = zip(*(cells[i].partition("\n")[::2] for i in kept[1:]), strict=True)
        # In braces: a row that begins with a bracket or a star would be read as an argument of the row before.
        lines.append(latex_row([f"{{{latex(one.label)}}}", *map(latex, first)]))
        beside = f"({', '.join(asides(one))})" if asides(one) else ""
        if beside or any(second):
            small = [latex(text) for text in (beside, *second)]
            lines.append(latex_row([f"{{\\scriptsize {text}}}" if text else "{}" for text in small]))
    notes = " ".join(latex(note) for note in (*table.notes, *more_notes(table)))
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{latex(table_heading(table))}}}",
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
    "–": r"\textendash{}", "·": r"$\cdot$", "≤": r"$\le$", "⁺": "$^+$", "²": "$^2$", "…": r"\dots{}",
}  # fmt: skip


def latex(text: str) -> str:
    """Text with everything escaped that TeX would read otherwise, on one line."""
    plain_text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    escaped = "".join(LATEX.get(character, character) for character in plain_text)
    # A hyphen before a digit is a minus; two hyphens would become a dash.
    return re.sub(r"(?<![\w.-])-(?=\d)", "$-$", escaped).replace("--", "-{}-")


def auroc_text(metric: Metric, gap: str) -> str:
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


def difference_text(one: Row, gap: str) -> str:
    """Difference to cross-entropy with its population interval."""
    found = one.difference
    if found is None:
        return NONE
    text = with_sign(found.difference)
    return text if math.isnan(found.low) else f"{text}{gap}[{with_sign(found.low)}, {with_sign(found.high)}]"


def starred_p(p: float | None) -> str:
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


def tables_csv(tables: Sequence[Table]) -> str:
    """One flat row a method."""
    return records_csv([method_record(table, one) for table in tables for one in table.rows])


def records_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows with the same columns as CSV; nothing without rows."""
    if not rows:
        return ""
    return escaping.csv_text([list(rows[0]), *([row[name] for name in rows[0]] for row in rows)])


def method_record(table: Table, one: Row) -> dict[str, Any]:
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
        "rank_low": one.rank.low if one.rank else None,
        "rank_high": one.rank.high if one.rank else None,
        "unranked": one.unranked,
        "identical_to": one.identical_to,
        "worst_mark": one.worst_mark,
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
    found, left = one.difference, one.survivors
    content |= {
        "difference": found.difference if found else None,
        "difference_low": found.low if found else None,
        "difference_high": found.high if found else None,
        "p": test.comparison.p if test else None,
        "p_holm": test.p_holm if test else None,
        "family_size": test.family_size if test else None,
        "effective_subjects": test.comparison.subjects if test else None,
        "withheld": table.withheld or (test.withheld if test else ""),
        "smallest_visible_effect": test.smallest_effect if test else None,
        "smallest_visible_effect_low": test.smallest_low if test else None,
        "smallest_visible_effect_high": test.smallest_high if test else None,
        "survivors_only": f"{left.seeds} of {left.asked} seeds" if left else "",
        "survivors_open_set": left.open_set.mean if left else None,
        "survivors_in_domain": left.in_domain.mean if left else None,
        "lift_true": one.true_cam.lift.mean if one.true_cam else None,
        "lift_difference": one.difference_map.lift.mean if one.difference_map else None,
        "maps_negative": one.maps[0],
        "maps_positive": one.maps[1],
        "train_rows": table.train,
        "train_maps": table.train_maps,
        "test_subjects": table.test_subjects,
        "single_row_subjects": table.single_subjects,
        "subjects_by_condition": "; ".join(
            f"{c.name}: {c.positives} + {c.negatives}, K {c.effective:.1f}, largest share {c.largest_share:.3f}"
            for c in table.subjects
        ),
        "subject_share": table.subject_share,
        "seconds": one.seconds,
        "peak_mb": one.peak_mb,
    }
    return {name: "" if value is None or value != value else value for name, value in content.items()}


def without_nan(value: Any) -> Any:
    """Replace what JSON lacks: NaN and infinities become null, tuples lists."""
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
