"""The unit of work: run one specification. Every launcher calls this and nothing else."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divsal_bench.contracts.method import Kind, Method
from divsal_bench.contracts.task import Task
from divsal_bench.data.arrays import DataArrays, open_cached
from divsal_bench.errors import DivergedError, UserError, printable
from divsal_bench.evaluation import predictions
from divsal_bench.files import escaping
from divsal_bench.networks import backbones, devices
from divsal_bench.networks.devices import device_name
from divsal_bench.registry import plugins
from divsal_bench.registry.protocols import Protocol
from divsal_bench.runs import store
from divsal_bench.runs.records import DataFacts, Record, Spec, Status
from divsal_bench.runs.versions import versions
from divsal_bench.scores.schema import Scores
from divsal_bench.scores.scoring import score
from divsal_bench.training.training import History, Split, Streams, fit

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch


#: Characters of what a method writes into its record: an error, its traceback, a notice, a logged term's name.
LONGEST_ERROR, LONGEST_TRACEBACK, LONGEST_NOTICE, LONGEST_NAME = 500, 4000, 400, 60
#: Notices of one run; of more, their number is kept.
MOST_NOTICES = 20


class NotWrittenError(Exception):
    """A result cannot be written: no fault of the method, so that nothing is recorded and the command ends."""

    def __init__(self, reason: UserError) -> None:
        super().__init__(str(reason))
        self.reason = reason


@dataclass(frozen=True)
class Job:
    """A specification and where its inputs and outputs are.

    Attributes:
        cache: Folder of the decoded data (``DataArrays.path``).
        data: Facts about the data for the record.
        out: The output folder.
        device: As ``--device``.
        label, kind: The method as tables show it.
        attempts: 2 after a worker died over it once.
        task_from, method_from: Where the plugins were found (``Plugins.origin``); "" looks everywhere.
        replaces: When the run without a result was made that this one replaces; "" if there is none.
    """

    spec: Spec
    label: str
    kind: Kind
    cache: str
    data: DataFacts
    out: str
    device: str
    attempts: int = 1
    task_from: str = ""
    method_from: str = ""
    replaces: str = ""

    def to_json(self) -> dict[str, Any]:
        """For the pipe to a worker."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**plain, "spec": self.spec.model_dump(mode="json"), "data": self.data.model_dump(mode="json")}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Job:
        """From the pipe."""
        return cls(**{**content, "spec": Spec(**content["spec"]), "data": DataFacts(**content["data"])})


def execute(
    job: Job, on_epoch: Callable[[int, int], None] = lambda done, total: None, notices: Sequence[str] = ()
) -> Path:
    """Train, score and store one run.

    Args:
        job: What to run.
        on_epoch: Told (epochs done, epochs in all).
        notices: For its record, beside those of the method.

    Returns:
        Its run directory. A run that fails or diverges is stored too, with its reason.

    Raises:
        UserError: The device or the data is not there, or the result cannot be written.
        KeyboardInterrupt: Ctrl-C, in a process that listens to it.
    """
    started = time.perf_counter()
    facts: dict[str, Any] = {"device": job.device, "attempts": job.attempts, "notices": list(notices)}
    parts = prepare(job, facts)
    try:
        result = train_and_score(job, parts, on_epoch)
        return save(job, *result, started, facts)
    except store.UnreadableError as error:
        return save_without_model(job, "failed", str(error), started, facts)
    except NotWrittenError as error:
        raise error.reason from None
    except DivergedError as error:
        return save_without_model(job, "diverged", str(error), started, facts)
    except BaseException as error:  # one broken method must not take the grid down, whatever it raises
        if isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
            raise
        facts["notices"].insert(0, "".join(traceback.format_exception(error))[-LONGEST_TRACEBACK:])
        return save_without_model(job, "failed", said(error), started, facts)


def save(
    job: Job, model: backbones.CamNet, history: History, table: pd.DataFrame, scores: Scores, started: float,
    facts: dict[str, Any],
) -> Path:  # fmt: skip
    """Store a run that has its numbers."""
    record = record_of(
        job, "done", started, facts,
        scores=scores,
        notices=[*facts["notices"], *notices_of(history.notices)],
        selected_epoch=history.selected_epoch,
        train_seconds=round(history.train_seconds, 3),
    )  # fmt: skip

    def write_files(folder: Path) -> None:
        from safetensors.torch import save_file

        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.net.state_dict().items()}
        save_file(tensors, str(folder / "model.safetensors"))
        table.to_parquet(folder / "predictions.parquet", index=False)
        with (folder / "history.csv").open("w", newline="", encoding="utf-8") as file:
            # A method may log a term from some epoch on.
            names = list(dict.fromkeys(name for epoch in history.epochs for name in epoch)) or ["epoch"]
            writer = csv.writer(file)
            writer.writerow([escaping.cell(one_line(name, LONGEST_NAME)) for name in names])
            writer.writerows([epoch.get(name, "") for name in names] for epoch in history.epochs)

    try:
        return store.save(Path(job.out), record, write_files)
    except store.UnreadableError:
        raise
    except UserError as error:
        raise NotWrittenError(error) from error


