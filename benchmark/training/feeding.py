"""Batches of a split as they come from it, the next ones read and sent to the device while one is trained on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from divsal_bench.processes.threads import ahead
from divsal_bench.training.splits import SplitTensors, read_into

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from divsal_bench.training.splits import Split, SplitRows

#: Batches that are read while one is trained on.
AHEAD = 2


@dataclass(frozen=True, eq=False)
class RawBatch:
    """One batch on the device, as it is stored: all fields as those of :class:`divsal_bench.contracts.method.Batch`.

    Attributes:
        images: (B, C, S, S) uint8.
        maps: (B, S, S) uint8, zeros where there is none.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor
    maps: Tensor
    has_map: Tensor


def fed(split: Split, batches: Sequence[Tensor]) -> Generator[RawBatch, None, None]:
    """Hand out batches of a split in order, without waiting for its device.

    Args:
        split: One that is in memory is gathered from, by whoever asks; another is read ahead, in threads that end with
            this generator.
        batches: Row numbers of each batch, (B,) int64 on the CPU.

    Raises:
        Exception: Whatever reading raised, as it is, in place of the batch that could not be read.
    """
    if isinstance(split, SplitTensors):
        yield from gathered(split, batches)
        return
    carrier = Carrier(split.labels.device)
    reading = ahead(lambda rows: read_batch(split, rows, carrier), batches, AHEAD + 1)
    with contextlib.closing(reading):  # type: ignore[type-var]
        for arrived in reading:
            images, maps, places, rows = arrived()
            yield RawBatch(images, split.labels[rows], rows, maps[places], split.has_map[rows])


def raw_batch(split: Split, rows: Tensor) -> RawBatch:
    """One batch, read now; ``rows`` (B,) int64 on the CPU."""
    with contextlib.closing(fed(split, [rows])) as batches:
        return next(batches)


def gathered(split: SplitTensors, batches: Sequence[Tensor]) -> Generator[RawBatch, None, None]:
    """Batches of a split that is in memory."""
    import torch

    if not batches:
        return
    # One transfer for all: a copy from memory that is not pinned waits for the device.
    order = torch.cat(list(batches)).to(split.labels.device)
    for rows in order.split([len(batch) for batch in batches]):
        # Quicker than an index, by far for bytes on the CPU.
        maps = split.maps.index_select(0, split.places[rows])
        yield RawBatch(split.images.index_select(0, rows), split.labels[rows], rows, maps, split.has_map[rows])


class Carrier:
    """Takes buffers to a device; to CUDA from pinned memory and in a stream of its own, beside what is computed."""

    def __init__(self, device: torch.device) -> None:
        import torch

        self.device = device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def at_work(self) -> contextlib.AbstractContextManager[object]:
        """Around everything that a reading thread does."""
        import torch

        return torch.cuda.stream(self.stream) if self.stream else contextlib.nullcontext()

    def buffer(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Memory to read into. PyTorch gives pinned memory out again, once what was copied from it has arrived."""
        import torch

        return torch.empty(list(shape), dtype=dtype, pin_memory=self.stream is not None)

    def send(self, *buffers: Tensor) -> Callable[[], list[Tensor]]:
        """Begin to copy; the function that is returned gives what arrives: the caller's stream waits for it, not he."""
        import torch

        sent = [buffer.to(self.device, non_blocking=self.stream is not None) for buffer in buffers]
        if self.stream is None:
            return lambda: sent
        done = self.stream.record_event()

        def arrived() -> list[Tensor]:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(done)
            for tensor in sent:
                tensor.record_stream(current)
            return sent

        return arrived


def read_batch(split: SplitRows, batch: Tensor, carrier: Carrier) -> Callable[[], list[Tensor]]:
    """Read one batch and send it off: images, the maps that there are and one of zeros, places in these, rows.

    PyTorch computes nothing here: in this thread it would do so on more processors than the run may use.
    """
    import numpy as np
    import torch

    rows = batch.numpy()
    owners = split.owners[rows]
    mapped = np.flatnonzero(owners >= 0)
    with carrier.at_work():
        images = carrier.buffer((len(rows), *split.images.shape[1:]), torch.uint8)
        maps = carrier.buffer((len(mapped) + 1, *split.maps.shape[1:]), torch.uint8)
        places, numbers = (carrier.buffer((len(rows),), torch.int64) for _ in range(2))
        read_into(split.images, split.rows[rows], images.numpy())
        read_into(split.maps, split.rows[owners[mapped]], maps.numpy()[:-1])
        maps.numpy()[-1] = 0
        places.numpy()[:] = len(mapped)
        places.numpy()[mapped] = np.arange(len(mapped))
        numbers.numpy()[:] = rows
        return carrier.send(images, maps, places, numbers)
