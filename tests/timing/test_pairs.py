"""Ratios from times that are given: who is faster, by how much, and who has the first turn."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from divsal_bench.timing import pairs
from divsal_bench.timing.pairs import Clock, Compared, Contender, Times

pytestmark = pytest.mark.fast


def compared(*walls: tuple[float, float], images: tuple[int, int] = (8, 8)) -> Compared:
    times = tuple((Times(first, first), Times(second, second)) for first, second in walls)
    return Compared("loop", "ours", "theirs", images, times)


def test_a_ratio_is_the_first_ones_images_a_second_over_the_second_ones() -> None:
    one = compared((0.5, 1.0), (1.0, 1.0), (2.0, 1.0))
    assert one.name == "ours / theirs"
    assert one.ratios == (2.0, 1.0, 0.5)
    assert one.quartiles == (0.75, 1.0, 1.5)
    assert one.processor_ratios == one.ratios
    assert compared((1.0, 1.0), images=(4, 8)).ratios == (0.5,)


def test_one_pair_has_quartiles_too_and_unknown_processor_time_gives_no_ratio() -> None:
    assert compared((1.0, 3.0)).quartiles == (3.0, 3.0, 3.0)
    unknown = Compared("loop", "a", "b", (1, 1), ((Times(1.0, 0.0), Times(2.0, 0.0)),))
    assert unknown.ratios == (2.0,)
    assert unknown.processor_ratios == ()


def test_contenders_alternate_and_each_begins_as_often() -> None:
    order: list[str] = []

    def taking(name: str, *walls: float) -> Callable[[], Times]:
        left = list(walls)

        def turn() -> Times:
            order.append(name)
            return Times(left.pop(0), 1.0)

        return turn

    found = pairs.alternate(taking("a", 1.0, 5.0, 2.0), taking("b", 3.0, 3.0, 9.0), 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert found == (Times(2.0, 1.0), Times(3.0, 1.0))
    order.clear()
    pairs.alternate(taking("a", 1.0), taking("b", 1.0), 1, start=1)
    assert order == ["b", "a"]


@pytest.mark.parametrize(
    ("seconds", "both", "count", "turns"),
    [(9.0, 0.1, 9, 10), (9.0, 5.0, 9, 1), (9.0, 0.0001, 9, pairs.MOST_TURNS), (9.0, 0.0, 9, pairs.MOST_TURNS)],
)
def test_as_many_turns_as_fit(seconds: float, both: float, count: int, turns: int) -> None:
    assert pairs.turns_within(seconds, both, count) == turns


class Counted:
    """A contender that counts its steps."""

    def __init__(self, made: list[Counted]) -> None:
        self.steps = 0
        made.append(self)

    def step(self) -> None:
        self.steps += 1


@pytest.mark.parametrize(
    ("turns", "steps_made"),
    [(3, [pairs.WARM_UP + 2 * 3]), (pairs.FRESH_FROM, [pairs.WARM_UP + pairs.FRESH_FROM] * 2)],
)
def test_short_steps_are_made_anew_for_each_pair_and_long_ones_go_on(turns: int, steps_made: list[int]) -> None:
    first: list[Counted] = []
    second: list[Counted] = []
    found = pairs.compare_contenders(
        Clock(torch.device("cpu")), "loop",
        Contender("a", 1, lambda: Counted(first)), Contender("b", 1, lambda: Counted(second), as_it_comes=True),
        pairs=2, turns=turns, seconds=1.0,
    )  # fmt: skip
    assert [one.steps for one in first] == [one.steps for one in second] == steps_made
    assert (len(found.times), found.turns, found.fresh) == (2, turns, turns >= pairs.FRESH_FROM)


def test_a_turn_is_of_several_steps_and_its_time_is_that_of_one() -> None:
    made: list[Counted] = []
    contender = Contender("a", 1, lambda: Counted(made))
    took = Clock(torch.device("cpu"), steps=5).turn(contender, contender.make())
    assert made[0].steps == 5
    assert 0 < took.wall < 1
    assert Clock(torch.device("cpu"), own=False).turn(contender, contender.make()).processor == 0


def test_only_what_is_compared_as_it_comes_leaves_deterministic_algorithms() -> None:
    seen: list[bool] = []

    class Looking:
        def step(self) -> None:
            seen.append(torch.are_deterministic_algorithms_enabled())

    clock = Clock(torch.device("cpu"))
    try:
        for as_it_comes in (True, False):
            clock.turn(Contender("a", 1, Looking, as_it_comes), Looking())
    finally:
        torch.use_deterministic_algorithms(False)
    assert seen == [False, True]
