"""Values of a running training as JSON and tensors.

What is written names no class: a value can be written if it is of a kind that is known here, any other object only if
it was there before the first step, and then it is filled again in place. Who shares an object still shares it
afterwards.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from divsal_bench.training.known import (
    CONSTANTS,
    DTYPES,
    FIXED,
    PLAIN,
    SEQUENCES,
    TABLES,
    Known,
    UnstorableError,
    attributes,
    form_of_tensor,
    stream_of,
)


class Packer:
    """Writes values; all that one packer wrote is read by one :class:`~divsal_bench.training.unpacking.Unpacker`.

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


def place_of(device: torch.device) -> dict[str, str]:
    """A device, as that of this run wherever that is."""
    return {"is": "device", "on": device.type}


def stride_order(tensor: Tensor) -> list[int]:
    """The axes, the one that varies slowest first: in this order a dense tensor is contiguous."""
    return sorted(range(tensor.dim()), key=lambda axis: (-tensor.stride()[axis], axis))


def tensors_of(values: Mapping[str, Tensor], prefix: str) -> Iterator[tuple[str, Tensor]]:
    """Named tensors as they are written, under a common beginning of their names."""
    for name, tensor in values.items():
        yield prefix + name, tensor.detach().cpu().contiguous()
