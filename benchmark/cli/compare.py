"""``divsal-bench compare A B``: two methods, or two sets of runs."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from divsal_bench.cli import terminal_width
from divsal_bench.errors import UserError, unknown
from divsal_bench.files import escaping
from divsal_bench.leaderboard.sheets.entries import Entry, Sheet, from_runs
from divsal_bench.leaderboard.tables import comparing, notes, render
from divsal_bench.leaderboard.tables.comparing import Comparing, Line
from divsal_bench.runs.reading import read_run, require_utf8, run_folders
from divsal_bench.workflows.asking import MAX_SEEDS

#: A seed is below 2³¹.
MOST_DIGITS = 10


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
    if Path(text).is_dir():
        return side_of(text, Path(text), "", None, task)
    name, at, seeds = text.rpartition("@")
    if at and Path(name).is_dir():
        return side_of(text, Path(name), "", seeds_named(text, seeds), task)
    if not out.is_dir():
        raise UserError(f"there is neither a folder {name or text} nor an output folder {out}; give --out")
    whole = side_of(text, out, "", None, task)
    labels = sorted({entry.label for sheet in whole.sheets for entry in sheet.entries})
    # Older versions of a method are called cyborg@v1.
    if text in labels:
        return dataclasses.replace(whole, method=text)
    if (name if at else text) not in labels:
        raise unknown(f"method or folder in {out}:", name if at else text, labels)
    return dataclasses.replace(whole, method=name, seeds=seeds_named(text, seeds))


def side_of(text: str, where: Path, method: str, seeds: tuple[int, ...] | None, task: str | None) -> Side:
    """The runs of one folder."""
    require_utf8(where)
    runs = [read_run(one) for one in run_folders(where, *range(6))]
    if task is not None:
        runs = [run for run in runs if run.spec.task == task]
    if not runs:
        raise UserError(f"{where} holds no runs{f' of task {task}' if task else ''}; see `divsal-bench status`")
    return Side(text, tuple(from_runs(runs)), method, seeds)


def seeds_named(text: str, seeds: str) -> tuple[int, ...]:
    """``0-4`` is 0 to 4; a number is that seed alone."""
    first, dash, last = seeds.partition("-")
    numbers = (first, last) if dash else (first, first)
    if not all(number.isascii() and number.isdigit() and len(number) <= MOST_DIGITS for number in numbers):
        raise UserError(f"{text!r} names no seeds; after the @ give one seed or a range, e.g. METHOD@3 or METHOD@0-4")
    low, high = map(int, numbers)
    if low > high or high - low >= MAX_SEEDS:
        raise UserError(
            f"{text!r} names no seeds or more than {MAX_SEEDS}; give the smaller number first, e.g. METHOD@0-4"
        )
    return tuple(range(low, high + 1))


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
    return "\n\n".join(as_text(one, form, terminal_width()) for one in found)


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


def as_text(one: Comparing, form: str, width: int | None = None) -> str:
    """Heading, a line a metric, the claim."""
    head = ["AUROC", one.first, one.second, "difference", "95 % interval", "p", "on these images"]
    body = [row(line) for line in one.lines]
    title, said = f"{one.heading} · {one.first} − {one.second}", [*remarks(one), one.claim]
    if form == "markdown":
        head = [escaping.markdown(text) for text in head]
        body = [[escaping.markdown(first), *cells] for first, *cells in body]
        text = render.grid(head, body, "github")
        return f"**{escaping.markdown(title)}**\n\n{text}\n\n" + "\n".join(
            f"- {escaping.markdown(note)}" for note in said
        )
    return render.terminal(title, head, body, said, width)


def remarks(one: Comparing) -> list[str]:
    """What the numbers are, beside the claim."""
    main = one.lines[0]
    said = [one.paired[0].upper() + one.paired[1:] + "."]
    if main.comparison.n > 1:
        exploratory = any(line.q is not None for line in one.lines)
        said.append(
            f"Interval{' and p' if not one.withheld else ''} (Obuchowski–Rockette): for {notes.SCOPE}."
            + (" Conditions are exploratory" if exploratory else "")
            + (", with Benjamini–Hochberg over them." if exploratory and not one.withheld else "." * exploratory)
            + (" A minimum over conditions has no interval." if any(line.what == "worst" for line in one.lines) else "")
        )
        if main.on_these_images is not None:
            said.append("On these images: 95 % t-interval over seeds alone; it decides nothing.")
        effects = [("Hedges g", one.hedges_g), ("P(first > second)", one.superiority)]
        shown = [f"{name} {value:.2f}" for name, value in effects if not math.isnan(value)]
        if shown:
            said.append(f"{', '.join(shown)} over seeds.")
    if not math.isnan(one.subject_share):
        said.append(notes.subject_share(one.subject_share, "c⁺/v"))
    if not math.isnan(one.smallest_effect):
        low, high = one.smallest_range
        said.append(
            f"Smallest visible effect (80 % power): about {one.smallest_effect:.3f}, an estimate with 95 % range "
            f"{low:.3f} to {high:.3f}."
        )
    if not math.isnan(one.without_one[0]):
        ends = " to ".join(map(notes.signed, one.without_one))
        said.append(f"With one unseen condition left out the difference is {ends} (descriptive).")
    if not math.isnan(one.over_conditions[0]):
        ends = " to ".join(map(notes.signed, one.over_conditions))
        said.append(f"With the conditions taken as a sample: 95 % interval {ends} (descriptive: nobody drew them).")
    return said


def row(line: Line) -> list[str]:
    """One metric as text."""
    c, here = line.comparison, line.on_these_images
    p = c.p if line.q is None else line.q
    return [
        line.what + (" (exploratory)" if line.q is not None else ""),
        f"{line.first:.3f}",
        f"{line.second:.3f}",
        notes.signed(c.difference),
        between(c.low, c.high),
        render.probability(p) if not math.isnan(p) else render.NONE,
        between(here.low, here.high) if here is not None else render.NONE,
    ]


def between(low: float, high: float) -> str:
    """An interval of differences, or a dash."""
    return render.NONE if math.isnan(low) else f"[{notes.signed(low)}, {notes.signed(high)}]"
