"""``divsal-bench board``: the tables of run directories or of all accepted results, and the page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from divsal_bench.cli import terminal_width
from divsal_bench.errors import UserError
from divsal_bench.workflows import boards


def command(arguments: argparse.Namespace) -> int:
    """Show, compute, check or compare."""
    if arguments.check or arguments.diff is not None:
        checked = boards.check_accepted(
            arguments.results, against=arguments.diff, say=say_below_progress, on_file=show_file
        )
        if arguments.diff is not None:
            print(checked.changes)
        if checked.problem:
            raise UserError(checked.problem)
        return 0
    of_accepted = arguments.accepted or arguments.recompute
    found = boards.board(
        arguments.runs or (None if of_accepted else arguments.out),
        accepted=arguments.accepted,
        recompute=arguments.recompute,
        results=arguments.results,
        pictures=arguments.html is not None,
        audits=arguments.audit,
        data=arguments.data,
        say=say_below_progress,
        on_file=show_file,
    )
    if arguments.html is None:
        print(found.text(arguments.format, terminal_width()))
    else:
        found.write_page(arguments.html, say=say_below_progress)
        say_below_progress(f"written: {arguments.html}")
    return 0


def show_file(path: Path) -> None:
    """Progress on a terminal: one line that is redrawn."""
    if sys.stderr.isatty():
        print(f"\r\033[Kreading {path.name}", end="", file=sys.stderr, flush=True)


def say_below_progress(text: str) -> None:
    """Print to standard error, in the place of the progress: standard output belongs to the table."""
    clear = "\r\033[K" if sys.stderr.isatty() else ""
    print(f"{clear}{text}", file=sys.stderr, flush=True)
