"""The CAM algebra: identities that hold for global average pooling and one linear layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from counted_rows import CountedRows
from hypothesis import given, settings
from hypothesis import strategies as st

from divsal_bench.contracts import cams

pytestmark = pytest.mark.fast

SIZES = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6), st.integers(1, 6), st.integers(2, 4))


def random_case(sizes: tuple[int, ...], seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features, rows, biases and labels in float64."""
    batch, channels, height, width, classes = sizes
    g = torch.Generator().manual_seed(seed)
    features = torch.randn(batch, channels, height, width, generator=g, dtype=torch.float64)
    weight = torch.randn(classes, channels, generator=g, dtype=torch.float64)
    bias = torch.randn(classes, generator=g, dtype=torch.float64)
    return features, weight, bias, torch.randint(0, 2, (batch,), generator=g)


@given(SIZES, st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_mean_cam_plus_bias_is_the_logit(sizes: tuple[int, ...], seed: int) -> None:
    features, weight, bias, _ = random_case(sizes, seed)
    logits = features.mean((2, 3)) @ weight.T + bias
    torch.testing.assert_close(cams.class_cams(features, weight).mean((2, 3)) + bias, logits)


@given(SIZES, st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_class_cams_equal_a_plain_loop(sizes: tuple[int, ...], seed: int) -> None:
    features, weight, _, _ = random_case(sizes, seed)
    slow = torch.zeros(len(features), len(weight), *features.shape[2:], dtype=torch.float64)
    for b in range(features.shape[0]):
        for k in range(weight.shape[0]):
            for c in range(weight.shape[1]):
                slow[b, k] += weight[k, c] * features[b, c]
    torch.testing.assert_close(cams.class_cams(features, weight), slow)


@given(SIZES.map(lambda s: (*s[:4], 2)), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_the_difference_map_is_the_cam_of_the_margin(sizes: tuple[int, ...], seed: int) -> None:
    features, weight, bias, labels = random_case(sizes, seed)
    logits = features.mean((2, 3)) @ weight.T + bias
    both = cams.class_cams(features, weight)
    difference = cams.select(both, labels) - cams.select(both, 1 - labels)
    rows = torch.arange(len(labels))
    margin = logits[rows, labels] - logits[rows, 1 - labels]
    torch.testing.assert_close(difference.mean((1, 2)) + bias[labels] - bias[1 - labels], margin)


@given(SIZES.map(lambda s: (*s[:4], 2)), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_a_vector_added_to_both_rows_moves_the_true_cam_and_no_decision(sizes: tuple[int, ...], seed: int) -> None:
    features, weight, bias, labels = random_case(sizes, seed)
    u = torch.randn(weight.shape[1], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    before, after = cams.class_cams(features, weight), cams.class_cams(features, weight + u)

    def difference(both: torch.Tensor) -> torch.Tensor:
        return cams.select(both, labels) - cams.select(both, 1 - labels)

    torch.testing.assert_close(difference(before), difference(after))
    pooled = features.mean((2, 3))
    softmax = [(pooled @ rows.T + bias).softmax(1) for rows in (weight, weight + u)]
    torch.testing.assert_close(*softmax)
    moved = torch.einsum("bchw,c->bhw", features, u)
    torch.testing.assert_close(cams.select(after, labels) - cams.select(before, labels), moved)
    assert not torch.allclose(cams.select(after, labels), cams.select(before, labels))


@pytest.mark.parametrize("head", ["two-logit", "one-logit"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("batch", [1, 5])
def test_class_cams_and_their_gradients_are_those_of_a_plain_sum(
    batch: int, layout: torch.memory_format, head: str
) -> None:
    g = torch.Generator().manual_seed(batch)
    features = torch.randn(batch, 6, 3, 4, generator=g, dtype=torch.float64).to(memory_format=layout)
    row = torch.randn(1, 6, generator=g, dtype=torch.float64)
    weight = torch.cat([-row / 2, row / 2]) if head == "one-logit" else torch.randn(2, 6, dtype=torch.float64)
    upwards = torch.randn(batch, 2, 3, 4, generator=g, dtype=torch.float64)
    fast, slow = ([one.clone().requires_grad_() for one in (features, weight)] for _ in range(2))
    quick = cams.class_cams(*fast)
    plain = (slow[1][None, :, :, None, None] * slow[0][:, None]).sum(2)
    torch.testing.assert_close(quick, plain)
    for one, other in zip(
        torch.autograd.grad(quick, fast, upwards), torch.autograd.grad(plain, slow, upwards), strict=True
    ):
        torch.testing.assert_close(one, other)


def scaled_one_by_one(maps: torch.Tensor) -> torch.Tensor:
    """Min–max scaling as one would write it for a single map."""
    scaled = []
    for one in maps.flatten(0, -3):
        span = one.amax() - one.amin()
        flat = bool(span <= cams.FLAT * one.abs().max())
        scaled.append(one * 0 if flat else (one - one.amin()) / span)
    return torch.stack(scaled).view(maps.shape)


#: Maps with what scaling may stumble on.
HARD = {
    "ties at both ends": torch.tensor([[1.0, 3.0, 3.0], [1.0, 2.0, 1.0]]),
    "negative": torch.tensor([[-5.0, -3.0, -3.5], [-9.0, -4.0, -9.0]]),
    "flat": torch.full((2, 3), 0.7),
    "flat and negative": torch.full((2, 3), -0.7),
    "zero": torch.zeros(2, 3),
    "flat up to rounding": torch.full((2, 3), -7.0).add(torch.tensor([[0.0, 4e-6, 0.0], [2e-6, 0.0, 0.0]])),
    "nearly flat": torch.full((2, 3), -7.0).add(torch.tensor([[0.0, 4e-5, 0.0], [2e-5, 0.0, 0.0]])),
    "tiny": torch.tensor([[1e-30, 2e-30, 0.0], [3e-30, 1e-30, 0.0]]),
    "huge": torch.tensor([[1e30, -1e30, 0.0], [3e29, 1e30, 0.0]]),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(9, 2, 3), (3, 3, 2, 3)])
def test_normalise_and_its_gradients_are_those_of_one_map_at_a_time(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    values = torch.stack(list(HARD.values())).to(dtype).view(shape)
    fast, slow = (values.clone().requires_grad_() for _ in range(2))
    quick, plain = cams.normalise(fast), scaled_one_by_one(slow)
    assert torch.equal(quick, plain)
    upwards = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    (one,), (other,) = torch.autograd.grad(quick, fast, upwards), torch.autograd.grad(plain, slow, upwards)
    torch.testing.assert_close(one, other, rtol=1e-5 if dtype == torch.float32 else 1e-9, atol=1e-6)
    flat = list(HARD).index("flat up to rounding")
    assert not one.view(9, 2, 3)[flat].any()
    assert one.view(9, 2, 3)[flat + 1].any()


def test_normalise_spans_zero_to_one_and_ignores_affine_changes() -> None:
    maps = torch.randn(5, 4, 3)
    scaled = cams.normalise(maps)
    assert torch.equal(scaled.amin((1, 2)), torch.zeros(5))
    torch.testing.assert_close(scaled.amax((1, 2)), torch.ones(5))
    torch.testing.assert_close(cams.normalise(maps * 7 - 3), scaled)
    torch.testing.assert_close(cams.normalise(-maps), 1 - scaled)


@pytest.mark.parametrize("value", [0.0, 0.1, -3.7, 1e30, 1e-30])
def test_a_constant_map_gives_zero_and_zero_gradients(value: float) -> None:
    features = torch.full((2, 3, 4), value, requires_grad=True)
    scaled = cams.normalise(features * 3.3)
    (scaled.sum() + (scaled - 0.5).square().sum()).backward()
    assert torch.equal(scaled, torch.zeros(2, 3, 4))
    assert features.grad is not None
    assert torch.equal(features.grad, torch.zeros(2, 3, 4))


def test_gradients_flow_through_minimum_and_maximum() -> None:
    maps = torch.tensor([[[0.0, 1.0], [2.0, 4.0]]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(cams.normalise, (maps,))
    cams.normalise(maps)[0, 0, 1].backward()
    assert maps.grad is not None
    assert maps.grad[0, 0, 0] != 0  # the minimum
    assert maps.grad[0, 1, 1] != 0  # the maximum


def test_a_map_that_is_constant_after_pooling_counts_as_no_map() -> None:
    checkerboard = (torch.arange(64).view(8, 8) + torch.arange(8).view(8, 1)) % 2
    corner = torch.zeros(8, 8)
    corner[:4, :4] = 1
    maps = torch.stack([checkerboard.float(), corner, torch.zeros(8, 8), corner])
    target, mapped = cams.human_target(maps, torch.tensor([True, True, True, False]), (2, 2))
    assert mapped.tolist() == [False, True, False, False]
    assert target[1].tolist() == [[1, 0], [0, 0]]


def test_pooling_is_the_area_average() -> None:
    maps = torch.rand(3, 8, 12)
    slow = torch.stack([m.reshape(2, 4, 3, 4).mean((1, 3)) for m in maps])
    torch.testing.assert_close(cams.pool(maps, (2, 3)), slow)


def test_blend_weighs_every_sample_alike_and_skips_unmapped_ones() -> None:
    ce, s = torch.tensor(2.0), torch.tensor([1.0, 5.0, float("nan")])
    assert cams.blend(ce, s, torch.tensor([True, True, False]), 0.5) == 0.5 * 2 + 0.5 * 3
    assert cams.blend(ce, s, torch.tensor([False, False, False]), 0.5) == 1.0


def test_human_maps_are_pooled_few_at_a_time_and_each_as_if_alone() -> None:
    maps = np.random.default_rng(0).integers(0, 256, (300, 30, 30), np.uint8)
    stored = CountedRows(maps, most=cams.MAPS_AT_ONCE)
    for grid in ((8, 8), (7, 7), (5, 3)):
        found = cams.human_cells(stored, grid)
        assert found.shape == (300, *grid)
        assert found.dtype == np.float32
        assert (found == cams.pool(torch.from_numpy(maps).float() / 255, grid).numpy()).all()
        assert (found[7] == cams.human_cells(maps[7:8], grid)[0]).all()
    assert cams.human_cells(maps[:0], (8, 8)).shape == (0, 8, 8)
