"""All of it: which comparisons are asked for, and their measurement one after another."""

from __future__ import annotations

import statistics
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.errors import UserError, unknown
from divsal_bench.networks import devices
from divsal_bench.registry import plugins
from divsal_bench.timing import contenders as named
from divsal_bench.timing.arithmetic import CHOICES, Curve, arithmetic_contender, curve_steps, curves_of
from divsal_bench.timing.contenders import Bench
from divsal_bench.timing.drawn import draw_data
from divsal_bench.timing.pairs import WARM_UP, Clock, Compared, Contender, compare_contenders
from divsal_bench.timing.parts import Watched, watch_contender
from divsal_bench.timing.workers import grid_contenders

if TYPE_CHECKING:
    from divsal_bench.timing.pairs import Stepper
    from divsal_bench.timing.setting import Setting

#: The sections and what each compares.
SECTIONS = {
    "loop": "cross-entropy / the loop one would write by hand",
    "methods": "every other method / cross-entropy",
    "published": "cyborg / a CYBORG step in the style of the public code",
    "cache": "data read from the cache by batch / data in memory",
    "evaluation": "evaluation with maps by batch / one image at a time",
    "arithmetic": "bf16, channels_last and a fused optimiser / without",
    "workers": "a grid by several workers / by one with their threads",
}
#: Asked for by name only: it takes minutes.
ON_REQUEST = ("workers",)
#: From this share on the gradients of two that should do the same work are called different.
APART = 0.1


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        compared: Every comparison, in the order of :data:`SECTIONS`.
        watched: The contenders' parts and memory.
        curves: Of the choices of arithmetic.
    """

    compared: tuple[Compared, ...]
    watched: tuple[Watched, ...]
    curves: tuple[Curve, ...] = field(default=())


def asked_for(only: Sequence[str] | None, workers: int | None) -> tuple[list[str], list[str]]:
    """Sections and methods that are asked for.

    Args:
        only: Names of sections and methods; None for all but those :data:`ON_REQUEST`.
        workers: Given, the section of that name is among them.

    Raises:
        UserError: A name is neither.
    """
    methods = [name for name in plugins.ranked_order(plugins.methods().found) if name != named.PLAIN]
    if only is None:
        sections = [name for name in SECTIONS if name not in ON_REQUEST or workers]
        return sections, methods
    for name in only:
        if name == named.PLAIN:
            raise UserError(f"{name} is what every method is compared with; name methods, or loop for {name} itself")
        if name not in SECTIONS and name not in methods:
            raise unknown("name", name, [*SECTIONS, *methods])
    chosen = [name for name in methods if name in only or "methods" in only]
    sections = [name for name in SECTIONS if name in only or (name == "methods" and chosen)]
    return sections + ["workers"] * bool(workers and "workers" not in sections), chosen


def count_compared(sections: Sequence[str], methods: Sequence[str]) -> int:
    """How many comparisons these are."""
    several = {"methods": len(methods), "arithmetic": len(CHOICES)}
    return sum(several.get(section, 1) for section in sections)


def measure_speed(
    setting: Setting,
    sections: Sequence[str],
    methods: Sequence[str],
    workers: int,
    on_compared: Callable[[Compared], None],
    say: Callable[[str], None],
) -> Measured:
    """Measure what is asked for.

    Args:
        workers: Of the grid.
        on_compared: Told of each comparison when it is done.
        say: Told what goes on where that takes long.

    Raises:
        UserError: The network cannot be built, or there is no room for the data.
    """
    setting.network(setting.protocol, check=True)
    devices.make_deterministic(setting.protocol.threads)
    with tempfile.TemporaryDirectory(prefix="divsal-bench-speed-") as folder, warnings.catch_warnings():
        # Of operations that have no deterministic algorithm on a device; runs are made with them all the same.
        warnings.filterwarnings("ignore", message=".*determinis")
        data = draw_data(
            Path(folder),
            setting.protocol.input_size,
            setting.channels,
            setting.protocol.batch_size,
            mapped=setting.mapped,
        )
        bench = Bench(setting, data)
        table = [row for section in sections for row in comparisons(bench, section, methods, workers)]
        clock = Clock(setting.device, setting.steps)
        compared: list[Compared] = []
        contenders: dict[str, Contender] = {}
        for section, first, second in table:
            compared.append(compared_pair(clock, setting, section, first, second))
            on_compared(compared[-1])
            if section != "workers":
                contenders |= {second.name: second, first.name: first}
        say("where the time goes, and memory")
        watched = [watch_contender(one, setting.device, seconds_of(name, compared)) for name, one in contenders.items()]
        curves: tuple[Curve, ...] = ()
        if "arithmetic" in sections:
            slowest = max(seconds_of(name, compared) for pair in CHOICES.items() for name in pair)
            steps = curve_steps(2 * setting.seconds, slowest)
            say(f"short trainings of {steps} steps, one for each choice of arithmetic")
            curves = curves_of(bench, steps)
        del bench, data  # before its folder goes
    devices.make_deterministic(setting.protocol.threads)
    return Measured(tuple(compared), tuple(watched), curves)


def comparisons(
    bench: Bench, section: str, methods: Sequence[str], workers: int
) -> list[tuple[str, Contender, Contender]]:
    """What a section compares: (section, first, second)."""
    plain = bench.method(named.PLAIN)
    if section == "methods":
        return [(section, bench.method(name), plain) for name in methods]
    if section == "arithmetic":
        return [
            (section, arithmetic_contender(bench, name), arithmetic_contender(bench, usual))
            for name, usual in CHOICES.items()
        ]
    pairs: dict[str, Callable[[], tuple[Contender, Contender]]] = {
        "loop": lambda: (plain, bench.by_hand(named.BARE)),
        "published": lambda: (bench.method("cyborg"), bench.by_hand(named.PUBLISHED)),
        "cache": lambda: (bench.from_cache(), bench.method(named.PLAIN, named.IN_MEMORY)),
        "evaluation": bench.evaluation,
        "workers": lambda: grid_contenders(bench.setting, bench.data, workers),
    }
    return [(section, *pairs[section]())]


def compared_pair(clock: Clock, setting: Setting, section: str, first: Contender, second: Contender) -> Compared:
    """One comparison."""
    turns, warm_up, apart = setting.turns, WARM_UP, None
    if section in ("loop", "published"):
        apart = gradients_apart(first.make(), second.make())
    elif section == "evaluation":  # a step is all of a split
        clock, turns, warm_up = Clock(setting.device), None, 1
    elif section == "workers":  # a step is all of a grid, and beginning belongs to it
        clock, turns, warm_up = Clock(setting.device, own=False), 1, 0
    return compare_contenders(clock, section, first, second, setting.pairs, turns, setting.seconds, warm_up, apart)


def gradients_apart(first: Stepper, second: Stepper, steps: int = 2) -> float:
    """The largest distance of two trainings' gradients in their first steps, as a share of the first's length.

    Two that do the same work differ by rounding; the comparison of others means nothing.
    """
    worst = 0.0
    for _ in range(steps):
        first.step()
        second.step()
        one, two = ([p.grad.double().cpu() for p in side.model.net.parameters()] for side in (first, second))  # type: ignore[attr-defined]
        distance = sum(float((a - b).square().sum()) for a, b in zip(one, two, strict=True)) ** 0.5
        worst = max(worst, distance / max(1e-30, sum(float(a.square().sum()) for a in one) ** 0.5))
    return worst


def seconds_of(name: str, compared: Sequence[Compared]) -> float:
    """Median seconds of a contender's step over all its pairs."""
    return statistics.median(seconds for one in compared for seconds in step_seconds(one, name))


def step_seconds(one: Compared, name: str) -> list[float]:
    """A contender's seconds of a step in each pair of one comparison; none where it took no part."""
    side = {one.second: 1, one.first: 0}.get(name)
    return [] if side is None else [pair[side].wall for pair in one.times]


def require_same_work(compared: Sequence[Compared]) -> list[str]:
    """Sentences about comparisons of contenders that do not do the same work, which means a mistake of ours."""
    return [
        f"{one.name}: their gradients differ by {one.apart:.0%}; they do not do the same work, so the ratio says little"
        for one in compared
        if one.apart is not None and one.apart > APART
    ]
