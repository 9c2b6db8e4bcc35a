"""The places of worker processes: each has its own processors, or its own slot on a device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from divsal_bench.processes.processors import processors_by_core


@dataclass(frozen=True)
class Place:
    """Where one worker at a time works.

    Attributes:
        number: Of all places of a crew, from 0.
        device: What it shares with the places that have the same; "" is the memory of this machine.
        name: In words, for a record; "" if it has nothing of its own.
        processors: The only ones that its worker uses; empty leaves it all.
        environment: What stands in its worker's environment, beside what stands in this one's.
    """

    number: int
    device: str = ""
    name: str = ""
    processors: tuple[int, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def anywhere(count: int) -> tuple[Place, ...]:
    """Places that the system may move about as it likes."""
    return tuple(Place(number) for number in range(count))


def on_processors(count: int, threads: int) -> tuple[Place, ...]:
    """Places that divide the processors evenly; where there are fewer than ``threads`` for each, they share them all.

    Those of one core stay together, so that two places do not slow each other down while a core is free.
    """
    usable = processors_by_core()
    if count < 2 or len(usable) < count * threads:
        return anywhere(count)
    shares = [
        tuple(sorted(usable[number * len(usable) // count : (number + 1) * len(usable) // count]))
        for number in range(count)
    ]
    return tuple(
        Place(number, name=f"processor{'s' * (len(own) > 1)} {', '.join(map(str, own))}", processors=own)
        for number, own in enumerate(shares)
    )
