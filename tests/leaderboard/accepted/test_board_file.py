"""board.json: what is read is what was computed, NaN and infinities too, and the same results give the same bytes."""

from __future__ import annotations

import dataclasses
import html
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from divsal_bench.errors import UserError
from divsal_bench.leaderboard.accepted import all_results, board_file
from divsal_bench.leaderboard.accepted.changes import changes, escaped
from divsal_bench.leaderboard.accepted.submission import Submitted
from divsal_bench.leaderboard.tables import render
from divsal_bench.runs.reading import Run

MakeRun = Callable[..., Run]
Five = Callable[..., list[Run]]
Submit = Callable[..., list[Submitted]]


@pytest.fixture(scope="module")
def computed(written: Path) -> board_file.SavedBoard:
    """The board of two methods."""
    return board_file.compute(all_results.read_accepted(written / "results"))


def same(a: Any, b: Any) -> bool:
    """Equal all the way down, NaN to NaN."""
    if dataclasses.is_dataclass(a) and not isinstance(a, type):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and math.isnan(a):
        return isinstance(b, float) and math.isnan(b)
    return bool(a == b)


def test_round_trip(computed: board_file.SavedBoard, tmp_path: Path) -> None:
    (tmp_path / board_file.FILE).write_bytes(board_file.as_bytes(computed))
    again = board_file.read_board(tmp_path)
    assert same(computed, again)
    assert board_file.as_bytes(again) == board_file.as_bytes(computed)
    text = board_file.as_bytes(computed).decode()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    for form in ("terminal", "markdown", "csv", "json"):
        first, second = (render.render_tables([one.table for one in board.tables], form) for board in (computed, again))  # type: ignore[arg-type]
        assert first == second


def test_infinite_and_tiny_numbers_survive(computed: board_file.SavedBoard, tmp_path: Path) -> None:
    row = computed.tables[0].table.rows[0]
    assert row.in_domain.population is not None
    values = {"df": math.inf, "low": -math.inf, "high": 5e-324, "c": float(np.nextafter(0.1, 1)), "sd": math.nan}
    interval = dataclasses.replace(row.in_domain.population, **values)
    row = dataclasses.replace(row, in_domain=dataclasses.replace(row.in_domain, population=interval))
    table = dataclasses.replace(computed.tables[0].table, rows=(row,))
    board = board_file.SavedBoard(1, (board_file.SavedTable(table, None),))
    (tmp_path / board_file.FILE).write_bytes(board_file.as_bytes(board))
    assert same(board_file.read_board(tmp_path), board)
    text = board_file.as_bytes(board).decode()
    assert {'"NaN"', '"Infinity"', '"-Infinity"'} <= set(text.replace(",", " ").split())


def test_one_method_is_a_board(five: Five, submit: Submit, tmp_path: Path) -> None:
    submit(five("cyborg"))
    board = board_file.compute(all_results.read_accepted(tmp_path / "results"))
    (row,) = board.tables[0].table.rows
    assert row.rank is None
    assert not board.tables[0].table.tests
    (tmp_path / board_file.FILE).write_bytes(board_file.as_bytes(board))
    assert same(board_file.read_board(tmp_path), board)


def test_the_order_of_submission_changes_no_byte(make_published: MakeRun, submit: Submit, tmp_path: Path) -> None:
    boards = []
    for place, methods in (("a", ("cyborg", "cross-entropy")), ("b", ("cross-entropy", "cyborg"))):
        for method in methods:
            submit([make_published(method, seed) for seed in range(5)])
        (tmp_path / "results").rename(tmp_path / place)
        boards.append(board_file.as_bytes(board_file.compute(all_results.read_accepted(tmp_path / place))))
    assert boards[0] == boards[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no .*--recompute"),
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('[{"schema_version": 1}]', "cannot be read"),
        ('[{"schema_version": 1, "tables": [{}]}]', "cannot be read"),
        ('[{"schema_version": 9, "tables": []}]', "update divsal-bench"),
    ],
)
def test_a_board_that_cannot_be_read(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / board_file.FILE).write_text(content)
    with pytest.raises(UserError, match=message):
        board_file.read_board(tmp_path)


def test_a_board_whose_texts_a_terminal_would_obey_is_refused(computed: board_file.SavedBoard, tmp_path: Path) -> None:
    name = computed.tables[0].table.rows[0].label.encode()
    content = board_file.as_bytes(computed).replace(b'"' + name, b'"\\u001b[31m' + name)
    (tmp_path / board_file.FILE).write_bytes(content)
    with pytest.raises(UserError, match=r"it has a text with control characters, '\\x1b\[31m.*--recompute"):
        board_file.read_board(tmp_path)


def test_changes_name_added_removed_and_changed_rows(make_published: MakeRun, submit: Submit, tmp_path: Path) -> None:
    def board() -> board_file.SavedBoard:
        return board_file.compute(all_results.read_accepted(tmp_path / "results"))

    strengths = {"cross-entropy": 1.0, "difference": 1.0}
    submit([make_published(method, seed, strength) for method, strength in strengths.items() for seed in range(5)])
    before = board()
    assert changes(before, before) == "## Board\n\nNo row changes."
    submit([make_published("cyborg", seed, 3.0) for seed in range(5)])
    after = board()
    text = changes(before, after)
    (line,) = [line for line in text.splitlines() if "cyborg |" in line]
    assert line.startswith("| added | cyborg | 0.9")
    assert "&#62; cross-entropy (p = 0.0".replace("(", "&#40;") in line
    assert "1, top" in line
    (line,) = [line for line in text.splitlines() if line.startswith("| changed | cross-entropy")]
    assert "1–2, top → 2–3" in line
    assert "| removed | cyborg |" in changes(after, before)
    assert changes(board_file.EMPTY, after).count("| added |") == 3


