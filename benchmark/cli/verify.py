"""``divsal-bench verify``: weights → predictions → the row."""

from __future__ import annotations

import argparse
import datetime
import hashlib
from pathlib import Path

from divsal_bench import plugins
from divsal_bench.cli.run_data import RunData, collect
from divsal_bench.errors import UserError
from divsal_bench.records import Run, Scores


def verify(arguments: argparse.Namespace) -> int:
    """Verify run directories, or an accepted result from them; 1 if a number differs."""
    if arguments.accepted is not None:
        return verify_accepted(arguments)
    if not arguments.runs:
        raise UserError("give run directories, or an accepted result with --accepted FILE --runs DIR --by NAME")
    opened = RunData(arguments.data)
    failed = False
    for run in collect(arguments.runs, Path()):
        if run.record.status != "done" or run.record.scores is None:
            raise UserError(f"{run.path} has no result to verify: it {run.record.status} ({run.record.error})")
        failed |= check(run, opened, run.record.scores) is None
    return int(failed)


def check(run: Run, opened: RunData, claimed: Scores) -> float | None:
    """Verify one run and print the outcome; the largest |ΔAUROC|, None if one is too large."""
    from divsal_bench import devices
    from divsal_bench import verify as engine
    from divsal_bench.trained import load_model, protocol_of

    devices.make_deterministic(protocol_of(run).threads)
    names = plugins.tasks().get(run.spec.task).field_metrics
    result = engine.verify(run, load_model(run), opened.arrays(run), names, claimed)
    name = f"{run.spec.task} {run.record.method_label} seed {run.spec.seed}"
    wrong = result.first_difference
    if wrong is None:
        print(f"verified: {name}: {len(result.lines)} AUROCs, largest |Δ| {result.largest:.2g}")
        return result.largest
    shown = ["none" if value is None else f"{value:.4f}" for value in (wrong.claimed, wrong.found)]
    print(
        f"not verified: {name}: {wrong.name} is claimed as {shown[0]}, its weights give {shown[1]} "
        f"(allowed |Δ| {engine.WITHIN:g})"
    )
    return None


def verify_accepted(arguments: argparse.Namespace) -> int:
    """Verify an accepted result from run directories that hold its weights, and stamp it."""
    from divsal_bench import work
    from divsal_bench.leaderboard.accepted import open_result
    from divsal_bench.leaderboard.claim import Verified
    from divsal_bench.leaderboard.files import as_json, write_all
    from divsal_bench.leaderboard.standing import with_verification
    from divsal_bench.trained import weights_sha256

    if arguments.run_dir is None or not arguments.by:
        raise UserError("verify --accepted needs --runs DIR, where the weights are, and --by NAME, who verifies")
    path = arguments.accepted
    claim = open_result(path).claim
    runs = {run.record.run_id: run for run in collect([arguments.run_dir], arguments.run_dir)}
    opened = RunData(arguments.data)
    largest = 0.0
    for one in claim.seeds:
        run = runs.get(one.run_id)
        if run is None:
            raise UserError(f"{arguments.run_dir} holds no run {one.run_id} (seed {one.seed} of {claim.label})")
        found = weights_sha256(run.path)
        if found != one.weights.sha256:
            raise UserError(
                f"the weights in {run.path} are not the claimed ones of seed {one.seed}: sha256 {found[:12]}…, "
                f"claimed {one.weights.sha256[:12]}…; get those from {one.weights.where}"
            )
        difference = check(run, opened, one.scores)
        if difference is None:
            return 1
        largest = max(largest, difference)
    versions = work.versions()
    proof = Verified(
        by=arguments.by,
        date=arguments.date or datetime.datetime.now(datetime.UTC).date().isoformat(),
        max_difference=largest,
        device="cpu",
        versions={name: versions[name] for name in ("divsal-bench", "torch", "timm", "numpy")},
    )
    stamped = with_verification(claim, proof)
    write_all({path: as_json(stamped)})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    print(f"{stamped.state}: {path} (sha256 {digest}…)")
    return 0
