"""Regions of the difference map: their logits are the margin, all of it and nothing else."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from drawn_evidence import images, network
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from divsal_bench.maps import closed_form
from divsal_bench.maps.covering import margin_score
from divsal_bench.maps.evidence import gather
from divsal_bench.maps.regions import occlusion, regions
from divsal_bench.words import HEADS

pytestmark = pytest.mark.fast


def drawn(seed: int, height: int = 6, width: int = 7) -> np.ndarray:
    g = np.random.default_rng(seed)
    return np.round(g.normal(size=(height, width)), 1) * (g.random((height, width)) < 0.8)


def flood(values: np.ndarray) -> set[frozenset[tuple[int, int]]]:
    """Connected parts of one sign, by walking from cell to cell."""
    left = {(y, x) for y, x in np.ndindex(values.shape) if values[y, x] != 0}
    parts = set()
    while left:
        part, queue = set(), [left.pop()]
        while queue:
            y, x = queue.pop()
            part.add((y, x))
            for near in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if near in left and values[near] * values[y, x] > 0:
                    left.remove(near)
                    queue.append(near)
        parts.add(frozenset(part))
    return parts


@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_regions_are_the_connected_parts_and_sum_to_the_margin(seed: int, height: int, width: int) -> None:
    values = drawn(seed, height, width)
    found = regions(values, 0.37, count=100)
    cells = {frozenset(zip(*np.nonzero(region.cells), strict=True)) for region in found.shown}
    assert {frozenset((int(y), int(x)) for y, x in part) for part in cells} == flood(values)
    for region in found.shown:
        assert region.logits == pytest.approx(values[region.cells].sum() / values.size)
        assert (np.sign(values[region.cells]) == np.sign(region.logits)).all()
    assert found.margin == pytest.approx(values.mean() + 0.37, abs=1e-12)
    sizes = [abs(region.logits) for region in found.shown]
    assert sizes == sorted(sizes, reverse=True)


@given(st.integers(0, 10_000), st.integers(0, 6))
@settings(max_examples=30, deadline=None)
def test_what_is_not_named_is_summed(seed: int, count: int) -> None:
    every, some = regions(drawn(seed), -1.0, count=100), regions(drawn(seed), -1.0, count=count)
    assert len(some.shown) == min(count, len(every.shown))
    assert some.rest_count == len(every.shown) - len(some.shown)
    assert some.rest == pytest.approx(sum(region.logits for region in every.shown[count:]))
    assert some.margin == pytest.approx(every.margin)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("oriented", [False, True])
def test_a_networks_regions_are_its_margin(head: str, oriented: bool) -> None:
    one = gather(network(head), images(6))  # type: ignore[arg-type]
    labels = torch.tensor([0, 1, 0, 1, 1, 0]) if oriented else torch.ones(6, dtype=torch.long)
    difference = closed_form.difference_map(one, labels).values.numpy()
    bias = (one.bias[labels] - one.bias[1 - labels]).double().numpy()
    sign = 2.0 * labels.numpy() - 1
    for i, margin in enumerate(one.margin.double().numpy()):
        assert regions(difference[i], bias[i]).margin == pytest.approx(sign[i] * margin, rel=1e-5, abs=1e-5)


def test_overlap_with_a_human_map() -> None:
    values = np.array([[2.0, 4.0, 0.0], [0.0, 0.0, 0.0], [-1.0, 0.0, 5.0]])
    human = np.array([[0.0, 0.5, 0.5], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    top, right, left = sorted(regions(values, 0, human).shown, key=lambda region: -region.logits)
    assert (top.logits, top.inside, top.covers) == pytest.approx((6 / 9, 2 / 6, 0.25))
    assert (right.inside, right.covers) == (0, 0)
    assert (left.logits, left.inside, left.covers) == pytest.approx((-1 / 9, 1, 0.5))
    for nobody in (None, np.zeros((3, 3))):
        assert math.isnan(regions(values, 0, nobody).shown[0].inside)


def test_an_empty_map_leaves_the_bias() -> None:
    found = regions(np.zeros((4, 4)), 0.8)
    assert (found.shown, found.rest, found.rest_count, found.margin) == ((), 0, 0, 0.8)


def test_numbers_as_small_as_they_get_are_regions_too() -> None:
    found = regions(np.full((2, 2), 5e-324), 0.0, np.ones((2, 2)))
    assert found.shown[0].inside == 1


def test_a_map_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        regions(np.array([[0.0, np.nan]]), 0)
    with pytest.raises(ValueError, match="count must be"):
        regions(np.zeros((2, 2)), 0, count=-1)


def test_occlusion_of_a_score_that_is_its_map_is_exact() -> None:
    """The image is the map, drawn large; the score is its mean: covering a region takes away just its logits."""
    values = np.stack([drawn(seed, 4, 4) for seed in range(5)])
    pictures = torch.from_numpy(values.repeat(8, 1).repeat(8, 2))[:, None]

    def score(some: Tensor) -> np.ndarray:
        return some.numpy().mean((1, 2, 3)) + 0.3

    found = [regions(one, 0.3, count=3) for one in values]
    for direction in (None, np.array([1, -1, 1, -1, 1])):
        sign = np.ones(5) if direction is None else direction
        oriented = [regions(one * s, 0.3, count=3) for one, s in zip(values, sign, strict=True)]
        results = occlusion(score, pictures, oriented, direction)
        assert [len(one) for one in results] == [len(one.shown) for one in found]
        for one, parts in zip(results, oriented, strict=True):
            for result, region in zip(one, parts.shown, strict=True):
                assert result.expected == -region.logits
                assert result.moved == pytest.approx(result.expected)
                assert result.agrees


def test_occlusion_that_moves_the_margin_the_other_way_does_not_agree() -> None:
    values = np.zeros((4, 4))
    values[1, 2] = 1
    picture = torch.ones(1, 1, 32, 32)
    (result,) = occlusion(lambda some: -some.numpy().mean((1, 2, 3)), picture, [regions(values, 0)])[0]
    assert result.expected == -1 / 16
    assert result.moved == pytest.approx(1 / 16)
    assert not result.agrees


def test_occlusion_of_a_network_equals_covering_by_hand() -> None:
    model, pictures = network(), images(4)
    one = gather(model, pictures)
    labels = torch.ones(4, dtype=torch.long)
    found = [regions(one_map, 0.0, count=2) for one_map in closed_form.difference_map(one, labels).values.numpy()]
    score = margin_score(model)
    results = occlusion(score, pictures, found)
    for i, image in enumerate(pictures):
        for result, region in zip(results[i], found[i].shown, strict=True):
            by_hand = image.clone()
            for y, x in zip(*np.nonzero(region.cells), strict=True):
                by_hand[:, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8] = 0
            assert result.moved == pytest.approx(float(score(by_hand[None])[0] - score(image[None])[0]), abs=1e-4)
    assert occlusion(score, pictures, [regions(np.zeros((4, 4)), 0.0)] * 4) == [(), (), (), ()]
