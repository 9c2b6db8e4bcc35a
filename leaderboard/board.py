"""From scores to tables: one table for each task, data set, protocol and backbone, never mixed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from divsal_bench.leaderboard import cells, families, scored
from divsal_bench.leaderboard.cells import Cell
from divsal_bench.leaderboard.entries import Entry, Group, Sheet, Standing, from_runs
from divsal_bench.leaderboard.families import Rank
from divsal_bench.leaderboard.reader_case import Comparison, FixedImages
from divsal_bench.leaderboard.scored import BySeed, Metric, Scored, compare, metric
from divsal_bench.records import FieldScore, MapAgreement, Run, Scores

#: A method whose in-domain AUROC is shown to lose more than this against cross-entropy is marked.
IN_DOMAIN_LOSS = 0.02
FEW_SHARED = f"fewer than {families.MIN_SEEDS} seeds in common with the ranked methods"
#: A larger share of empty maps is said.
MANY_EMPTY = 0.1
#: Findings that set a row apart, and what they mean.
MARKS = {
    "at or below chance": "the interval of open-set AUROC, or below 5 seeds its mean, reaches 0.5 or less",
    "in-domain worse": f"in-domain AUROC is shown to be more than {IN_DOMAIN_LOSS:g} below cross-entropy",
}


@dataclass(frozen=True)
class Test:
    """The decisive test of one pair, in its family.

    Attributes:
        family: ``baseline``, ``divergence`` or ``controls``.
        first, second: Labels; the difference is first − second.
        comparison: Over new seeds and new subjects.
        p_holm: Adjusted within the family; NaN where undefined.
        family_size: Number of tests in the family.
        smallest_effect: The smallest difference that this test would have seen with 80 % power.
        on_these_images: Decides nothing.
        hedges_g: In units of the sd over seeds.
        superiority: Share of seed pairs in which the first is higher.
    """

    family: str
    first: str
    second: str
    comparison: Comparison
    p_holm: float
    family_size: int
    smallest_effect: float
    on_these_images: FixedImages
    hedges_g: float
    superiority: float


@dataclass(frozen=True)
class Pair:
    """One of the tests that ranks are built from: first − second, Holm over all pairs of ranked methods."""

    first: str
    second: str
    difference: float
    p: float
    p_holm: float


@dataclass(frozen=True)
class ConditionCell:
    """One method on one condition.

    Attributes:
        auroc: Without seeds where the condition has no AUROC.
        difference: To cross-entropy, over the seeds both have; None without any.
        q: Benjamini–Hochberg over every method and condition of the table; None where not tested.
        false_positive_rate: Of the condition's negatives at the threshold set on validation, over seeds.
    """

    condition: str
    auroc: Metric
    difference: Comparison | None
    q: float | None
    false_positive_rate: Cell | None


@dataclass(frozen=True)
class FieldCell:
    """One of the field's own metrics of one method on one condition, over seeds.

    Attributes:
        value: None where it is not available; ``note`` says why.
        achieved: The constrained rate really reached by the threshold set on validation.
        oracle: The value had the threshold been set on the condition itself.
    """

    metric: str
    condition: str
    value: Cell | None
    achieved: Cell | None
    oracle: Cell | None
    note: str


@dataclass(frozen=True)
class Agreement:
    """Agreement of one kind of model map with human maps, over seeds.

    Attributes:
        empty: Mean number of maps without a positive part.
    """

    lift: Cell
    pe: Cell | None
    auc: Cell | None
    cc: Cell | None
    lift_nonempty: Cell | None
    empty: float


@dataclass(frozen=True)
class Row:
    """One method.

    Attributes:
        seeds: Seeds with a result, sorted.
        failed, diverged: Number of runs without one.
        rank: None for controls, fewer than five seeds, and runs without a result.
        difference: To cross-entropy on the primary metric, over the seeds both have; None without any.
        marks: ``at or below chance``, ``in-domain worse``.
        true_cam, difference_map: Agreement with people; None without human maps in the test split.
        maps: (negatives, positives) with a human map in the test split.
        seconds: Mean seconds a run.
        peak_mb: Largest peak memory.
        standing: Of an accepted result; None for runs of one's own.
        unranked: Why it has no rank although nothing of its own stands against one; "" otherwise.
    """

    label: str
    kind: str
    seeds: tuple[int, ...]
    failed: int
    diverged: int
    rank: Rank | None
    in_domain: Metric
    open_set: Metric
    worst: Metric
    difference: Comparison | None
    marks: tuple[str, ...]
    true_cam: Agreement | None
    difference_map: Agreement | None
    maps: tuple[int, int]
    conditions: tuple[ConditionCell, ...]
    field_metrics: tuple[FieldCell, ...]
    seconds: float
    peak_mb: float
    standing: Standing | None
    unranked: str = ""

    @property
    def primary(self) -> Metric:
        """Open-set AUROC; in-domain AUROC where there is no unseen condition."""
        return self.open_set if self.open_set.population is not None else self.in_domain


@dataclass(frozen=True)
class Table:
    """One table, with all that is said about it.

    Attributes:
        primary: ``open-set`` or ``in-domain``.
        conditions: Name, kind and reason of every condition.
        rows: By kind, cross-entropy first, then by label.
        tests: The three families.
        pairs: What the ranks are built from.
        notes: What the numbers can and cannot say.
        date: Of the newest result, ISO 8601.
    """

    task: str
    data: str
    fingerprint: str
    protocol: str
    backbone: str
    head: str
    digest: str
    primary: str
    standin: bool
    date: str
    conditions: tuple[tuple[str, str, str], ...]
    rows: tuple[Row, ...]
    tests: tuple[Test, ...]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...] = field(default=())


def tables(runs: Iterable[Run]) -> list[Table]:
    """Sort runs into tables.

    Args:
        runs: Of any task and data; failed and diverged ones are counted in their method's row.

    Raises:
        UserError: Runs of one table were scored on different rows, or do not fit their own numbers.
    """
    return [table(sheet) for sheet in from_runs(runs)]


def table(sheet: Sheet) -> Table:
    """Build one table."""
    found = scored.score(sheet)
    baseline = found.get(families.BASELINE)
    marked = {label: marks(one, baseline) for label, one in found.items()}
    ranked = comparable([one for one in found.values() if is_ranked(one)])
    pairs = all_pairs(ranked)
    ranks = ranks_of(pairs, [one.entry.label for one in ranked], marked)
    by_condition = condition_cells(found, baseline)
    rows = [row(one, baseline, ranks.get(label), marked[label], by_condition[label]) for label, one in found.items()]
    apart = {label for label, one in found.items() if is_ranked(one) and one not in ranked}
    rows = [replace(one, unranked=FEW_SHARED) if one.label in apart else one for one in rows]
    rows.sort(key=row_order)
    tests = run_families([found[one.label] for one in rows])
    scores = next((one for entry in sheet.entries for one in entry.scores), None)
    primary = scores.primary if scores else "open-set"
    group: Group = sheet.group
    return Table(
        task=group.task,
        data=sheet.data,
        fingerprint=group.fingerprint,
        protocol=group.protocol,
        backbone=group.backbone,
        head=group.head,
        digest=group.digest,
        primary=primary,
        standin=sheet.standin,
        date=sheet.date,
        conditions=tuple((c.name, c.kind, c.reason) for c in scores.conditions) if scores else (),
        rows=tuple(rows),
        tests=tuple(tests),
        pairs=tuple(pairs),
        notes=tuple(notes(sheet, rows, tests, pairs, primary)),
    )


def row_order(one: Row) -> tuple[int, bool, str]:
    """By kind, cross-entropy first, then by label."""
    kinds = ("unguided", "one-cam", "two-cam", "control")
    return kinds.index(one.kind), one.label != families.BASELINE, one.label


def row(
    one: Scored, baseline: Scored | None, rank: Rank | None, marked: tuple[str, ...], cells_: tuple[ConditionCell, ...]
) -> Row:
    """One method's row."""
    entry = one.entry
    against = baseline if baseline is not None and baseline is not one else None
    maps = next((scores.true_cam for scores in entry.scores if scores.true_cam), None)
    return Row(
        label=entry.label,
        kind=entry.kind,
        seeds=entry.seeds,
        failed=entry.failed,
        diverged=entry.diverged,
        rank=rank,
        in_domain=metric(one.in_domain),
        open_set=metric(one.primary if one.worst else {}),
        worst=scored.seeds_only(one.worst),
        difference=compare(one.primary, against.primary) if against else None,
        marks=marked,
        true_cam=agreement([scores.true_cam for scores in entry.scores]),
        difference_map=agreement([scores.difference_map for scores in entry.scores]),
        maps=(maps.maps_negative, maps.maps_positive) if maps else (0, 0),
        conditions=cells_,
        field_metrics=tuple(field_cells(entry)),
        seconds=float(np.mean(entry.seconds)) if entry.seconds else float("nan"),
        peak_mb=entry.peak_mb,
        standing=entry.standing,
    )


