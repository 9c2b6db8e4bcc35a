"""A training that stops between any two steps and goes on in a new one: the same bits as without the stop."""

from __future__ import annotations

import dataclasses
import json
import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pytest
import sklearn.metrics  # noqa: F401 - its import draws from Python's stream, and must not do so in between
import torch
from safetensors.torch import load, save
from torch import Tensor

from divsal_bench.contracts.method import Batch, Method, Outputs, TrainingSplit
from divsal_bench.networks import backbones
from divsal_bench.registry import plugins, protocols
from divsal_bench.registry.protocols import Protocol
from divsal_bench.training import state, training
from divsal_bench.training.known import Known, UnstorableError, UnusableError
from divsal_bench.training.training import SplitTensors, Streams, Training
from divsal_bench.words import Head, Kind

TINY = dataclasses.replace(
    protocols.find_protocol("quick-v1"), name="tiny", epochs=2, batch_size=8, input_size=32, output_stride=8,
    backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
)  # fmt: skip
SGD = dataclasses.replace(TINY, optimiser="sgd", momentum=0.9, schedule="step", step_epochs=1)
PROTOCOLS: dict[str, tuple[Protocol, Head]] = {
    "one-cycle adamw": (TINY, "two-logit"),
    "step sgd": (SGD, "two-logit"),
    "best accuracy": (dataclasses.replace(TINY, selection="validation-accuracy"), "two-logit"),
    "best auroc": (dataclasses.replace(SGD, selection="validation-auroc"), "two-logit"),
    "dropout": (dataclasses.replace(TINY, backbone_args={**TINY.backbone_args, "drop_rate": 0.3}), "two-logit"),
    "one logit": (TINY, "one-logit"),
    "bf16": (dataclasses.replace(TINY, precision="bf16", channels="task"), "two-logit"),
}
FOUND = plugins.methods().found
#: 20 rows in batches of 8, 8 and 4, two epochs.
STEPS = 6
Stored = tuple[str, bytes]


def split(count: int, seed: int) -> SplitTensors:
    """Noise images, the first quarter of each class with a map."""
    g = np.random.default_rng(seed)
    images = g.integers(0, 256, (count, 1, 32, 32), dtype=np.uint8)
    labels = np.arange(count) % 2
    has_map = np.arange(count) % 4 < 2
    maps = g.integers(0, 256, (count, 32, 32), dtype=np.uint8)
    maps[~has_map] = 0
    return SplitTensors.from_arrays(images, labels, maps, has_map, torch.device("cpu"))


def begun(method: Method, protocol: Protocol = TINY, head: Head = "two-logit") -> Training:
    """A training before its first step."""
    streams = Streams.of("toy", "fingerprint", protocol.backbone, 0)
    model = backbones.build(protocol.backbone, protocol, 1, head, streams.weights)
    return Training(model, method, split(20, 0), split(12, 1), protocol, streams)


def steps(found: Training, count: int) -> None:
    """Some steps."""
    for _ in range(count):
        found.step()


def stored(found: Training, known: Known) -> Stored:
    """A state as files hold it."""
    content, tensors = state.state_of(found, known)
    return json.dumps(content), save(tensors)


def gone_on(make: Callable[[], Method], at: int, protocol: Protocol = TINY, head: Head = "two-logit") -> Training:
    """A training that was stopped after so many steps, and went on in a new one, to its end."""
    first = begun(make(), protocol, head)
    known = state.known_to(first)
    steps(first, at)
    content, tensors = stored(first, known)
    steps(first, 1 if at < STEPS else 0)  # what the first does then must not reach the second
    for draw in (random.random, np.random.random, partial(torch.rand, 1)):
        draw()
    second = begun(make(), protocol, head)
    state.restore_training(second, state.known_to(second), json.loads(content), load(tensors))
    steps(second, STEPS - at)
    return second


def outcome(found: Training) -> tuple[Any, ...]:
    """All that a run keeps of a training, and every stream: to the last bit."""
    assert found.has_ended
    found.select()
    tensors = {name: tensor.contiguous().numpy().tobytes() for name, tensor in found.model.net.state_dict().items()}
    streams = {name: read().numpy().tobytes() for name, (read, _) in state.stream_states(found).items()}
    history = found.history
    return tensors, streams, history.epochs, history.selected_epoch, history.notices, random.random(), np.random.rand()


def through(make: Callable[[], Method], protocol: Protocol = TINY, head: Head = "two-logit") -> tuple[Any, ...]:
    """The outcome of a training without a stop, its global streams seeded as the caller has seeded them."""
    found = begun(make(), protocol, head)
    steps(found, STEPS)
    return outcome(found)


def same(make: Callable[[], Method], stops: Iterable[int], protocol: Protocol = TINY, head: Head = "two-logit") -> None:
    """Require that a stop after so many steps changes nothing."""
    seed()
    whole = through(make, protocol, head)
    for at in stops:
        seed()
        assert outcome(gone_on(make, at, protocol, head)) == whole, f"stopped after step {at}"


