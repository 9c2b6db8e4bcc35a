"""The rows of one split: in the device's memory where they fit a stated share of it, read by batch otherwise."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
    from torch import Tensor

    from divsal_bench.networks.stored import ArrayFace

    Rows: TypeAlias = npt.NDArray[np.int64]
    Pixels: TypeAlias = npt.NDArray[np.uint8]

#: Of an accelerator's free memory, for training rows; the rest is the network's. Runs that share it divide this.
ACCELERATOR_SHARE = 0.25
#: Bytes of training rows that a process without an accelerator holds. More stays in the system's page cache, once for
#: all processes.
MEMORY_BYTES = 256 * 2**20
#: Bytes that are read at a time when a split is brought into memory.
CHUNK_BYTES = 32 * 2**20


@dataclass(frozen=True, eq=False)
class SplitTensors:
    """One split on one device.

    Attributes:
        images: (N, C, S, S) uint8.
        labels: (N,) int64.
        maps: (M + 1, S, S) uint8: those of the mapped rows, and one of zeros.
        has_map: (N,) bool.
        places: (N,) int64: where in ``maps`` each row's map is.
    """

    images: Tensor
    labels: Tensor
    maps: Tensor
    has_map: Tensor
    places: Tensor

    @classmethod
    def from_arrays(
        cls, images: ArrayFace, labels: np.ndarray, maps: ArrayFace, has_map: np.ndarray, device: torch.device
    ) -> SplitTensors:
        """Copy a whole split to the device, as uint8: a quarter of the memory and of the transfer."""
        import numpy as np

        return SplitRows.of(images, maps, np.arange(len(labels)), labels, has_map, device).in_memory()

    def __len__(self) -> int:
        return len(self.labels)

    def maps_of(self, rows: Tensor) -> Tensor:
        """Human maps of rows, (B, S, S) on the rows' device; waits for nothing where that is the split's."""
        found = self.maps[self.places[rows.to(self.places.device)]]
        return found.to(rows.device)

    def exchanged(self, donors: Tensor | None) -> SplitTensors:
        """The split with each row's map taken from another row, as :class:`TrainingSplit` describes it."""
        import torch

        if donors is None:
            return self
        donors = checked_donors(donors, self.has_map).to(self.places.device)
        nothing = len(self.maps) - 1
        places = torch.where(donors >= 0, self.places[donors.clamp_min(0)], nothing)
        return dataclasses.replace(self, places=places, has_map=donors >= 0)


