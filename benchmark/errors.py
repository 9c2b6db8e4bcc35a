"""The one error users see: a sentence that names what is wrong, where, and the fix."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

#: What a terminal would obey instead of showing it (control characters, changes of the direction of writing), and
#: halves of characters, which cannot be written at all. File names and strangers' files may hold them.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

#: Places that are named beside the first mistake of a kind.
PLACES = 2


def printable(text: object) -> str:
    """Text from outside as one line that shows what it is; whatever would not show becomes a question mark."""
    return "".join(character if character.isprintable() else "?" for character in str(text))


def plural(count: int, noun: str) -> str:
    """``1 run``, ``2 runs``, ``1,000 runs``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


class UserError(Exception):
    """Something outside the program is wrong and the user can mend it.

    The command line prints the message as one line on standard error and exits with code 2; every other
    exception is a bug of ours and keeps its traceback. Whatever the message quotes can be printed: what matches
    :data:`UNPRINTABLE` becomes a question mark.

    Args:
        message: One line.
        details: Lines below it, where several things are wrong at once.
    """

    def __init__(self, message: str, details: Iterable[str] = ()) -> None:
        lines = (UNPRINTABLE.sub("?", " ".join(text.split())) for text in (message, *details))
        super().__init__("\n  ".join(lines))


class Mistake(NamedTuple):
    """One thing that is wrong with a data set.

    Attributes:
        kind: Mistakes of one kind are told once and counted.
        where: The row, as its owner finds it; "" for the data set as a whole.
        text: What is wrong, and what to do.
    """

    kind: str
    where: str
    text: str


def refusal(mistakes: Sequence[Mistake]) -> UserError:
    """One or more mistakes as one error: the first of each kind in words, the others by place and number."""
    kinds: dict[str, list[Mistake]] = {}
    for mistake in mistakes:
        kinds.setdefault(mistake.kind, []).append(mistake)
    lines = [_in_one_line(alike) for alike in kinds.values()]
    if len(lines) == 1:
        return UserError(lines[0])
    return UserError(f"{len(mistakes):,} mistakes of {len(kinds)} kinds:", lines)


def _in_one_line(alike: Sequence[Mistake]) -> str:
    """Mistakes of one kind in one line."""
    first, *others = alike
    text = f"{first.where}: {first.text}" if first.where else first.text
    if not others:
        return text
    places = [other.where.partition(" (")[0] for other in others[:PLACES] if other.where]
    named = f": {', '.join(places)}{', …' if len(others) > PLACES else ''}" if places else ""
    return f"{text} ({len(others):,} more like this{named})"


def field_problem(found: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """The first of pydantic's errors (``ValidationError.errors()``): the field, and what is wrong as ``it …`` goes on.

    A pattern is our own business: what does not match it is said to have another form.
    """
    first = found[0]
    context = first.get("ctx") or {}
    words = {
        "string_pattern_mismatch": "does not have the form that belongs there",
        "string_too_long": f"has more than {context.get('max_length')} characters",
        "missing": "is missing",
        "extra_forbidden": "is not known",
        "value_error": str(first["msg"]).removeprefix("Value error, "),
    }
    field = ".".join(str(part) for part in first["loc"])[:200]
    return field, words.get(first["type"], f"is wrong: {str(first['msg'])[:200]}")


def unknown(kind: str, name: str, known: Iterable[str], hint: str = "") -> UserError:
    """Build the error for a name that does not exist, with the closest known name.

    Args:
        kind: What the name should have been, e.g. ``"task"``.
        hint: A command or sentence that shows the valid names; without it they are listed.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    suggestion = f" Did you mean {close[0]!r}?" if close else ""
    return UserError(f"unknown {kind} {name!r}.{suggestion} {hint or 'Known: ' + ', '.join(names) + '.'}")


class DivergedError(Exception):
    """The loss or the scores stopped being finite."""


class StoppedError(Exception):
    """Work was asked to stop, and did so between two steps.

    Args:
        epoch: In which the same work again goes on, from the state that was saved; 0 where it begins anew.
    """

    def __init__(self, epoch: int = 0) -> None:
        super().__init__()
        self.epoch = epoch
