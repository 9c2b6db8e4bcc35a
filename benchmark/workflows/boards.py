"""Boards: the tables of runs or of all accepted results, as objects, data frames, text and a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.errors import UserError, plural
from divsal_bench.files import whole
from divsal_bench.runs.reading import Run
from divsal_bench.workflows.forms import require_form
from divsal_bench.workflows.selection import Runs, runs_meant
from divsal_bench.workflows.telling import Say, silent, unheard
from divsal_bench.workflows.tidying import sweep_unfinished, sweep_unfinished_below

if TYPE_CHECKING:
    import pandas as pd

    from divsal_bench.leaderboard.accepted.board_file import SavedBoard
    from divsal_bench.leaderboard.audits.table import AuditTable
    from divsal_bench.leaderboard.claims.gallery import Gallery
    from divsal_bench.leaderboard.sheets.entries import Sheet
    from divsal_bench.leaderboard.tables.render import Format
    from divsal_bench.leaderboard.tables.schema import Table

#: Is handed each file of accepted results before it is read.
OnFile = Callable[[Path], None]
#: Where accepted results lie in a checkout.
RESULTS = Path("leaderboard/results")


@dataclass(frozen=True, eq=False)
class Board:
    """Tables and what is shown beside them.

    Attributes:
        tables: One for each task, data set, protocol and backbone.
        galleries: The pictures of each table; None where there are none, or nobody asked.
        audits: What `divsal-bench audit` found in the runs; None where nobody asked.
    """

    tables: tuple[Table, ...]
    galleries: tuple[Gallery | None, ...] = ()
    audits: tuple[AuditTable, ...] | None = None

    def __repr__(self) -> str:
        named = (f"{one.task} {one.data}, {plural(len(one.rows), 'method')}" for one in self.tables)
        return f"Board({'; '.join(named)})"

    def frame(self) -> pd.DataFrame:
        """One row a method: what it is, AUROCs with their intervals, rank, marks, p, and agreement with people.

        ``p`` is the one that the tables print, of the difference to cross-entropy, adjusted by Holm within its family;
        ``p_unadjusted`` is the test's own. A number that the tables withhold is NaN.
        """
        from divsal_bench.leaderboard.tables.frames import methods_frame

        return methods_frame(self.tables)

    def tests(self) -> pd.DataFrame:
        """One row for each test of each family; ``p`` and ``p_unadjusted`` as in :meth:`frame`."""
        from divsal_bench.leaderboard.tables.frames import family_tests_frame

        return family_tests_frame(self.tables)

    def conditions(self) -> pd.DataFrame:
        """One row for each method on each condition; ``p`` is unadjusted, ``q`` adjusted over the conditions."""
        from divsal_bench.leaderboard.tables.frames import conditions_frame

        return conditions_frame(self.tables)

    def text(self, form: Format = "terminal", width: int | None = None) -> str:
        """The tables as ``terminal``, ``markdown``, ``csv``, ``json`` or ``latex``, with the audits if there are any.

        Args:
            form: How.
            width: Of the terminal, in characters; None folds nothing.
        """
        from divsal_bench.leaderboard.audits import columns
        from divsal_bench.leaderboard.tables import render

        require_form(form, render.FORMATS)
        if self.audits is None:
            return render.render_tables(self.tables, form, width)
        return columns.render_with_audits(self.tables, self.audits, form, width)

    def page(self) -> str:
        """The page, one file of HTML that needs no other."""
        from divsal_bench.leaderboard.web.page import render_page, table_id

        galleries = self.galleries or (None,) * len(self.tables)
        known = {table_id(table): one for table, one in zip(self.tables, galleries, strict=True) if one is not None}
        return render_page(self.tables, known, audits=self.audits)

    def write_page(self, path: str | Path, *, say: Say = silent) -> None:
        """Write the page to a file.

        Args:
            path: Of the file; its folder is made.
            say: Told what a killed command had left unfinished there.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep_unfinished([path.parent], say)
        whole.write(path, self.page().encode())


@dataclass(frozen=True)
class AcceptedCheck:
    """What checking the accepted results found.

    Attributes:
        changes: What differs from another results folder, as Markdown; "" where none was given.
        problem: Why the stored board is refused; "" where it is what the results give.
    """

    changes: str
    problem: str


def board(
    runs: Runs | None = None,
    *,
    accepted: bool = False,
    recompute: bool = False,
    results: str | Path | None = None,
    pictures: bool = False,
    audits: bool = False,
    data: str | Path | None = None,
    say: Say = silent,
    on_file: OnFile = unheard,
) -> Board:
    """The tables of some runs, or of the accepted results.

    Args:
        runs: Output folders, run directories or runs; one or several. None takes the folder ``runs``.
        accepted: The accepted results instead, as last computed.
        recompute: Check the accepted results, compute their tables again and store them.
        results: Folder of accepted results; None takes the checkout's, else those that the package came with.
        pictures: Also the runs' pictures, which need their data and weights. Accepted results bring theirs.
        audits: Also what has been audited of the runs; nothing is computed.
        data: The runs' data, for the pictures, where it was moved.
        say: Told what a killed command had left unfinished.
        on_file: Told of each file of accepted results before it is read.

    Returns:
        The board: typed tables, data frames, text, and the page.

    Raises:
        UserError: There are no runs or results, they do not fit together, or both were asked for.

    Example:
        >>> import divsal_bench
        >>> divsal_bench.board("runs").frame()["method"].tolist()
        ['cross-entropy', 'cyborg']
    """
    if runs is not None and (accepted or recompute):
        raise UserError("give either run directories, or --accepted or --recompute for the accepted results")
    if audits and (accepted or recompute):
        raise UserError("--audit needs run directories: accepted results hold no audits; leave one of both out")
    if recompute:
        return saved_as_board(recomputed(results_folder(results), say, on_file))
    if accepted:
        from divsal_bench.leaderboard.accepted import board_file

        return saved_as_board(board_file.read_board(results_folder(results)))
    return board_of_runs(runs_meant("runs" if runs is None else runs), pictures, audits, data)


