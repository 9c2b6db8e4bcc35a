"""The typed result of a run, and how to read it back. A leaf: no torch, nothing else of the engine."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from divsal_bench.errors import UNPRINTABLE, UserError
from divsal_bench.files import foreign

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

#: Raised when run.json changes in a way that older readers would misread.
SCHEMA_VERSION: Final = 1
#: Raised whenever training or scoring may give other numbers for the same specification.
ENGINE_VERSION = 1
Status = Literal["done", "failed", "diverged"]
#: A run may be a stranger's. Bytes of run.json; ours have some ten thousand.
LARGEST_RECORD = 2**22
#: How many values a record may hold, and how deep they may be nested.
MOST_VALUES, DEEPEST = 100_000, 50
#: Characters of a text in a record: anywhere, and in the two fields that hold messages of exceptions.
LONGEST_TEXT, LONGEST_MESSAGE = 400, {"error": 2000, "notices": 8000}
#: A whole number beyond this is no count, no size and no seed.
LARGEST_INTEGER = 2**63
#: Notices of one run, and their characters in all; a method that says more says it over and over.
MOST_NOTICES, MOST_NOTICED = 100, 40_000
#: What a record keeps of each condition beside its AUROC: every field metric there is.
FIELD_METRICS = 7
#: Bytes and values in run.json, generously, of a score or the terms of a source without their names, and of the rest.
PART_BYTES, PART_VALUES, OTHER_BYTES, OTHER_VALUES = 300, 9, 1_000_000, 10_000
#: Columns of predictions.parquet, as divsal_bench.evaluation.predictions.predictions describes them.
PREDICTION_TEXTS = ("sample_id", "split", "source", "category", "subject", "condition", "condition_axis")
PREDICTION_NUMBERS = (
    "logit0", "logit1",
    "true_pe", "true_lift", "true_auc", "true_cc", "true_empty",
    "difference_pe", "difference_lift", "difference_auc", "difference_cc", "difference_empty",
)  # fmt: skip
PREDICTIONS = (*PREDICTION_TEXTS[:2], "label", *PREDICTION_TEXTS[2:], *PREDICTION_NUMBERS)
#: More rows than any data set here, and bytes in memory: of a file's header, for each row, and for each byte on disk.
#: Ids and margins differ from row to row, so that a file which unpacks to far more than itself holds none.
MOST_ROWS, MOST_HEADER, MOST_BYTES_A_ROW, MOST_BYTES_A_BYTE = 2_000_000, 1_000_000, 600, 200
#: What a cell takes in a DataFrame, beside a text's own bytes.
BYTES_A_CELL = 8
#: What the name of a run's folder ends in.
RUN_ID = re.compile("[0-9a-f]{16}")
#: What helps against a bad file, whether it was written here or pulled from the Hub.
AGAIN = "and run again, or get it again from where it came"


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


class ConditionScore(Typed):
    """AUROC of one condition.

    Attributes:
        axis, kind, reason: As in :class:`divsal_bench.scores.conditions.Condition`.
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
    terms: dict[str, dict[str, str]] = {}
    windows: dict[str, str] = {}


class Record(Typed):
    """The content of run.json.

    Attributes:
        method_label: The method's name with the fields that differ from its defaults.
        method_kind: ``unguided``, ``one-cam``, ``two-cam`` or ``control``.
        method_source: Digits for the method's code, so that an edited method is noticed; "" if unknown.
        attempts: 2 if a worker process died over it once.
        peak_mb: Peak resident memory of the run's process; in records without ``files``, other runs may have been
            done in that process before.
        processor: On the CPU, the instructions it was computed with; "" if unknown.
        files: Name to sha256 of each file beside run.json, 64 digits; empty in records of older versions.
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
    processor: str = ""
    versions: dict[str, str] = {}
    model_args: dict[str, Any] = {}
    method_source: str = ""
    attempts: int = 1
    created: str = ""
    files: dict[str, str] = {}

    @field_validator("error", "notices")
    @classmethod
    def _printable(cls, value: str | list[str]) -> str | list[str]:
        """Exceptions and methods say anything, at any length; what is written is what :func:`read_run` takes."""
        if isinstance(value, str):
            return shortened(plain(value), LONGEST_MESSAGE["error"])
        kept: list[str] = []
        for text in value[:MOST_NOTICES]:
            room = MOST_NOTICED - sum(map(len, kept))
            if room > 0:
                kept.append(shortened(plain(text), min(room, LONGEST_MESSAGE["notices"])))
        return kept


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


def read_predictions(path: Path) -> pa.Table:
    """Read predictions.parquet, looking at its header before its content.

    Returns:
        The columns :data:`PREDICTIONS`, in this order.

    Raises:
        OSError, ValueError, KeyError, pyarrow.ArrowException: It cannot be read, or holds something else.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.exists() and not path.is_file():
        raise ValueError("it is not a regular file")
    with pq.ParquetFile(path) as file:
        kinds = prediction_types(file.schema_arrow)
        most = memory_limit(path, file.metadata)
        rows = file.metadata.num_rows
    # A long text that a million rows share is one in the file: it is measured before it is copied to them.
    with pq.ParquetFile(path, read_dictionary=list(PREDICTION_TEXTS)) as file:
        table = file.read(columns=list(PREDICTIONS)).select(PREDICTIONS)
    if len(table) != rows:
        raise ValueError("its header counts other rows")
    table.validate(full=True)
    require_text(table, most - BYTES_A_CELL * len(PREDICTIONS) * rows)
    # By way of string: there is no direct way from a dictionary to every kind of text.
    table = table.cast(pa.schema([(name, pa.string() if name in PREDICTION_TEXTS else kinds[name]) for name in kinds]))
    return table.cast(pa.schema(list(kinds.items())))


