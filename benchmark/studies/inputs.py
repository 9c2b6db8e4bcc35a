"""One split of a run's data as a network takes it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from divsal_bench.contracts import cams
from divsal_bench.networks.inference import as_input, form_of

if TYPE_CHECKING:
    from torch import Tensor

    from divsal_bench.data.arrays import DataArrays
    from divsal_bench.registry.protocols import Protocol


@dataclass(frozen=True, eq=False)
class Inputs:
    """N images.

    Attributes:
        images: (N, channels, S, S), normalised.
        labels: (N,), 0 or 1.
        categories: "" for negatives.
        sources: Where each was recorded.
        maps: uint8 (N, S, S) human maps, 0 where there is none.
        mapped: (N,): who has one.
    """

    images: Tensor
    labels: npt.NDArray[np.int64]
    ids: list[str]
    categories: npt.NDArray[np.str_]
    sources: npt.NDArray[np.str_]
    maps: npt.NDArray[np.uint8]
    mapped: npt.NDArray[np.bool_]

    def human(self, grid: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """Human maps area-pooled to the CAM grid, (N, h, w) in [0, 1]."""
        return cams.human_cells(self.maps, (grid[0], grid[1]))

    def part(self, chosen: npt.NDArray[np.bool_]) -> Inputs:
        """Some of the images."""
        import torch

        where = np.flatnonzero(chosen)
        values = {
            field.name: getattr(self, field.name)[torch.from_numpy(where) if field.name == "images" else where]
            for field in dataclasses.fields(self)
            if field.name != "ids"
        }
        return Inputs(ids=[self.ids[row] for row in where], **values)

    def label_tensor(self) -> Tensor:
        """Labels for torch."""
        import torch

        return torch.from_numpy(self.labels.copy())


def split_inputs(data: DataArrays, protocol: Protocol, split: str) -> Inputs:
    """Read one split: train, validation or test."""
    import torch

    rows = np.flatnonzero(data.rows["split"].to_numpy(dtype=str) == split)
    table = data.rows.iloc[rows]
    return Inputs(
        images=as_input(torch.from_numpy(np.ascontiguousarray(data.images[rows])), form_of(protocol)),
        labels=table["label"].to_numpy(np.int64, copy=True),
        ids=table["sample_id"].astype(str).tolist(),
        categories=table["category"].to_numpy(dtype=str),
        sources=table["source"].to_numpy(dtype=str),
        maps=np.ascontiguousarray(data.maps[rows]),
        mapped=table["has_map"].to_numpy(dtype=bool),
    )
