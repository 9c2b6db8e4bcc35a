"""``board.json``: the tables of all accepted results, computed once and read in a moment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.errors import UserError
from divsal_bench.leaderboard.board import Table, table
from divsal_bench.leaderboard.gallery import Gallery

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from divsal_bench.leaderboard.accepted import Results

FILE = "board.json"
#: Raised when tables change in a way that older readers would misread.
SCHEMA_VERSION = 1


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


def compute(results: Results) -> SavedBoard:
    """All statistics of all accepted results."""
    pairs = zip(results.sheets, results.galleries, strict=True)
    return SavedBoard(SCHEMA_VERSION, tuple(SavedTable(table(sheet), gallery) for sheet, gallery in pairs))


def as_bytes(board: SavedBoard) -> bytes:
    """The same bytes for the same board."""
    return adapter().dump_json((board,), indent=1) + b"\n"


def load(root: Path) -> SavedBoard:
    """Read ``board.json`` of a results folder.

    Raises:
        UserError: It is missing, damaged, or of another version.
    """
    from pydantic import ValidationError
    from pydantic_core import from_json

    path = root / FILE
    try:
        content = path.read_bytes()
        version = from_json(content)[0]["schema_version"]
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise UserError(
                f"{path} has schema version {version}, this program reads {SCHEMA_VERSION}; update divsal-bench"
            )
        return adapter().validate_json(content)[0]
    except FileNotFoundError:
        raise UserError(f"there is no {path}; make it with `divsal-bench board --recompute`") from None
    except (OSError, ValueError, LookupError, TypeError, ValidationError) as error:
        line = str(error).splitlines()[0]
        raise UserError(f"{path} cannot be read ({line}); mend it with `divsal-bench board --recompute`") from None
