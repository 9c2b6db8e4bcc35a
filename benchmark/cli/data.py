"""``divsal-bench data``: prepare, check, list."""

from __future__ import annotations

import argparse
import shlex
import sys

from tabulate import tabulate

from divsal_bench import plugins
from divsal_bench.cli.progress import counter
from divsal_bench.data import catalogue
from divsal_bench.errors import UserError


def prepare(arguments: argparse.Namespace) -> int:
    """Write a data set in the canonical form."""
    from divsal_bench.data.prepare import prepare as write

    task = plugins.tasks().get(arguments.task)
    adapter = plugins.adapters().get(arguments.adapter)
    options = {}
    for setting in arguments.option:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UserError(f"--option {setting!r} has no value; write --option {setting}=VALUE")
        options[name.strip()] = value.strip()
    out = arguments.out or catalogue.default_folder(task.name)
    done = write(task, adapter, arguments.source, out, options, arguments.force, counter("prepared"))
    for notice in done.notices:
        print(f"notice: {notice}", file=sys.stderr)
    head = ["split", "source", *task.class_names, "maps"]
    rows = [[c.split, c.source, c.negatives, c.positives, c.maps] for c in done.counts]
    print(tabulate(rows, head, tablefmt="simple"))
    print(f"\nwritten to {done.path} (fingerprint {done.fingerprint[:8]})")
    data = "" if out == catalogue.default_folder(task.name) else f" --data {shlex.quote(str(done.path))}"
    print(f"next: divsal-bench run --task {task.name} --method all{data}")
    return 0


def check(arguments: argparse.Namespace) -> int:
    """Verify a prepared set; exit code 2 when something is wrong with it."""
    from divsal_bench import conditions
    from divsal_bench.data.check import check as verify

    data = arguments.data
    if data in plugins.tasks().found:
        data = str(catalogue.default_folder(data))
    report = verify(data, counter("checked"))
    print("\n".join(report.lines()))
    if report.ok:
        print("\nconditions of the test split:")
        for found in conditions.conditions(report.rows):
            negatives, positives = found.negatives.sum(), found.positives.sum()
            text = f"  {found.name} ({found.kind}): {negatives:,} negatives, {positives:,} positives"
            print(f"{text}; {found.reason}" if found.reason else text)
        return 0
    raise UserError(f"{report.location}: {len(report.problems)} problems, the first: {report.problems[0]}")


def show_list(arguments: argparse.Namespace) -> int:
    """Show what is prepared in the default place."""
    found = catalogue.prepared()
    if not found:
        print(
            f"nothing is prepared in {catalogue.home() / 'data'}; see `divsal-bench data prepare --help`",
            file=sys.stderr,
        )
    rows = [
        [
            one.task,
            f"{one.rows:,}",
            one.fingerprint[:8],
            "valid" if not one.problem else one.problem,
            str(one.folder),
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
