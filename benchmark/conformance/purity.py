"""What a method must leave alone: other randomness than its own, what it is handed, and the file system."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from divsal_bench.conformance import smoke, specimens
from divsal_bench.conformance.checks import BreachError
from divsal_bench.conformance.losses import losses_of
from divsal_bench.conformance.specimens import ORDINARY
from divsal_bench.contracts.method import Batch, Method, Outputs, TrainingSplit

if TYPE_CHECKING:
    from torch import Tensor

#: Audit events of the interpreter that reach outside the process, to what they do.
OUTSIDE = {"open": "opens", "socket.connect": "connects to", "subprocess.Popen": "starts", "os.system": "starts"}
#: What importing opens.
CODE = {".py", ".pyc", ".so", ".pyd", ".dll", ".dylib", ".pth"}


def repeatable(method: type[Method]) -> str:
    """The same inputs and generators give the same loss, and no global random state is used."""
    found: list[dict[str, float]] = []
    for seed in (1, 2):
        with global_seeds(seed):
            before = global_states()
            built = method()
            losses = losses_of(built, *specimens.one_pass(built, ORDINARY))
            found.append({name: float(value.detach()) for name, value in losses.items()})
            after = global_states()
        touched = [name for name in before if before[name] != after[name]]
        if touched:
            raise BreachError(
                f"the global random state of {', '.join(touched)} is used; draw from batch.generator, in setup from "
                "train.generator"
            )
    for name, value in found[0].items():
        if found[1].get(name) != value:
            raise BreachError(
                f"the same batch gave {name} {value:.9g} and {found[1].get(name, float('nan')):.9g}; the only "
                "randomness may be batch.generator and train.generator"
            )
    return ""


@contextlib.contextmanager
def global_seeds(seed: int) -> Iterator[None]:
    """Seed every global generator, and put back what was there."""
    import numpy as np
    import torch

    plain, arrays = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(arrays)


def global_states() -> dict[str, Any]:
    """The state of each global generator, to compare."""
    import numpy as np
    import torch

    arrays: Any = np.random.get_state()
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": (arrays[1].tobytes(), *arrays[2:]),
        "random": random.getstate(),
    }


def in_place(method: type[Method]) -> str:
    """Nothing that a method is handed is changed in place."""
    built = method()
    split = specimens.train_split()
    train = specimens.handed(split)
    kept = tensors(train)
    built.setup(train)
    refuse_changes(kept, train, "setup", "the training split's")
    batch = specimens.batch_of(split, ORDINARY, train.donors)
    kept = tensors(batch)
    changed = specimens.transformed(built, batch)
    refuse_changes(kept, batch, "transform", "the batch's")
    out = specimens.outputs_for(changed, ORDINARY)
    kept_batch, kept_out = tensors(changed), tensors(out)
    losses_of(built, changed, out)
    refuse_changes(kept_batch, changed, "loss", "the batch's")
    refuse_changes(kept_out, out, "loss", "the outputs'")
    found: list[str] = []
    spy = with_guarded_hooks(method, found)
    with smoke.workplace() as folder, smoke.registered(specimens.TASK), smoke.registered(spy):
        smoke.short_run(specimens.TASK.name, spy, specimens.PROTOCOL, folder / "runs")
    if found:
        raise BreachError(found[0])
    return ""


def with_guarded_hooks(method: type[Method], found: list[str]) -> type[Method]:
    """The method, with a look at each of its hooks in each step of a run: what they change in place is noted."""

    def setup(self: Method, train: TrainingSplit) -> None:
        kept = tensors(train)
        method.setup(self, train)
        note(kept, train, "setup", "the training split's")

    def transform(self: Method, batch: Batch) -> Batch:
        kept = tensors(batch)
        changed = method.transform(self, batch)
        note(kept, batch, "transform", "the batch's")
        return changed

    def loss(self: Method, batch: Batch, out: Outputs) -> dict[str, Tensor]:
        kept_batch, kept_out = tensors(batch), tensors(out)
        losses = method.loss(self, batch, out)
        note(kept_batch, batch, "loss", "the batch's")
        note(kept_out, out, "loss", "the outputs'")
        return losses

    def note(kept: dict[str, Tensor], thing: Any, hook: str, whose: str) -> None:
        try:
            refuse_changes(kept, thing, hook, whose)
        except BreachError as breach:
            found.append(str(breach))

    return cast(type[Method], type(method.__name__, (method,), {"setup": setup, "transform": transform, "loss": loss}))


def tensors(thing: Any) -> dict[str, Tensor]:
    """Copies of a dataclass's tensors."""
    import torch

    values = {field.name: getattr(thing, field.name) for field in dataclasses.fields(thing)}
    return {name: value.detach().clone() for name, value in values.items() if isinstance(value, torch.Tensor)}


def refuse_changes(kept: dict[str, Tensor], thing: Any, hook: str, whose: str) -> None:
    """BreachError where a tensor no longer equals its copy."""
    import torch

    for name, value in kept.items():
        if not torch.equal(getattr(thing, name), value):
            raise BreachError(
                f"{hook} changes {whose} {name} in place; work on a copy, and hand a changed batch on with "
                "dataclasses.replace(batch, …)"
            )


def no_files(method: type[Method]) -> str:
    """No hook opens a file, a connection or a process: a method sees what it is handed and nothing else."""
    specimens.network(ORDINARY.head)
    split = specimens.train_split()
    with noted_events() as seen:
        built = method()
        losses_of(built, *specimens.one_pass(built, ORDINARY, split))
    if seen:
        raise BreachError(f"a hook {seen[0]}; a method may use only what setup, transform and loss are handed")
    return ""


#: Lists that :func:`note_event` writes to, as long as somebody watches.
WATCHERS: list[list[str]] = []


def note_event(event: str, arguments: tuple[Any, ...]) -> None:
    """Note what reaches outside the process, unless it is an import."""
    if WATCHERS and event in OUTSIDE:
        what = arguments[1] if event == "socket.connect" else arguments[0]
        if not (event == "open" and (isinstance(what, int) or is_code(Path(os.fsdecode(what))))):
            for noted in WATCHERS:
                noted.append(f"{OUTSIDE[event]} {what}")


def is_code(file: Path) -> bool:
    """Whether importing may open a file: code, or what an installed package brings along."""
    installed = {"site-packages", "dist-packages", "__pycache__"} & set(file.parts)
    return bool(installed) or file.suffix in CODE or any(map(file.is_relative_to, (sys.prefix, sys.base_prefix)))


@functools.cache
def listen() -> None:
    """Add the audit hook, once: Python has no way to take one away."""
    sys.addaudithook(note_event)


@contextlib.contextmanager
def noted_events() -> Iterator[list[str]]:
    """Note what this process reaches for outside itself."""
    listen()
    noted: list[str] = []
    WATCHERS.append(noted)
    try:
        yield noted
    finally:
        WATCHERS.remove(noted)
