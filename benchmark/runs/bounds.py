"""How much a run.json may hold, and that all of it can be shown: it may be a stranger's."""

from __future__ import annotations

import math

from divsal_bench.files.texts import text_problem
from divsal_bench.runs.messages import LONGEST_MESSAGE

#: Bytes of run.json; ours have some ten thousand.
LARGEST_RECORD = 2**22
#: How many values a record may hold, and how deep they may be nested.
MOST_VALUES, DEEPEST = 100_000, 50
#: Characters of a text in a record, but in the two fields that hold messages of exceptions.
LONGEST_TEXT = 400
#: A whole number beyond this is no count, no size and no seed.
LARGEST_INTEGER = 2**63


def check_content(content: object) -> None:
    """Check what types do not: how much there is, and that every text is short and can be printed.

    Raises:
        ValueError: It cannot be a run's.
    """
    waiting: list[tuple[str, object, int]] = [("", content, 0)]
    seen = 0
    while waiting:
        field, value, depth = waiting.pop()
        if isinstance(value, str):
            check_text(value, field)
        elif isinstance(value, int | float):
            if (isinstance(value, int) and abs(value) > LARGEST_INTEGER) or not math.isfinite(value):
                raise ValueError(f"field {field!r} has a number that none of ours can be")
        elif isinstance(value, dict | list):
            seen += len(value)
            if seen > MOST_VALUES or depth == DEEPEST:
                raise ValueError(f"field {field!r} holds too much, or is nested too deeply")
            if isinstance(value, dict):
                for name in value:
                    check_text(name, f"a name in {field}" if field else "a name")
                waiting += [(field or name, one, depth + 1) for name, one in value.items()]
            else:
                waiting += [(field, one, depth + 1) for one in value]


def check_text(text: str, field: str) -> None:
    """Check one text of a record; ValueError if it is too long, or a terminal would obey it."""
    problem = text_problem(text, LONGEST_MESSAGE.get(field, LONGEST_TEXT), several_lines=field in LONGEST_MESSAGE)
    if problem:
        raise ValueError(f"field {field!r} {problem}")
