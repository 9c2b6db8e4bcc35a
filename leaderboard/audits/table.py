"""Audits over seeds: one row a method. Described, never tested: an audit has far too many numbers for that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from divsal_bench.errors import UserError
from divsal_bench.leaderboard.sheets.entries import Group, group_of, unique_labels
from divsal_bench.leaderboard.statistics import families
from divsal_bench.leaderboard.statistics.over_seeds import SeedCell, seed_cell
from divsal_bench.runs.audit_record import Audit, AuditSettings, Quantity
from divsal_bench.runs.reading import Run
from divsal_bench.words import KINDS, Kind

#: A run, and its audit if it has one.
Audited = tuple[Run, Audit | None]


@dataclass(frozen=True)
class AuditValue:
    """One number of one method.

    Attributes:
        cell: Over the seeds that have it; without seeds where it is undefined.
        missing: Audited seeds that lack it.
        fewest, most: Images that the mean of a seed is over.
    """

    cell: SeedCell
    missing: int
    fewest: int = 0
    most: int = 0


@dataclass(frozen=True)
class AuditRow:
    """One method.

    Attributes:
        seeds: Audited, ascending.
        unaudited: How many other runs it has: failed, diverged, or without an audit.
        in_domain, open_set: AUROC of the audited seeds.
        values: What its audits measured.
    """

    label: str
    kind: Kind
    seeds: tuple[int, ...]
    unaudited: int
    in_domain: AuditValue
    open_set: AuditValue
    values: dict[Quantity, AuditValue]


@dataclass(frozen=True)
class Reason:
    """Why something is undefined, and for which methods.

    Attributes:
        of: A map, a control, or "" for the whole block.
    """

    block: str
    of: str
    why: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class AuditTable:
    """The audits of one task, data set, protocol, backbone and head.

    Attributes:
        audits: All of them, for what they share: settings, grid, and numbers of images.
        rows: Methods with an audit, in the order of the board.
        without: Method to how many of its runs have no audit: failed, diverged, or not made yet.
        reasons: What is undefined.
    """

    group: Group
    data: str
    standin: bool
    audits: tuple[Audit, ...]
    rows: tuple[AuditRow, ...]
    without: dict[str, int]
    reasons: tuple[Reason, ...]

    @property
    def settings(self) -> AuditSettings:
        """Of every audit in it."""
        return self.audits[0].settings


def with_common_settings(found: Iterable[tuple[Run, Sequence[Audit]]]) -> list[Audited]:
    """One audit a run, of the settings that most runs of its table were audited with.

    Args:
        found: Runs, each with all its audits; ties go to the settings that the command takes by itself.
    """
    groups: dict[Group, list[tuple[Run, Sequence[Audit]]]] = {}
    for run, audits in found:
        groups.setdefault(group_of(run), []).append((run, audits))
    usual = AuditSettings().digest
    chosen: list[Audited] = []
    for members in groups.values():
        digests = [audit.settings.digest for _, audits in members for audit in audits]
        best = max(sorted(set(digests)), key=lambda digest: (digests.count(digest), digest == usual), default="")
        chosen += [(run, next((a for a in audits if a.settings.digest == best), None)) for run, audits in members]
    return chosen


def audit_tables(audited: Iterable[Audited]) -> list[AuditTable]:
    """Sort audits into tables; a group of runs without any audit has none.

    Args:
        audited: Runs of any task; those without an audit are counted in their method's row.

    Raises:
        UserError: One seed of one method is there twice, or the audits of a table differ in their settings.
    """
    groups: dict[Group, list[Audited]] = {}
    for run, audit in audited:
        groups.setdefault(group_of(run), []).append((run, audit))
    return [table_of(group, groups[group]) for group in sorted(groups) if any(audit for _, audit in groups[group])]


def table_of(group: Group, audited: Sequence[Audited]) -> AuditTable:
    """One table."""
    by_entry: dict[str, list[Audited]] = {}
    for run, audit in sorted(audited, key=lambda one: (one[0].spec.entry, one[0].spec.seed)):
        members = by_entry.setdefault(run.spec.entry, [])
        if members and members[-1][0].spec.seed == run.spec.seed:
            raise UserError(
                f"seed {run.spec.seed} of {run.record.method_label} is there twice, in {members[-1][0].path} and "
                f"{run.path}; leave one out"
            )
        members.append((run, audit))
    audits = tuple(audit for members in by_entry.values() for _, audit in members if audit is not None)
    if len({audit.settings.digest for audit in audits}) > 1:
        raise UserError("the audits of one table differ in their settings; give `divsal-bench audit` for all of them")
    labels = unique_labels([members[0][0] for members in by_entry.values()])
    rows = [row_of(label, members) for label, members in zip(labels, by_entry.values(), strict=True)]
    order = KINDS
    rows.sort(key=lambda row: (order.index(row.kind), row.label != families.BASELINE, row.label))
    return AuditTable(
        group=group,
        data=min(run.spec.data for run, _ in audited),
        standin=any(run.record.data.kind == "standin" for run, _ in audited),
        audits=audits,
        rows=tuple(row for row in rows if row.seeds),
        without={row.label: row.unaudited for row in rows if row.unaudited},
        reasons=tuple(shared_reasons(dict(zip(labels, by_entry.values(), strict=True)))),
    )


def row_of(label: str, members: Sequence[Audited]) -> AuditRow:
    """One method's audits over seeds."""
    done = [(run, audit) for run, audit in members if audit is not None]
    found: dict[Quantity, list[tuple[float | None, int]]] = {}
    for _, audit in done:
        for number in audit.numbers:
            found.setdefault(number.quantity, []).append((number.value, number.count))
    scores = [run.record.scores for run, _ in done]
    return AuditRow(
        label=label,
        kind=members[0][0].record.method_kind,
        seeds=tuple(run.spec.seed for run, _ in done),
        unaudited=len(members) - len(done),
        in_domain=value_over_seeds([(one.in_domain if one else None, 0) for one in scores], len(done)),
        open_set=value_over_seeds([(one.open_set if one else None, 0) for one in scores], len(done)),
        values={quantity: value_over_seeds(numbers, len(done)) for quantity, numbers in found.items()},
    )


def value_over_seeds(numbers: Sequence[tuple[float | None, int]], seeds: int) -> AuditValue:
    """Numbers and their counts of images, of some of the seeds."""
    known = [(value, count) for value, count in numbers if value is not None]
    counts = [count for _, count in known] or [0]
    return AuditValue(seed_cell(np.array([value for value, _ in known])), seeds - len(known), min(counts), max(counts))


def shared_reasons(by_label: dict[str, list[Audited]]) -> list[Reason]:
    """Each reason once, with the methods it holds for."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for label, members in by_label.items():
        for _, audit in members:
            for one in audit.undefined if audit is not None else ():
                labels = found.setdefault((one.block, one.of, one.why), [])
                labels += [label] if label not in labels else []
    return [Reason(*key, tuple(labels)) for key, labels in found.items()]
