"""Compute the numbers of a claim again from its margins, and name the first that differs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from divsal_bench.errors import UserError
from divsal_bench.leaderboard.claims.claim import Claim, SeedResult
from divsal_bench.leaderboard.claims.keys import Margins
from divsal_bench.scores.layout import Layout
from divsal_bench.scores.schema import MapAgreement, Scores
from divsal_bench.scores.scoring import score_margins

#: Accepted numbers are computed from the stored margins: nothing but rounding may differ.
AGREES = 1e-9
#: What margins do not tell.
CARRIED = {"true_cam", "difference_map"}
#: No lift exceeds the number of cells of a map: all mass on one cell; no map has as many.
MOST_LIFT = 1e4


def rescore(claim: Claim, seeds: Sequence[SeedResult], margins: Margins, rows: Layout, where: Path, part: str) -> None:
    """Compare the scores of some seeds of a claim with their margins.

    Args:
        seeds: n of its seeds, or of its reproduction.
        margins: (n, N).
        part: ``""`` or ``reproduction, ``, for messages.

    Raises:
        UserError: A number was edited; it is named.
    """
    for one, values in zip(seeds, margins, strict=True):
        try:
            again = scores_of(values, rows, claim.field_metrics, one.scores.true_cam, one.scores.difference_map)
        except ValueError as error:
            raise UserError(f"{where}: {part}seed {one.seed}: {error}") from None
        found = first_difference(one.scores, again, AGREES, CARRIED)
        if found is not None:
            raise UserError(
                f"edited metrics in {where}, {part}seed {one.seed}: {found.field} is {found.claimed}, the margins give "
                f"{found.found}; submit the runs again"
            )
        check_agreement(one, seeds[0], rows, f"{where}, {part}seed {one.seed}")


def scores_of(
    values: np.ndarray, rows: Layout, names: tuple[str, ...], true: MapAgreement | None, other: MapAgreement | None
) -> Scores:
    """All numbers of one seed from its float32 margins, (N,)."""
    return score_margins(values.astype(np.float64), rows, names, true, other)


@dataclass(frozen=True)
class DifferingScore:
    """The first field in which two sets of scores differ."""

    field: str
    claimed: Any
    found: Any


def first_difference(
    a: Any, b: Any, tolerance: float, without: Set[str] = frozenset(), field: str = ""
) -> DifferingScore | None:
    """The first number that differs by more than a tolerance, in the order of the schema; None if none does.

    Args:
        a, b: Claimed and found: scores, or parts of them, of one shape.
        tolerance: Largest |Δ| that counts as the same.
        without: Fields of ``a`` that are not compared.
        field: Where the parts stand.
    """
    if isinstance(a, BaseModel) and isinstance(b, BaseModel):
        # The iteration of a pydantic model gives its fields without building a dictionary of everything below.
        for (name, left), (_, right) in zip(a, b, strict=True):
            if name not in without and left is not right:
                found = first_difference(left, right, tolerance, field=f"{field}.{name}" if field else name)
                if found is not None:
                    return found
        return None
    if isinstance(a, list) and isinstance(b, list):
        for i, (left, right) in enumerate(itertools.zip_longest(a, b)):
            found = first_difference(left, right, tolerance, field=f"{field}[{item_name(left or right, i)}]")
            if found is not None:
                return found
        return None
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(a.keys() | b.keys()):
            found = first_difference(a.get(key), b.get(key), tolerance, field=f"{field}[{key}]")
            if found is not None:
                return found
        return None
    if isinstance(a, float | int) and isinstance(b, float | int):
        return None if abs(a - b) <= tolerance else DifferingScore(field, a, b)
    return None if a == b else DifferingScore(field, in_a_message(a), in_a_message(b))


def item_name(item: Any, index: int) -> str:
    """What names one item of a list: a condition, a metric on a condition, a rate."""
    parts = [getattr(item, name, None) for name in ("name", "metric", "condition", "rate")]
    return " on ".join(str(part) for part in parts if part is not None) or str(index)


def in_a_message(value: Any) -> str:
    """A value in a message: short."""
    if isinstance(value, BaseModel):
        return "there"
    return "missing" if value is None else str(value)[:80]


def check_agreement(one: SeedResult, first: SeedResult, rows: Layout, where: object) -> None:
    """Refuse agreement with people, which cannot be computed again, that is not even possible."""
    negatives, positives = int((rows.test == 0).sum()), int((rows.test == 1).sum())
    counts = set()
    for name in sorted(CARRIED):
        found: MapAgreement | None = getattr(one.scores, name)
        counts.add((found.maps_negative, found.maps_positive) if found else None)
        earlier: MapAgreement | None = getattr(first.scores, name)
        counts.add((earlier.maps_negative, earlier.maps_positive) if earlier else None)
        if found is None:
            continue
        highest = {"lift": MOST_LIFT, "lift_nonempty": MOST_LIFT}
        lowest = {"cc": -1.0}
        for field in ("pe", "lift", "auc", "cc", "pe_nonempty", "lift_nonempty"):
            value = getattr(found, field)
            # Means of numbers in [0, 1] may leave it by rounding.
            if value is not None and not lowest.get(field, 0.0) - AGREES <= value <= highest.get(field, 1.0) + AGREES:
                raise UserError(f"edited metrics in {where}: {name}.{field} is {value}, which is impossible")
        maps = found.maps_negative + found.maps_positive
        for field, value, most in (
            ("maps_negative", found.maps_negative, negatives),
            ("maps_positive", found.maps_positive, positives),
            ("empty", found.empty, maps),
            ("auc_maps", found.auc_maps, maps),
            ("cc_maps", found.cc_maps, maps),
        ):
            if not 0 <= value <= most:
                raise UserError(f"edited metrics in {where}: {name}.{field} is {value}, {most} are possible")
    if len(counts) > 1:
        raise UserError(f"edited metrics in {where}: its numbers of human maps differ between maps or seeds")
