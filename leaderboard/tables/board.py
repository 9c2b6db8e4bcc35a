"""From scores to tables: one table for each task, data set, protocol and backbone, never mixed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from divsal_bench.leaderboard.sheets import entrants, scored
from divsal_bench.leaderboard.sheets.entrants import Outside
from divsal_bench.leaderboard.sheets.entries import Entry, Sheet, from_runs
from divsal_bench.leaderboard.sheets.scored import Scored, Subjects, compare_shared_seeds, metric
from divsal_bench.leaderboard.statistics import families, marks, over_conditions
from divsal_bench.leaderboard.statistics import over_seeds as cells
from divsal_bench.leaderboard.statistics.families import Family, Kind, Rank
from divsal_bench.leaderboard.statistics.over_seeds import Cell
from divsal_bench.leaderboard.statistics.placements import SubjectCounts
from divsal_bench.leaderboard.statistics.reader_case import Comparison, Interval
from divsal_bench.leaderboard.tables import notes
from divsal_bench.leaderboard.tables.schema import (
    NAN,
    Agreement,
    ConditionCell,
    ConditionSubjects,
    FieldCell,
    Pair,
    Row,
    Survivors,
    Table,
    Test,
)
from divsal_bench.runs.reading import Run
from divsal_bench.scores.conditions import IN_DOMAIN
from divsal_bench.scores.schema import FieldScore, MapAgreement, Scores

#: Lists the families of the methods that are tested, from label and kind.
FamilyRule = Callable[[Mapping[str, Kind]], list[Family]]
Floats = npt.NDArray[np.float64]


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


def unranked(one: Row, withheld: str, ranked: int, pairs: Sequence[Pair]) -> str:
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


def worst_mark(one: Row, subjects: Subjects) -> str:
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


def median_subject_share(rows: Sequence[Row], tests: Sequence[Test]) -> float:
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


def row_of_entry(
    all_of_it: Scored,
    one: Scored,
    baseline: Scored | None,
    rank: Rank | None,
    marked: tuple[str, ...],
    cells_: tuple[ConditionCell, ...],
    outside: Outside | None,
    subjects: Subjects,
    is_tested: bool,
) -> Row:
    """One method's row.

    Args:
        all_of_it: Everything that its entry holds.
        one: The same, emptied where the table says nothing of it.
        outside: Why it is not tested; None where it is.
        is_tested: Whether a family tests it against cross-entropy: no p is shown that no family adjusts.
    """
    entry = all_of_it.entry
    against = baseline if baseline is not None and baseline is not one else None
    maps = next((scores.true_cam for scores in entry.scores if scores.true_cam), None)
    difference = compare_shared_seeds(one.primary, against.primary, subjects.behind_primary) if against else None
    if difference and not is_tested:
        difference = without_p(difference)
    return Row(
        label=entry.label,
        kind=entry.kind,
        seeds=entry.seeds,
        failed=entry.failed,
        diverged=entry.diverged,
        rank=rank,
        in_domain=metric(one.in_domain, subjects.behind(IN_DOMAIN)),
        open_set=metric(one.primary if one.worst else {}, subjects.behind_primary),
        worst=scored.seeds_only(one.worst),
        difference=difference,
        marks=marked,
        true_cam=agreement_over_seeds([scores.true_cam for scores in one.entry.scores]),
        difference_map=agreement_over_seeds([scores.difference_map for scores in one.entry.scores]),
        maps=(maps.maps_negative, maps.maps_positive) if maps else (0, 0),
        conditions=cells_,
        field_metrics=tuple(field_cells(one.entry)),
        seconds=float(np.mean(entry.seconds)) if entry.seconds else NAN,
        peak_mb=entry.peak_mb,
        standing=entry.standing,
        untested=outside.reason if outside else "",
        identical_to=outside.identical_to if outside else "",
        survivors=survivors(all_of_it) if outside and outside.incomplete and entry.seeds else None,
    )


def survivors(one: Scored) -> Survivors:
    """The seeds with a result of a method that lacks some."""
    entry = one.entry
    return Survivors(
        seeds=len(entry.seeds),
        asked=len(entry.seeds) + entry.failed + entry.diverged,
        in_domain=metric(one.in_domain).seeds,
        open_set=metric(one.primary if one.worst else {}).seeds,
        worst=metric(one.worst).seeds,
    )


def without_p(comparison: Comparison) -> Comparison:
    """A comparison that is shown and not tested."""
    return replace(comparison, p=NAN)


def known_cell(values: Iterable[float | None]) -> Cell | None:
    """A cell over the seeds that have the number; None without any."""
    known = [value for value in values if value is not None]
    return cells.cell_of(np.array(known)) if known else None


def agreement_over_seeds(found: Sequence[MapAgreement | None]) -> Agreement | None:
    """Each run's means over its maps, over seeds."""
    known = [maps for maps in found if maps is not None]
    lift = known_cell(maps.lift for maps in known)
    if lift is None:
        return None
    return Agreement(
        lift=lift,
        pe=known_cell(maps.pe for maps in known),
        auc=known_cell(maps.auc for maps in known),
        cc=known_cell(maps.cc for maps in known),
        lift_nonempty=known_cell(maps.lift_nonempty for maps in known),
        empty=float(np.mean([maps.empty for maps in known])),
    )


