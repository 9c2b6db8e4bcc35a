"""From runs to tables: one table for each task, data set, protocol and backbone, never mixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from divsal_bench.leaderboard import cells, families, reader_case
from divsal_bench.leaderboard.cells import Cell
from divsal_bench.leaderboard.reader_case import Comparison, FixedImages
from divsal_bench.leaderboard.scored import Metric, Scored, compare, metric, score_methods
from divsal_bench.records import MapAgreement, Run

#: A method whose in-domain AUROC is shown to lose more than this against cross-entropy is marked.
IN_DOMAIN_LOSS = 0.02
#: Findings that set a row apart, and what they mean.
MARKS = {
    "at or below chance": "the interval of open-set AUROC reaches 0.5 or less",
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
    """

    family: str
    first: str
    second: str
    comparison: Comparison
    p_holm: float
    family_size: int
    smallest_effect: float
    on_these_images: FixedImages


@dataclass(frozen=True)
class Row:
    """One method.

    Attributes:
        seeds: Seeds with a result, sorted.
        failed, diverged: Number of runs without one.
        difference: To cross-entropy on the primary metric, over the seeds both have; None without any.
        marks: ``at or below chance``, ``in-domain worse``.
        lift_true, lift_difference: Lift over seeds; None without human maps in the test split.
        maps: (negatives, positives) with a human map in the test split.
        seconds: Mean seconds a run.
        peak_mb: Largest peak memory.
    """

    label: str
    kind: str
    seeds: tuple[int, ...]
    failed: int
    diverged: int
    in_domain: Metric
    open_set: Metric
    worst: Metric
    difference: Comparison | None
    marks: tuple[str, ...]
    lift_true: Cell | None
    lift_difference: Cell | None
    maps: tuple[int, int]
    seconds: float
    peak_mb: float


@dataclass(frozen=True)
class Table:
    """One table, with all that is said about it.

    Attributes:
        primary: ``open-set`` or ``in-domain``.
        conditions: Name, kind and reason of every condition.
        notes: What the numbers can and cannot say.
    """

    task: str
    data: str
    fingerprint: str
    protocol: str
    backbone: str
    head: str
    primary: str
    conditions: tuple[tuple[str, str, str], ...]
    rows: tuple[Row, ...]
    tests: tuple[Test, ...]
    notes: tuple[str, ...] = field(default=())


def tables(runs: Sequence[Run]) -> list[Table]:
    """Sort runs into tables.

    Args:
        runs: Of any task and data; failed and diverged ones are counted in their method's row.

    Raises:
        UserError: Runs of one table were scored on different test rows.
    """
    groups: dict[Any, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.spec.group, []).append(run)
    return [table(groups[key]) for key in sorted(groups)]


def table(runs: Sequence[Run]) -> Table:
    """Build one table from the runs of one group."""
    first = next((run for run in runs if run.record.status == "done"), runs[0])
    by_method: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.spec.seed):
        by_method.setdefault(run.spec.entry, []).append(run)
    labels = unique_labels([members[0] for members in by_method.values()])
    scored = score_methods(dict(zip(labels, by_method.values(), strict=True)))
    baseline = scored.get(families.BASELINE)
    rows = [row(labels[i], members, scored[labels[i]], baseline) for i, members in enumerate(by_method.values())]
    rows.sort(key=row_order)
    tests = run_families([scored[one.label] for one in rows])
    spec, scores = first.spec, first.record.scores
    found = tuple((c.name, c.kind, c.reason) for c in scores.conditions) if scores else ()
    return Table(
        task=spec.task,
        data=spec.data,
        fingerprint=spec.data_fingerprint,
        protocol=spec.protocol,
        backbone=spec.backbone,
        head=spec.head,
        primary=scores.primary if scores else "open-set",
        conditions=found,
        rows=tuple(rows),
        tests=tuple(tests),
        notes=tuple(notes(runs, rows, tests, scores.primary if scores else "open-set")),
    )


def unique_labels(runs: Sequence[Run]) -> list[str]:
    """Row labels; a label that two rows share gets its version and, if need be, its fields' place."""
    plain = [run.record.method_label for run in runs]
    versioned = [
        f"{label}@v{run.spec.method_version}" if plain.count(label) > 1 else label
        for label, run in zip(plain, runs, strict=True)
    ]
    return [
        f"{label}#{versioned[:i].count(label) + 1}" if versioned.count(label) > 1 else label
        for i, label in enumerate(versioned)
    ]


def row_order(one: Row) -> tuple[int, bool, str]:
    """By kind, cross-entropy first, then by label."""
    kinds = ("unguided", "one-cam", "two-cam", "control")
    return kinds.index(one.kind), one.label != families.BASELINE, one.label