def over_seeds(values: Iterable[float | None]) -> Cell | None:
    """A cell over the seeds that have the number; None without any."""
    known = [value for value in values if value is not None]
    return cells.cell(np.array(known)) if known else None


def agreement(found: Sequence[MapAgreement | None]) -> Agreement | None:
    """Each run's means over its maps, over seeds."""
    known = [maps for maps in found if maps is not None]
    lift = over_seeds(maps.lift for maps in known)
    if lift is None:
        return None
    return Agreement(
        lift=lift,
        pe=over_seeds(maps.pe for maps in known),
        auc=over_seeds(maps.auc for maps in known),
        cc=over_seeds(maps.cc for maps in known),
        lift_nonempty=over_seeds(maps.lift_nonempty for maps in known),
        empty=float(np.mean([maps.empty for maps in known])),
    )


def condition_cells(found: dict[str, Scored], baseline: Scored | None) -> dict[str, tuple[ConditionCell, ...]]:
    """Every method on every condition, Benjamini–Hochberg over the whole grid of differences."""
    tested: dict[tuple[str, str], Comparison] = {}
    for label, one in found.items():
        for name in one.conditions:
            comparison = compare(one.conditions[name], baseline.conditions.get(name, {})) if baseline else None
            if comparison is not None and one is not baseline:
                tested[label, name] = comparison
    decided = {key: c for key, c in tested.items() if c.n >= families.MIN_SEEDS}
    adjusted = families.benjamini_hochberg(np.array([c.p for c in decided.values()]))
    q = dict(zip(decided, (float(value) for value in adjusted), strict=True))
    return {
        label: tuple(
            ConditionCell(
                condition=name,
                auroc=metric(one.conditions.get(name, {})),
                difference=tested.get((label, name)),
                q=q.get((label, name)),
                false_positive_rate=over_seeds(
                    c.false_positive_rate for scores in one.entry.scores for c in scores.conditions if c.name == name
                ),
            )
            for name in condition_names(one.entry.scores)
        )
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
            value=over_seeds(one.value for one in found) if all(one.value is not None for one in found) else None,
            achieved=over_seeds(one.achieved for one in found),
            oracle=over_seeds(one.oracle for one in found),
            note=next((one.note for one in found if one.note), ""),
        )
        for (name, condition), found in by_name.items()
    ]


