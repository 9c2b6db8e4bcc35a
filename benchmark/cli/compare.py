"""``divsal-bench compare A B``: two methods, or two sets of runs."""

from __future__ import annotations

import argparse

from divsal_bench.cli import terminal_width
from divsal_bench.workflows.comparing import compare


def command(arguments: argparse.Namespace) -> int:
    """Print every comparison that the two arguments have in common."""
    found = compare(arguments.first, arguments.second, out=arguments.out, task=arguments.task)
    print(found.text(arguments.format, terminal_width()))
    return 0
