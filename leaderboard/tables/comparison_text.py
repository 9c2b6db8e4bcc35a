"""Comparisons of two methods as text, in every format that ``compare`` writes."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

from divsal_bench.leaderboard.tables import notes, notes_on_tests, wording
from divsal_bench.leaderboard.tables.comparing import MetricDifference, PairComparison
from divsal_bench.leaderboard.tables.flat import records_csv
from divsal_bench.leaderboard.tables.readable import starred_p, titled_text
from divsal_bench.leaderboard.tables.render import without_nan


def render_comparisons(found: Sequence[PairComparison], form: str, width: int | None = None) -> str:
    """Write comparisons as ``terminal``, ``markdown``, ``csv`` or ``json``; the last two unrounded.

    Args:
        width: Of the terminal, in characters; None folds nothing.
    """
    if form == "json":
        return json.dumps([without_nan(dataclasses.asdict(one)) for one in found], indent=1)
    if form == "csv":
        return records_csv([record for one in found for record in metric_records(one)])
    return "\n\n".join(comparison_text(one, form, width) for one in found)


def metric_records(one: PairComparison) -> list[dict[str, Any]]:
    """One flat record a metric; None or NaN where there is no number."""
    return [
        {
            "table": one.heading,
            "first": one.first,
            "second": one.second,
            "metric": line.what,
            "n": line.comparison.n,
            "mean_first": line.first,
            "mean_second": line.second,
            "difference": line.comparison.difference,
            "low": line.comparison.low,
            "high": line.comparison.high,
            "p": line.comparison.p,
            "q": line.q,
        }
        for line in one.lines
    ]


def comparison_text(one: PairComparison, form: str, width: int | None = None) -> str:
    """Heading, a line a metric, the claim."""
    head = ["AUROC", one.first, one.second, "difference", "95 % interval", "p", "on these images"]
    title = f"{one.heading} · {one.first} − {one.second}"
    return titled_text(title, head, [metric_cells(line) for line in one.lines], [*remarks(one), one.claim], form, width)


def remarks(one: PairComparison) -> list[str]:
    """What the numbers are, beside the claim."""
    main = one.lines[0]
    said = [one.paired[0].upper() + one.paired[1:] + "."]
    if main.comparison.n > 1:
        exploratory = any(line.q is not None for line in one.lines)
        said.append(
            f"Interval{' and p' if not one.withheld else ''} (Obuchowski–Rockette): for {notes.SCOPE}."
            + (" Conditions are exploratory" if exploratory else "")
            + (", with Benjamini–Hochberg over them." if exploratory and not one.withheld else "." * exploratory)
            + (" A minimum over conditions has no interval." if any(line.what == "worst" for line in one.lines) else "")
        )
        if main.on_these_images is not None:
            said.append("On these images: 95 % t-interval over seeds alone; it decides nothing.")
        effects = [("Hedges g", one.hedges_g), ("P(first > second)", one.superiority)]
        shown = [f"{name} {value:.2f}" for name, value in effects if not math.isnan(value)]
        if shown:
            said.append(f"{', '.join(shown)} over seeds.")
    if not math.isnan(one.subject_share):
        said.append(notes_on_tests.what_subject_share_means(one.subject_share, "c⁺/v"))
    if not math.isnan(one.smallest_effect):
        low, high = one.smallest_range
        said.append(
            f"Smallest visible effect (80 % power): about {one.smallest_effect:.3f}, an estimate with 95 % range "
            f"{low:.3f} to {high:.3f}."
        )
    if not math.isnan(one.without_one[0]):
        ends = " to ".join(map(wording.with_sign, one.without_one))
        said.append(f"With one unseen condition left out the difference is {ends} (descriptive).")
    if not math.isnan(one.over_conditions[0]):
        ends = " to ".join(map(wording.with_sign, one.over_conditions))
        said.append(f"With the conditions taken as a sample: 95 % interval {ends} (descriptive: nobody drew them).")
    return said


def metric_cells(line: MetricDifference) -> list[str]:
    """One metric as text."""
    c, here = line.comparison, line.on_these_images
    p = c.p if line.q is None else line.q
    return [
        line.what + (" (exploratory)" if line.q is not None else ""),
        f"{line.first:.3f}",
        f"{line.second:.3f}",
        wording.with_sign(c.difference),
        ends_or_dash(c.low, c.high),
        starred_p(p) if not math.isnan(p) else wording.NONE,
        ends_or_dash(here.low, here.high) if here is not None else wording.NONE,
    ]


def ends_or_dash(low: float, high: float) -> str:
    """An interval of differences, or a dash."""
    return wording.NONE if math.isnan(low) else wording.signed_ends(low, high)
