"""Texts of anybody: cut and made printable in one way."""

from __future__ import annotations

import pytest

from divsal_bench.files import texts
from divsal_bench.files.foreign import RefusedError, why_unread

pytestmark = pytest.mark.fast


def test_the_reason_of_an_error_is_one_short_line() -> None:
    assert texts.first_line(ValueError("\n  first\nsecond")) == "first"
    assert texts.first_line(KeyError()) == "KeyError"
    assert len(texts.first_line(ValueError("x" * 999))) == texts.LONGEST_REASON
    assert why_unread(RefusedError("is nested too deeply")) == "it is nested too deeply"
    assert why_unread(PermissionError(13, "Permission denied", "secret")) == "Permission denied"
    assert why_unread(OSError()) == "OSError"


def test_what_would_not_show_becomes_a_space_or_a_question_mark() -> None:
    assert texts.spaced("a\tb\u202ec\n") == "a b c "
    assert texts.printable_lines("Error:\n\t\x1b[2J\u202e\ud800") == "Error:\n\t?[2J??"


@pytest.mark.parametrize(
    ("text", "several_lines", "problem"),
    [
        ("Größe 胸 🙂", False, ""),
        ("x" * 20, False, ""),
        ("x" * 21, False, "has a text of 21 characters, 20 are allowed"),
        ("a\nb", False, "has control characters"),
        ("a\nb\t", True, ""),
        ("a\rb", True, "has control characters"),
    ],
)
def test_a_text_is_checked_in_one_way(text: str, several_lines: bool, problem: str) -> None:
    assert texts.text_problem(text, 20, several_lines) == problem


def test_every_text_of_json_is_found() -> None:
    content = {"a": ["b", {"c": [[("d",)]]}], "e": None, "f": 1.5}
    assert sorted(texts.texts_in(content)) == ["a", "b", "c", "d", "e", "f"]


def test_long_texts_keep_what_says_most() -> None:
    assert texts.shortened_end("x" * 9, 9) == "x" * 9
    assert texts.shortened_end("x" * 10, 9) == "x" * 8 + "…"
    assert texts.shortened_middle("short", 5) == "short"
    cut = texts.shortened_middle("why " + "e" * 100 + " where", 30)
    assert (len(cut), cut[:4], cut[-6:]) == (30, "why ", " where")
    assert texts.shortened_middle("abcdef", 3) == "abc"