def marks(one: Scored, baseline: Scored | None) -> tuple[str, ...]:
    """Findings that set a row apart.

    The interval of fewer than five seeds is so wide that it would mark nearly everything as chance: there, and
    where no interval can be estimated, the mean decides.
    """
    found: list[str] = []
    few = len(one.entry.seeds) < families.MIN_SEEDS
    if one.worst:
        interval = metric(one.primary).population
        low = metric(one.primary).seeds.mean if few or interval is None or np.isnan(interval.low) else interval.low
        if low <= 0.5:
            found.append("at or below chance")
    if few:
        return tuple(found)
    inside = compare(one.in_domain, baseline.in_domain) if baseline is not None and baseline is not one else None
    if inside is not None and inside.high < -IN_DOMAIN_LOSS:
        found.append("in-domain worse")
    return tuple(found)


def is_ranked(one: Scored) -> bool:
    """No control, five seeds or more, every seed with a result, and a primary metric."""
    entry = one.entry
    complete = entry.failed + entry.diverged == 0 and len(entry.seeds) >= families.MIN_SEEDS
    return complete and entry.kind != "control" and bool(one.primary)


def comparable(found: Sequence[Scored]) -> list[Scored]:
    """Those that share enough seeds with all others kept, cross-entropy first: what cannot be tested has no rank.

    Otherwise a method run on seeds of its own could never be shown to be worse than any.
    """
    kept: list[Scored] = []
    for one in sorted(found, key=lambda one: (one.entry.label != families.BASELINE, one.entry.label)):
        if all(len(set(one.primary) & set(other.primary)) >= families.MIN_SEEDS for other in kept):
            kept.append(one)
    return [one for one in found if one in kept]


