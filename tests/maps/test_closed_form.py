"""The table of maps: each is the gradient it is said to be, and says what it promises."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from drawn_evidence import evidence, images, network
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from divsal_bench.contracts import cams
from divsal_bench.errors import UserError
from divsal_bench.maps import closed_form
from divsal_bench.maps.evidence import Evidence, EvidenceHead, gather
from divsal_bench.maps.fooling import add_to_rows
from divsal_bench.maps.gradcam import gradcam

SIZES = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.integers(1, 5), st.integers(0, 500))
LABELS = torch.tensor([0, 1, 1, 0])
TWO_HEADS: list[EvidenceHead] = ["two-logit", "one-logit"]


def drawn(sizes: tuple[int, ...], head: EvidenceHead, classes: int) -> tuple[Evidence, Tensor]:
    batch, channels, height, width, seed = sizes
    found = evidence(head, classes, seed, batch, channels, (height, width))
    return found, torch.randint(0, classes, (batch,), generator=torch.Generator().manual_seed(seed))


def best_other(logits: Tensor, target: Tensor) -> Tensor:
    return logits.scatter(1, target[:, None], float("-inf")).amax(1)


def own(logits: Tensor, target: Tensor) -> Tensor:
    return logits.gather(1, target[:, None]).squeeze(1)


#: The scalar whose Grad-CAM, before ReLU and times h·w, a map is: logits (B, K) and class (B,) to (B,).
TARGETS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "true-class": own,
    "false-class": best_other,
    "difference": lambda z, t: own(z, t) - best_other(z, t),
    "binary-predicted": lambda z, t: (z[:, 1] - z[:, 0]).abs(),  # the paper's sign(z)·z
    "binary-label": lambda z, t: (2 * t - 1) * (z[:, 1] - z[:, 0]),
    "binary-positive": lambda z, t: z[:, 1] - z[:, 0],
    "binary-negative": lambda z, t: z[:, 0] - z[:, 1],
    "diffgradcam": lambda z, t: own(z, t) - best_other(z, t),
}


def by_autograd(one: Evidence, target: Tensor, scalar: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    features = one.features.clone().requires_grad_()
    logits = features.mean((2, 3)) @ one.weight.T + one.bias
    (gradient,) = torch.autograd.grad(scalar(logits, target).sum(), features)
    weights = gradient.mean((2, 3)) * gradient[0, 0].numel()
    return (weights[:, :, None, None] * one.features).sum(1)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize(("head", "classes"), [("two-logit", 2), ("one-logit", 2), ("many-logit", 4)])
@given(sizes=SIZES)
@settings(max_examples=15, deadline=None)
def test_every_map_is_grad_cam_of_its_target(
    name: str, head: EvidenceHead, classes: int, sizes: tuple[int, ...]
) -> None:
    one, target = drawn(sizes, head, classes)
    if name.startswith("binary") and classes > 2:
        with pytest.raises(UserError, match="of a yes-or-no decision; this network has 4 classes"):
            closed_form.MAPS[name].function(one, target)
        return
    torch.testing.assert_close(
        closed_form.MAPS[name].function(one, target).values, by_autograd(one, target, TARGETS[name])
    )


def test_the_autograd_references_cover_the_table() -> None:
    assert set(closed_form.MAPS) - set(TARGETS) == {"case", "case-clamped"}, "their reference is in test_case.py"


@pytest.mark.parametrize("name", closed_form.MAPS)
@pytest.mark.parametrize("head", TWO_HEADS)
def test_every_entry_holds_its_contract(name: str, head: EvidenceHead) -> None:
    entry = closed_form.map_kind(name)
    one = gather(network(head), images(4))
    found = entry.function(one, LABELS)
    assert found.values.shape == (4, *one.grid)
    assert found.values.dtype == torch.float32
    assert found.values.isfinite().all()
    assert found.undefined.shape == (4,)
    assert found.undefined.dtype == torch.bool
    assert entry.sentence.endswith(".")
    assert entry.source
    assert bool(entry.undefined_for(head)) == bool(found.undefined.all()), "the table and the map disagree"
    if found.undefined.any():
        assert found.why


def test_an_unknown_map_gets_the_closest_name() -> None:
    with pytest.raises(UserError, match="Did you mean 'difference'"):
        closed_form.map_kind("diference")


@pytest.mark.parametrize("head", TWO_HEADS)
def test_closed_forms_are_autograd_grad_cam_of_a_real_network(head: EvidenceHead) -> None:
    model = network(head)  # type: ignore[arg-type]
    one = gather(model, images(4))
    torch.testing.assert_close(closed_form.true_cam(one, LABELS).values, gradcam(model, images(4), LABELS).values)
    torch.testing.assert_close(closed_form.false_cam(one, LABELS).values, gradcam(model, images(4), 1 - LABELS).values)


@pytest.mark.parametrize("base", ["max", "mean", "soft"])
def test_bases_of_diffgradcam_are_gradients_and_one_for_two_classes(base: closed_form.Base) -> None:
    others: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "max": best_other,
        "mean": lambda z, t: (z.sum(1) - own(z, t)) / (z.shape[1] - 1),
        "soft": lambda z, t: z.scatter(1, t[:, None], float("-inf")).logsumexp(1),
    }
    many = evidence("many-logit", 4)
    reference = by_autograd(many, LABELS, lambda z, t: own(z, t) - others[base](z, t))
    torch.testing.assert_close(closed_form.diffgradcam(many, LABELS, base).values, reference)
    two = evidence()
    torch.testing.assert_close(
        closed_form.diffgradcam(two, LABELS, base).values, closed_form.difference_map(two, LABELS).values
    )


def test_grad_cam_of_the_probability_is_the_same_picture_as_diffgradcam() -> None:
    one = evidence()
    probability = by_autograd(one, LABELS, lambda z, t: own(z.softmax(1), t))
    margin = closed_form.diffgradcam(one, LABELS).values
    torch.testing.assert_close(
        probability / probability.abs().amax((1, 2), keepdim=True), margin / margin.abs().amax((1, 2), keepdim=True)
    )


@given(sizes=SIZES)
@settings(max_examples=20, deadline=None)
def test_a_vector_added_to_all_rows_moves_class_cams_and_nothing_that_is_a_difference(sizes: tuple[int, ...]) -> None:
    for classes in (2, 3):
        one, target = drawn(sizes, "two-logit" if classes == 2 else "many-logit", classes)
        u = torch.randn(one.weight.shape[1], generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        moved = add_to_rows(one, u)
        torch.testing.assert_close(moved.logits, moved.features.mean((2, 3)) @ moved.weight.T + moved.bias)
        torch.testing.assert_close(moved.logits.softmax(1), one.logits.softmax(1))
        unmoved = {"difference", "diffgradcam"} if classes > 2 else set(TARGETS) - {"true-class", "false-class"}
        for name in sorted(unmoved):
            before, after = (closed_form.MAPS[name].function(each, target).values for each in (one, moved))
            torch.testing.assert_close(before, after)
        shift = torch.einsum("bchw,c->bhw", one.features, u)
        before, after = (closed_form.true_cam(each, target).values for each in (one, moved))
        torch.testing.assert_close(after - before, shift)


def test_the_two_cams_of_one_logit_are_each_others_negative() -> None:
    one = evidence("one-logit")
    true, false = closed_form.true_cam(one, LABELS).values, closed_form.false_cam(one, LABELS).values
    assert torch.equal(true, -false)
    torch.testing.assert_close(cams.normalise(false), 1 - cams.normalise(true))
    torch.testing.assert_close(closed_form.difference_map(one, LABELS).values, 2 * true)
    torch.testing.assert_close(closed_form.binary_cam(one, LABELS, "label").values, 2 * true)


def test_modes_of_the_binary_cam_differ_only_where_the_sign_does() -> None:
    one = evidence(batch=12, seed=3)
    labels = torch.arange(12) % 2
    positive = closed_form.binary_cam(one, labels, 1).values
    torch.testing.assert_close(positive, one.cams[:, 1] - one.cams[:, 0])
    torch.testing.assert_close(closed_form.binary_cam(one, labels, -1).values, -positive)
    predicted = closed_form.binary_cam(one, labels).values
    says_yes = one.margin >= 0
    assert says_yes.any()
    assert not says_yes.all()
    torch.testing.assert_close(predicted, torch.where(says_yes[:, None, None], positive, -positive))
    torch.testing.assert_close(
        predicted.mean((1, 2)) + one.margin.sign() * (one.bias[1] - one.bias[0]), one.margin.abs()
    )
    torch.testing.assert_close(
        closed_form.binary_cam(one, labels, "label").values,
        torch.where((labels == 1)[:, None, None], positive, -positive),
    )


def test_a_margin_of_zero_still_has_a_binary_cam() -> None:
    one = evidence()
    tied = Evidence(one.features, one.weight, one.bias, torch.zeros_like(one.logits), "two-logit")
    torch.testing.assert_close(
        closed_form.binary_cam(tied, LABELS).values, closed_form.binary_cam(one, LABELS, 1).values
    )


def test_cross_entropy_without_weight_decay_never_trains_the_common_mode() -> None:
    one = evidence(batch=40, channels=6, seed=2)
    labels = torch.arange(40) % 2
    weight = one.weight.clone().requires_grad_()
    optimiser = torch.optim.SGD([weight], lr=0.5)
    for _ in range(300):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(one.features.mean((2, 3)) @ weight.T, labels).backward()
        optimiser.step()
    torch.testing.assert_close(weight.detach().sum(0), one.weight.sum(0))
    assert (weight.detach() - one.weight).norm() > 0.5
