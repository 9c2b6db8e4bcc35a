"""The content of an accepted result file. It comes from outside: every field is closed, bounded and plain.

A claim is one method with one setting of its fields, scored on one data set under one protocol, with n seeds.
"""

from __future__ import annotations

import datetime
import unicodedata
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter, ValidationError

from divsal_bench.errors import UserError, field_problem
from divsal_bench.leaderboard.claims.gallery import ClassCams
from divsal_bench.leaderboard.sheets.entries import Group
from divsal_bench.runs.records import Spec
from divsal_bench.scores.schema import Scores, Typed
from divsal_bench.words import Head

#: Raised when the files change in a way that older readers would misread.
SCHEMA_VERSION: Final = 1
State = Literal["reported", "verified", "reproduced", "not reproduced"]
#: Largest |ΔAUROC| between claimed predictions and those recomputed from the weights.
VERIFIED_WITHIN = 1e-3
#: New seeds that a reproduction needs.
NEW_SEEDS = 5


def not_blank(name: str) -> str:
    """Refuse a name of nothing but spaces."""
    if not name.strip():
        raise ValueError("is empty; give a name")
    return name


def visible(text: str) -> str:
    """Refuse control characters (Cc), and those that nobody sees or that turn writing (Cf).

    The joiner and the non-joiner between letters that are written joined, as in Persian and Hindi, are spelling.
    """
    for place, character in enumerate(text):
        if unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp") and not joins(text, place):
            raise ValueError(f"has the character U+{ord(character):04X}, which nobody sees or which turns writing")
    return text


def joins(text: str, place: int) -> bool:
    """Whether a character is a joiner or a non-joiner between letters, or their marks, of a script that needs it."""
    sides = text[place - 1 : place] + text[place + 1 : place + 2]
    return (
        text[place] in "\u200c\u200d"
        and len(sides) == 2
        and all(unicodedata.category(side)[0] in "LM" and ord(side) >= FIRST_JOINED for side in sides)
    )


#: Arabic, Indic and all later scripts; before them stand Latin, Greek, Cyrillic, Armenian and Hebrew.
FIRST_JOINED = 0x0600
#: One line of text from outside.
Text = Annotated[str, StringConstraints(max_length=400), AfterValidator(visible)]
#: Somebody's name.
Person = Annotated[Text, AfterValidator(not_blank)]
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
    the run, and reading only checks that they are possible. ``verify`` compares them with what the weights give.
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
        digest: Of protocol settings, initial weights and versions; see :attr:`divsal_bench.runs.records.Spec.group`.
        train, train_maps: Rows of the training split, and those with a human map; None in results of older versions.
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
    head: Head
    engine_version: int
    digest: Digits8
    train: Annotated[int, Field(ge=1)] | None = None
    train_maps: Annotated[int, Field(ge=0)] | None = None


class Verified(Typed):
    """The predictions were recomputed from the weights: margins, every AUROC and agreement with people are the same.

    Attributes:
        max_difference: Largest |ΔAUROC| over seeds, validation, in-domain, open-set, worst and every condition.
        margins_sha256: Of the claim's margins file at that time; with other margins the claim is refused.
    """

    by: Person
    date: Date
    max_difference: Annotated[float, Field(ge=0, le=VERIFIED_WITHIN)]
    device: Text
    versions: dict[Name, Text]
    margins_sha256: Sha256


class Reproduction(Typed):
    """Somebody else trained new seeds.

    Attributes:
        seeds: The new seeds; their margins lie in ``<method>.reproduction.parquet``.
        missing: New seeds without a result.
        claimed_mean, new_mean: Of the primary metric.
        tolerance: Largest |new − claimed| that counts as reproduced.
        margins_sha256: Of the margins file of the new seeds.
        claim_margins_sha256: Of the claim's margins file at that time; with other margins the claim is refused.
    """

    by: Person
    date: Date
    seeds: Annotated[list[SeedResult], Field(min_length=NEW_SEEDS)]
    missing: list[Missing]
    claimed_mean: float
    new_mean: float
    tolerance: Amount
    margins_sha256: Sha256
    claim_margins_sha256: Sha256

    @property
    def holds(self) -> bool:
        """Whether the new mean is close enough."""
        return abs(self.new_mean - self.claimed_mean) <= self.tolerance


class Claim(Typed):
    """The content of ``<method>.json``.

    Attributes:
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


def proven_state(claim: Claim) -> State:
    """The state that its proofs show."""
    if claim.reproduction is not None:
        return "reproduced" if claim.reproduction.holds else "not reproduced"
    return "verified" if claim.verified is not None else "reported"


def same_person(first: str, second: str) -> bool:
    """Whether two names are one, whatever their case, spaces, invisible characters and forms of letters."""
    return plain_words(first) == plain_words(second)


def plain_words(name: str) -> list[str]:
    """The words of a name in one form: NFKC, no case, without control (Cc) and format (Cf) characters."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    words = ("".join(c for c in word if unicodedata.category(c) not in ("Cc", "Cf")) for word in folded.split())
    return [word for word in words if word]


def person(name: str) -> str:
    """A name as ``--by`` gives it; UserError if it is empty, too long, or has control or invisible characters."""
    try:
        return TypeAdapter[str](Person).validate_python(name)
    except ValidationError as error:
        raise UserError(f"--by {name[:80]!r} is no name: it {field_problem(error.errors())[1]}") from None


def day(text: str) -> str:
    """A day as ``--date`` gives it, "" is today; UserError if it is none, or has not come yet."""
    today = datetime.datetime.now(datetime.UTC).date()
    try:
        found = datetime.date.fromisoformat(text) if text else today
    except ValueError:
        raise UserError(f"--date {text[:40]!r} is no day; give one like 2026-05-01") from None
    # Somewhere it is tomorrow already.
    if found > today + datetime.timedelta(days=1):
        raise UserError(f"--date {found} has not come yet; leave it out for today")
    return found.isoformat()
