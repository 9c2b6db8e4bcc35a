"""Two contenders that take turns, so that whatever else the machine does meets both alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from divsal_bench.networks import devices

if TYPE_CHECKING:
    import torch

#: Turns of each contender that are not counted, whenever it is made anew.
WARM_UP = 2
#: Turns in a pair from which on both are made anew for each pair: where memory lies moves a short step by per cents.
FRESH_FROM = 10
#: Turns in a pair at most, where their number is ours to choose.
MOST_TURNS = 50
#: Steps in one turn on an accelerator, which is waited for once a turn; a processor is done when the step is.
STEPS_ON_ACCELERATOR = 10


class Times(NamedTuple):
    """Seconds of one step: on the clock, and of this process's threads, which others lengthen less; 0 if unknown."""

    wall: float
    processor: float


class Stepper(Protocol):
    """Work that goes on step by step."""

    def step(self) -> object:
        """Do the next step."""


@dataclass(frozen=True)
class Contender:
    """What can be compared.

    Attributes:
        images: In one step.
        make: A fresh one, at its first step.
        as_it_comes: PyTorch as it comes: without the deterministic algorithms that our own runs ask for.
    """

    name: str
    images: int
    make: Callable[[], Stepper]
    as_it_comes: bool = False


@dataclass(frozen=True)
class Clock:
    """Times steps.

    Attributes:
        device: Where the work is done; it is waited for before and after a turn.
        steps: In a turn.
        own: Whether this process does the work on its processors, so that their time says something.
    """

    device: torch.device
    steps: int = 1
    own: bool = True

    def turn(self, contender: Contender, stepper: Stepper) -> Times:
        """Let a contender have its turn; what one step took."""
        import torch

        torch.use_deterministic_algorithms(not contender.as_it_comes, warn_only=True)
        devices.synchronise(self.device)
        started = time.perf_counter(), time.process_time()
        for _ in range(self.steps):
            stepper.step()
        devices.synchronise(self.device)
        ended = time.perf_counter(), time.process_time()
        wall, processor = ((end - start) / self.steps for start, end in zip(started, ended, strict=True))
        return Times(wall, processor if self.own and self.device.type == "cpu" else 0.0)


@dataclass(frozen=True)
class Compared:
    """What one contender reaches of another's speed.

    Attributes:
        section: What the comparison belongs to.
        first, second: The ratio is first / second: above 1 the first is faster.
        images: In one step of either.
        times: Of a step, the median over the turns of a pair: (of the first, of the second) for each pair.
        turns: Of each in a pair.
        steps: In a turn.
        fresh: Whether both were made anew for each pair.
        apart: How far the gradients of the two were from each other in their first steps, as a share of their length;
            None where they need not do the same work.
    """

    section: str
    first: str
    second: str
    images: tuple[int, int]
    times: tuple[tuple[Times, Times], ...]
    turns: int = 1
    steps: int = 1
    fresh: bool = False
    apart: float | None = None

    @property
    def name(self) -> str:
        """``first / second``."""
        return f"{self.first} / {self.second}"

    @property
    def ratios(self) -> tuple[float, ...]:
        """The first's images a second over the second's, for each pair."""
        share = self.images[0] / self.images[1]
        return tuple(share * second.wall / first.wall for first, second in self.times)

    @property
    def processor_ratios(self) -> tuple[float, ...]:
        """The same by the processor's time; none where that is not known."""
        share = self.images[0] / self.images[1]
        if not all(one.processor > 0 for pair in self.times for one in pair):
            return ()
        return tuple(share * second.processor / first.processor for first, second in self.times)

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """Of the ratios: the lower, the median, the upper."""
        return quartiles_of(self.ratios)


def quartiles_of(values: Sequence[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper; of one value three times that."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def alternate(
    first: Callable[[], Times], second: Callable[[], Times], turns: int, start: int = 0
) -> tuple[Times, Times]:
    """Median times of each, taken turn by turn; who begins alternates, from the one whose number is ``start``."""
    found: tuple[list[Times], list[Times]] = ([], [])
    for number in range(turns):
        for side in (0, 1) if (number + start) % 2 == 0 else (1, 0):
            found[side].append((first, second)[side]())
    return median_times(found[0]), median_times(found[1])


def median_times(times: Sequence[Times]) -> Times:
    """The median of each kind of time."""
    return Times(*(statistics.median(kind) for kind in zip(*times, strict=True)))


def turns_within(seconds: float, both: float, pairs: int) -> int:
    """How many turns of each a pair may have.

    Args:
        seconds: For all pairs.
        both: What a turn of the one and a turn of the other take.
    """
    return max(1, min(MOST_TURNS, int(seconds / (pairs * both)) if both > 0 else MOST_TURNS))


def compare_contenders(
    clock: Clock,
    section: str,
    first: Contender,
    second: Contender,
    pairs: int,
    turns: int | None,
    seconds: float,
    warm_up: int = WARM_UP,
    apart: float | None = None,
) -> Compared:
    """Let two contenders take turns.

    Args:
        turns: Of each in a pair; None takes as many as fit.
        seconds: For all pairs, about, where ``turns`` is None.
        warm_up: Turns of each that are not counted, whenever it is made.
        apart: As :class:`Compared` has it.
    """
    both = (first, second)
    steppers, last = made_warm(clock, both, warm_up)
    chosen = turns or turns_within(seconds, sum(last), pairs)
    fresh = chosen >= FRESH_FROM
    found = []
    for pair in range(pairs):
        if fresh and pair:
            steppers = []  # the old ones go before the new ones come
            steppers, _ = made_warm(clock, both, warm_up)
        one, other = steppers
        found.append(alternate(lambda: clock.turn(first, one), lambda: clock.turn(second, other), chosen, pair))  # noqa: B023
    return Compared(
        section, first.name, second.name, (first.images, second.images), tuple(found), chosen, clock.steps, fresh, apart
    )  # fmt: skip


def made_warm(clock: Clock, both: Sequence[Contender], warm_up: int) -> tuple[list[Stepper], list[float]]:
    """Fresh ones after their first turns, and the seconds of a turn of each."""
    steppers = [contender.make() for contender in both]
    last = [0.0 for _ in both]
    for _ in range(warm_up):
        last = [clock.turn(one, stepper).wall * clock.steps for one, stepper in zip(both, steppers, strict=True)]
    return steppers, last
