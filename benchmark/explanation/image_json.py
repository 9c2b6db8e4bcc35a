"""One image's explanation as JSON has it: everything that was found, to be checked and used elsewhere."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from divsal_bench.errors import printable
from divsal_bench.explanation.image import Explanation, ShownMap, speaks_for
from divsal_bench.maps.regions import Regions
from divsal_bench.scores.agreement import COLUMNS

#: Significant digits.
DIGITS = 9


def explanation_json(found: Explanation, model: str, threshold: float | None) -> dict[str, Any]:
    """Everything that was found, as JSON has it: numbers that are not there are null.

    Args:
        model: What explained it, for people.
        threshold: On the score; None: nothing is called class 1.
    """
    return {
        "image": printable(found.image),
        "model": model,
        "explained": {"class": found.own, "because": found.why_class, "other": found.other},
        "logits": dict(zip(found.class_names, map(json_number, found.logits), strict=True)),
        "score": json_number(found.score),
        "threshold": threshold,
        "decision": found.class_names[found.decision],
        "margin": {"of": f"{found.own} − {found.other}", "logits": json_number(found.margin)},
        "regions": None if found.regions is None else regions_json(found, found.regions),
        "maps": {one.name: map_json(one) for one in found.maps},
        "human_map": found.human is not None,
    }


def regions_json(found: Explanation, parts: Regions) -> dict[str, Any]:
    """The regions, rest and bias, which sum to the margin."""
    named = []
    for rank, (region, did) in enumerate(zip(parts.shown, found.covering, strict=True), start=1):
        named.append(
            {
                "region": rank,
                "speaks_for": speaks_for(found, region),
                "logits": json_number(region.logits),
                "cells": np.argwhere(region.cells).tolist(),
                "inside_human_map": json_number(region.inside),
                "covers_of_human_map": json_number(region.covers),
                "covered": {
                    "expected": json_number(did.expected),
                    "margin_moves": json_number(did.moved),
                    "that_way": did.agrees,
                },
            }
        )
    return {
        "unit": "logits of the margin; cells are [row, column] from the top left, from 0",
        "named": named,
        "rest": {"regions": parts.rest_count, "logits": json_number(parts.rest)},
        "bias": json_number(parts.bias),
        "sum": json_number(parts.margin),
    }


def map_json(one: ShownMap) -> dict[str, Any]:
    """One map and its numbers."""
    values = None if one.values is None else [[json_number(value) for value in row] for row in one.values]
    return {
        "shows": one.sentence,
        "source": one.source,
        "unit": "logits; mean over the grid + bias = logit" if one.on_scale else "its own",
        "undefined": one.absent,
        "no_positive_part": one.empty,
        "agreement": {name: json_number(one.numbers[name]) for name in COLUMNS} if one.numbers else None,
        "values": values,
    }


def json_number(value: float) -> float | None:
    """For files: :data:`DIGITS` significant digits, 0 without a sign, None where there is no number."""
    return float(f"{value:.{DIGITS}g}") + 0.0 if math.isfinite(value) else None
