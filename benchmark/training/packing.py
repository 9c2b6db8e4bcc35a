"""Values of a running training as JSON and tensors, and back into what a new start of the same training made.

What is written names no class: a value is made anew only if it is of a kind that is known here; any other object must
have been there before the first step, and is filled again in place. Who shares an object still shares it afterwards.
"""

from __future__ import annotations

import math
import random
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
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


class Packer:
    """Writes values; all that one packer wrote is read by one :class:`Unpacker`.

    Attributes:
        tensors: By name, on the CPU and dense.
    """

    def __init__(self, known: Known) -> None:
        self.known = known
        self.tensors: dict[str, Tensor] = {}
        self.seen: dict[int, int] = {}
        self.alive: list[object] = []  # what is seen must not be freed, or another may get its id
        self.made: list[Tensor] = []
        self.memory: set[int] = set()

    def pack(self, value: object, place: str) -> Any:
        """One value as JSON.

        Args:
            place: How people find it, for the message.

        Raises:
            UnstorableError: It, or something in it, cannot be restored.
        """
        kind = type(value)
        if kind in PLAIN:
            return value
        if kind is float:
            return value if math.isfinite(value) else {"is": "float", "text": repr(value)}  # type: ignore[arg-type]
        for name, known in FIXED.items():
            if kind is known:
                return {"is": name, "of": self.items(value, place)}  # type: ignore[arg-type]
        if isinstance(value, torch.dtype | torch.device):
            return {"is": "dtype", "name": str(value)} if isinstance(value, torch.dtype) else place_of(value)
        if id(value) in self.known.names:
            return {"is": "named", "name": self.known.names[id(value)]}
        if id(value) in self.seen:
            return {"is": "seen", "number": self.seen[id(value)]}
        self.seen[id(value)] = len(self.alive)
        self.alive.append(value)
        number = self.known.numbers.get(id(value))
        return {"known": number, **self.content(value, number is not None, place)}

    def content(self, value: Any, is_known: bool, place: str) -> dict[str, Any]:
        """What an object holds."""
        kind = type(value)
        for name, known in SEQUENCES.items():
            if kind is known:
                more = {"most": value.maxlen} if kind is deque else {}
                return {"is": name, "of": self.items(value, place), **more}
        for name, known in TABLES.items():
            if kind is known or (kind is defaultdict and known is dict and is_known):
                pairs = [[self.pack(key, place), self.pack(one, f"{place}[{key!r}]")] for key, one in value.items()]
                return {"is": name, "of": pairs}
        if isinstance(value, Tensor):
            return {"is": "tensor", **self.tensor(value, is_known, place)}
        if kind is torch.Generator:
            return {"is": "generator", "on": value.device.type, "state": self.keep(value.get_state())}
        if kind is np.ndarray and value.dtype.kind in "biuf" and (is_known or value.flags.owndata):
            return {"is": "array", "type": value.dtype.str, "shape": list(value.shape), "bytes": self.bytes_of(value)}
        if isinstance(value, np.generic) and value.dtype.kind in "biuf":
            return {"is": "scalar", "type": value.dtype.str, "bytes": self.bytes_of(np.asarray(value))}
        if is_known:
            drawn = stream_of(value)
            if drawn is not None:
                return {"is": "stream", "of": self.pack(drawn[0](), place)}
            if isinstance(value, CONSTANTS) and not getattr(value, "__closure__", None):
                return {"is": "constant"}
            found = attributes(value)
            if found is not None:
                own = {name: self.pack(one, f"{place}.{name}") for name, one in found.items()}
                return {"is": "object", "of": own}
        raise UnstorableError(f"{place}, of type {kind.__name__}" + ("" if is_known else ", made after setup"))

    def items(self, values: Iterable[object], place: str) -> list[Any]:
        """The values of a sequence."""
        return [self.pack(one, f"{place}[{number}]") for number, one in enumerate(values)]

    def tensor(self, value: Tensor, is_known: bool, place: str) -> dict[str, Any]:
        """A tensor's content, and what it is beside that."""
        if type(value) not in (Tensor, torch.nn.Parameter) or value.layout != torch.strided:
            raise UnstorableError(f"{place}, of type {type(value).__name__}")
        if str(value.dtype) not in DTYPES or value.grad_fn is not None:
            why = "with the graph that it was computed by" if value.grad_fn is not None else f"of {value.dtype}"
            raise UnstorableError(f"{place}, a tensor {why}")
        if is_known and self.known.shapes[id(value)] != form_of_tensor(value):
            raise UnstorableError(f"{place}, a tensor that has changed its shape")
        if is_known and any(size > 1 and not step for size, step in zip(value.shape, value.stride(), strict=True)):
            raise UnstorableError(f"{place}, an expanded tensor")
        if not is_known:
            self.made.append(value)
        return {
            "data": self.keep(value.detach()),
            "order": stride_order(value),
            "on": value.device.type,
            "needs_grad": value.requires_grad,
            "parameter": type(value) is torch.nn.Parameter,
            "grad": self.pack(value.grad, f"{place}.grad"),
        }

    def keep(self, tensor: Tensor) -> str:
        """Put a tensor among those to be written; its name there."""
        name = str(len(self.tensors))
        dense = tensor.permute(stride_order(tensor)).cpu().contiguous()  # without a copy where it is dense
        memory = dense.untyped_storage().data_ptr()
        self.tensors[name] = dense.clone() if memory in self.memory else dense  # the file takes each memory once
        self.memory.add(memory)
        return name

    def bytes_of(self, array: np.ndarray) -> str:
        """An array's bytes, as a tensor."""
        return self.keep(torch.frombuffer(bytearray(array.tobytes()), dtype=torch.uint8)) if array.size else ""

    def check_shared(self) -> None:
        """Refuse tensors made after setup that lie in the memory of others: restored, they would lie apart.

        Raises:
            UnstorableError: There is one.
        """
        others = [one for one in (*self.known.named.values(), *self.alive) if isinstance(one, Tensor)]
        owners: dict[tuple[str, int], set[int]] = {}
        for one in others:
            if one.layout == torch.strided and one.numel():
                owners.setdefault((str(one.device), one.untyped_storage().data_ptr()), set()).add(id(one))
        for one in self.made:
            if one.numel() and len(owners[(str(one.device), one.untyped_storage().data_ptr())]) > 1:
                raise UnstorableError("a tensor, made after setup, that shares its memory with another")


