"""A run's record, however it ended, and the files beside it."""

from __future__ import annotations

import csv
import datetime
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divsal_bench.errors import UserError
from divsal_bench.files import escaping
from divsal_bench.files.texts import printable_lines
from divsal_bench.grid.jobs import Failure, Job
from divsal_bench.registry import method_source, plugins
from divsal_bench.runs import store
from divsal_bench.runs.messages import LONGEST_ERROR, LONGEST_NAME, notices_of, one_line
from divsal_bench.runs.names import HISTORY_FILE, PREDICTIONS_FILE, STDERR_FILE, WEIGHTS_FILE
from divsal_bench.runs.records import Record, Status
from divsal_bench.runs.unfinished import forget
from divsal_bench.runs.versions import versions
from divsal_bench.scores.schema import Scores

if TYPE_CHECKING:
    import pandas as pd

    from divsal_bench.networks.backbones import CamNet
    from divsal_bench.training.training import History


class NotWrittenError(Exception):
    """A result cannot be written: no fault of the method, so that nothing is recorded and the command ends."""

    def __init__(self, reason: UserError) -> None:
        super().__init__(str(reason))
        self.reason = reason


def record_of(job: Job, status: Status, seconds: float, facts: Mapping[str, Any], **content: Any) -> Record:
    """The run's record with everything that is known whatever its end.

    Args:
        facts: Fields of the record that were learned on the way; they come before what is known here.
        content: Fields of the record; they come before those.
    """
    known = {
        "run_id": job.spec.run_id,
        "status": status,
        "method_label": job.label,
        "method_kind": job.kind,
        "spec": job.spec,
        "data": job.data,
        "device": job.device,
        "place": job.place,
        "attempts": job.attempts,
        "seconds": round(seconds, 3),
        "versions": versions(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    # A method may be edited while it is run: what was run was hashed before.
    if "method_source" not in facts:
        known["method_source"] = method_source.source_hash(plugins.methods().get(job.spec.method))
    return Record(**{**known, **facts, **content})


def keep_result(
    job: Job, model: CamNet, history: History, table: pd.DataFrame, scores: Scores, seconds: float,
    facts: Mapping[str, Any],
) -> Path:  # fmt: skip
    """Store a run that has its numbers.

    Returns:
        Its run directory.

    Raises:
        UnreadableError: Its record could not be read back.
        NotWrittenError: The disk is full, say.
    """
    record = record_of(
        job, "done", seconds, facts,
        scores=scores,
        notices=[*facts["notices"], *notices_of(history.notices)],
        selected_epoch=history.selected_epoch,
        train_seconds=round(history.train_seconds, 3),
    )  # fmt: skip

    def write_files(folder: Path) -> None:
        from safetensors.torch import save_file

        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.net.state_dict().items()}
        save_file(tensors, str(folder / WEIGHTS_FILE))
        table.to_parquet(folder / PREDICTIONS_FILE, index=False)
        with (folder / HISTORY_FILE).open("w", newline="", encoding="utf-8") as file:
            # A method may log a term from some epoch on.
            names = list(dict.fromkeys(name for epoch in history.epochs for name in epoch)) or ["epoch"]
            writer = csv.writer(file)
            writer.writerow([escaping.csv_cell(one_line(name, LONGEST_NAME)) for name in names])
            writer.writerows([epoch.get(name, "") for name in names] for epoch in history.epochs)

    try:
        path = store.save_run(Path(job.out), record, write_files)
    except store.UnreadableError:
        raise
    except UserError as error:
        raise NotWrittenError(error) from error
    forget(Path(job.out), record.run_id)
    return path


def keep_failure(job: Job, failure: Failure, printed: str = "") -> Path:
    """Store a run that has no numbers, with its reason.

    Args:
        printed: What its process wrote to standard error, as far as that was kept; a file beside the record.

    Returns:
        Its run directory.

    Raises:
        UserError: It cannot be written.
    """
    record = record_of(
        job, failure.status, failure.seconds, failure.facts, error=one_line(failure.error, LONGEST_ERROR)
    )

    def write_output(folder: Path) -> None:
        if printed:
            (folder / STDERR_FILE).write_text(printable_lines(printed) + "\n", encoding="utf-8")

    path = store.save_run(Path(job.out), record, write_output)
    forget(Path(job.out), record.run_id)
    return path


def error_words(error: BaseException) -> str:
    """An exception's kind and message; a broken exception has its kind alone."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def peak_memory() -> float:
    """Peak resident memory of this process so far, in MB; 0 where the platform does not tell."""
    try:
        import resource
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
