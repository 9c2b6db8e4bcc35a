"""Read run directories, which may be a stranger's."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from divsal_bench.errors import UNPRINTABLE, UserError
from divsal_bench.files import foreign
from divsal_bench.runs.prediction_table import read_predictions

if TYPE_CHECKING:
    import pandas as pd
from divsal_bench.runs.records import LONGEST_MESSAGE, SCHEMA_VERSION, Record, Spec, plain

#: A run may be a stranger's. Bytes of run.json; ours have some ten thousand.
LARGEST_RECORD = 2**22


#: How many values a record may hold, and how deep they may be nested.
MOST_VALUES, DEEPEST = 100_000, 50


#: Characters of a text in a record: anywhere, and in the two fields that hold messages of exceptions.
LONGEST_TEXT = 400


#: A whole number beyond this is no count, no size and no seed.
LARGEST_INTEGER = 2**63


#: What a record keeps of each condition beside its AUROC: every field metric there is.
FIELD_METRICS = 7


#: Bytes and values in run.json, generously, of a score or the terms of a source without their names, and of the rest.
PART_BYTES, PART_VALUES, OTHER_BYTES, OTHER_VALUES = 300, 9, 1_000_000, 10_000


#: What the name of a run's folder ends in.
RUN_ID = re.compile("[0-9a-f]{16}")


#: What helps against a bad file, whether it was written here or pulled from the Hub.
AGAIN = "and run again, or get it again from where it came"


class NoRunError(UserError):
    """There is no run where one was looked for."""


@dataclass(frozen=True)
class Run:
    """One run on disk."""

    path: Path
    record: Record

    @property
    def spec(self) -> Spec:
        """What was run."""
        return self.record.spec

    def check_file(self, name: str) -> None:
        """Refuse a file beside run.json that is not the one this run wrote; one it says nothing of passes.

        Raises:
            UserError: Its sha256 is another, or it cannot be read.
        """
        if name not in self.record.files:
            return
        path = self.path / name
        try:
            found = foreign.sha256(path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or f"it {error}"
            raise UserError(f"{path} cannot be read ({reason}); delete the folder {self.path} {AGAIN}") from error
        if found != self.record.files[name]:
            raise UserError(
                f"{path} is not what run {self.record.run_id} wrote: its sha256 begins with {found[:8]}, run.json says "
                f"{self.record.files[name][:8]}; delete the folder {self.path} {AGAIN}"
            )

    def predictions(self) -> pd.DataFrame:
        """Validation and test rows with both logits, conditions and map agreement.

        Raises:
            UserError: The file is missing, unreadable or not the one that this run wrote.
        """
        import pyarrow as pa

        path = self.path / "predictions.parquet"
        self.check_file(path.name)
        try:
            # What pandas noted in the file (index, types) is passed by: it may be anything.
            table: pd.DataFrame = read_predictions(path).to_pandas(ignore_metadata=True)
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise UserError(f"{path} cannot be read ({reason}); delete the folder {self.path} {AGAIN}") from error
        return table


def room_problem(conditions: Mapping[str, Collection[str]], sources: Collection[str]) -> str:
    """Why run.json could not hold the results on some data; "" if it can. Counted generously, in round numbers.

    Args:
        conditions: Name of each condition of the test split to the categories of its positives.
        sources: All sources.
    """
    try:
        for name in (*conditions, *sources):
            check_text(name, "condition")
    except ValueError as error:
        return f"the name of a condition or source cannot be kept ({error}); shorten it"
    scores = 1 + FIELD_METRICS
    species = [category for categories in conditions.values() for category in categories]
    values = OTHER_VALUES + PART_VALUES * (scores * len(conditions) + len(sources)) + len(species)
    size = OTHER_BYTES + sum(scores * (PART_BYTES + _size(name)) for name in conditions)
    size += sum(PART_BYTES + _size(name) for name in sources) + sum(_size(name) for name in species)
    if values <= MOST_VALUES and size <= LARGEST_RECORD:
        return ""
    return (
        f"{len(conditions):,} conditions, {len(sources):,} sources and {len(set(species)):,} categories are more than "
        "a run's record holds (about 1,000 short names); join some of them"
    )


def _size(name: str) -> int:
    """Bytes of a name as JSON writes it."""
    return len(json.dumps(name)) + 20


def read_run(path: Path) -> Run:
    """Read one run directory, which may be a stranger's: what it says can be printed.

    Raises:
        UserError: No run.json there, or one that is damaged, beyond all reason or from a newer version.
    """
    file = path / "run.json"
    try:
        file = file if path.is_dir() else path
        content = foreign.read_json(file, LARGEST_RECORD)
    except (FileNotFoundError, NotADirectoryError):
        raise NoRunError(f"{path} is not a run: it has no run.json") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}); delete its folder {AGAIN}") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise UserError(
            f"{file} has schema version {version}, this program reads {SCHEMA_VERSION}; update divsal-bench"
        )
    try:
        check_content(content)
        record = Record.model_validate(content)
        run_id = record.spec.run_id
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{file} is damaged: field {field!r}: {first['msg']}; delete its folder {AGAIN}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is damaged: {str(error)[:200]}; delete its folder {AGAIN}") from None
    if record.run_id != run_id:
        raise UserError(f"{file} was edited: its specification does not hash to its run_id {record.run_id}")
    return Run(file.parent, record)


def check_content(content: object) -> None:
    """Check what types do not: how much there is, and that every text is short and can be printed.

    Raises:
        ValueError: It cannot be a run's.
    """
    waiting: list[tuple[str, object, int]] = [("", content, 0)]
    seen = 0
    while waiting:
        field, value, depth = waiting.pop()
        if isinstance(value, str):
            check_text(value, field)
        elif isinstance(value, int | float):
            if (isinstance(value, int) and abs(value) > LARGEST_INTEGER) or not math.isfinite(value):
                raise ValueError(f"field {field!r} has a number that none of ours can be")
        elif isinstance(value, dict | list):
            seen += len(value)
            if seen > MOST_VALUES or depth == DEEPEST:
                raise ValueError(f"field {field!r} holds too much, or is nested too deeply")
            if isinstance(value, dict):
                for name in value:
                    check_text(name, f"a name in {field}" if field else "a name")
                waiting += [(field or name, one, depth + 1) for name, one in value.items()]
            else:
                waiting += [(field, one, depth + 1) for one in value]


def check_text(text: str, field: str) -> None:
    """Check one text of a record.

    Raises:
        ValueError: It is too long, or a terminal would obey it instead of showing it.
    """
    longest = LONGEST_MESSAGE.get(field, LONGEST_TEXT)
    if len(text) > longest:
        raise ValueError(f"field {field!r} has a text of {len(text):,} characters, {longest:,} are allowed")
    if (plain(text) if field in LONGEST_MESSAGE else UNPRINTABLE.sub("?", text)) != text:
        raise ValueError(f"field {field!r} has control characters")


def read_runs(out: Path) -> list[Run]:
    """Every finished run below an output folder, in a fixed order; work in progress is not counted.

    Raises:
        UserError: One is damaged, or lies where another run belongs.
    """
    found = [read_run(folder) for folder in run_folders(out, 3)]
    for run in found:
        check_place(run)
    return found


def check_place(run: Run) -> None:
    """Refuse a run that was copied into the folder of another one.

    Raises:
        UserError: The folder's name ends in another run id.
    """
    spec, run_id = run.spec, run.record.run_id
    _, _, named = run.path.name.rpartition("-")
    if RUN_ID.fullmatch(named) and named != run_id:
        raise UserError(
            f"{run.path} holds another run: {spec.method} seed {spec.seed} of {spec.task} ({run_id}); delete this "
            "folder, or move it to where it belongs, and run again"
        )


def require_utf8(path: Path) -> None:
    """Refuse a folder whose name Parquet and safetensors cannot open, before any work in it.

    Raises:
        UserError: It is not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(
            f"the name of {path} is not UTF-8, and a run cannot be read or written there; rename it"
        ) from None


