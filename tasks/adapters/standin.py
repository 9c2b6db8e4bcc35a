"""A task's built-in stand-in, written out as image files: to look at it, and to test with the real layout."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.contracts.adapter import Adapter, Delivery, Row, SourceTerms
from divsal_bench.contracts.task import VARIANTS, StandIn, Task
from divsal_bench.errors import UserError, unknown

if TYPE_CHECKING:
    import numpy as np


def read(source: Path, task: Task, options: Mapping[str, str]) -> Delivery:
    """Draw a stand-in.

    Args:
        source: Not used.
        task: The task that draws.
        options: ``variant`` and ``seed``.

    Raises:
        UserError: An option's value is not valid.
    """
    variant, seed = options.get("variant", VARIANTS[0]), options.get("seed", "0")
    if variant not in VARIANTS:
        raise unknown("variant", variant, VARIANTS)
    if not seed.isdecimal():
        raise UserError(f"the option seed is {seed!r}; write a whole number from 0")
    drawn = task.draw_standin(variant, int(seed))
    free = SourceTerms(
        "Apache-2.0", redistribute_images="yes", redistribute_weights="yes", redistribute_predictions="yes"
    )
    notice = f"Drawn images ({variant}, seed {int(seed)}), not photographs: a result on them tests the software."
    return Delivery(_rows(drawn), dict.fromkeys(sorted(set(drawn.rows["source"])), free), [notice])


def _rows(drawn: StandIn) -> Iterator[Row]:
    for index, row in enumerate(drawn.rows.to_dict("records")):
        yield Row(
            where=f"stand-in row {index} ({row['sample_id']})",
            sample_id=row["sample_id"],
            image=_png(drawn.images[index]),
            label=int(row["label"]),
            split=row["split"],
            source=row["source"],
            category=row["category"],
            subject=row["subject"],
            saliency=None if row["saliency_kind"] == "none" else _png(drawn.maps[index]),
            saliency_kind=row["saliency_kind"],
        )


def _png(pixels: np.ndarray) -> bytes:
    """Encode (H, W) or (H, W, 3) uint8 without loss."""
    from PIL.Image import fromarray

    file = io.BytesIO()
    fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


ADAPTER = Adapter(
    name="standin",
    description="The task's built-in drawn data; --source is not needed.",
    read=read,
    options={"variant": f"one of {', '.join(VARIANTS)}", "seed": "a whole number, 0 by default"},
    needs_source=False,
)
