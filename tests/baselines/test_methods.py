"""Every method against the contract and a plain, slow reference, and the facts that the design states of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from divsal_bench.conformance import stages
from divsal_bench.conformance.checks import Check
from divsal_bench.contracts.method import Batch, Method, Outputs, TrainingSplit, Warp
from divsal_bench.registry import plugins

GRID, SIDE = (4, 4), 16
FOUND = plugins.methods().found
SHIPPED = {
    "cross-entropy", "balanced-cross-entropy", "cyborg", "difference", "contrast", "margin",
    "cyborg-shuffled", "cyborg-inverted", "cyborg-center",
}  # fmt: skip
CHECKS = {check.name: check for stage in stages.METHOD for check in stage}
GUIDED = [name for name, method in FOUND.items() if method.kind != "unguided"]


def make_batch(seed: int = 0, size: int = 6, mapped: tuple[int, ...] = (0, 1, 3, 4)) -> Batch:
    """A batch without augmentation; maps are soft blobs."""
    g = torch.Generator().manual_seed(seed)
    maps = torch.zeros(size, SIDE, SIDE, dtype=torch.uint8)
    for i in mapped:
        y, x = torch.randint(2, SIDE - 6, (2,), generator=g).tolist()
        maps[i, y : y + 5, x : x + 4] = 255
    has_map = torch.zeros(size, dtype=torch.bool)
    has_map[list(mapped)] = True
    return Batch(
        images=torch.randn(size, 1, SIDE, SIDE, generator=g),
        labels=torch.tensor([0, 1, 0, 1, 1, 0])[:size],
        rows=torch.arange(size),
        raw_maps=maps,
        has_map=has_map,
        warp=lambda maps: maps.float() / 255,
        generator=g,
    )


#: Batches that a loss may stumble on: which samples have a map, and those of them whose map is constant.
MAPPED: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "some": ((0, 1, 3, 4), ()),
    "all": (tuple(range(6)), ()),
    "none": ((), ()),
    "some constant": ((0, 1, 3, 4, 5), (1, 4)),
    "all constant": (tuple(range(6)), tuple(range(6))),
}


def batch_of(case: str, seed: int) -> Batch:
    """One of these batches, which moves mapped maps only, as training does."""
    mapped, constant = MAPPED[case]
    batch = make_batch(seed, mapped=mapped)
    batch.raw_maps[list(constant)] = 255
    return dataclasses.replace(batch, warp=Warp(lambda maps, places: maps.float() / 255))


def make_outputs(batch: Batch, seed: int = 0, head: str = "two-logit") -> tuple[Outputs, torch.Tensor]:
    """Outputs of a random network head, and the features as a leaf that gradients can reach."""
    g = torch.Generator().manual_seed(seed + 100)
    features = torch.randn(len(batch.labels), 3, *GRID, generator=g, dtype=torch.float64).requires_grad_()
    weight = torch.randn(2, 3, generator=g, dtype=torch.float64)
    if head == "one-logit":
        weight = torch.cat([-weight[1:] / 2, weight[1:] / 2])
    weight.requires_grad_()
    bias = torch.randn(2, generator=g, dtype=torch.float64)
    logits = features.mean((2, 3)) @ weight.T + bias
    return Outputs(logits, features, weight, bias, batch.labels), features


def ready(method: Method, batch: Batch) -> Batch:
    """Call the hooks as training does."""
    split = TrainingSplit(batch.labels, batch.raw_maps, batch.has_map, torch.Generator().manual_seed(5))
    method.setup(split)
    return method.transform(exchanged(batch, split))


def exchanged(batch: Batch, split: TrainingSplit) -> Batch:
    """The batch of all rows of a split, with the human maps that ``setup`` asked for."""
    if split.donors is None:
        return batch
    return dataclasses.replace(
        batch, raw_maps=batch.raw_maps[split.donors.clamp_min(0)], has_map=split.donors >= 0
    )  # fmt: skip


# -- slow references: numpy, one sample at a time, straight from design section 4 -----------------------------


def scale(m: np.ndarray) -> np.ndarray:
    return np.zeros_like(m) if m.max() == m.min() else (m - m.min()) / (m.max() - m.min())


def reference(
    batch: Batch, out: Outputs, s: Callable[[np.ndarray, np.ndarray, np.ndarray], float], alpha: float = 0.5
) -> float:
    """α · mean CE + (1 − α) · mean over mapped samples of s(M_t, M_f, H)."""
    logits, features = out.logits.detach().numpy(), out.features.detach().numpy()
    weight = out.weight.detach().numpy()
    ce, distances = [], []
    for i, label in enumerate(batch.labels.tolist()):
        z = logits[i] - logits[i].max()
        ce.append(np.log(np.exp(z).sum()) - z[label])
        step = SIDE // GRID[0]
        human = batch.raw_maps[i].numpy().astype(float) / 255
        human = scale(human.reshape(GRID[0], step, GRID[1], step).mean((1, 3)))
        if batch.has_map[i] and human.max() > 0:
            true, false = (np.tensordot(weight[k], features[i], 1) for k in (label, 1 - label))
            distances.append(s(true, false, human))
    return alpha * np.mean(ce) + (1 - alpha) * (np.mean(distances) if distances else 0.0)


def gaussian() -> np.ndarray:
    y, x = (np.mgrid[0:4, 0:4] + 0.5) / 4 - 0.5
    return scale(np.exp(-(x**2 + y**2) / (2 * 0.25**2)))


REFERENCES: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], float]] = {
    "cyborg": lambda t, f, h: np.mean((scale(t) - h) ** 2),
    "difference": lambda t, f, h: np.mean((scale(t - f) - h) ** 2),
    "contrast": lambda t, f, h: np.mean((scale(t) - h) ** 2) / 2 + np.mean((scale(f) - (1 - h)) ** 2) / 2,
    "margin": lambda t, f, h: (
        np.mean((scale(t) - h) ** 2) + 0.1 * np.mean(h * np.maximum(0.5 - (scale(t) - scale(f)), 0)) / h.mean()
    ),
    "cyborg-inverted": lambda t, f, h: np.mean((scale(t) - (1 - h)) ** 2),
    "cyborg-center": lambda t, f, h: np.mean((scale(t) - gaussian()) ** 2),
    "cyborg-shuffled": lambda t, f, h: np.mean((scale(t) - h) ** 2),  # on the batch with exchanged maps
}


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("case", MAPPED)
@pytest.mark.parametrize("head", ["two-logit", "one-logit"])
def test_loss_equals_the_slow_reference(name: str, seed: int, case: str, head: str) -> None:
    method, batch = FOUND[name](), batch_of(case, seed)
    batch = ready(method, batch)
    out, _ = make_outputs(batch, seed, head)
    assert float(method.loss(batch, out)["loss"].detach()) == pytest.approx(
        reference(batch, out, REFERENCES[name]), rel=1e-5
    )


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("case", ["some", "none"])
@pytest.mark.parametrize("head", ["two-logit", "one-logit"])
def test_gradients_are_those_of_finite_differences(name: str, case: str, head: str) -> None:
    method, batch = FOUND[name](), batch_of(case, 7)
    batch = ready(method, batch)
    out, _ = make_outputs(batch, 7, head)

    def loss(features: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        logits = features.mean((2, 3)) @ weight.T + out.bias
        return method.loss(batch, Outputs(logits, features, weight, out.bias, batch.labels))["loss"]

    assert torch.autograd.gradcheck(loss, (out.features, out.weight))


def test_every_guided_method_of_this_package_has_a_reference() -> None:
    # The methods of the release; one that is being added is held to its contract by the tests below.
    assert set(REFERENCES) == SHIPPED & set(GUIDED)


def test_cyborg_with_the_predicted_class_follows_the_larger_logit() -> None:
    batch = make_batch(3)
    out, _ = make_outputs(batch, 3)
    flipped = dataclasses.replace(batch, labels=out.logits.argmax(1))
    seen = dataclasses.replace(out, labels=flipped.labels)
    predicted = FOUND["cyborg"](alpha=0.0, cam_class="predicted")  # type: ignore[call-arg]
    true = FOUND["cyborg"](alpha=0.0)  # type: ignore[call-arg]
    assert (flipped.labels != batch.labels).any()
    assert predicted.loss(batch, out)["loss"] == true.loss(flipped, seen)["loss"]


def test_cross_entropy_is_torchs() -> None:
    batch = make_batch()
    out, _ = make_outputs(batch)
    expected = torch.nn.functional.cross_entropy(out.logits, batch.labels)
    assert torch.equal(FOUND["cross-entropy"]().loss(batch, out)["loss"], expected)


def test_balanced_cross_entropy_weighs_the_majority_down_and_divides_by_the_batch() -> None:
    method, batch = FOUND["balanced-cross-entropy"](), make_batch()
    labels = torch.tensor([0] * 9 + [1] * 3)
    method.setup(TrainingSplit(labels, torch.zeros(12, 2, 2), torch.zeros(12, dtype=torch.bool), torch.Generator()))
    out, _ = make_outputs(batch)
    each = torch.nn.functional.cross_entropy(out.logits, batch.labels, reduction="none")
    weights = torch.where(batch.labels == 1, 1.0, 3 / 9)
    torch.testing.assert_close(method.loss(batch, out)["loss"], (weights * each).sum() / len(batch.labels))


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
@pytest.mark.parametrize("name", sorted(FOUND))
def test_every_method_keeps_the_contract(name: str, check: Check[type[Method]]) -> None:
    """The checks of ``divsal-bench check``; a new method is tested with no new test."""
    check.look(FOUND[name])


@pytest.mark.parametrize("name", ["cyborg", "difference"])
def test_a_common_vector_moves_cyborgs_loss_and_not_the_difference_loss(name: str) -> None:
    batch = make_batch()
    out, _ = make_outputs(batch)
    u = torch.tensor([0.7, -1.2, 0.4], dtype=torch.float64)
    shift = out.features.mean((2, 3)) @ u
    moved = dataclasses.replace(out, weight=out.weight + u, logits=out.logits + shift[:, None])
    method = FOUND[name](alpha=0.0)  # type: ignore[call-arg]
    before, after = (float(method.loss(batch, one)["loss"].detach()) for one in (out, moved))
    assert (before == pytest.approx(after)) == (name == "difference")


@pytest.mark.parametrize("name", ["difference", "contrast"])
def test_with_opposite_rows_two_cam_losses_equal_cyborg(name: str) -> None:
    batch = make_batch()
    out, _ = make_outputs(batch)
    row = out.weight[1:]
    opposite = dataclasses.replace(out, weight=torch.cat([-row, row]))
    losses = [FOUND[one](alpha=0.0).loss(batch, opposite)["loss"] for one in (name, "cyborg")]  # type: ignore[call-arg]
    torch.testing.assert_close(*losses)


def test_shuffled_maps_are_a_derangement_within_class_of_mapped_samples() -> None:
    g = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 2, (60,), generator=g)
    has_map = torch.rand(60, generator=g) < 0.6
    maps = torch.arange(60, dtype=torch.uint8).view(60, 1, 1).expand(60, SIDE, SIDE) * has_map.view(60, 1, 1)
    method = FOUND["cyborg-shuffled"]()
    split = TrainingSplit(labels, maps, has_map, torch.Generator().manual_seed(2))
    method.setup(split)
    whole = dataclasses.replace(
        make_batch(),
        images=torch.zeros(60, 1, 1, 1),
        labels=labels,
        rows=torch.arange(60),
        raw_maps=maps,
        has_map=has_map,
    )
    shuffled = method.transform(exchanged(whole, split))
    donors = shuffled.raw_maps[:, 0, 0].long()[has_map]
    own = torch.arange(60)[has_map]
    assert torch.equal(shuffled.has_map, has_map)
    assert (donors != own).all()
    assert torch.equal(donors.sort().values, own)
    assert torch.equal(labels[donors], labels[own])


def test_a_class_with_one_map_loses_it_with_a_notice() -> None:
    method, batch = FOUND["cyborg-shuffled"](), make_batch(mapped=(0, 1, 3))  # classes 0, 1, 1
    split = TrainingSplit(batch.labels, batch.raw_maps, batch.has_map, torch.Generator())
    method.setup(split)
    assert method.transform(exchanged(batch, split)).has_map.tolist() == [False, True, False, True, False, False]
    assert len(split.notices) == 1
    assert "class 0" in split.notices[0]


def test_the_donors_map_gets_the_recipients_augmentation() -> None:
    method, batch = FOUND["cyborg-shuffled"](), make_batch(mapped=(1, 3))
    mirrored = dataclasses.replace(batch, warp=lambda maps: maps.flip(-1).float() / 255)
    mirrored = ready(method, mirrored)
    assert torch.equal(mirrored.maps[1], batch.raw_maps[3].flip(-1).float() / 255)
