"""The content of an accepted result file. It comes from outside: every field is closed, bounded and plain.

A claim is one method with one setting of its fields, scored on one data set under one protocol, with n seeds.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

from divsal_bench.leaderboard.entries import Group
from divsal_bench.leaderboard.gallery import ClassCams
from divsal_bench.records import Scores, Spec, Typed

#: Raised when the files change in a way that older readers would misread.
SCHEMA_VERSION: Final = 1
State = Literal["reported", "verified", "reproduced", "not reproduced"]
#: Largest |ΔAUROC| between claimed predictions and those recomputed from the weights.
VERIFIED_WITHIN = 1e-3
#: New seeds that a reproduction needs.
NEW_SEEDS = 5

#: One line of text from outside: no control characters, and none that turn the direction of writing.
Text = Annotated[
    str,
    StringConstraints(max_length=400, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]*$"),
]
#: Somebody's name.
Person = Annotated[Text, StringConstraints(min_length=1)]
#: A path is built of these: no separator, no leading dot.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}$")]
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
RunId = Annotated[str, StringConstraints(pattern="^[0-9a-f]{16}$")]
Digits8 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{8}$")]
Date = Annotated[str, StringConstraints(pattern=r"^(\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?)?)?$")]
Amount = Annotated[float, Field(ge=0)]
PART = r"[A-Za-z0-9_][A-Za-z0-9_.\-]*"
HUB_FILE = rf"https://huggingface\.co/{PART}/{PART}/blob/[0-9a-f]{{40}}(/{PART})+"
RELATIVE_FILE = rf"{PART}(/{PART})*"
Where = Annotated[str, StringConstraints(max_length=400, pattern=f"^({HUB_FILE}|{RELATIVE_FILE})$")]


class Weights(Typed):
    """Where the weights of one seed are.

    Attributes:
        where: ``https://huggingface.co/org/name/blob/<commit>/model.safetensors``, or a path inside the output
            folder of the one who submitted.
        sha256: Of model.safetensors.
    """

    where: Where
    sha256: Sha256

    def __str__(self) -> str:
        """The link; a path, which links nowhere, with its hash."""
        return self.where if self.where.startswith("https://") else f"{self.where} (sha256 {self.sha256})"


class SeedResult(Typed):
    """One seed with a result; its scores are computed from the float32 margins beside the file.

    ``scores.true_cam`` and ``scores.difference_map`` (agreement with people) cannot be: they are carried from
    the run and only checked to be possible. They become checkable with the weights, by ``verify``.
    """

    seed: Annotated[int, Field(ge=0)]
    run_id: RunId
    scores: Scores
    seconds: Amount
    peak_mb: Amount
    device: Text
    torch: Text
    weights: Weights


class Missing(Typed):
    """One seed without a result: it is counted and never averaged away."""

    seed: Annotated[int, Field(ge=0)]
    run_id: RunId
    status: Literal["failed", "diverged"]


class TableFacts(Typed):
    """What all results of one table share.

    Attributes:
        data: The data set's name, for people.
        kind: ``standin`` (drawn by code) or ``prepared``.
        weights: ``scratch``, or sha256 of the initial weights.
        digest: Of protocol settings, initial weights and versions; see :attr:`divsal_bench.records.Spec.group`.
    """

    task: Name
    task_version: int
    fingerprint: Sha256
    data: Text
    kind: Literal["standin", "prepared"]
    protocol: Name
    protocol_settings: dict[str, Any]
    backbone: Name
    weights: Text
    head: Literal["two-logit", "one-logit"]
    engine_version: int
    digest: Digits8


class Verified(Typed):
    """The predictions were recomputed from the weights.

    Attributes:
        by: Who did so.
        max_difference: Largest |ΔAUROC| over seeds, in-domain, open-set, worst and every condition.
    """

    by: Person
    date: Date
    max_difference: Annotated[float, Field(ge=0, le=VERIFIED_WITHIN)]
    device: Text
    versions: dict[Name, Text]


class Reproduction(Typed):
    """Somebody else trained new seeds.

    Attributes:
        seeds: The new seeds; their margins lie in ``<method>.reproduction.parquet``.
        missing: New seeds without a result.
        claimed_mean, new_mean: Of the primary metric.
        tolerance: Largest |new − claimed| that counts as reproduced.
        margins_sha256: Of the margins file.
    """

    by: Person
    date: Date
    seeds: Annotated[list[SeedResult], Field(min_length=NEW_SEEDS)]
    missing: list[Missing]
    claimed_mean: float
    new_mean: float
    tolerance: Amount
    margins_sha256: Sha256

    @property
    def holds(self) -> bool:
        """Whether the new mean is close enough."""
        return abs(self.new_mean - self.claimed_mean) <= self.tolerance


class Claim(Typed):
    """The content of ``<method>.json``.

    Attributes:
        kind: ``unguided``, ``one-cam``, ``two-cam`` or ``control``.
        label: The method's name with the fields that differ from its defaults.
        description: First line of the method's docstring.
        cams: Key of a gallery picture to the class CAMs of the lowest seed.
        date: Of the newest run.
        margins_sha256: Of ``<method>.parquet``.
        key_sha256: Of the data set's ``key.parquet``.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    table: TableFacts
    method: Name
    version: int
    fields: dict[str, Any]
    kind: Literal["unguided", "one-cam", "two-cam", "control"]
    label: Text
    description: Text
    seeds: Annotated[list[SeedResult], Field(min_length=1)]
    missing: list[Missing]
    cams: dict[str, ClassCams]
    submitter: Person
    date: Date
    state: State = "reported"
    verified: Verified | None = None
    reproduction: Reproduction | None = None
    margins_sha256: Sha256
    key_sha256: Sha256

    @property
    def group(self) -> Group:
        """The table it belongs to."""
        facts = self.table
        return Group(facts.task, facts.fingerprint, facts.protocol, facts.backbone, facts.head, facts.digest)

    @property
    def field_metrics(self) -> tuple[str, ...]:
        """Names of the field's metrics, in order."""
        return metric_names(self.seeds[0].scores)

    @property
    def primary(self) -> list[float]:
        """The primary metric of each seed; empty where there is none."""
        return primary_of(self.seeds)

    def spec(self, seed: int) -> Spec:
        """What one of its seeds ran."""
        facts = self.table
        return Spec(
            **facts.model_dump(include=set(Spec.model_fields) & set(TableFacts.model_fields)),
            data_fingerprint=facts.fingerprint,
            method=self.method,
            method_version=self.version,
            fields=self.fields,
            seed=seed,
        )


