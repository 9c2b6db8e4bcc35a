"""Training: paired batches, identical repeats, and what may be read when."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from divsal_bench import errors
from divsal_bench.contracts.method import Batch, Method, Outputs
from divsal_bench.networks import backbones, inference
from divsal_bench.registry import plugins, protocols
from divsal_bench.training import augmentation, training
from divsal_bench.training.feeding import raw_batch
from divsal_bench.training.splits import SplitTensors
from divsal_bench.training.training import Streams
from divsal_bench.words import Head, Kind

TINY = dataclasses.replace(
    protocols.find_protocol("quick-v1"), name="tiny", epochs=2, batch_size=8, input_size=32, output_stride=8,
    backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
)  # fmt: skip
FOUND = plugins.methods().found


def split(count: int = 20, seed: int = 0, side: int = 32) -> SplitTensors:
    """Noise images whose positives are brighter in a corner that half of their maps mark."""
    g = np.random.default_rng(seed)
    images = g.integers(0, 200, (count, 1, side, side), dtype=np.uint8)
    labels = np.arange(count) % 2
    images[labels == 1, :, :16, :16] += 55
    maps = np.zeros((count, side, side), np.uint8)
    maps[:, :16, :16] = 255
    has_map = np.arange(count) % 4 < 2
    maps[~has_map] = 0
    return SplitTensors.from_arrays(images, labels, maps, has_map, torch.device("cpu"))


def train(
    method: Method, protocol: protocols.Protocol = TINY, seed: int = 0, head: Head = "two-logit"
) -> tuple[backbones.CamNet, training.History]:
    """Train on the small split."""
    streams = Streams.of("toy", "fingerprint", protocol.backbone, seed)
    model = backbones.build(protocol.backbone, protocol, 1, head, streams.weights)
    return model, training.fit(model, method, split(), split(12, 1), protocol, streams)


def weights(model: backbones.CamNet) -> torch.Tensor:
    """Every parameter in one vector."""
    return torch.cat([tensor.flatten().float() for tensor in model.net.state_dict().values()])


@dataclass
class Recorder(Method):
    """Plain cross-entropy that keeps what it is handed."""

    name: ClassVar[str] = "recorder"
    kind: ClassVar[Kind] = "unguided"
    draws: int = 0

    def loss(self, batch: Batch, out: Outputs) -> dict[str, torch.Tensor]:
        self.seen = [*getattr(self, "seen", []), batch]
        if self.draws:
            torch.rand(self.draws, generator=batch.generator)
        return {"loss": out.cross_entropy}


def test_two_methods_see_identical_batches() -> None:
    plain, drawing = Recorder(), Recorder(draws=7)
    train(plain)
    train(drawing)
    assert len(plain.seen) == len(drawing.seen) == 2 * 3
    for one, other in zip(plain.seen, drawing.seen, strict=True):
        assert torch.equal(one.rows, other.rows)
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.maps, other.maps)


def test_seed_task_and_backbone_move_the_streams_and_nothing_else_does() -> None:
    one = Streams.of("cxr", "f", "resnet10t", 0)
    assert one == Streams.of("cxr", "f", "resnet10t", 0)
    assert len({Streams.of(t, "f", b, s).order for t in ("cxr", "x") for b in ("r", "q") for s in (0, 1)}) == 8
    assert Streams.of("cxr", "other data", "resnet10t", 0).order == one.order
    assert len(set(dataclasses.astuple(one))) == 4


@pytest.mark.parametrize("name", sorted(FOUND))
def test_the_same_run_twice_gives_identical_weights(name: str) -> None:
    assert torch.equal(weights(train(FOUND[name]())[0]), weights(train(FOUND[name]())[0]))


@pytest.mark.parametrize("name", [n for n, m in FOUND.items() if "alpha" in {f.name for f in dataclasses.fields(m)}])
def test_training_with_alpha_one_gives_the_weights_of_cross_entropy(name: str) -> None:
    guided = train(FOUND[name](alpha=1.0))[0]  # type: ignore[call-arg]
    assert torch.equal(weights(guided), weights(train(FOUND["cross-entropy"]())[0]))


def test_a_guided_method_does_change_the_weights() -> None:
    assert not torch.equal(weights(train(FOUND["cyborg"]())[0]), weights(train(FOUND["cross-entropy"]())[0]))


def test_another_seed_gives_other_weights() -> None:
    assert not torch.equal(weights(train(Recorder())[0]), weights(train(Recorder(), seed=1)[0]))


def test_a_loss_that_is_not_finite_names_itself_and_the_epoch() -> None:
    @dataclass
    class Explodes(Recorder):
        def loss(self, batch: Batch, out: Outputs) -> dict[str, torch.Tensor]:
            return {"loss": out.cross_entropy, "extra": out.cross_entropy * float("nan")}

    with pytest.raises(errors.DivergedError, match=r"extra is not finite in epoch 1 of 2"):
        train(Explodes())


def test_without_a_selection_rule_the_validation_split_is_never_read() -> None:
    class Sealed(SplitTensors):
        def __getattribute__(self, name: str) -> object:
            raise AssertionError("the validation split was read")

    streams = Streams.of("toy", "f", TINY.backbone, 0)
    model = backbones.build(TINY.backbone, TINY, 1, "two-logit", 0)
    training.fit(model, Recorder(), split(), Sealed.__new__(Sealed), TINY, streams)


@pytest.mark.parametrize("rule", ["validation-accuracy", "validation-auroc"])
def test_the_best_epoch_is_kept_and_ties_go_to_the_later(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.5, 0.9, 0.9, 0.7])
    seen: list[torch.Tensor] = []

    def fake(model: backbones.CamNet, *_: object) -> dict[str, float]:
        seen.append(weights(model))
        value = next(scores)
        return {"validation_accuracy": value, "validation_auroc": value}

    monkeypatch.setattr(training, "validation_scores", fake)
    protocol = dataclasses.replace(TINY, epochs=4, selection=rule)  # type: ignore[arg-type]
    model, history = train(Recorder(), protocol)
    assert history.selected_epoch == 3
    assert torch.equal(weights(model), seen[2])


def test_the_step_schedule_decays_after_its_epochs() -> None:
    protocol = dataclasses.replace(TINY, schedule="step", step_epochs=2, optimiser="sgd")
    model = backbones.build(TINY.backbone, TINY, 1, "two-logit", 0)
    optimiser, scheduler = training.optimisation(model, protocol, steps=3)
    rates = []
    for _ in range(5 * 3):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    assert rates == pytest.approx([protocol.learning_rate * 0.1 ** (i // 6) for i in range(15)])


def test_an_epoch_uses_every_sample_once_but_a_lone_last_one() -> None:
    g = torch.Generator().manual_seed(0)
    assert torch.cat(training.batches(20, 8, g)).sort().values.tolist() == list(range(20))
    assert [len(rows) for rows in training.batches(17, 8, g)] == [8, 8]


def test_image_and_map_move_together() -> None:
    """A map equal to its image stays equal to it, but for what comes from outside the frame."""
    protocol = dataclasses.replace(TINY, rotate=20.0, scale=0.2, shift=0.1, flip=0.5, mean=(0.0,), std=(1.0,))
    inner = np.zeros((8, 32, 32), np.uint8)
    inner[:, 12:20, 10:16] = 255
    labels, has_map = np.zeros(8), np.ones(8, bool)
    train_split = SplitTensors.from_arrays(inner[:, None], labels, inner, has_map, torch.device("cpu"))
    g = torch.Generator().manual_seed(3)
    batch = training.make_batch(raw_batch(train_split, torch.arange(8)), protocol, g, g)
    torch.testing.assert_close(batch.images[:, 0], batch.maps)
    assert not torch.allclose(batch.maps, torch.from_numpy(inner).float() / 255)


def test_what_lies_outside_an_image_repeats_its_border() -> None:
    protocol = dataclasses.replace(TINY, rotate=30.0, scale=0.3, shift=0.2, flip=0.5)
    images = torch.rand(4, 3, 16, 16)
    warp = augmentation.sampler(4, 16, protocol, torch.Generator().manual_seed(0), torch.device("cpu"))
    theta = augmentation.draw_affine(4, protocol, torch.Generator().manual_seed(0))
    grid = torch.nn.functional.affine_grid(theta, [4, 3, 16, 16], align_corners=False)
    expected = torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(warp(images, "border"), expected, atol=1e-5, rtol=0)


def test_a_flip_alone_is_an_exact_mirror_image() -> None:
    protocol = dataclasses.replace(TINY, rotate=0.0, scale=0.0, shift=0.0, flip=1.0)
    warp = augmentation.sampler(2, 16, protocol, torch.Generator().manual_seed(0), torch.device("cpu"))
    images = torch.rand(2, 1, 16, 16)
    torch.testing.assert_close(warp(images, "border"), images.flip(-1), atol=1e-5, rtol=0)


def test_a_one_logit_head_reads_as_two_opposite_rows() -> None:
    model, _ = train(FOUND["difference"](), head="one-logit")
    weight, bias = model.classifier()
    assert torch.equal(weight[0], -weight[1])
    assert torch.equal(bias[0], -bias[1])
    linear = model.net.get_classifier()  # type: ignore[operator]
    assert torch.equal(weight[1], linear.weight[0] / 2)
    images = split().images
    model.net.eval()
    with torch.inference_mode():
        z = model.net(inference.as_input(images, inference.form_of(TINY)))
    logits, maps = inference.infer(model, images, inference.form_of(TINY), with_cams=True)
    torch.testing.assert_close(logits[:, 1:] - logits[:, :1], z)
    assert maps is not None
    torch.testing.assert_close((maps.mean((2, 3)) + bias)[:, 1], logits[:, 1])
    binary = torch.nn.functional.binary_cross_entropy_with_logits(z[:, 0], split().labels.float())
    torch.testing.assert_close(torch.nn.functional.cross_entropy(logits, split().labels), binary)


def test_initial_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(123)
    one = weights(backbones.build(TINY.backbone, TINY, 1, "two-logit", 7))
    torch.rand(10)
    assert torch.equal(one, weights(backbones.build(TINY.backbone, TINY, 1, "two-logit", 7)))
    assert not torch.equal(one, weights(backbones.build(TINY.backbone, TINY, 1, "two-logit", 8)))