def said(error: BaseException) -> str:
    """An exception's kind and message; a broken exception has its kind alone."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def notices_of(notices: object) -> list[str]:
    """What a method noted, each notice one short line, however much it was."""
    given = list(notices) if isinstance(notices, list | tuple) else [notices]
    texts = [one_line(text, LONGEST_NOTICE) for text in given[:MOST_NOTICES]]
    return [*texts, f"and {len(given) - MOST_NOTICES:,} more"] if len(given) > MOST_NOTICES else texts


def one_line(text: object, longest: int) -> str:
    """A text of a method's as one line that can be shown, cut to ``longest`` characters."""
    try:
        text = str(text)
    except Exception:
        text = f"a {type(text).__name__} that cannot be shown"
    line = printable(" ".join(text[: 4 * longest].split()))
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


@dataclass(frozen=True)
class Parts:
    """What a run is put together from. Where one of them is missing, that is the user's to mend."""

    protocol: Protocol
    device: torch.device
    data: DataArrays
    task: Task
    method: type[Method]
    streams: Streams
    model: backbones.CamNet


def prepare(job: Job, facts: dict[str, Any]) -> Parts:
    """Everything before the method's own code; fills ``facts`` for the record as it learns them.

    Raises:
        UserError: No such device, no data, or no such network.
    """
    spec = job.spec
    protocol = Protocol(**spec.protocol_settings)
    devices.make_deterministic(protocol.threads)
    device = devices.choose_device(job.device)
    facts["device"] = device_name(device)
    facts["processor"] = devices.instruction_set() if device.type == "cpu" else ""
    data = open_cached(Path(job.cache))
    task = plugins.tasks().get(spec.task)
    method = plugins.methods().get(spec.method)
    facts["method_source"] = plugins.source_hash(method)
    streams = Streams.of(spec.task, spec.data_fingerprint, spec.backbone, spec.seed)
    in_chans = 3 if protocol.channels == 3 else task.channels
    model = backbones.build(spec.backbone, protocol, in_chans, spec.head, streams.weights)
    facts["model_args"] = backbones.model_args(spec.backbone, protocol, in_chans, spec.head)
    return Parts(protocol, device, data, task, method, streams, model)


def train_and_score(
    job: Job, parts: Parts, on_epoch: Callable[[int, int], None]
) -> tuple[backbones.CamNet, History, pd.DataFrame, Scores]:
    """Everything between the parts and the numbers."""
    method = parts.method(**job.spec.fields)
    train, validation = (split_tensors(parts.data, name, parts.device) for name in ("train", "validation"))
    history = fit(parts.model, method, train, validation, parts.protocol, parts.streams, on_epoch)
    devices.synchronise(parts.device)
    # The test split is read here for the first time.
    table = predictions.predictions(parts.model, parts.data, parts.protocol)
    return parts.model, history, table, score(table, parts.task.field_metrics)


def split_tensors(data: DataArrays, name: str, device: torch.device) -> Split:
    """One split's rows as tensors on the device."""
    rows: np.ndarray = (data.rows["split"] == name).to_numpy().nonzero()[0]
    columns = data.rows.iloc[rows]
    return Split.from_arrays(
        data.images[rows],
        columns["label"].to_numpy(),
        data.maps[rows],
        columns["has_map"].to_numpy(),
        device,
    )


def save_without_model(job: Job, status: Status, error: str, started: float, facts: dict[str, Any]) -> Path:
    """Keep a run that has no numbers, with its reason."""
    return store.save(Path(job.out), record_of(job, status, started, facts, error=one_line(error, LONGEST_ERROR)))


def record_of(job: Job, status: Status, started: float, facts: dict[str, Any], **content: Any) -> Record:
    """The run's record with everything that is known whatever its end.

    Args:
        job: What was run.
        status: How it ended.
        started: By :func:`time.perf_counter`.
        facts, content: Fields of the record; those of ``content`` come first, ``facts`` before what is known here.
    """
    known = {
        "run_id": job.spec.run_id,
        "status": status,
        "method_label": job.label,
        "method_kind": job.kind,
        "spec": job.spec,
        "data": job.data,
        "seconds": round(time.perf_counter() - started, 3),
        "peak_mb": peak_mb(),
        "versions": versions(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    return Record(**{**known, **facts, **content})


def peak_mb() -> float:
    """Peak resident memory of this process so far, in MB; 0 where the platform does not tell."""
    try:
        import resource
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def settings_of(protocol: Protocol) -> dict[str, Any]:
    """The protocol as JSON keeps it, so that a specification hashes the same before and after storing."""
    import json

    content: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(protocol)))
    return content
