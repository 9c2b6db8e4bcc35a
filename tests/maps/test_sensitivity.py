"""Class sensitivity: ties, empty maps and maps that cannot differ are no agreement."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from drawn_evidence import evidence, images, many_logits, network
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from divsal_bench.maps import closed_form, sensitivity
from divsal_bench.maps.evidence import gather, join_evidence
from divsal_bench.maps.sensitivity import class_sensitivity

pytestmark = pytest.mark.fast


def noise(count: int = 50, side: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, side, side))


def test_agreement_is_the_shared_part_of_the_top_cells() -> None:
    first, second = noise(seed=1), noise(seed=2)
    found = class_sensitivity(first, second, k=20)
    assert (found.grid, found.cells) == ((8, 8), 13)
    for i in range(50):
        tops = [set(np.argsort(-one[i].ravel())[:13].tolist()) for one in (first, second)]
        assert found.agreement[i] == pytest.approx(100 * len(tops[0] & tops[1]) / 13)
    assert found.mean == pytest.approx(found.agreement.mean())
    assert found.median == np.median(found.agreement)
    assert (found.low, found.high) == pytest.approx(
        stats.t.interval(0.95, 49, found.agreement.mean(), stats.sem(found.agreement))
    )
    assert found.p == stats.wilcoxon(found.agreement - 50, alternative="less").pvalue
    assert found.passes is True
    assert (found.total, found.valid, found.empty_rate, found.note) == (50, 50, 0, "")


def test_independent_maps_agree_by_chance_and_equal_ones_fully() -> None:
    first, second = noise(400, seed=3), noise(400, seed=4)
    assert class_sensitivity(first, second, k=10).mean == pytest.approx(10, abs=2)
    second[:200] = first[:200]
    found = class_sensitivity(first, second, k=10)
    assert (found.agreement[:200] == 100).all()
    assert found.passes is False
    assert class_sensitivity(first, second, k=10, tau=80).passes is True


@pytest.mark.parametrize(
    ("side", "k", "grid", "cells"), [(7, 10, 7, 5), (7, 5, 56, 157), (8, 5, 56, 157), (8, 10, 8, 6)]
)
def test_a_grid_too_coarse_for_k_is_enlarged(side: int, k: float, grid: int, cells: int) -> None:
    found = class_sensitivity(noise(side=side, seed=1), noise(side=side, seed=2), k=k)
    assert (found.grid, found.cells) == ((grid, grid), cells)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 30), st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_enlarging_is_torchs_bilinear(height: int, width: int, tall: int, wide: int) -> None:
    drawn = np.random.default_rng(height * width).normal(size=(2, height, width))
    theirs = torch.nn.functional.interpolate(torch.from_numpy(drawn)[:, None], (tall, wide), mode="bilinear")[:, 0]
    np.testing.assert_allclose(sensitivity.enlarge(drawn, (tall, wide)), theirs.numpy(), atol=1e-12)


@pytest.mark.parametrize("version", ["tie-safe", "positive"])
def test_an_empty_map_gives_no_agreement_and_is_counted(version: sensitivity.Version) -> None:
    first, second = noise(10, seed=5), noise(10, seed=6)
    first[0] = 0
    second[1] = -np.abs(second[1])
    first[2] = second[2] = 0
    found = class_sensitivity(first, second, version=version)
    np.testing.assert_array_equal(np.isnan(found.agreement), [True] * 3 + [False] * 7)
    assert found.empty_rate == pytest.approx(0.3)
    assert found.valid == 7


def test_ties_for_the_last_place_count_as_independent_draws_would() -> None:
    g = np.random.default_rng(0)
    first, second = (g.integers(0, 3, (1, 6, 6)).astype(float) for _ in range(2))
    found = class_sensitivity(first, second, k=25)
    draws = []
    for _ in range(4000):
        tops = [set(np.lexsort((g.random(36), -one.ravel()))[:9].tolist()) for one in (first, second)]
        draws.append(100 * len(tops[0] & tops[1]) / 9)
    assert found.agreement[0] == pytest.approx(np.mean(draws), abs=1)


@given(st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_the_order_of_the_cells_does_not_matter(seed: int) -> None:
    g = np.random.default_rng(seed)
    first, second = (g.integers(-1, 3, (3, 6, 6)).astype(float) for _ in range(2))
    mixed = g.permutation(36)
    moved = [one.reshape(3, 36)[:, mixed].reshape(3, 6, 6) for one in (first, second)]
    np.testing.assert_allclose(
        class_sensitivity(first, second, k=20).agreement, class_sensitivity(*moved, k=20).agreement
    )


def sparse(seed: int, count: int = 40, side: int = 100) -> np.ndarray:
    """Maps with 1 % positive pixels at random places."""
    g = np.random.default_rng(seed)
    drawn = np.zeros((count, side * side))
    for one in drawn:
        one[g.choice(side * side, side * side // 100, replace=False)] = g.random(side * side // 100) + 0.1
    return drawn.reshape(count, side, side)


def test_sparse_maps_agree_by_ties_in_the_reference_version_only() -> None:
    """The research page's measurement: a true overlap of 1 % becomes 79 % agreement."""
    first, second = sparse(0), sparse(1)
    reference = class_sensitivity(first, second, version="reference", side=100)
    assert reference.mean == pytest.approx(79, abs=3)
    assert reference.passes is False
    assert "ties" in reference.note
    positive = class_sensitivity(first, second, version="positive")
    assert positive.mean < 3
    assert positive.passes is True
    assert class_sensitivity(first, second).mean < 10


