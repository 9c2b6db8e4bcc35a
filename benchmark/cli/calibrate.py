"""``divsal-bench calibrate``: how often the leaderboard's statistics are right, by simulation. No torch."""

from __future__ import annotations

import argparse
import json
import math
import time
from typing import Any

from tabulate import tabulate

from divsal_bench.cli import say
from divsal_bench.errors import UserError
from divsal_bench.files import escaping
from divsal_bench.leaderboard.calibration import calibration, simulation
from divsal_bench.leaderboard.calibration.calibration import MEASURES, TOPICS, CellRates, Measure, Rate

NONE = "–"


def calibrate(arguments: argparse.Namespace) -> int:
    """Simulate, print the tables; exit code 1 when a pass mark is missed."""
    for name, least in (("boards", 2), ("seed", 0), ("workers", 1)):
        if getattr(arguments, name) < least:
            raise UserError(f"--{name} is {getattr(arguments, name)}; give {least} or more")
    cells = simulation.cells_named(arguments.cells)
    started = time.monotonic()
    found: list[CellRates] = []
    for one in calibration.simulate_cells(cells, arguments.boards, arguments.seed, arguments.workers):
        found.append(one)
        seconds = time.monotonic() - started
        left = seconds / len(found) * (len(cells) - len(found))
        say(f"[{len(found)}/{len(cells)}] {one.cell.name}: {seconds:.0f} s so far, about {left:.0f} s left")
    print(written(found, arguments.format, arguments.seed))
    missed = [f"{one.cell.name} {rate.measure.name}" for one in found for rate in one.rates if rate.holds is False]
    say(f"pass marks missed: {', '.join(missed)}" if missed else "every pass mark is met, within 2 Monte Carlo errors")
    return 1 if missed else 0


def written(found: list[CellRates], form: str, seed: int) -> str:
    """The rates as tables in percent, or unrounded, one record a cell and measure."""
    if form == "json":
        return json.dumps([record(one, rate, seed) for one in found for rate in one.rates], indent=1)
    if form == "csv":
        records = [record(one, rate, seed) for one in found for rate in one.rates]
        return escaping.csv_text([list(records[0]), *(list(one.values()) for one in records)])
    return "\n\n".join(table(found, topic, form) for topic in TOPICS if rows_of(found, topic))


def rows_of(found: list[CellRates], topic: str) -> list[tuple[CellRates, list[Rate]]]:
    """The cells that have something to say on a topic, with its rates."""
    chosen = [(one, [rate for rate in one.rates if rate.measure.topic == topic]) for one in found]
    return [(one, rates) for one, rates in chosen if any(says(rate) for rate in rates)]


def says(rate: Rate) -> bool:
    """Whether there is a number, or a reason why not."""
    return rate.withheld or not math.isnan(rate.value)


def table(found: list[CellRates], topic: str, form: str) -> str:
    """One table under its title."""
    gap = "\n" if form == "terminal" else " "
    rows = rows_of(found, topic)
    measures = [
        measure
        for i, measure in enumerate(one for one in MEASURES if one.topic == topic)
        if any(says(rates[i]) for _, rates in rows)
    ]
    head = [f"% of {found[0].boards} boards{gap}± MC error", *(m.heading.replace(": ", f":{gap}") for m in measures)]
    lines = [
        [one.cell.name, *(percent(rate, gap) for rate in rates if rate.measure in measures)] for one, rates in rows
    ]
    if any(mark(measure) != NONE for measure in measures):
        lines.append(["pass mark, n = 5 and 10", *(mark(measure) for measure in measures)])
    style = "simple" if form == "terminal" else "github"
    align = ("left",) + ("right",) * len(measures)
    title = TOPICS[topic] if form == "terminal" else f"### {TOPICS[topic]}"
    return f"{title}\n\n{tabulate(lines, head, tablefmt=style, disable_numparse=True, colalign=align)}"


def percent(rate: Rate, gap: str) -> str:
    """``4.9 ± 0.3``, with a cross where the pass mark is missed; an AUROC as it is."""
    if math.isnan(rate.value):
        return "withheld" if rate.withheld else NONE
    if rate.measure.is_auroc:
        return f"{rate.value:.3f}"
    cross = "✗ " if rate.holds is False else ""
    return f"{cross}{100 * rate.value:.1f}{gap}± {100 * rate.error:.1f}"


def mark(measure: Measure) -> str:
    """The pass mark in percent."""
    if not math.isnan(measure.at_most):
        return f"≤ {100 * measure.at_most:g}"
    return NONE if math.isnan(measure.at_least) else f"≥ {100 * measure.at_least:g}"


def record(one: CellRates, rate: Rate, seed: int) -> dict[str, Any]:
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