@dataclass(frozen=True, eq=False)
class SplitRows:
    """One split that is read from its source, batch by batch.

    Attributes:
        images: All images of the source, (A, C, S, S).
        maps: All human maps of the source, (A, S, S); only those of mapped rows are read.
        rows: (N,): the split's rows in the source.
        labels: (N,) int64, on the device.
        has_map: (N,) bool, on the device.
        owners: (N,): row of the split whose map each row has, itself where nothing was exchanged; −1 for none.
    """

    images: ArrayFace
    maps: ArrayFace
    rows: Rows
    labels: Tensor
    has_map: Tensor
    owners: Rows

    @classmethod
    def of(
        cls,
        images: ArrayFace,
        maps: ArrayFace,
        rows: Rows,
        labels: np.ndarray,
        has_map: np.ndarray,
        device: torch.device,
    ) -> SplitRows:
        """The rows ``rows`` of a source; ``labels`` and ``has_map`` are theirs, (N,)."""
        import numpy as np
        import torch

        # Copied: columns of data frames are read-only, tensors are not.
        mapped = np.array(has_map, dtype=bool)
        return cls(
            images,
            maps,
            rows,
            torch.from_numpy(np.array(labels, dtype=np.int64)).to(device),
            torch.from_numpy(mapped).to(device),
            np.where(mapped, np.arange(len(rows)), -1),
        )

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def size(self) -> int:
        """Bytes of its images and of the maps that there are."""
        import numpy as np

        image, human = (int(np.prod(source.shape[1:])) for source in (self.images, self.maps))
        return len(self) * image + int((self.owners >= 0).sum() + 1) * human

    def in_memory(self) -> SplitTensors:
        """The whole split in its device's memory."""
        import numpy as np
        import torch

        device = self.labels.device
        mapped = np.flatnonzero(self.owners >= 0)
        places = np.full(len(self), len(mapped))
        places[mapped] = np.arange(len(mapped))
        images = loaded(self.images, self.rows, len(self), device)
        maps = loaded(self.maps, self.rows[self.owners[mapped]], len(mapped) + 1, device)
        return SplitTensors(images, self.labels, maps, self.has_map, torch.from_numpy(places).to(device))

    def maps_of(self, rows: Tensor) -> Tensor:
        """Human maps of rows, (B, S, S) on the rows' device; reads, and waits for a device that has the rows."""
        import numpy as np
        import torch

        owners = self.owners[rows.cpu().numpy()]
        found = np.zeros((len(owners), *self.maps.shape[1:]), np.uint8)
        mapped = np.flatnonzero(owners >= 0)
        found[mapped] = self.maps[self.rows[owners[mapped]]]
        return torch.from_numpy(found).to(rows.device)

    def exchanged(self, donors: Tensor | None) -> SplitRows:
        """The split with each row's map taken from another row, as :class:`TrainingSplit` describes it."""
        import numpy as np

        if donors is None:
            return self
        donors = checked_donors(donors, self.has_map)
        owners = np.where(donors.numpy() >= 0, self.owners[donors.numpy()], -1)
        return dataclasses.replace(self, owners=owners, has_map=(donors >= 0).to(self.has_map.device))


Split: TypeAlias = SplitTensors | SplitRows


def resident(split: SplitRows, bytes_at_most: int) -> Split:
    """The split in its device's memory if it takes no more than that; as it is otherwise."""
    return split.in_memory() if split.size <= bytes_at_most else split


def room_for_rows(device: torch.device, slots: int = 1) -> int:
    """Bytes of training rows that a run may hold in the memory of its device.

    Args:
        device: CUDA's is asked for its free memory.
        slots: Runs that share the device.
    """
    import torch

    if device.type != "cuda":
        return MEMORY_BYTES
    free, _ = torch.cuda.mem_get_info(device)
    return int(free * ACCELERATOR_SHARE / slots)


def read_into(source: ArrayFace, rows: Rows, out: Pixels) -> None:
    """Read rows into memory that is there already, C-contiguous."""
    read = getattr(source, "read", None)
    if read is None:
        out[...] = source[rows]
    else:
        read(rows, out=out)


def loaded(source: ArrayFace, rows: Rows, count: int, device: torch.device) -> Tensor:
    """Rows of a source on a device, in a tensor of ``count`` rows whose last ones are zeros if there are fewer."""
    import numpy as np
    import torch

    tensor = torch.zeros((count, *source.shape[1:]), dtype=torch.uint8, device=device)
    step = max(1, CHUNK_BYTES // max(1, int(np.prod(source.shape[1:]))))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        target = tensor[start : start + len(part)]
        if device.type == "cpu":
            read_into(source, part, target.numpy())
        else:
            target.copy_(torch.from_numpy(np.ascontiguousarray(source[part])))
    return tensor


def checked_donors(donors: Tensor, has_map: Tensor) -> Tensor:
    """What a method's ``setup`` made of ``train.donors``, on the CPU.

    Raises:
        ValueError: It is not one row number for each row, or names a row that has no map.
    """
    donors = donors.cpu()
    if donors.shape != has_map.shape or donors.is_floating_point() or int(donors.max()) >= len(has_map):
        raise ValueError("train.donors must hold a row of the training split for each of its rows, or −1 for none")
    if not bool(has_map.cpu()[donors[donors >= 0]].all()):
        raise ValueError("train.donors names a row that has no human map; give −1 where there is none")
    return donors.long()
