"""``divsal-bench verify``: weights → predictions → the row."""

from __future__ import annotations

import argparse
import shlex

from divsal_bench.cli import say
from divsal_bench.errors import UserError, plural
from divsal_bench.workflows import verifying
from divsal_bench.workflows.verifying import VerifiedRun


def command(arguments: argparse.Namespace) -> int:
    """Verify runs, on disk or on the Hub, or an accepted result from its weights; 1 if a number or a row differs."""
    if arguments.accepted is not None:
        return of_accepted(arguments)
    if not arguments.runs:
        raise UserError(
            "give run directories or Hub ids, or an accepted result with --accepted FILE --by NAME [--runs DIR]"
        )
    done = verifying.verify(arguments.runs, data=arguments.data, say=say, on_verified=print_verified)
    return int(not all(one.holds for one in done))


def of_accepted(arguments: argparse.Namespace) -> int:
    """Verify an accepted result and stamp it."""
    if not arguments.by:
        raise UserError("verify --accepted needs --by NAME, who verifies")
    found = verifying.verify_accepted(
        arguments.accepted, by=arguments.by, date=arguments.date, runs=arguments.run_dir, data=arguments.data, say=say,
        on_verified=print_verified,
    )  # fmt: skip
    if found.problem:
        print(f"not verified: {found.problem}")
    if not found.holds:
        return 1
    print(f"{found.claim.state}: {found.path} (sha256 {found.content}…)")
    say(f"next: divsal-bench board --recompute --results {shlex.quote(str(found.path.parents[4]))}")
    return 0


def print_verified(one: VerifiedRun) -> None:
    """One line: what was compared, or the first number that differs."""
    spec, found = one.run.spec, one.found
    name = f"{spec.task} {one.run.record.method_label} seed {spec.seed}" + (f" ({one.origin})" if one.origin else "")
    name += f" on {one.data} ({spec.data_fingerprint[:8]})"
    wrong = found.first_difference
    if wrong is None:
        print(
            f"verified: {name}: {plural(len(found.aurocs), 'AUROC')}, largest |Δ| {found.largest:.2g}; "
            f"{plural(one.margins, 'margin')}, largest |Δ| {found.margin.difference:.2g}; "
            f"{plural(len(found.agreement) + len(found.others), 'other number')}"
        )
        return
    claimed, again = ("none" if value is None else f"{value:.4f}" for value in (wrong.claimed, wrong.found))
    print(
        f"not verified: {name}: {wrong.name} is claimed as {claimed}, its weights give {again} "
        f"(allowed |Δ| {wrong.allowed:g})"
    )
