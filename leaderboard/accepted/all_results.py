"""Read all accepted results: what those of one data set must agree on, and the sheets and galleries they make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path, PurePosixPath

import numpy as np

from divsal_bench.errors import UserError
from divsal_bench.leaderboard.accepted.proofs import proof_of
from divsal_bench.leaderboard.accepted.reading import Accepted, DataSet, read_data_set, read_result
from divsal_bench.leaderboard.claims.claim import Claim
from divsal_bench.leaderboard.claims.consistency import Defaults
from divsal_bench.leaderboard.claims.files import DEPTH, check_strays, listing
from divsal_bench.leaderboard.claims.gallery import Gallery
from divsal_bench.leaderboard.sheets.editions import CURRENT
from divsal_bench.leaderboard.sheets.entries import Entry, Group, Sheet, Standing, check_unique, keepers


@dataclass(frozen=True, eq=False)
class AcceptedResults:
    """All accepted results: a sheet for each table, and its gallery, None where its data set has none."""

    sheets: tuple[Sheet, ...]
    galleries: tuple[Gallery | None, ...]


def read_accepted(root: Path, on_file: Callable[[Path], None] = lambda path: None) -> AcceptedResults:
    """Read and check all accepted results below a folder, and sort them into tables, in a fixed order.

    Args:
        on_file: Told of each result before it is read.

    Raises:
        UserError: Anything that is not as it should be, by file and field.
    """
    files = listing(root)
    folders: dict[PurePosixPath, list[PurePosixPath]] = {}
    for file in files:
        if len(file.parts) == DEPTH and file.suffix == ".json":
            folders.setdefault(PurePosixPath(*file.parts[:2]), []).append(file)
    check_strays(root, files, folders)
    sheets: list[tuple[Sheet, Gallery | None]] = []
    defaults = Defaults()
    for folder, members in folders.items():
        data = read_data_set(root / folder)
        groups: dict[Group, list[Accepted]] = {}
        for file in members:
            on_file(root / file)
            found = read_result(root, file, data)
            defaults.add(found.claim, found.path)
            groups.setdefault(found.claim.group, []).append(found)
        check_one_data_set([found for group in groups.values() for found in group])
        sheets += [
            (accepted_sheet(groups[group], data), accepted_gallery(groups[group], data)) for group in sorted(groups)
        ]
    sheets.sort(key=lambda pair: pair[0].group)
    return AcceptedResults(tuple(sheet for sheet, _ in sheets), tuple(gallery for _, gallery in sheets))


def check_one_data_set(found: list[Accepted]) -> None:
    """Results in one folder must be of one data set and agree on what it is, on metrics and on what a method is."""
    first = found[0]
    kinds: dict[tuple[Group, str], Accepted] = {}
    for one in found:
        facts, beside = one.claim.table, first.claim.table
        # Data drawn by code has one name; a prepared folder is called as its owner likes.
        if facts.kind != beside.kind or (facts.kind == "standin" and facts.data != beside.data):
            raise UserError(
                f"{one.path} says its data is {facts.kind} ({facts.data[:80]!r}), {first.path} says it is "
                f"{beside.kind} ({beside.data[:80]!r}); submit the wrong one again"
            )
        known = kinds.setdefault((one.claim.group, one.claim.method), one)
        if known.claim.kind != one.claim.kind:
            raise UserError(
                f"{one.path} says {one.claim.method} is {one.claim.kind}, {known.path} says it is {known.claim.kind}; "
                "submit the wrong one again"
            )
    for one in found[1:]:
        if one.claim.table.fingerprint != first.claim.table.fingerprint:
            raise UserError(
                f"{one.path} and {first.path} are of different data sets whose fingerprints begin alike; "
                "one folder cannot hold both"
            )
        counts, others = train_counts(one), train_counts(first)
        if None not in (*counts, *others) and counts != others:
            raise UserError(
                f"{one.path} says that {counts[1]} of {counts[0]} training rows have a map, {first.path} says "
                f"{others[1]} of {others[0]}; submit the wrong one again"
            )
        same = one.claim.table.task_version == first.claim.table.task_version
        if same and one.claim.field_metrics != first.claim.field_metrics:
            raise UserError(f"{one.path} has other field metrics than {first.path}; submit it again")


def train_counts(found: Accepted) -> tuple[int | None, int | None]:
    """Rows of the training split and those with a map, as a result states them."""
    return found.claim.table.train, found.claim.table.train_maps


def accepted_sheet(found: list[Accepted], data: DataSet) -> Sheet:
    """One sheet from the results of one table."""
    facts = found[0].claim.table
    # People may call one data set differently: as most do.
    names = Counter(one.claim.table.data for one in found)
    entries = [accepted_entry(one, label) for label, one in labelled(found).items()]
    train, train_maps = next((train_counts(one) for one in found if None not in train_counts(one)), (None, None))
    return Sheet(
        group=found[0].claim.group,
        data=min(names, key=lambda name: (-names[name], name)),
        rows=data.rows,
        entries=tuple(sorted(entries, key=lambda entry: entry.label)),
        standin=facts.kind == "standin",
        date=max(one.claim.date for one in found),
        train=train,
        train_maps=train_maps,
    )


def labelled(found: list[Accepted]) -> dict[str, Accepted]:
    """One table's results by labels of their own: of those that share one, all but the newest get a suffix."""
    plain = [one.claim.label for one in found]
    listed = {(one.name, one.version) for one in CURRENT.methods}
    # The version that the edition lists keeps the plain label: a newer one must not take its place in the families.
    versions = [inf if (one.claim.method, one.claim.version) in listed else one.claim.version for one in found]
    kept = keepers(plain, [(version, one.claim.fields) for version, one in zip(versions, found, strict=True)])
    labels = [
        label if i in kept else f"{label} ({one.path.stem})"
        for i, (label, one) in enumerate(zip(plain, found, strict=True))
    ]
    check_unique(labels, [str(one.path) for one in found])
    return dict(zip(labels, found, strict=True))


