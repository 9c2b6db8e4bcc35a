"""Check a plugin: does it keep what the contract promises?"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from divsal_bench.conformance import loading, stages
from divsal_bench.conformance.checks import BreachError, Outcome, conduct
from divsal_bench.conformance.drawings import DrawnTask
from divsal_bench.contracts.task import Task
from divsal_bench.networks import devices
from divsal_bench.registry import plugins
from divsal_bench.workflows.telling import Say, silent, unheard


@dataclass(frozen=True)
class CheckedPlugin:
    """What was found.

    Attributes:
        outcomes: Of the checks that were looked at; of a plugin that cannot be loaded, the reason alone.
        total: How many checks there are; those that build on one that failed are not looked at. 0 where the plugin
            cannot be loaded.
        seconds: What it took.
    """

    outcomes: tuple[Outcome, ...]
    total: int
    seconds: float

    @property
    def failed(self) -> int:
        """How many checks did not pass."""
        return sum(not outcome.ok for outcome in self.outcomes)

    @property
    def passed(self) -> int:
        """How many checks passed."""
        return len(self.outcomes) - self.failed


def check_plugin(plugin: str, *, on_outcome: Callable[[Outcome], None] = unheard, say: Say = silent) -> CheckedPlugin:
    """Look at each promise of the contract on one method or task.

    Args:
        plugin: A method's or task's name, or the path of one .py file, whose code is run.
        on_outcome: Is told each outcome as soon as it is known: the short runs at the end take half a minute.
        say: Hears notices: plugins that cannot be loaded, and that a file's code is run.

    Returns:
        All outcomes.

    Raises:
        UserError: There is no such plugin or file.

    Example:
        >>> from pathlib import Path
        >>> from divsal_bench.workflows.checking import check_plugin
        >>> written = Path("empty.py").write_text("")
        >>> check_plugin("empty.py").outcomes[0].problem.split(";")[0]
        'a method file must define exactly one Method class, this one defines 0 (in empty.py)'
    """
    started = time.perf_counter()
    devices.prepare_environment()
    for complaint in (*plugins.methods().complaints(), *plugins.tasks().complaints()):
        say(complaint)
    if loading.is_file(plugin):
        say(f"checking {plugin} runs its code")
    outcomes: list[Outcome] = []
    total = 0
    try:
        candidate = loading.find_candidate(plugin)
    except BreachError as breach:
        found = iter([Outcome("loads", problem=str(breach))])
    else:
        if isinstance(candidate.plugin, Task):
            total = sum(map(len, stages.of_task()))
            found = conduct(stages.of_task(), DrawnTask(candidate.plugin, candidate.file), candidate.file)
        else:
            total = sum(map(len, stages.of_method()))
            found = conduct(stages.of_method(), candidate.plugin, candidate.file)
    for outcome in found:
        outcomes.append(outcome)
        on_outcome(outcome)
    return CheckedPlugin(tuple(outcomes), total, time.perf_counter() - started)