def results_folder(given: str | Path | None) -> Path:
    """The folder that is given; else the checkout's, else what the package was shipped with."""
    if given is not None:
        return Path(given)
    if RESULTS.is_dir():
        return RESULTS
    from importlib.resources import files

    return Path(str(files("divsal_bench.leaderboard"))) / "results"


def saved_as_board(found: SavedBoard) -> Board:
    """A stored board."""
    return Board(tuple(one.table for one in found.tables), tuple(one.gallery for one in found.tables))


def recomputed(root: Path, say: Say, on_file: OnFile) -> SavedBoard:
    """Check every accepted result, compute the tables and store them."""
    from divsal_bench.leaderboard.accepted import board_file
    from divsal_bench.leaderboard.accepted.all_results import read_accepted
    from divsal_bench.leaderboard.claims.files import write_all

    sweep_unfinished_below(root, say)
    found = board_file.compute(read_accepted(root, on_file))
    write_all({root / board_file.FILE: board_file.as_bytes(found)})
    return found


def board_of_runs(runs: Sequence[Run], pictures: bool, audits: bool, data: str | Path | None) -> Board:
    """Tables of runs, with galleries and audits as far as they are asked for."""
    from divsal_bench.leaderboard.sheets import entries
    from divsal_bench.leaderboard.tables.board import table_of_sheet

    sheets = entries.from_runs(runs)
    galleries = [gallery_of_sheet(sheet, runs, data) for sheet in sheets] if pictures else [None] * len(sheets)
    tables = tuple(table_of_sheet(sheet) for sheet in sheets)
    return Board(tables, tuple(galleries), audits_of_runs(runs) if audits else None)


def audits_of_runs(runs: Sequence[Run]) -> tuple[AuditTable, ...]:
    """What has been audited of the runs; nothing is computed here."""
    from divsal_bench.leaderboard.audits import table as audit
    from divsal_bench.runs.audit_record import find_audits
    from divsal_bench.runs.names import WEIGHTS_FILE
    from divsal_bench.runs.store import weights_sha256

    found = [
        (run, list(find_audits(run, weights_sha256(run.path))) if (run.path / WEIGHTS_FILE).is_file() else [])
        for run in runs
    ]
    return tuple(audit.audit_tables(audit.with_common_settings(found)))


def gallery_of_sheet(sheet: Sheet, runs: Sequence[Run], data: str | Path | None) -> Gallery:
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


def check_accepted(
    results: str | Path | None = None,
    *,
    against: str | Path | None = None,
    say: Say = silent,
    on_file: OnFile = unheard,
) -> AcceptedCheck:
    """Check and re-score every accepted result, and hold the stored board against what they give.

    Args:
        results: Folder of accepted results; None takes the checkout's, else those that the package came with.
        against: Another results folder: what changed is told. One that is not there counts as empty.
        say: Told how many results were checked.
        on_file: Told of each file before it is read.

    Returns:
        What changed, and why the stored board is refused if it is: a reviewer needs both.

    Raises:
        UserError: A result is refused; it is named.

    Example:
        >>> from divsal_bench.workflows.boards import check_accepted
        >>> check_accepted().problem
        ''
    """
    from divsal_bench.leaderboard.accepted import board_file
    from divsal_bench.leaderboard.accepted.all_results import read_accepted
    from divsal_bench.leaderboard.accepted.changes import changes

    root = results_folder(results)
    found = read_accepted(root, on_file)
    check_method_kinds(found.sheets)
    computed = board_file.compute(found)
    count = sum(len(sheet.entries) for sheet in found.sheets)
    if not count:
        say(f"there is no accepted result in {root}")
    counted = f"{plural(count, 'result')} in {plural(len(found.sheets), 'table')}"
    say(f"checked: {counted}; every number follows from its margins")
    told, other = "", None if against is None else Path(against)
    if other is not None:
        if other.exists() and not other.is_dir():
            raise UserError(f"--diff {other} is no folder; give a results folder")
        base = read_accepted(other, on_file) if other.is_dir() else None
        before = board_file.compute(base) if base is not None else board_file.EMPTY
        told = changes(before, computed, base.sheets if base is not None else (), found.sheets)
    try:
        board_file.check_current(root, computed)
    except UserError as error:
        return AcceptedCheck(told, str(error))
    return AcceptedCheck(told, "")


def check_method_kinds(sheets: Sequence[Sheet]) -> None:
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
