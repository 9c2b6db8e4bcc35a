"""``divsal-bench board``: the tables of run directories or of all accepted results, and the page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.cli import terminal_width, tidy, tidy_below
from divsal_bench.errors import UserError, plural
from divsal_bench.files import owners, whole

if TYPE_CHECKING:
    from divsal_bench.leaderboard.audits.table import AuditTable
    from divsal_bench.leaderboard.claims.gallery import Gallery
    from divsal_bench.leaderboard.sheets.entries import Sheet
    from divsal_bench.leaderboard.tables.schema import Table
    from divsal_bench.runs.reading import Run

#: Where accepted results lie in a checkout.
RESULTS = Path("leaderboard/results")


def board(arguments: argparse.Namespace) -> int:
    """Show, compute, check or compare."""
    arguments.results = results_folder(arguments.results)
    if arguments.check or arguments.diff is not None:
        return check(arguments)
    if arguments.runs and (arguments.accepted or arguments.recompute):
        raise UserError("give either run directories, or --accepted or --recompute for the accepted results")
    if arguments.audit and (arguments.accepted or arguments.recompute):
        raise UserError("--audit needs run directories: accepted results hold no audits; leave one of both out")
    if arguments.recompute:
        tables, galleries = recompute(arguments.results)
    elif arguments.accepted:
        tables, galleries = accepted(arguments.results)
    else:
        tables, galleries = of_runs(arguments)
    return write(arguments, tables, galleries, audits(arguments) if arguments.audit else None)


def audits(arguments: argparse.Namespace) -> list[AuditTable]:
    """What has been audited of the runs; nothing is computed here."""
    from divsal_bench.leaderboard.audits import table as audit
    from divsal_bench.runs.audit_record import find_audits
    from divsal_bench.runs.names import WEIGHTS_FILE
    from divsal_bench.runs.reading import collect_runs
    from divsal_bench.runs.store import weights_sha256

    runs = collect_runs(arguments.runs, arguments.out)
    found = [
        (run, list(find_audits(run, weights_sha256(run.path))) if (run.path / WEIGHTS_FILE).is_file() else [])
        for run in runs
    ]
    return audit.tables(audit.with_common_settings(found))


def results_folder(given: Path | None) -> Path:
    """``--results``; else the checkout's, else what the package was shipped with."""
    if given is not None:
        return given
    if RESULTS.is_dir():
        return RESULTS
    from importlib.resources import files

    return Path(str(files("divsal_bench.leaderboard"))) / "results"


def accepted(root: Path) -> tuple[list[Table], list[Gallery | None]]:
    """What the last ``--recompute`` computed."""
    from divsal_bench.leaderboard.accepted import board_file

    found = board_file.load(root)
    return [one.table for one in found.tables], [one.gallery for one in found.tables]


def recompute(root: Path) -> tuple[list[Table], list[Gallery | None]]:
    """Check every accepted result, compute the tables and store them."""
    from divsal_bench.leaderboard.accepted import board_file
    from divsal_bench.leaderboard.accepted.reading import read
    from divsal_bench.leaderboard.claims.files import write_all

    tidy_below(root)
    found = board_file.compute(read(root, say_file))
    write_all({root / board_file.FILE: board_file.as_bytes(found)}, owners.mark())
    return [one.table for one in found.tables], [one.gallery for one in found.tables]


def of_runs(arguments: argparse.Namespace) -> tuple[list[Table], list[Gallery | None]]:
    """Tables of run directories; the galleries need their weights and data, and only the page shows them."""
    from divsal_bench.leaderboard.sheets import entries
    from divsal_bench.leaderboard.tables import board as tables
    from divsal_bench.runs.reading import collect_runs

    runs = collect_runs(arguments.runs, arguments.out)
    sheets = entries.from_runs(runs)
    galleries: list[Gallery | None] = [None] * len(sheets)
    if arguments.html is not None:
        galleries = [run_gallery(sheet, runs, arguments.data) for sheet in sheets]
    return [tables.table(sheet) for sheet in sheets], galleries


