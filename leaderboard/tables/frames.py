"""Tables as pandas data frames: one row a method, a test, or a method on a condition; NaN where there is no number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from divsal_bench.leaderboard.sheets.scored import Metric
from divsal_bench.leaderboard.statistics.over_seeds import SeedCell
from divsal_bench.leaderboard.statistics.reader_case import NAN, Comparison, FixedImages
from divsal_bench.leaderboard.tables.flat import method_record
from divsal_bench.leaderboard.tables.schema import Agreement, ConditionCell, MethodRow, Table, Test

if TYPE_CHECKING:
    import pandas as pd

#: What names a table, first in every frame.
TABLE_COLUMNS = ("task", "data", "fingerprint", "protocol", "backbone", "head")
#: What is told of the agreement of one kind of map with people.
AGREEMENT_COLUMNS = ("lift", "pe", "auc", "cc", "lift_nonempty")
#: Columns of each frame, also of one without rows.
METHOD_COLUMNS = (
    *TABLE_COLUMNS, "primary", "method", "kind", "seeds", "n", "failed", "diverged", "marks", "rank_low", "rank_high",
    "unranked", "identical_to", "worst_mark",
    *(
        f"{metric}{part}"
        for metric in ("in_domain", "open_set", "worst")
        for part in ("", "_sd", "_t_low", "_t_high", "_population_low", "_population_high")
    ),
    "difference", "difference_low", "difference_high", "p", "p_unadjusted", "family_size", "effective_subjects",
    "withheld", "smallest_visible_effect", "smallest_visible_effect_low", "smallest_visible_effect_high",
    "survivors_only", "survivors_open_set", "survivors_in_domain", "lift_true", "lift_difference", "maps_negative",
    "maps_positive", "train_rows", "train_maps", "test_subjects", "single_row_subjects", "subjects_by_condition",
    "subject_share", "seconds", "peak_mb", "primary_mean", "primary_sd", "primary_population_low",
    "primary_population_high",
    *(f"{kind}_{part}" for kind in ("true_cam", "difference_map") for part in (*AGREEMENT_COLUMNS, "empty")),
    "top_group", "untested", "state",
)  # fmt: skip
TEST_COLUMNS = (
    *TABLE_COLUMNS, "family", "first", "second", "family_size", "n", "difference", "low", "high", "df", "t", "p",
    "p_unadjusted", "status", "withheld", "effective_subjects", "subject_share", "smallest_visible_effect",
    "smallest_visible_effect_low", "smallest_visible_effect_high", "hedges_g", "superiority",
    "these_images_difference", "these_images_low", "these_images_high", "these_images_p", "without_one_low",
    "without_one_high",
)  # fmt: skip
CONDITION_COLUMNS = (
    *TABLE_COLUMNS, "method", "kind", "condition", "condition_kind", "reason", "n", "auroc_mean", "auroc_sd",
    "auroc_population_low", "auroc_population_high", "difference", "low", "high", "p", "q", "mark",
    "false_positive_rate",
)  # fmt: skip


def methods_frame(tables: Iterable[Table]) -> pd.DataFrame:
    """One row for each row of each table, with the columns of CSV and more; ``p`` is the one that tables print."""
    records = [method_record(table, row) | more_of(row) for table in tables for row in table.rows]
    for one in records:
        one["p_unadjusted"], one["p"] = one["p"], one.pop("p_holm")
    return frame_of(records, METHOD_COLUMNS)


def family_tests_frame(tables: Iterable[Table]) -> pd.DataFrame:
    """One row for each test of each family."""
    records = [table_record(table) | family_test_record(one) for table in tables for one in table.tests]
    return frame_of(records, TEST_COLUMNS)


def conditions_frame(tables: Iterable[Table]) -> pd.DataFrame:
    """One row for each method on each condition."""
    records = [
        table_record(table) | {"method": row.label, "kind": row.kind} | condition_record(table, cell)
        for table in tables
        for row in table.rows
        for cell in row.conditions
    ]
    return frame_of(records, CONDITION_COLUMNS)


def frame_of(records: Sequence[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """Records as a frame with these columns; numbers that are missing are NaN."""
    import pandas as pd

    filled = [{name: NAN if value is None else value for name, value in one.items()} for one in records]
    return pd.DataFrame(filled, columns=list(columns))


def table_record(table: Table) -> dict[str, Any]:
    """What names a table."""
    return {name: getattr(table, name) for name in TABLE_COLUMNS}


def more_of(row: MethodRow) -> dict[str, Any]:
    """What a frame says of a method beside its record in CSV."""
    return {
        "seeds": row.seeds,
        **metric_record("primary", row.primary),
        **agreement_record("true_cam", row.true_cam),
        **agreement_record("difference_map", row.difference_map),
        "top_group": row.rank is not None and row.rank.top,
        "untested": row.untested,
        "state": row.standing.state if row.standing else "",
    }


def metric_record(name: str, metric: Metric) -> dict[str, Any]:
    """Mean, sd and population interval of one metric."""
    interval = metric.population
    return {
        f"{name}_mean": metric.seeds.mean,
        f"{name}_sd": metric.seeds.sd,
        f"{name}_population_low": interval.low if interval else NAN,
        f"{name}_population_high": interval.high if interval else NAN,
    }


def agreement_record(name: str, found: Agreement | None) -> dict[str, Any]:
    """Means over seeds of the agreement of one kind of map with people."""
    cells: dict[str, SeedCell | None] = {key: getattr(found, key) if found else None for key in AGREEMENT_COLUMNS}
    return {f"{name}_{key}": cell.mean if cell else NAN for key, cell in cells.items()} | {
        f"{name}_empty": found.empty if found else NAN
    }


def family_test_record(one: Test) -> dict[str, Any]:
    """One test; nothing of the verdict where it is withheld."""
    c, here = one.comparison, one.on_these_images
    return {
        "family": one.family,
        "first": one.first,
        "second": one.second,
        "family_size": one.family_size,
        "n": c.n,
        **difference_record(c),
        "df": NAN if one.withheld else c.df,
        "t": c.t,
        "p": one.p_holm,
        "p_unadjusted": c.p,
        "status": c.status,
        "withheld": one.withheld,
        "effective_subjects": c.subjects,
        "subject_share": c.c_plus / c.variance if c.variance > 0 else NAN,
        "smallest_visible_effect": one.smallest_effect,
        "smallest_visible_effect_low": one.smallest_low,
        "smallest_visible_effect_high": one.smallest_high,
        "hedges_g": one.hedges_g,
        "superiority": one.superiority,
        **{f"these_images_{name}": value for name, value in difference_record(here).items()},
        "these_images_p": here.p_t,
        "without_one_low": one.without_one[0],
        "without_one_high": one.without_one[1],
    }


def condition_record(table: Table, cell: ConditionCell) -> dict[str, Any]:
    """One method on one condition."""
    kind, reason = next(((kind, why) for name, kind, why in table.conditions if name == cell.condition), ("", ""))
    rate, found = cell.false_positive_rate, cell.difference
    return {
        "condition": cell.condition,
        "condition_kind": kind,
        "reason": reason,
        "n": cell.auroc.seeds.n,
        **metric_record("auroc", cell.auroc),
        **(difference_record(found) if found else dict.fromkeys(("difference", "low", "high"), NAN)),
        "p": found.p if found else NAN,
        "q": cell.q,
        "mark": cell.mark,
        "false_positive_rate": rate.mean if rate else NAN,
    }


def difference_record(found: Comparison | FixedImages) -> dict[str, Any]:
    """A difference and its interval."""
    return {"difference": found.difference, "low": found.low, "high": found.high}
