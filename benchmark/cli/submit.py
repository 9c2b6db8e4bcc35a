"""``divsal-bench submit``: accepted results from run directories, and reproductions of somebody's."""

from __future__ import annotations

import argparse
import shlex

from divsal_bench.cli import say
from divsal_bench.errors import plural
from divsal_bench.workflows import submitting


def command(arguments: argparse.Namespace) -> int:
    """Write result files, or stamp one with a reproduction."""
    if arguments.reproduces is not None:
        return of_reproduction(arguments)
    done = submitting.submit(
        arguments.runs or arguments.out, by=arguments.by, task=arguments.task, method=arguments.method,
        results=arguments.results, data=arguments.data, weights=arguments.weights,
        permitted=arguments.i_have_permission, pictures=not arguments.without_pictures, force=arguments.force, say=say,
    )  # fmt: skip
    for one in done.files:
        counts = [plural(len(one.claim.seeds), "seed")]
        counts += [f"{len(one.claim.missing)} without a result"] * bool(one.claim.missing)
        print(f"{one.change}: {one.path} ({', '.join(counts)})")
    if any(one.change != "unchanged" for one in done.files):
        place = shlex.quote(str(done.results))
        say(f"next: divsal-bench board --recompute --results {place}")
        say(f"then commit {place} and open a pull request (CONTRIBUTING.md)")
    return 0


def of_reproduction(arguments: argparse.Namespace) -> int:
    """Compare new seeds with somebody's result; 1 if they do not reproduce it."""
    from divsal_bench.leaderboard.accepted.proofs import unnoticed

    done = submitting.reproduce(
        arguments.reproduces, arguments.runs or arguments.out, by=arguments.by, task=arguments.task,
        method=arguments.method, data=arguments.data, weights=arguments.weights,
        permitted=arguments.i_have_permission, force=arguments.force, say=say,
    )  # fmt: skip
    claim, new = done.claim, done.outcome
    print(
        f"{claim.state}: {claim.label}, {claim.seeds[0].scores.primary} AUROC claimed {new.claimed_mean:.4f} "
        f"({plural(len(claim.seeds), 'seed')}), new {new.new_mean:.4f} ({plural(len(new.seeds), 'seed')}), "
        f"|difference| {abs(new.new_mean - new.claimed_mean):.4f}, tolerance {new.tolerance:.4f}; "
        + (unnoticed(done.noticed) if new.holds else "an honest result misses in about 5 % of cases")
        + f"\nwritten to {done.path}"
    )
    return 0 if claim.state == "reproduced" else 1
