"""From run directories to accepted result files: what is refused, and what is written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from divsal_bench.errors import UserError, field_problem
from divsal_bench.leaderboard.accepted.publishing import Publication, PublicData, publication
from divsal_bench.leaderboard.accepted.reading import DataSet, read_claim, read_data_set
from divsal_bench.leaderboard.claims import keys
from divsal_bench.leaderboard.claims.claim import Claim, TableFacts
from divsal_bench.leaderboard.claims.consistency import check_itself, place
from divsal_bench.leaderboard.claims.files import GALLERY, KEYS, MARGINS, NEW_MARGINS, model_json, write_all
from divsal_bench.leaderboard.claims.gallery import ClassCams, Gallery
from divsal_bench.leaderboard.sheets.entries import Group, group_of
from divsal_bench.runs.reading import Run

#: Significant digits of published maps.
MAP_DIGITS = 5


@dataclass(frozen=True)
class SubmissionTerms:
    """How results are submitted.

    Attributes:
        where: Where a run's weights can be had.
        describe: A method's name to its one sentence.
        permitted: The submitter holds a permission that the data set's terms do not state.
        force: Replace results of the same methods.
    """

    by: str
    where: Callable[[Run], str]
    describe: Callable[[str], str] = lambda name: ""
    permitted: bool = False
    force: bool = False


@dataclass(frozen=True)
class Submitted:
    """One result file; its change is ``new``, ``replaced``, or ``unchanged``."""

    path: Path
    claim: Claim
    change: str


def write_results(
    runs: Sequence[Run], data: Mapping[str, PublicData], root: Path, terms: SubmissionTerms
) -> list[Submitted]:
    """Write an accepted result for each method in each table.

    Args:
        runs: Of any tasks and methods.
        data: Fingerprint to what is known of the data set.
        root: The results folder; made if need be.

    Returns:
        One entry a result, in the order of the tables. The same runs again change no byte.

    Raises:
        UserError: Anything that must not be published; then nothing is written.
    """
    if not runs:
        raise UserError("there are no runs to submit; give an output folder or run directories")
    files: dict[Path, bytes] = {}
    done: list[Submitted] = []
    for members in by_method(runs):
        fingerprint = members[0].spec.data_fingerprint
        check_permission(data[fingerprint], members[0], terms.permitted)
        found = publication(members, data[fingerprint], terms.where)
        label = members[0].record.method_label
        if not found.seeds:
            raise UserError(f"{label} has no seed with a result; leave it out with --method, or mend it and run again")
        folder = root / members[0].spec.task / fingerprint[:8]
        shared, gallery = shared_files(folder, found, data[fingerprint], files)
        maps = data[fingerprint].cams(found.done[0]) if gallery.pictures else {}
        shown = {one.key: rounded_cams(maps[one.key]) for one in gallery.pictures if one.key in maps}
        new = claim_of(found, shown, terms, hashlib.sha256(shared[folder / KEYS]).hexdigest())
        path = root / place(new)
        if path in {one.path for one in done}:
            raise UserError(f"two settings of {label} have the same file {path}; submit them one by one")
        change = change_of(new, path, terms.force)
        done.append(Submitted(path, new, change))
        files |= shared
        if change != "unchanged":
            files[path.with_name(path.stem + MARGINS)] = found.margin_bytes()
            files[path] = model_json(new)
    # A result's JSON names its margins: it comes last.
    write_all(dict(sorted(files.items(), key=lambda pair: pair[0].suffix == ".json")))
    for one in done:
        if one.change == "replaced":
            one.path.with_name(one.path.stem + NEW_MARGINS).unlink(missing_ok=True)
    return done


def by_method(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs of one table and one method together, in the order of tables and methods."""
    groups: dict[tuple[Group, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((group_of(run), run.spec.entry), []).append(run)
    return [groups[key] for key in sorted(groups)]


def check_permission(data: PublicData, run: Run, permitted: bool) -> None:
    """Refuse data whose owner forbids it, or does not say, unless the submitter vouches."""
    name = run.spec.data
    if data.predictions == "no":
        raise UserError(f"the terms of {name} forbid publishing predictions; its results cannot be submitted")
    if data.predictions == "unknown" and not permitted:
        raise UserError(
            f"the terms of {name} do not say whether predictions may be published; ask its owner, and if you have "
            "the permission add --i-have-permission"
        )


def shared_files(
    folder: Path, found: Publication, data: PublicData, new: Mapping[Path, bytes]
) -> tuple[dict[Path, bytes], Gallery]:
    """``key.parquet`` and ``gallery.json`` of the data set: those that are there; UserError if of other rows."""
    paths = folder / KEYS, folder / GALLERY
    if not paths[0].exists():
        contents = new.get(paths[0]), new.get(paths[1])
        made = contents[0] or keys.key_bytes(found.rows), contents[1] or model_json(data.gallery)
        return dict(zip(paths, made, strict=True)), data.gallery
    known: DataSet = read_data_set(folder)
    if not keys.are_same_rows(known.rows, found.rows):
        raise UserError(
            f"{paths[0]} lists other rows than these runs were scored on; with one fingerprint that means damage, "
            "restore it"
        )
    gallery = known.gallery or data.gallery
    return {paths[0]: paths[0].read_bytes(), paths[1]: model_json(gallery)}, gallery


def claim_of(found: Publication, maps: dict[str, ClassCams], terms: SubmissionTerms, key_sha256: str) -> Claim:
    """The content of one result file."""
    first = found.done[0]
    spec = first.spec
    try:
        claim = Claim(
            table=TableFacts(
                task=spec.task,
                task_version=spec.task_version,
                fingerprint=spec.data_fingerprint,
                data=spec.data,
                kind="standin" if first.record.data.kind == "standin" else "prepared",
                protocol=spec.protocol,
                protocol_settings=spec.protocol_settings,
                backbone=spec.backbone,
                weights=spec.weights,
                head=spec.head,
                engine_version=spec.engine_version,
                digest=group_of(first).digest,
                train=first.record.data.train,
                train_maps=first.record.data.train_maps,
            ),
            method=spec.method,
            version=spec.method_version,
            fields=spec.fields,
            kind=first.record.method_kind,
            label=first.record.method_label,
            description=terms.describe(spec.method),
            seeds=found.seeds,
            missing=found.missing,
            cams=maps,
            submitter=terms.by,
            date=max(run.record.created for run in found.done),
            margins_sha256=hashlib.sha256(found.margin_bytes()).hexdigest(),
            key_sha256=key_sha256,
        )
    except ValidationError as error:
        field, problem = field_problem(error.errors())
        given = str(error.errors()[0]["input"])[:80]
        raise UserError(f"{first.record.method_label}: {field} {given!r} cannot be published: it {problem}") from None
    check_itself(claim, f"{claim.label} on {spec.task} ({spec.data_fingerprint[:8]})")
    return claim


def rounded_cams(cams: ClassCams) -> ClassCams:
    """Maps with :data:`MAP_DIGITS` significant digits: they are looked at, not computed with."""
    return [[[float(f"{value:.{MAP_DIGITS}g}") for value in row] for row in one] for one in cams]


def change_of(new: Claim, path: Path, force: bool) -> str:
    """What writing a claim would change; replacing another one needs ``force``."""
    if not path.exists():
        return "new"
    plain = {"state": "reported", "verified": None, "reproduction": None}
    try:
        known = read_claim(path)
        if known.model_copy(update=plain) == new:
            return "unchanged"
        owner = f"of {known.submitter}, {len(known.seeds)} seeds"
    except UserError:
        owner = "that cannot be read"
    if not force:
        raise UserError(f"{path} holds a result already ({owner}); add --force to replace it")
    return "replaced"
