"""Verify: from the weights of runs, on this machine or on the Hub, to their predictions and every number."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.contracts.task import VARIANTS
from divsal_bench.errors import UserError
from divsal_bench.registry import plugins
from divsal_bench.runs.names import CONFIG_FILE
from divsal_bench.runs.reading import Run, read_run
from divsal_bench.scores.schema import Scores
from divsal_bench.workflows.found_runs import FoundRun, found_runs
from divsal_bench.workflows.run_data import RunData
from divsal_bench.workflows.selection import Runs, runs_meant
from divsal_bench.workflows.telling import Say, silent, unheard
from divsal_bench.workflows.tidying import sweep_unfinished

if TYPE_CHECKING:
    from divsal_bench.evaluation.verify import Verification
    from divsal_bench.leaderboard.claims.claim import Claim, SeedResult


@dataclass(frozen=True)
class VerifiedRun:
    """What the weights of one run give beside what is claimed.

    Attributes:
        origin: Its pinned id on the Hub; "" for a run directory.
        data: Name of the data that it was scored on.
        margins: How many margins were compared.
        found: Every number that was compared.
    """

    run: Run
    origin: str
    data: str
    margins: int
    found: Verification

    @property
    def holds(self) -> bool:
        """Whether no number differs by more than is allowed."""
        return self.found.first_difference is None


OnVerified = Callable[[VerifiedRun], None]


@dataclass(frozen=True)
class VerifiedClaim:
    """What the weights of an accepted result give.

    Attributes:
        path: Its file.
        claim: With the stamp, if it has been verified; as it was if not.
        runs: Its seeds, up to the first that differs.
        problem: Why its rows are not those of the data; "" if they are.
        content: Short hash of the file as it is now.
    """

    path: Path
    claim: Claim
    runs: tuple[VerifiedRun, ...]
    problem: str
    content: str

    @property
    def holds(self) -> bool:
        """Whether it has been verified and stamped."""
        return not self.problem and all(one.holds for one in self.runs)


def verify(
    runs: Runs, *, data: str | Path | None = None, say: Say = silent, on_verified: OnVerified = unheard
) -> list[VerifiedRun]:
    """Compute the predictions of runs from their weights again, and compare every number with what the runs say.

    Args:
        runs: Output folders, run directories, runs, or Hub ids ``org/name[@revision]``; one or several.
        data: A prepared folder, a Hub id or a stand-in; None finds the runs' own data in its usual place.
        say: Told what the user should know of a repository.
        on_verified: Told of each run as soon as it is done.

    Returns:
        One entry a run; those that do not hold too.

    Raises:
        UserError: There is no run, one has no result, or its data is not there or is another's to name.

    Example:
        >>> import divsal_bench
        >>> all(one.holds for one in divsal_bench.verify("runs"))
        True
    """
    opened = RunData(data)
    done = []
    for found in found_runs(runs, say=say):
        record = found.run.record
        if record.status != "done" or record.scores is None:
            raise UserError(f"{found.name} has no result to verify: it {record.status} ({record.error})")
        if found.origin:
            require_trusted_data(found, data)
        done.append(verify_run(found, opened, record.scores, margins_of(found.run, opened)))
        on_verified(done[-1])
    return done


def verify_accepted(
    result: str | Path,
    runs: Runs | None = None,
    *,
    by: str,
    date: str = "",
    data: str | Path | None = None,
    say: Say = silent,
    on_verified: OnVerified = unheard,
) -> VerifiedClaim:
    """Verify an accepted result from its weights, and stamp it if every number follows from them.

    Args:
        result: Its JSON file, in a results folder.
        runs: Where the claimed runs are: output folders, run directories, or runs; None takes them from the Hub commits
            that the result names.
        by: Who verifies.
        date: Of the stamp, like 2026-05-01; "" is today.
        data: As :func:`verify`.
        say: Told what was left by killed commands and is removed.
        on_verified: Told of each seed as soon as it is done.

    Returns:
        What its weights give, and the result as it is now.

    Raises:
        UserError: No such result, a damaged one, or weights that are not there or not those it names.

    Example:
        >>> import divsal_bench
        >>> (one,) = divsal_bench.submit("runs", by="Ann", method="cyborg", results="to-verify").files
        >>> divsal_bench.verify_accepted(one.path, "runs", by="Cem").claim.state
        'verified'
    """
    from divsal_bench.leaderboard.accepted.reading import open_result
    from divsal_bench.leaderboard.claims.claim import day, person

    by, date, path = person(by), day(date), Path(result)
    known = open_result(path)
    local = {run.record.run_id: run for run in runs_meant(runs)} if runs is not None else None
    place = str(runs) if isinstance(runs, str | Path) else "what was given"
    opened = RunData(data)
    done: list[VerifiedRun] = []
    samples: list[str] = []
    for one, values in zip(known.claim.seeds, known.margins, strict=True):
        found = claimed_run(one, known.claim, path, local, place)
        if not samples:
            samples, problem = published_samples(found.run, opened, path.resolve().parents[2])
            if problem:
                return VerifiedClaim(path, known.claim, (), problem, known.content)
        done.append(verify_run(found, opened, one.scores, dict(zip(samples, values.tolist(), strict=True))))
        on_verified(done[-1])
        if not done[-1].holds:
            return VerifiedClaim(path, known.claim, tuple(done), "", known.content)
    stamped = stamp(known.claim, by, date, max(one.found.largest for one in done), path, say)
    return VerifiedClaim(path, stamped, tuple(done), "", hashlib.sha256(path.read_bytes()).hexdigest()[:12])


def verify_run(found: FoundRun, opened: RunData, claimed: Scores, margins: Mapping[str, float]) -> VerifiedRun:
    """Compare what one run's weights give with a claim.

    Args:
        found: Holds the weights.
        opened: Its data.
        claimed: The numbers to check.
        margins: The margins to check, by sample id.
    """
    from divsal_bench.evaluation.verify import compare_with_weights
    from divsal_bench.networks import devices
    from divsal_bench.networks.trained import protocol_of
    from divsal_bench.prediction.loading import pretrained_in

    run = found.run
    devices.make_deterministic(protocol_of(run).threads)
    names = plugins.tasks().get(run.spec.task).field_metrics
    model = pretrained_in(run.path, found.name).model
    result = compare_with_weights(run, model, opened.arrays(run), names, claimed, margins)
    return VerifiedRun(run, found.origin, opened.source(run).name, len(margins), result)


def require_trusted_data(found: FoundRun, data: str | Path | None) -> None:
    """Refuse to take the data from where a stranger says it is: on data of one's own making anything can be verified.

    Raises:
        UserError: The user has not said which data to trust.
    """
    run = found.run
    named = run.record.data.revision
    if data is None and named and run.spec.data not in VARIANTS:
        own = f"{run.spec.data.partition('@')[0]}@{named}"
        raise UserError(
            f"{found.origin} was scored on the data {own}; if you trust it add --data {own}, else give your copy"
        )


def margins_of(run: Run, opened: RunData) -> dict[str, float]:
    """A run's own margins by sample id; of a run from the Hub, whose ids are salted keys, by the ids of the data."""
    from divsal_bench.leaderboard.claims.keys import hashed
    from divsal_bench.leaderboard.sheets.entries import rows_and_margins

    rows, values = rows_and_margins(run)
    own = dict(zip(rows["key"].astype(str), values.tolist(), strict=True))
    if not (run.path / CONFIG_FILE).is_file():
        return own
    ids = opened.arrays(run).rows["sample_id"].astype(str)
    names = {hashed(sample, run.spec.data_fingerprint, "sample"): sample for sample in ids}
    return {names.get(key, key): value for key, value in own.items()}