def seed() -> None:
    """Begin the streams that no run owns."""
    random.seed(0)
    np.random.seed(0)


@pytest.mark.parametrize("setting", PROTOCOLS)
@pytest.mark.parametrize("name", sorted(FOUND))
def test_a_training_that_was_stopped_ends_in_the_same_bits(name: str, setting: str) -> None:
    """After the first step, within an epoch, at its end, at the last step, and anywhere."""
    protocol, head = PROTOCOLS[setting]
    anywhere = random.Random(f"{name} {setting}").randint(1, STEPS)
    stops = {anywhere, 1, 3, STEPS - 1, STEPS} if name == "cyborg-shuffled" else {anywhere}
    same(FOUND[name], sorted(stops), protocol, head)


def test_a_training_can_be_stopped_again_and_again() -> None:
    found = begun(FOUND["cyborg-shuffled"]())
    known = state.known_to(found)
    for _ in range(STEPS):
        content, tensors = stored(found, known)
        found = begun(FOUND["cyborg-shuffled"]())
        known = state.known_to(found)
        state.restore_training(found, known, json.loads(content), load(tensors))
        found.step()
    seed()
    once = outcome(found)
    seed()
    assert once == through(FOUND["cyborg-shuffled"])


@dataclass
class Keeping(Method):
    """Keeps things of every kind that may be kept, and lets all of them into its loss."""

    name: ClassVar[str] = "keeping"
    kind: ClassVar[Kind] = "unguided"

    def setup(self, train: TrainingSplit) -> None:
        self.train = train
        self.labels = train.labels
        self.generator = train.generator
        self.numbers = np.random.default_rng(5)
        self.python = random.Random(5)
        self.ema = torch.zeros(2)
        self.alias = {"again": self.ema, "view of it": self.ema[:1]}
        self.layer = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
        self.seen = deque([0.0], maxlen=3)
        self.nested: dict[Any, Any] = {"counts": [0, 0], ("a", 1): {1, 2}, "function": abs}
        self.array = np.zeros(3)
        self.dates = Dates()

    def loss(self, batch: Batch, out: Outputs) -> dict[str, Tensor]:
        mean = out.logits.detach().mean(0)
        self.ema.data.mul_(0.5).add_(mean)
        self.late = mean if not hasattr(self, "late") else 0.5 * self.late + mean
        self.twice = [self.late, self.late]
        self.twice[0] += 1  # in place: the other is the same
        self.memory = getattr(self, "memory", {}) | {int(row): (float(mean[0]), None) for row in batch.rows}
        self.seen.append(float(mean[1]))
        self.nested["counts"][0] += 1
        self.nested["last"] = float("inf")
        self.array[self.nested["counts"][0] % 3] += 0.25
        self.wide = out.features.detach()[:1].to(memory_format=torch.channels_last) * 1
        self.stream = getattr(self, "stream", None) or torch.Generator().manual_seed(3)
        self.dates.steps += 1
        self.weight = out.weight
        self.place, self.type = out.logits.device, out.logits.dtype
        noise = self.numbers.random() + self.python.random() + random.random() + np.random.random()
        drawn = torch.rand(1, generator=self.generator) + torch.rand(1, generator=self.stream) + torch.rand(1)
        kept = self.ema.sum() + self.alias["view of it"].sum() + self.alias["again"].sum() + self.late.sum()
        kept = kept + sum(self.seen) + sum(one[0] for one in self.memory.values()) + self.array.sum() + self.dates.steps
        loss = out.cross_entropy * (1 + 0.01 * (kept + noise + drawn).sin().sum())
        self.train.notices.append(f"step {self.dates.steps}")
        return {"loss": loss + 0.01 * self.layer(out.logits).square().mean(), "late": self.late.sum()}


class Dates:
    """A plain object."""

    def __init__(self) -> None:
        self.steps = 0
        self.itself = self


def test_what_a_method_keeps_goes_on_with_it() -> None:
    """Tensors changed in place or made anew, shared ones, modules, streams, containers, objects of its own."""
    same(Keeping, (1, 3, 4, STEPS))
    found = gone_on(Keeping, 4)
    method = found.method
    assert isinstance(method, Keeping)
    assert method.alias["again"] is method.ema
    assert method.twice[0] is method.twice[1]
    assert method.train is found.split
    assert method.dates.itself is method.dates
    assert method.wide.is_contiguous(memory_format=torch.channels_last)
    assert method.seen.maxlen == 3


class Odd:
    """Made after setup, of a class that nothing in a file may name."""


