"""The typed result of a run, and how to read it back. A leaf: no torch, nothing else of the engine."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from divsal_bench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

#: Raised when run.json changes in a way that older readers would misread.
SCHEMA_VERSION: Final = 1
#: Raised whenever training or scoring may give other numbers for the same specification.
ENGINE_VERSION = 1
Status = Literal["done", "failed", "diverged"]


class NoRunError(UserError):
    """There is no run where one was looked for."""


class Typed(BaseModel):
    """Closed and immutable: an unknown or missing field is an error, not a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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
    head: Literal["two-logit", "one-logit"]
    protocol: str
    protocol_settings: dict[str, Any]
    seed: int
    engine_version: int = ENGINE_VERSION

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


class ConditionScore(Typed):
    """AUROC of one condition.

    Attributes:
        axis, kind, reason: As in :class:`divsal_bench.conditions.Condition`.
        auroc: None without both classes.
        positives, negatives: Rows compared.
        false_positive_rate: Of the negatives, at the threshold set on validation; None with fewer than 1/rate
            negatives in validation or in the in-domain test rows.
    """

    name: str
    axis: str
    kind: str
    reason: str
    auroc: float | None
    positives: int
    negatives: int
    false_positive_rate: float | None


class FieldScore(Typed):
    """One of the field's own metrics on one condition.

    Attributes:
        value: None where it is not available; ``note`` says why.
        achieved: The constrained rate really reached by the threshold set on validation.
        oracle: The value had the threshold been set on the condition itself.
        species: Attack species to its own value, where the metric has them.
    """

    metric: str
    condition: str
    value: float | None
    achieved: float | None = None
    oracle: float | None = None
    species: dict[str, float] = {}
    note: str = ""


class Threshold(Typed):
    """A decision threshold on the logit margin, and the rule that set it on the whole validation split.

    ``value`` is None when no threshold but infinity keeps the rule: nothing is called positive.
    """

    rule: str
    rate: float
    value: float | None
    negatives: int


class MapAgreement(Typed):
    """Agreement of one kind of model map with human maps, over the test rows that have one.

    Attributes:
        maps_negative, maps_positive: How many maps, by class.
        auc_maps, cc_maps: How many of them allow AUC (some cell inside, some outside) and CC (not constant).
        empty: How many model maps had no positive part (counted as PE 0).
        lift_nonempty, pe_nonempty: Over the other maps.
    """

    maps_negative: int
    maps_positive: int
    empty: int
    pe: float | None
    lift: float | None
    auc: float | None
    auc_maps: int
    cc: float | None
    cc_maps: int
    pe_nonempty: float | None
    lift_nonempty: float | None


class Scores(Typed):
    """All numbers of one run.

    Attributes:
        primary: ``open-set`` (mean AUROC over unseen conditions with both classes), or ``in-domain`` where
            there is no such condition.
        true_cam, difference_map: Agreement with people; None where the test split has no human map.
    """

    primary: Literal["open-set", "in-domain"]
    validation: float | None
    in_domain: float | None
    open_set: float | None
    worst: float | None
    conditions: list[ConditionScore]
    field_metrics: list[FieldScore]
    thresholds: list[Threshold]
    true_cam: MapAgreement | None
    difference_map: MapAgreement | None


class DataFacts(Typed):
    """Where the data came from, and a hash of the pixels the network really saw.

    Attributes:
        kind: ``standin`` for drawn images however they are delivered, else ``folder`` or ``hub``.
    """

    kind: str
    revision: str
    pixel_hash: str
    train: int
    validation: int
    test: int
    train_maps: int


class Record(Typed):
    """The content of run.json.

    Attributes:
        method_label: The method's name with the fields that differ from its defaults.
        method_kind: ``unguided``, ``one-cam``, ``two-cam`` or ``control``.
        method_source: Eight digits for the method's code, so that an edited method is noticed; "" if unknown.
        attempts: 2 if a worker process died over it once.
        peak_mb: Peak resident memory of the worker process, which may have done other runs before.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    run_id: str
    status: Status
    method_label: str
    method_kind: Literal["unguided", "one-cam", "two-cam", "control"]
    spec: Spec
    data: DataFacts
    scores: Scores | None = None
    error: str = ""
    notices: list[str] = []
    selected_epoch: int = 0
    train_seconds: float = 0.0
    seconds: float = 0.0
    peak_mb: float = 0.0
    device: str = ""
    versions: dict[str, str] = {}
    model_args: dict[str, Any] = {}
    method_source: str = ""
    attempts: int = 1
    created: str = ""


@dataclass(frozen=True)
class Run:
    """One run on disk."""

    path: Path
    record: Record

    @property
    def spec(self) -> Spec:
        """What was run."""
        return self.record.spec

    def predictions(self) -> pd.DataFrame:
        """Validation and test rows with both logits, conditions and map agreement.

        Raises:
            UserError: The file is missing or unreadable.
        """
        import pandas as pd

        path = self.path / "predictions.parquet"
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path} cannot be read ({str(error).splitlines()[0]}); delete the folder {self.path} and run again"
            ) from error


def read_run(path: Path) -> Run:
    """Read one run directory.

    Raises:
        UserError: No run.json there, or one that is damaged or from a newer version.
    """
    file = path / "run.json"
    try:
        file = file if path.is_dir() else path
        content = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise NoRunError(f"{path} is not a run: it has no run.json") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}); delete its folder and run again") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise UserError(
            f"{file} has schema version {version}, this program reads {SCHEMA_VERSION}; update divsal-bench"
        )
    try:
        record = Record.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"{file} is damaged: field {field!r}: {first['msg']}; delete its folder and run again"
        ) from None
    if record.run_id != record.spec.run_id:
        raise UserError(f"{file} was edited: its specification does not hash to its run_id {record.run_id}")
    return Run(file.parent, record)


def read_runs(out: Path) -> list[Run]:
    """Every finished run below an output folder, in a fixed order; work in progress is not counted."""
    return [read_run(file.parent) for file in sorted(out.glob("*/*/*/run.json"))]
