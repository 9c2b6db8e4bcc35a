"""A training step asks an accelerator for nothing and sends it nothing but the batch: waiting costs more than maps do.

PyTorch's ``meta`` device stands in for an accelerator: its tensors have no values, so whoever reads one fails at once.
"""

from __future__ import annotations

import copy
import dataclasses
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from divsal_bench.conformance import specimens
from divsal_bench.conformance.specimens import ORDINARY
from divsal_bench.contracts.method import Batch, Method, Outputs
from divsal_bench.networks import devices
from divsal_bench.registry import plugins
from divsal_bench.training import training
from divsal_bench.training.training import SplitTensors
from divsal_bench.words import Kind

FOUND = plugins.methods().found
#: What hands a tensor's value to Python; nonzero does too, but on a CPU it is there to be used.
READING = {"aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal"}
#: How a tensor of Python's numbers begins, such as that of ``torch.tensor`` and ``new_tensor``.
MADE = "aten::lift_fresh"
META = torch.device("meta")


class Noted(TorchDispatchMode):
    """What is called, and what is copied from one device to another."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[str] = []
        self.moved: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        self.called.append(name)
        result = func(*args, **(kwargs or {}))
        if "copy" in name and len({one.device for one in (*args, result) if isinstance(one, torch.Tensor)}) > 1:
            self.moved.append(name)
        return result


def split_on(device: torch.device) -> SplitTensors:
    """The specimens' training rows."""
    split = specimens.train_split()
    return SplitTensors(*(getattr(split, field.name).to(device) for field in dataclasses.fields(split)))


@pytest.fixture(autouse=True)
def plain_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no autocast, not even switched off, on the device that stands in."""
    monkeypatch.setattr(devices, "arithmetic", lambda *_: nullcontext())


def second_step(method: Method, device: torch.device) -> Noted:
    """What a training step does after the first, up to the optimiser, whose moves are PyTorch's own.

    The first may move to the device what ``setup`` has made.
    """
    method.setup(specimens.handed(split_on(torch.device("cpu"))))
    split, model = split_on(device), copy.deepcopy(specimens.network("two-logit"))
    model.net.to(device)
    for noted in (Noted(), Noted()):
        batch = specimens.batch_of(split, ORDINARY)
        with noted:
            batch = method.transform(batch)
            out = training.network_outputs(model, batch.images, batch.labels, specimens.PROTOCOL)
            method.loss(batch, out)["loss"].backward()
    return noted


@pytest.mark.parametrize("name", sorted(FOUND))
def test_no_value_is_read_or_made_in_a_step(name: str) -> None:
    called = set(second_step(FOUND[name](), torch.device("cpu")).called)
    assert "aten::convolution_backward" in called
    assert not called & {*READING, MADE}


@pytest.mark.parametrize("name", sorted(FOUND))
def test_on_an_accelerator_a_step_needs_no_value_and_sends_none(name: str) -> None:
    assert not second_step(FOUND[name](), META).moved


@dataclass
class Waiting(Method):
    """Does what a method must not do."""

    name: ClassVar[str] = "waiting"
    kind: ClassVar[Kind] = "unguided"
    how: str = "reads"

    def loss(self, batch: Batch, out: Outputs) -> dict[str, torch.Tensor]:
        if self.how == "reads":
            return {"loss": out.cross_entropy * float(batch.labels.sum())}
        if self.how == "counts":
            return {"loss": out.cross_entropy * len(batch.labels.nonzero())}
        if self.how == "makes":
            return {"loss": out.cross_entropy * out.logits.new_tensor([0.5, 0.5]).sum()}
        return {"loss": out.cross_entropy * torch.ones(1).to(batch.labels.device).sum()}


def test_what_waits_is_noticed() -> None:
    assert READING & set(second_step(Waiting("reads"), torch.device("cpu")).called)
    assert MADE in second_step(Waiting("makes"), torch.device("cpu")).called
    assert second_step(Waiting("sends"), META).moved
    for how in ("reads", "counts"):
        with pytest.raises((RuntimeError, NotImplementedError)):
            second_step(Waiting(how), META)
