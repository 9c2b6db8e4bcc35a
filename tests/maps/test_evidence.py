"""Evidence: one forward pass, and a refusal where its sums would not be the logits."""

from __future__ import annotations

import pytest
import timm
import torch
from drawn_evidence import GRID, evidence, images, many_logits, network

from divsal_bench.errors import UserError
from divsal_bench.maps.evidence import Evidence, gather, join_evidence
from divsal_bench.networks.backbones import CamNet
from divsal_bench.words import HEADS

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("head", HEADS)
def test_mean_cam_plus_bias_is_the_logit_of_a_real_network(head: str) -> None:
    model = network(head)  # type: ignore[arg-type]
    found = gather(model, images())
    assert found.head == head
    assert found.grid == GRID
    assert found.features.dtype == found.cams.dtype == torch.float32
    torch.testing.assert_close(found.cams.mean((2, 3)) + found.bias, found.logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.logits, model.forward(images())[0].detach())
    assert found.logits.std() > 0.1


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_a_plain_timm_network_of_many_classes(classes: int) -> None:
    net = many_logits(classes)
    found = gather(net, images())
    assert found.classes == classes
    assert found.head == ("two-logit" if classes == 2 else "many-logit")
    torch.testing.assert_close(found.logits, net(images()).detach())


def test_a_plain_network_of_one_logit_is_read_as_two_opposite_rows() -> None:
    net = many_logits(1)
    found = gather(net, images())
    assert found.head == "one-logit"
    assert torch.equal(found.weight[0], -found.weight[1])
    torch.testing.assert_close(found.margin, net(images()).detach()[:, 0])


def test_the_network_runs_once_and_keeps_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    passes = []
    model.net.layer4.register_forward_hook(lambda *_: passes.append(1))  # type: ignore[union-attr,operator]
    model.net.train()
    model.net.bn1.eval()  # type: ignore[union-attr,operator]
    before = {name: tensor.clone() for name, tensor in model.net.state_dict().items()}
    found = gather(model, images())
    assert len(passes) == 1
    assert model.net.training
    assert not model.net.bn1.training  # type: ignore[union-attr]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.net.state_dict().items())
    assert not found.logits.requires_grad
    assert not found.weight.requires_grad


@pytest.mark.parametrize("name", ["convnext_atto", "mobilenetv3_small_050", "vit_tiny_patch16_224"])
def test_a_head_without_a_closed_form_is_refused_with_what_to_do(name: str) -> None:
    options = {"img_size": 32} if name.startswith("vit") else {}
    net = timm.create_model(name, num_classes=2, in_chans=1, **options)
    with pytest.raises(UserError, match=r"no closed-form CAM.*Grad-CAM by autograd .* works for other heads"):
        gather(net, images())


def test_a_module_that_is_no_timm_network_is_refused() -> None:
    with pytest.raises(UserError, match="Sequential has no forward_features"):
        gather(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3)), images())


def test_batches_join_to_what_one_pass_gives() -> None:
    model = network()
    whole = gather(model, images())
    parts = join_evidence([gather(model, some) for some in images().split(4)])
    torch.testing.assert_close(parts.features, whole.features)
    torch.testing.assert_close(parts.logits, whole.logits)


def test_autocast_outside_changes_nothing_but_the_features() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        found = gather(network(), images())
    assert found.features.dtype == found.logits.dtype == torch.float32


def test_what_does_not_fit_together_is_refused() -> None:
    one = evidence()
    with pytest.raises(ValueError, match="do not fit"):
        Evidence(one.features, one.weight[:, :3], one.bias, one.logits, "two-logit")
    with pytest.raises(ValueError, match="many-logit head cannot have 2 rows"):
        Evidence(one.features, one.weight, one.bias, one.logits, "many-logit")
    with pytest.raises(ValueError, match="two-logit head cannot have 3 rows"):
        evidence("two-logit", classes=3)


def test_the_rival_is_the_best_of_the_others() -> None:
    two = evidence()
    labels = torch.tensor([0, 1, 1, 0])
    assert torch.equal(two.rival(labels), 1 - labels)
    many = evidence("many-logit", classes=5, batch=20)
    target = torch.arange(20) % 5
    slow = [
        max((k for k in range(5) if k != own), key=lambda k, row=row: float(row[k]))  # type: ignore[misc]
        for own, row in zip(target.tolist(), many.logits, strict=True)
    ]
    assert many.rival(target).tolist() == slow
    assert torch.equal(many.rival(many.predicted), many.logits.argsort(1)[:, -2])
    away = target != many.predicted
    assert torch.equal(many.rival(target)[away], many.predicted[away])


def test_a_tie_of_two_classes_is_positive_and_many_classes_have_no_margin() -> None:
    one = evidence()
    tied = Evidence(one.features, one.weight, one.bias, torch.zeros_like(one.logits), "two-logit")
    assert tied.predicted.tolist() == [1, 1, 1, 1]
    with pytest.raises(UserError, match="3 classes has no single margin"):
        _ = evidence("many-logit", classes=3).margin


def test_camnets_of_many_classes_are_read_too() -> None:
    assert gather(CamNet(many_logits(4), "two-logit"), images()).head == "many-logit"
