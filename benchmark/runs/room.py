"""Whether a run of some data could be kept at all: known before the work, and counted generously, in round numbers."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from divsal_bench.files.parquet import BYTES_A_CELL, MOST_HEADER, MOST_ROWS
from divsal_bench.runs.bounds import LARGEST_RECORD, MOST_VALUES, check_text
from divsal_bench.runs.prediction_table import MOST_BYTES_A_ROW, PREDICTIONS

#: What a record keeps of each condition beside its AUROC: every field metric there is.
FIELD_METRICS = 7
#: Bytes and values in run.json, generously, of a score or the terms of a source without their names, and of the rest.
PART_BYTES, PART_VALUES, OTHER_BYTES, OTHER_VALUES = 300, 9, 1_000_000, 10_000


def room_problem(conditions: Mapping[str, Collection[str]], sources: Collection[str]) -> str:
    """Why run.json could not hold the results on some data; "" if it can.

    Args:
        conditions: Name of each condition of the test split to the categories of its positives.
        sources: All sources.
    """
    try:
        for name in (*conditions, *sources):
            check_text(name, "condition")
    except ValueError as error:
        return f"the name of a condition or source cannot be kept ({error}); shorten it"
    scores = 1 + FIELD_METRICS
    species = [category for categories in conditions.values() for category in categories]
    values = OTHER_VALUES + PART_VALUES * (scores * len(conditions) + len(sources)) + len(species)
    size = OTHER_BYTES + sum(scores * (PART_BYTES + _size(name)) for name in conditions)
    size += sum(PART_BYTES + _size(name) for name in sources) + sum(_size(name) for name in species)
    if values <= MOST_VALUES and size <= LARGEST_RECORD:
        return ""
    return (
        f"{len(conditions):,} conditions, {len(sources):,} sources and {len(set(species)):,} categories are more than "
        "a run's record holds (about 1,000 short names); join some of them"
    )


def _size(name: str) -> int:
    """Bytes of a name as JSON writes it."""
    return len(json.dumps(name)) + 20


def table_problem(rows: int, size: int) -> str:
    """Why predictions.parquet could not hold some rows; "" if it can.

    Args:
        size: Bytes of all their ids, sources, categories, subjects and conditions.
    """
    if rows > MOST_ROWS:
        return f"{rows:,} validation and test rows are more than a run holds ({MOST_ROWS:,})"
    if size > text_room(rows):
        return (
            f"the names of validation and test rows take {size / max(1, rows):,.0f} bytes a row, about "
            f"{text_room(rows) // max(1, rows):,} are allowed"
        )
    return ""


def text_room(rows: int) -> int:
    """Bytes that the texts of so many rows may take beside their numbers; the splits' own names are counted off."""
    return MOST_HEADER // 2 + (MOST_BYTES_A_ROW - BYTES_A_CELL * len(PREDICTIONS) - 2 * len("validation")) * rows