def all_pairs(ranked: Sequence[Scored]) -> list[Pair]:
    """The test of every pair of ranked methods; one with fewer than five common seeds is undefined."""
    found: list[tuple[str, str, float, float]] = []
    for first, second in combinations(ranked, 2):
        comparison = compare(first.primary, second.primary)
        known = comparison is not None and comparison.n >= families.MIN_SEEDS
        found.append(
            (
                first.entry.label,
                second.entry.label,
                comparison.difference if comparison is not None and known else float("nan"),
                comparison.p if comparison is not None and known else float("nan"),
            )
        )
    adjusted = families.holm(np.array([p for *_, p in found]))
    return [Pair(*one, float(p_holm)) for one, p_holm in zip(found, adjusted, strict=True)]


def ranks_of(pairs: Sequence[Pair], ranked: Sequence[str], marked: dict[str, tuple[str, ...]]) -> dict[str, Rank]:
    """Rank intervals; a board with a single method has none."""
    if len(ranked) < 2:
        return {}
    return families.rank_intervals(
        ranked,
        [(pair.first, pair.second) for pair in pairs],
        np.array([pair.difference for pair in pairs]),
        np.array([pair.p for pair in pairs]),
        [label for label, found in marked.items() if found],
    )


def run_families(found: Sequence[Scored]) -> list[Test]:
    """The three families, Holm in each; a pair with fewer than five common seeds is not tested."""
    by_label = {one.entry.label: one for one in found}
    tests: list[Test] = []
    for family in families.families({one.entry.label: one.entry.kind for one in found if one.entry.seeds}):
        tested: list[tuple[str, str, BySeed, BySeed, Comparison]] = []
        for first, second in family.pairs:
            a, b = by_label[first].primary, by_label[second].primary
            comparison = compare(a, b)
            if comparison is not None and comparison.n >= families.MIN_SEEDS:
                tested.append((first, second, a, b, comparison))
        adjusted = families.holm(np.array([comparison.p for *_, comparison in tested]))
        tests += [
            Test(
                family=family.name,
                first=first,
                second=second,
                comparison=comparison,
                p_holm=float(p),
                family_size=len(tested),
                smallest_effect=families.smallest_visible_effect(comparison.variance, comparison.df, len(tested)),
                on_these_images=scored.on_these_images(a, b),
                hedges_g=cells.hedges_g(*scored.shared_values(a, b)),
                superiority=cells.probability_of_superiority(*scored.shared_values(a, b)),
            )
            for (first, second, a, b, comparison), p in zip(tested, adjusted, strict=True)
        ]
    return tests


#: The families beside the baseline's: what their tests ask.
FAMILY_WORDS = {"divergence": "Two-cam methods − cyborg", "controls": "cyborg − its controls"}


def other_family(tests: Sequence[Test], name: str) -> str:
    """One line with every test of a family."""
    found = [test for test in tests if test.family == name]
    each = []
    for test in found:
        who = test.first if name == "divergence" else test.second
        p = "p undefined" if np.isnan(test.p_holm) else f"p {test.p_holm:.3f}" if test.p_holm >= 0.001 else "p <.001"
        star = "*" if test.p_holm <= families.ALPHA else ""
        c = test.comparison
        each.append(f"{who} {c.difference:+.3f} [{c.low:+.3f}, {c.high:+.3f}] {p}{star}")
    return f"{FAMILY_WORDS[name]}, Holm over {len(found)}: {'; '.join(each)}."