def claimed_run(one: SeedResult, claim: Claim, path: Path, local: Mapping[str, Run] | None, place: str) -> FoundRun:
    """The run of one seed of an accepted result, with the weights it names.

    Args:
        one: The seed.
        claim: It belongs to.
        path: Of the claim, for messages.
        local: Run id to run, of those on this machine; None looks on the Hub.
        place: Where those are, for messages.

    Raises:
        UserError: It is not there, or has other weights.
    """
    from divsal_bench.runs.store import weights_sha256

    if local is None:
        found = from_hub(one, path)
    elif one.run_id in local:
        found = FoundRun(local[one.run_id], "")
    else:
        raise UserError(f"{place} holds no run {one.run_id} (seed {one.seed} of {claim.label})")
    sha256 = weights_sha256(found.run.path)
    if sha256 != one.weights.sha256:
        raise UserError(
            f"the weights in {found.run.path} are not the claimed ones of seed {one.seed}: sha256 {sha256[:12]}…, "
            f"claimed {one.weights.sha256[:12]}…; get those from {one.weights.where}"
        )
    return found


def from_hub(one: SeedResult, path: Path) -> FoundRun:
    """The run of one seed, from the Hub commit that an accepted result names.

    Raises:
        UserError: It names none, or what lies there is another run.
    """
    from divsal_bench.hub.pull import snapshot

    link = re.fullmatch(
        r"https://huggingface\.co/([^/]+/[^/]+)/blob/([0-9a-f]{40})/model\.safetensors", one.weights.where
    )
    if link is None:
        raise UserError(
            f"{path}: the weights of seed {one.seed} are not on the Hub ({one.weights.where}); give the folder that "
            "holds them with --runs DIR"
        )
    found = snapshot(f"{link[1]}@{link[2]}")
    run = read_run(found.folder)
    if run.record.run_id != one.run_id:
        raise UserError(f"{found.origin} is run {run.record.run_id}, seed {one.seed} of {path} claims {one.run_id}")
    return FoundRun(run, found.origin)