class Unpacker:
    """Reads what a :class:`Packer` wrote.

    Args:
        tensors: By name.
        device: Where tensors go that were not on the CPU.
    """

    def __init__(self, known: Known, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        self.known, self.tensors, self.device = known, tensors, device
        self.read: list[object] = []

    def unpack(self, content: Any) -> Any:
        """One value.

        Raises:
            UnusableError, LookupError, TypeError, ValueError, AttributeError, RuntimeError: It does not fit.
        """
        if not isinstance(content, dict):
            return content
        kind = content["is"]
        if kind == "float":
            return float(content["text"])
        if kind in FIXED:
            return FIXED[kind](map(self.unpack, content["of"]))
        if kind == "dtype":
            return DTYPES[content["name"]]
        if kind == "device":
            return self.place(content)
        if kind == "named":
            return self.known.named[content["name"]]
        if kind == "seen":
            return self.read[content["number"]]
        value = self.made(kind, content) if content["known"] is None else self.known.objects[content["known"]]
        self.read.append(value)  # before what it holds: that may hold it, too
        self.fill(kind, value, content)
        return value

    def made(self, kind: str, content: dict[str, Any]) -> object:
        """A new object of one of the known kinds."""
        if kind == "deque":
            return deque(maxlen=content["most"])
        if kind in SEQUENCES or kind in TABLES:
            return {**SEQUENCES, **TABLES}[kind]()
        if kind == "generator":
            return torch.Generator(self.place(content))
        if kind == "tensor":
            data = self.tensor(content).to(self.place(content))
            if content["parameter"]:
                return torch.nn.Parameter(data, requires_grad=content["needs_grad"])
            return data.requires_grad_(content["needs_grad"])
        if kind in ("array", "scalar"):
            dtype = np.dtype(str(content["type"]))
            if dtype.kind not in "biuf":
                raise UnusableError(f"has an array of {dtype}")
            raw = self.tensors[content["bytes"]].numpy().tobytes() if content["bytes"] else b""
            if kind == "scalar":
                return np.frombuffer(raw, dtype)[0]
            return np.frombuffer(raw, dtype).reshape(content["shape"]).copy()
        raise UnusableError(f"has a {kind} that is not there")

    def fill(self, kind: str, value: Any, content: dict[str, Any]) -> None:
        """Give an object what it held."""
        if kind in SEQUENCES and isinstance(value, SEQUENCES[kind]):
            found = [self.unpack(one) for one in content["of"]]
            value.clear()
            (value.update if kind == "set" else value.extend)(found)  # type: ignore[attr-defined]
        elif kind in TABLES and isinstance(value, TABLES[kind]):
            pairs = [(self.unpack(key), self.unpack(one)) for key, one in content["of"]]
            value.clear()
            for key, one in pairs:
                value[key] = one
        elif kind == "tensor" and isinstance(value, Tensor):
            self.fill_tensor(value, content)
        elif kind == "generator" and type(value) is torch.Generator:
            value.set_state(self.tensors[content["state"]])
        elif kind == "array" and type(value) is np.ndarray and content["known"] is not None:
            value[...] = self.made(kind, content)
        elif kind == "stream" and (drawn := stream_of(value)) is not None:
            drawn[1](self.unpack(content["of"]))
        elif kind == "object" and (own := attributes(value)) is not None:
            found = {name: self.unpack(one) for name, one in content["of"].items()}
            own.clear()
            own.update(found)
        elif not (kind in ("array", "scalar") or (kind == "constant" and isinstance(value, CONSTANTS))):
            raise UnusableError(f"has a {kind} where there is a {type(value).__name__}")

    def fill_tensor(self, value: Tensor, content: dict[str, Any]) -> None:
        """Write a tensor's content into the one that is there."""
        if content["known"] is not None:
            data = self.tensor(content)
            if (tuple(data.shape), data.dtype) != (tuple(value.shape), value.dtype):
                raise UnusableError(f"has {tuple(data.shape)} where there is {tuple(value.shape)}")
            with torch.no_grad():
                value.copy_(data)
            value.requires_grad_(content["needs_grad"])
        value.grad = self.unpack(content["grad"])

    def tensor(self, content: dict[str, Any]) -> Tensor:
        """A new tensor, its strides ordered as they were."""
        order = [int(axis) for axis in content["order"]]
        data = self.tensors[content["data"]]
        if sorted(order) != list(range(data.dim())):
            raise UnusableError("has a tensor without an order of axes")
        return data.clone().permute([order.index(axis) for axis in range(len(order))])

    def place(self, content: dict[str, Any]) -> torch.device:
        """The CPU, or the run's device."""
        return torch.device("cpu") if content["on"] == "cpu" else self.device


def place_of(device: torch.device) -> dict[str, str]:
    """A device, as that of this run wherever that is."""
    return {"is": "device", "on": device.type}


def stride_order(tensor: Tensor) -> list[int]:
    """The axes, the one that varies slowest first: in this order a dense tensor is contiguous."""
    return sorted(range(tensor.dim()), key=lambda axis: (-tensor.stride(axis), axis))


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


def tensors_of(values: Mapping[str, Tensor], prefix: str) -> Iterator[tuple[str, Tensor]]:
    """Named tensors as they are written, under a common beginning of their names."""
    for name, tensor in values.items():
        yield prefix + name, tensor.detach().cpu().contiguous()
