"""What is handed to the unit of work, and what comes back where there is no result."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from divsal_bench.contracts.method import Kind
from divsal_bench.runs.records import DataFacts, Spec, Status

#: Minutes between two checkpoints within an epoch; 0 makes none.
CHECKPOINT_MINUTES = 1.0


@dataclass(frozen=True)
class Job:
    """A specification and where its inputs and outputs are.

    Attributes:
        cache: Folder of the decoded data (``DataArrays.path``).
        data: Facts about the data for the record.
        out: The output folder.
        device: As ``--device``; what its worker calls the device of its place.
        label, kind: The method as tables show it.
        attempts: 2 after a worker died over it once; 3 after that and a second try for memory.
        task_from, method_from: Where the plugins were found (``Plugins.origin``); "" looks everywhere.
        place: Where its worker is, in words; "" if it has nothing of its own.
        replaces: When the run without a result was made that this one replaces; "" if there is none.
        checkpoint_minutes: As ``--checkpoint-minutes``.
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
    place: str = ""
    checkpoint_minutes: float = CHECKPOINT_MINUTES

    def to_json(self) -> dict[str, Any]:
        """For the pipe to a worker."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**plain, "spec": self.spec.model_dump(mode="json"), "data": self.data.model_dump(mode="json")}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Job:
        """From the pipe."""
        return cls(**{**content, "spec": Spec(**content["spec"]), "data": DataFacts(**content["data"])})


@dataclass(frozen=True)
class Failure:
    """Why a job has no result; it can pass the pipe from a worker.

    Attributes:
        status: ``failed``, or ``diverged``.
        error: The reason, at any length.
        seconds: From the job's beginning.
        facts: Fields of the record, as far as they were known.
    """

    status: Status
    error: str
    seconds: float
    facts: dict[str, Any]


@dataclass(frozen=True)
class Watch:
    """Who looks on while a run is made.

    Attributes:
        on_begun: Told what is known for the record, before the method's own code runs.
        on_epoch: Told (epochs done, epochs in all).
        on_notice: Told what the user should know at once, as it goes on after the name of the run.
        on_step: Told that the work goes on: after every training step, and every batch of predictions.
        should_stop: Asked between two steps; True saves the state and ends the work with
            :class:`~divsal_bench.errors.StoppedError`.
    """

    on_begun: Callable[[dict[str, Any]], None] = lambda facts: None
    on_epoch: Callable[[int, int], None] = lambda done, total: None
    on_notice: Callable[[str], None] = lambda text: None
    on_step: Callable[[], None] = lambda: None
    should_stop: Callable[[], bool] = lambda: False