def no_test(rows: Sequence[Row]) -> str:
    """Why no method is tested against cross-entropy."""
    labels = {one.label: one for one in rows}
    if families.BASELINE not in labels:
        return f"No p: {families.BASELINE} is not in the table."
    if all(one.kind == "control" or one.label == families.BASELINE for one in rows):
        return f"No p against {families.BASELINE}: controls are tested against {families.REFERENCE} alone."
    return f"No p: a test needs {families.MIN_SEEDS} seeds that both methods have (--seeds 5 or more)."


def notes(sheet: Sheet, rows: Sequence[Row], tests: Sequence[Test], pairs: Sequence[Pair], primary: str) -> list[str]:
    """What the numbers can and cannot say."""
    said = []
    counts = sorted({len(one.seeds) for one in rows})
    n = "–".join(str(count) for count in ([counts[0], counts[-1]] if len(counts) > 1 else counts))
    said.append(
        "n = 1 seed: no sd, no interval, nothing to compare."
        if n == "1"
        else f"n = {n} seeds. Mean ± sd over seeds on these test images; "
        "[95 % interval for new seeds and new subjects]."
    )
    unseen = [
        c.name for entry in sheet.entries[:1] for scores in entry.scores[:1] for c in scores.conditions
        if c.kind == "scored" and c.name != "in-domain"
    ]  # fmt: skip
    if len(unseen) > 1:
        said.append(f"{primary}: mean over {', '.join(unseen)}.")
    if primary == "in-domain":
        said.append("No unseen condition has both classes: open-set AUROC is n/a and in-domain AUROC is primary.")
    family = [test for test in tests if test.family == "baseline"]
    if family:
        smallest = [test.smallest_effect for test in family if not np.isnan(test.smallest_effect)]
        text = f"p: Obuchowski–Rockette against cross-entropy on {primary} AUROC, Holm over {len(family)} methods"
        if smallest:
            text += f"; less than 80 % power to show differences below about {min(smallest):.3f}–{max(smallest):.3f}"
        said.append(text + ". An interval is of one comparison: it can leave out 0 where the adjusted p is above .05.")
    elif len(rows) > 1:
        said.append(no_test(rows))
    said += [other_family(tests, name) for name in FAMILY_WORDS if any(test.family == name for test in tests)]
    if any(test.comparison.status == "undefined" for test in tests):
        said.append(
            "undefined: an unseen condition has all its positives or all its negatives from one subject, or no seed "
            "differs; how far new subjects would differ cannot be estimated."
        )
    if len({one.seeds for one in rows}) > 1:
        said.append("Methods differ in their seeds: each comparison uses the seeds that both have.")
    without = [
        f"{one.label} ({one.failed} failed, {one.diverged} diverged)" for one in rows if one.failed + one.diverged
    ]
    if without:
        said.append(f"Runs without a result, never averaged away: {'; '.join(without)}.")
    for mark, meaning in MARKS.items():
        marked = [one.label for one in rows if mark in one.marks]
        if marked:
            said.append(f"{mark} ({meaning}): {', '.join(marked)}.")
    peak = max((one.peak_mb for one in rows), default=0.0)
    if peak:
        said.append(f"Largest peak memory of a worker process: {peak:.0f} MB.")
    differing = {
        "device": {name for entry in sheet.entries for name in entry.devices},
        "torch version": {name for entry in sheet.entries for name in entry.torch_versions},
    }
    hollow = [one.label for one in rows if one.true_cam and one.true_cam.empty > MANY_EMPTY * max(1, sum(one.maps))]
    if hollow:
        said.append(
            f"More than {MANY_EMPTY:.0%} of the true-class CAMs have no positive part, and count as lift 0: "
            f"{', '.join(hollow)}."
        )
    for name, values in differing.items():
        if len(values) > 1:
            said.append(f"Runs differ in {name} ({', '.join(sorted(values))}): compare with care.")
    said += sorted(
        {
            f"{c.name}: {c.reason}."
            for entry in sheet.entries
            for scores in entry.scores
            for c in scores.conditions
            if c.reason
        }
    )
    if sheet.standin:
        said.append(
            "Stand-in data is drawn by code and built so that guidance can help: a win here tests the software, "
            "not the hypothesis."
        )
    return said
