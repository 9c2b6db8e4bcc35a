"""``divsal-bench audit``: what the maps of trained networks show, and what their decisions rest on."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from divsal_bench.audit.many_runs import AuditJob, audit_jobs
from divsal_bench.cli import EXIT_USER_ERROR, say, tidy
from divsal_bench.cli.progress import duration
from divsal_bench.cli.selection import runs_named
from divsal_bench.cli.verify import found_runs
from divsal_bench.errors import UserError, plural
from divsal_bench.networks import devices
from divsal_bench.runs.audit_record import Audit, AuditSettings, find_audit
from divsal_bench.runs.reading import Run
from divsal_bench.workflows.run_data import RunData, collect

#: Options that ask for the class-sensitivity test by name; None where they are not given.
SENSITIVITY_OPTIONS = ("k", "tau", "reference")


def audit(arguments: argparse.Namespace) -> int:
    """Audit what has not been audited yet, and print the tables."""
    from divsal_bench.leaderboard.audits import render
    from divsal_bench.leaderboard.audits import table as statistics

    settings = settings_of(arguments)
    given = found_runs(arguments.runs) if arguments.runs else [(run, "") for run in collect([], arguments.out)]
    kept = runs_named([run for run, _ in given], arguments.task, arguments.method)
    origins = {run.path: origin for run, origin in given}
    done = [run for run in kept if run.record.status == "done"]
    for run in kept:
        if run.record.status != "done":
            say(f"notice: {run.path} has nothing to audit: it {run.record.status} ({run.record.error})")
    if not done:
        raise UserError(f"there is no result to audit in {plural(len(kept), 'run')}; see `divsal-bench status`")
    check_heads(done, arguments)
    tidy(run.path for run in done if not origins[run.path])
    found, lost = all_audits(done, origins, settings, arguments)
    audits = dict(zip((run.path for run in done), found, strict=True))
    tables = statistics.tables((run, audits.get(run.path)) for run in kept)
    print(render.render(tables, arguments.format))
    if lost:
        say(f"divsal-bench: {plural(len(lost), 'audit')} of {len(done)} could not be kept beside the run: {lost[0]}")
    return EXIT_USER_ERROR if lost else 0


def settings_of(arguments: argparse.Namespace) -> AuditSettings:
    """Check every number that was given."""
    usual = AuditSettings()
    k, tau = (getattr(usual, name) if (given := getattr(arguments, name)) is None else given for name in ("k", "tau"))
    for option, value in (("--k", k), ("--fidelity-k", arguments.fidelity_k)):
        if not 0 < value <= 100:
            raise UserError(f"{option} must be above 0 and at most 100 per cent, not {value:g}")
    if not 0 <= tau <= 100:
        raise UserError(f"--tau must lie between 0 and 100 per cent, not {tau:g}")
    if arguments.images < 2:
        raise UserError(f"--images must be 2 or more, not {arguments.images}")
    if arguments.workers is not None and arguments.workers < 0:
        raise UserError(f"--workers must be 0 or more, not {arguments.workers}")
    return AuditSettings(
        k=k, tau=tau, reference=bool(arguments.reference), fidelity_k=arguments.fidelity_k, images=arguments.images
    )


def check_heads(runs: Sequence[Run], arguments: argparse.Namespace) -> None:
    """Refuse an explicit wish for class sensitivity of one-logit heads.

    Raises:
        UserError: It is undefined for a run, with the reason.
    """
    given = [f"--{name}" for name in SENSITIVITY_OPTIONS if getattr(arguments, name) is not None]
    one = next((run for run in runs if run.spec.head == "one-logit"), None)
    if given and one is not None:
        from divsal_bench.maps.evidence import ONE_LOGIT

        raise UserError(
            f"{given[0]} asks for the class-sensitivity test, and {one.path} has one logit: the test is {ONE_LOGIT}; "
            f"leave {given[0]} out, or name two-logit runs alone"
        )


def all_audits(
    runs: Sequence[Run], origins: dict[Path, str], settings: AuditSettings, arguments: argparse.Namespace
) -> tuple[list[Audit], list[str]]:
    """The audits of runs: kept ones, and the others computed and kept; and why some could not be kept."""
    from divsal_bench.runs.store import weights_sha256

    found: dict[Path, Audit] = {}
    lost: list[str] = []
    if not arguments.force:
        for run in runs:
            kept = find_audit(run, settings, weights_sha256(run.path))
            found |= {run.path: kept} if kept is not None else {}
    missing = [run for run in runs if run.path not in found]
    workers = devices.default_workers(1) if arguments.workers is None else arguments.workers
    if missing:
        say(
            f"audit: {plural(len(runs), 'run')}, {len(found)} already audited, {len(missing)} to do, "
            f"{plural(workers, 'worker')}"
        )
        opened = RunData(arguments.data)
        # A snapshot from the Hub lies in the Hub client's cache, whose files are not ours to add to.
        jobs = [AuditJob(run.path, opened.arrays(run).path, settings, keep=not origins[run.path]) for run in missing]
        started, finished = time.monotonic(), 0

        def on_done(position: int, audit: Audit, problem: str) -> None:
            nonlocal finished
            finished += 1
            lost.extend([problem] * bool(problem))
            left = (time.monotonic() - started) / finished * (len(missing) - finished)
            spec, label = missing[position].spec, missing[position].record.method_label
            what = f"{spec.task} {label} seed {spec.seed}: audited, {audit.seconds:.1f} s"
            say(f"[{finished}/{len(missing)}] {what}; about {duration(left)} left")

        audits = audit_jobs(jobs, workers, on_done)
        found |= {run.path: audit for run, audit in zip(missing, audits, strict=True)}
    return [found[run.path] for run in runs], lost
