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


def read_standin(source: Path, task: Task, options: Mapping[str, str]) -> Delivery:
    """Draw a stand-in.

    Args:
        source: Not used.
        task: The task that draws.
        options: ``variant``, ``seed`` and ``ratio``.

    Raises:
        UserError: An option's value is not valid.
    """
    variant, seed = options.get("variant", VARIANTS[0]), options.get("seed", "0")
    if variant not in VARIANTS:
        raise unknown("variant", variant, VARIANTS)
    if not seed.isdecimal():
        raise UserError(f"the option seed is {seed!r}; write a whole number from 0")
    drawn = thinned(task.draw_standin(variant, int(seed)), options.get("ratio", ""), int(seed))
    free = SourceTerms(
        "Apache-2.0", redistribute_images="yes", redistribute_weights="yes", redistribute_predictions="yes"
    )
    title = f"{variant}, seed {int(seed)}" + (f", ratio {options['ratio']} in training" if options.get("ratio") else "")
    notice = f"Drawn images ({title}), not photographs: a result on them tests the software."
    return Delivery(_drawn_rows(drawn), dict.fromkeys(sorted(set(drawn.rows["source"])), free), [notice])


def thinned(drawn: StandIn, ratio: str, seed: int) -> StandIn:
    """Leave training images of one class out until negatives and positives are in a ratio such as ``9:1``.

    Validation and test stay as they are.

    Raises:
        UserError: It is no ratio, or leaves a class without images.
    """
    import numpy as np

    if not ratio:
        return drawn
    parts = ratio.split(":")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"the option ratio is {ratio!r}; write negatives:positives in whole numbers, e.g. 9:1")
    wanted = [int(part) for part in parts]
    train = (drawn.rows["split"] == "train").to_numpy()
    members = [np.flatnonzero(train & (drawn.rows["label"] == label).to_numpy()) for label in (0, 1)]
    units = min(len(rows) / want for rows, want in zip(members, wanted, strict=True))
    counts = [round(units * want) for want in wanted]
    if not all(counts):
        raise UserError(f"the option ratio {ratio} leaves a class without training images; take a milder one")
    order = np.random.default_rng([seed, *wanted])
    kept = np.concatenate([order.permutation(rows)[:count] for rows, count in zip(members, counts, strict=True)])
    chosen = np.sort(np.concatenate([kept, np.flatnonzero(~train)]))
    return StandIn(drawn.rows.iloc[chosen].reset_index(drop=True), drawn.images[chosen], drawn.maps[chosen])


def _drawn_rows(drawn: StandIn) -> Iterator[Row]:
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
    read=read_standin,
    options={
        "variant": f"one of {', '.join(VARIANTS)}",
        "seed": "a whole number, 0 by default",
        "ratio": "negatives:positives in training, e.g. 9:1; as drawn by default",
    },
    needs_source=False,
)
