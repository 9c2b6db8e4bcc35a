"""What training hands to a method, followed to its last tensor: no task name, no path, no held-out row."""

from __future__ import annotations

import dataclasses
import functools
import os
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, cast

from divsal_bench.conformance import smoke, specimens
from divsal_bench.conformance.checks import BreachError
from divsal_bench.conformance.specimens import MARK, PROTOCOL, SIDE
from divsal_bench.contracts.method import Batch, Method, Outputs, TrainingSplit
from divsal_bench.training.handed_maps import MapsByRow

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Seen:
    """What was found in the objects that hooks were handed, and how many objects were followed."""

    leaks: list[str] = field(default_factory=list)
    objects: int = 0

    def follow(self, **handed: object) -> None:
        """Look at a hook's arguments."""
        for name, thing in handed.items():
            self.leaks.extend(leaks(thing, name))
            self.objects += 1


def handed_over(method: type[Method]) -> str:
    """Train on made-up data whose held-out rows are marked, and look at everything the hooks are handed."""
    seen = Seen()
    spy = watched(method, seen)
    with smoke.workplace() as folder, smoke.registered(specimens.TASK), smoke.registered(spy):
        smoke.short_run(specimens.TASK.name, spy, PROTOCOL, folder / "runs")
    if seen.leaks:
        raise BreachError(f"a method is handed {seen.leaks[0]}; the engine may hand over training rows alone")
    return f"{seen.objects} objects followed"


def watched(method: type[Method], seen: Seen) -> type[Method]:
    """The method, with a look at what its hooks are handed before they run."""

    def setup(self: Method, train: TrainingSplit) -> None:
        seen.follow(train=train)
        method.setup(self, train)

    def transform(self: Method, batch: Batch) -> Batch:
        seen.follow(batch=batch)
        return method.transform(self, batch)

    def loss(self: Method, batch: Batch, out: Outputs) -> dict[str, Tensor]:
        seen.follow(batch=batch, out=out)
        return method.loss(self, batch, out)

    hooks = {"setup": setup, "transform": transform, "loss": loss}
    return cast(type[Method], type(method.__name__, (method,), hooks))


def leaks(thing: object, name: str) -> Iterator[str]:
    """What of ``thing`` tells the task, a place on disk or a held-out row; empty for what may be handed over."""
    import torch

    for where, value in reachable(thing, name, {}):
        if isinstance(value, PurePath):
            yield f"a path ({where})"
        elif isinstance(value, bytes | str):
            text = value.decode(errors="replace") if isinstance(value, bytes) else value
            # The task's name is in every text of the made-up data; what else has a separator is a path.
            if specimens.TASK.name in text or os.sep in text:
                yield f"the text {text!r} ({where})"
        elif isinstance(value, torch.Tensor):
            if is_marked(value):
                yield f"validation or test pixels ({where})"
            elif where.endswith(".rows") and bool((value >= specimens.TRAINED).any()):
                yield f"row numbers beyond the training split ({where})"
            elif value.ndim and len(value) > specimens.TRAINED:
                yield f"more rows than training has ({where})"


def is_marked(tensor: Tensor) -> bool:
    """Whether images or maps, (…, S, S), hold the grey level of held-out rows, raw, in [0, 1] or normalised."""
    import torch

    if tensor.shape[-2:] != (SIDE, SIDE):
        return False
    share = MARK / 255
    levels = (MARK,) if tensor.dtype == torch.uint8 else (share, (share - PROTOCOL.mean[0]) / PROTOCOL.std[0])
    return any(bool(((tensor.detach().double() - level).abs() < 1e-3).any()) for level in levels)


def reachable(thing: object, where: str, seen: dict[int, object]) -> Iterator[tuple[str, object]]:
    """Every text, path and tensor that can be reached from ``thing``, and how: attributes, items, closures.

    Args:
        seen: What has been followed, by identity; kept alive, so that no identity is used twice.
    """
    import numpy as np
    import torch

    if id(thing) in seen or isinstance(thing, type | types.ModuleType | int | float | None):
        return
    seen[id(thing)] = thing
    if isinstance(thing, str | bytes | PurePath | torch.Tensor):
        yield where, thing
        return
    if isinstance(thing, np.ndarray):
        if thing.dtype == object:
            yield from reachable(thing.tolist(), where, seen)
        else:
            yield where, torch.from_numpy(np.array(thing)) if thing.dtype.kind in "biuf" else str(thing)
        return
    if isinstance(thing, MapsByRow):  # it gives maps, and leads nowhere else
        yield f"{where}[rows]", thing[torch.arange(len(thing))]
    for name, value in parts(thing):
        yield from reachable(value, f"{where}{name}", seen)


def parts(thing: Any) -> Iterator[tuple[str, object]]:
    """What a container, a function or an object holds."""
    if isinstance(thing, dict):
        yield from ((f"[{key!r}]", part) for key, value in thing.items() for part in (key, value))
    elif isinstance(thing, list | tuple | set | frozenset):
        yield from ((f"[{index}]", value) for index, value in enumerate(thing))
    elif isinstance(thing, types.MethodType):
        yield from ((".__self__", thing.__self__), (".__func__", thing.__func__))
    elif isinstance(thing, functools.partial):
        yield from ((".func", thing.func), (".args", thing.args), (".keywords", thing.keywords))
    elif isinstance(thing, types.FunctionType):
        for name, cell in zip(thing.__code__.co_freevars, thing.__closure__ or (), strict=True):
            try:
                yield f".{name}", cell.cell_contents
            except ValueError:  # a variable that has no value yet
                continue
        yield ".__defaults__", thing.__defaults__
        yield ".__kwdefaults__", thing.__kwdefaults__
    elif callable(getattr(thing, "to_numpy", None)):  # a pandas table or column
        yield ".to_numpy()", thing.to_numpy()
    else:
        names = {*getattr(thing, "__dict__", ()), *slots(type(thing))}
        if dataclasses.is_dataclass(thing):
            names |= {field.name for field in dataclasses.fields(thing)}
        yield from ((f".{name}", getattr(thing, name, None)) for name in sorted(names))


def slots(kind: type) -> Iterator[str]:
    """Attribute names that a class keeps outside ``__dict__``."""
    for base in kind.__mro__:
        own = vars(base).get("__slots__", ())
        yield from (own,) if isinstance(own, str) else own
