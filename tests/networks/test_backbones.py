"""Backbones: the closed form is checked, and what lacks it is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from divsal_bench.errors import UserError
from divsal_bench.networks import backbones
from divsal_bench.registry import protocols

QUICK = protocols.find_protocol("quick-v1")
BIG = dataclasses.replace(protocols.find_protocol("cyborg-v1"), pretrained=False)


@pytest.mark.parametrize("name", sorted(backbones.TESTED))
def test_every_listed_backbone_has_a_closed_form_cam(name: str) -> None:
    model = backbones.build(name, BIG, 3, "two-logit", 0)
    assert model.forward(torch.zeros(1, 3, 224, 224))[0].shape == (1, 2)


@pytest.mark.parametrize("in_chans", [1, 3])
def test_the_quick_protocol_gives_eight_by_eight_cams(in_chans: int) -> None:
    model = backbones.build(QUICK.backbone, QUICK, in_chans, "two-logit", 0)
    assert model.forward(torch.zeros(2, in_chans, 64, 64))[1].shape[-2:] == (8, 8)


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "convnext_atto", "mobilenetv3_small_100", "swin_tiny_patch4_window7_224", "vgg11"]
)
def test_a_backbone_without_a_closed_form_is_refused_with_what_works(name: str) -> None:
    with pytest.raises(UserError, match=r"no closed-form CAM.*Closed form works for ResNet"):
        backbones.build(name, BIG, 3, "two-logit", 0)


def test_a_backbone_that_cannot_give_the_grid_is_refused() -> None:
    with pytest.raises(UserError, match="has no output stride of 8, which protocol quick-v1 asks for"):
        backbones.build("densenet121", QUICK, 1, "two-logit", 0)
    small = dataclasses.replace(QUICK, output_stride=None)
    with pytest.raises(UserError, match="2×2 CAMs at 64 px"):
        backbones.build("densenet121", small, 1, "two-logit", 0)


def test_an_unknown_backbone_gets_the_closest_name() -> None:
    with pytest.raises(UserError, match="Did you mean 'resnet50'"):
        backbones.build("resnet5O", BIG, 3, "two-logit", 0)
    with pytest.raises(UserError, match="no weights of that tag"):
        backbones.build("resnet50.nope", BIG, 3, "two-logit", 0)


def test_weights_come_from_the_hubs_cache_and_from_safetensors_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real loading code on a cache that is laid out as the Hub client does; nothing is mocked but its place."""
    import huggingface_hub.constants
    import timm
    from safetensors.torch import save_file

    pretrained = dataclasses.replace(BIG, pretrained=True, input_size=128)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="not in the local cache and the Hub cannot be reached"):
        backbones.build("test_resnet.r160_in1k", pretrained, 3, "two-logit", 0)

    repository = tmp_path / "models--timm--test_resnet.r160_in1k"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    torch.manual_seed(5)
    published = timm.create_model("test_resnet", pretrained=False)
    torch.save(published.state_dict(), snapshot / "pytorch_model.bin")
    (snapshot / "config.json").write_text(json.dumps({}))
    with pytest.raises(UserError, match="cache"):
        backbones.build("test_resnet.r160_in1k", pretrained, 3, "two-logit", 0)

    save_file(published.state_dict(), str(snapshot / "model.safetensors"))
    model = backbones.build("test_resnet.r160_in1k", pretrained, 3, "two-logit", 0)
    assert torch.equal(model.net.conv1[0].weight, published.conv1[0].weight)  # type: ignore[index,union-attr]
    assert backbones.full_name("test_resnet", pretrained) == "test_resnet.r160_in1k"
    digest = backbones.weights_hash("test_resnet.r160_in1k", pretrained)
    assert digest == backbones.weights_hash("test_resnet.r160_in1k", pretrained)
    save_file({n: t + 1 if n == "conv1.0.weight" else t for n, t in published.state_dict().items()},
              str(snapshot / "model.safetensors"))  # fmt: skip
    assert digest != backbones.weights_hash("test_resnet.r160_in1k", pretrained)
    assert backbones.weights_hash("resnet10t", QUICK) == "scratch"
