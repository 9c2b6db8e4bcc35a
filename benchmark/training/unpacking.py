"""What :mod:`divsal_bench.training.packing` wrote, put into a new start of the same training; it may be anybody's."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from divsal_bench.training.known import (
    CONSTANTS,
    DTYPES,
    FIXED,
    SEQUENCES,
    TABLES,
    Known,
    UnusableError,
    attributes,
    stream_of,
)


class Unpacker:
    """Reads what one :class:`~divsal_bench.training.packing.Packer` wrote.

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
        expected: Any = {**SEQUENCES, **TABLES}.get(kind, ())
        if isinstance(value, expected) and kind in SEQUENCES:
            items = [self.unpack(one) for one in content["of"]]
            value.clear()
            (value.update if kind == "set" else value.extend)(items)
        elif isinstance(value, expected):
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
