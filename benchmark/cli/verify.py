"""``divsal-bench verify``: weights → predictions → the row."""

from __future__ import annotations

import argparse
import hashlib
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.cli import tidy
from divsal_bench.contracts.task import VARIANTS
from divsal_bench.errors import UserError, plural
from divsal_bench.files import owners
from divsal_bench.hub.client import parse_id
from divsal_bench.registry import plugins
from divsal_bench.runs.names import CONFIG_FILE, RUN_FILE
from divsal_bench.runs.reading import Run, read_run
from divsal_bench.scores.schema import Scores
from divsal_bench.workflows.run_data import RunData, collect

if TYPE_CHECKING:
    from divsal_bench.leaderboard.claims.claim import SeedResult


def verify(arguments: argparse.Namespace) -> int:
    """Verify runs, on disk or on the Hub, or an accepted result from its weights; 1 if a number or a row differs."""
    if arguments.accepted is not None:
        return verify_accepted(arguments)
    if not arguments.runs:
        raise UserError(
            "give run directories or Hub ids, or an accepted result with --accepted FILE --by NAME [--runs DIR]"
        )
    opened = RunData(arguments.data)
    failed = False
    for run, origin in found_runs(arguments.runs):
        if run.record.status != "done" or run.record.scores is None:
            raise UserError(
                f"{origin or run.path} has no result to verify: it {run.record.status} ({run.record.error})"
            )
        if origin:
            require_data(run, origin, arguments.data)
        failed |= check(run, opened, run.record.scores, claimed_margins(run, opened), origin) is None
    return int(failed)


def found_runs(given: Sequence[str]) -> list[tuple[Run, str]]:
    """Runs from folders on this machine, and from the Hub where no such folder is; with what to call them.

    Raises:
        UserError: Neither, or a repository without a run.
    """
    from divsal_bench.hub.pull import snapshot

    local = [text for text in given if Path(text).exists() or parse_id(text) is None]
    runs = [(run, "") for run in collect([Path(text) for text in local], Path())] if local else []
    for text in given:
        if text in local:
            continue
        found = snapshot(text)
        if found.notice:
            print(f"notice: {found.notice}", file=sys.stderr)
        if not (found.folder / RUN_FILE).is_file():
            raise UserError(
                f"{found.origin} has no {RUN_FILE}: nothing can be verified, it was not pushed by divsal-bench"
            )
        runs.append((read_run(found.folder), found.origin))
    return runs


def require_data(run: Run, origin: str, data: str | None) -> None:
    """Refuse to take the data from where a stranger says it is: on data of one's own making anything can be verified.

    Raises:
        UserError: The user has not said which data to trust.
    """
    named = run.record.data.revision
    if data is None and named and run.spec.data not in VARIANTS:
        own = f"{run.spec.data.partition('@')[0]}@{named}"
        raise UserError(f"{origin} was scored on the data {own}; if you trust it add --data {own}, else give your copy")


def claimed_margins(run: Run, opened: RunData) -> dict[str, float]:
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


def check(run: Run, opened: RunData, claimed: Scores, margins: Mapping[str, float], origin: str = "") -> float | None:
    """Verify one run and print the outcome; the largest |ΔAUROC|, None if a number differs by more than is allowed.

    Args:
        run: Holds the weights.
        opened: Its data.
        claimed: The numbers to check.
        margins: The margins to check, by sample id.
        origin: Its pinned id on the Hub; "" for a run directory.
    """
    from divsal_bench.evaluation import verify as engine
    from divsal_bench.networks import devices
    from divsal_bench.networks.trained import protocol_of
    from divsal_bench.predict.loading import pretrained_in

    devices.make_deterministic(protocol_of(run).threads)
    names = plugins.tasks().get(run.spec.task).field_metrics
    result = engine.verify(
        run, pretrained_in(run.path, origin or str(run.path)).model, opened.arrays(run), names, claimed, margins
    )
    name = f"{run.spec.task} {run.record.method_label} seed {run.spec.seed}" + (f" ({origin})" if origin else "")
    name += f" on {opened.source(run).name} ({run.spec.data_fingerprint[:8]})"
    wrong = result.first_difference
    if wrong is None:
        print(
            f"verified: {name}: {plural(len(result.aurocs), 'AUROC')}, largest |Δ| {result.largest:.2g}; "
            f"{plural(len(margins), 'margin')}, largest |Δ| {result.margin.difference:.2g}; "
            f"{plural(len(result.agreement) + len(result.others), 'other number')}"
        )
        return result.largest
    shown = ["none" if value is None else f"{value:.4f}" for value in (wrong.claimed, wrong.found)]
    print(
        f"not verified: {name}: {wrong.name} is claimed as {shown[0]}, its weights give {shown[1]} "
        f"(allowed |Δ| {wrong.allowed:g})"
    )
    return None


