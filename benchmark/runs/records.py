"""The typed result of a run, and how to read it back. A leaf: no torch, nothing else of the engine."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final, Literal

from pydantic import Field, field_validator

from divsal_bench.errors import UNPRINTABLE, UserError
from divsal_bench.runs.messages import kept_message, kept_notices
from divsal_bench.scores.schema import Scores, Typed
from divsal_bench.words import Head, Kind

#: Raised when run.json changes in a way that older readers would misread.
SCHEMA_VERSION: Final = 1
#: Raised whenever training or scoring may give other numbers for the same specification.
ENGINE_VERSION = 1
Status = Literal["done", "failed", "diverged"]


class Spec(Typed):
    """Everything that decides a run's numbers.

    Attributes:
        data: The data set's name, for people; the fingerprint identifies it.
        weights: ``scratch``, or sha256 of the initial weights.
        protocol_settings: Every field of the protocol, so that an edited protocol is another run.
    """

    task: str
    task_version: int
    data: str
    data_fingerprint: str
    method: str
    method_version: int
    fields: dict[str, Any]
    backbone: str
    weights: str
    head: Head
    protocol: str
    protocol_settings: dict[str, Any]
    seed: int
    engine_version: int = ENGINE_VERSION

    @field_validator("data")
    @classmethod
    def _named(cls, value: str) -> str:
        """A folder may be called anything: said before the work, not when its record cannot be read."""
        if UNPRINTABLE.search(value):
            raise UserError(f"the name of the data {value!r} has control characters; rename its folder")
        return value

    @property
    def run_id(self) -> str:
        """16 hexadecimal digits: a hash of the canonical specification, without the data set's name."""
        content = self.model_dump(mode="json", exclude={"data"})
        text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def group(self) -> tuple[str, str, str, str, str, str]:
        """What two rows of one table share: task, data, protocol, backbone, head and all their versions."""
        settings = json.dumps(
            [self.protocol_settings, self.weights, self.task_version, self.engine_version], sort_keys=True
        )
        digest = hashlib.sha256(settings.encode()).hexdigest()[:8]
        return self.task, self.data_fingerprint, self.protocol, self.backbone, self.head, digest

    @property
    def entry(self) -> str:
        """What makes runs one row of a table: the method, its version and its fields."""
        return json.dumps([self.method, self.method_version, self.fields], sort_keys=True)


class DataFacts(Typed):
    """Where the data came from, and a hash of the pixels the network really saw.

    Attributes:
        kind: ``standin`` for drawn images however they are delivered, else ``folder`` or ``hub``.
        terms: Source to what its owner allowed when the run was made: yes, no or unknown, by what would be published.
            Empty for stand-ins, and in records of older versions.
        windows: Source to the values of its 16-bit images that were read as black and white, ``LO:HI``, where that was
            told; empty in records of older versions.
    """

    kind: str
    revision: str
    pixel_hash: str
    train: int
    validation: int
    test: int
    train_maps: int
    terms: dict[str, dict[str, str]] = Field(default_factory=dict)
    windows: dict[str, str] = Field(default_factory=dict)


class Record(Typed):
    """The content of run.json.

    Attributes:
        method_label: The method's name with the fields that differ from its defaults.
        method_kind: ``unguided``, ``one-cam``, ``two-cam`` or ``control``.
        method_source: Digits for the method's code, so that an edited method is noticed; "" if unknown.
        attempts: 2 or 3 if its process died, ran out of memory or made no progress before.
        resumes: How often it went on from a checkpoint after an interruption; ``seconds`` and ``train_seconds`` add up
            over all its parts.
        peak_mb: Peak resident memory of the run's process; in records without ``files``, other runs may have been
            done in that process before.
        place: The processors, or the slot on a device, that its process had to itself; "" if none were set apart.
        processor: On the CPU, the instructions it was computed with; "" if unknown.
        files: Name to sha256 of each file beside run.json, 64 digits; empty in records of older versions.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    run_id: str
    status: Status
    method_label: str
    method_kind: Kind
    spec: Spec
    data: DataFacts
    scores: Scores | None = None
    error: str = ""
    notices: list[str] = Field(default_factory=list)
    selected_epoch: int = 0
    train_seconds: float = 0.0
    seconds: float = 0.0
    peak_mb: float = 0.0
    device: str = ""
    place: str = ""
    processor: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    model_args: dict[str, Any] = Field(default_factory=dict)
    method_source: str = ""
    attempts: int = 1
    resumes: int = 0
    created: str = ""
    files: dict[str, str] = Field(default_factory=dict)

    @field_validator("error", "notices")
    @classmethod
    def _printable(cls, value: str | list[str]) -> str | list[str]:
        """Exceptions and methods say anything, at any length; what is written is what a reader takes."""
        return kept_message(value) if isinstance(value, str) else kept_notices(value)
