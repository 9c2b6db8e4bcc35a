"""What was measured, as text: tables in percent for people, unrounded records for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from divsal_bench.files import escaping, text_tables
from divsal_bench.leaderboard.calibration.calibration import MEASURES, TOPICS, CellRates, Measure, Rate

#: Where there is no number.
NONE = "–"


def render_rates(found: Sequence[CellRates], form: str, seed: int, width: int | None = None) -> str:
    """The rates as tables in percent, or unrounded, one record a cell and measure.

    Args:
        form: ``terminal``, ``markdown``, ``csv`` or ``json``.
        width: Of the terminal, in characters; None folds nothing.
    """
    if form == "json":
        return json.dumps(rate_records(found, seed), indent=1)
    if form == "csv":
        records = rate_records(found, seed)
        return escaping.csv_text([list(records[0]), *(list(one.values()) for one in records)])
    return "\n\n".join(topic_table(found, topic, form, width) for topic in TOPICS if cells_on(found, topic))


def cells_on(found: Sequence[CellRates], topic: str) -> list[tuple[CellRates, list[Rate]]]:
    """The cells that have something to say on a topic, with its rates."""
    chosen = [(one, [rate for rate in one.rates if rate.measure.topic == topic]) for one in found]
    return [(one, rates) for one, rates in chosen if any(says_something(rate) for rate in rates)]


def says_something(rate: Rate) -> bool:
    """Whether there is a number, or a reason why not."""
    return rate.withheld or not math.isnan(rate.value)


def topic_table(found: Sequence[CellRates], topic: str, form: str, width: int | None) -> str:
    """One table under its title."""
    gap = "\n" if form == "terminal" else " "
    rows = cells_on(found, topic)
    measures = [
        measure
        for i, measure in enumerate(one for one in MEASURES if one.topic == topic)
        if any(says_something(rates[i]) for _, rates in rows)
    ]
    head = [f"% of {found[0].boards} boards{gap}± MC error", *(m.heading.replace(": ", f":{gap}") for m in measures)]
    lines = [
        [one.cell.name, *(rate_percent(rate, gap) for rate in rates if rate.measure in measures)] for one, rates in rows
    ]
    if any(pass_mark(measure) != NONE for measure in measures):
        lines.append(["pass mark, n = 5 and 10", *(pass_mark(measure) for measure in measures)])
    align = "l" + "r" * len(measures)
    if form == "terminal":
        return f"{TOPICS[topic]}\n\n{text_tables.fitted_table(lines, head, align, width=width)}"
    return f"### {TOPICS[topic]}\n\n{text_tables.fitted_table(lines, head, align, 'github')}"


def rate_percent(rate: Rate, gap: str) -> str:
    """``4.9 ± 0.3``, with a cross where the pass mark is missed; an AUROC as it is."""
    if math.isnan(rate.value):
        return "withheld" if rate.withheld else NONE
    if rate.measure.is_auroc:
        return f"{rate.value:.3f}"
    cross = "✗ " if rate.holds is False else ""
    return f"{cross}{100 * rate.value:.1f}{gap}± {100 * rate.error:.1f}"


def pass_mark(measure: Measure) -> str:
    """The pass mark in percent."""
    if not math.isnan(measure.at_most):
        return f"≤ {100 * measure.at_most:g}"
    return NONE if math.isnan(measure.at_least) else f"≥ {100 * measure.at_least:g}"


def rate_records(found: Sequence[CellRates], seed: int) -> list[dict[str, Any]]:
    """A record for every number: everything about it, None where there is none."""
    return [rate_record(one, rate, seed) for one in found for rate in one.rates]


def rate_record(one: CellRates, rate: Rate, seed: int) -> dict[str, Any]:
    """Everything about one number; None where there is none."""
    numbers = {
        "value": rate.value,
        "error": rate.error,
        "at_least": rate.measure.at_least,
        "at_most": rate.measure.at_most,
    }
    return {
        "cell": one.cell.name,
        "seeds": one.cell.seeds,
        "image_effect": one.cell.image_effect,
        "design": one.cell.design,
        "boards": one.boards,
        "seed": seed,
        "measure": rate.measure.name,
        **{name: None if math.isnan(value) else value for name, value in numbers.items()},
        "allowance": rate.measure.allowance,
        "unit": "AUROC" if rate.measure.is_auroc else "share",
        "withheld": rate.withheld,
        "holds": rate.holds,
    }