def verify_accepted(arguments: argparse.Namespace) -> int:
    """Verify an accepted result from its weights, in run directories or on the Hub, and stamp it."""
    from divsal_bench.leaderboard.accepted.proofs import with_verification
    from divsal_bench.leaderboard.accepted.reading import open_result
    from divsal_bench.leaderboard.claims.claim import Verified, day, person
    from divsal_bench.leaderboard.claims.files import as_json, write_all
    from divsal_bench.runs import versions
    from divsal_bench.runs.store import weights_sha256

    if not arguments.by:
        raise UserError("verify --accepted needs --by NAME, who verifies")
    path = arguments.accepted
    by, date = person(arguments.by), day(arguments.date)
    known = open_result(path)
    claim = known.claim
    local = collect([arguments.run_dir], arguments.run_dir) if arguments.run_dir is not None else None
    runs = {run.record.run_id: run for run in local} if local is not None else None
    opened = RunData(arguments.data)
    largest = 0.0
    samples: list[str] = []
    for one, values in zip(claim.seeds, known.margins, strict=True):
        run, origin = from_hub(one, path) if runs is None else (runs.get(one.run_id), "")
        if run is None:
            raise UserError(f"{arguments.run_dir} holds no run {one.run_id} (seed {one.seed} of {claim.label})")
        found = weights_sha256(run.path)
        if found != one.weights.sha256:
            raise UserError(
                f"the weights in {run.path} are not the claimed ones of seed {one.seed}: sha256 {found[:12]}…, "
                f"claimed {one.weights.sha256[:12]}…; get those from {one.weights.where}"
            )
        samples = samples or published_samples(run, opened, path.resolve().parents[2])
        if not samples:
            return 1
        difference = check(run, opened, one.scores, dict(zip(samples, values.tolist(), strict=True)), origin)
        if difference is None:
            return 1
        largest = max(largest, difference)
    now = versions.versions()
    proof = Verified(
        by=by,
        date=date,
        max_difference=largest,
        device="cpu",
        versions={name: now[name] for name in ("divsal-bench", "torch", "timm", "numpy")},
        margins_sha256=claim.margins_sha256,
    )
    stamped = with_verification(claim, proof)
    tidy([path.parent])
    write_all({path: as_json(stamped)}, owners.mark())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    print(f"{stamped.state}: {path} (sha256 {digest}…)")
    print(f"next: divsal-bench board --recompute --results {shlex.quote(str(path.parents[4]))}", file=sys.stderr)
    return 0


def from_hub(one: SeedResult, path: Path) -> tuple[Run, str]:
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
    return run, found.origin


def published_samples(run: Run, opened: RunData, folder: Path) -> list[str]:
    """Sample ids of an accepted data set's rows, in their order; none, and the reason printed, if its rows differ.

    Args:
        run: Any run on the data.
        opened: The data.
        folder: Of the accepted data set.
    """
    from divsal_bench.leaderboard.accepted.reading import read_data_set
    from divsal_bench.leaderboard.claims.files import KEYS
    from divsal_bench.leaderboard.claims.keys import hashed, published, same_rows
    from divsal_bench.leaderboard.sheets.entries import ROW_COLUMNS

    fingerprint = run.spec.data_fingerprint
    own = opened.public(run).rows
    claimed, found = read_data_set(folder).rows, published(own, fingerprint)
    if same_rows(claimed, found):
        ids = {hashed(str(sample), fingerprint, "sample"): str(sample) for sample in own["key"]}
        return [ids[key] for key in found["key"]]
    if claimed["key"].tolist() != found["key"].tolist():
        problem = f"lists {len(claimed)} samples that are not the {len(found)} of the data"
    else:
        column = next(name for name in ROW_COLUMNS if claimed[name].tolist() != found[name].tolist())
        pairs = zip(claimed["key"], claimed[column], found[column], strict=True)
        key, old, new = next(pair for pair in pairs if pair[1] != pair[2])
        problem = f"says the {column} of row {key} is {str(old)[:60]!r}, the data say {str(new)[:60]!r}"
    print(f"not verified: {folder / KEYS} {problem}")
    return []
