"""Grad-CAM by autograd: equal to the closed form where there is one, and possible where there is none."""

from __future__ import annotations

import pytest
import timm
import torch
from drawn_evidence import images, many_logits, network
from torch import nn

from divsal_bench.errors import UserError
from divsal_bench.maps import closed_form
from divsal_bench.maps.evidence import gather
from divsal_bench.maps.gradcam import gradcam
from divsal_bench.words import HEADS

pytestmark = pytest.mark.fast

TARGET = torch.tensor([0, 1, 2, 0])


def test_it_is_the_cam_of_many_classes_too() -> None:
    net = many_logits(3)
    torch.testing.assert_close(
        gradcam(net, images(4), TARGET).values, closed_form.true_cam(gather(net, images(4)), TARGET).values
    )


@pytest.mark.parametrize("head", HEADS)
def test_a_tap_named_by_hand_gives_the_same_map(head: str) -> None:
    model = network(head)  # type: ignore[arg-type]
    named = gradcam(model.net, images(4), TARGET % 2, tap=model.net.layer4)  # type: ignore[arg-type]
    torch.testing.assert_close(named.values, gradcam(model, images(4), TARGET % 2).values)


@pytest.mark.parametrize("name", ["convnext_atto", "mobilenetv3_small_050", "vgg11_bn"])
def test_heads_without_a_closed_form_have_a_grad_cam(name: str) -> None:
    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=3, in_chans=1)
    side = 224 if name.startswith("vgg") else 64
    pictures = images(4, side=side)
    found = gradcam(net, pictures, TARGET)
    assert found.values.shape[0] == 4
    assert found.values.ndim == 3
    assert found.values.isfinite().all()
    assert found.values.abs().max() > 0
    with pytest.raises(UserError, match="no closed-form CAM"):
        gather(net, pictures)


def test_it_equals_the_formula_of_the_paper() -> None:
    torch.manual_seed(1)
    stem, head = (
        nn.Conv2d(1, 5, 3, stride=4),
        nn.Sequential(nn.Flatten(), nn.Linear(5 * 8 * 8, 7), nn.GELU(), nn.Linear(7, 3)),
    )
    found = gradcam(nn.Sequential(stem, head), images(4), TARGET, tap=stem)
    for i, picture in enumerate(images(4)):
        features = stem(picture[None]).detach().requires_grad_()
        head(features)[0, TARGET[i]].backward()
        assert features.grad is not None
        alpha = features.grad[0].mean((1, 2))
        torch.testing.assert_close(found.values[i], (alpha[:, None, None] * features[0].detach()).sum(0) * 64)


def test_frozen_networks_are_explained_and_nothing_is_left_behind() -> None:
    net = many_logits(3).requires_grad_(False)
    with torch.no_grad():
        found = gradcam(net, images(4), TARGET)
    torch.testing.assert_close(found.values, gradcam(many_logits(3), images(4), TARGET).values)
    assert not found.values.requires_grad
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not net.layer4._forward_hooks  # type: ignore[union-attr]


def test_a_dead_head_is_undefined() -> None:
    net = many_logits(3)
    nn.init.zeros_(net.get_classifier().weight)  # type: ignore[operator]
    found = gradcam(net, images(4), TARGET)
    assert found.undefined.all()
    assert found.why


def test_what_is_no_feature_map_is_refused_with_what_to_do() -> None:
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=2, in_chans=1)
    with pytest.raises(UserError, match=r"needs a feature map \(B, C, h, w\) .* \(4, 5, 192\); name another layer"):
        gradcam(vit, images(4), TARGET % 2)
    model = network()
    with pytest.raises(UserError, match="put out no tensor"):
        gradcam(model.net, images(4), TARGET % 2, tap=nn.Conv2d(1, 1, 1))
    with pytest.raises(UserError, match="has no forward_features"):
        gradcam(nn.Sequential(nn.Flatten(), nn.Linear(1024, 2)), images(4), TARGET % 2)


def test_a_tap_off_the_path_is_refused() -> None:
    class Aside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Conv2d(1, 3, 3), nn.Conv2d(1, 3, 3)

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            self.unused(pictures)
            return self.used(pictures).mean((2, 3))

    net = Aside()
    with pytest.raises(UserError, match="do not depend on the tapped layer"):
        gradcam(net, images(4), TARGET, tap=net.unused)
