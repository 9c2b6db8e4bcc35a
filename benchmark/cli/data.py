"""``divsal-bench data``: prepare, check, list."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import TYPE_CHECKING

from tabulate import tabulate

from divsal_bench.cli import say
from divsal_bench.cli.progress import counter
from divsal_bench.data import catalogue
from divsal_bench.errors import UserError, printable
from divsal_bench.registry import plugins
from divsal_bench.workflows.preparing import check_data, prepare

if TYPE_CHECKING:
    import pandas as pd


def prepare_command(arguments: argparse.Namespace) -> int:
    """Write a data set in the canonical form."""
    options = {}
    for setting in arguments.option:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UserError(f"--option {setting!r} has no value; write --option {setting}=VALUE")
        options[name.strip()] = value.strip()
    task = plugins.tasks().get(arguments.task)
    done = prepare(
        task.name,
        arguments.source,
        adapter=arguments.adapter,
        out=arguments.out,
        options=options,
        force=arguments.force,
        on_row=counter("prepared"),
    )
    for notice in done.notices:
        say(f"notice: {printable(notice)}")
    head = ["split", "source", *task.class_names, "maps"]
    rows = [[c.split, printable(c.source), c.negatives, c.positives, c.maps] for c in done.counts]
    print(tabulate(rows, head, tablefmt="simple"))
    print_conditions(done.rows, task.class_names)
    print(f"\nwritten to {printable(done.path)} (fingerprint {done.fingerprint[:8]})")
    usual = done.path == catalogue.default_folder(task.name)
    data = "" if usual else f" --data {shlex.quote(printable(done.path))}"
    print(f"next: divsal-bench run --task {task.name} --method all{data}")
    return 0


def print_conditions(rows: pd.DataFrame, class_names: tuple[str, str]) -> None:
    """What the test split is scored by: a misspelt name shows here as an unseen condition."""
    from divsal_bench.data.rules import condition_lines

    print("\nconditions of the test split:")
    for line in condition_lines(rows, class_names):
        print(f"  {printable(line)}")


def check_command(arguments: argparse.Namespace) -> int:
    """Verify a prepared set; exit code 2 when something is wrong with it."""
    report = check_data(arguments.data, on_row=counter("checked"))
    print("\n".join(report.lines()))
    if report.ok:
        print_conditions(report.rows, report.class_names)
        return 0
    raise UserError(f"{report.location}: {len(report.problems)} problems, the first: {report.problems[0]}")


def list_command(arguments: argparse.Namespace) -> int:
    """Show what is prepared in the default place."""
    found = catalogue.prepared()
    if not found:
        print(
            f"nothing is prepared in {printable(catalogue.home() / 'data')}; see `divsal-bench data prepare --help`",
            file=sys.stderr,
        )
    rows = [
        [
            printable(one.task),
            f"{one.rows:,}",
            printable(one.fingerprint[:8]),
            printable(one.problem or "valid"),
            printable(one.folder),
        ]
        for one in found
    ]
    if rows:
        print(
            tabulate(
                rows,
                ["task", "rows", "fingerprint", "state", "folder"],
                tablefmt="simple",
                disable_numparse=True,
            )
        )
    return 0
