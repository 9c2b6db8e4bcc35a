"""A training method: what it declares, what it is handed, and the one function it must define.

A method sees images, labels, human maps and the network's outputs. It never sees the task's name, a path,
or a validation or test row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Protocol

from divsal_bench.contracts import cams
from divsal_bench.words import Kind as Kind  # for plugins, which import contracts only

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class HumanMaps(Protocol):
    """Human maps of the training split, (N, S, S) uint8, by rows: they need not fit in memory. A tensor is one too."""

    @property
    def shape(self) -> Sequence[int]:
        """(N, S, S)."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """Maps of rows, (B, S, S) uint8 on the device of ``rows``, which are row numbers, (B,) int64, or (N,) bool."""


@dataclass
class TrainingSplit:
    """What ``setup`` sees once per run: the training split, unaugmented.

    Attributes:
        labels: (N,) int64, 0 or 1.
        maps: Human maps, (N, S, S) uint8, 0 where there is none; ``maps[rows]`` reads them.
        has_map: (N,) bool.
        generator: Seeded from (task, data fingerprint, seed): the same for every method.
        notices: Sentences a method wants shown with its run, e.g. a map it could not use.
        donors: For a control to set: each row's batches then have the human map of another training row, that of
            ``donors``, (N,) int64, −1 for none.
    """

    labels: Tensor
    maps: HumanMaps
    has_map: Tensor
    generator: torch.Generator
    notices: list[str] = field(default_factory=list)
    donors: Tensor | None = None

    @property
    def label_counts(self) -> tuple[int, int]:
        """Number of negatives and of positives."""
        positives = int(self.labels.sum())
        return len(self.labels) - positives, positives


@dataclass(frozen=True)
class Warp:
    """One batch's geometric augmentation, to be applied to maps: (B, S, S) uint8 to float in [0, 1].

    Attributes:
        some: The same for some samples: their maps, (n, S, S), and their places in the batch, (n,) int64; None for all.
    """

    some: Callable[[Tensor, Tensor | None], Tensor]

    def __call__(self, maps: Tensor) -> Tensor:
        """Move one map a sample."""
        return self.some(maps, None)


@dataclass(frozen=True)
class Batch:
    """One training batch, after augmentation.

    Attributes:
        images: (B, C, S, S) float, normalised.
        labels: (B,) int64.
        rows: (B,) int64, positions in the training split (the order of :class:`TrainingSplit`).
        raw_maps: (B, S, S) uint8 human maps before augmentation.
        has_map: (B,) bool.
        warp: Applies this batch's geometric augmentation to maps: (B, S, S) uint8 to float in [0, 1].
        generator: A method's own randomness; drawing from it moves no image, order or augmentation.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor
    raw_maps: Tensor
    has_map: Tensor
    warp: Callable[[Tensor], Tensor]
    generator: torch.Generator

    @cached_property
    def maps(self) -> Tensor:
        """Human maps under the image's own augmentation, (B, S, S) in [0, 1]; computed only when asked."""
        return self.warp(self.raw_maps)

    def human(self, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """H on the CAM grid, (B, h, w) in [0, 1], and which samples have one, (B,) bool; others' H means nothing."""
        # Only maps that are there need moving; to count them, an accelerator would have to be waited for.
        if isinstance(self.warp, Warp) and self.has_map.device.type == "cpu":
            mapped = self.has_map.nonzero().flatten()
            if len(mapped) < len(self.has_map):
                moved = self.warp.some(self.raw_maps.index_select(0, mapped), mapped)
                return cams.human_target(moved, self.has_map, grid, mapped)
        return cams.human_target(self.maps, self.has_map, grid)


@dataclass(frozen=True)
class Outputs:
    """One forward pass. CAMs come from the features already computed: no second pass, no loop.

    Attributes:
        logits: (B, K).
        features: The globally average-pooled features A, (B, C, h, w).
        weight: The linear classifier's rows, (K, C). A one-logit head reads as rows ±½w.
        bias: (K,).
        labels: (B,) int64.
    """

    logits: Tensor
    features: Tensor
    weight: Tensor
    bias: Tensor
    labels: Tensor

    @cached_property
    def cams(self) -> Tensor:
        """CAM of every class, (B, K, h, w), without bias."""
        return cams.class_cams(self.features, self.weight)

    @property
    def grid(self) -> tuple[int, int]:
        """The CAM grid (h, w)."""
        return self.features.shape[-2], self.features.shape[-1]

    @cached_property
    def true_cam(self) -> Tensor:
        """M_t: the CAM of each sample's own class, (B, h, w)."""
        return cams.select(self.cams, self.labels)

    @cached_property
    def false_cam(self) -> Tensor:
        """M_f: the CAM of the other class of a binary decision, (B, h, w)."""
        return cams.select(self.cams, 1 - self.labels)

    @cached_property
    def both_cams(self) -> Tensor:
        """M_t and M_f, (B, 2, h, w), in this order: for what is done to both of them, in one pass."""
        import torch

        return torch.stack([self.true_cam, self.false_cam], 1)

    @cached_property
    def predicted_cam(self) -> Tensor:
        """The CAM of the class with the larger logit, (B, h, w)."""
        return cams.select(self.cams, self.logits.argmax(1))

    @cached_property
    def cross_entropy(self) -> Tensor:
        """Mean cross-entropy over the whole batch, scalar."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(self.logits, self.labels)


class Method(ABC):
    """Base of every training method: a dataclass whose fields are its hyper-parameters.

    Class attributes ``name`` (lower case, hyphens), ``kind`` and ``version`` (raised when results change)
    declare it; the first line of its docstring describes it in listings. The default field values are the
    ranked entry. Fields are set on the command line as ``--method 'name:field=value,…'``; a field that is
    out of range raises ValueError in ``__post_init__``.
    """

    name: ClassVar[str]
    kind: ClassVar[Kind]
    version: ClassVar[int] = 1

    def setup(self, train: TrainingSplit) -> None:  # noqa: B027 - an optional hook
        """Look at the training split once, before the first batch."""

    def transform(self, batch: Batch) -> Batch:
        """Change a batch before the forward pass."""
        return batch

    @abstractmethod
    def loss(self, batch: Batch, out: Outputs) -> dict[str, Tensor]:
        """Return scalars by name: ``loss`` is optimised, all others are only logged."""


@dataclass
class Guided(Method):
    """Base of methods that add guidance to cross-entropy: ``alpha`` · CE + (1 − ``alpha``) · s, s over mapped samples.

    Attributes:
        alpha: Weight of the cross-entropy, in [0, 1]; with 1 the method is cross-entropy.
    """

    alpha: float = 0.5

    def __post_init__(self) -> None:
        check_share("alpha", self.alpha)

    def blended(self, out: Outputs, saliency: Tensor, mapped: Tensor) -> dict[str, Tensor]:
        """What ``loss`` returns.

        Args:
            out: The forward pass.
            saliency: s, one number per sample, (B,); those of unmapped samples are ignored.
            mapped: Which samples count, (B,) bool.
        """
        return {
            "loss": cams.blend(out.cross_entropy, saliency, mapped, self.alpha),
            "cross_entropy": out.cross_entropy,
        }


def check_share(name: str, value: float) -> None:
    """Raise ValueError unless ``value`` lies in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie between 0 and 1, not {value:g}")
