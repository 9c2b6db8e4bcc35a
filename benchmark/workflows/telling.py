"""How a workflow says a line that must be heard while it works."""

from __future__ import annotations

from collections.abc import Callable

#: Is handed one line, without its end.
Say = Callable[[str], None]


def silent(text: str) -> None:
    """Say nothing."""
