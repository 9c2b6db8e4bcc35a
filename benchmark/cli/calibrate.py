"""``divsal-bench calibrate``: how often the leaderboard's statistics are right, by simulation. No torch."""

from __future__ import annotations

import argparse

from divsal_bench.cli import say, terminal_width
from divsal_bench.workflows.calibrating import calibrate


def command(arguments: argparse.Namespace) -> int:
    """Simulate, print the tables; exit code 1 when a pass mark is missed."""
    found = calibrate(arguments.cells, boards=arguments.boards, seed=arguments.seed, workers=arguments.workers, say=say)
    print(found.text(arguments.format, terminal_width()))
    missed = found.missed
    say(f"pass marks missed: {', '.join(missed)}" if missed else "every pass mark is met, within 2 Monte Carlo errors")
    return 1 if missed else 0
