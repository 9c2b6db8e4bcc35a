"""Two methods, or the same method in two sets of runs, compared condition by condition."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from divsal_bench.errors import UserError, plural
from divsal_bench.leaderboard.sheets import entrants, scored
from divsal_bench.leaderboard.sheets.entries import Entry, Sheet
from divsal_bench.leaderboard.sheets.scored import BySeed, Subjects
from divsal_bench.leaderboard.statistics import families, over_conditions, over_seeds, reader_case
from divsal_bench.leaderboard.statistics.placements import SubjectCounts
from divsal_bench.leaderboard.statistics.reader_case import NAN, Comparison, FixedImages
from divsal_bench.leaderboard.tables import notes, wording


@dataclass(frozen=True)
class MetricDifference:
    """A first − second difference on one metric.

    Attributes:
        what: ``open-set``, ``in-domain``, ``worst``, or a condition's name.
        first, second: Means over the seeds compared.
        comparison: Its p is NaN where nothing may be claimed.
        q: Benjamini–Hochberg over the conditions, which are exploratory; None for the summaries.
        on_these_images: Decides nothing; None without common seeds.
    """

    what: str
    first: float
    second: float
    comparison: Comparison
    q: float | None
    on_these_images: FixedImages | None


@dataclass(frozen=True)
class PairComparison:
    """Everything ``compare_entries`` prints about one pair in one table.

    Attributes:
        heading: What the numbers depend on.
        paired: How seeds were matched, in words.
        lines: The primary metric first.
        hedges_g, superiority, smallest_effect, smallest_range, without_one, over_conditions: Of the primary metric,
            as in :class:`divsal_bench.leaderboard.tables.schema.Test`.
        subject_share: c⁺/v of the primary difference; NaN if unknown.
        withheld: Why nothing may be claimed; "" where something may.
        claim: The one sentence that may be written in a paper.
    """

    heading: str
    first: str
    second: str
    paired: str
    lines: tuple[MetricDifference, ...]
    hedges_g: float
    superiority: float
    smallest_effect: float
    smallest_range: tuple[float, float]
    subject_share: float
    without_one: tuple[float, float]
    over_conditions: tuple[float, float]
    withheld: str
    claim: str


def with_seeds(entry: Entry, seeds: Sequence[int] | None) -> Entry:
    """An entry cut down to some of its seeds; UserError if one of them has no result."""
    if seeds is None:
        return entry
    missing = sorted(set(seeds) - set(entry.seeds))
    if missing:
        raise UserError(
            f"{entry.label} has no result for seed{'s' * (len(missing) > 1)} {', '.join(map(str, missing))}; "
            f"it has {', '.join(map(str, entry.seeds)) or 'none'}"
        )
    kept = [i for i, seed in enumerate(entry.seeds) if seed in set(seeds)]
    return dataclasses.replace(
        entry,
        seeds=tuple(entry.seeds[i] for i in kept),
        margins=entry.margins[kept],
        # What was asked for is what is there; what was set aside is said.
        failed=0,
        diverged=0,
        left_out=tuple(seed for seed in entry.seeds if seed not in set(seeds)),
        left_without=entry.failed + entry.diverged,
        scores=tuple(entry.scores[i] for i in kept),
        seconds=tuple(entry.seconds[i] for i in kept),
        origins=tuple(entry.origins[i] for i in kept),
    )


def compare_entries(sheet: Sheet, first: Entry, second: Entry) -> PairComparison:
    """Compare two entries scored on one sheet's rows.

    Seeds both have are paired; without any in common the two are compared as independent sets of runs on the same
    test images.

    Raises:
        UserError: One of them has no result.
    """
    for entry in (first, second):
        if not entry.seeds:
            raise UserError(f"{entry.label} has no run with a result; see `divsal-bench status`")
    # Labels apart, so that a method can be compared with itself over other seeds.
    pair = tuple(dataclasses.replace(entry, label=str(i)) for i, entry in enumerate((first, second)))
    own = dataclasses.replace(sheet, entries=pair)
    found, subjects = scored.score_sheet(own), scored.subjects_of(own) or Subjects(0, 0, {}, ())
    a, b = found["0"], found["1"]
    names = (label_apart(first, second), label_apart(second, first))
    shared = sorted(set(first.seeds) & set(second.seeds))
    primary = "open-set" if a.worst else "in-domain"
    summaries = {primary: (a.primary, b.primary, subjects.behind_primary)}
    if primary == "open-set":
        summaries["in-domain"] = (a.in_domain, b.in_domain, subjects.behind("in-domain"))
        summaries["worst"] = (a.worst, b.worst, [])
    lines = [metric_difference(name, x, y, counts) for name, (x, y, counts) in summaries.items() if x and y]
    if not lines:
        raise UserError("neither open-set nor in-domain AUROC exists on this data: there is nothing to compare")
    main = lines[0]
    withheld = why_no_claim(sheet, (first, second), names, main.comparison, subjects)
    exploratory = [
        metric_difference(name, a.conditions[name], b.conditions[name], subjects.behind(name))
        for name in a.conditions
        if name != "in-domain"
    ]
    if withheld:
        lines, exploratory = (
            [dataclasses.replace(one, comparison=scored.without_p(one.comparison)) for one in some]
            for some in (lines, exploratory)
        )
    q = families.benjamini_hochberg(np.array([one.comparison.p for one in exploratory]))
    lines += [dataclasses.replace(one, q=float(value)) for one, value in zip(exploratory, q, strict=True)]
    values = scored.values_of(a.primary, b.primary)
    equally_many = len(values[0]) == len(values[1])
    by_condition = [one.comparison.difference for one in exploratory if one.what in subjects.primary]
    c, sampled = main.comparison, over_conditions.random_conditions(np.array(by_condition))
    smallest, ends = NAN, (NAN, NAN)
    if not withheld:
        smallest = families.smallest_visible_effect(c.variance, c.df, 1)
        ends = families.visible_effect_range(c.variance, c.df, 1)
    group, drawn = sheet.group, "drawn; " if sheet.standin else ""
    data = f"data {sheet.data} ({drawn}{group.fingerprint[:8]})"
    return PairComparison(
        heading=f"{group.task} · {data} · {group.protocol} · {group.backbone}",
        first=names[0],
        second=names[1],
        paired=matched(first, second, shared),
        lines=tuple(lines),
        hedges_g=over_seeds.hedges_g(*values) if equally_many else NAN,
        superiority=over_seeds.probability_of_superiority(*values) if equally_many else NAN,
        smallest_effect=smallest,
        smallest_range=ends,
        subject_share=c.c_plus / c.variance if c.variance > 0 else NAN,
        without_one=over_conditions.leave_one_out(np.array(by_condition)),
        over_conditions=(sampled.low, sampled.high),
        withheld=withheld,
        claim=permitted_claim(sheet, names, main, smallest, withheld, score_alike(first, second))
        + about_chosen_seeds((first, second), names),
    )


def matched(first: Entry, second: Entry, shared: Sequence[int]) -> str:
    """How the seeds of two entries were matched, in words."""
    if not shared:
        return (
            f"no seed in common: {plural(len(first.seeds), 'seed')} ({entrants.typed_seeds(first.seeds)}) against "
            f"{len(second.seeds)} ({entrants.typed_seeds(second.seeds)}), compared unpaired"
        )
    if len(shared) == 1:
        return f"one seed that both have ({shared[0]})"
    return f"paired over the {len(shared)} seeds that both have ({entrants.typed_seeds(shared)})"


def why_no_claim(
    sheet: Sheet, entries: tuple[Entry, Entry], names: tuple[str, str], main: Comparison, subjects: Subjects
) -> str:
    """Why nothing may be claimed; "" where something may."""
    for entry, name in zip(entries, names, strict=True):
        lost = entrants.lost(entry.failed, entry.diverged)
        if lost:
            asked = len(entry.seeds) + entry.failed + entry.diverged
            left = f"survivors only, {len(entry.seeds)} of {asked} seeds"
            return f"{name} has runs without a result ({lost}), its numbers are of {left}"
        if entry.kind != "unguided" and sheet.train_maps == 0:
            return f"{name} was trained with {entrants.NO_TRAINING_MAPS}"
    if main.n < families.MIN_SEEDS:
        return f"{plural(main.n, 'seed')}, a test needs {families.MIN_SEEDS}"
    return families.withheld(subjects.behind_primary, main.subjects)


def about_chosen_seeds(entries: Sequence[Entry], names: Sequence[str]) -> str:
    """A warning where seeds may have been chosen."""
    odd = [
        f"{name} has seed{'s' * (len(entry.seeds) > 1)} {entrants.typed_seeds(entry.seeds)}"
        for entry, name in zip(entries, names, strict=True)
        if entry.seeds != tuple(range(len(entry.seeds)))
    ]
    said = [f" {' and '.join(odd)}, not those from 0 on"] if odd else []
    used = {(entry.label, seed) for entry in entries for seed in entry.seeds}
    for entry, name in zip(entries, names, strict=True):
        rest = [seed for seed in entry.left_out if (entry.label, seed) not in used]
        parts = [f"seed{'s' * (len(rest) > 1)} {entrants.typed_seeds(rest)}"] if rest else []
        parts += [plural(entry.left_without, "run") + " without a result"] if entry.left_without else []
        if parts:
            be = "are" if len(rest) + entry.left_without > 1 else "is"
            said.append(f" {' and '.join(parts)} of {name} {be} left out")
    return "".join(f"{one}: whoever chose seeds by their results may claim nothing." for one in said)


def label_apart(entry: Entry, other: Entry) -> str:
    """The label; with its seeds where the two share it."""
    return f"{entry.label}@{entrants.typed_seeds(entry.seeds)}" if entry.label == other.label else entry.label


def metric_difference(what: str, a: BySeed, b: BySeed, counts: Sequence[SubjectCounts]) -> MetricDifference:
    """One metric of both, paired over the seeds both have, unpaired without any.

    Args:
        a, b: Neither empty.
        counts: Subjects of every condition that the metric is a mean over.
    """
    shared = set(a) & set(b)
    comparison = scored.compare_shared_seeds(a, b, counts) if shared else scored.compare_all_seeds(a, b, counts)
    assert comparison is not None
    first, second = scored.values_of(a, b)
    if what == "worst":  # no test covers a minimum over conditions
        comparison = dataclasses.replace(comparison, t=NAN, df=NAN, p=NAN, low=NAN, high=NAN, status="undefined")
    elif comparison.n < families.MIN_SEEDS:
        comparison = scored.without_p(comparison)
    here = reader_case.compare_on_fixed_images(*scored.shared_values(a, b)) if shared else None
    return MetricDifference(what, float(first.mean()), float(second.mean()), comparison, None, here)


def score_alike(first: Entry, second: Entry) -> bool:
    """Whether every image got the same score at every seed that both have."""
    shared = set(first.seeds) & set(second.seeds)
    by_seed = [dict(zip(entry.seeds, entry.margins, strict=True)) for entry in (first, second)]
    return bool(shared) and all(np.array_equal(by_seed[0][seed], by_seed[1][seed]) for seed in shared)


def permitted_claim(
    sheet: Sheet, names: tuple[str, str], main: MetricDifference, smallest: float, withheld: str, identical: bool
) -> str:
    """What may be said, and no more.

    The p-value is that of one comparison chosen beforehand; whoever picks the best of many pairs needs the
    board's adjusted ones.
    """
    found = main.comparison
    where = f"on {sheet.group.task} ({sheet.data}, {sheet.group.protocol}, {sheet.group.backbone})"
    if withheld:
        return f"Nothing may be claimed {where}: {withheld}."
    if identical:
        return f"{names[0]} and {names[1]} scored exactly alike {where}."
    if found.status == "equal":
        return (
            f"Nothing may be claimed {where}: {names[0]} and {names[1]} have the same {main.what} AUROC at every seed, "
            "and how far other seeds or test subjects would differ cannot be estimated."
        )
    if found.status == "undefined" or math.isnan(found.p):
        return f"Nothing may be claimed {where}: the variance over seeds or subjects cannot be estimated."
    interval = f"95 % interval {wording.with_sign(found.low)} to {wording.with_sign(found.high)}"
    p = "p < .001" if found.p < 0.001 else f"p = {found.p:.3f}"
    scope = f"for {notes.SCOPE}; as one comparison chosen beforehand"
    if found.p <= families.ALPHA:
        better = "higher" if found.difference > 0 else "lower"
        text = (
            f"{where[0].upper()}{where[1:]}, {names[0]} has a {better} {main.what} AUROC than {names[1]}, by "
            f"{abs(found.difference):.3f} ({interval}, {p}; {scope})."
        )
    else:
        text = (
            f"No difference in {main.what} AUROC between {names[0]} and {names[1]} may be claimed {where} "
            f"({wording.with_sign(found.difference)}, {interval}, {p}; {scope}); nor that they are equal: differences "
            f"below about {smallest:.3f} could not be expected to show."
        )
    if sheet.standin:
        text += " This is drawn data: it says nothing about people's maps on real images."
    return text
