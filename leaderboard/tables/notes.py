"""What is said below a table: what its numbers can and cannot say, and why some are missing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from divsal_bench.errors import plural
from divsal_bench.leaderboard.sheets import entrants
from divsal_bench.leaderboard.sheets.entries import Sheet, different_devices
from divsal_bench.leaderboard.statistics import families, marks
from divsal_bench.leaderboard.tables.notes_on_tests import about_tests
from divsal_bench.leaderboard.tables.wording import whole_percent

if TYPE_CHECKING:
    from divsal_bench.leaderboard.tables.schema import MethodRow, PairTest, Table, Test

SCOPE = "new seeds and new test subjects; training data, conditions, protocol and backbone as they are"
#: Agreement with people over fewer human maps is shown without emphasis.
FEW_MAPS = 30
#: A larger share of empty maps is said.
MANY_EMPTY = 0.1


def notes_of_table(table: Table, sheet: Sheet) -> list[str]:
    """Every note of a table, in order."""
    return [
        *about_runs(table),
        *about_conditions(table),
        *about_subjects(table),
        *about_maps(table),
        *about_tests(table),
        *about_what_is_missing(table),
        *about_copies(table, sheet),
        *about_marks(table),
        *about_machines(table, sheet),
        *sorted(f"{name}: {reason}." for name, _, reason in table.conditions if reason),
        *about_drawn_data(table),
    ]


def about_runs(table: Table) -> Iterable[str]:
    """How many runs the numbers rest on, and what they speak of."""
    shown = [one for one in table.rows if not one.identical_to]
    # What survived gives no mean, and no n for those that stand here.
    whole = [one for one in shown if one.survivors is None]
    counts = sorted({len(one.seeds) for one in whole if one.seeds} or {len(one.seeds) for one in shown})
    if not counts or counts[-1] == 0:
        yield "No run has a result."
        return
    if counts[-1] == 1:
        yield f"n = 1 seed: no sd, no interval, no test. With more seeds intervals would be for {SCOPE}."
    else:
        n = "–".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
        yield f"n = {n} seeds. Mean ± sd over seeds on these test images; [95 % interval for {SCOPE}]."


def about_conditions(table: Table) -> Iterable[str]:
    """What the primary metric is."""
    unseen = [name for name, kind, _ in table.conditions if kind == "scored" and name != "in-domain"]
    if unseen:
        yield f"{table.primary}: {'mean over ' if len(unseen) > 1 else ''}{', '.join(unseen)}."
    inside = any(name == "in-domain" and kind == "scored" for name, kind, _ in table.conditions)
    if table.primary == "in-domain" and not inside:
        yield "No condition has both classes: open-set and in-domain AUROC are n/a."
    elif table.primary == "in-domain":
        yield "No unseen condition has both classes: open-set AUROC is n/a and in-domain AUROC is primary."


def about_subjects(table: Table) -> Iterable[str]:
    """The people behind the test rows, and whether they are enough."""
    if table.subjects:
        each = []
        for one in table.subjects:
            effective = "" if math.isnan(one.effective) else f"K {one.effective:.0f}, "
            each.append(f"{one.name} {one.positives} + {one.negatives} ({effective}{whole_percent(one.largest_share)})")
        single = table.single_subjects or "none"
        yield (
            "Test subjects, positives + negatives (K: how many equal ones they count as, lowest of the methods; "
            f"largest share of one subject in a class): {'; '.join(each)}. {table.test_subjects} in all, {single} with "
            "a single row."
        )
    if table.withheld:
        yield f"No p, no rank, no mark and no interval of {table.primary} AUROC: {table.withheld}."
    alone = [one.withheld for one in table.subjects if one.withheld and one.withheld != table.withheld]
    if alone:
        yield f"No interval and no test on a condition{' either' if table.withheld else ''}: {'; '.join(alone)}."
    if table.withheld:
        return
    yield from about_missing_intervals(table)
    decided: list[Test | PairTest] = [*table.tests, *table.pairs]
    pairs = {f"{one.first} − {one.second}": one.withheld for one in decided if one.withheld}
    if pairs:
        each = [f"{name} ({reason})" for name, reason in pairs.items()]
        yield f"Not tested, and counted as not separated: {'; '.join(each)}."


def about_missing_intervals(table: Table) -> Iterable[str]:
    """Methods whose AUROC has no interval although its condition has test subjects enough."""
    few = {one.name for one in table.subjects if one.withheld}
    where: dict[str, list[str]] = {}
    for row in table.rows:
        shown = [(cell.condition, cell.auroc) for cell in row.conditions if cell.condition not in few]
        for name, metric in [*([(table.primary, row.open_set)] if table.primary == "open-set" else []), *shown]:
            interval = metric.population
            if interval is not None and interval.n > 1 and math.isnan(interval.low):
                where.setdefault(name, []).append(row.label)
    if where:
        each = [f"{name}: {', '.join(labels)}" for name, labels in where.items()]
        yield (
            "No interval where the test subjects count as no more than 2 (K), as their number of equals cannot be told "
            f"then: {'; '.join(each)}."
        )


def about_maps(table: Table) -> Iterable[str]:
    """How many people's maps there are, in training and in the test."""
    if table.train_maps is None:
        yield "Training rows with a human map: unknown."
    elif table.train:
        share = whole_percent(table.train_maps / table.train)
        yield f"Training rows with a human map: {table.train_maps} of {table.train} ({share})."
    count = sum(next((one.maps for one in table.rows if sum(one.maps)), (0, 0)))
    if count == 0 and any(one.seeds for one in table.rows):
        yield "No test image has a human map: no lift."
    elif 0 < count < FEW_MAPS:
        yield f"Lift rests on {plural(count, 'human map')}, fewer than {FEW_MAPS}: an impression, no more."
    hollow = [
        one.label for one in table.rows if one.true_cam and one.true_cam.empty > MANY_EMPTY * max(1, sum(one.maps))
    ]
    if hollow:
        yield (
            f"More than {whole_percent(MANY_EMPTY)} of the true-class CAMs have no positive part, and count as lift 0: "
            f"{', '.join(hollow)}."
        )


