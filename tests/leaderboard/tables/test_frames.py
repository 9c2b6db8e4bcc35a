"""Tables as data frames: every number is the table's own, and what a table withholds is NaN."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drawn_boards import METHODS, OUTSIDE, PAD, drawn_table

from divsal_bench.leaderboard.tables import flat, frames
from divsal_bench.leaderboard.tables.schema import Table

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def table() -> Table:
    twin = replace(METHODS[2], label="a-copy", twin_of=2)
    return drawn_table(methods=[*METHODS, *OUTSIDE, twin])


def test_a_row_a_method_with_its_numbers(table: Table) -> None:
    found = frames.methods_frame([table, replace(table, task="cxr")])
    assert len(found) == 2 * len(table.rows)
    assert set(found["task"]) == {"iris-pad", "cxr"}
    first = found[found["task"] == "iris-pad"].set_index("method")
    for row in table.rows:
        one = first.loc[row.label]
        assert one["kind"] == row.kind
        assert one["seeds"] == row.seeds
        np.testing.assert_equal(one["primary_mean"], row.primary.seeds.mean)
        np.testing.assert_equal(one["worst"], row.worst.seeds.mean)
        interval = row.open_set.population
        np.testing.assert_equal(one["open_set_population_low"], interval.low if interval else np.nan)
        np.testing.assert_equal(one["rank_low"], row.rank.low if row.rank else np.nan)
        np.testing.assert_equal(one["true_cam_lift"], row.true_cam.lift.mean if row.true_cam else np.nan)
        assert one["marks"] == "; ".join(row.marks)
    numbers = found.drop(columns=["seeds"]).select_dtypes("number")
    assert {"primary_mean", "rank_high", "p_unadjusted", "difference_low", "true_cam_cc"} <= set(numbers)


def test_a_method_without_a_mean_has_none_in_the_frame(table: Table) -> None:
    found = frames.methods_frame([table]).set_index("method")
    for label in ("energy", "a-copy"):  # a seed failed; the scores are another method's
        assert found.loc[label, ["primary_mean", "primary_population_low", "rank_low", "difference"]].isna().all()
    assert not np.isnan(found.loc["energy", "survivors_open_set"])


def test_a_row_a_test_and_a_row_a_condition(table: Table) -> None:
    tests = frames.family_tests_frame([table])
    assert len(tests) == len(table.tests)
    for one, test in zip(tests.itertuples(), table.tests, strict=True):
        assert (one.family, one.first, one.second, one.family_size) == (
            test.family, test.first, test.second, test.family_size,
        )  # fmt: skip
        np.testing.assert_equal(
            [one.difference, one.low, one.df, one.p_unadjusted, one.p],
            [test.comparison.difference, test.comparison.low, test.comparison.df, test.comparison.p, test.p_holm],
        )
    conditions = frames.conditions_frame([table]).set_index(["method", "condition"])
    cells = {(row.label, cell.condition): cell for row in table.rows for cell in row.conditions}
    assert set(conditions.index) == set(cells)
    for place, cell in cells.items():
        np.testing.assert_equal(conditions.loc[place, "auroc_mean"], cell.auroc.seeds.mean)
        np.testing.assert_equal(conditions.loc[place, "q"], np.nan if cell.q is None else cell.q)


def test_what_is_withheld_is_missing() -> None:
    few = drawn_table(methods=METHODS[:4], parts=PAD, per_subject=40)
    assert few.withheld
    tests, methods = frames.family_tests_frame([few]), frames.methods_frame([few])
    assert (tests["withheld"] != "").all()
    assert tests[["low", "high", "df", "t", "p", "p_unadjusted", "smallest_visible_effect"]].isna().all(axis=None)
    assert methods[["primary_population_low", "rank_low", "p", "p_unadjusted"]].isna().all(axis=None)
    assert methods["primary_mean"].notna().all()


def test_nothing_gives_an_empty_frame() -> None:
    for make in (frames.methods_frame, frames.family_tests_frame, frames.conditions_frame):
        assert len(make([])) == 0
        assert "task" in make([])


def test_columns_are_those_of_every_number_with_and_without_rows(table: Table) -> None:
    row, test = table.rows[0], table.tests[0]
    methods = (flat.method_record(table, row) | frames.more_of(row)).keys() - {"p_holm"} | {"p_unadjusted"}
    assert set(frames.METHOD_COLUMNS) == methods
    assert set(frames.TEST_COLUMNS) == {*frames.TABLE_COLUMNS, *frames.family_test_record(test)}
    cell = frames.condition_record(table, row.conditions[0])
    assert set(frames.CONDITION_COLUMNS) == {*frames.TABLE_COLUMNS, "method", "kind", *cell}
    for make in (frames.methods_frame, frames.family_tests_frame, frames.conditions_frame):
        assert list(make([])) == list(make([table])) == list(make([replace(table, tests=())]))
