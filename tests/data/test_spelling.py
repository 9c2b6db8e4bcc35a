"""Names as people see them."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from divsal_bench.data import spelling
from divsal_bench.errors import UNPRINTABLE
from divsal_bench.runs.bounds import LONGEST_TEXT, check_text

pytestmark = pytest.mark.fast


def test_whatever_a_data_set_may_hold_a_record_can() -> None:
    """Every character, alone and between letters: the rules for data are at least as strict as those for records."""
    for code in range(sys.maxunicode + 1):
        name = f"a{chr(code)}b"
        if not spelling.problem(name):
            assert not UNPRINTABLE.search(name), hex(code)
    name = "source:" * 2 + "n" * spelling.LONGEST_NAME
    assert not spelling.problem("n" * spelling.LONGEST_NAME)
    check_text(name, "condition")
    assert len(name) <= LONGEST_TEXT


BAD = {
    "a direction mark": ("\u202aHannover", "U+202A"),
    "Arabic text with its marks": ("\u202bمستشفى\u202c", "U+202B"),
    "an isolate": ("a\u2067b", "U+2067"),
    "a zero-width space": ("NIH\u200b", "U+200B"),
    "a joiner among Latin letters": ("NI\u200dH", "U+200D"),
    "a joiner at the end": ("خانه\u200c", "U+200C"),
    "a byte-order mark": ("\ufeffNIH", "U+FEFF"),
    "a soft hyphen": ("hos\u00adpital", "U+00AD"),
    "a Hangul filler": ("a\u3164", "U+3164"),
    "a combining joiner": ("a\u034fb", "U+034F"),
    "a blank braille sign": ("\u2800", "U+2800"),
    "a tag": ("a\U000e0041", "U+E0041"),
    "a line break": ("a\nb", "line break or control character U+000A"),
    "a line separator": ("a\u2028b", "U+2028"),
    "an escape": ("\x1b[2J", "U+001B"),
    "a C1 control": ("\x9b2J", "U+009B"),
    "half a character": ("\ud800", "U+D800"),
    "a sentence": ("patchy opacity in the right lower zone, " * 11, "has 440 characters, 380 are allowed"),
    "a subject of megabytes": ("p" * 3_000_000, "has 3,000,000 characters"),
}


@pytest.mark.parametrize("kind", BAD)
def test_names_that_cannot_be_kept(kind: str) -> None:
    name, message = BAD[kind]
    assert message in spelling.problem(name)


@pytest.mark.parametrize("name", ["", "NIH", "Größe 胸 🙂", "می\u200cخواهم", "क्\u200dष", "a/b c.png", "São João"])
def test_names_of_all_languages_can(name: str) -> None:
    assert spelling.problem(name) == ""
    assert spelling.problem(unicodedata.normalize("NFD", name)) == ""


SAME = [
    ("José Pérez", "Jose\u0301 Pe\u0301rez"), ("NIH", "NIH\u200b"), ("a b", "a  b"), ("a b", "a\u00a0b"),
    ("NIH", " NIH "),    ("葛", "葛\U000e0100"), ("☎", "☎\ufe0f"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), SAME)
def test_names_that_read_the_same(one: str, other: str) -> None:
    assert spelling.seen(one) == spelling.seen(other)


@pytest.mark.parametrize(("one", "other"), [("NIH", "nih"), ("a-b", "ab"), ("é", "e"), ("1", "1.0")])
def test_names_that_differ_to_the_eye(one: str, other: str) -> None:
    assert spelling.seen(one) != spelling.seen(other)


RESEMBLING = {
    ("Print", "print"): "capitals",
    ("AD-100", "AD100"): "capitals, punctuation or zeros",
    ("100", "100.0"): "capitals, punctuation or zeros",
    ("007", "7"): "capitals, punctuation or zeros",
    ("deep fakes", "deepfakes"): "capitals, punctuation or zeros",
    ("Straße", "strasse"): "capitals",
    ("pneumoia", "pneumonia"): "one letter",
    ("pneumnoia", "pneumonia"): "one letter",
    ("pneumonla", "pneumonia"): "one letter",
    ("print", "prints"): "one letter",
}


@pytest.mark.parametrize(("one", "other"), RESEMBLING)
def test_names_that_may_be_one(one: str, other: str) -> None:
    assert [how for _, _, how in spelling.resembling([one, other, "", one])] == [RESEMBLING[one, other]]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("AD100", "AD200"), ("hospital-A", "hospital-B"), ("a", "b"), ("StyleGAN", "StyleGAN2"), ("p1", "p10"),
        ("1-23", "12-3"), ("lens", "lenses"), ("male", "female"), ("की", "के"), ("print", "replay"), ("C", "D"),
        ("siteA", "siteB"),
    ],
)  # fmt: skip
def test_names_that_are_two(one: str, other: str) -> None:
    assert list(spelling.resembling([one, other])) == []
