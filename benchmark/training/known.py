"""What a new start of the same training makes again, so that a state can be written without it and put into it."""

from __future__ import annotations

import random
import types
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: What JSON has itself.
PLAIN = (type(None), bool, int, str)
#: Kinds that are made anew, by name: those that never change, and those that are filled in place.
FIXED: Mapping[str, type] = {"tuple": tuple, "frozenset": frozenset, "size": torch.Size}
SEQUENCES: Mapping[str, type] = {"list": list, "set": set, "deque": deque}
TABLES: Mapping[str, type] = {"dict": dict, "ordered": OrderedDict, "counter": Counter}
DTYPES = {
    str(dtype): dtype
    for dtype in (
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
        torch.uint8, torch.bool,
    )
}  # fmt: skip
#: What has no state of its own.
CONSTANTS = (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType, Enum)


class UnstorableError(Exception):
    """A value cannot be written; the text says which, as ``… keeps`` goes on."""


class UnusableError(ValueError):
    """What was written does not fit what is there; the text goes on after ``it``."""


class Known:
    """Objects that a new start of the same training makes again, in the same order.

    Args:
        root: Everything that can be reached from it and may change is known by number.
        named: What is known by name and is the engine's to restore; it is not looked into.
    """

    def __init__(self, root: object, named: Mapping[str, object]) -> None:
        self.named = dict(named)
        self.names = {id(value): name for name, value in reversed(self.named.items())}
        self.objects: list[object] = []
        self.numbers: dict[int, int] = {}
        self.shapes: dict[int, tuple[Any, ...]] = {}
        waiting: list[object] = [root]
        while waiting:
            value = waiting.pop()
            if type(value) not in FIXED.values():
                if type(value) in (*PLAIN, float) or id(value) in self.names or id(value) in self.numbers:
                    continue
                self.numbers[id(value)] = len(self.objects)
                self.objects.append(value)
                if isinstance(value, Tensor):
                    self.shapes[id(value)] = form_of_tensor(value)
            waiting += reversed(list(held(value)))


def held(value: object) -> Iterable[object]:
    """The values in a value, in an order that does not change."""
    kind = type(value)
    if kind in (*FIXED.values(), list, deque):
        return value  # type: ignore[return-value]
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, Tensor):
        return () if value.grad is None else (value.grad,)
    content = attributes(value)
    return () if content is None else content.values()


def attributes(value: object) -> dict[str, Any] | None:
    """The attributes of an object that consists of nothing else; None for any other."""
    kind = type(value)
    own_ways = (
        kind.__reduce_ex__ is not object.__reduce_ex__
        or kind.__reduce__ is not object.__reduce__
        or kind.__getstate__ not in (object.__getstate__, torch.nn.Module.__getstate__)  # type: ignore[attr-defined]
    )
    if own_ways or isinstance(value, CONSTANTS):
        return None
    try:
        parts = value.__reduce_ex__(2)
    except Exception:  # of C, with what only it knows
        return None
    plain = isinstance(parts, tuple) and parts[1] == (kind,) and not any(parts[3:])
    # Where there are slots, what is handed out is a pair.
    return vars(value) if plain and hasattr(value, "__dict__") and not isinstance(parts[2], tuple) else None


def form_of_tensor(tensor: Tensor) -> tuple[Any, ...]:
    """What stays the same of a tensor that is changed in place."""
    return tuple(tensor.shape), tensor.dtype, tensor.device.type


def stream_of(value: Any) -> tuple[Callable[[], Any], Callable[[Any], None]] | None:
    """How to read and to set the state of one of Python's or numpy's random streams; None for anything else."""
    if type(value) is random.Random:
        return value.getstate, value.setstate
    if type(value) is np.random.RandomState:
        return lambda: value.get_state(legacy=False), value.set_state
    if type(value) is np.random.Generator:
        bits = value.bit_generator
        return lambda: bits.state, lambda state: setattr(bits, "state", state)
    return None
