"""Audit runs: what their maps show, and what their decisions rest on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from divsal_bench.auditing.many_runs import AuditJob, audit_jobs
from divsal_bench.errors import UserError, plural
from divsal_bench.networks import devices
from divsal_bench.runs.audit_record import Audit, AuditSettings, find_audit
from divsal_bench.runs.reading import Run
from divsal_bench.runs.store import weights_sha256
from divsal_bench.workflows.forms import require_form
from divsal_bench.workflows.found_runs import found_runs
from divsal_bench.workflows.run_data import RunData
from divsal_bench.workflows.selection import Names, Runs, require_number, runs_named
from divsal_bench.workflows.telling import Say, silent, unheard
from divsal_bench.workflows.tidying import sweep_unfinished

if TYPE_CHECKING:
    import pandas as pd

    from divsal_bench.leaderboard.audits.render import AuditFormat
    from divsal_bench.leaderboard.audits.table import AuditTable


class NewAudit(NamedTuple):
    """An audit that has just been computed.

    Attributes:
        done, total: How many of how many are.
        seconds_left: By how long those took.
    """

    run: Run
    audit: Audit
    done: int
    total: int
    seconds_left: float


OnAudited = Callable[[NewAudit], None]


@dataclass(frozen=True)
class AuditedRuns:
    """Runs, and the audits of those with a result.

    Attributes:
        runs: Every run that was asked for.
        audits: Run directory to audit.
        lost: Why some audits could not be kept beside their runs.
    """

    runs: tuple[Run, ...]
    audits: dict[Path, Audit] = field(repr=False)
    lost: tuple[str, ...]

    @property
    def tables(self) -> tuple[AuditTable, ...]:
        """The audits by task, data, protocol and backbone, each method over its seeds."""
        from divsal_bench.leaderboard.audits import table

        return tuple(table.audit_tables((run, self.audits.get(run.path)) for run in self.runs))

    def frame(self) -> pd.DataFrame:
        """One row for each number of each method over its seeds, and for each reason why there is none."""
        import pandas as pd

        from divsal_bench.leaderboard.audits.render import long_rows

        return pd.DataFrame([row for table in self.tables for row in long_rows(table)])

    def text(self, form: AuditFormat = "terminal", width: int | None = None) -> str:
        """The tables as ``terminal``, ``markdown``, ``csv`` or ``json``.

        Args:
            form: How.
            width: Of the terminal, in characters; None folds nothing.
        """
        from divsal_bench.leaderboard.audits.render import render_audits

        require_form(form)
        return render_audits(self.tables, form, width)


def audit(
    runs: Runs = "runs",
    *,
    task: Names | None = None,
    method: Names | None = None,
    data: str | Path | None = None,
    k: float | None = None,
    tau: float | None = None,
    reference: bool | None = None,
    fidelity_k: float = 50.0,
    images: int = 200,
    workers: int | None = 0,
    force: bool = False,
    say: Say = silent,
    on_audited: OnAudited = unheard,
) -> AuditedRuns:
    """Audit what has not been audited yet; the function behind ``divsal-bench audit``.

    Audits are kept beside their runs. A one-logit head has no class sensitivity: its audit says why.

    Args:
        runs: Output folders, run directories, runs, or Hub ids ``org/name[@revision]``; one or several.
        task: These tasks only.
        method: These methods only; a name alone is the method with its default fields.
        data: The runs' prepared data, where it is not in its usual place.
        k: Per cent of the cells whose agreement class sensitivity counts; None is 5.
        tau: Per cent of agreement that has to be undercut; None is 50.
        reference: Also class sensitivity as its authors' code has it, with its known defect.
        fidelity_k: Per cent of the cells covered for the confidence drop.
        images: At most so many test images for sensitivity, fidelity and fooling.
        workers: Processes; 0 stays in this one, None takes as many as there are processors.
        force: Audit again what has been audited.
        say: Told what there is to do, and what cannot be audited.
        on_audited: Told of every new audit.

    Returns:
        The audits, kept ones included.

    Raises:
        UserError: No run has a result, its data is not there, or class sensitivity is asked for by ``k``, ``tau`` or
            ``reference`` where it is undefined.

    Example:
        >>> import divsal_bench
        >>> found = divsal_bench.audit("runs", method="cyborg", images=8)
        >>> len(found.audits) == len(found.runs)
        True
        >>> "mean" in found.frame()  # a row a number of each method
        True
    """
    wanted = {"k": k, "tau": tau, "reference": reference}
    require_number("images", images)
    require_number("workers", workers)
    for name, per_cent in (("k", k), ("tau", tau), ("fidelity_k", fidelity_k)):
        require_number(name, per_cent, whole=False)
    settings = checked_settings(k, tau, reference, fidelity_k, images)
    if workers is not None and workers < 0:
        raise UserError(f"--workers must be 0 or more, not {workers}")
    found = found_runs(runs, say=say)
    origins = {one.run.path: one.origin for one in found}
    kept = runs_named([one.run for one in found], task, method)
    done = [run for run in kept if run.record.status == "done"]
    for run in kept:
        if run.record.status != "done":
            say(f"notice: {run.path} has nothing to audit: it {run.record.status} ({run.record.error})")
    if not done:
        raise UserError(f"there is no result to audit in {plural(len(kept), 'run')}; see `divsal-bench status`")
    refuse_one_logit(done, [f"--{name}" for name, value in wanted.items() if value is not None])
    # A snapshot from the Hub lies in the Hub client's cache, whose files are not ours to add to.
    ours = {run.path for run in done if not origins[run.path]}
    sweep_unfinished((run.path for run in done if run.path in ours), say)

    audits: dict[Path, Audit] = {}
    if not force:
        for run in done:
            known = find_audit(run, settings, weights_sha256(run.path))
            audits |= {run.path: known} if known is not None else {}
    missing = [run for run in done if run.path not in audits]
    if not missing:
        return AuditedRuns(tuple(kept), audits, ())
    processes = devices.default_workers(1) if workers is None else workers
    say(
        f"audit: {plural(len(done), 'run')}, {len(audits)} already audited, {len(missing)} to do, "
        f"{plural(processes, 'worker')}"
    )
    new, lost = audit_missing(missing, ours, settings, data, processes, on_audited)
    return AuditedRuns(tuple(kept), audits | new, tuple(lost))


def checked_settings(
    k: float | None, tau: float | None, reference: bool | None, fidelity_k: float, images: int
) -> AuditSettings:
    """Check every number that was given; None takes the usual one."""
    usual = AuditSettings()
    k, tau = usual.k if k is None else k, usual.tau if tau is None else tau
    for option, value in (("--k", k), ("--fidelity-k", fidelity_k)):
        if not 0 < value <= 100:
            raise UserError(f"{option} must be above 0 and at most 100 per cent, not {value:g}")
    if not 0 <= tau <= 100:
        raise UserError(f"--tau must lie between 0 and 100 per cent, not {tau:g}")
    if images < 2:
        raise UserError(f"--images must be 2 or more, not {images}")
    return AuditSettings(k=k, tau=tau, reference=bool(reference), fidelity_k=fidelity_k, images=images)


def refuse_one_logit(runs: Sequence[Run], given: Sequence[str]) -> None:
    """Refuse an explicit wish for class sensitivity of one-logit heads.

    Args:
        runs: To audit.
        given: The options that express it.

    Raises:
        UserError: It is undefined for a run, with the reason.
    """
    one = next((run for run in runs if run.spec.head == "one-logit"), None)
    if given and one is not None:
        from divsal_bench.maps.evidence import ONE_LOGIT

        raise UserError(
            f"{given[0]} asks for the class-sensitivity test, and {one.path} has one logit: the test is {ONE_LOGIT}; "
            f"leave {given[0]} out, or name two-logit runs alone"
        )


def audit_missing(
    runs: Sequence[Run],
    ours: set[Path],
    settings: AuditSettings,
    data: str | Path | None,
    workers: int,
    on_audited: OnAudited,
) -> tuple[dict[Path, Audit], list[str]]:
    """Audits of runs, by run directory, those of ``ours`` kept beside them; and why some could not be."""
    opened = RunData(data)
    jobs = [AuditJob(run.path, opened.arrays(run).path, settings, keep=run.path in ours) for run in runs]
    lost: list[str] = []
    started, done = time.monotonic(), 0

    def on_done(position: int, found: Audit, problem: str) -> None:
        nonlocal done
        done += 1
        lost.extend([problem] * bool(problem))
        left = (time.monotonic() - started) / done * (len(jobs) - done)
        on_audited(NewAudit(runs[position], found, done, len(jobs), left))

    audits = audit_jobs(jobs, workers, on_done)
    return {run.path: found for run, found in zip(runs, audits, strict=True)}, lost