def published_samples(run: Run, opened: RunData, folder: Path) -> tuple[list[str], str]:
    """Sample ids of an accepted data set's rows, in their order; none, and the reason, if its rows differ.

    Args:
        run: Any run on the data.
        opened: The data.
        folder: Of the accepted data set.
    """
    from divsal_bench.leaderboard.accepted.reading import read_data_set
    from divsal_bench.leaderboard.claims.files import KEYS
    from divsal_bench.leaderboard.claims.keys import are_same_rows, hashed, published
    from divsal_bench.leaderboard.sheets.entries import ROW_COLUMNS

    fingerprint = run.spec.data_fingerprint
    own = opened.public(run).rows
    claimed, found = read_data_set(folder).rows, published(own, fingerprint)
    if are_same_rows(claimed, found):
        ids = {hashed(str(sample), fingerprint, "sample"): str(sample) for sample in own["key"]}
        return [ids[key] for key in found["key"]], ""
    if claimed["key"].tolist() != found["key"].tolist():
        problem = f"lists {len(claimed)} samples that are not the {len(found)} of the data"
    else:
        column = next(name for name in ROW_COLUMNS if claimed[name].tolist() != found[name].tolist())
        pairs = zip(claimed["key"], claimed[column], found[column], strict=True)
        key, old, new = next(pair for pair in pairs if pair[1] != pair[2])
        problem = f"says the {column} of row {key} is {str(old)[:60]!r}, the data say {str(new)[:60]!r}"
    return [], f"{folder / KEYS} {problem}"


def stamp(claim: Claim, by: str, date: str, largest: float, path: Path, say: Say) -> Claim:
    """Write into an accepted result that its weights give its numbers; what its file holds now."""
    from divsal_bench.leaderboard.accepted.proofs import with_verification
    from divsal_bench.leaderboard.claims.claim import Verified
    from divsal_bench.leaderboard.claims.files import model_json, write_all
    from divsal_bench.runs.versions import versions

    now = versions()
    proof = Verified(
        by=by,
        date=date,
        max_difference=largest,
        device="cpu",
        versions={name: now[name] for name in ("divsal-bench", "torch", "timm", "numpy")},
        margins_sha256=claim.margins_sha256,
    )
    stamped = with_verification(claim, proof)
    sweep_unfinished([path.parent], say)
    write_all({path: model_json(stamped)})
    return stamped
