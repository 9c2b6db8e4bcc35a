"""What is compared does the same work: loops by hand, a step in the style of public code, and the cache by batch."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from divsal_bench.contracts import cams
from divsal_bench.networks import devices
from divsal_bench.registry.protocols import Protocol, find_protocol
from divsal_bench.timing import arithmetic, measuring, parts, published
from divsal_bench.timing.bare import BareTraining, OneByOne
from divsal_bench.timing.contenders import BARE, BY_BATCH, ONE_BY_ONE, PUBLISHED, Bench
from divsal_bench.timing.drawn import draw_data
from divsal_bench.timing.published import PublishedCyborg
from divsal_bench.timing.setting import Setting, timed_protocol
from divsal_bench.training.training import Training

TINY = {"channels": [4, 4, 8, 8], "stem_width": 4}
STILL = {"rotate": 0.0, "scale": 0.0, "shift": 0.0, "flip": 0.0}


def bench_of(folder: Path, protocol: Protocol, backbone: str = "resnet10t", batch: int = 8, size: int = 32) -> Bench:
    """A bench of a small input."""
    timed = timed_protocol(dataclasses.replace(protocol, backbone_args=TINY), size, batch, 1)
    setting = Setting(backbone, timed, torch.device("cpu"), pairs=1)
    devices.make_deterministic(1)
    return Bench(setting, draw_data(folder, size, setting.channels, batch))


def losses_of(training: Training, steps: int) -> list[float]:
    """Of the first steps."""
    found: list[float] = []
    parts.overhear_method(training.method, on_losses=lambda losses: found.append(float(losses["loss"].detach())))
    for _ in range(steps):
        training.step()
    return found


@pytest.fixture
def moving(tmp_path: Path) -> Bench:
    return bench_of(tmp_path, find_protocol("quick-v1"))


@pytest.fixture
def still(tmp_path: Path) -> Bench:
    return bench_of(tmp_path, dataclasses.replace(find_protocol("quick-v1"), **STILL))  # type: ignore[arg-type]


def test_the_bare_loop_trains_the_same_weights(moving: Bench) -> None:
    ours, bare = moving.training(), moving.by_hand(BARE).make()
    assert isinstance(bare, BareTraining)
    start = {name: tensor.clone() for name, tensor in bare.net.state_dict().items()}
    for _ in range(2 * ours.steps):  # over the end of an epoch
        ours.step()
        bare.step()
    for name, tensor in ours.model.net.state_dict().items():
        torch.testing.assert_close(bare.net.state_dict()[name], tensor, rtol=0, atol=1e-3)
    assert max(float((start[name].double() - bare.net.state_dict()[name]).abs().max()) for name in start) > 0.01
    assert math.isclose(float(bare.total) / len(moving.train), ours.history.epochs[-1]["loss"], rel_tol=1e-3)


def test_the_bare_loop_follows_every_protocol(tmp_path: Path) -> None:
    for name in ("cyborg-v1", "standard-v1"):
        bench = bench_of(tmp_path / name, find_protocol(name))
        apart = measuring.gradients_apart(bench.training(), bench.by_hand(BARE).make())
        assert apart < (1e-4 if bench.setting.protocol.precision == "fp32" else measuring.APART), name


@pytest.mark.parametrize("kind", ["moving", "still"])
def test_the_step_in_the_style_of_public_code_has_the_loss_of_cyborg(kind: str, request: pytest.FixtureRequest) -> None:
    bench: Bench = request.getfixturevalue(kind)
    ours, theirs = bench.training("cyborg"), bench.by_hand(PUBLISHED).make()
    assert isinstance(theirs, PublishedCyborg)
    expected = losses_of(ours, 3)
    for loss in expected:
        theirs.step()
        assert float(theirs.loss) == pytest.approx(loss, abs=1e-5)
        assert theirs.running_loss == float(theirs.loss)
    assert (theirs.human is None) == (kind == "moving"), "what moves with the images cannot be made before"


def test_a_densenet_runs_its_features_twice_and_has_the_same_loss(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, find_protocol("cyborg-v1"), "densenet121", batch=4, size=96)
    ours, theirs = bench.training("cyborg"), bench.by_hand(PUBLISHED).make()
    assert isinstance(theirs, PublishedCyborg)
    passes = []
    theirs.net.features.register_forward_hook(lambda *_: passes.append(1))  # type: ignore[union-attr,operator]
    (loss,) = losses_of(ours, 1)
    theirs.step()
    assert len(passes) == 2
    assert float(theirs.loss) == pytest.approx(loss, abs=1e-5)


def test_maps_one_by_one_are_those_of_a_batch() -> None:
    maps = torch.rand(5, 12, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        published.human_maps(maps, (4, 4)), cams.normalise(cams.pool(maps, (4, 4))), rtol=0, atol=1e-6
    )


def test_gradients_of_other_work_are_apart(moving: Bench) -> None:
    plain = moving.by_hand(BARE)
    assert measuring.gradients_apart(moving.training(), plain.make()) < 1e-4
    assert measuring.gradients_apart(moving.training("cyborg"), plain.make()) > measuring.APART


def test_rows_from_the_cache_train_the_same_network(moving: Bench) -> None:
    memory, cache = moving.training(), moving.from_cache().make()
    assert isinstance(cache, Training)
    for _ in range(3):
        memory.step()
        cache.step()
    for name, tensor in memory.model.net.state_dict().items():
        assert torch.equal(cache.model.net.state_dict()[name], tensor), name


def test_evaluation_one_by_one_finds_what_evaluation_by_batch_finds(moving: Bench) -> None:
    ours, single = (contender.make() for contender in moving.evaluation())
    assert isinstance(single, OneByOne)
    logits, maps = ours.step()  # type: ignore[misc]
    found = single.step()
    np.testing.assert_allclose([scores for scores, _ in found], logits, atol=1e-4)
    own = maps[torch.arange(len(maps)), logits.argmax(1)]
    np.testing.assert_allclose([cam for _, cam in found], own, atol=1e-4)
    assert [one.name for one in moving.evaluation()] == [BY_BATCH, ONE_BY_ONE]


def test_the_parts_of_a_step_are_marked_in_their_order(moving: Bench) -> None:
    device = moving.setting.device
    for contender in (moving.method("cyborg"), moving.by_hand(BARE), moving.by_hand(PUBLISHED), moving.from_cache()):
        watched = parts.watch_contender(contender, device, seconds=1.0)
        assert list(watched.seconds) == list(parts.PARTS)
        assert min(watched.seconds.values()) > 0, contender.name
    assert parts.watch_contender(moving.evaluation()[0], device, seconds=1.0).seconds == {}


def test_choices_of_arithmetic_are_made(moving: Bench) -> None:
    made = {name: arithmetic.arithmetic_contender(moving, name).make()
            for pair in arithmetic.CHOICES.items() for name in pair}  # fmt: skip
    protocols = {name: one.protocol for name, one in made.items() if isinstance(one, Training)}
    assert {name for name, one in protocols.items() if one.precision == "bf16"} == {"bf16"}
    assert {name for name, one in protocols.items() if not one.channels_last} == {"contiguous"}
    fused = {name for name, one in made.items() if one.optimiser.param_groups[0]["fused"]}  # type: ignore[attr-defined]
    assert fused == {"fused optimiser"}
    for one in made.values():
        one.step()
    usual, bf16, *_, other = arithmetic.curves_of(moving, 4)
    assert len(usual.losses) == 4
    assert usual.losses[0] == pytest.approx(bf16.losses[0], abs=0.05)
    assert 0 < usual.distance(bf16) < usual.distance(other)
    assert usual.distance(usual) == 0
    assert 0 <= usual.auroc <= 1
