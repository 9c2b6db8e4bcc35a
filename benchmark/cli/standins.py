"""``divsal-bench standins check``: do the drawn data sets hold what they promise?"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence

from divsal_bench.cli import say
from divsal_bench.cli.run import say_failures, with_progress
from divsal_bench.cli.tables import shown_table
from divsal_bench.files import escaping
from divsal_bench.workflows.proving import Promise, prove_standins


def command(arguments: argparse.Namespace) -> int:
    """Train cross-entropy on the three variants; exit code 1 when a promise does not hold."""
    found = with_progress(
        lambda on_event: prove_standins(
            arguments.task, seeds=arguments.seeds, protocol=arguments.protocol, device=arguments.device,
            workers=arguments.workers, out=arguments.out, retry_failed=arguments.retry_failed, say=say,
            on_event=on_event,
        )
    )  # fmt: skip
    if not found.promises:
        return say_failures(found.runs, arguments.out)
    print(promises_text(found.promises, arguments.format))
    return 1 if any(one.holds is False for one in found.promises) else 0


def promises_text(promises: Sequence[Promise], form: str) -> str:
    """The promises as a table."""
    words = {True: "holds", False: "DOES NOT HOLD", None: "–"}
    head = ["task", "cross-entropy on", "AUROC, mean ± sd [95 % interval]", "promise", ""]
    rows = [[one.task, one.what, one.measured, one.promised, words[one.holds]] for one in promises]
    if form == "json":
        return json.dumps([dataclasses.asdict(one) for one in promises], indent=1, ensure_ascii=False)
    if form == "csv":
        return escaping.csv_text([[*head[:-1], "holds"], *rows])
    style = "github" if form == "markdown" else "simple"
    return shown_table(rows, head, style=style)
