"""``divsal-bench explain --set``: a report on the data set of a run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from divsal_bench.cli import say
from divsal_bench.cli.tables import shown_table
from divsal_bench.errors import printable

if TYPE_CHECKING:
    from divsal_bench.explanation.data_set_overview import Overview


def print_set(arguments: argparse.Namespace) -> int:
    """Explain a data set, and print the errors and the cells that decide."""
    from divsal_bench.cli.progress import counter
    from divsal_bench.workflows import explaining

    found = explaining.explain_set(
        arguments.model,
        arguments.set,
        out=arguments.out,
        data=arguments.data,
        limit=arguments.limit,
        force=arguments.force,
        device=arguments.device,
        say=say,
        on_image=counter("explained"),
    )
    print_overview(found.overview, found.network.class_names)
    say(f"model: {printable(found.network.origin)}")
    if not found.overview.mapped:
        say("none of these images has a human map: agreement with people is left out")
    report, samples = found.written
    say(f"report: {report}; a row an image: {samples}")
    return 0


def print_overview(found: Overview, names: tuple[str, str]) -> None:
    """Errors by condition and class, and where decisions come from."""
    rows = [
        [
            one.condition,
            *(f"{wrong} of {count}" if count else "–" for wrong, count in zip(one.wrong, one.count, strict=True)),
        ]
        for one in found.errors
    ]
    heads = ["condition", *(f"{name} called wrong" for name in names)]
    print(shown_table(rows, heads, "lrr"))
    print()
    cells = [
        [names[one.decision], f"row {y + 1}, column {x + 1}", f"{one.share[y, x]:.3f}", f"{one.logits[y, x]:+.4f}"]
        for one in found.cells
        for y, x in one.top()
    ]
    heads = ["called", f"cell of {found.grid[0]} × {found.grid[1]}", "decides in", "mean logits"]
    print(shown_table(cells, heads, "llrr"))