def condition_cells(
    found: Mapping[str, Scored],
    tested: Sequence[str],
    baseline: Scored | None,
    subjects: Subjects,
    listed: Sequence[Family],
) -> dict[str, tuple[ConditionCell, ...]]:
    """Every method on every condition, Benjamini–Hochberg over the whole grid of differences that are tested.

    A method with a family of its own has a grid of its own, too: it changes no other method's q.
    """
    differences: dict[tuple[str, str], Comparison] = {}
    for label, one in found.items():
        for name in one.conditions:
            if baseline is None:
                continue
            comparison = compare_shared_seeds(
                one.conditions[name], baseline.conditions.get(name, {}), subjects.behind(name)
            )
            if comparison is not None and one is not baseline:
                differences[label, name] = comparison
    decided = {
        (label, name): one
        for (label, name), one in differences.items()
        if label in tested
        and families.BASELINE in tested
        and not families.withheld(subjects.behind(name), one.subjects)
    }
    own = {family.name.removeprefix(families.OWN) for family in listed if family.name.startswith(families.OWN)}
    q: dict[tuple[str, str], float] = {}
    for alone in ("", *sorted(own)):
        grid = [key for key in decided if (key[0] if key[0] in own else "") == alone]
        adjusted = families.benjamini_hochberg(np.array([decided[key].p for key in grid]))
        q |= dict(zip(grid, map(float, adjusted), strict=True))

    def cell(label: str, name: str, one: Scored) -> ConditionCell:
        auroc = metric(one.conditions.get(name, {}), subjects.behind(name))
        difference = differences.get((label, name))
        return ConditionCell(
            condition=name,
            auroc=auroc,
            difference=without_p(difference) if difference and (label, name) not in decided else difference,
            q=q.get((label, name)),
            false_positive_rate=known_cell(
                c.false_positive_rate for scores in one.entry.scores for c in scores.conditions if c.name == name
            ),
            mark=marks.against_chance(auroc.population),
        )

    return {
        label: tuple(cell(label, name, one) for name in condition_names(one.entry.scores))
        for label, one in found.items()
    }


def condition_names(scores: Sequence[Scores]) -> list[str]:
    """Names of all conditions, in their own order."""
    return [c.name for c in scores[0].conditions] if scores else []


def field_cells(entry: Entry) -> list[FieldCell]:
    """The field's own metrics over seeds; a seed without the value leaves the whole cell without one."""
    by_name: dict[tuple[str, str], list[FieldScore]] = {}
    for scores in entry.scores:
        for one in scores.field_metrics:
            by_name.setdefault((one.metric, one.condition), []).append(one)
    return [
        FieldCell(
            metric=name,
            condition=condition,
            value=known_cell(one.value for one in found) if all(one.value is not None for one in found) else None,
            achieved=known_cell(one.achieved for one in found),
            oracle=known_cell(one.oracle for one in found),
            note=next((one.note for one in found if one.note), ""),
        )
        for (name, condition), found in by_name.items()
    ]