def about_what_is_missing(table: Table) -> Iterable[str]:
    """Methods without rank and p, and families without a test."""
    rows = [one for one in table.rows if not one.identical_to]
    for one in table.rows:
        if one.identical_to:
            yield (
                f"{one.label} is identical to {one.identical_to}: the same score for every image at every seed. It is "
                "shown and counted once."
            )
    reasons: dict[str, list[str]] = {}
    for one in rows:
        if one.untested:
            reasons.setdefault(one.untested, []).append(one.label)
    each = [
        f"{'all methods' if len(labels) == len(rows) > 1 else ', '.join(labels)} ({reason})"
        for reason, labels in reasons.items()
    ]
    if each:
        yield f"No rank and no p: {'; '.join(each)}."
    tested = [one for one in rows if not one.untested]
    against = [one for one in tested if one.label != families.BASELINE]
    if against and len(rows) > 1 and not table.withheld and not any(t.family == "baseline" for t in table.tests):
        yield no_test(rows)
    if len({one.seeds for one in tested}) > 1:
        yield "Methods differ in their seeds: each comparison uses the seeds that both have."


def about_copies(table: Table, sheet: Sheet) -> Iterable[str]:
    """Methods that all stand in the table, each with numbers of its own, although they score alike."""
    shown = {row.label for row in table.rows if not row.identical_to}
    for first, second in entrants.copies([entry for entry in sheet.entries if entry.label in shown]):
        yield (
            f"{first} and {second} give the same score to every image at every seed that both have: whichever was "
            "there first, one finding is shown twice."
        )


def no_test(rows: Sequence[MethodRow]) -> str:
    """Why no method is tested against cross-entropy although some may be tested."""
    if all(math.isnan(one.primary.seeds.mean) for one in rows):
        return "No p: there is no AUROC, since no condition has both classes."
    baseline = next((one for one in rows if one.label == families.BASELINE), None)
    if baseline is None:
        return f"No p against {families.BASELINE}: it is not in the table."
    if baseline.untested:
        return f"No p against {families.BASELINE}: it may not be tested itself ({baseline.untested})."
    return f"No p against {families.BASELINE}: controls are tested against {families.REFERENCE} alone."


def about_marks(table: Table) -> Iterable[str]:
    """Which methods and conditions carry which mark."""
    for mark, meaning in marks.MARKS.items():
        marked = [one.label for one in table.rows if mark in one.marks]
        if marked:
            yield f"{mark} ({meaning}): {', '.join(marked)}."
    for mark in (marks.BELOW_CHANCE, marks.NOT_ABOVE_CHANCE):
        where: dict[str, list[str]] = {}
        for one in table.rows:
            found = [cell.condition for cell in one.conditions if cell.mark == mark]
            for name in [*found, *(["worst"] if one.worst_mark == mark else [])]:
                where.setdefault(name, []).append(one.label)
        order = [name for name in (*(name for name, *_ in table.conditions), "worst") if name in where]
        if order:
            each = [f"{name}: {', '.join(where[name])}" for name in order]
            yield f"By condition, {mark}: {'; '.join(each)}."


def about_machines(table: Table, sheet: Sheet) -> Iterable[str]:
    """Memory, and what runs that are compared do not share."""
    peak = max((one.peak_mb for one in table.rows), default=0.0)
    if peak:
        yield f"Largest peak memory of a run: {peak:.0f} MB."
    differing = {
        "device": different_devices(sheet.entries),
        "torch version": {name for entry in sheet.entries for name in entry.torch_versions},
    }
    for name, values in differing.items():
        if len(values) > 1:
            yield f"Runs differ in {name} ({', '.join(sorted(values))}): compare with care."


def about_drawn_data(table: Table) -> Iterable[str]:
    """What a stand-in cannot show."""
    if table.standin:
        yield (
            "Stand-in data is drawn by code and built so that guidance can help: a win here tests the software, "
            "not the hypothesis."
        )
