"""``divsal-bench compare A B``: two methods, or two sets of runs."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from divsal_bench import escaping
from divsal_bench.cli.run import seed_range
from divsal_bench.errors import UserError, unknown
from divsal_bench.leaderboard import comparing, render
from divsal_bench.leaderboard.comparing import Comparing, Line
from divsal_bench.leaderboard.entries import Entry, Sheet, from_runs
from divsal_bench.records import read_run, require_utf8, run_folders


@dataclass(frozen=True)
class Side:
    """What one of the two arguments names.

    Attributes:
        method: A label; "" for every method of the folder.
        seeds: None for all.
    """

    text: str
    sheets: tuple[Sheet, ...]
    method: str
    seeds: tuple[int, ...] | None


def compare(arguments: argparse.Namespace) -> int:
    """Print every comparison that the two arguments have in common."""
    first, second = (side(text, arguments.out, arguments.task) for text in (arguments.first, arguments.second))
    found = [comparing.compare(*one) for one in pairs(first, second)]
    print(written(found, arguments.format))
    return 0


def side(text: str, out: Path, task: str | None) -> Side:
    """Read ``METHOD``, ``METHOD@SEEDS``, ``FOLDER`` or ``FOLDER@SEEDS``."""
    name, at, seeds = text.rpartition("@")
    if not at or not seeds or Path(text).is_dir():
        name, seeds = text, ""
    folder = Path(name)
    is_folder = folder.is_dir()
    if not is_folder and not out.is_dir():
        raise UserError(f"there is neither a folder {name} nor an output folder {out}; give --out")
    where = folder if is_folder else out
    require_utf8(where)
    runs = [read_run(one) for one in run_folders(where, *range(6))]
    if task is not None:
        runs = [run for run in runs if run.spec.task == task]
    if not runs:
        raise UserError(f"{where} holds no runs{f' of task {task}' if task else ''}; see `divsal-bench status`")
    sheets = tuple(from_runs(runs))
    labels = sorted({entry.label for sheet in sheets for entry in sheet.entries})
    if not is_folder and name not in labels:
        raise unknown(f"method or folder in {out}:", name, labels)
    return Side(text, sheets, "" if is_folder else name, seed_range(seeds) if seeds else None)


def pairs(first: Side, second: Side) -> list[tuple[Sheet, Entry, Entry]]:
    """What can be compared: entries of the same table only."""
    found: list[tuple[Sheet, Entry, Entry]] = []
    short: list[UserError] = []
    others = {sheet.group: sheet for sheet in second.sheets}
    for sheet in first.sheets:
        other = others.get(sheet.group)
        if other is None or sheet.rows is None or other.rows is None:
            continue
        if not sheet.rows.equals(other.rows):
            raise UserError(
                f"{first.text} and {second.text} were scored on different rows of {sheet.data}; "
                "run one of them again on the other's data"
            )
        try:
            a, b = (chosen(one, of) for one, of in ((first, sheet), (second, other)))
        except UserError as error:  # this table lacks a seed that another may have
            short.append(error)
            continue
        same = [(x, y) for x in a for y in b if x.label == y.label]
        matched = same if not first.method and not second.method and same else [(x, y) for x in a for y in b]
        if len(matched) > 1 and not same:
            raise UserError(
                f"{first.text} and {second.text} hold several methods and none in common; name one of each, "
                "e.g. its folder OUT/TASK/METHOD"
            )
        found += [(sheet, x, y) for x, y in matched]
    if not found and short:
        raise short[0]
    if not found:
        raise UserError(
            f"{first.text} ({tables(first)}) and {second.text} ({tables(second)}) share no table with results: "
            "runs of different data, protocols or backbones are never compared"
        )
    if any(set(x.origins) & set(y.origins) for _, x, y in found):
        raise UserError(f"{first.text} and {second.text} have runs in common; give other seeds, e.g. METHOD@0-4")
    return found


def chosen(one: Side, sheet: Sheet) -> list[Entry]:
    """The entries an argument means, cut down to its seeds."""
    entries = [entry for entry in sheet.entries if one.method in ("", entry.label)]
    return [comparing.with_seeds(entry, one.seeds) for entry in entries if entry.seeds]


def tables(one: Side) -> str:
    """The tables that an argument's runs belong to, in words."""
    return ", ".join(
        f"{s.group.task} {s.group.fingerprint[:8]} {s.group.protocol} {s.group.backbone}" for s in one.sheets
    )


def written(found: Sequence[Comparing], form: str) -> str:
    """In one of the formats; JSON and CSV unrounded."""
    if form == "json":
        return json.dumps([render.plain(dataclasses.asdict(one)) for one in found], indent=1)
    if form == "csv":
        return escaping.csv_text([CSV_HEAD, *(row for one in found for row in csv_rows(one))])
    return "\n\n".join(as_text(one, form) for one in found)


CSV_HEAD = (
    "table",
    "first",
    "second",
    "metric",
    "n",
    "mean_first",
    "mean_second",
    "difference",
    "low",
    "high",
    "p",
    "q",
)


def csv_rows(one: Comparing) -> list[list[object]]:
    """One flat row a metric."""
    return [
        [one.heading, one.first, one.second, line.what, c.n, line.first, line.second, c.difference]
        + ["" if value is None or math.isnan(value) else value for value in (c.low, c.high, c.p, line.q)]
        for line in one.lines
        for c in (line.comparison,)
    ]


def as_text(one: Comparing, form: str) -> str:
    """Heading, a line a metric, the claim."""
    style = "simple" if form == "terminal" else "github"
    head = ["AUROC", one.first, one.second, "difference", "95 % interval", "p", "on these images"]
    head, *lines = escaping.shown([head, *(row(line) for line in one.lines)], form)
    body = tabulate(lines, head, tablefmt=style, disable_numparse=True)
    notes = [
        one.paired + ".",
        "Interval and p: new seeds and new subjects (Obuchowski–Rockette). Conditions are exploratory: their p is "
        "Benjamini–Hochberg over the conditions. A minimum over conditions has no such test.",
        "On these images: 95 % t-interval over seeds alone; it decides nothing.",
        f"Hedges g {number(one.hedges_g)}, P(first > second) {number(one.superiority)} over seeds.",
        one.claim,
    ]
    title = f"{one.heading} · {one.first} − {one.second}"
    if form == "markdown":
        return f"**{escaping.markdown(title)}**\n\n{body}\n\n" + "\n".join(
            f"- {escaping.markdown(note)}" for note in notes
        )
    return f"{title}\n\n{body}\n\n" + "\n".join(f"  {note}" for note in notes)


def number(value: float) -> str:
    """Two digits, or that there is none."""
    return "n/a" if math.isnan(value) else f"{value:.2f}"


def row(line: Line) -> list[str]:
    """One metric as text."""
    c, here = line.comparison, line.on_these_images
    p = c.p if line.q is None else line.q
    return [
        line.what + (" (exploratory)" if line.q is not None else ""),
        f"{line.first:.3f}",
        f"{line.second:.3f}",
        f"{c.difference:+.3f}",
        f"[{c.low:+.3f}, {c.high:+.3f}]" if not math.isnan(c.low) else render.NONE,
        render.probability(p) if not math.isnan(p) else render.NONE,
        f"[{here.low:+.3f}, {here.high:+.3f}]" if not math.isnan(here.low) else render.NONE,
    ]
