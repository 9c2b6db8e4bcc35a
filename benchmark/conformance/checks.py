"""A check: one promise of the contract, looked at on one plugin."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from divsal_bench.errors import printable
from divsal_bench.files.texts import shortened_end

P = TypeVar("P")
#: Messages of other programs are cut here: a report has one line a check.
LONGEST = 300


class BreachError(Exception):
    """A promise that a plugin does not keep. The message says what is wrong, where, and the fix."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


@dataclass(frozen=True)
class Check(Generic[P]):
    """One promise.

    Attributes:
        look: Takes the plugin. Returns a note for the report, "" for none; raises :class:`BreachError`.
    """

    name: str
    look: Callable[[P], str]


@dataclass(frozen=True)
class Outcome:
    """What a check found.

    Attributes:
        note: A fact worth showing, with no bearing on the verdict.
        problem: What is wrong, where, and the fix; "" where the promise holds.
    """

    name: str
    note: str = ""
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Whether the promise holds."""
        return not self.problem


def look_at_promise(check: Check[P], plugin: P, file: Path) -> Outcome:
    """Look at one promise; whatever the plugin raises is its problem, named with the line of its file."""
    try:
        return Outcome(check.name, note=check.look(plugin))
    except BreachError as breach:
        return Outcome(check.name, problem=str(breach))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may raise anything
        return Outcome(check.name, problem=raised(error, file))


def conduct(stages: Sequence[Sequence[Check[P]]], plugin: P, file: Path) -> Iterator[Outcome]:
    """Look at every promise, stage by stage.

    Args:
        stages: A stage is looked at only when all before it hold: what builds on a broken promise would
            say the same thing again, or something misleading.
    """
    for stage in stages:
        sound = True
        for check in stage:
            outcome = look_at_promise(check, plugin, file)
            sound = sound and outcome.ok
            yield outcome
        if not sound:
            return


def raised(error: BaseException, file: Path) -> str:
    """What a plugin raised, and the last line of its file that was on the way there."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == file]
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename) == file:
        lines.append(error.lineno)
    place = f"{file.name} line {lines[-1]}" if lines else file.name
    text = printable(" ".join(str(error).split()))
    return f"raised {type(error).__name__}: {shorten(text)} ({place}); mend what that line does"


def shorten(text: str) -> str:
    """Cut a text that would fill the screen."""
    return shortened_end(text, LONGEST)
