"""Two methods, or the same method in two sets of runs, compared condition by condition."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from divsal_bench.errors import UserError
from divsal_bench.leaderboard import cells, families, scored
from divsal_bench.leaderboard.entries import Entry, Sheet
from divsal_bench.leaderboard.reader_case import Comparison, FixedImages
from divsal_bench.leaderboard.scored import BySeed, Scored

NAN = float("nan")


@dataclass(frozen=True)
class Line:
    """A first − second difference on one metric.

    Attributes:
        what: ``open-set``, ``in-domain``, ``worst``, or a condition's name.
        first, second: Means over the seeds compared.
        q: Benjamini–Hochberg over the conditions, which are exploratory; None for the summaries.
        on_these_images: Decides nothing.
    """

    what: str
    first: float
    second: float
    comparison: Comparison
    q: float | None
    on_these_images: FixedImages


@dataclass(frozen=True)
class Comparing:
    """Everything ``compare`` prints about one pair in one table.

    Attributes:
        heading: What the numbers depend on.
        paired: How seeds were matched, in words.
        lines: The primary metric first.
        hedges_g, superiority, smallest_effect: Of the primary metric.
        claim: The one sentence that may be written in a paper.
    """

    heading: str
    first: str
    second: str
    paired: str
    lines: tuple[Line, ...]
    hedges_g: float
    superiority: float
    smallest_effect: float
    claim: str


def with_seeds(entry: Entry, seeds: Sequence[int] | None) -> Entry:
    """An entry cut down to some of its seeds.

    Raises:
        UserError: One of them has no result.
    """
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
        scores=tuple(entry.scores[i] for i in kept),
        seconds=tuple(entry.seconds[i] for i in kept),
        origins=tuple(entry.origins[i] for i in kept),
    )


def compare(sheet: Sheet, first: Entry, second: Entry) -> Comparing:
    """Compare two entries scored on one sheet's rows.

    Seeds both have are paired; without any in common they are paired in ascending order, which loses nothing
    but the pairing.

    Raises:
        UserError: One of them has no result.
    """
    for entry in (first, second):
        if not entry.seeds:
            raise UserError(f"{entry.label} has no run with a result; see `divsal-bench status`")
    # Labels apart, so that a method can be compared with itself over other seeds.
    pair = tuple(dataclasses.replace(entry, label=str(i)) for i, entry in enumerate((first, second)))
    found = scored.score(dataclasses.replace(sheet, entries=pair))
    a, b = found["0"], found["1"]
    shared = sorted(set(first.seeds) & set(second.seeds))
    paired = f"paired over the {len(shared)} seeds that both have ({seed_list(shared)})"
    if not shared:
        n = min(len(first.seeds), len(second.seeds))
        a, b = in_order(a, n), in_order(b, n)
        paired = (
            f"no seed in common: {n} seeds each paired in their order "
            f"({seed_list(first.seeds[:n])} with {seed_list(second.seeds[:n])})"
        )
    primary = "open-set" if a.worst else "in-domain"
    summaries = {primary: (a.primary, b.primary)}
    if primary == "open-set":
        summaries |= {"in-domain": (a.in_domain, b.in_domain), "worst": (a.worst, b.worst)}
    lines = [one for name, (x, y) in summaries.items() if (one := line(name, x, y)) is not None]
    if not lines:
        raise UserError("neither open-set nor in-domain AUROC exists on this data: there is nothing to compare")
    unseen = [name for name in a.conditions if name != "in-domain"]
    exploratory = [one for name in unseen if (one := line(name, a.conditions[name], b.conditions[name])) is not None]
    q = families.benjamini_hochberg(np.array([one.comparison.p for one in exploratory]))
    lines += [dataclasses.replace(one, q=float(value)) for one, value in zip(exploratory, q, strict=True)]
    main = lines[0]
    smallest = NAN
    if main.comparison.n >= families.MIN_SEEDS:
        smallest = families.smallest_visible_effect(main.comparison.variance, main.comparison.df, 1)
    names = (name_of(first, second), name_of(second, first))
    group = sheet.group
    heading = f"{group.task} · data {sheet.data} ({group.fingerprint[:8]}) · {group.protocol} · {group.backbone}"
    values = scored.shared_values(a.primary, b.primary)
    return Comparing(
        heading=heading,
        first=names[0],
        second=names[1],
        paired=paired,
        lines=tuple(lines),
        hedges_g=cells.hedges_g(*values),
        superiority=cells.probability_of_superiority(*values),
        smallest_effect=smallest,
        claim=claim(sheet, names, main, smallest),
    )


def name_of(entry: Entry, other: Entry) -> str:
    """The label; with its seeds where the two share it."""
    return f"{entry.label}@{seed_list(entry.seeds)}" if entry.label == other.label else entry.label


def seed_list(seeds: Sequence[int]) -> str:
    """``0-4``, or the numbers one by one where some are missing."""
    if len(seeds) > 1 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}-{seeds[-1]}"
    return ",".join(map(str, seeds))


def in_order(one: Scored, n: int) -> Scored:
    """The first n seeds renumbered from 0."""

    def renumber(found: BySeed) -> BySeed:
        return {i: found[seed] for i, seed in enumerate(sorted(found)[:n])}

    return Scored(
        one.entry,
        primary=renumber(one.primary),
        in_domain=renumber(one.in_domain),
        worst=renumber(one.worst),
        conditions={name: renumber(found) for name, found in one.conditions.items()},
    )


def line(what: str, a: BySeed, b: BySeed) -> Line | None:
    """One metric of both; None where they share no seed with it."""
    comparison = scored.compare(a, b)
    if comparison is None:
        return None
    first, second = scored.shared_values(a, b)
    if what == "worst":  # no test covers a minimum over conditions
        comparison = dataclasses.replace(comparison, t=NAN, df=NAN, p=NAN, low=NAN, high=NAN, status="undefined")
    elif comparison.n < families.MIN_SEEDS:
        comparison = dataclasses.replace(comparison, p=NAN)
    return Line(what, float(first.mean()), float(second.mean()), comparison, None, scored.on_these_images(a, b))


def claim(sheet: Sheet, names: tuple[str, str], main: Line, smallest: float) -> str:
    """What may be said, and no more.

    The p-value is that of one comparison chosen beforehand; whoever picks the best of many pairs needs the
    board's adjusted ones.
    """
    found = main.comparison
    where = f"on {sheet.group.task} ({sheet.data}, {sheet.group.protocol})"
    if found.n < families.MIN_SEEDS:
        return f"Nothing may be claimed from {found.n} seed{'s' * (found.n != 1)}: a test needs {families.MIN_SEEDS}."
    if found.status == "equal":
        return f"{names[0]} and {names[1]} scored exactly alike {where}."
    if found.status == "undefined" or math.isnan(found.p):
        return f"Nothing may be claimed {where}: the variance over seeds or subjects cannot be estimated."
    interval = f"95 % interval {found.low:+.3f} to {found.high:+.3f}"
    p = "p < .001" if found.p < 0.001 else f"p = {found.p:.3f}"
    scope = "for new seeds and new subjects of these test conditions, as one comparison chosen beforehand"
    if found.p <= families.ALPHA:
        better = "higher" if found.difference > 0 else "lower"
        text = (
            f"{where[0].upper()}{where[1:]}, {names[0]} has a {better} {main.what} AUROC than {names[1]}, by "
            f"{abs(found.difference):.3f} ({interval}, {p}; {scope})."
        )
    else:
        text = (
            f"No difference in {main.what} AUROC between {names[0]} and {names[1]} may be claimed {where} "
            f"({found.difference:+.3f}, {interval}, {p}; {scope}); nor that they are equal: differences below about "
            f"{smallest:.3f} could not be expected to show."
        )
    if sheet.standin:
        text += " This is drawn data: it says nothing about people's maps on real images."
    return text
