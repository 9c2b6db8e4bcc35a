"""One row of a table: what its entry's scores give, over seeds and over the population."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from divsal_bench.leaderboard.sheets import scored
from divsal_bench.leaderboard.sheets.entrants import Outside
from divsal_bench.leaderboard.sheets.entries import Entry
from divsal_bench.leaderboard.sheets.scored import Scored, Subjects, compare_shared_seeds, metric, without_p
from divsal_bench.leaderboard.statistics.families import Rank
from divsal_bench.leaderboard.statistics.over_seeds import known_cell
from divsal_bench.leaderboard.statistics.reader_case import NAN
from divsal_bench.leaderboard.tables.schema import (
    Agreement,
    ConditionCell,
    FieldCell,
    MethodRow,
    Survivors,
)
from divsal_bench.scores.conditions import IN_DOMAIN
from divsal_bench.scores.schema import FieldScore, MapAgreement


def row_of_entry(
    all_of_it: Scored,
    one: Scored,
    baseline: Scored | None,
    rank: Rank | None,
    marked: tuple[str, ...],
    cells_: tuple[ConditionCell, ...],
    outside: Outside | None,
    subjects: Subjects,
    is_tested: bool,
) -> MethodRow:
    """One method's row.

    Args:
        all_of_it: Everything that its entry holds.
        one: The same, emptied where the table says nothing of it.
        outside: Why it is not tested; None where it is.
        is_tested: Whether a family tests it against cross-entropy: no p is shown that no family adjusts.
    """
    entry = all_of_it.entry
    against = baseline if baseline is not None and baseline is not one else None
    maps = next((scores.true_cam for scores in entry.scores if scores.true_cam), None)
    difference = compare_shared_seeds(one.primary, against.primary, subjects.behind_primary) if against else None
    if difference and not is_tested:
        difference = without_p(difference)
    return MethodRow(
        label=entry.label,
        kind=entry.kind,
        seeds=entry.seeds,
        failed=entry.failed,
        diverged=entry.diverged,
        rank=rank,
        in_domain=metric(one.in_domain, subjects.behind(IN_DOMAIN)),
        open_set=metric(one.primary if one.worst else {}, subjects.behind_primary),
        worst=scored.seeds_only(one.worst),
        difference=difference,
        marks=marked,
        true_cam=agreement_over_seeds([scores.true_cam for scores in one.entry.scores]),
        difference_map=agreement_over_seeds([scores.difference_map for scores in one.entry.scores]),
        maps=(maps.maps_negative, maps.maps_positive) if maps else (0, 0),
        conditions=cells_,
        field_metrics=tuple(field_cells(one.entry)),
        seconds=float(np.mean(entry.seconds)) if entry.seconds else NAN,
        peak_mb=entry.peak_mb,
        standing=entry.standing,
        untested=outside.reason if outside else "",
        identical_to=outside.identical_to if outside else "",
        survivors=survivors(all_of_it) if outside and outside.incomplete and entry.seeds else None,
    )


def survivors(one: Scored) -> Survivors:
    """The seeds with a result of a method that lacks some."""
    entry = one.entry
    return Survivors(
        seeds=len(entry.seeds),
        asked=len(entry.seeds) + entry.failed + entry.diverged,
        in_domain=metric(one.in_domain).seeds,
        open_set=metric(one.primary if one.worst else {}).seeds,
        worst=metric(one.worst).seeds,
    )


def agreement_over_seeds(found: Sequence[MapAgreement | None]) -> Agreement | None:
    """Each run's means over its maps, over seeds."""
    known = [maps for maps in found if maps is not None]
    lift = known_cell(maps.lift for maps in known)
    if lift is None:
        return None
    return Agreement(
        lift=lift,
        pe=known_cell(maps.pe for maps in known),
        auc=known_cell(maps.auc for maps in known),
        cc=known_cell(maps.cc for maps in known),
        lift_nonempty=known_cell(maps.lift_nonempty for maps in known),
        empty=float(np.mean([maps.empty for maps in known])),
    )


def field_cells(entry: Entry) -> list[FieldCell]:
    """The field's own metrics over seeds; a seed without the value leaves the whole cell without one."""
    by_name: dict[tuple[str, str], list[FieldScore]] = {}
    for scores in entry.scores:
        for one in scores.field_metrics:
            by_name.setdefault((one.metric, one.condition), []).append(one)
    return [
        FieldCell(
            metric=name,
            condition=condition,
            value=known_cell(one.value for one in found) if all(one.value is not None for one in found) else None,
            achieved=known_cell(one.achieved for one in found),
            oracle=known_cell(one.oracle for one in found),
            note=next((one.note for one in found if one.note), ""),
        )
        for (name, condition), found in by_name.items()
    ]
