"""Read run directories, which may be a stranger's."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from divsal_bench.errors import UserError
from divsal_bench.files import foreign
from divsal_bench.files.models import up_to_date
from divsal_bench.runs.bounds import LARGEST_RECORD, check_content
from divsal_bench.runs.migrations import RECORD_STEPS
from divsal_bench.runs.names import PREDICTIONS_FILE, RUN_FILE
from divsal_bench.runs.prediction_table import read_predictions
from divsal_bench.runs.records import SCHEMA_VERSION, Record, Spec

if TYPE_CHECKING:
    import pandas as pd

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
    record: Record = field(repr=False)

    @property
    def spec(self) -> Spec:
        """What was run."""
        return self.record.spec

    def require_data(self, fingerprint: str) -> None:
        """Refuse other data than the run's own."""
        if fingerprint != self.spec.data_fingerprint:
            raise UserError(
                f"the data given has fingerprint {fingerprint[:8]}, {self.path} was run on "
                f"{self.spec.data_fingerprint[:8]}; give that with --data"
            )

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
            raise UserError(
                f"{path} cannot be read ({foreign.why_unread(error)}); delete the folder {self.path} {AGAIN}"
            ) from error
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

        path = self.path / PREDICTIONS_FILE
        self.check_file(path.name)
        try:
            # What pandas noted in the file (index, types) is passed by: it may be anything.
            table: pd.DataFrame = read_predictions(path).to_pandas(ignore_metadata=True)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise UserError(
                f"{path} cannot be read ({foreign.why_unread(error)}); delete the folder {self.path} {AGAIN}"
            ) from error
        return table


def read_run(path: Path) -> Run:
    """Read one run directory, which may be a stranger's: what it says can be printed.

    Raises:
        UserError: No run.json there, or one that is damaged, beyond all reason or from a newer version.
    """
    file = path / RUN_FILE
    try:
        file = file if path.is_dir() else path
        content = foreign.read_json(file, LARGEST_RECORD)
    except (FileNotFoundError, NotADirectoryError):
        raise NoRunError(f"{path} is not a run: it has no run.json") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}); delete its folder {AGAIN}") from error
    try:
        content = up_to_date(content, SCHEMA_VERSION, file, RECORD_STEPS)
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
    """Refuse a run that was copied into the folder of another one, whose name ends in another run id."""
    spec, run_id = run.spec, run.record.run_id
    _, _, named = run.path.name.rpartition("-")
    if RUN_ID.fullmatch(named) and named != run_id:
        raise UserError(
            f"{run.path} holds another run: {spec.method} seed {spec.seed} of {spec.task} ({run_id}); delete this "
            "folder, or move it to where it belongs, and run again"
        )


def require_utf8(path: Path) -> None:
    """Refuse a folder whose name Parquet and safetensors cannot open, before any work in it."""
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
    found = [out] if 0 in depths and (out / RUN_FILE).exists() else []
    for depth in range(1, max(depths) + 1):
        level = [one for folder in level for one in shown_folders(folder)]
        found += [folder for folder in level if depth in depths and (folder / RUN_FILE).exists()]
    return sorted(found)


def shown_folders(folder: Path) -> list[Path]:
    """The folders right in a folder that are not hidden; none where it is not there."""
    try:
        found = list(os.scandir(folder))
    except FileNotFoundError:
        return []
    return [Path(one.path) for one in found if not one.name.startswith(".") and one.is_dir()]


def collect_runs(paths: Sequence[Path], out: Path) -> list[Run]:
    """Runs from run directories and output folders (none: from ``out``); UserError if one holds no run."""
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
