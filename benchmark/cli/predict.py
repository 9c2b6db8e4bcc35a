"""``divsal-bench predict``: scores and decisions for image files, and maps of where they come from."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.cli import EXIT_USER_ERROR, say, tables
from divsal_bench.errors import plural, printable
from divsal_bench.workflows import predicting

if TYPE_CHECKING:
    import pandas as pd

    from divsal_bench.workflows.predicting import Predictions

#: Rows on the screen.
SHOWN = 50


def command(arguments: argparse.Namespace) -> int:
    """Score images and print a table; 2 if one of them could not be scored."""
    from divsal_bench.cli.progress import counter

    found = predicting.predict(
        arguments.model,
        arguments.images,
        csv=arguments.csv,
        overlay=arguments.overlay,
        force=arguments.force,
        device=arguments.device,
        window=arguments.window,
        batch_size=arguments.batch_size,
        say=say,
        on_image=counter("scored"),
    )
    print_predictions(found.frame(), arguments.csv)
    say_about(found)
    for option, place in (("scores", arguments.csv), ("maps", arguments.overlay)):
        if place is not None:
            say(f"{option}: {place}")
    return say_failed(found)


def print_predictions(table: pd.DataFrame, csv: Path | None) -> None:
    """The first rows, and how many more there are."""
    rows = []
    for image, score, probability, decision, error in table.head(SHOWN).itertuples(index=False, name=None):
        numbers = ["", ""] if error else [f"{score:+.4f}", f"{probability:.4f}"]
        rows.append([printable(image), *numbers, decision, printable(error)])
    columns = list(table.columns)
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    print(tables.shown_table(rows, columns, "lrrll"[: len(columns)]))
    if len(table) > SHOWN:
        print(f"… and {len(table) - SHOWN:,} more" + (f" in {csv}" if csv else "; --csv FILE writes them all"))


def say_about(found: Predictions) -> None:
    """Where the numbers come from and how many there are of each kind, on standard error."""
    for notice in found.notices:
        say(f"notice: {notice}")
    say(f"model: {printable(found.network.origin)}")
    say(f"threshold: {found.threshold}")
    counts = ", ".join(f"{count:,} {name}" for name, count in found.counts.items())
    say(f"{plural(len(found.rows), 'image')}: {counts}, {len(found.failed):,} not scored{found.left_out}")


def say_failed(found: Predictions) -> int:
    """The first image without a score, and the exit code."""
    if not found.failed:
        return 0
    first = found.failed[0]
    say(
        f"divsal-bench: {len(found.failed):,} of {plural(len(found.rows), 'image')} could not be scored; the first: "
        f"{printable(first.image)} {printable(first.error)}"
    )
    return EXIT_USER_ERROR
