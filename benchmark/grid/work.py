"""The unit of work: run one specification. Every launcher calls this and nothing else."""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divsal_bench.contracts.method import Method
from divsal_bench.contracts.task import Task
from divsal_bench.data.arrays import DataArrays, open_cached
from divsal_bench.data.stored_rows import DamagedCacheError
from divsal_bench.errors import DivergedError, StoppedError
from divsal_bench.evaluation import predictions
from divsal_bench.grid import recording
from divsal_bench.grid.jobs import Failure, Job, Watch
from divsal_bench.grid.keeping import Keeper, SpoiltError
from divsal_bench.networks import backbones, devices
from divsal_bench.networks.devices import device_name
from divsal_bench.registry import method_source, plugins
from divsal_bench.registry.protocols import Protocol
from divsal_bench.runs import store
from divsal_bench.runs.messages import LONGEST_TRACEBACK
from divsal_bench.runs.records import Status
from divsal_bench.scores.schema import Scores
from divsal_bench.scores.scoring import score
from divsal_bench.training.splits import SplitRows, resident, room_for_rows
from divsal_bench.training.training import History, Streams, fit

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch


#: Nobody looks on.
UNWATCHED = Watch()


def execute(job: Job, watch: Watch = UNWATCHED, notices: Sequence[str] = ()) -> Path:
    """Train, score and store one run.

    Args:
        notices: For its record, beside those of the method.

    Returns:
        Its run directory. A run that fails or diverges is stored too, with its reason.

    Raises:
        UserError: The device or the data is not there or is damaged, or the result cannot be written.
        StoppedError: ``watch`` asked for it; the state is saved where that is possible.
        KeyboardInterrupt: Ctrl-C, in a process that listens to it.
    """
    found = attempt(job, watch, notices)
    return found if isinstance(found, Path) else recording.keep_failure(job, found)


def attempt(job: Job, watch: Watch = UNWATCHED, notices: Sequence[str] = ()) -> Path | Failure:
    """:func:`execute`, but a run without a result is left for the caller to store."""
    started = time.perf_counter()
    facts: dict[str, Any] = {"notices": list(notices)}
    parts = assemble(job, facts)
    keeper = Keeper(job, watch, started, parts.device.type, facts)
    keeper.look()
    watch.on_begun({**facts, "peak_mb": recording.peak_memory()})

    def failure(status: Status, error: str) -> Failure:
        return Failure(status, error, keeper.seconds, {**facts, "peak_mb": recording.peak_memory()})

    try:
        result = train_and_score(job, parts, watch, keeper)
        return recording.keep_result(job, *result, keeper.seconds, {**facts, "peak_mb": recording.peak_memory()})
    except DamagedCacheError:  # no fault of the method, and mended by the same command again
        raise
    except store.UnreadableError as error:
        return failure("failed", str(error))
    except recording.NotWrittenError as error:
        raise error.reason from None
    except StoppedError:
        raise
    except DivergedError as error:
        return failure("diverged", str(error))
    except BaseException as error:  # one broken method must not take the grid down, whatever it raises
        if isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
            raise
        facts["notices"].insert(0, "".join(traceback.format_exception(error))[-LONGEST_TRACEBACK:])
        return failure("failed", recording.error_words(error))


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


def assemble(job: Job, facts: dict[str, Any]) -> Parts:
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
    if (data.fingerprint, data.pixel_hash) != (spec.data_fingerprint, job.data.pixel_hash):
        raise DamagedCacheError(data.path, "it holds other data than this run was planned with")
    task = plugins.tasks().get(spec.task)
    method = plugins.methods().get(spec.method)
    facts["method_source"] = method_source.source_hash(method)
    streams = Streams.of(spec.task, spec.data_fingerprint, spec.backbone, spec.seed)
    in_chans = 3 if protocol.channels == 3 else task.channels
    model = backbones.build(spec.backbone, protocol, in_chans, spec.head, streams.weights)
    facts["model_args"] = backbones.model_args(spec.backbone, protocol, in_chans, spec.head)
    return Parts(protocol, device, data, task, method, streams, model)


def train_and_score(
    job: Job, parts: Parts, watch: Watch, keeper: Keeper
) -> tuple[backbones.CamNet, History, pd.DataFrame, Scores]:
    """Everything between the parts and the numbers."""
    train = resident(split_rows(parts.data, "train", parts.device), room_for_rows(parts.device, devices.slots_here()))
    # Read once an epoch at most, in order: it takes no memory.
    validation = split_rows(parts.data, "validation", parts.device)
    method = parts.method(**job.spec.fields)

    def fitted() -> History:
        return fit(
            parts.model, method, train, validation, parts.protocol, parts.streams, watch.on_epoch,
            keeper.go_on, keeper.after_step, watch.on_step,
        )  # fmt: skip

    try:
        history = fitted()
    except SpoiltError:
        parts, method = assemble(job, {}), parts.method(**job.spec.fields)
        history = fitted()
    devices.synchronise(parts.device)
    # The test split is read here for the first time.
    table = predictions.predictions(parts.model, parts.data, parts.protocol, keeper.on_batch)
    return parts.model, history, table, score(table, parts.task.field_metrics)


def split_rows(data: DataArrays, name: str, device: torch.device) -> SplitRows:
    """One split's rows, to be read by batch; its labels are on the device."""
    rows: np.ndarray = (data.rows["split"] == name).to_numpy().nonzero()[0]
    columns = data.rows.iloc[rows]
    return SplitRows.of(
        data.images, data.maps, rows, columns["label"].to_numpy(), columns["has_map"].to_numpy(), device
    )  # fmt: skip