def prediction_types(schema: pa.Schema) -> dict[str, pa.DataType]:
    """The types of the columns :data:`PREDICTIONS`; others may stand beside them.

    Raises:
        ValueError: One is missing or of another type.
    """
    expected: dict[str, tuple[str, ...]] = {"label": ("int64",)}
    expected.update(dict.fromkeys(PREDICTION_NUMBERS, ("double",)))
    expected.update(dict.fromkeys(PREDICTION_TEXTS, ("string", "large_string")))
    found = {}
    for name in PREDICTIONS:
        places = schema.get_all_field_indices(name)
        if len(places) != 1:
            raise ValueError(f"it has {'no' if not places else 'more than one'} column {name!r}")
        found[name] = schema.field(places[0]).type
        if str(found[name]) not in expected[name]:
            raise ValueError(f"column {name!r} holds {str(found[name])[:60]}, {expected[name][0]} belongs there")
    return found


def memory_limit(path: Path, header: pq.FileMetaData) -> int:
    """Bytes that a file of this size and so many rows may take.

    Raises:
        ValueError: By its header alone it takes more.
    """
    rows = int(header.num_rows)
    if not 0 <= rows <= MOST_ROWS:
        raise ValueError(f"it has {rows:,} rows, {MOST_ROWS:,} are allowed")
    most = MOST_HEADER + min(MOST_BYTES_A_ROW * rows, MOST_BYTES_A_BYTE * path.stat().st_size)
    # The groups' own sums are read, not the columns': pyarrow ends the process on a column with damaged statistics.
    pages = sum(abs(int(header.row_group(i).total_byte_size)) for i in range(header.num_row_groups))
    unpacked = max(pages, BYTES_A_CELL * len(PREDICTIONS) * rows)
    if unpacked > most:
        raise ValueError(f"it unpacks to {unpacked:,} bytes, {most:,} are allowed")
    return most


def require_text(table: pa.Table, most: int) -> None:
    """Refuse predictions with empty cells where none can be, or whose texts take too much once each row has its own.

    Raises:
        ValueError: They do.
    """
    import pyarrow.compute as pc

    for name in (*PREDICTION_TEXTS, "label"):
        if table[name].null_count:
            raise ValueError(f"column {name!r} has empty cells")
    size = 0
    for name in PREDICTION_TEXTS:
        for chunk in table[name].chunks:
            size += pc.sum(pc.take(pc.binary_length(chunk.dictionary), chunk.indices)).as_py() or 0
    if size > most:
        raise ValueError(f"its texts take {size:,} bytes, {most:,} are allowed")


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


def table_problem(rows: int, size: int) -> str:
    """Why predictions.parquet could not hold some rows; "" if it can.

    Args:
        rows: Validation and test rows.
        size: Bytes of all their ids, sources, categories, subjects and conditions.
    """
    if rows > MOST_ROWS:
        return f"{rows:,} validation and test rows are more than a run holds ({MOST_ROWS:,})"
    if size > text_room(rows):
        return (
            f"the names of validation and test rows take {size / max(1, rows):,.0f} bytes a row, about "
            f"{text_room(rows) // max(1, rows):,} are allowed"
        )
    return ""


def text_room(rows: int) -> int:
    """Bytes that the texts of so many rows may take beside their numbers; the splits' own names are counted off."""
    return MOST_HEADER // 2 + (MOST_BYTES_A_ROW - BYTES_A_CELL * len(PREDICTIONS) - 2 * len("validation")) * rows


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


def shortened(text: str, limit: int) -> str:
    """A message of at most so many characters: beginning and end, which say what and where, stay."""
    if len(text) <= limit:
        return text
    gap = "\n[…]\n"
    if limit <= len(gap):
        return text[:limit]
    head = (limit - len(gap)) // 2
    return text[:head] + gap + text[len(text) - (limit - len(gap) - head) :]


def plain(text: str) -> str:
    """A message of several lines, as it can be shown."""
    return UNPRINTABLE.sub(lambda found: found[0] if found[0] in "\n\t" else "?", text)


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
