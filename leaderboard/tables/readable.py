"""A table as text for people: in a terminal, and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from divsal_bench.errors import plural, printable
from divsal_bench.files import escaping, text_tables
from divsal_bench.leaderboard.sheets import entrants
from divsal_bench.leaderboard.sheets.scored import Metric
from divsal_bench.leaderboard.statistics import families
from divsal_bench.leaderboard.tables import wording
from divsal_bench.leaderboard.tables.notes import FEW_MAPS
from divsal_bench.leaderboard.tables.schema import Agreement, MethodRow, Table
from divsal_bench.leaderboard.tables.wording import NONE, rank_text, run_counts, with_sign


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


def table_text(table: Table, form: str, width: int | None = None) -> str:
    """Heading, table and notes; intervals stand on a second line in a terminal."""
    headers, body = table_columns(table, "\n" if form == "terminal" else " ")
    return titled_text(table_heading(table), headers, body, [*table.notes, *more_notes(table)], form, width)


def titled_text(
    title: str,
    headers: Sequence[str],
    body: Sequence[Sequence[str]],
    notes: Sequence[str],
    form: str,
    width: int | None = None,
) -> str:
    """A table with its heading and notes.

    Args:
        title: One line; "" for none.
        headers, body: The first column names the rows.
        notes: A line each.
        form: ``terminal`` or ``markdown``.
        width: Of the terminal, in characters; a wider table is written row by row. None folds nothing.
    """
    align = "l" + "r" * (len(headers) - 1)
    if form == "markdown":
        headers = [escaping.markdown(text) for text in headers]
        body = [[escaping.markdown(label), *cells] for label, *cells in body]
        above = f"**{escaping.markdown(title)}**\n\n" if title else ""
        below = "\n".join(f"- {escaping.markdown(note)}" for note in notes)
        return f"{above}{text_tables.fitted_table(body, headers, align, 'github')}\n\n{below}"
    text = text_tables.fitted_table(body, headers, align, width=width, whole_cells=True)
    lines = [*text_tables.wrapped_lines(title, width), ""] if title else []
    lines += [*text.splitlines(), ""]
    lines += [line for note in notes for line in text_tables.wrapped_lines(note, width, "  ")]
    # Whatever a method or a data set is called, nothing acts on the terminal.
    return "\n".join(map(printable, lines))


def table_columns(table: Table, gap: str) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of a table, for people; ``gap`` stands between a number and its interval."""
    negatives, positives = next((one.maps for one in table.rows if sum(one.maps)), (0, 0))
    few = ", few" if negatives + positives < FEW_MAPS else ""
    maps = (
        f"{gap}({negatives}+{positives} map{'s' * (negatives + positives != 1)}{few})" if negatives + positives else ""
    )
    ranked = any(one.rank for one in table.rows)
    tests = against_baseline(table)
    found: list[tuple[str, Callable[[MethodRow], str]]] = [
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


def asides(one: MethodRow) -> list[str]:
    """What stands beside a method's name."""
    said = [entrants.NO_TRAINING_MAPS] if one.untested == entrants.NO_TRAINING_MAPS else []
    return [*one.marks, *([f"identical to {one.identical_to}"] if one.identical_to else []), *said]


def against_baseline(table: Table) -> dict[str, float | None]:
    """Label to the adjusted p against cross-entropy, in whatever family; None where it is withheld."""
    return {
        test.first: None if test.withheld else test.p_holm for test in table.tests if test.second == families.BASELINE
    }


def more_notes(table: Table) -> list[str]:
    """What explains ranks and conditions where the table has them."""
    said = []
    count = sum(one.rank is not None for one in table.rows)
    if count:
        said.append(
            f"rank: ranks a method may hold among {count}, from all pairs ({pairs_adjusted(len(table.pairs))}). Two "
            "methods that share no rank are separated; two that share ranks may be too, and where they are not, that "
            "does not make them equal. Another method in the table changes the ranks. * uses the p of its family."
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


def auroc_text(found: Metric, gap: str) -> str:
    """``mean ± sd [interval]``."""
    text, interval = wording.mean_sd(found.seeds), found.population
    known = interval is not None and not math.isnan(found.seeds.mean) and not math.isnan(interval.low)
    return f"{text}{gap}{wording.population(interval)}" if known else text


def difference_text(one: MethodRow, gap: str) -> str:
    """Difference to cross-entropy with its population interval."""
    found = one.difference
    if found is None:
        return NONE
    text = with_sign(found.difference)
    return text if math.isnan(found.low) else f"{text}{gap}{wording.signed_ends(found.low, found.high)}"


def starred_p(p: float | None) -> str:
    """A p-value with a star where it is at most .05."""
    return wording.p_or_dash(p) + "*" * wording.is_significant(p)


def lifts(one: MethodRow) -> str:
    """Lift of true-class CAM and of difference map."""

    def mean(found: Agreement | None) -> str:
        return NONE if found is None or math.isnan(found.lift.mean) else f"{found.lift.mean:.2f}"

    return f"{mean(one.true_cam)} / {mean(one.difference_map)}"