def test_the_reference_version_reproduces_its_known_defects_on_empty_maps() -> None:
    block = np.zeros((1, 56, 56))
    block[0, :14, :14] = 1
    zero = np.zeros((1, 56, 56))
    assert class_sensitivity(zero, zero, version="reference", side=56).agreement[0] == 100
    assert class_sensitivity(block, zero, version="reference", side=56).agreement[0] == 0
    assert math.isnan(class_sensitivity(zero, zero).agreement[0])
    assert math.isnan(class_sensitivity(block, zero).agreement[0])


def test_without_ties_the_reference_version_is_the_same_number() -> None:
    first, second = np.abs(noise(seed=1, side=56)), np.abs(noise(seed=2, side=56))
    reference = class_sensitivity(first, second, version="reference", side=56)
    np.testing.assert_allclose(reference.agreement, class_sensitivity(first, second).agreement)


def test_a_positive_part_smaller_than_k_is_compared_with_as_many_cells() -> None:
    first, second = -np.ones((1, 10, 10)), -np.ones((1, 10, 10))
    first[0, 0, :4] = [4, 3, 2, 1]
    second[0, 0, 2:8] = [4, 3, 2, 1, 1, 1]
    second[0, 0, 2:4] = [9, 8]
    found = class_sensitivity(first, second, k=10, version="positive")
    # four cells: columns 0–3 against columns 2–5 with a tie of three for the last place
    assert found.agreement[0] == pytest.approx(50)


def test_a_one_logit_head_gets_the_reason_and_no_number() -> None:
    one = gather(network("one-logit"), images())
    first, second, undefined = sensitivity.pair(one, "true-class")
    for head in ("one-logit", "two-logit"):  # found from the maps too
        found = class_sensitivity(first, second, undefined=undefined, head=head)
        assert (found.valid, found.passes) == (0, None)
        assert math.isnan(found.mean)
        assert "the other's negative" in found.note


def test_maps_that_are_opposite_or_equal_by_construction_are_undefined() -> None:
    one = gather(network(), images())
    first, second, _ = sensitivity.pair(one, "difference")
    assert class_sensitivity(first, second).note == sensitivity.CANNOT_AGREE
    first, second, _ = sensitivity.pair(one, "binary-predicted")
    assert class_sensitivity(first, second).note == sensitivity.CANNOT_DIFFER
    first, second, _ = sensitivity.pair(one, "true-class")
    assert not class_sensitivity(first, second).note


@pytest.mark.parametrize("classes", [2, 3])
def test_the_pair_is_of_the_two_likeliest_classes(classes: int) -> None:
    one = gather(many_logits(classes), images())
    order = one.logits.argsort(1, descending=True)
    first, second, undefined = sensitivity.pair(one, "true-class")
    np.testing.assert_allclose(first, closed_form.true_cam(one, order[:, 0]).values.numpy())
    np.testing.assert_allclose(second, closed_form.true_cam(one, order[:, 1]).values.numpy())
    assert not undefined.any()


def test_undefined_maps_are_left_out_and_counted() -> None:
    found = class_sensitivity(noise(seed=1), noise(seed=2), undefined=np.arange(50) < 10)
    assert (found.valid, found.undefined_rate, found.empty_rate) == (40, 0.2, 0)
    case = sensitivity.pair(join_evidence([evidence(seed=i) for i in range(1)]), "case")
    assert case[2].dtype == bool


def test_edges_of_the_test_itself() -> None:
    none = class_sensitivity(noise(0), noise(0))
    assert (none.total, none.valid, none.passes) == (0, 0, None)
    assert math.isnan(none.empty_rate)
    one = class_sensitivity(noise(1, seed=1), noise(1, seed=2))
    assert math.isnan(one.low)
    assert not math.isnan(one.mean)
    all_at_tau = class_sensitivity(noise(4), noise(4, seed=8), k=100, tau=100)
    assert (all_at_tau.mean, all_at_tau.passes) == (100, None)
    with pytest.raises(ValueError, match="k must lie"):
        class_sensitivity(noise(), noise(), k=0)
    with pytest.raises(ValueError, match="shapes"):
        class_sensitivity(noise(3), noise(4))
