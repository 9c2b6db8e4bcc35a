"""The numbers of an audit as they are found, and the reasons where there are none."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import numpy.typing as npt

from divsal_bench.runs.audit_record import Block, Images, Metric, Number, Quantity, Undefined


class Findings:
    """Collects the numbers of an audit, and the reasons where there are none."""

    def __init__(self) -> None:
        self.numbers: list[Number] = []
        self.undefined: list[Undefined] = []

    def add(self, block: Block, of: str, metric: str, values: npt.NDArray[np.float64], images: Images = "all") -> None:
        """The mean of one number for each image, (n,), over those that have it."""
        known = values[~np.isnan(values)]
        self.one(block, of, metric, float(known.mean()) if len(known) else math.nan, len(known), images)

    def one(self, block: Block, of: str, metric: str, value: float, count: int = 0, images: Images = "all") -> None:
        """A number of the whole run; one that is not finite is none."""
        names: tuple[Metric, ...] = get_args(Metric)
        quantity = Quantity(block=block, of=of, images=images, metric=names[names.index(metric)])  # type: ignore[arg-type]
        self.numbers.append(Number(quantity=quantity, value=value if math.isfinite(value) else None, count=count))

    def no(self, block: Block, of: str, why: str) -> None:
        """Say why something is missing."""
        self.undefined.append(Undefined(block=block, of=of, why=why))
