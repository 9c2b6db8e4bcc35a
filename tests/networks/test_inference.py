"""Images into a network: their form, the arithmetic, and the device."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from divsal_bench.errors import UserError
from divsal_bench.networks import devices, inference
from divsal_bench.networks.inference import InputForm
from divsal_bench.registry import protocols

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("name", list(protocols.PROTOCOLS))
def test_a_form_is_what_its_protocol_says(name: str) -> None:
    protocol = protocols.find_protocol(name)
    form = inference.form_of(protocol)
    assert form.size == protocol.input_size
    for field in dataclasses.fields(InputForm):
        if field.name != "size":
            assert getattr(form, field.name) == getattr(protocol, field.name)


def test_grey_images_are_repeated_where_three_channels_are_asked_for() -> None:
    form = InputForm(8, 3, protocols.IMAGENET_MEAN, protocols.IMAGENET_STD)
    grey = torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8)
    given = inference.as_input(grey, form)
    assert given.is_contiguous(memory_format=torch.channels_last)
    for c in range(3):
        expected = (grey[:, 0].float() / 255 - form.mean[c]) / form.std[c]
        torch.testing.assert_close(given[:, c], expected)
    task = inference.as_input(grey, InputForm(8, "task", (0.5,), (0.25,), channels_last=False))
    torch.testing.assert_close(task, (grey.float() / 255 - 0.5) / 0.25)


def test_arithmetic_is_that_of_the_precision_whatever_stands_around_it() -> None:
    cpu, one = torch.device("cpu"), torch.ones(2, 2)
    with devices.arithmetic(cpu, "bf16"):
        assert (one @ one).dtype == torch.bfloat16
        with devices.arithmetic(cpu):
            assert (one @ one).dtype == torch.float32
    with devices.arithmetic(cpu, "fp32"):
        assert (one @ one).dtype == torch.float32


def test_devices_are_known_by_name_before_one_is_looked_for() -> None:
    for name in (*devices.DEVICES, "cuda:1"):
        devices.require_known(name)
    with pytest.raises(UserError, match="unknown device 'tpu'; give one of auto, cpu, cuda, mps"):
        devices.require_known("tpu")
    assert devices.choose_device("cpu").type == "cpu"
