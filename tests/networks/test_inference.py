"""Images into a network: their form, the arithmetic, and the device."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from counted_rows import CountedRows
from drawn_evidence import TINY, network

from divsal_bench.errors import UserError
from divsal_bench.networks import devices, inference
from divsal_bench.networks.inference import InputForm, form_of, infer, infer_chunks
from divsal_bench.networks.stored import ChosenRows
from divsal_bench.registry import protocols

pytestmark = pytest.mark.fast

PIXELS = np.random.default_rng(0).integers(0, 256, (300, 1, 32, 32), np.uint8)


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


def test_what_inputs_are_scaled_by_is_made_once_and_can_be_trained_with() -> None:
    form = InputForm(8, "task", (0.48,), (0.23,))
    grey = torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8)
    with torch.inference_mode():
        first = inference.as_input(grey, form)
    again = inference.as_input(grey, dataclasses.replace(form, precision="bf16"))
    assert torch.equal(first, again)
    found = [inference.mean_and_std(form.mean, form.std, grey.device) for _ in range(2)]
    assert found[0][0] is found[1][0]
    assert not found[0][0].is_inference()
    weight = torch.ones(1, 1, 8, 8, requires_grad=True)
    (weight * again).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize("head", ["two-logit", "one-logit"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_stored_rows_are_scored_like_a_tensor_of_them_to_the_last_bit(head: str, precision: str) -> None:
    model = network(head)  # type: ignore[arg-type]
    form = dataclasses.replace(form_of(TINY), precision=precision)  # type: ignore[arg-type]
    rows = np.random.default_rng(1).permutation(300)[:290]
    logits, cams = infer(model, torch.from_numpy(PIXELS[rows]), form, with_cams=True)
    assert cams is not None
    stored = CountedRows(PIXELS, most=128)
    done: list[int] = []
    start = 0
    for part in infer_chunks(model, ChosenRows(stored, rows), form, with_cams=True, on_batch=lambda: done.append(1)):
        assert part.positions.start == start
        start = part.positions.stop
        assert torch.equal(part.logits, logits[part.positions])
        assert part.cams is not None
        assert torch.equal(part.cams, cams[part.positions])
    assert start == 290
    assert len(done) == 3
    assert stored.read.tolist() == sorted(rows)
    # Chunks of 128, as ever: others would round otherwise.
    by_hand = [infer(model, torch.from_numpy(PIXELS[rows[at : at + 128]]), form)[0] for at in range(0, 290, 128)]
    assert torch.equal(torch.cat(by_hand), logits)


def test_whoever_takes_chunks_keeps_the_mode_that_it_was_in() -> None:
    form = dataclasses.replace(form_of(TINY), precision="bf16")
    for _ in infer_chunks(network(), PIXELS, form):
        assert not torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()
        assert not torch.is_autocast_enabled("cpu")
