"""CASE: as published, clamped, and when it is no map at all."""

from __future__ import annotations

import pytest
import torch
from drawn_evidence import evidence, images, network, with_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from divsal_bench.maps import case, closed_form, measures
from divsal_bench.maps.evidence import Evidence, gather

LABELS = torch.tensor([0, 1, 1, 0])


def published(one: Evidence, target: Tensor, contrast: Tensor) -> Tensor:
    """One image at a time, with gradients, in the paper's words; before its ReLU and times h·w."""
    found = []
    for i in range(len(target)):
        features = one.features[i].clone().requires_grad_()
        logits = one.weight @ features.mean((1, 2)) + one.bias
        alpha = [torch.autograd.grad(z, features, retain_graph=True)[0].mean((1, 2)) for z in logits]
        mean = torch.stack([alpha[j] for j in contrast[i].tolist()]).mean(0)
        own = alpha[int(target[i])]
        weights = own - (own @ mean) / (mean @ mean + 1e-8) * mean
        found.append((weights[:, None, None] * one.features[i]).sum(0) * features[0].numel())
    return torch.stack(found)


@given(classes=st.integers(2, 5), count=st.integers(1, 3), seed=st.integers(0, 200))
@settings(max_examples=40, deadline=None)
def test_case_equals_the_published_algorithm(classes: int, count: int, seed: int) -> None:
    one = evidence("two-logit" if classes == 2 else "many-logit", classes, seed)
    target = torch.randint(0, classes, (4,), generator=torch.Generator().manual_seed(seed))
    contrast = case.next_logits(one.logits, target, count)
    found = case.case_map(one, target, contrast)
    torch.testing.assert_close(found.values, published(one, target, contrast))
    ratio = case.residual_ratio(one.weight, target, contrast)
    assert torch.equal(found.undefined, ratio < 0.1)


@given(classes=st.integers(2, 5), seed=st.integers(0, 200))
@settings(max_examples=40, deadline=None)
def test_clamped_is_the_class_cam_where_rows_point_apart_and_case_elsewhere(classes: int, seed: int) -> None:
    one = evidence("two-logit" if classes == 2 else "many-logit", classes, seed)
    target = torch.arange(4) % classes
    contrast = case.next_logits(one.logits, target)
    apart = (one.weight[target] * one.weight[contrast[:, 0]]).sum(1) <= 0
    clamped = case.clamped_case_map(one, target)
    torch.testing.assert_close(clamped.values[apart], closed_form.true_cam(one, target).values[apart])
    torch.testing.assert_close(clamped.values[~apart], case.case_map(one, target).values[~apart])
    assert not clamped.undefined[apart].any()


def test_with_two_classes_the_rival_is_the_other_one() -> None:
    one = evidence()
    for count in (1, 5):
        assert torch.equal(case.next_logits(one.logits, LABELS, count), 1 - LABELS[:, None])


def test_rivals_of_many_classes() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0, 2.0], [0.0, 5.0, 1.0, 4.0]])
    assert case.next_logits(logits, torch.tensor([0, 3]), 2).tolist() == [[2, 3], [1, 2]]
    assert case.next_logits(logits, torch.tensor([0, 3]), 9).shape == (2, 3)
    many = evidence("many-logit", 4)
    target, given_rivals = torch.tensor([0, 1, 2, 3]), torch.tensor([[2, 1], [3, 0], [3, 0], [0, 1]])
    found = case.case_map(many, target, given_rivals)
    torch.testing.assert_close(found.values, published(many, target, given_rivals))


@pytest.mark.parametrize("scale", [1.0, 1 / 49, 2e-4, 1e-8, 1e-30])
def test_one_logit_case_is_undefined_however_small_the_gradient(scale: float) -> None:
    row = torch.tensor([0.3, -1.2, 0.7, 0.1]) * scale
    found = case.case_map(with_rows(torch.stack([-row / 2, row / 2]), head="one-logit"), LABELS)
    assert found.undefined.all()
    assert "one-logit" in found.why
    assert case.residual_ratio(torch.stack([-row, row]), LABELS, 1 - LABELS[:, None]).max() < 1e-12


