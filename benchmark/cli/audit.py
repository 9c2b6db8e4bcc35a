"""``divsal-bench audit``: what the maps of trained networks show, and what their decisions rest on."""

from __future__ import annotations

import argparse

from divsal_bench.cli import EXIT_USER_ERROR, say, terminal_width
from divsal_bench.cli.progress import duration
from divsal_bench.errors import plural
from divsal_bench.workflows.auditing import NewAudit, audit


def command(arguments: argparse.Namespace) -> int:
    """Audit what has not been audited yet, and print the tables."""
    found = audit(
        arguments.runs or arguments.out, task=arguments.task, method=arguments.method, data=arguments.data,
        k=arguments.k, tau=arguments.tau, reference=arguments.reference, fidelity_k=arguments.fidelity_k,
        images=arguments.images, workers=arguments.workers, force=arguments.force, say=say, on_audited=say_audited,
    )  # fmt: skip
    print(found.text(arguments.format, terminal_width()))
    if found.lost:
        which = f"{plural(len(found.lost), 'audit')} of {len(found.audits)}"
        say(f"divsal-bench: {which} could not be kept beside the run: {found.lost[0]}")
    return EXIT_USER_ERROR if found.lost else 0


def say_audited(new: NewAudit) -> None:
    """One line for each new audit."""
    spec, label = new.run.spec, new.run.record.method_label
    what = f"{spec.task} {label} seed {spec.seed}: audited, {new.audit.seconds:.1f} s"
    say(f"[{new.done}/{new.total}] {what}; about {duration(new.seconds_left)} left")
