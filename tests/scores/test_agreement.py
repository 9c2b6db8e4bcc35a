"""Agreement with people, against one-map-at-a-time references."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from divsal_bench.scores import agreement
from divsal_bench.scores.agreement import agreement_with_people

pytestmark = pytest.mark.fast


def test_every_column_equals_its_plain_definition() -> None:
    g = np.random.default_rng(0)
    maps, human = g.normal(size=(20, 4, 5)), g.random((20, 4, 5))
    found = agreement_with_people(maps, human)
    for i in range(20):
        energy = np.maximum(maps[i], 0)
        share = (energy * human[i]).sum() / energy.sum()
        assert found["pe"][i] == pytest.approx(share)
        assert found["lift"][i] == pytest.approx(share / human[i].mean())
        assert found["auc"][i] == pytest.approx(roc_auc_score((human[i] >= 0.5).ravel(), maps[i].ravel()))
        assert found["cc"][i] == pytest.approx(np.corrcoef(maps[i].ravel(), human[i].ravel())[0, 1])
        assert found["empty"][i] == 0


def test_a_uniform_map_has_chance_lift_whatever_the_human_map() -> None:
    human = np.random.default_rng(1).random((5, 8, 8))
    found = agreement_with_people(np.full((5, 8, 8), 0.7), human)
    np.testing.assert_allclose(found["lift"], 1)
    np.testing.assert_allclose(found["pe"], human.mean((1, 2)))
    np.testing.assert_allclose(found["cc"], 0)
    np.testing.assert_allclose(found["auc"], 0.5)


@pytest.mark.parametrize("value", [0.0, -2.0])
def test_an_empty_map_has_no_energy_and_is_counted(value: float) -> None:
    found = agreement_with_people(np.full((1, 3, 3), value), np.eye(3)[None])
    assert found["pe"][0] == 0
    assert found["lift"][0] == 0
    assert found["empty"][0] == 1


def test_rounding_noise_above_zero_is_still_empty() -> None:
    noisy = np.full((1, 3, 3), -1.0)
    noisy[0, 0, 0] = 1e-9
    assert agreement_with_people(noisy, np.eye(3)[None])["empty"][0] == 1


def test_without_a_human_map_everything_is_nan() -> None:
    found = agreement_with_people(np.ones((1, 3, 3)), np.zeros((1, 3, 3)))
    assert all(math.isnan(values[0]) for values in found.values())


def test_a_human_map_on_one_side_of_a_half_has_no_auc() -> None:
    faint = np.full((1, 3, 3), 0.1)
    faint[0, 1, 1] = 0.4
    found = agreement_with_people(np.random.default_rng(0).normal(size=(1, 3, 3)), faint)
    assert math.isnan(found["auc"][0])
    assert not math.isnan(found["lift"][0])


def test_maps_are_compared_in_parts_and_each_as_if_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    g = np.random.default_rng(2)
    maps, human = g.normal(size=(50, 7, 7)).astype(np.float32), g.random((50, 7, 7)).astype(np.float32)
    human[4], maps[5], maps[6] = 0, 0, -maps[6]
    whole = agreement_with_people(maps, human)
    for count in (1, 7, 49):
        monkeypatch.setattr(agreement, "AT_ONCE", count)
        for name, numbers in agreement_with_people(maps, human).items():
            np.testing.assert_array_equal(numbers, whole[name])