UNSTORABLE: dict[str, tuple[Callable[[Outputs], object], str]] = {
    "an object made later": (lambda out: Odd(), "self.kept, of type Odd, made after setup"),
    "an iterator": (lambda out: iter([1]), "self.kept, of type list_iterator"),
    "a function": (lambda out: lambda: out, "self.kept, of type function, made after setup"),
    "a graph": (lambda out: [out.cross_entropy], r"self.kept\[0\], a tensor with the graph"),
    "a view of another's": (lambda out: out.weight.detach(), "shares its memory with another"),
    "bytes": (lambda out: b"1", "self.kept, of type bytes"),
    "a sparse tensor": (lambda out: torch.eye(2).to_sparse(), "self.kept, of type Tensor"),
    "too deep": (lambda out: nested(100_000), "recursion"),
}


def nested(depth: int) -> list[Any]:
    """Lists in lists."""
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


@pytest.mark.parametrize("name", UNSTORABLE)
def test_what_cannot_be_kept_is_said(name: str) -> None:
    """Half a state would go on with other numbers, and nobody would know."""
    make, message = UNSTORABLE[name]

    class Strange(Keeping):
        def loss(self, batch: Batch, out: Outputs) -> dict[str, Tensor]:
            self.kept = make(out)
            return {"loss": out.cross_entropy}

    found = begun(Strange())
    known = state.known_to(found)
    state.state_of(found, known)
    found.step()
    with pytest.raises((UnstorableError, RecursionError), match=message):
        state.state_of(found, known)


def changed(content: dict[str, Any], tensors: dict[str, Tensor], how: str) -> None:
    """Change a state as nobody's program would."""
    name = next(name for name in tensors if name.startswith(state.NETWORK) and tensors[name].dim() == 4)
    if how == "a tensor is gone":
        del tensors[name]
    elif how == "another shape":
        tensors[name] = tensors[name][:1]
    elif how == "another type":
        tensors[name] = tensors[name].double()
    elif how == "a tensor too many":
        tensors[f"{state.NETWORK}more"] = torch.zeros(1)
    elif how == "no stream":
        del tensors[f"{state.STREAM}geometry"]
    elif how == "a broken stream":
        tensors[f"{state.STREAM}torch"] = torch.zeros(3, dtype=torch.uint8)
    elif how == "an epoch beyond the last":
        content["epoch"] = 99
    elif how == "a step beyond the last":
        content["done"] = 3
    elif how == "no history":
        content["epochs"]["of"] = []
    elif how == "another optimiser":
        content["optimiser"]["of"][1][1]["of"][0]["of"].pop()
    elif how == "a class by name":
        content["method"]["of"]["ema"] = {"is": "os.system", "known": None, "of": []}
    elif how == "a thing in place of another":
        content["method"]["of"]["seen"]["is"] = "list"
    elif how == "nothing":
        content.clear()
    else:
        assert how == "no numbers"
        content["python"] = 5


@pytest.mark.parametrize(
    "how",
    ["a tensor is gone", "another shape", "another type", "a tensor too many", "no stream", "a broken stream",
     "an epoch beyond the last", "a step beyond the last", "no history", "another optimiser", "a class by name",
     "a thing in place of another", "nothing", "no numbers"],
)  # fmt: skip
def test_a_state_that_does_not_fit_is_refused(how: str) -> None:
    first = begun(Keeping())
    known = state.known_to(first)
    steps(first, 4)
    content, tensors = stored(first, known)
    said, found = json.loads(content), load(tensors)
    changed(said, found, how)
    second = begun(Keeping())
    with pytest.raises(UnusableError):
        state.restore_training(second, state.known_to(second), said, found)


def test_training_takes_up_time_where_it_stopped() -> None:
    """``fit`` adds the seconds of its parts, and a training that has ended is only selected from."""
    streams = Streams.of("toy", "fingerprint", TINY.backbone, 0)
    protocol = dataclasses.replace(TINY, selection="validation-accuracy")
    kept: list[Stored] = []
    known: list[Known] = []

    def model() -> backbones.CamNet:
        return backbones.build(TINY.backbone, protocol, 1, "two-logit", streams.weights)

    def fitted(go_on: Callable[[Training], None], after: Callable[[Training, bool], None]) -> Any:
        net = model()
        found = training.fit(
            net, FOUND["cyborg"](), split(20, 0), split(12, 1), protocol, streams, go_on=go_on, after_step=after
        )
        return found, {name: tensor.clone() for name, tensor in net.net.state_dict().items()}

    def keep(one: Training, ended: bool) -> None:
        one.history.train_seconds += 0
        kept[:] = [stored(one, known[0])]

    first, weights = fitted(lambda one: known.append(state.known_to(one)), keep)

    def go_on(one: Training) -> None:
        state.restore_training(one, state.known_to(one), json.loads(kept[0][0]), load(kept[0][1]))
        one.history.train_seconds = 1000.0

    def never(one: Training, ended: bool) -> None:
        raise AssertionError("trained again")

    second, again = fitted(go_on, never)
    assert second.train_seconds == 1000.0
    assert second.epochs == first.epochs
    assert all(torch.equal(weights[name], again[name]) for name in weights)
