"""``divsal-bench check``: does a plugin keep what the contract promises?"""

from __future__ import annotations

import argparse
import sys
import time

from divsal_bench.conformance import loading, stages
from divsal_bench.conformance.checks import BreachError, Outcome, conduct
from divsal_bench.conformance.drawings import DrawnTask
from divsal_bench.contracts.task import Task
from divsal_bench.networks import devices
from divsal_bench.registry import plugins

#: Exit code when a check does not pass.
NOT_PASSED = 1


def command(arguments: argparse.Namespace) -> int:
    """Print one line a check; exit code 1 when one does not pass."""
    started = time.perf_counter()
    devices.prepare_environment()
    for complaint in (*plugins.methods().complaints(), *plugins.tasks().complaints()):
        print(f"notice: {complaint}", file=sys.stderr)
    if loading.is_file(arguments.plugin):
        print(f"notice: checking {arguments.plugin} runs its code", file=sys.stderr, flush=True)
    try:
        candidate = loading.find_candidate(arguments.plugin)
    except BreachError as breach:
        print(outcome_line(Outcome("loads", problem=str(breach))))
        return NOT_PASSED
    plugin, file = candidate.plugin, candidate.file
    outcomes = []
    if isinstance(plugin, Task):
        total = sum(map(len, stages.of_task()))
        found = conduct(stages.of_task(), DrawnTask(plugin, file), file)
    else:
        total = sum(map(len, stages.of_method()))
        found = conduct(stages.of_method(), plugin, file)
    for outcome in found:
        print(outcome_line(outcome), flush=True)
        outcomes.append(outcome)
    failed = sum(not outcome.ok for outcome in outcomes)
    passed, waiting = len(outcomes) - failed, total - len(outcomes)
    rest = f", {waiting} wait until they pass" if waiting else ""
    seconds = time.perf_counter() - started
    print(f"{arguments.plugin}: {passed} of {total} checks passed, {failed} failed{rest} ({seconds:.0f} s)")
    return NOT_PASSED if failed else 0


def outcome_line(outcome: Outcome) -> str:
    """``ok: …`` or ``FAILED: …``, always one line."""
    if not outcome.ok:
        return f"FAILED: {outcome.name}: {outcome.problem}"
    return f"ok: {outcome.name} ({' '.join(outcome.note.split())})" if outcome.note else f"ok: {outcome.name}"
