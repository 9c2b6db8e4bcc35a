"""The package grad-cam agrees with our closed forms; tests that need it are skipped where it is not installed."""

from __future__ import annotations

import importlib.util
import sys

import pytest
import torch
from drawn_evidence import GRID, images, many_logits, network
from torch.nn.functional import interpolate

from divsal_bench.contracts import cams
from divsal_bench.errors import UserError
from divsal_bench.maps import closed_form
from divsal_bench.maps.evidence import gather
from divsal_bench.maps.public import PUBLIC, public_map
from divsal_bench.words import HEADS

pytestmark = pytest.mark.fast

LABELS = torch.tensor([0, 1, 1, 0])
installed = pytest.mark.skipif(
    importlib.util.find_spec("pytorch_grad_cam") is None,
    reason="grad-cam is not installed, so agreement with it is unchecked: pip install 'divsal-bench[explain]'",
)


def test_without_the_package_the_error_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    with pytest.raises(UserError, match=r"pip install 'divsal-bench\[explain\]'"):
        public_map("hirescam", network(), images(2))


def test_an_unknown_map_gets_the_closest_name() -> None:
    with pytest.raises(UserError, match="Did you mean 'score-cam'"):
        public_map("scorecam", network(), images(2))


@installed
@pytest.mark.parametrize("name", ["gradcam", "hirescam"])
@pytest.mark.parametrize("head", HEADS)
def test_gradient_maps_equal_our_closed_form_of_the_margin(name: str, head: str) -> None:
    model = network(head)  # type: ignore[arg-type]
    one = gather(model, images(4))
    ours = closed_form.difference_map(one, LABELS).values
    torch.testing.assert_close(public_map(name, model, images(4), LABELS).values, ours)
    torch.testing.assert_close(public_map(name, model, images(4)).values, closed_form.binary_cam(one, LABELS).values)


@installed
def test_gradient_maps_of_many_classes_are_diffgradcam() -> None:
    net = many_logits(4)
    target = torch.tensor([0, 1, 2, 3])
    expected = closed_form.diffgradcam(gather(net, images(4)), target).values
    torch.testing.assert_close(public_map("gradcam", net, images(4), target).values, expected)


@installed
def test_the_packages_own_picture_is_ours_scaled() -> None:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    net = many_logits(3)
    target = torch.tensor([2, 0, 1, 1])
    with GradCAM(model=net, target_layers=[net.layer4]) as cam:  # type: ignore[list-item]
        theirs = cam(input_tensor=images(4), targets=[ClassifierOutputTarget(int(c)) for c in target])
    positive = closed_form.true_cam(gather(net, images(4)), target).values.clamp_min(0)
    ours = interpolate(positive[:, None], (32, 32), mode="bilinear")[:, 0]
    torch.testing.assert_close(torch.from_numpy(theirs), cams.normalise(ours), rtol=1e-3, atol=1e-3)


@installed
def test_score_cam_takes_the_score_with_the_sign_frozen_on_the_whole_image() -> None:
    model, pictures = network(seed=3), images(6, seed=1)
    with torch.no_grad():  # move the threshold between the images, so that masks flip decisions
        model.net.get_classifier().bias[1] -= gather(model, pictures).margin.median() - 0.01  # type: ignore[operator]
    found = public_map("score-cam", model, pictures)
    one = gather(model, pictures)
    sign = torch.where(one.margin >= 0, 1.0, -1.0)
    flipped = 0
    for i, picture in enumerate(pictures):
        masks = interpolate(one.features[i, :, None], (32, 32), mode="bilinear", align_corners=True)
        low, high = masks.amin((2, 3), keepdim=True), masks.amax((2, 3), keepdim=True)
        scores = sign[i] * gather(model, picture * (masks - low) / (high - low + 1e-8)).margin
        flipped += int((scores < 0).sum())
        expected = (scores.softmax(0)[:, None, None] * one.features[i]).sum(0)
        torch.testing.assert_close(found.values[i], expected, rtol=1e-3, atol=1e-4)
    assert flipped, "no mask flips a decision: frozen and published sign cannot be told apart here"


@installed
@pytest.mark.parametrize("name", PUBLIC)
@pytest.mark.parametrize("head", HEADS)
def test_every_public_map_is_on_the_cam_grid_and_leaves_no_trace(
    name: str, head: str, capfd: pytest.CaptureFixture[str]
) -> None:
    model = network(head)  # type: ignore[arg-type]
    model.net.train()
    found = public_map(name, model, images(3))
    assert found.values.shape == (3, *GRID)
    assert found.values.dtype == torch.float32
    assert found.values.abs().amax((1, 2)).min() > 0
    assert not found.undefined.any()
    assert model.net.training
    assert all(parameter.grad is None for parameter in model.net.parameters())
    assert not any(module._forward_hooks for module in model.net.modules())
    assert capfd.readouterr() == ("", "")


@installed
@pytest.mark.parametrize("name", PUBLIC)
def test_maps_do_not_depend_on_the_batch_they_came_in(name: str) -> None:
    model = network()
    whole = public_map(name, model, images(3)).values
    torch.testing.assert_close(torch.cat([public_map(name, model, one).values for one in images(3).split(1)]), whole)