def row(label: str, members: Sequence[Run], scored: Scored, baseline: Scored | None) -> Row:
    """One method's row."""
    done = [run for run in members if run.record.status == "done"]
    against = baseline if baseline is not None and baseline.label != label else None
    true = [run.record.scores.true_cam for run in done if run.record.scores]
    difference = [run.record.scores.difference_map for run in done if run.record.scores]
    one = next((maps for maps in true if maps), None)
    return Row(
        label=label,
        kind=scored.kind,
        seeds=tuple(run.spec.seed for run in done),
        failed=sum(run.record.status == "failed" for run in members),
        diverged=sum(run.record.status == "diverged" for run in members),
        in_domain=metric(scored.in_domain),
        open_set=metric(scored.primary if scored.worst else {}),
        worst=metric(scored.worst),
        difference=compare(scored.primary, against.primary) if against else None,
        marks=marks(scored, against),
        lift_true=lift(true),
        lift_difference=lift(difference),
        maps=(one.maps_negative, one.maps_positive) if one else (0, 0),
        seconds=float(np.mean([run.record.seconds for run in done])) if done else float("nan"),
        peak_mb=max((run.record.peak_mb for run in done), default=0.0),
    )


def lift(found: Sequence[MapAgreement | None]) -> Cell | None:
    """Mean lift of each run, over seeds."""
    values = [maps.lift for maps in found if maps is not None and maps.lift is not None]
    return cells.cell(np.array(values)) if values else None


def marks(scored: Scored, baseline: Scored | None) -> tuple[str, ...]:
    """Findings that set a row apart; with fewer than five seeds the intervals are too wide to find any."""
    found: list[str] = []
    if len(scored.runs) < families.MIN_SEEDS:
        return ()
    if scored.worst:
        interval = metric(scored.primary).population
        if interval is not None and interval.low <= 0.5:
            found.append("at or below chance")
    inside = compare(scored.in_domain, baseline.in_domain) if baseline else None
    if inside is not None and inside.high < -IN_DOMAIN_LOSS:
        found.append("in-domain worse")
    return tuple(found)


def run_families(scored: Sequence[Scored]) -> list[Test]:
    """The three families, Holm in each; a pair with fewer than five common seeds is not tested."""
    by_label = {one.label: one for one in scored}
    tests: list[Test] = []
    for family in families.families({one.label: one.kind for one in scored if one.runs}):  # type: ignore[misc]
        found = []
        for first, second in family.pairs:
            a, b = by_label[first].primary, by_label[second].primary
            shared = sorted(set(a) & set(b))
            comparison = compare(a, b)
            if comparison is not None and len(shared) >= families.MIN_SEEDS:
                values = [np.array([one[seed][0] for seed in shared]) for one in (a, b)]
                found.append((first, second, comparison, reader_case.on_these_images(values[0], values[1])))
        adjusted = families.holm(np.array([comparison.p for _, _, comparison, _ in found]))
        tests += [
            Test(
                family=family.name,
                first=first,
                second=second,
                comparison=comparison,
                p_holm=float(p),
                family_size=len(found),
                smallest_effect=families.smallest_visible_effect(comparison.variance, comparison.df, len(found)),
                on_these_images=here,
            )
            for (first, second, comparison, here), p in zip(found, adjusted, strict=True)
        ]
    return tests


def notes(runs: Sequence[Run], rows: Sequence[Row], tests: Sequence[Test], primary: str) -> list[str]:
    """What the numbers can and cannot say."""
    said = []
    counts = sorted({len(one.seeds) for one in rows})
    n = "–".join(str(count) for count in ([counts[0], counts[-1]] if len(counts) > 1 else counts))
    said.append(
        f"n = {n} seed{'' if n == '1' else 's'}. Mean ± sd over seeds on these test images; "
        "[95 % interval for new seeds and new subjects]."
    )
    if primary == "in-domain":
        said.append("No unseen condition has both classes: open-set AUROC is n/a and in-domain AUROC is primary.")
    family = [test for test in tests if test.family == "baseline"]
    if family:
        smallest = [test.smallest_effect for test in family if not np.isnan(test.smallest_effect)]
        text = f"p: Obuchowski–Rockette against cross-entropy on {primary} AUROC, Holm over {len(family)} methods"
        if smallest:
            text += f"; differences below about {min(smallest):.3f}–{max(smallest):.3f} cannot be expected to show"
        said.append(text + ".")
    elif len(rows) > 1:
        said.append(f"No p: a test needs {families.MIN_SEEDS} seeds that both methods have (--seeds 5 or more).")
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
    for name, key in (("device", "device"), ("torch version", "torch")):
        values = {run.record.device if key == "device" else run.record.versions.get(key, "") for run in runs}
        if len(values) > 1:
            said.append(f"Runs differ in {name} ({', '.join(sorted(values))}): compare with care.")
    said += sorted(
        {
            f"{c.name}: {c.reason}."
            for run in runs
            if run.record.scores
            for c in run.record.scores.conditions
            if c.reason
        }
    )
    if any(run.record.data.kind == "standin" for run in runs):
        said.append(
            "Stand-in data is drawn by code and built so that guidance can help: a win here tests the software, "
            "not the hypothesis."
        )
    return said
