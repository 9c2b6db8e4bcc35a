"""Small networks and drawn features for the tests of explanations."""

from __future__ import annotations

import dataclasses

import timm
import torch
from torch import nn

from divsal_bench import words
from divsal_bench.maps.evidence import Evidence, EvidenceHead
from divsal_bench.networks import backbones
from divsal_bench.networks.backbones import CamNet
from divsal_bench.registry import protocols

#: 32 px, 4 × 4 CAMs.
TINY = dataclasses.replace(
    protocols.find_protocol("quick-v1"), name="tiny", input_size=32, output_stride=8,
    backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
)  # fmt: skip
GRID = (4, 4)


def evidence(
    head: EvidenceHead = "two-logit",
    classes: int = 2,
    seed: int = 0,
    batch: int = 4,
    channels: int = 5,
    grid: tuple[int, int] = (3, 4),
) -> Evidence:
    """Features ≥ 0, as after a ReLU, and a random head, in float64."""
    g = torch.Generator().manual_seed(seed)
    features = torch.randn(batch, channels, *grid, generator=g, dtype=torch.float64).relu()
    weight = torch.randn(classes, channels, generator=g, dtype=torch.float64)
    bias = torch.randn(classes, generator=g, dtype=torch.float64)
    if head == "one-logit":
        weight, bias = (torch.stack([-part[0] / 2, part[0] / 2]) for part in (weight, bias))
    return Evidence(features, weight, bias, features.mean((2, 3)) @ weight.T + bias, head)


def with_rows(weight: torch.Tensor, seed: int = 0, head: EvidenceHead = "two-logit") -> Evidence:
    """Drawn features under a head of the given rows, without biases."""
    weight = weight.double()
    features = evidence(seed=seed, channels=weight.shape[1]).features
    head = "many-logit" if len(weight) > 2 else head
    return Evidence(features, weight, torch.zeros(len(weight)).double(), features.mean((2, 3)) @ weight.T, head)


def network(head: words.Head = "two-logit", seed: int = 0) -> CamNet:
    """A narrow ResNet-10-T with batch statistics that a few batches have moved, in evaluation mode."""
    model = backbones.build("resnet10t", TINY, 1, head, seed)
    return CamNet(settled(model.net, seed), head)


def many_logits(classes: int = 3, seed: int = 0) -> nn.Module:
    """The same network with more classes, as timm makes it."""
    return settled(
        timm.create_model("resnet10t", num_classes=classes, in_chans=1, output_stride=8, **TINY.backbone_args), seed
    )


def settled(net: nn.Module, seed: int) -> nn.Module:
    """Draw all weights, give the batch norms statistics and the classifier rows of size 1: logits differ by image."""
    net.train()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for part in net.modules():
            if isinstance(part, nn.Conv2d):
                part.reset_parameters()
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.weight.copy_(torch.rand_like(part.weight) + 0.5)
                part.bias.copy_(torch.rand_like(part.bias) - 0.3)
        for step in range(10):
            net(images(8, step))
        classifier = net.get_classifier()  # type: ignore[operator]
        classifier.weight.normal_()
        classifier.bias.normal_()
    return net.eval()


def images(count: int = 6, seed: int = 0, side: int = 32) -> torch.Tensor:
    """Normalised grey images: noise and a bright square somewhere."""
    g = torch.Generator().manual_seed(seed)
    drawn = torch.randn(count, 1, side, side, generator=g)
    for image in drawn:
        y, x = torch.randint(0, side - 12, (2,), generator=g).tolist()
        image[0, y : y + 12, x : x + 12] += 3
    return drawn
