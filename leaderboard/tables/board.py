"""From scores to tables: one table for each task, data set, protocol and backbone, never mixed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from divsal_bench.leaderboard.sheets import entrants, scored
from divsal_bench.leaderboard.sheets.entrants import Outside
from divsal_bench.leaderboard.sheets.entries import Sheet, from_runs
from divsal_bench.leaderboard.sheets.scored import Scored, Subjects, metric
from divsal_bench.leaderboard.statistics import families, marks
from divsal_bench.leaderboard.statistics.families import Family
from divsal_bench.leaderboard.statistics.reader_case import NAN, Comparison, Interval
from divsal_bench.leaderboard.tables import notes
from divsal_bench.leaderboard.tables.deciding import condition_cells, decide_pairs, marks_of, ranks_of, run_families
from divsal_bench.leaderboard.tables.rows import row_of_entry
from divsal_bench.leaderboard.tables.schema import (
    ConditionSubjects,
    MethodRow,
    PairTest,
    Table,
    Test,
)
from divsal_bench.runs.reading import Run
from divsal_bench.words import Kind

#: Lists the families of the methods that are tested, from label and kind.
FamilyRule = Callable[[Mapping[str, Kind]], list[Family]]


def tables_of_runs(runs: Iterable[Run]) -> list[Table]:
    """Sort runs into tables.

    Args:
        runs: Of any task and data; failed and diverged ones are counted in their method's row.

    Raises:
        UserError: Runs of one table were scored on different rows, or do not fit their own numbers.
    """
    return [table_of_sheet(sheet) for sheet in from_runs(runs)]


def table_of_sheet(
    sheet: Sheet,
    family_rule: FamilyRule = families.families,
    references: Collection[str] | None = None,
    edition: str = "",
) -> Table:
    """Build one table.

    Args:
        sheet: Of runs or of accepted results.
        family_rule: The families; ranks are always of all methods that may be ranked.
        references: Labels of the methods that alone can stand for others with the same scores; None where any can.
        edition: Date of the list of reference methods that the families are closed to; "" where they are open.
    """
    everything = scored.score_sheet(sheet)
    subjects = scored.subjects_of(sheet) or Subjects(0, 0, {}, ())
    outside = entrants.outside(sheet, references)
    # Nothing is said of a method by its survivors, nor twice of one that stands there under two names.
    found = {
        label: Scored(replace(one.entry, scores=())) if label in outside and is_blank(outside[label]) else one
        for label, one in everything.items()
    }
    baseline = found.get(families.BASELINE)
    tested = {label: one for label, one in found.items() if label not in outside and one.primary}
    withheld = families.withheld(subjects.behind_primary, NAN)
    in_order = sorted(tested.items(), key=lambda item: order(item[1].entry.kind, item[0]))
    listed = family_rule({label: one.entry.kind for label, one in in_order})
    marked = {label: marks_of(one, baseline, subjects) for label, one in found.items()}
    ranked = [one for one in tested.values() if one.entry.kind != "control"]
    pairs = [] if withheld else decide_pairs(ranked, subjects)
    ranks = ranks_of(pairs, [one.entry.label for one in ranked], marked)
    tests = run_families(listed, tested, subjects)
    against = {test.first for test in tests if test.second == families.BASELINE}
    by_condition = condition_cells(found, list(tested), baseline, subjects, listed)
    rows = [
        row_of_entry(
            everything[label],
            one,
            baseline,
            ranks.get(label),
            marked[label],
            by_condition[label],
            outside.get(label),
            subjects,
            label in against,
        )
        for label, one in found.items()
    ]
    rows = [replace(one, unranked=unranked(one, withheld, len(ranked), pairs)) for one in rows]
    rows = [replace(one, worst_mark=worst_mark(one, subjects)) for one in rows]
    rows.sort(key=lambda one: order(one.kind, one.label))
    scores = next((one for entry in sheet.entries for one in entry.scores), None)
    group = sheet.group
    made = Table(
        task=group.task,
        data=sheet.data,
        fingerprint=group.fingerprint,
        protocol=group.protocol,
        backbone=group.backbone,
        head=group.head,
        digest=group.digest,
        primary=scores.primary if scores else "open-set",
        standin=sheet.standin,
        date=sheet.date,
        conditions=tuple((c.name, c.kind, c.reason) for c in scores.conditions) if scores else (),
        rows=tuple(rows),
        tests=tuple(tests),
        pairs=tuple(pairs),
        subjects=condition_subjects(everything, subjects),
        test_subjects=subjects.total,
        single_subjects=subjects.single,
        subject_share=median_subject_share(rows, tests),
        withheld=withheld,
        train=sheet.train,
        train_maps=sheet.train_maps,
        edition=edition,
    )
    return replace(made, notes=tuple(notes.notes_of_table(made, sheet)))


def is_blank(outside: Outside) -> bool:
    """Whether a method's numbers stay out of the table."""
    return outside.incomplete or bool(outside.identical_to)


def unranked(one: MethodRow, withheld: str, ranked: int, pairs: Sequence[PairTest]) -> str:
    """Why a row has no rank; "" where it has one."""
    if one.rank is not None:
        return ""
    if one.untested:
        return one.untested
    if one.kind == "control":
        return "controls are not ranked"
    if np.isnan(one.primary.seeds.mean):
        return "no AUROC"
    if withheld or any(pair.withheld for pair in pairs):
        return entrants.TOO_FEW_SUBJECTS
    return "no other method to rank it against" if ranked < 2 else "not known"


def worst_mark(one: MethodRow, subjects: Subjects) -> str:
    """What the conditions' intervals show of the lowest of them."""
    if not one.worst.seeds.n:
        return ""
    return marks.worst_against_chance(
        [cell.auroc.population for cell in one.conditions if cell.condition in subjects.primary]
    )


def condition_subjects(found: Mapping[str, Scored], subjects: Subjects) -> tuple[ConditionSubjects, ...]:
    """The people behind every condition that has an AUROC."""
    made = []
    for name, counts in subjects.conditions.items():
        intervals = [metric(one.conditions.get(name, {})).population for one in found.values()]
        effective = [one.subjects for one in intervals if one is not None and not np.isnan(one.subjects)]
        made.append(
            ConditionSubjects(
                name=name,
                positives=counts.positives,
                negatives=counts.negatives,
                effective=min(effective, default=NAN),
                largest_share=counts.largest_share,
                withheld=families.withheld([counts], NAN),
            )
        )
    return tuple(made)


def median_subject_share(rows: Sequence[MethodRow], tests: Sequence[Test]) -> float:
    """c⁺/v, the median over the tests against cross-entropy, else over what is shown of differences, else of means."""
    found: list[Comparison | Interval | None] = [test.comparison for test in tests if test.second == families.BASELINE]
    found = found or [one.difference for one in rows if one.kind != "control" and one.difference]
    found = found or [one.primary.population for one in rows]
    shares = [one.c_plus / one.variance for one in found if one is not None and one.variance > 0]
    return float(np.median(shares)) if shares else NAN


def order(kind: str, label: str) -> tuple[int, bool, str]:
    """By kind, cross-entropy first, then by label."""
    kinds = ("unguided", "one-cam", "two-cam", "control")
    return kinds.index(kind), label != families.BASELINE, label
