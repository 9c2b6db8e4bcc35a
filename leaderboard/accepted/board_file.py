"""``board.json``: the tables of all accepted results, computed once and read in a moment."""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divsal_bench.errors import UserError, field_problem, printable
from divsal_bench.files import foreign
from divsal_bench.files.models import up_to_date
from divsal_bench.files.texts import printable_lines, texts_in
from divsal_bench.leaderboard.claims.gallery import Gallery
from divsal_bench.leaderboard.sheets.editions import CURRENT, Edition, references
from divsal_bench.leaderboard.sheets.entries import Sheet
from divsal_bench.leaderboard.statistics import families
from divsal_bench.leaderboard.tables.board import table_of_sheet
from divsal_bench.leaderboard.tables.schema import Table

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from divsal_bench.leaderboard.accepted.all_results import AcceptedResults

FILE = "board.json"
#: Raised when tables change in a way that older readers would misread.
SCHEMA_VERSION = 1
#: Stored and recomputed numbers may differ by this much: relative, and absolute near 0, where sums cancel.
AGREES, NEAR_ZERO = 1e-9, 1e-12
#: A larger file is refused unread.
MOST_BYTES = 100_000_000


@dataclass(frozen=True)
class SavedTable:
    """A table and the gallery of its data set, None where there is none."""

    table: Table
    gallery: Gallery | None


@dataclass(frozen=True)
class SavedBoard:
    """All tables, in a fixed order."""

    schema_version: int
    tables: tuple[SavedTable, ...]


EMPTY = SavedBoard(SCHEMA_VERSION, ())


def adapter() -> TypeAdapter[tuple[SavedBoard]]:
    """Writes NaN and infinities, which JSON lacks, as texts and reads them back."""
    from pydantic import ConfigDict, TypeAdapter

    # A configuration may only be given for a type that has none of its own, such as a tuple.
    return TypeAdapter(tuple[SavedBoard], config=ConfigDict(ser_json_inf_nan="strings"))


def compute(results: AcceptedResults) -> SavedBoard:
    """All statistics of all accepted results."""
    pairs = zip(results.sheets, results.galleries, strict=True)
    return SavedBoard(SCHEMA_VERSION, tuple(SavedTable(dated_table(sheet), gallery) for sheet, gallery in pairs))


def dated_table(sheet: Sheet, edition: Edition = CURRENT) -> Table:
    """The table of some accepted results, its families closed to the reference methods of an edition."""
    closed = references(sheet.entries, edition)
    found = table_of_sheet(sheet, functools.partial(families.families, closed=closed), closed, edition.date)
    said = (
        f"Edition {edition.date}: the families are of those of its {len(edition.methods)} reference methods that are "
        "here; whatever else joins has a family of its own and changes no other entry's p. Ranks compare all methods "
        "of this table and move with each new one."
    )
    return dataclasses.replace(found, notes=(*found.notes, said))


def as_bytes(board: SavedBoard) -> bytes:
    """The same bytes for the same board."""
    return adapter().dump_json((board,), indent=1) + b"\n"


def read_board(root: Path) -> SavedBoard:
    """Read ``board.json`` of a results folder; UserError if it is missing, damaged, or of another version."""
    from pydantic import ValidationError

    path = root / FILE
    try:
        if path.exists() and not path.is_file():  # a pipe would never end
            raise UserError(f"{path} is no file; remove it, and make it with `divsal-bench board --recompute`")
        if path.stat().st_size > MOST_BYTES:
            raise UserError(
                f"{path} has {path.stat().st_size:,} bytes, {MOST_BYTES:,} are allowed; make it again with "
                "`divsal-bench board --recompute`"
            )
        content = foreign.read_json(path, MOST_BYTES)
        if not isinstance(content, list) or len(content) != 1:
            raise ValueError("it is no list of one board")
        board = up_to_date(content[0], SCHEMA_VERSION, path)
        for text in texts_in(board):  # CSV shows them as they are
            if printable_lines(text) != text:
                raise ValueError(f"it has a text with control characters, {text[:60]!a}")
        return adapter().validate_python((board,))[0]
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"there is no {path}; make it with `divsal-bench board --recompute`") from None
    except ValidationError as error:
        field, problem = field_problem(error.errors(include_url=False))
        line = f"field {field!r} {problem}"
        raise UserError(f"{path} cannot be read ({line}); mend it with `divsal-bench board --recompute`") from None
    except (OSError, ValueError) as error:
        line = foreign.why_unread(error)
        raise UserError(f"{path} cannot be read ({line}); mend it with `divsal-bench board --recompute`") from None


def check_current(root: Path, found: SavedBoard) -> None:
    """Check that the stored board is what its results give.

    Args:
        found: Computed from them now.

    Raises:
        UserError: It is missing although there are results, was edited, or is older than the results.
    """
    path = root / FILE
    if not path.exists() and not found.tables:
        return
    stored = read_board(root)
    place = differing_place(stored, found)
    if place:
        raise UserError(
            f"{path} is not what the results give: {place} differs; make it again with `divsal-bench board --recompute`"
        )


def differing_place(stored: SavedBoard, found: SavedBoard) -> str:
    """The first table, and in it the first row, in which two boards differ; "" if they agree."""
    old, new = ({name_of(one.table): one for one in board.tables} for board in (stored, found))
    for name in (*new, *(name for name in old if name not in new)):
        if name not in old or name not in new:
            return f"table {name} ({'only computed' if name in new else 'only stored'})"
        was, now = old[name].table, new[name].table
        before, after = ({row.label: row for row in table.rows} for table in (was, now))
        for label in (*after, *(label for label in before if label not in after)):
            if not agree(before.get(label), after.get(label)):
                return f"table {name}, row {printable(label[:100])}"
        for field in dataclasses.fields(was):
            if not agree(getattr(was, field.name), getattr(now, field.name)):
                return f"table {name}, {field.name}"
        if old[name].gallery != new[name].gallery:
            return f"table {name}, gallery"
    return "" if agree(stored, found) else "the order of its tables"


def name_of(table: Table) -> str:
    """A table in a message: all that sets it apart."""
    parts = table.task, table.fingerprint[:8], table.protocol, table.backbone, table.head, table.digest
    return "/".join(printable(part[:100]) for part in parts)


def agree(a: Any, b: Any) -> bool:
    """Whether two values are equal all the way down: NaN to NaN, other numbers but for rounding."""
    if dataclasses.is_dataclass(a) and not isinstance(a, type):
        return type(a) is type(b) and all(agree(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, tuple | list):
        return isinstance(b, tuple | list) and len(a) == len(b) and all(map(agree, a, b))
    if isinstance(a, float) and isinstance(b, float | int):
        return math.isclose(a, b, rel_tol=AGREES, abs_tol=NEAR_ZERO) or (math.isnan(a) and math.isnan(b))
    return bool(a == b)
