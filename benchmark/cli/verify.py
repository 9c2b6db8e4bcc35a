"""``divsal-bench verify``: weights → predictions → the row."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping
from pathlib import Path

from divsal_bench import plugins
from divsal_bench.cli.run_data import RunData, collect
from divsal_bench.errors import UserError
from divsal_bench.records import Run, Scores


def verify(arguments: argparse.Namespace) -> int:
    """Verify run directories, or an accepted result from them; 1 if a number or a row differs."""
    from divsal_bench.leaderboard.entries import rows_and_margins

    if arguments.accepted is not None:
        return verify_accepted(arguments)
    if not arguments.runs:
        raise UserError("give run directories, or an accepted result with --accepted FILE --runs DIR --by NAME")
    opened = RunData(arguments.data)
    failed = False
    for run in collect(arguments.runs, Path()):
        if run.record.status != "done" or run.record.scores is None:
            raise UserError(f"{run.path} has no result to verify: it {run.record.status} ({run.record.error})")
        rows, values = rows_and_margins(run)
        own = dict(zip(rows["key"].astype(str), values.tolist(), strict=True))
        failed |= check(run, opened, run.record.scores, own) is None
    return int(failed)


def check(run: Run, opened: RunData, claimed: Scores, margins: Mapping[str, float]) -> float | None:
    """Verify one run and print the outcome; the largest |ΔAUROC|, None if a number differs by more than is allowed.

    Args:
        run: Holds the weights.
        opened: Its data.
        claimed: The numbers to check.
        margins: The margins to check, by sample id.
    """
    from divsal_bench import devices
    from divsal_bench import verify as engine
    from divsal_bench.trained import load_model, protocol_of

    devices.make_deterministic(protocol_of(run).threads)
    names = plugins.tasks().get(run.spec.task).field_metrics
    result = engine.verify(run, load_model(run), opened.arrays(run), names, claimed, margins)
    name = f"{run.spec.task} {run.record.method_label} seed {run.spec.seed}"
    wrong = result.first_difference
    if wrong is None:
        print(
            f"verified: {name}: {len(result.aurocs)} AUROCs, largest |Δ| {result.largest:.2g}; {len(margins)} margins, "
            f"largest |Δ| {result.margin.difference:.2g}"
        )
        return result.largest
    shown = ["none" if value is None else f"{value:.4f}" for value in (wrong.claimed, wrong.found)]
    print(
        f"not verified: {name}: {wrong.name} is claimed as {shown[0]}, its weights give {shown[1]} "
        f"(allowed |Δ| {wrong.allowed:g})"
    )
    return None


def verify_accepted(arguments: argparse.Namespace) -> int:
    """Verify an accepted result from run directories that hold its weights, and stamp it."""
    from divsal_bench import work
    from divsal_bench.leaderboard.accepted import open_result
    from divsal_bench.leaderboard.claim import Verified, day, person
    from divsal_bench.leaderboard.files import as_json, write_all
    from divsal_bench.leaderboard.standing import with_verification
    from divsal_bench.trained import weights_sha256

    if arguments.run_dir is None or not arguments.by:
        raise UserError("verify --accepted needs --runs DIR, where the weights are, and --by NAME, who verifies")
    path = arguments.accepted
    by, date = person(arguments.by), day(arguments.date)
    known = open_result(path)
    claim = known.claim
    runs = {run.record.run_id: run for run in collect([arguments.run_dir], arguments.run_dir)}
    opened = RunData(arguments.data)
    largest = 0.0
    samples: list[str] = []
    for one, values in zip(claim.seeds, known.margins, strict=True):
        run = runs.get(one.run_id)
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
        difference = check(run, opened, one.scores, dict(zip(samples, values.tolist(), strict=True)))
        if difference is None:
            return 1
        largest = max(largest, difference)
    versions = work.versions()
    proof = Verified(
        by=by,
        date=date,
        max_difference=largest,
        device="cpu",
        versions={name: versions[name] for name in ("divsal-bench", "torch", "timm", "numpy")},
        margins_sha256=claim.margins_sha256,
    )
    stamped = with_verification(claim, proof)
    write_all({path: as_json(stamped)})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    print(f"{stamped.state}: {path} (sha256 {digest}…)")
    return 0


def published_samples(run: Run, opened: RunData, folder: Path) -> list[str]:
    """Sample ids of an accepted data set's rows, in their order; none, and the reason printed, if its rows differ.

    Args:
        run: Any run on the data.
        opened: The data.
        folder: Of the accepted data set.
    """
    from divsal_bench.leaderboard.accepted import read_data_set
    from divsal_bench.leaderboard.entries import ROW_COLUMNS
    from divsal_bench.leaderboard.files import KEYS
    from divsal_bench.leaderboard.keys import hashed, published, same_rows

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
