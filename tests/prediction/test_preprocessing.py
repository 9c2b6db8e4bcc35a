"""From a file to the network's input: bit by bit what training saw, or what timm does."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from divsal_bench.contracts.task import Task
from divsal_bench.data import arrays, catalogue, decoding
from divsal_bench.data.damage import NotAnImage
from divsal_bench.errors import UserError
from divsal_bench.networks.inference import as_input, form_of
from divsal_bench.prediction.preprocessing import Preprocessing
from divsal_bench.registry import protocols
from divsal_bench.registry.plugins import tasks

QUICK = protocols.find_protocol("quick-v1")


def decoded(image: Image.Image, kind: str = "PNG") -> decoding.Picture:
    """As from a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return decoding.decode_image(buffer.getvalue())


def photograph(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Smooth colours, so that filters and crops differ."""
    coarse = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


@pytest.mark.parametrize("name", ["cxr", "face-pad"])
def test_pixels_and_floats_are_those_of_training(name: str) -> None:
    task: Task = tasks().get(name)
    protocol = dataclasses.replace(QUICK, input_size=40)
    data = arrays.load_arrays(task, catalogue.resolve(task, "standin"), 40)
    drawn = task.draw_standin("standin", catalogue.STANDIN_SEED)
    found = Preprocessing.of_protocol(protocol, task.channels)
    assert (found.image_mode, found.in_chans) == (("L", 1) if task.channels == 1 else ("RGB", 3))
    chosen = range(0, len(drawn.images), 40)
    pixels = np.stack([found.pixels(decoded(Image.fromarray(drawn.images[row]))) for row in chosen])
    assert pixels.dtype == np.uint8
    assert (pixels == data.images[list(chosen)]).all()
    batch = torch.from_numpy(pixels)
    assert torch.equal(as_input(batch, found.input_form()), as_input(batch, form_of(protocol)))


def test_grey_is_repeated_for_networks_of_three_channels() -> None:
    protocol = dataclasses.replace(protocols.find_protocol("cyborg-v1"), input_size=32)
    found = Preprocessing.of_protocol(protocol, 1)
    assert (found.image_mode, found.in_chans, found.mean) == ("L", 3, protocols.IMAGENET_MEAN)
    batch = torch.from_numpy(np.stack([found.pixels(decoded(photograph(50, 40)))]))
    assert batch.shape == (1, 1, 32, 32)
    assert as_input(batch, found.input_form()).shape == (1, 3, 32, 32)
    assert torch.equal(as_input(batch, found.input_form()), as_input(batch, form_of(protocol)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", list(protocols.PROTOCOLS))
def test_config_json_says_the_same_and_timm_understands_it(name: str, channels: int, tmp_path: Path) -> None:
    task_channels = 1 if channels == 1 else 3
    found = Preprocessing.of_protocol(protocols.find_protocol(name), task_channels)  # type: ignore[arg-type]
    stored = json.loads(
        json.dumps({"pretrained_cfg": found.as_config(), "divsal_bench": {"image_mode": found.image_mode}})
    )
    assert Preprocessing.of_config(stored) == found

    path = tmp_path / "image.png"
    photograph(301, 200).save(path)
    transform = timm.data.create_transform(
        **timm.data.resolve_data_config(pretrained_cfg=stored["pretrained_cfg"]), is_training=False
    )
    image = Image.open(path).convert(found.image_mode).convert("L" if found.in_chans == 1 else "RGB")
    pixels = np.stack([found.pixels(decoding.decode_image(path.read_bytes()))])
    own = as_input(torch.from_numpy(pixels), found.input_form())[0]
    assert torch.allclose(own, transform(image), atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"interpolation": "bilinear", "crop_pct": 1.0},
        {"interpolation": "lanczos", "crop_mode": "squash", "crop_pct": 0.9},
        {"interpolation": "bilinear", "crop_mode": "squash", "crop_pct": 1.0},
        {"interpolation": "bicubic", "crop_mode": "border", "crop_pct": 0.95, "mean": (0.5,) * 3, "std": (0.5,) * 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [(300, 200), (64, 64), (40, 90)], ids=str)
def test_a_plain_timm_repository_is_preprocessed_as_timm_does(
    change: dict[str, Any], size: tuple[int, int], tmp_path: Path
) -> None:
    model = timm.create_model(
        "resnet18", pretrained=False, pretrained_cfg_overlay={"input_size": (3, 64, 64), **change}, num_classes=2
    )
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    path = tmp_path / "image.jpg"
    photograph(*size).save(path)
    theirs = transform(Image.open(path).convert("RGB"))
    found = Preprocessing.of_config({"architecture": "resnet18", "pretrained_cfg": model.pretrained_cfg})
    pixels = np.stack([found.pixels(decoding.decode_image(path.read_bytes()))])
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (found.mean, found.std))
    assert torch.equal(torch.from_numpy(pixels[0]), ((theirs * std + mean) * 255).round().to(torch.uint8))
    assert torch.allclose(as_input(torch.from_numpy(pixels), found.input_form())[0], theirs, atol=1e-5)


def test_the_size_of_training_is_taken() -> None:
    stated = {"input_size": [3, 64, 64], "test_input_size": [3, 96, 96], "crop_pct": 0.9, "test_crop_pct": 1.0}
    found = Preprocessing.of_config({"pretrained_cfg": stated})
    assert (found.size, found.crop_pct) == (64, 0.9)


def test_what_a_config_does_not_say_is_as_in_timm() -> None:
    found = Preprocessing.of_config({"pretrained_cfg": {"input_size": [1, 48, 48], "mean": [0.5], "std": [0.5]}})
    assert (found.image_mode, found.in_chans, found.mean) == ("L", 1, (0.5,))
    assert (found.interpolation, found.crop_mode, found.crop_pct) == ("bicubic", "center", 0.875)
    grey = {"pretrained_cfg": {"input_size": [3, 48, 48]}, "divsal_bench": {"image_mode": "L"}}
    assert Preprocessing.of_config(grey).image_mode == "L"
    assert Preprocessing.of_config({}).size == 224


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("image_mode", ["L", "RGB"])
@pytest.mark.parametrize("crop_mode", ["squash", "center", "border"])
def test_every_mode_is_brought_to_the_networks(mode: str, image_mode: str, crop_mode: str) -> None:
    image = Image.fromarray(np.full((70, 50), 51400, np.uint16)) if mode == "I;16" else photograph(50, 70, mode)
    channels = 1 if image_mode == "L" else 3
    found = Preprocessing(
        32,
        image_mode,
        channels,
        (0.5,) * channels,
        (0.25,) * channels,
        "bicubic",
        crop_mode,
        0.9,  # type: ignore[arg-type]
    )
    pixels = found.pixels(decoded(image, "TIFF"))
    assert pixels.shape == (channels, 32, 32)
    if mode == "I;16":
        assert pixels[0, 16, 16] == 200, "16 bits are scaled, not cut off"


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"input_size": [3, 64, 48]}, "64 × 48 px; squares are read"),
        ({"input_size": [3, 100000, 100000]}, "an input of 100000 px; 8 to 2048"),
        ({"input_size": [3, "64", "64"]}, "an input of '64' px"),
        ({"input_size": 64}, r"\[channels, height, width\] is read"),
        ({"input_size": [4, 64, 64]}, "4 channels"),
        ({"mean": [0.5, 0.5]}, "for 3 channels"),
        ({"std": [1, 1, 0]}, "a std of"),
        ({"mean": [float("nan")] * 3}, "a mean of"),
        ({"interpolation": "random"}, "an interpolation of 'random'"),
        ({"crop_mode": "left"}, "a crop mode of 'left'"),
        ({"crop_pct": -1}, "a crop share of -1"),
        ({"crop_pct": 0.1}, r"a crop share of 0.1; 0.25 to 2"),
        ({"input_size": [3, 2048, 2048], "crop_pct": 0.3}, "2048 px cut from 6827 px .* up to 4096 px"),
    ],
)
def test_nonsense_is_refused_in_one_line(stated: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Preprocessing.of_config({"pretrained_cfg": stated})


def test_image_modes_are_those_that_files_are_read_as() -> None:
    with pytest.raises(UserError, match="an image mode of 'CMYK'"):
        Preprocessing.of_config({"divsal_bench": {"image_mode": "CMYK"}})
    with pytest.raises(UserError, match="RGB images for a network that takes 1 channel"):
        Preprocessing(64, "RGB", 1, (0.5,), (0.5,))


@pytest.mark.parametrize(
    ("size", "crop_mode", "fits"),
    [
        ((1, 20_000), "center", False), ((20_000, 1), "center", False), ((20, 1010), "center", False),
        ((20, 900), "center", True), ((1, 40), "center", True), ((4000, 3000), "center", True),
        ((1, 20_000), "squash", True), ((20, 1010), "border", True),
    ],
)  # fmt: skip
def test_a_sliver_is_no_image_for_a_centred_crop(size: tuple[int, int], crop_mode: str, fits: bool) -> None:
    """Its short side is resized to the network's: its long side would then take gigabytes."""
    found = Preprocessing(64, "L", 1, (0.5,), (0.5,), "bicubic", crop_mode, 0.875)
    picture = decoding.Picture(Image.new("L", size), None)
    if fits:
        assert found.pixels(picture).shape == (1, 64, 64)
        return
    with pytest.raises(NotAnImage, match=rf"too long and narrow \({size[0]} x {size[1]} pixels\)"):
        found.pixels(picture)


@pytest.mark.parametrize(
    ("size", "crop_pct", "largest", "refused"),
    [(64, 0.25, (400, 100), (401, 100)), (2048, 0.5, (400, 100), (401, 100)), (2048, 1.0, (1600, 100), (1601, 100))],
)
def test_a_resized_picture_has_bounded_pixels(
    size: int, crop_pct: float, largest: tuple[int, int], refused: tuple[int, int]
) -> None:
    found = Preprocessing(size, "L", 1, (0.5,), (0.5,), crop_mode="center", crop_pct=crop_pct)
    found._require_room(*largest)
    with pytest.raises(NotAnImage):
        found._require_room(*refused)