def marks_of(one: Scored, baseline: Scored | None, subjects: Subjects) -> tuple[str, ...]:
    """Findings that set a row apart."""
    chance = marks.against_chance(metric(one.primary, subjects.behind_primary).population)
    worse = baseline is not None and marks.is_worse_in_domain(
        compare_shared_seeds(one.in_domain, baseline.in_domain, subjects.behind(IN_DOMAIN))
    )
    return (*([chance] if chance else []), *([marks.IN_DOMAIN_WORSE] if worse else []))


def decide(one: Scored, other: Scored, counts: Sequence[SubjectCounts]) -> tuple[Comparison, str]:
    """The test of two methods, and why it has no p; "" where it has one."""
    comparison = compare_shared_seeds(one.primary, other.primary, counts)
    assert comparison is not None, "methods that are tested have the seeds from 0 on"
    return comparison, families.withheld(counts, comparison.subjects)


def decide_pairs(ranked: Sequence[Scored], subjects: Subjects) -> list[Pair]:
    """The test of every pair of ranked methods."""
    found = [
        (first.entry.label, second.entry.label, *decide(first, second, subjects.behind_primary))
        for first, second in combinations(ranked, 2)
    ]
    adjusted = families.holm(np.array([comparison.p for *_, comparison, _ in found]))
    return [
        Pair(first, second, comparison.difference, comparison.p, float(p_holm), reason)
        for (first, second, comparison, reason), p_holm in zip(found, adjusted, strict=True)
    ]


def ranks_of(pairs: Sequence[Pair], ranked: Sequence[str], marked: dict[str, tuple[str, ...]]) -> dict[str, Rank]:
    """Rank intervals; none without a pair that may be tested.

    A pair whose test is withheld counts as not separated, which keeps both ranks wide: else one odd entry, like to
    another but for one test subject, could take the ranks from all.
    """
    if all(pair.withheld for pair in pairs):
        return {}
    return families.rank_intervals(
        ranked,
        [(pair.first, pair.second) for pair in pairs],
        np.array([pair.difference for pair in pairs]),
        np.array([pair.p for pair in pairs]),
        [label for label, found in marked.items() if found],
    )


def differences_by_condition(one: Scored, other: Scored, subjects: Subjects) -> Floats:
    """(C,) difference on each condition that the primary metric is a mean over, the mean over common seeds."""
    found = [compare_shared_seeds(one.conditions[name], other.conditions[name]) for name in subjects.primary]
    return np.array([comparison.difference for comparison in found if comparison is not None])


def run_families(listed: Sequence[Family], found: Mapping[str, Scored], subjects: Subjects) -> list[Test]:
    """Every family, Holm in each."""
    tests: list[Test] = []
    for family in listed:
        decided = [decide(found[first], found[second], subjects.behind_primary) for first, second in family.pairs]
        adjusted = families.holm(np.array([comparison.p for comparison, _ in decided]))
        for (first, second), (comparison, reason), p in zip(family.pairs, decided, adjusted, strict=True):
            a, b = found[first].primary, found[second].primary
            size = len(decided)
            smallest = families.smallest_visible_effect(comparison.variance, comparison.df, size)
            low, high = families.visible_effect_range(comparison.variance, comparison.df, size)
            by_condition = differences_by_condition(found[first], found[second], subjects)
            sampled = over_conditions.random_conditions(by_condition)
            tests.append(
                Test(
                    family=family.name,
                    first=first,
                    second=second,
                    comparison=comparison,
                    p_holm=float(p),
                    family_size=size,
                    smallest_effect=NAN if reason else smallest,
                    on_these_images=scored.on_these_images(a, b),
                    hedges_g=cells.hedges_g(*scored.shared_values(a, b)),
                    superiority=cells.probability_of_superiority(*scored.shared_values(a, b)),
                    smallest_low=NAN if reason else low,
                    smallest_high=NAN if reason else high,
                    without_one=over_conditions.leave_one_out(by_condition),
                    over_conditions=(sampled.low, sampled.high),
                    withheld=reason,
                )
            )
    return tests
