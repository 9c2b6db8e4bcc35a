"""Places divide the processors, and a signal that asks to stop is noted once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from divsal_bench.processes import places, processors
from divsal_bench.processes.stopping import STOPPING, StopRequest

pytestmark = pytest.mark.fast


@pytest.fixture
def four_of_two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processors 0 and 2 are one core, 1 and 3 the other, as many machines count them."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(processors, "core_of", lambda number: (0, number % 2, number))


@pytest.mark.usefixtures("four_of_two_cores")
@pytest.mark.parametrize(
    ("count", "threads", "shares"),
    [
        (2, 1, [(0, 2), (1, 3)]),
        (2, 2, [(0, 2), (1, 3)]),
        (3, 1, [(0,), (2,), (1, 3)]),
        (4, 1, [(0,), (2,), (1,), (3,)]),
        (1, 1, [()]),
        (2, 3, [(), ()]),
        (5, 1, [()] * 5),
    ],
)
def test_processors_are_divided_by_cores_and_not_where_there_are_too_few(
    count: int, threads: int, shares: list[tuple[int, ...]]
) -> None:
    found = places.on_processors(count, threads)
    assert [place.processors for place in found] == shares
    assert [place.number for place in found] == list(range(count))
    assert {place.name for place in found if not place.processors} <= {""}


def test_a_place_says_which_processors_it_has(four_of_two_cores: None) -> None:
    assert [place.name for place in places.on_processors(3, 1)] == ["processor 0", "processor 2", "processors 1, 3"]


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """What reached the handlers that were there before."""
    found: list[int] = []
    before = {number: signal.signal(number, lambda number, frame: found.append(number)) for number in STOPPING}
    yield found
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOPPING)
def test_the_first_signal_is_noted_and_the_second_does_what_it_did(number: int, heard: list[int]) -> None:
    with StopRequest() as request:
        signal.raise_signal(number)
        assert (request.number, heard) == (number, [])
        signal.raise_signal(number)
        assert heard == [number]
    with pytest.raises(KeyboardInterrupt):
        request.obey()
    assert heard == [number, number]


def test_a_signal_that_is_ignored_stays_ignored(heard: list[int]) -> None:
    """As ``nohup`` leaves it."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with StopRequest() as request:
        signal.raise_signal(signal.SIGHUP)
        assert request.number == 0
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
