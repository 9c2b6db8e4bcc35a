"""``divsal-bench list`` and ``info``: what there is. No torch."""

from __future__ import annotations

import argparse
import sys

from divsal_bench.cli import EXIT_USER_ERROR, terminal_width
from divsal_bench.cli.tables import shown_table
from divsal_bench.files.text_tables import broken
from divsal_bench.workflows.listing import facts_about, list_known


def command(arguments: argparse.Namespace) -> int:
    """Print one kind of thing, a line each; plugins that cannot be loaded are named on standard error."""
    found = list_known(arguments.what)
    print(shown_table(found.rows, found.columns))
    for complaint in found.complaints:
        print(f"divsal-bench: {complaint}", file=sys.stderr)
    return EXIT_USER_ERROR if found.complaints else 0


def info(arguments: argparse.Namespace) -> int:
    """Print everything known about one name."""
    facts = facts_about(arguments.name)
    width = max(len(name) for name, _ in facts)
    room = terminal_width()
    for name, value in facts:
        text = str(value) if room is None else broken(str(value), max(20, room - width - 2))
        first, *rest = text.split("\n")
        print(f"{name:<{width}}  {first}")
        for line in rest:
            print(f"{'':<{width}}  {line}".rstrip())
    return 0
