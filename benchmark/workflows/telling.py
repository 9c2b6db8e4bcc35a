"""How a workflow is heard while it works: lines that must be said, and callbacks, which are all called ``on_…``."""

from __future__ import annotations

from collections.abc import Callable

#: Is handed one line, without its end.
Say = Callable[[str], None]
#: Is told how many are done, and of how many.
OnCount = Callable[[int, int], None]


def silent(text: str) -> None:
    """Say nothing."""


def unheard(*told: object) -> None:
    """Nobody wants to hear of it: what every callback is unless another is given."""
