"""Editions: the families of the accepted board are closed, and no entry changes another entry's p."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from divsal_bench.leaderboard.accepted import board_file
from divsal_bench.leaderboard.sheets import editions
from divsal_bench.leaderboard.sheets.editions import CURRENT, EDITIONS
from divsal_bench.leaderboard.sheets.entries import ROW_COLUMNS, Entry, Group, Sheet
from divsal_bench.leaderboard.statistics import families
from divsal_bench.leaderboard.statistics.families import Family
from divsal_bench.leaderboard.tables import readable, render
from divsal_bench.leaderboard.tables.schema import Table
from divsal_bench.leaderboard.web import at_a_glance
from divsal_bench.registry import plugins
from divsal_bench.scores.scoring import margins, score
from divsal_bench.words import Kind

Predictions = Callable[..., pd.DataFrame]


def test_editions_are_dated_newest_first_and_hold_what_the_board_stands_on() -> None:
    dates = [datetime.date.fromisoformat(edition.date) for edition in EDITIONS]
    assert dates == sorted(set(dates), reverse=True)
    for edition in EDITIONS:
        names = [one.name for one in edition.methods]
        assert len(set(names)) == len(names)
        assert {families.BASELINE, families.REFERENCE} <= set(names)


def test_reference_methods_are_what_is_installed() -> None:
    """A changed default or version is another method: it needs a new edition, or a version of its own."""
    known = plugins.methods().found
    for one in CURRENT.methods:
        method = known[one.name]
        assert (method.kind, method.version) == (one.kind, one.version)
        assert [(field.name, field.default) for field in plugins.fields_of(method)] == list(one.fields.items())


def test_the_three_families_are_closed_and_everything_else_has_its_own() -> None:
    kinds: dict[str, Kind] = {
        "cross-entropy": "unguided", "cyborg": "one-cam", "difference": "two-cam", "cyborg-center": "control",
        "later": "two-cam", "later-control": "control", "plain-later": "unguided",
    }  # fmt: skip
    closed = {"cross-entropy", "cyborg", "difference", "cyborg-center"}
    found = families.families(kinds, closed=closed)
    assert found[:3] == families.families({name: kind for name, kind in kinds.items() if name in closed})
    assert found[3:] == [
        Family(f"own family of {name}", ((name, "cross-entropy"), (name, "cyborg")))
        for name in ("later", "later-control", "plain-later")
    ]
    without = families.families({"later": "two-cam", "cyborg": "one-cam"}, closed=closed)
    assert without[-1].pairs == (("later", "cyborg"),)


class Boards:
    """Drawn boards: entries of five seeds on the rows of ``predictions``."""

    def __init__(self, predictions: Predictions) -> None:
        self.predictions = predictions
        self.rows = by_key(predictions(1.0, 0))[list(ROW_COLUMNS)]

    def entry(self, label: str, method: str, kind: Any, strength: float, draw: int, **change: Any) -> Entry:
        """One entry; a reference method has its own fields."""
        tables = [by_key(self.predictions(strength, 1000 * draw + seed)) for seed in range(5)]
        known = editions.reference(method, 1)
        content: dict[str, Any] = {
            "label": label, "kind": kind, "method": method, "version": 1, "fields": dict(known.fields) if known else {},
            "seeds": tuple(range(5)), "failed": 0, "diverged": 0, "margins": np.stack([margins(t) for t in tables]),
            "scores": tuple(score(t, ()) for t in tables), "seconds": (1.0,) * 5, "peak_mb": 1.0, "devices": ("cpu",),
            "torch_versions": ("2",), "origins": ("x",) * 5,
        }  # fmt: skip
        return Entry(**{**content, **change})

    def table(self, entries: list[Entry]) -> Table:
        """The table of the accepted board."""
        group = Group("cxr", "f" * 64, "quick-v1", "resnet10t", "two-logit", "0" * 8)
        return board_file.dated_table(Sheet(group, "standin", self.rows, tuple(entries), True))


def by_key(table: pd.DataFrame) -> pd.DataFrame:
    return table.rename(columns={"sample_id": "key"}).sort_values("key", ignore_index=True)


@pytest.fixture
def boards(predictions: Predictions) -> Boards:
    return Boards(predictions)


@pytest.fixture
def known(boards: Boards) -> list[Entry]:
    """The reference methods; some are better than cross-entropy."""
    return [boards.entry(one.name, one.name, one.kind, 1 + i / 20, i + 1) for i, one in enumerate(CURRENT.methods)]


#: What somebody may submit: fields or a version of a reference method, or a method of another name, of any kind.
JUNK: list[tuple[str, str, str, dict[str, Any]]] = [
    ("cyborg:alpha=0.9", "cyborg", "one-cam", {"fields": {"alpha": 0.9, "cam_class": "true"}}),
    ("cyborg (cyborg.v2)", "cyborg", "one-cam", {"version": 2}),
    ("cross-entropy (cross-entropy.v2)", "cross-entropy", "unguided", {"version": 2}),
    *((f"junk-{i}", f"junk-{i}", kind, {}) for i, kind in enumerate(["two-cam", "control", "unguided", "one-cam"] * 3)),
]


def said_of(table: Table, label: str) -> tuple[Any, ...]:
    """Everything by which a row is called significant, and by how much."""
    (row,) = [row for row in table.rows if row.label == label]
    tests = [(t.family, t.second, t.family_size, t.p_holm, t.smallest_effect) for t in table.tests if t.first == label]
    return tests, row.marks, row.difference, [(one.condition, one.q) for one in row.conditions]


@pytest.mark.parametrize("draw", [0, 1, 2])
def test_no_entry_changes_the_p_of_another(boards: Boards, known: list[Entry], draw: int) -> None:
    """Fifteen junk entries once turned stars into p of .06 to .32."""
    chance = np.random.default_rng(draw)
    junk = [
        boards.entry(label, method, kind, chance.uniform(0.2, 2.5), 100 * (draw + 1) + i, **change)
        for i, (label, method, kind, change) in enumerate(JUNK)
    ]
    some = [junk[i] for i in sorted(chance.choice(len(junk), 5, replace=False))]
    alone, with_some, with_all = (boards.table(known + more) for more in ([], some, junk))
    assert any(test.p_holm <= families.ALPHA for test in alone.tests), "something to lose"
    for one in known:
        assert said_of(alone, one.label) == said_of(with_some, one.label) == said_of(with_all, one.label)
    for one in some:
        assert said_of(with_some, one.label) == said_of(with_all, one.label)
        assert {size for _, _, size, *_ in said_of(with_all, one.label)[0]} == {2}


def test_a_copy_under_another_name_takes_nothing_from_who_was_first(boards: Boards, known: list[Entry]) -> None:
    energy = boards.entry("energy", "energy", "one-cam", 2.5, 77)
    copy = dataclasses.replace(energy, label="aaa", method="aaa")
    alone, beside = boards.table([*known, energy]), boards.table([*known, energy, copy])
    assert len(said_of(alone, "energy")[0]) == 2
    for label in ("energy", "cyborg"):
        assert said_of(alone, label) == said_of(beside, label)
    assert any("energy and aaa give the same score to every image" in note for note in beside.notes)
    assert not any("give the same score" in note for note in alone.notes)
    # A reference method stands for its copies all the same.
    copied = boards.table([*known, dataclasses.replace(known[2], label="aaa", method="aaa")])
    assert next(row.identical_to for row in copied.rows if row.label == "aaa") == known[2].label


def test_tests_name_the_edition_and_not_the_newest_result(boards: Boards, known: list[Entry]) -> None:
    table = boards.table(known)
    (note,) = [note for note in table.notes if note.startswith("p: ")]
    assert f"(edition {CURRENT.date})" in note


def test_an_own_family_is_shown_and_the_edition_named(boards: Boards, known: list[Entry]) -> None:
    table = boards.table([*known, boards.entry("junk", "junk", "two-cam", 2.5, 77)])
    assert table.edition == CURRENT.date
    assert [test.second for test in table.tests if test.first == "junk"] == ["cross-entropy", "cyborg"]
    assert "junk" in readable.against_baseline(table)
    text = render.render_tables([table], "terminal")
    assert f"Edition {CURRENT.date}" in text
    assert "own family of junk, Holm over the 2 tests of its family: junk − cross-entropy +0." in text
    assert "Ranks compare all methods of this table and move with each new one" in text
    assert next(row.rank for row in table.rows if row.label == "junk") is not None, "ranks are open"


def test_a_row_has_a_p_only_where_a_family_adjusts_it(boards: Boards, known: list[Entry]) -> None:
    table = boards.table([*known, boards.entry("late-control", "late-control", "control", 1.2, 78)])
    with_p = {row.label for row in table.rows if row.difference is not None and not np.isnan(row.difference.p)}
    assert with_p == {test.first for test in table.tests if test.second == families.BASELINE}
    assert "late-control" in with_p
    assert "cyborg-shuffled" not in with_p


def test_the_grid_of_the_conditions_is_that_of_the_families(boards: Boards, known: list[Entry]) -> None:
    alone, beside = boards.table(known), boards.table([*known, boards.entry("junk", "junk", "two-cam", 2.5, 77)])
    number = sum(cell.q is not None for row in alone.rows for cell in row.conditions)
    for table, over in (
        (alone, f"(Benjamini–Hochberg over {number} tests, q"),
        (
            beside,
            f"(Benjamini–Hochberg over {number} tests and, by itself, over the conditions of each method that has",
        ),
    ):
        (note,) = [note for note in readable.more_notes(table) if note.startswith("Exploratory")]
        assert over in note
    assert at_a_glance.adjusted_over(beside, "cyborg").endswith("but those with a family of their own")
    assert at_a_glance.adjusted_over(beside, "junk").startswith("the conditions of this method alone")
    assert at_a_glance.adjusted_over(alone, "cyborg") == "all methods and conditions of this table"
