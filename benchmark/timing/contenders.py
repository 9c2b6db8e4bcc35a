"""The contenders: our own training with each method, loops by hand, data in memory or read by batch, evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from divsal_bench.grid.work import split_rows
from divsal_bench.networks.inference import form_of, infer
from divsal_bench.registry import plugins
from divsal_bench.timing.bare import BareTraining, OneByOne, load_split
from divsal_bench.timing.pairs import Contender
from divsal_bench.timing.published import PublishedCyborg
from divsal_bench.training.splits import Split
from divsal_bench.training.training import Training

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from divsal_bench.contracts.method import Method
    from divsal_bench.data.arrays import DataArrays
    from divsal_bench.networks.backbones import CamNet
    from divsal_bench.registry.protocols import Protocol
    from divsal_bench.timing.setting import Setting

#: What cross-entropy is measured against, and what measures the methods.
BARE, PLAIN = "bare loop", "cross-entropy"
#: Names of the other contenders that are no methods.
PUBLISHED = "public-style CYBORG"
FROM_CACHE, IN_MEMORY = "data from the cache", "data in memory"
BY_BATCH, ONE_BY_ONE = "evaluation with maps", "batch-1 evaluation"


class Bench:
    """All contenders of one setting, on data that was drawn for it."""

    def __init__(self, setting: Setting, data: DataArrays) -> None:
        self.setting, self.data = setting, data
        self.stored, self.validation = (split_rows(data, name, setting.device) for name in ("train", "validation"))
        self.train = self.stored.in_memory()
        self.loaded = load_split(data, "train", setting.device)

    def training(
        self,
        method: str = PLAIN,
        protocol: Protocol | None = None,
        train: Split | None = None,
        watch: Callable[[Method], None] = lambda method: None,
        seed: int = 0,
    ) -> Training:
        """Our own training at its first step.

        Args:
            watch: May look at the method before its setup.
            seed: Of the initial weights.
        """
        setting = self.setting
        protocol = protocol or setting.protocol
        made = plugins.methods().get(method)()
        watch(made)
        model = setting.network(protocol, seed)
        return Training(model, made, train or self.train, self.validation, protocol, setting.streams)

    def method(self, name: str, shown: str = "") -> Contender:
        """Our own training with a method."""
        return Contender(shown or name, self.setting.protocol.batch_size, lambda: self.training(name))

    def by_hand(self, name: str) -> Contender:
        """The bare loop, or the one in the style of public code."""
        kinds: dict[str, type[BareTraining]] = {BARE: BareTraining, PUBLISHED: PublishedCyborg}
        setting = self.setting
        return Contender(
            name, setting.protocol.batch_size,
            lambda: kinds[name](setting.network(setting.protocol), self.loaded, setting.protocol, setting.streams),
            as_it_comes=True,
        )  # fmt: skip

    def from_cache(self) -> Contender:
        """Cross-entropy on rows that are read from the cache batch by batch."""
        return Contender(FROM_CACHE, self.setting.protocol.batch_size, lambda: self.training(PLAIN, train=self.stored))

    def evaluation(self) -> tuple[Contender, Contender]:
        """Scores and maps of the validation images: ours by batch, and one by one."""
        import torch

        setting, protocol = self.setting, self.setting.protocol
        rows = np.flatnonzero(self.data.rows["split"] == "validation")
        images = torch.from_numpy(np.array(self.data.images[rows]))

        def single() -> OneByOne:
            return OneByOne(setting.network(protocol), images, protocol, setting.device)

        return (
            Contender(
                BY_BATCH, len(rows), lambda: ByBatch(setting.network(protocol), images, protocol, setting.device)
            ),
            Contender(ONE_BY_ONE, len(rows), single, as_it_comes=True),
        )


class ByBatch:
    """Our own evaluation: scores and the CAMs of both classes, in batches; a step is one pass over all images."""

    def __init__(self, model: CamNet, images: Tensor, protocol: Protocol, device: torch.device) -> None:
        self.model, self.images, self.form = model, images, form_of(protocol)
        model.net.to(device)

    def step(self) -> tuple[Tensor, Tensor | None]:
        """Logits, (N, 2), and CAMs, (N, 2, h, w)."""
        return infer(self.model, self.images, self.form, with_cams=True)
