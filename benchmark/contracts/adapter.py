"""A data adapter: reads one data set as its owner delivers it and yields canonical rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from divsal_bench.words import STRICTEST_FIRST as STRICTEST_FIRST  # for plugins, which import contracts only
from divsal_bench.words import Permission as Permission

if TYPE_CHECKING:
    from divsal_bench.contracts.task import Task
    from divsal_bench.errors import Mistake

Split = Literal["train", "validation", "test"]
SaliencyKind = Literal["mask", "box", "gaze", "region", "proxy", "none"]


@dataclass(frozen=True)
class Row:
    """One image of a data set, before it is written.

    Attributes:
        where: Where the row came from, for error messages, e.g. ``"manifest.csv row 12 (a/b.png)"``.
        sample_id: Unique in the data set.
        image: The image file, or its bytes where there is no file.
        label: 0 (negative) or 1 (positive).
        split: train, validation or test.
        source: Where the image was recorded or collected.
        category: What makes a positive positive; "" for negatives.
        subject: The person or patient.
        saliency: The human map's file or its bytes, in the image's geometry, or None.
        saliency_kind: What the map is; "none" without a map.
    """

    where: str
    sample_id: str
    image: Path | bytes
    label: int
    split: Split
    source: str
    category: str
    subject: str
    saliency: Path | bytes | None = None
    saliency_kind: SaliencyKind = "none"


@dataclass(frozen=True)
class SourceTerms:
    """What a source allows to be published, and its licence's name."""

    licence: str = ""
    redistribute_images: Permission = "unknown"
    redistribute_weights: Permission = "unknown"
    redistribute_predictions: Permission = "unknown"


@dataclass(frozen=True)
class Delivery:
    """What an adapter found.

    Attributes:
        rows: All rows that can be read.
        terms: Of each source.
        notices: In plain language, e.g. how many rows were left out.
        mistakes: What is wrong with the other rows; with any, nothing is written and all are told at once.
    """

    rows: Iterator[Row] | list[Row]
    terms: Mapping[str, SourceTerms]
    notices: list[str] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)


@dataclass(frozen=True)
class Adapter:
    """One way data is delivered. A file in ``tasks/adapters/`` holds one, bound to the name ``ADAPTER``.

    Attributes:
        name: What ``data prepare --from`` takes.
        description: One sentence: what ``--source`` must point to.
        read: (source, task, options) to a :class:`Delivery`. Raises UserError.
        options: Option name to its meaning, for ``--option name=value``.
        needs_source: False where the adapter reads nothing, so that ``--source`` can be left out.
    """

    name: str
    description: str
    read: Callable[[Path, Task, Mapping[str, str]], Delivery] = field(repr=False)
    options: Mapping[str, str] = field(default_factory=dict)
    needs_source: bool = True
