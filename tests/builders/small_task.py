"""A task whose stand-in has 18 tiny rows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from divsal_bench.contracts.task import StandIn, Task


def draw(variant: str, seed: int) -> StandIn:
    """A stand-in of 18 rows, drawn from the seed and different for each variant."""
    generator = np.random.default_rng([seed, len(variant)])
    count = 18
    rows = pd.DataFrame(
        {
            "sample_id": [f"s{number:02d}" for number in range(count)],
            "split": [("train", "validation", "test")[number % 3] for number in range(count)],
            "label": [number // 3 % 2 for number in range(count)],
            "source": ["drawn"] * count,
            "category": ["blob" if number // 3 % 2 else "" for number in range(count)],
            "subject": [f"p{number}" for number in range(count)],
            "saliency_kind": ["mask" if number // 3 % 2 else "none" for number in range(count)],
        }
    )
    maps = np.zeros((count, 16, 16), np.uint8)
    maps[rows["saliency_kind"].to_numpy() == "mask", 4:8, 4:8] = 255
    return StandIn(rows, generator.integers(0, 256, (count, 16, 16), np.uint8), maps)


def small_task() -> Task:
    """As chest radiographs, in class names and kinds of maps."""
    return Task(
        name="cxr",
        version=1,
        title="Chest X-ray",
        description="normal or abnormal?",
        class_names=("normal", "abnormal"),
        channels=1,
        category_meaning="finding",
        field_metrics=(),
        draw_standin=draw,
        standin_version=1,
        citation="",
        licence="",
    )
