"""Texts of anybody: cut, put on one line, or refused where a terminal would obey them instead of showing them."""

from __future__ import annotations

from collections.abc import Iterable

from divsal_bench.errors import UNPRINTABLE

#: Characters of a reason that is quoted in a message.
LONGEST_REASON = 200


def first_line(error: BaseException) -> str:
    """The first line of an error's text, for one-line messages."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:LONGEST_REASON]


def spaced(text: str) -> str:
    """Text with a space in place of each character that would not show, line ends included."""
    return "".join(character if character.isprintable() else " " for character in text)


def printable_lines(text: str) -> str:
    """A message of several lines, as it can be shown: what a terminal would obey becomes a question mark."""
    return UNPRINTABLE.sub(lambda found: found[0] if found[0] in "\n\t" else "?", text)


def text_problem(text: str, longest: int, several_lines: bool = False) -> str:
    """What is wrong with a text from outside, as ``it …`` goes on; "" if nothing is.

    Args:
        several_lines: Whether it may hold line ends and tabs.
    """
    if len(text) > longest:
        return f"has a text of {len(text):,} characters, {longest:,} are allowed"
    shown = printable_lines(text) if several_lines else UNPRINTABLE.sub("?", text)
    return "has control characters" if shown != text else ""


def texts_in(content: object) -> Iterable[str]:
    """Every text in what JSON can hold, names included."""
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list | tuple):
            waiting += value


def shortened_middle(text: str, longest: int) -> str:
    """A message of at most so many characters: beginning and end, which say what and where, stay."""
    if len(text) <= longest:
        return text
    gap = "\n[…]\n"
    if longest <= len(gap):
        return text[:longest]
    head = (longest - len(gap)) // 2
    return text[:head] + gap + text[len(text) - (longest - len(gap) - head) :]


def shortened_end(text: str, longest: int) -> str:
    """A line of at most so many characters, with an ellipsis where something is missing."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