def metric_names(scores: Scores) -> tuple[str, ...]:
    """Names of the field metrics, in order."""
    return tuple(dict.fromkeys(one.metric for one in scores.field_metrics))


def primary_of(seeds: list[SeedResult]) -> list[float]:
    """The primary metric of each seed that has it."""
    values = [s.scores.open_set if s.scores.primary == "open-set" else s.scores.in_domain for s in seeds]
    return [value for value in values if value is not None]


def state_of(claim: Claim) -> State:
    """The state that its proofs show."""
    if claim.reproduction is not None:
        return "reproduced" if claim.reproduction.holds else "not reproduced"
    return "verified" if claim.verified is not None else "reported"


def proof_of(claim: Claim) -> str:
    """What shows its state, in one line."""
    parts = []
    if claim.verified is not None:
        one = claim.verified
        largest = f"largest |ΔAUROC| {one.max_difference:.2g} on {one.device}"
        parts.append(f"verified by {one.by} ({one.date[:10]}): {largest}")
    if claim.reproduction is not None:
        new = claim.reproduction
        parts.append(
            f"{state_of(claim)} by {new.by} ({new.date[:10]}): mean {new.new_mean:.4f} of {len(new.seeds)} new seeds, "
            f"claimed {new.claimed_mean:.4f}, tolerance {new.tolerance:.4f}"
        )
    return "; ".join(parts)


def same_person(first: str, second: str) -> bool:
    """Whether two names are one, whatever their case and spaces."""
    return first.casefold().split() == second.casefold().split()
