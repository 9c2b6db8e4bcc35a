"""Rows of stored arrays, read when they are asked for: few at a time, and ahead of the network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Union

import numpy as np
import numpy.typing as npt

from divsal_bench.processes.threads import ahead

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: Chunks that are read while one is in the network.
AHEAD = 2


class ArrayFace(Protocol):
    """What has the face of an array, (N, …): a NumPy array, a memory map, or rows that are read from a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """As an array's."""

    def __len__(self) -> int:
        """N."""

    def __getitem__(self, which: Any, /) -> np.ndarray:
        """The rows of a slice or of an array of row numbers."""


#: Images (N, C, S, S) uint8, in memory or stored.
Images = Union["Tensor", ArrayFace]


@dataclass(frozen=True, eq=False)
class ChosenRows:
    """Some rows of a stored array; itself with the face of an array.

    Attributes:
        array: Of all rows.
        rows: Which of them, in this order, (N,).
    """

    array: ArrayFace
    rows: npt.NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what would be read."""
        return (len(self.rows), *self.array.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: Any) -> np.ndarray:
        """Read some of the rows."""
        return self.array[self.part(which).rows]

    def part(self, which: Any) -> ChosenRows:
        """Some of the rows, not read yet: a slice, positions or a mask."""
        return ChosenRows(self.array, self.rows[which if isinstance(which, slice) else np.asarray(which)])


def as_tensor(array: np.ndarray) -> Tensor:
    """Rows that were read, as a tensor; copied only where they are read-only, as a memory map's may be."""
    import torch

    return torch.from_numpy(np.require(array, requirements=("C", "W")))


def chunks(images: Images, size: int, device: torch.device) -> Iterator[Tensor]:
    """Images in order and on a device, ``size`` at a time; reading and the transfer run ahead by :data:`AHEAD` chunks.

    No images are one empty chunk.
    """
    import torch

    def read(start: int) -> Tensor:
        part = images[start : start + size]
        if not isinstance(part, torch.Tensor):
            part = as_tensor(part)
        if device.type == "cuda" and part.device.type == "cpu":
            return part.pin_memory().to(device, non_blocking=True)
        return part.to(device)

    starts = range(0, max(1, len(images)), size)
    return map(read, starts) if len(starts) == 1 else ahead(read, starts, AHEAD)
