"""One split of a run's data as a network takes it, read when it is asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from divsal_bench.contracts import cams
from divsal_bench.maps.evidence import Evidence, gather
from divsal_bench.networks.inference import InputForm, as_input, form_of
from divsal_bench.networks.stored import ChosenRows, as_tensor, chunks

if TYPE_CHECKING:
    from torch import Tensor

    from divsal_bench.data.arrays import DataArrays
    from divsal_bench.networks.backbones import CamNet
    from divsal_bench.registry.protocols import Protocol

#: Pixels of the images that go through a network in one pass, 2048 images of 64 px. What has more goes by
#: :data:`BATCH` images, which moves the last bits of its logits and bounds the memory.
ONE_PASS = 2048 * 64**2
BATCH = 128


@dataclass(frozen=True, eq=False)
class StoredInputs:
    """Stored images, normalised when they are read. With ``len`` and an index of rows it stands for a tensor of them.

    Attributes:
        pixels: uint8, (N, C, S, S).
    """

    pixels: ChosenRows
    form: InputForm

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, which: Any) -> Tensor:
        """Read and normalise some of them."""
        return as_input(as_tensor(self.pixels[which]), self.form)

    def passes(self) -> Iterator[Tensor]:
        """All of them, in order: in one pass where they are few, as numbers of finished studies were made."""
        import torch

        size = len(self) if len(self) * self.form.size**2 <= ONE_PASS else BATCH
        for chunk in chunks(self.pixels, max(1, size), torch.device("cpu")):
            yield as_input(chunk, self.form)


@dataclass(frozen=True, eq=False)
class Inputs:
    """N images.

    Attributes:
        images: Those that a network takes, (N, channels, S, S).
        labels: (N,), 0 or 1.
        categories: "" for negatives.
        sources: Where each was recorded.
        maps: uint8 (N, S, S) human maps, 0 where there is none.
        mapped: (N,): who has one.
    """

    images: StoredInputs
    labels: npt.NDArray[np.int64]
    ids: list[str]
    categories: npt.NDArray[np.str_]
    sources: npt.NDArray[np.str_]
    maps: ChosenRows
    mapped: npt.NDArray[np.bool_]

    def human(self, grid: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """Human maps area-pooled to the CAM grid, (N, h, w) in [0, 1]."""
        return cams.human_cells(self.maps, (grid[0], grid[1]))

    def part(self, chosen: npt.NDArray[np.bool_]) -> Inputs:
        """Some of the images."""
        where = np.flatnonzero(chosen)
        return Inputs(
            images=dataclasses.replace(self.images, pixels=self.images.pixels.part(where)),
            labels=self.labels[where],
            ids=[self.ids[row] for row in where],
            categories=self.categories[where],
            sources=self.sources[where],
            maps=self.maps.part(where),
            mapped=self.mapped[where],
        )

    def label_tensor(self) -> Tensor:
        """Labels for torch."""
        import torch

        return torch.from_numpy(self.labels.copy())

    def evidence(self, model: CamNet) -> Iterator[tuple[slice, Evidence]]:
        """Run a network once: what maps need of each pass, and of which images. Nobody keeps the features here."""
        start = 0
        for images in self.images.passes():
            yield slice(start, start + len(images)), gather(model, images)
            start += len(images)


def split_inputs(data: DataArrays, protocol: Protocol, split: str) -> Inputs:
    """Of one split: train, validation or test. No image is read yet."""
    rows = np.flatnonzero(data.rows["split"].to_numpy(dtype=str) == split)
    table = data.rows.iloc[rows]
    return Inputs(
        images=StoredInputs(ChosenRows(data.images, rows), form_of(protocol)),
        labels=table["label"].to_numpy(np.int64, copy=True),
        ids=table["sample_id"].astype(str).tolist(),
        categories=table["category"].to_numpy(dtype=str),
        sources=table["source"].to_numpy(dtype=str),
        maps=ChosenRows(data.maps, rows),
        mapped=table["has_map"].to_numpy(dtype=bool),
    )
