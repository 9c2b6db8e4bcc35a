"""The one error users see: a sentence that names what is wrong, where, and the fix."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

#: What a terminal would obey instead of showing it (control characters, changes of the direction of writing), and
#: halves of characters, which cannot be written at all. File names and strangers' files may hold them.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: object) -> str:
    """Text from outside as one line that shows what it is; whatever would not show becomes a question mark."""
    return "".join(character if character.isprintable() else "?" for character in str(text))


class UserError(Exception):
    """Something outside the program is wrong and the user can mend it.

    The command line prints the message as one line on standard error and exits with code 2; every other
    exception is a bug of ours and keeps its traceback. Whatever the message quotes can be printed: what matches
    :data:`UNPRINTABLE` becomes a question mark.
    """

    def __init__(self, message: str) -> None:
        super().__init__(UNPRINTABLE.sub("?", " ".join(message.split())))


def unknown(kind: str, name: str, known: Iterable[str], hint: str = "") -> UserError:
    """Build the error for a name that does not exist, with the closest known name.

    Args:
        kind: What the name should have been, e.g. ``"task"``.
        name: What was given.
        known: Every valid name.
        hint: A command or sentence that shows the valid names; without it they are listed.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    suggestion = f" Did you mean {close[0]!r}?" if close else ""
    return UserError(f"unknown {kind} {name!r}.{suggestion} {hint or 'Known: ' + ', '.join(names) + '.'}")
