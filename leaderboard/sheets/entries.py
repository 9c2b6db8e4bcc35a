"""What the statistics read: the scores of each method on the same rows, from runs or from accepted results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from divsal_bench.errors import UserError
from divsal_bench.runs.reading import Run
from divsal_bench.scores.schema import Scores
from divsal_bench.scores.scoring import margins
from divsal_bench.words import Kind

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
#: What every run of one sheet must agree on, row by row.
ROW_COLUMNS = ("key", "split", "label", "condition", "condition_axis", "category", "subject")


@dataclass(frozen=True, order=True)
class Group:
    """What two rows of one table share.

    Attributes:
        fingerprint: Of the data, 64 hexadecimal digits.
        digest: Of the protocol's settings, the initial weights, and the versions of task and engine.
    """

    task: str
    fingerprint: str
    protocol: str
    backbone: str
    head: str
    digest: str


@dataclass(frozen=True)
class Standing:
    """How far an accepted result has been checked, and where its weights are.

    Attributes:
        state: ``reported``, ``verified``, ``reproduced`` or ``not reproduced``.
        proof: What showed it, in one line; "" for ``reported``.
        weights: Seed to where its weights are: a Hub commit, or a path with its sha256.
        submitter: Who claims it.
        description: The method in one sentence, as its author puts it: text from outside.
    """

    state: str = "reported"
    proof: str = ""
    weights: dict[int, str] = field(default_factory=dict)
    submitter: str = ""
    description: str = ""


@dataclass(frozen=True, eq=False)
class Entry:
    """One method with one setting of its fields: n seeds scored on the N rows of a sheet.

    Attributes:
        label: The method's name with the fields that differ from its defaults; unique in its sheet.
        seeds: With a result, ascending.
        failed, diverged: Number of runs without one.
        margins: (n, N), higher is more positive, finite.
        scores: One a seed: what the run or the accepted file says of itself.
        origins: Where each seed was read, for messages.
        standing: None for runs of one's own.
        content: Short hash of an accepted result's file; "" for runs of one's own.
        proofs: Of an accepted result: who states it, and what.
        left_out: Seeds with a result that were set aside by choice, as in ``cyborg@0-4``.
        left_without: Number of runs without a result that were set aside with them.
    """

    label: str
    kind: Kind
    method: str
    version: int
    fields: dict[str, Any]
    seeds: tuple[int, ...]
    failed: int
    diverged: int
    margins: Floats
    scores: tuple[Scores, ...]
    seconds: tuple[float, ...]
    peak_mb: float
    devices: tuple[str, ...]
    torch_versions: tuple[str, ...]
    origins: tuple[str, ...]
    standing: Standing | None = None
    content: str = ""
    proofs: tuple[tuple[str, str], ...] = ()
    left_out: tuple[int, ...] = ()
    left_without: int = 0


@dataclass(frozen=True, eq=False)
class Sheet:
    """The entries of one table.

    Attributes:
        data: The data set's name, for people.
        rows: The N validation and test rows, columns :data:`ROW_COLUMNS`, sorted by key; None where no entry
            has a result.
        standin: Whether the data is drawn by code.
        date: Of the newest result, ISO 8601; "" if unknown.
        train, train_maps: Rows of the training split, and those with a human map; None if unknown.
    """

    group: Group
    data: str
    rows: pd.DataFrame | None
    entries: tuple[Entry, ...]
    standin: bool
    date: str = ""
    train: int | None = None
    train_maps: int | None = None


def group_of(run: Run) -> Group:
    """The table a run belongs to."""
    return Group(*run.spec.group)


def from_runs(runs: Iterable[Run]) -> list[Sheet]:
    """Sort run directories into sheets; failed and diverged runs are counted in their method's entry.

    Raises:
        UserError: One seed of one method is there twice, runs of one table were scored on different rows, or
            scores are missing or not finite.
    """
    groups: dict[Group, list[Run]] = {}
    for run in runs:
        groups.setdefault(group_of(run), []).append(run)
    return [run_sheet(group, groups[group]) for group in sorted(groups)]


def run_sheet(group: Group, runs: Sequence[Run]) -> Sheet:
    """Build one sheet from the runs of one group."""
    by_entry: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (run.spec.entry, run.spec.seed)):
        members = by_entry.setdefault(run.spec.entry, [])
        if members and members[-1].spec.seed == run.spec.seed:
            raise UserError(
                f"seed {run.spec.seed} of {run.record.method_label} is there twice, in {members[-1].path} and "
                f"{run.path}; leave one out"
            )
        members.append(run)
    rows: pd.DataFrame | None = None
    entries = []
    labels = unique_labels([members[0] for members in by_entry.values()])
    for label, members in zip(labels, by_entry.values(), strict=True):
        done = [run for run in members if run.record.status == "done"]
        scored = []
        for run in done:
            own, values = rows_and_margins(run)
            if rows is None:
                rows = own
            elif not own.equals(rows):
                raise UserError(
                    f"{run.path} was scored on other rows than the runs beside it; if one was pulled from the Hub (its "
                    "ids are keys), keep it in a folder of its own, else delete that folder and run again"
                )
            scored.append(values)
        entries.append(run_entry(label, members, done, np.array(scored)))
    newest = max((run.record.created for run in runs), default="")
    return Sheet(
        group=group,
        data=min(run.spec.data for run in runs),
        rows=rows,
        entries=tuple(sorted(entries, key=lambda entry: entry.label)),
        standin=any(run.record.data.kind == "standin" for run in runs),
        date=newest,
        train=max(run.record.data.train for run in runs),
        train_maps=max(run.record.data.train_maps for run in runs),
    )


def rows_and_margins(run: Run) -> tuple[pd.DataFrame, Floats]:
    """The rows a run was scored on, sorted by key, and its margins on them."""
    table = run.predictions().rename(columns={"sample_id": "key"}).sort_values("key", ignore_index=True)
    missing = [name for name in (*ROW_COLUMNS, "logit0", "logit1") if name not in table]
    if missing:
        raise UserError(f"{run.path} has predictions without column {missing[0]!r}; delete that folder and run again")
    if table["key"].duplicated().any():
        raise UserError(f"{run.path} has predictions with a sample twice; delete that folder and run again")
    values = margins(table)
    if not np.isfinite(values).all():
        raise UserError(f"{run.path} has scores that are not finite; delete that folder and run again")
    return table[list(ROW_COLUMNS)], values


def run_entry(label: str, members: Sequence[Run], done: Sequence[Run], values: Floats) -> Entry:
    """One entry from the runs of one method."""
    first = members[0]
    for run in done:
        if run.record.scores is None:
            raise UserError(f"{run.path} is done but has no scores; delete that folder and run again")
    return Entry(
        label=label,
        kind=first.record.method_kind,
        method=first.spec.method,
        version=first.spec.method_version,
        fields=first.spec.fields,
        seeds=tuple(run.spec.seed for run in done),
        failed=sum(run.record.status == "failed" for run in members),
        diverged=sum(run.record.status == "diverged" for run in members),
        margins=values,
        scores=tuple(run.record.scores for run in done if run.record.scores),
        seconds=tuple(run.record.seconds for run in done),
        peak_mb=max((run.record.peak_mb for run in done), default=0.0),
        devices=tuple(sorted({computed_on(run) for run in done})),
        torch_versions=tuple(sorted({run.record.versions.get("torch", "") for run in done})),
        origins=tuple(str(run.path) for run in done),
    )


def computed_on(run: Run) -> str:
    """The device of a run and, on a CPU that is known, its instructions: they move the last digits, too."""
    record = run.record
    return f"{record.device} ({record.processor})" if record.processor else record.device


def different_devices(entries: Sequence[Entry]) -> set[str]:
    """What entries were computed on; a CPU whose instructions are not known may be any of the others."""
    found = {name for entry in entries for name in entry.devices}
    return {name for name in found if not any(other.startswith(f"{name} (") for other in found)}


def unique_labels(runs: Sequence[Run]) -> list[str]:
    """Labels of entries; of those that share one, all but the newest get their version and, if need be, a number."""
    plain = [run.record.method_label for run in runs]
    kept = keepers(plain, [(run.spec.method_version, run.spec.fields) for run in runs])
    versioned = [
        label if i in kept else f"{label}@v{run.spec.method_version}"
        for i, (label, run) in enumerate(zip(plain, runs, strict=True))
    ]
    labels = [
        label if i in kept or versioned.count(label) == 1 else f"{label}#{versioned[:i].count(label) + 1}"
        for i, label in enumerate(versioned)
    ]
    check_unique(labels, [str(run.path) for run in runs])
    return labels


def keepers(labels: Sequence[str], settings: Sequence[tuple[float, dict[str, Any]]]) -> set[int]:
    """Which entries keep a label that several may share: the families are found by the plain labels.

    Args:
        labels: Of the entries.
        settings: Version and fields of each.

    Returns:
        Indices, one a label: the newest version; of equal ones that without fields, else the first.
    """
    best: dict[str, int] = {}
    for i, label in enumerate(labels):
        best[label] = min(best.get(label, i), i, key=lambda j: (-settings[j][0], bool(settings[j][1]), j))
    return set(best.values())


def check_unique(labels: Sequence[str], places: Sequence[str]) -> None:
    """Refuse two entries of one label: one of them would be lost."""
    first: dict[str, str] = {}
    for label, place in zip(labels, places, strict=True):
        if label in first:
            raise UserError(f"{first[label]} and {place} have the same label {label[:200]!r}; leave one out")
        first[label] = place
