"""A common axis for one column of the page, and where a score and its interval lie on it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from divsal_bench.leaderboard.sheets.scored import Metric
from divsal_bench.leaderboard.statistics.reader_case import Comparison
from divsal_bench.leaderboard.tables.wording import within_unit

#: Width of a drawing in CSS pixels, and of one with less to tell.
WIDTH, NARROW = 132, 92
#: Room at both ends for half a dot.
END_ROOM = 6.0
#: Distances between ticks that people read easily.
STEPS = tuple(factor * 10.0**power for power in range(-2, 8) for factor in (1, 2, 5))
#: Larger magnitudes are drawn at the end of the axis: the largest step still leaves few ticks.
FARTHEST = 1e6
#: Room for the text of one tick.
TICK = 23


@dataclass(frozen=True)
class Axis:
    """A linear scale that every drawing of one column shares.

    Attributes:
        low, high: Ends, low < high; both are ticks.
        ticks: Ascending.
        reference: Where the line of no effect stands (chance, no difference); None without one.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    reference: float | None = None
    width: int = WIDTH

    def x(self, value: float) -> float:
        """Position in [0, width]; a value beyond an end is drawn at that end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(END_ROOM + share * (self.width - 2 * END_ROOM), 1)

    @property
    def reference_x(self) -> float | None:
        """Position of the reference line."""
        return None if self.reference is None else self.x(self.reference)

    @property
    def tick_texts(self) -> tuple[tuple[float, str], ...]:
        """Position and text of every tick."""
        return tuple((self.x(tick), f"{tick:g}".replace("-", "−")) for tick in self.ticks)


@dataclass(frozen=True)
class Drawn:
    """One score on an axis, as positions in [0, its width].

    Attributes:
        middle: The estimate.
        low, high: Ends of the interval; None where there is none.
    """

    axis: Axis
    middle: float
    low: float | None = None
    high: float | None = None


def axis_over(values: Iterable[float], reference: float, least: float, width: int = WIDTH) -> Axis:
    """An axis over all finite values and the reference, with ends on ticks.

    Args:
        values: Everything to be drawn; values that are not finite are left out.
        reference: Always inside the axis.
        least: Smallest span: a column of equal numbers must not look like a spread.
        width: Of the drawings.
    """
    known = [min(max(value, -FARTHEST), FARTHEST) for value in values if math.isfinite(value)]
    low, high = min([*known, reference]), max([*known, reference])
    spare = max(0.0, least - (high - low)) / 2
    low, high = low - spare, high + spare
    for step in STEPS:
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first < width // TICK:
            break
    return Axis(first * step, last * step, tuple(round(i * step, 10) for i in range(first, last + 1)), reference, width)


def auroc_axis(metrics: Iterable[Metric]) -> Axis:
    """An axis for AUROCs with the chance line at 0.5, never beyond [0, 1]."""
    found = [within_unit(value) for one in metrics for value in mean_and_ends(one)]
    return axis_over([*found, 1.0] if found else [0.4, 1.0], 0.5, 0.2)


def rank_axis(count: int) -> Axis:
    """An axis for ranks 1 to ``count``, with room for the ends of an interval around each."""
    return Axis(0.5, max(count, 2) + 0.5, (), None, NARROW)


def difference_axis(comparisons: Iterable[Comparison]) -> Axis:
    """An axis for differences of AUROCs, with a line at no difference."""
    return axis_over((value for c in comparisons for value in (c.difference, c.low, c.high)), 0.0, 0.08)


def lift_axis(lifts: Iterable[float]) -> Axis:
    """An axis for lifts from 0, with the line of chance at 1."""
    return axis_over([0.0, 2.0, *lifts], 1.0, 0.0, NARROW)


def mean_and_ends(metric: Metric) -> list[float]:
    """The mean and the ends of the population interval, as far as they are known."""
    interval = metric.population
    return [metric.seeds.mean, *([interval.low, interval.high] if interval else [])]


def draw_metric(on: Axis, metric: Metric) -> Drawn | None:
    """A metric with its population interval; None without a value."""
    if math.isnan(metric.seeds.mean):
        return None
    interval = metric.population
    if interval is None or math.isnan(interval.low):
        return Drawn(on, on.x(metric.seeds.mean))
    return Drawn(on, on.x(metric.seeds.mean), on.x(within_unit(interval.low)), on.x(within_unit(interval.high)))


def draw_difference(on: Axis, comparison: Comparison | None) -> Drawn | None:
    """A difference with its population interval; None without a value."""
    if comparison is None or math.isnan(comparison.difference):
        return None
    if math.isnan(comparison.low):
        return Drawn(on, on.x(comparison.difference))
    return Drawn(on, on.x(comparison.difference), on.x(comparison.low), on.x(comparison.high))