def test_the_published_epsilon_would_let_small_opposite_gradients_through() -> None:
    """Why the ratio is not taken from the projection as published (research: .19 at ‖g‖ = 2e-4)."""
    gradient = torch.tensor([1.0, 0.0, 0.0]) * 2e-4
    left = gradient - (gradient @ -gradient) / (gradient @ gradient + 1e-8) * -gradient
    assert float(left.norm() / gradient.norm()) == pytest.approx(0.2, abs=0.02)
    assert float(left.norm() / gradient.norm()) > case.SMALLEST_RESIDUAL


def test_the_ratio_is_the_sine_of_the_angle_and_knows_zeros() -> None:
    angle = torch.tensor([0.02, 0.05, 0.2, 1.0, 2.0, 3.1])
    for value in angle.tolist():
        rows = torch.tensor([[1.0, 0.0], [3 * torch.tensor(value).cos(), 3 * torch.tensor(value).sin()]]) * 1e-5
        target, contrast = torch.tensor([1]), torch.tensor([[0]])
        ratio = float(case.residual_ratio(rows, target, contrast))
        assert ratio == pytest.approx(abs(float(torch.tensor(value).sin())), rel=1e-4)
        clamped = float(case.residual_ratio(rows, target, contrast, clamped=True))
        assert clamped == pytest.approx(ratio if value < 1.57 else 1, rel=1e-4)
    zeros = torch.tensor([[0.0, 0.0], [1.0, 2.0]])
    assert case.residual_ratio(zeros, torch.tensor([0, 1]), torch.tensor([[1], [0]])).tolist() == pytest.approx([0, 1])
    assert case.case_map(with_rows(zeros), LABELS).undefined.tolist() == [True, False, False, True]


def test_a_networks_one_logit_head_has_no_case_but_a_clamped_one() -> None:
    one = gather(network("one-logit"), images(4))
    assert case.case_map(one, LABELS).undefined.all()
    clamped = case.clamped_case_map(one, LABELS)
    assert not clamped.undefined.any()
    torch.testing.assert_close(clamped.values, closed_form.true_cam(one, LABELS).values)


def planted(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Features with a patch of positive or of negative evidence somewhere, labels, and where the patch is."""
    g = torch.Generator().manual_seed(seed)
    features = torch.randn(count, 24, 7, 7, generator=g).relu() * 0.3
    labels = torch.arange(count) % 2
    where = torch.zeros(count, 7, 7)
    for i in range(count):
        y, x = torch.randint(0, 5, (2,), generator=g).tolist()
        where[i, y : y + 3, x : x + 3] = 1
        features[i, 6 * int(labels[i]) : 6 * int(labels[i]) + 6, y : y + 3, x : x + 3] += torch.rand(
            6, 3, 3, generator=g
        )
    return features, labels, where


def test_case_collapses_as_cross_entropy_makes_the_rows_opposite_and_the_clamped_form_does_not() -> None:
    """The research table, in small: cosine against energy inside the true evidence."""
    features, labels, where = planted(200, 0)
    g = torch.Generator().manual_seed(1)
    weight = (torch.randn(2, 24, generator=g) * 0.2).requires_grad_()
    optimiser = torch.optim.Adam([weight], lr=0.03, weight_decay=1e-4)
    table = []
    for step in range(1, 1501):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(features.mean((2, 3)) @ weight.T, labels).backward()
        optimiser.step()
        if step in (5, 100, 1500):
            rows = weight.detach().clone()
            one = Evidence(features, rows, torch.zeros(2), features.mean((2, 3)) @ rows.T, "two-logit")
            energy = {
                name: measures.energy_inside(
                    closed_form.MAPS[name].function(one, labels).values.numpy(), where.numpy()
                )["pe"].mean()
                for name in ("true-class", "case", "case-clamped", "difference")
            }
            undefined = case.case_map(one, labels).undefined.float().mean().item()
            table.append((measures.compare_rows(rows.numpy()), energy, undefined))
    cosines = [rows.cosine for rows, _, _ in table]
    assert cosines[0] > cosines[1] > cosines[2]
    assert cosines[2] < -0.99
    early, _, late = table
    assert early[2] == 0
    assert late[2] == 1, "the guard must mark what has collapsed"
    assert late[0].residual_ratio < 0.1
    assert late[1]["difference"] > early[1]["difference"], "training finds the evidence"
    assert late[1]["case"] < late[1]["difference"] - 0.2, "and CASE loses it"
    assert late[1]["case-clamped"] == pytest.approx(late[1]["true-class"])
    assert late[1]["case-clamped"] > late[1]["difference"] - 0.1
