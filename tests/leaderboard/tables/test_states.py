"""Every sentence that a table, the page and ``compare`` print, in every state that a table can be in."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from drawn_boards import METHODS, PAD, Fake, drawn_table
from parsed_html import parse

from divsal_bench.files import text_tables
from divsal_bench.leaderboard.sheets import entries
from divsal_bench.leaderboard.tables import comparing, readable, render
from divsal_bench.leaderboard.tables.comparison_text import comparison_text
from divsal_bench.leaderboard.tables.schema import Table
from divsal_bench.leaderboard.web.page import render_page

CE, CYBORG, DIFFERENCE, SHUFFLED = METHODS[0], METHODS[2], METHODS[3], METHODS[7]
INSIDE = [part for part in PAD if part[1] == "sensor-a" and part[2] in ("", "print")]

APART = [*(part for part in PAD if part[0] != "test"), ("test", "sensor-a", "print", 1, 60), ("test", "b", "", 0, 40)]


def n(seeds: int, *methods: Fake) -> list[Fake]:
    return [replace(one, seeds=seeds) for one in methods]


#: What a table can be in, and a sentence that must then be said.
STATES: dict[str, tuple[dict[str, Any], str]] = {
    "one seed": ({"methods": n(1, CE, CYBORG)}, "n = 1 seed: no sd, no interval, no test."),
    "one seed of one method": ({"methods": n(1, CE)}, "No rank and no p: cross-entropy (n = 1, a test needs 5 seeds)."),
    "two seeds": ({"methods": n(2, CE, CYBORG, DIFFERENCE)}, "No rank and no p: all methods (n = 2"),
    "one method": ({"methods": n(5, CE)}, "c⁺/v, median over the methods' means"),
    "one method that is not the baseline": ({"methods": n(5, CYBORG)}, "n = 5 seeds."),
    "two methods": ({"methods": n(5, CE, CYBORG)}, "one test, so not adjusted"),
    "without the baseline": ({"methods": n(5, CYBORG, DIFFERENCE)},
                             "No p against cross-entropy: it is not in the table."),
    "a control alone": ({"methods": n(5, CE, SHUFFLED)}, "controls are tested against cyborg alone"),
    "no result": ({"methods": [replace(CE, seeds=0, failed=2), replace(CYBORG, seeds=0, diverged=1)]},
                  "No run has a result."),
    "a survivor": ({"methods": [replace(CE, seeds=1, failed=1), *n(2, CYBORG)]}, "runs without a result: 1 failed"),
    "a baseline with a failed seed": ({"methods": [replace(CE, seeds=4, failed=1), *n(5, CYBORG, DIFFERENCE)]},
                                      "No p against cross-entropy: it may not be tested itself"),
    "a method with a failed seed": ({"methods": [*n(5, CE, DIFFERENCE), replace(CYBORG, seeds=4, failed=1)]},
                                    "n = 5 seeds."),
    "no maps at all": ({"methods": n(5, CE, CYBORG), "maps": 0, "train": 100, "train_maps": 0},
                       "No test image has a human map: no lift."),
    "one map": ({"methods": n(5, CE, CYBORG), "maps": 1, "train": 100, "train_maps": 1},
                "Lift rests on 1 human map, fewer than 30"),
    "few maps": ({"methods": n(5, CE, CYBORG), "maps": 12, "train": 100, "train_maps": 40},
                 "Training rows with a human map: 40 of 100 (40 %)."),
    "few subjects": ({"methods": n(5, CE, CYBORG, DIFFERENCE), "per_subject": 30}, "of one class, 10 are needed"),
    "one subject in a class": ({"methods": n(5, CE, CYBORG), "per_subject": 60}, "of one class, 10 are needed"),
    "every image a subject": ({"methods": n(5, CE, CYBORG), "per_subject": 1}, "410 in all, 410 with a single row."),
    "a twin": ({"methods": [*n(5, CE, CYBORG), replace(CE, label="other", seeds=5, twin_of=0)]},
               "other is identical to cross-entropy"),
    "twins alone": ({"methods": [*n(5, CE), replace(CE, label="other", seeds=5, twin_of=0)]},
                    "It is shown and counted once."),
    "chosen seeds": ({"methods": [*n(5, CE, CYBORG), replace(DIFFERENCE, seeds=5, first_seed=5)]},
                     "difference (seeds 5–9, not 0–4"),
    "one chosen seed": ({"methods": [replace(CE, seeds=1, first_seed=7)]}, "n = 1 seed"),
    "no unseen condition": ({"methods": n(5, CE, CYBORG, DIFFERENCE), "parts": INSIDE, "standin": False},
                            "No unseen condition has both classes"),
    "no condition with both classes": ({"methods": n(5, CE, CYBORG, DIFFERENCE), "parts": APART, "standin": False},
                                       "there is no AUROC, since no condition has both classes"),
    "below chance": ({"methods": [*n(5, CE), replace(CYBORG, seeds=5, outside=-1.5)]}, "shown below chance"),
    "many methods": ({"methods": METHODS}, "Holm over the 6 tests of its family"),
}  # fmt: skip

#: What no sentence may hold: numbers that are none, plurals of one, families of nothing, claims that are too strong.
BAD = {
    "a number that is none": r"\bnan\b|\binf\b|\bNone\b(?! of the)|nan %|-0\.000",
    "a plural of one": r"(?<![\d.+–-])1 (seed|run|method|test|subject|condition|map|pair|row|result|familie)s\b",
    "a family of one or nothing": r"(over|among|of) (the )?0 |Holm over (the )?1\b|ranks among|mean over 0",
    "an empty list": r": \.|; \.|\(\)|, \.|: ;|  – \(",
    "a claim that is too strong": r"\btied\b|corrected for|are real|new subjects|at or below chance",
    "an option that is not there": r"--seeds",
}


def check(text: str) -> None:
    """Look for every bad pattern."""
    for what, pattern in BAD.items():
        found = re.search(pattern, text)
        assert not found, f"{what}: …{text[max(0, found.start() - 80) : found.end() + 40]}…"


@pytest.fixture(scope="module", params=STATES)
def state(request: pytest.FixtureRequest) -> tuple[Table, str]:
    given, sentence = STATES[request.param]
    return drawn_table(**given), sentence


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex"])
def test_every_sentence_of_a_table_is_right_in_every_state(state: tuple[Table, str], form: render.Format) -> None:
    table, sentence = state
    text = render.render_tables([table], form)
    plain = re.sub(r"\\text\w+\{\}|\$\\cdot\$", "–", text) if form == "latex" else text
    check(plain)
    if form != "latex":
        assert sentence in text
        assert "new test subjects; training data, conditions, protocol and backbone as they are" in text or (
            "No run has a result." in text
        )


def test_every_sentence_of_the_page_is_right_in_every_state(state: tuple[Table, str]) -> None:
    table, sentence = state
    page = parse(render_page([table], {}))
    for part in (
        page.one("section", class_="limits"),
        page.one("div", class_="glance"),
        page.one("table", class_="board"),
    ):
        check(part.text)
    for part in page.all("section", class_="tests"):
        check(part.text)
    assert " ".join(sentence.split()) in page.one("section", class_="limits").text


@pytest.mark.parametrize("width", [20, 40, 60, 80, 132])
def test_a_narrow_terminal_gets_no_line_that_is_too_long(state: tuple[Table, str], width: int) -> None:
    table, sentence = state
    text = render.render_tables([table], "terminal", width)
    assert max(map(len, text.splitlines())) <= max(width, text_tables.MIN_WIDTH)
    flat = " ".join(text.split())
    check(flat)
    assert " ".join(sentence.split()) in flat
    for row in table.rows:
        assert row.label in flat
        assert f"{row.open_set.seeds.mean:.3f}" in flat or not row.open_set.seeds.n or bool(row.identical_to)


def test_what_goes_to_a_file_is_never_folded(state: tuple[Table, str]) -> None:
    table, _ = state
    notes = [*table.notes, *readable.more_notes(table)]
    lines = render.render_tables([table], "terminal").splitlines()
    assert lines[-len(notes) :] == [f"  {note}" for note in notes]


def test_a_wide_terminal_keeps_the_table() -> None:
    table = drawn_table(methods=METHODS)
    wide = render.render_tables([table], "terminal", 400)
    assert [line for line in wide.splitlines() if line.startswith("method ")]
    assert not [
        line for line in render.render_tables([table], "terminal", 60).splitlines() if line.startswith("method ")
    ]


@pytest.mark.parametrize("form", ["terminal", "markdown"])
@pytest.mark.parametrize(
    ("first", "second"),
    [((0, 1), (0, 1)), ((0, 1), (1, 1)), ((0, 5), (0, 5)), ((0, 5), (5, 1)), ((0, 5), (5, 5)), ((0, 2), (1, 4))],
)
def test_every_sentence_of_a_comparison_is_right(first: tuple[int, int], second: tuple[int, int], form: str) -> None:
    found = compared(
        replace(CE, first_seed=first[0], seeds=first[1]), replace(CYBORG, first_seed=second[0], seeds=second[1])
    )
    for width in (None, 40, 60):
        text = comparison_text(found, form, width)
        check(text)
        if width and form == "terminal":
            assert max(map(len, text.splitlines())) <= width
    enough = min(first[1], second[1]) >= 5
    assert ("Nothing may be claimed" in found.claim) != enough


def compared(first: Fake, second: Fake) -> comparing.PairComparison:
    """Two made-up methods."""
    import drawn_boards

    rows = drawn_boards.rows_of(PAD)
    pair = [drawn_boards.entry(one, rows, place, ("d-eer",)) for place, one in enumerate((first, second))]
    group = entries.Group("iris-pad", "3f5a" * 16, "quick-v1", "resnet10t", "two-logit", "0a1b2c3d")
    sheet = entries.Sheet(group, "standin", rows.rename(columns={"sample_id": "key"}), tuple(pair), True)
    return comparing.compare_entries(sheet, *pair)


def test_drawn_data_that_nobody_named_is_said_in_the_heading() -> None:
    table = drawn_table(methods=n(2, CE))
    assert "data standin (drawn; 3f5a3f5a)" in readable.table_heading(table)
    unnamed = replace(table, unnamed=True)
    assert "data standin (drawn; no data was named; 3f5a3f5a)" in readable.table_heading(unnamed)
    assert "no data was named" in parse(render_page([unnamed], {})).one("header", class_="about").text
    real = drawn_table(methods=n(2, CE), standin=False, data="radiographs")
    assert "data radiographs (3f5a3f5a)" in readable.table_heading(real)


def test_names_from_outside_stay_text() -> None:
    label, data = "a|b`c`<img src=x>[x](http://e.org)![i](y)*z*_u_\x1b[31m", "=1+1"
    table = drawn_table(methods=[replace(CE, seeds=2, label=label)], data=data)
    markdown = render.render_tables([table], "markdown")
    row = next(line for line in markdown.splitlines() if "img src" in line)
    assert row.startswith(r"| a\|b\`c\`\<img src=x\>[x\](http://e.org)![i\](y)\*z\*\_u\_ [31m ")
    assert "\x1b" not in markdown + render.render_tables([table], "terminal") + render.render_tables(
        [table], "terminal", 40
    )
    assert ",'=1+1," in render.render_tables([table], "csv")


def test_states_are_told_apart() -> None:
    """A check that finds nothing proves nothing: each pattern finds what it is for."""
    for text in (
        "p nan",
        "over 1 seeds",
        "Holm over 1 methods",
        "No rank: .",
        "all methods are tied",
        "give --seeds 5",
    ):
        with pytest.raises(AssertionError):
            check(text)
    check("1 seed, 11 seeds, 0.1 runs, 0+1 map, n = 1–5 seeds")
    assert np.isnan(drawn_table(methods=n(1, CE)).subject_share)