def accepted_entry(found: Accepted, label: str) -> Entry:
    """One entry of a sheet."""
    claim = found.claim
    return Entry(
        label=label,
        kind=claim.kind,
        method=claim.method,
        version=claim.version,
        fields=claim.fields,
        seeds=tuple(one.seed for one in claim.seeds),
        failed=sum(one.status == "failed" for one in claim.missing),
        diverged=sum(one.status == "diverged" for one in claim.missing),
        margins=found.margins.astype(np.float64),
        scores=tuple(one.scores for one in claim.seeds),
        seconds=tuple(one.seconds for one in claim.seeds),
        peak_mb=max(one.peak_mb for one in claim.seeds),
        devices=tuple(sorted({one.device for one in claim.seeds})),
        torch_versions=tuple(sorted({one.torch for one in claim.seeds})),
        origins=tuple(str(found.path) for _ in claim.seeds),
        standing=Standing(
            state=claim.state,
            proof=proof_of(claim),
            weights={one.seed: str(one.weights) for one in claim.seeds},
            submitter=claim.submitter,
            description=claim.description,
        ),
        content=found.content,
        proofs=stated_proofs(claim),
    )


def stated_proofs(claim: Claim) -> tuple[tuple[str, str], ...]:
    """Who states which proof of a claim: re-scoring the margins establishes none of them."""
    parts: list[tuple[str, str]] = []
    if claim.verified is not None:
        alone = claim.model_copy(update={"reproduction": None})
        parts.append((claim.verified.by, proof_of(alone)))
    if claim.reproduction is not None:
        alone = claim.model_copy(update={"verified": None})
        parts.append((claim.reproduction.by, proof_of(alone)))
    return tuple(parts)


def accepted_gallery(found: list[Accepted], data: DataSet) -> Gallery | None:
    """The data set's pictures with the maps of one table's methods, all of one seed: the lowest there is."""
    if data.gallery is None:
        return None
    seed = min(one.claim.seeds[0].seed for one in found)
    maps = {
        label: one.claim.cams
        for label, one in labelled(found).items()
        if one.claim.cams and one.claim.seeds[0].seed == seed
    }
    return data.gallery.model_copy(update={"maps": maps, "seed": seed})
