"""Text from anybody is text for a spreadsheet and for Markdown, whoever writes the file."""

from __future__ import annotations

import ast
import csv
import io
import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divsal_bench.files import escaping

pytestmark = pytest.mark.fast

ROOT = Path(__file__).resolve().parents[2]
FORMULAS = [
    "=1+1", "+1+1", "-1+1", "@SUM(A1)", "=cmd|' /C calc'!A0", "\t=1+1", "\r=1", " =1+1", "\n@x", "＝1+1", "－x", "-",
    "--x.png", '=HYPERLINK("https://e.vil")',
]  # fmt: skip


@pytest.mark.parametrize("text", FORMULAS)
def test_a_spreadsheet_runs_no_text(text: str) -> None:
    assert escaping.csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["cyborg", "a=b", "", "'=1", "-0.5", "+1e-3", "-inf", -0.5, 3, None, float("nan")])
def test_numbers_and_harmless_texts_stay(value: object) -> None:
    assert escaping.csv_cell(value) is value


def test_tables_are_written_without_formulas() -> None:
    rows = [["name", "=x"], ["=1+1", -0.25], ["plain", "-0.5"]]
    safe = [["name", "'=x"], ["'=1+1", "-0.25"], ["plain", "-0.5"]]
    assert list(csv.reader(io.StringIO(escaping.csv_text(rows)))) == safe
    table = pd.DataFrame({"name": ["=1+1", "plain"], "=x": [-0.25, -0.5]})
    assert list(csv.reader(io.StringIO(escaping.table_csv(table)))) == safe
    assert escaping.table_csv(pd.DataFrame({"x": [1 / 3]}), float_format="%.3g") == "x\n0.333\n"
    assert escaping.table_csv(pd.DataFrame([], columns=["image"])) == "image\n"
    no_text = pd.DataFrame({"image": ["\udcff.png", "=x"], "score": [1, 2]}, dtype=object)
    assert escaping.table_csv(no_text).encode("utf-8", "backslashreplace") == b"image,score\n\\udcff.png,1\n'=x,2\n"


def test_every_csv_file_is_written_this_way() -> None:
    """csv.writer, csv.DictWriter and to_csv write formulas as they are: nobody else may call them."""
    allowed = {
        "benchmark/files/escaping.py",
        "benchmark/grid/recording.py",
    }  # history.csv: numbers, and a heading made safe there
    found = {
        file.relative_to(ROOT).as_posix()
        for folder in ("benchmark", "leaderboard", "tasks", "baselines")
        for file in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("writer", "DictWriter", "to_csv")
    }
    assert found == allowed


@pytest.mark.parametrize(
    "text",
    ["a|b", "`code`", "**bold**", "*it*", "_it_", "<img src=x onerror=alert(1)>", "[x](javascript:y)",
     "![x](https://e.vil/p.png)", "[x]: https://e.vil", "[x][y]", "# head", "~~gone~~", "$x$", "&lt;b&gt;", "a\\",
     "two\nlines", "a\u202eb"],
)  # fmt: skip
def test_text_is_only_text_in_markdown(text: str) -> None:
    safe = escaping.markdown(text)
    bare = re.sub(r"\\.", "", safe)  # what is left when every escaped character is gone
    assert not set(bare) & set("|`*<>#~$\\\n\u202e")
    assert not re.search(r"\][(\[:]|&\w+;|(?<!\w)_|_(?!\w)", bare)


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=40))
def test_markdown_shows_the_text_itself(text: str) -> None:
    flat = "".join(character if character.isprintable() else " " for character in text)
    assert re.sub(r"\\(.)", r"\1", escaping.markdown(text)) == flat


def test_what_the_board_is_made_of_stays_readable() -> None:
    for text in ("cyborg:alpha=0.3,cam_class=predicted", "0.762 ± 0.017 [0.724, 0.795]", "data my_set (2d1f6884)"):
        assert escaping.markdown(text) == text
