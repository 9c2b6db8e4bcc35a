"""What methods and exceptions say, as a record keeps it.

Two rules, one after the other. What a method's code says (:func:`one_line`, :func:`notices_of`) is made short when its
run is recorded. Whatever a record is built of (:func:`kept_message`, :func:`kept_notices`) is cut to what
:func:`divsal_bench.runs.reading.read_run` takes, so that no message, a long traceback among them, makes it unreadable.
"""

from __future__ import annotations

from collections.abc import Sequence

from divsal_bench.errors import printable
from divsal_bench.files.texts import printable_lines, shortened_end, shortened_middle

#: Characters of what a method writes into its record: an error, its traceback, a notice, a logged term's name.
LONGEST_ERROR, LONGEST_TRACEBACK, LONGEST_NOTICE, LONGEST_NAME = 500, 4000, 400, 60
#: Notices of a method that are kept; of more, their number is.
MOST_METHOD_NOTICES = 20
#: Characters of the two fields of a record that hold messages, which may have several lines.
LONGEST_MESSAGE = {"error": 2000, "notices": 8000}
#: Notices of one record, and their characters in all; who says more says it over and over.
MOST_NOTICES, MOST_NOTICED = 100, 40_000


def notices_of(notices: object) -> list[str]:
    """What a method noted, each notice one short line, however much it was."""
    given = list(notices) if isinstance(notices, list | tuple) else [notices]
    texts = [one_line(text, LONGEST_NOTICE) for text in given[:MOST_METHOD_NOTICES]]
    return [*texts, f"and {len(given) - len(texts):,} more"] if len(given) > len(texts) else texts


def one_line(text: object, longest: int) -> str:
    """A text of a method's as one line that can be shown, cut to ``longest`` characters."""
    try:
        text = str(text)
    except Exception:
        text = f"a {type(text).__name__} that cannot be shown"
    return shortened_end(printable(" ".join(text[: 4 * longest].split())), longest)


def kept_message(text: str) -> str:
    """An error's message as a record holds it."""
    return shortened_middle(printable_lines(text), LONGEST_MESSAGE["error"])


def kept_notices(texts: Sequence[str]) -> list[str]:
    """Notices as a record holds them: the first ones, as many and as long as there is room for."""
    kept: list[str] = []
    for text in texts[:MOST_NOTICES]:
        room = MOST_NOTICED - sum(map(len, kept))
        if room > 0:
            kept.append(shortened_middle(printable_lines(text), min(room, LONGEST_MESSAGE["notices"])))
    return kept