def run_folders(out: Path, *depths: int) -> list[Path]:
    """Folders with a run.json so many folders below ``out`` (0: itself), in a fixed order; none that is hidden.

    A hidden folder holds unfinished work; one that is not there, perhaps no longer, holds nothing.

    Raises:
        OSError: A folder cannot be read. (``Path.glob`` would leave it out without a word.)
    """
    level = [out]
    found = [out] if 0 in depths and (out / "run.json").exists() else []
    for depth in range(1, max(depths) + 1):
        level = [one for folder in level for one in shown_folders(folder)]
        found += [folder for folder in level if depth in depths and (folder / "run.json").exists()]
    return sorted(found)


def shown_folders(folder: Path) -> list[Path]:
    """The folders right in a folder that are not hidden; none where it is not there."""
    try:
        found = list(os.scandir(folder))
    except FileNotFoundError:
        return []
    return [Path(one.path) for one in found if not one.name.startswith(".") and one.is_dir()]


def collect_runs(paths: Sequence[Path], out: Path) -> list[Run]:
    """Runs from run directories and output folders; the output folder alone where nothing is named.

    Raises:
        UserError: A path that holds no run.
    """
    found: dict[Path, Run] = {}
    for path in paths or [out]:
        require_utf8(path)
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is no folder; give an output folder or run directories")
        if not path.is_dir():
            raise UserError(f"there is no folder {path}; give an output folder or run directories")
        if (path / "run.json").exists():
            runs = [read_run(path)]
        else:
            # Else it may be a task's or a method's folder inside an output folder.
            runs = read_runs(path) or [read_run(folder) for folder in run_folders(path, 1, 2)]
        if not runs:
            raise UserError(f"{path} holds no finished run; give an output folder or run directories")
        found |= {run.path.resolve(): run for run in runs}
    return list(found.values())
