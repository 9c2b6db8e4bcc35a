"""The unit of work: run one specification. Every launcher calls this and nothing else."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import importlib.metadata
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divsal_bench import backbones, devices, escaping, evaluation, plugins, store
from divsal_bench.contracts.method import Kind
from divsal_bench.data.arrays import DataArrays, open_cached
from divsal_bench.errors import UserError
from divsal_bench.protocols import Protocol
from divsal_bench.records import DataFacts, Record, Scores, Spec, Status
from divsal_bench.scoring import score
from divsal_bench.training import DivergedError, History, Split, Streams, fit

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch

#: Whose versions a result depends on.
PACKAGES = ("divsal-bench", "torch", "timm", "numpy", "scipy", "scikit-learn", "pandas", "datasets", "pillow")


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
    """

    spec: Spec
    label: str
    kind: Kind
    cache: str
    data: DataFacts
    out: str
    device: str
    attempts: int = 1

    def to_json(self) -> dict[str, Any]:
        """For the pipe to a worker."""
        return {
            **{name: getattr(self, name) for name in ("label", "kind", "cache", "out", "device", "attempts")},
            "spec": self.spec.model_dump(mode="json"),
            "data": self.data.model_dump(mode="json"),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Job:
        """From the pipe."""
        return cls(**{**content, "spec": Spec(**content["spec"]), "data": DataFacts(**content["data"])})


def execute(job: Job, on_epoch: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Train, score and store one run.

    Returns:
        Its run directory. A run that fails or diverges is stored too, with its reason.

    Raises:
        UserError: The device or the data is not there, or the result cannot be written.
    """
    started = time.perf_counter()
    facts: dict[str, Any] = {"device": job.device, "attempts": job.attempts}
    try:
        result = train_and_score(job, on_epoch, facts)
        return save(job, *result, started, facts)
    except UserError:  # the user's to mend (no such device, disk full): no fault of this run
        raise
    except DivergedError as error:
        return save_without_model(job, "diverged", str(error), started, facts)
    except Exception as error:  # one broken method must not take the grid down; its traceback is kept
        text = f"{type(error).__name__}: {error}"
        facts["notices"] = ["".join(traceback.format_exception(error))[-4000:]]
        return save_without_model(job, "failed", " ".join(text.split())[:500], started, facts)


def save(
    job: Job, model: backbones.CamNet, history: History, table: pd.DataFrame, scores: Scores, started: float,
    facts: dict[str, Any],
) -> Path:  # fmt: skip
    """Store a run that has its numbers."""
    record = record_of(
        job, "done", started, facts,
        scores=scores,
        notices=history.notices,
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
            names = dict.fromkeys(name for epoch in history.epochs for name in epoch)
            writer = csv.DictWriter(file, fieldnames=list(names) or ["epoch"])
            writer.writerow({name: escaping.cell(name) for name in writer.fieldnames})
            writer.writerows(history.epochs)

    return store.save(Path(job.out), record, write_files)


def train_and_score(
    job: Job, on_epoch: Callable[[int, int], None], facts: dict[str, Any]
) -> tuple[backbones.CamNet, History, Any, Any]:
    """Everything between specification and numbers; fills ``facts`` for the record as it learns them."""
    spec = job.spec
    protocol = Protocol(**spec.protocol_settings)
    devices.make_deterministic(protocol.threads)
    device = devices.choose(job.device)
    facts["device"] = device_name(device)
    data = open_cached(Path(job.cache))
    task = plugins.tasks().get(spec.task)
    method = plugins.methods().get(spec.method)(**spec.fields)
    streams = Streams.of(spec.task, spec.data_fingerprint, spec.backbone, spec.seed)
    in_chans = 3 if protocol.channels == 3 else task.channels
    model = backbones.build(spec.backbone, protocol, in_chans, spec.head, streams.weights)
    facts["model_args"] = backbones.model_args(spec.backbone, protocol, in_chans, spec.head)
    train, validation = (split_tensors(data, name, device) for name in ("train", "validation"))
    history = fit(model, method, train, validation, protocol, streams, on_epoch)
    devices.synchronise(device)
    # The test split is read here for the first time.
    table = evaluation.predictions(model, data, protocol)
    return model, history, table, score(table, task.field_metrics)


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
    return store.save(Path(job.out), record_of(job, status, started, facts, error=error))


def record_of(job: Job, status: Status, started: float, facts: dict[str, Any], **content: Any) -> Record:
    """The run's record with everything that is known whatever its end."""
    return Record(
        run_id=job.spec.run_id,
        status=status,
        method_label=job.label,
        method_kind=job.kind,
        spec=job.spec,
        data=job.data,
        seconds=round(time.perf_counter() - started, 3),
        peak_mb=peak_mb(),
        versions=versions(),
        method_source=plugins.source_hash(plugins.methods().get(job.spec.method)),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **{**facts, **content},
    )


def peak_mb() -> float:
    """Peak resident memory of this process so far, in MB; 0 where the platform does not tell."""
    try:
        import resource
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages a result depends on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def device_name(device: torch.device) -> str:
    """``cpu``, or the accelerator's kind and model."""
    import torch

    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def settings_of(protocol: Protocol) -> dict[str, Any]:
    """The protocol as JSON keeps it, so that a specification hashes the same before and after storing."""
    import json

    content: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(protocol)))
    return content


def default_workers(threads: int) -> int:
    """As many workers as the processors that this process may use have room for."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, usable // threads)
