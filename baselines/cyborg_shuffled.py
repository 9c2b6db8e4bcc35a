"""Control: CYBORG with another image's human map."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from divsal_bench.baselines.cyborg import Cyborg
from divsal_bench.contracts.method import Batch, Kind, TrainingSplit

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class CyborgShuffled(Cyborg):
    """CYBORG with the map of another training image of the same class, fixed for the run.

    Separates "people's maps help" from "maps with people's statistics help". The donor's map gets the
    recipient's augmentation; images without a map stay without.
    """

    name: ClassVar[str] = "cyborg-shuffled"
    kind: ClassVar[Kind] = "control"

    def setup(self, train: TrainingSplit) -> None:
        """Draw a derangement of the mapped samples of each class."""
        self._maps = train.maps
        self._donors = derange(train)

    def transform(self, batch: Batch) -> Batch:
        """Hand each sample its donor's map."""
        device = batch.rows.device
        self._maps, self._donors = self._maps.to(device), self._donors.to(device)  # once: later they are there
        donors = self._donors[batch.rows]
        maps = self._maps[donors.clamp_min(0)]
        return replace(batch, raw_maps=maps, has_map=donors >= 0)


def derange(train: TrainingSplit) -> Tensor:
    """Donor row of each training row, (N,) int64, −1 for none; nobody is their own donor."""
    import torch

    donors = torch.full((len(train.labels),), -1, dtype=torch.int64)
    for label in (0, 1):
        rows = (train.has_map & (train.labels == label)).nonzero().flatten().cpu()
        if len(rows) == 1:
            train.notices.append(f"class {label} has one human map, which nothing can be exchanged for: unused")
        elif len(rows):
            circle = rows[torch.randperm(len(rows), generator=train.generator)]
            donors[circle] = circle.roll(1)
    return donors
