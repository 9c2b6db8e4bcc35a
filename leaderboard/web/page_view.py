"""What the page shows of one table: its columns, its groups of rows, and what can be said at a glance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from divsal_bench.errors import plural
from divsal_bench.leaderboard.sheets.entrants import TOO_FEW_SUBJECTS
from divsal_bench.leaderboard.sheets.scored import Metric
from divsal_bench.leaderboard.statistics import families
from divsal_bench.leaderboard.statistics.marks import MARKS
from divsal_bench.leaderboard.tables import notes, notes_on_tests, wording
from divsal_bench.leaderboard.tables.notes import FEW_MAPS
from divsal_bench.leaderboard.tables.notes_on_tests import QUESTIONS
from divsal_bench.leaderboard.tables.schema import Pair, Row, Table, Test
from divsal_bench.leaderboard.web import axes
from divsal_bench.leaderboard.web.axes import Axis, Drawn


@dataclass(frozen=True)
class Column:
    """One column of the board.

    Attributes:
        key: Short name, also of the cells.
        label: Heading.
        hint: What the numbers are, for the heading's tooltip and for screen readers.
        axis: Shared by all drawings of the column; None without drawings.
        first: Direction of the first click on the heading, ``ascending`` or ``descending``.
    """

    key: str
    label: str
    hint: str
    axis: Axis | None = None
    first: str = "descending"


@dataclass(frozen=True)
class Shown:
    """One cell of the board.

    Attributes:
        value: What the column is sorted by; None sorts last.
        text: The number.
        small: What stands below it: an interval, or a reason.
        drawn: The number on its column's axis.
        star: Significant at .05 after adjustment.
        faint: Shown without emphasis: it rests on too little.
    """

    value: float | None
    text: str
    small: str = ""
    drawn: Drawn | None = None
    star: bool = False
    faint: bool = False


@dataclass(frozen=True)
class Line:
    """One method with its cells, in the order of the columns.

    Attributes:
        tests: Every test of a family that it is part of.
        better, worse, open: Ranked methods shown to be better or worse than it, and those it is not separated from.
        notch: It begins a run of rows with another best rank, inside its group.
    """

    row: Row
    cells: tuple[Shown, ...]
    tests: tuple[Test, ...]
    better: tuple[str, ...]
    worse: tuple[str, ...]
    open: tuple[str, ...]
    notch: bool


@dataclass(frozen=True)
class RowGroup:
    """Rows that stand together, with the reason."""

    key: str
    title: str
    reason: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Fact:
    """One entry of "What these numbers can and cannot say"."""

    term: str
    text: str


@dataclass(frozen=True)
class View:
    """One table as the page shows it.

    Attributes:
        columns: Of the board, after the method.
        glance: One or two sentences on what was found.
        ranked: Number of methods with a rank.
        condition_axis, difference_axis: Shared by the per-condition drawings of all methods.
    """

    table: Table
    columns: tuple[Column, ...]
    groups: tuple[RowGroup, ...]
    glance: tuple[str, ...]
    facts: tuple[Fact, ...]
    ranked: int
    condition_axis: Axis
    difference_axis: Axis


def view(table: Table) -> View:
    """Lay out one table."""
    columns = columns_of(table)
    return View(
        table=table,
        columns=columns,
        groups=tuple(groups_of(table, columns)),
        glance=tuple(glance(table)),
        facts=tuple(facts(table)),
        ranked=ranked(table),
        condition_axis=axes.auroc_axis(c.auroc for row in table.rows for c in row.conditions),
        difference_axis=axes.difference_axis(c.difference for r in table.rows for c in r.conditions if c.difference),
    )


def ranked(table: Table) -> int:
    """Number of methods with a rank."""
    return sum(row.rank is not None for row in table.rows)


def columns_of(table: Table) -> tuple[Column, ...]:
    """The columns this table has numbers for."""
    rows = table.rows
    negatives, positives = next((row.maps for row in rows if sum(row.maps)), (0, 0))
    interval = f"Mean over seeds, with the 95 % interval for {notes.SCOPE}."
    lifts = [found.lift.mean for row in rows for found in (row.true_cam, row.difference_map) if found]
    differences = [row.difference for row in rows if row.difference]
    maps = (
        f"over {plural(negatives + positives, 'human map')} ({negatives} negative, {positives} positive)"
        f"{', too few to rest on' if negatives + positives < FEW_MAPS else ''}; 1 is chance"
    )
    found = [
        Column("rank", "Rank", f"Ranks the method may hold among {ranked(table)}, from all pairs, Holm; "
               "another method changes them." if ranked(table) else "No method has a rank.",
               axes.rank_axis(ranked(table)), "ascending"),
        Column("primary", f"{table.primary} AUROC", f"The primary metric. {interval}", primary_axis(rows)),
        Column("difference", "− cross-entropy",
               "Difference to cross-entropy on the primary metric, with its 95 % population interval.",
               axes.difference_axis(differences) if differences else None),
        Column("p", "p (Holm)", "Of the difference to cross-entropy, adjusted within its family alone. * is p ≤ .05.",
               None, "ascending"),
    ]  # fmt: skip
    if table.primary == "open-set":
        found += [
            Column("in_domain", "in-domain AUROC", f"On sources and categories seen in training. {interval}",
                   axes.auroc_axis(row.in_domain for row in rows)),
            Column("worst", "worst", "The lowest AUROC among the unseen conditions; a minimum has no interval."),
        ]  # fmt: skip
    if lifts:
        found += [
            Column("lift_true", "lift, true-class CAM",
                   f"Agreement with people: share of the CAM inside the human map, relative to chance, {maps}.",
                   axes.lift_axis(lifts)),
            Column("lift_difference", "lift, difference map",
                   f"The same for the difference map, the CAM of the decision itself, {maps}.", axes.lift_axis(lifts)),
        ]  # fmt: skip
    found += [
        Column("seconds", "s / run", "Mean seconds a run.", None, "ascending"),
        Column("peak", "peak MB", "Largest peak memory of a run.", None, "ascending"),
        Column("seeds", "runs", "Seeds with a result; runs that failed or diverged are counted, never averaged away."),
    ]
    if any(row.standing for row in rows):
        found.append(Column("state", "state", "How far an accepted result has been checked.", None, "ascending"))
    return tuple(found)


def primary_axis(rows: Sequence[Row]) -> Axis:
    """The axis of the primary metric."""
    return axes.auroc_axis(row.primary for row in rows)


def groups_of(table: Table, columns: Sequence[Column]) -> list[RowGroup]:
    """The rows, best first, in the groups that must not be mixed."""
    titles = {
        "top": (
            "Top group",
            "No method is shown to be better, which is no proof that two of these are equal.",
        ),
        "ranked": ("Behind the top group", "At least one method is shown to be better."),
        "marked": ("Set apart", f"Marked, so never in the top group. {mark_reasons(table.rows)}"),
        "unranked": ("Not ranked", "For the reason given in each row."),
        "control": ("Controls", "Wrong or generic maps on purpose: what guidance does without people. Not ranked."),
    }
    found = []
    for key, (title, reason) in titles.items():
        rows = sorted((row for row in table.rows if group_key(row) == key), key=default_order)
        bests = [row.rank.low if row.rank else 0 for row in rows]
        lines = tuple(line(table, columns, row, notch=i > 0 and bests[i] != bests[i - 1]) for i, row in enumerate(rows))
        if lines:
            found.append(RowGroup(key, title, reason, lines))
    return found


def mark_reasons(rows: Sequence[Row]) -> str:
    """What the marks among these rows mean."""
    found = [f"{mark}: {reason}." for mark, reason in MARKS.items() if any(mark in row.marks for row in rows)]
    return " ".join(one[0].upper() + one[1:] for one in found)


def group_key(row: Row) -> str:
    """Where a row stands: a mark outweighs a missing rank, and a control is a control."""
    if row.kind == "control":
        return "control"
    if row.marks:
        return "marked"
    if row.rank is None:
        return "unranked"
    return "top" if row.rank.top else "ranked"


def default_order(row: Row) -> tuple[float, float, float, str]:
    """By best rank, worst rank, then the higher mean; without a value last."""
    mean = row.primary.seeds.mean
    ranks = (row.rank.low, row.rank.high) if row.rank else (math.inf, math.inf)
    return (*ranks, math.inf if math.isnan(mean) else -mean, row.label)


def line(table: Table, columns: Sequence[Column], row: Row, notch: bool) -> Line:
    """One method."""
    better, worse, separated_not = separated(table.pairs, row.label)
    return Line(
        row=row,
        cells=tuple(cell(table, column, row) for column in columns),
        tests=tuple(test for test in table.tests if row.label in (test.first, test.second)),
        better=tuple(better),
        worse=tuple(worse),
        open=tuple(separated_not),
        notch=notch,
    )


def separated(pairs: Sequence[Pair], label: str) -> tuple[list[str], list[str], list[str]]:
    """The methods shown to be better, shown to be worse, and neither, by the pairs that ranks are built from."""
    better: list[str] = []
    worse: list[str] = []
    neither: list[str] = []
    for pair in pairs:
        if label not in (pair.first, pair.second):
            continue
        other = pair.second if pair.first == label else pair.first
        ahead = pair.difference if pair.first == label else -pair.difference
        if not wording.is_significant(pair.p_holm):
            neither.append(other)
        else:
            (worse if ahead > 0 else better).append(other)
    return better, worse, neither


def cell(table: Table, column: Column, row: Row) -> Shown:
    """One number of one method."""
    axis = column.axis
    if column.key == "rank":
        return rank_cell(axis, row)
    if column.key == "primary" and axis:
        return metric_cell(axis, row.primary)
    if column.key == "in_domain" and axis:
        return metric_cell(axis, row.in_domain)
    if column.key == "worst":
        return Shown(finite(row.worst.seeds.mean), known_number(row.worst.seeds.mean), row.worst_mark)
    if column.key == "difference":
        return difference_cell(axis, row)
    if column.key == "p":
        return p_cell(table, row)
    if column.key in ("lift_true", "lift_difference") and axis:
        found = row.true_cam if column.key == "lift_true" else row.difference_map
        value = finite(found.lift.mean) if found else None
        drawn = Drawn(axis, axis.x(value)) if value is not None else None
        few = value is not None and sum(row.maps) < FEW_MAPS
        return Shown(
            value,
            wording.lift_or_dash(found),
            plural(sum(row.maps), "map") if few else "",
            None if few else drawn,
            faint=few,
        )
    if column.key == "seconds":
        return Shown(finite(row.seconds), wording.number_or_dash(row.seconds, 1))
    if column.key == "peak":
        return Shown(row.peak_mb or None, f"{row.peak_mb:.0f}" if row.peak_mb else wording.NONE)
    if column.key == "seeds":
        n, _, without = wording.run_counts(row).partition(", ")
        return Shown(float(len(row.seeds)), n, without)
    states = ("reproduced", "verified", "reported", "not reproduced")
    state = row.standing.state if row.standing else ""
    return Shown(float(states.index(state)) if state in states else None, state or wording.NONE)


def rank_cell(axis: Axis | None, row: Row) -> Shown:
    """The rank interval as text and as a bar, or why there is none."""
    if row.rank is None or axis is None:
        return Shown(None, wording.NONE, "" if row.kind == "control" and not row.untested else row.unranked)
    low, high = row.rank.low, row.rank.high
    bar = Drawn(axis, axis.x((low + high) / 2), axis.x(low - 0.5), axis.x(high + 0.5))
    # Ties in the best rank are broken by the worst one.
    return Shown(low + high / 1000, wording.rank_text(row), drawn=bar)


def metric_cell(axis: Axis, metric: Metric) -> Shown:
    """A mean with its population interval."""
    value = finite(metric.seeds.mean)
    return Shown(
        value,
        known_number(metric.seeds.mean),
        wording.population(metric.population) if value is not None and metric.seeds.n > 1 else "",
        axes.draw_metric(axis, metric),
    )


def difference_cell(axis: Axis | None, row: Row) -> Shown:
    """The difference to cross-entropy with its population interval."""
    if row.difference is None or axis is None:
        return Shown(None, "baseline" if row.label == families.BASELINE else wording.NONE)
    return Shown(
        finite(row.difference.difference),
        wording.signed_or_dash(row.difference.difference),
        wording.signed_interval(row.difference),
        axes.draw_difference(axis, row.difference),
    )


def p_cell(table: Table, row: Row) -> Shown:
    """The adjusted p against cross-entropy, or why there is none."""
    test = next((test for test in table.tests if (test.first, test.second) == (row.label, families.BASELINE)), None)
    if test is not None and test.withheld:
        return Shown(None, wording.NONE, TOO_FEW_SUBJECTS)
    if test is not None:
        return Shown(finite(test.p_holm), wording.p_or_dash(test.p_holm), star=wording.is_significant(test.p_holm))
    return Shown(None, wording.NONE, "tested by cyborg" if row.kind == "control" and not row.untested else "")


def finite(value: float) -> float | None:
    """None for what cannot be sorted."""
    return value if math.isfinite(value) else None


def known_number(value: float) -> str:
    """A number, or n/a."""
    return "n/a" if math.isnan(value) else wording.number_or_dash(value)


def glance(table: Table) -> list[str]:
    """What was found, in two sentences."""
    count = ranked(table)
    top = [row.label for row in sorted(table.rows, key=default_order) if row.rank and row.rank.top]
    if table.withheld:
        said = [f"No ranks and no p: {table.withheld}."]
    elif not count:
        said = [
            f"No ranks: they need two methods with {families.MIN_SEEDS} seeds or more, counted from 0, and no run "
            "without a result."
        ]
    elif not top:
        said = [f"Of {count} ranked methods none is in the top group: every candidate carries a mark."]
    elif len(top) == count:
        said = [
            f"None of the {count} ranked methods is separated from another: no difference is shown, which does not "
            "show that there is none."
        ]
    else:
        said = [f"Top group, {len(top)} of {count} ranked methods: {', '.join(top)}."]
    family = [test for test in table.tests if test.second == families.BASELINE and not test.withheld]
    family.sort(key=lambda test: -test.comparison.difference)
    if family:
        stars = [test for test in family if wording.is_significant(test.p_holm)]
        better = [f"{test.first} ({wording.signed_or_dash(test.comparison.difference)})" for test in stars
                  if test.comparison.difference > 0]  # fmt: skip
        worse = [f"{test.first} ({wording.signed_or_dash(test.comparison.difference)})" for test in stars
                 if test.comparison.difference <= 0]  # fmt: skip
        said.append(
            f"Against cross-entropy, {plural(len(family), 'test')}: "
            f"{'shown to be better: ' + ', '.join(better) if better else 'none is shown to be better'}; "
            f"{'shown to be worse: ' + ', '.join(worse) if worse else 'none is shown to be worse'}."
        )
    return said


def facts(table: Table) -> list[Fact]:
    """The numbers behind the numbers."""
    counts = sorted({len(row.seeds) for row in table.rows})
    n = "–".join(str(count) for count in dict.fromkeys((counts[0], counts[-1]))) if counts else "0"
    failed, diverged = sum(row.failed for row in table.rows), sum(row.diverged for row in table.rows)
    sizes = [f"{question_of(name)}: {sum(test.family == name for test in table.tests)}" for name in family_names(table)]
    return [
        Fact("Scope", f"What is shown holds for {notes.SCOPE}."),
        Fact("Seeds", f"n = {n} {'run' if n == '1' else 'runs'} a method"),
        Fact("Family sizes", f"{' · '.join(sizes)} ({notes_on_tests.dated(table)})" if sizes else "no test"),
        Fact("Pairs behind the ranks", f"{len(table.pairs)}" if table.pairs else "none"),
        Fact("Smallest visible effect", smallest_effect(table)),
        Fact("c⁺/v", subject_share(table)),
        Fact("Runs without a result", f"{failed} failed, {diverged} diverged"),
        Fact("Training rows with a human map", training_maps(table)),
        Fact("Newest result", table.date[:10] or "unknown"),
    ]


def family_names(table: Table) -> list[str]:
    """The families that have a test, in their order."""
    return list(dict.fromkeys(test.family for test in table.tests))


def grid_of(table: Table, label: str) -> str:
    """What the q of a method's conditions are adjusted over."""
    own = {name.removeprefix(families.OWN) for name in family_names(table) if name.startswith(families.OWN)}
    if label in own:
        return "the conditions of this method alone, which has a family of its own"
    return f"all methods and conditions of this table{' but those with a family of their own' if own else ''}"


def question_of(family: str) -> str:
    """What the tests of a family ask."""
    return QUESTIONS.get(family, family)


def smallest_effect(table: Table) -> str:
    """The differences to cross-entropy that this table could have shown."""
    found = notes_on_tests.visible_effects([test for test in table.tests if test.second == families.BASELINE])
    return found[0].upper() + found[1:] if found else "not known: there is no test against cross-entropy"


def subject_share(table: Table) -> str:
    """Whether more seeds or more test subjects would help."""
    return next(iter(notes_on_tests.about_subject_share(table)), "not known: nothing is compared with cross-entropy")


def training_maps(table: Table) -> str:
    """How many rows of the training split people have marked."""
    if table.train_maps is None or not table.train:
        return "unknown"
    return f"{table.train_maps} of {table.train} ({wording.whole_percent(table.train_maps / table.train)})"


def mark_reason(mark: str) -> str:
    """What a mark means."""
    return MARKS.get(mark, "")
