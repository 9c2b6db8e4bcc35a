"""``divsal-bench check``: does a plugin keep what the contract promises?"""

from __future__ import annotations

import argparse
import sys

from divsal_bench.conformance.checks import Outcome
from divsal_bench.workflows.checking import check_plugin

#: Exit code when a check does not pass.
NOT_PASSED = 1


def command(arguments: argparse.Namespace) -> int:
    """Print one line a check; exit code 1 when one does not pass."""
    found = check_plugin(
        arguments.plugin,
        on_outcome=lambda outcome: print(outcome_line(outcome), flush=True),
        say=lambda text: print(f"notice: {text}", file=sys.stderr, flush=True),
    )
    if found.total:
        waiting = found.total - len(found.outcomes)
        rest = f", {waiting} wait until they pass" if waiting else ""
        counts = f"{found.passed} of {found.total} checks passed, {found.failed} failed{rest}"
        print(f"{arguments.plugin}: {counts} ({found.seconds:.0f} s)")
    return NOT_PASSED if found.failed else 0


def outcome_line(outcome: Outcome) -> str:
    """``ok: …`` or ``FAILED: …``, always one line."""
    if not outcome.ok:
        return f"FAILED: {outcome.name}: {outcome.problem}"
    return f"ok: {outcome.name} ({' '.join(outcome.note.split())})" if outcome.note else f"ok: {outcome.name}"