def run_gallery(sheet: Sheet, runs: Sequence[Run], data: str | None) -> Gallery:
    """Pictures of a table's data, with the maps of the lowest seed that its methods share."""
    from divsal_bench.leaderboard.claims.gallery import Gallery
    from divsal_bench.workflows.run_data import RunData

    by_place = {str(run.path): run for run in runs}
    with_result = [entry for entry in sheet.entries if entry.seeds]
    if not with_result:
        return Gallery(class_names=("0", "1"), pictures=[], absent="No run of this table has a result.")
    shared = set.intersection(*(set(entry.seeds) for entry in with_result))
    seed = min(shared) if shared else min(entry.seeds[0] for entry in with_result)
    first = by_place[with_result[0].origins[0]]
    try:
        gallery, cams = RunData(data).gallery(first, lambda sample: sample)
        maps = {
            entry.label: dict(cams(by_place[entry.origins[entry.seeds.index(seed)]]))
            for entry in with_result
            if seed in entry.seeds and gallery.pictures
        }
    except UserError as error:  # moved data or weights must not cost the page its numbers
        return Gallery(class_names=("0", "1"), pictures=[], absent=str(error))
    return gallery.model_copy(update={"maps": maps, "seed": seed})


def write(
    arguments: argparse.Namespace,
    tables: list[Table],
    galleries: list[Gallery | None],
    audited: list[AuditTable] | None = None,
) -> int:
    """Print the tables, or write the page."""
    from divsal_bench.leaderboard.audits import columns
    from divsal_bench.leaderboard.tables import render

    if arguments.html is None:
        if audited is None:
            print(render.render(tables, arguments.format, terminal_width()))
        else:
            print(columns.render_with_audits(tables, audited, arguments.format, terminal_width()))
        return 0
    from divsal_bench.leaderboard.web.page import render_page, table_id

    known = {table_id(table): one for table, one in zip(tables, galleries, strict=True) if one is not None}
    arguments.html.parent.mkdir(parents=True, exist_ok=True)
    tidy([arguments.html.parent])
    whole.write(arguments.html, render_page(tables, known, audits=audited).encode())
    say(f"written: {arguments.html}")
    return 0


def check(arguments: argparse.Namespace) -> int:
    """Check and re-score every accepted result and the stored board; print what changed against another folder.

    What changed is printed even where the stored board is refused: a reviewer needs both.
    """
    from divsal_bench.leaderboard.accepted import board_file
    from divsal_bench.leaderboard.accepted.reading import read

    found = read(arguments.results, say_file)
    check_kinds(found.sheets)
    computed = board_file.compute(found)
    count = sum(len(sheet.entries) for sheet in found.sheets)
    if not count:
        say(f"there is no accepted result in {arguments.results}")
    counted = f"{plural(count, 'result')} in {plural(len(found.sheets), 'table')}"
    say(f"checked: {counted}; every number follows from its margins")
    if arguments.diff is not None:
        from divsal_bench.leaderboard.accepted.changes import changes

        if arguments.diff.exists() and not arguments.diff.is_dir():
            raise UserError(f"--diff {arguments.diff} is no folder; give a results folder")
        base = read(arguments.diff, say_file) if arguments.diff.is_dir() else None
        before = board_file.compute(base) if base is not None else board_file.EMPTY
        print(changes(before, computed, base.sheets if base is not None else (), found.sheets))
    board_file.check_current(arguments.results, computed)
    return 0


def check_kinds(sheets: Sequence[Sheet]) -> None:
    """Refuse a result that calls a method that is installed here another kind than it is, or hides its fields.

    Raises:
        UserError: It would be ranked or tested in the wrong place, or under a name that is not its own.
    """
    entries = [entry for sheet in sheets for entry in sheet.entries]
    if not entries:
        return
    from divsal_bench.leaderboard.claims.consistency import label_of
    from divsal_bench.registry import plugins

    known = plugins.methods().found
    for entry in entries:
        method = known.get(entry.method)
        if method is not None and method.version == entry.version:
            defaults = {field.name: field.default for field in plugins.fields_of(method)}
            same = defaults.keys() == entry.fields.keys()
            label = label_of(entry.method, entry.fields, defaults) if same else "none of this version"
            # Of two results of one label the older has its file's name after it.
            if entry.label != label and not entry.label.startswith(f"{label} ("):
                raise UserError(
                    f"{entry.origins[0]} is called {entry.label!r}; its fields {entry.fields!s:.200} make it "
                    f"{label!r}; submit it again"
                )
        if method is not None and method.kind != entry.kind:
            raise UserError(
                f"{entry.origins[0]} says {entry.method} is {entry.kind}, the method is {method.kind}; submit it again"
            )


def say_file(path: Path) -> None:
    """Progress on a terminal: one line that is redrawn."""
    if sys.stderr.isatty():
        print(f"\r\033[Kreading {path.name}", end="", file=sys.stderr, flush=True)


def say(text: str) -> None:
    """Print to standard error: standard output belongs to the table."""
    clear = "\r\033[K" if sys.stderr.isatty() else ""
    print(f"{clear}{text}", file=sys.stderr, flush=True)
