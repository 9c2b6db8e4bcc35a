"""Human maps on the CAM grid, as a batch hands them to a loss, and both CAMs of a forward pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from divsal_bench.contracts import cams
from divsal_bench.contracts.method import Batch, Outputs, Warp
from divsal_bench.registry import protocols
from divsal_bench.training import augmentation

pytestmark = pytest.mark.fast

SIDE, GRID = 12, (3, 4)
#: Six samples: which have a map.
MAPPED = {
    "some": [True, False, True, True, False, True],
    "none": [False] * 6,
    "one": [False, False, False, True, False, False],
    "all": [True] * 6,
}


def plain(maps: Tensor, places: Tensor | None = None) -> Tensor:
    """No augmentation, in float64."""
    return maps.double() / 255


def moving() -> Callable[[Tensor, Tensor | None], Tensor]:
    """quick-v1's augmentation of six maps."""
    protocol = dataclasses.replace(protocols.find_protocol("quick-v1"), input_size=SIDE)
    move = augmentation.sampler(6, SIDE, protocol, torch.Generator().manual_seed(4), torch.device("cpu"))
    return lambda maps, places=None: move(maps[:, None].float() / 255, "zeros", places)[:, 0]


def batch_with(has_map: list[bool], warp: Callable[[Tensor], Tensor], stray: bool = False) -> Batch:
    """Noise maps, the last of them constant; ``stray`` leaves pixels in the maps of samples that have none."""
    maps = torch.randint(0, 256, (6, SIDE, SIDE), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    maps[5] = 200
    mapped = torch.tensor(has_map)
    if not stray:
        maps[~mapped] = 0
    return Batch(
        images=torch.zeros(6, 1, SIDE, SIDE),
        labels=torch.tensor([0, 1, 0, 1, 1, 0]),
        rows=torch.arange(6),
        raw_maps=maps,
        has_map=mapped,
        warp=warp,
        generator=torch.Generator(),
    )


@pytest.mark.parametrize("mapped", MAPPED.values(), ids=MAPPED)
@pytest.mark.parametrize("stray", [False, True])
def test_human_maps_are_pooled_and_scaled_one_by_one(mapped: list[bool], stray: bool) -> None:
    batch = batch_with(mapped, Warp(plain), stray)
    human, useful = batch.human(GRID)
    assert human.shape == (6, *GRID)
    assert human.dtype == torch.float64
    assert useful.tolist() == [*mapped[:5], False]  # a constant map counts as none
    for sample in useful.nonzero().flatten().tolist():
        cells = batch.raw_maps[sample].double().div(255).view(3, 4, 4, 3).mean((1, 3))
        torch.testing.assert_close(human[sample], (cells - cells.min()) / (cells.max() - cells.min()))


@pytest.mark.parametrize("mapped", MAPPED.values(), ids=MAPPED)
@pytest.mark.parametrize("warp", [plain, moving()], ids=["as they are", "augmented"])
def test_moving_only_what_is_mapped_changes_no_bit(mapped: list[bool], warp: Callable[..., Tensor]) -> None:
    every, some = batch_with(mapped, warp), batch_with(mapped, Warp(warp))
    (human, useful), (expected, shown) = some.human(GRID), every.human(GRID)
    assert torch.equal(some.maps, every.maps)
    assert torch.equal(useful, shown)
    assert torch.equal(human[useful], expected[useful])
    assert torch.equal(human, expected)  # where there is no map it is 0 either way


def test_unmapped_maps_are_not_moved() -> None:
    seen: list[int] = []

    def counting(maps: Tensor, places: Tensor | None) -> Tensor:
        seen.append(len(maps))
        assert places is not None
        assert places.tolist() == [0, 2, 3, 5]
        return plain(maps)

    batch_with(MAPPED["some"], Warp(counting)).human(GRID)
    assert seen == [4]


def test_a_batch_with_other_maps_is_asked_anew() -> None:
    """What a method hands on with ``dataclasses.replace`` counts, and not what the batch came with."""
    batch = batch_with(MAPPED["some"], Warp(plain))
    batch.human(GRID)
    other = dataclasses.replace(batch, raw_maps=batch.raw_maps.roll(1, 0), has_map=batch.has_map.roll(1))
    human, useful = other.human(GRID)
    assert useful.tolist() == [False, True, False, True, True, False]
    assert torch.equal(human[1], batch.human(GRID)[0][0])
    assert torch.equal(other.maps, plain(other.raw_maps))
    flipped = dataclasses.replace(batch, warp=lambda maps: plain(maps).flip(-1))
    torch.testing.assert_close(flipped.human(GRID)[0], batch.human(GRID)[0].flip(-1))


def test_both_cams_are_the_true_and_the_false_one() -> None:
    features = torch.randn(6, 5, *GRID, dtype=torch.float64)
    weight = torch.randn(2, 5, dtype=torch.float64)
    labels = torch.tensor([0, 1, 1, 0, 1, 0])
    out = Outputs(torch.zeros(6, 2), features, weight, torch.zeros(2), labels)
    for sample, label in enumerate(labels.tolist()):
        for place, k in enumerate((label, 1 - label)):
            expected = sum(weight[k, c] * features[sample, c] for c in range(5))
            torch.testing.assert_close(out.both_cams[sample, place], expected)
    assert torch.equal(cams.normalise(out.both_cams)[:, 1], cams.normalise(out.false_cam))
