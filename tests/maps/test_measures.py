"""Numbers about maps, rows and errors, against plain definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from drawn_evidence import images, network
from hypothesis import given
from hypothesis import strategies as st

from divsal_bench.maps import measures
from divsal_bench.maps.evidence import gather

pytestmark = pytest.mark.fast

REAL = st.floats(-100, 100, allow_nan=False)


def test_energy_equals_its_definition_for_a_mask() -> None:
    g = np.random.default_rng(0)
    drawn = g.normal(size=(20, 7, 7))
    mask = np.zeros((7, 7))
    mask[0:3, 2:5] = 1
    found = measures.energy_inside(drawn, mask)
    assert tuple(found) == measures.ENERGY
    for i, one in enumerate(drawn):
        positive = one.clip(0)
        share = positive[mask > 0].sum() / positive.sum()
        assert found["pe"][i] == pytest.approx(share)
        assert found["pe_corrected"][i] == pytest.approx(share * (1 - 9 / 49))
        assert found["lift"][i] == pytest.approx(share * 49 / 9)
        assert found["pe_nonempty"][i] == found["pe"][i]
        assert found["empty"][i] == found["undefined"][i] == 0


def test_a_uniform_map_has_the_area_share_and_a_zero_map_nothing() -> None:
    mask = np.eye(4)
    found = measures.energy_inside(np.stack([np.full((4, 4), 3.0), np.zeros((4, 4)), np.full((4, 4), -1.0)]), mask)
    np.testing.assert_allclose(found["pe"], [0.25, 0, 0])
    np.testing.assert_allclose(found["lift"], [1, 0, 0])
    np.testing.assert_array_equal(found["empty"], [0, 1, 1])
    np.testing.assert_array_equal(found["pe_nonempty"], [0.25, np.nan, np.nan])
    np.testing.assert_array_equal(found["lift_nonempty"], [1, np.nan, np.nan])


def test_no_maps_give_no_rows() -> None:
    found = measures.energy_inside(np.zeros((0, 4, 4)), np.eye(4))
    assert tuple(found) == measures.ENERGY
    assert all(len(values) == 0 for values in found.values())


def test_undefined_maps_and_images_without_a_region_have_no_energy() -> None:
    region = np.stack([np.eye(3), np.eye(3), np.zeros((3, 3))])
    found = measures.energy_inside(np.ones((3, 3, 3)), region, np.array([False, True, True]))
    np.testing.assert_array_equal(np.isnan(found["pe"]), [False, True, True])
    np.testing.assert_array_equal(found["undefined"], [0, 1, np.nan])


@given(st.lists(REAL, min_size=1, max_size=20), REAL)
def test_the_bias_share_is_a_share_and_its_complement_the_images(margins: list[float], bias: float) -> None:
    found = measures.bias_share(np.array(margins), bias)
    for margin, share in zip(margins, found, strict=True):
        added = abs(margin - bias)
        if added == bias == 0:
            assert math.isnan(share)
        else:
            assert share == pytest.approx(abs(bias) / (abs(bias) + added))
            assert 0 <= share <= 1


def test_the_bias_share_of_a_network_comes_from_its_pooled_features() -> None:
    one = gather(network(), images())
    pooled = one.features.mean((2, 3)) @ (one.weight[1] - one.weight[0])
    bias = float(one.bias[1] - one.bias[0])
    found = measures.bias_share(one.margin.double().numpy(), bias)
    np.testing.assert_allclose(found, abs(bias) / (abs(bias) + pooled.abs().numpy()), rtol=1e-4)


def test_rows_are_compared_by_length_and_angle() -> None:
    found = measures.compare_rows(np.array([[1.0, 2.0, -1.0], [3.0, 0.5, 2.0]]))
    a, b = np.array([1.0, 2.0, -1.0]), np.array([3.0, 0.5, 2.0])
    assert found.common_share == pytest.approx(np.linalg.norm((a + b) / 2) / np.linalg.norm(b - a))
    assert found.cosine == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    assert found.residual_ratio == pytest.approx(math.sqrt(1 - found.cosine**2))
    many = measures.compare_rows(np.array([[0.0, 1], [5, 5], [1, 0]]), pair=(0, 2))
    assert many.cosine == pytest.approx(0)
    assert many.common_share == pytest.approx(0.5)


def test_edges_of_rows() -> None:
    opposite = measures.compare_rows(np.array([[-1.0, 2.0], [1.0, -2.0]]))
    assert (opposite.common_share, opposite.cosine) == (0, pytest.approx(-1))
    assert opposite.residual_ratio < 1e-12
    assert measures.compare_rows(np.ones((2, 3))).common_share == math.inf
    half = measures.compare_rows(np.array([[0.0, 0.0], [3.0, 4.0]]))
    assert half.common_share == pytest.approx(0.5)
    assert math.isnan(half.cosine)
    assert math.isnan(measures.compare_rows(np.zeros((2, 3))).common_share)
    model = network("one-logit")
    assert measures.compare_rows(gather(model, images(1)).weight.numpy()).common_share == 0


LABELS = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
MARGINS = np.array([2.0, 1.0, 0.0, -1.0, 3.0, -1.0, -2.0, -2.0, 0.0, -1.0])


def test_error_rates_by_class() -> None:
    found = measures.error_rates(LABELS, MARGINS, (60, 40))
    assert (found.fnr, found.fpr) == (1 / 4, 2 / 6)  # a margin of 0 is a positive decision
    assert found.total == pytest.approx(3 / 10)
    assert found.balanced == pytest.approx((1 / 4 + 2 / 6) / 2)
    assert (found.minority, found.majority, found.minority_class) == (found.fnr, found.fpr, 1)
    other = measures.error_rates(LABELS, MARGINS, (40, 60))
    assert (other.minority, other.majority, other.minority_class) == (found.fpr, found.fnr, 0)
    assert not found.note


def test_balanced_training_has_no_minority_and_a_single_class_no_other_rate() -> None:
    even = measures.error_rates(LABELS, MARGINS, (50, 50))
    assert even.minority_class is None
    assert math.isnan(even.minority)
    assert "balanced" in even.note
    single = measures.error_rates(LABELS[:4], MARGINS[:4], (60, 40))
    assert math.isnan(single.fpr)
    assert math.isnan(single.balanced)
    assert single.minority == single.total == 0.25
    assert "no negatives" in single.note
    assert math.isnan(measures.error_rates(LABELS[:0], MARGINS[:0], (6, 4)).total)