@pytest.mark.parametrize(
    "text",
    ["<img src=x onerror=alert(1)>", "a|b", "[x](javascript:y)", "`code`", "@team", "#1", "![x](https://e.vil/p.png)",
     "https://e.vil", "www.e.vil", "**bold**", "a\u202eb", "~~gone~~", "$x$", "line\nbreak"],
)  # fmt: skip
def test_text_from_outside_cannot_act_in_markdown(text: str) -> None:
    safe = escaped(text)
    assert not set(safe) & set("<>|[]()`@!*~$\n\u202e")
    assert "://" not in safe
    assert "www." not in safe
    assert html.unescape(safe).replace(" ", "") == text.replace("\n", "").replace("\u202e", "").replace(" ", "")


def changed(results: Path, place: tuple[str, ...], value: Any) -> str:
    """What the difference says after one value of a claim was edited."""
    path = results / "cxr/ffffffff/quick-v1/resnet10t/cyborg.json"
    before = all_results.read_accepted(results)
    content = json.loads(path.read_text())
    inner = content
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] = value
    path.write_text(json.dumps(content))
    after = all_results.read_accepted(results)
    return changes(board_file.compute(before), board_file.compute(after), before.sheets, after.sheets)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("submitter",), "Mallory", "submitter Ann → Mallory"),
        (("description",), "Another.", "; claim|: claim"),
        (("date",), "2026-01-01", "; claim|: claim"),
    ],
)
def test_every_edit_of_a_claim_shows(results: Path, place: tuple[str, ...], value: Any, message: str) -> None:
    text = changed(results, place, value)
    assert "| changed | cyborg |" in text
    (line,) = [line for line in text.splitlines() if line.startswith("- cyborg: other facts changed: ")]
    assert any(part in line for part in message.split("|"))


def test_an_edited_lift_shows(results: Path) -> None:
    path = results / "cxr/ffffffff/quick-v1/resnet10t/cyborg.json"
    scores = json.loads(path.read_text())["seeds"][0]["scores"]
    text = changed(results, ("seeds",), [
        {**one, "scores": {**one["scores"], "difference_map": {**scores["difference_map"], "lift": 9.0}}}
        for one in json.loads(path.read_text())["seeds"]
    ])  # fmt: skip
    assert "other facts changed: difference lift 1.5000 → 9.0000" in text


def test_new_proofs_are_said_to_be_statements(results: Path) -> None:
    proof = {"by": "Bob <b>", "date": "2026-01-01", "max_difference": 0.0, "device": "cpu", "versions": {}}
    path = results / "cxr/ffffffff/quick-v1/resnet10t/cyborg.json"
    before = all_results.read_accepted(results)
    content = json.loads(path.read_text())
    proof["margins_sha256"] = content["margins_sha256"]
    path.write_text(json.dumps({**content, "verified": proof, "state": "verified"}))
    after = all_results.read_accepted(results)
    boards = board_file.compute(before), board_file.compute(after)
    text = changes(*boards, before.sheets, after.sheets)
    assert "stated by Bob &#60;b&#62;, not established by this check" in text
    assert "reported → verified" in text
    assert "not established" not in changes(boards[1], boards[1], after.sheets, after.sheets)
    assert "not established" in changes(board_file.EMPTY, boards[1], (), after.sheets)


def test_a_stored_board_must_be_what_the_results_give(computed: board_file.SavedBoard, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no .*--recompute"):
        board_file.check_current(tmp_path, computed)
    board_file.check_current(tmp_path, board_file.EMPTY)
    path = tmp_path / board_file.FILE
    path.write_bytes(board_file.as_bytes(computed))
    board_file.check_current(tmp_path, computed)
    (one,) = computed.tables
    for factor, refused in ((1 + 1e-12, False), (1 + 1e-6, True)):
        row = one.table.rows[1]
        cell = dataclasses.replace(row.open_set.seeds, mean=row.open_set.seeds.mean * factor)
        row = dataclasses.replace(row, open_set=dataclasses.replace(row.open_set, seeds=cell))
        table = dataclasses.replace(one.table, rows=(one.table.rows[0], row))
        path.write_bytes(board_file.as_bytes(board_file.SavedBoard(1, (board_file.SavedTable(table, one.gallery),))))
        if refused:
            with pytest.raises(UserError, match=r"table cxr/ffffffff/.*, row cyborg differs.*--recompute"):
                board_file.check_current(tmp_path, computed)
        else:
            board_file.check_current(tmp_path, computed)
    path.write_bytes(board_file.as_bytes(board_file.EMPTY))
    with pytest.raises(UserError, match="only computed"):
        board_file.check_current(tmp_path, computed)
    path.write_bytes(board_file.as_bytes(computed))
    with pytest.raises(UserError, match="only stored"):
        board_file.check_current(tmp_path, board_file.EMPTY)
    table = dataclasses.replace(one.table, notes=("All is well.",))
    path.write_bytes(board_file.as_bytes(board_file.SavedBoard(1, (board_file.SavedTable(table, one.gallery),))))
    with pytest.raises(UserError, match="notes differs"):
        board_file.check_current(tmp_path, computed)
