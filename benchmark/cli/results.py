"""``divsal-bench status`` and ``show``: what the output folder holds. No torch."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from divsal_bench.cli import say
from divsal_bench.cli.tables import shown_table
from divsal_bench.errors import UserError, plural
from divsal_bench.files import escaping
from divsal_bench.runs.names import STDERR_FILE
from divsal_bench.runs.reading import Run, read_run, read_runs
from divsal_bench.runs.records import Record
from divsal_bench.workflows.watching import RunGroup, UnfinishedRun, run_status

NONE = "–"
#: What the runs of one line of ``status`` have in common.
NAMED = ("task", "data", "fingerprint", "protocol", "backbone", "method")
#: Columns of the runs that are not finished; ``saved`` is the share that is not lost when the run is killed now.
UNFINISHED_HEAD = ["run", "task", "method", "seed", "state", "epoch", "saved", "training left", "host"]


def status_command(arguments: argparse.Namespace) -> int:
    """Count runs by task, data, protocol, backbone and method; then those that are not finished, one by one."""
    groups = run_status(arguments.out)
    finished = [status_record(group) for group in groups if group.seeds]
    unfinished = [(group, one) for group in groups for one in group.unfinished]
    if not groups:
        say(f"there are no runs in {arguments.out}")
    if arguments.format == "json":
        parts = [{"unfinished": [dataclasses.asdict(one) for one in group.unfinished]} for group in groups]
        print(json.dumps([status_record(group) | part for group, part in zip(groups, parts, strict=True)], indent=1))
        return 0
    tables = [([*finished[0]], [[*one.values()] for one in finished])] if finished else []
    if unfinished:
        tables.append((UNFINISHED_HEAD, [unfinished_row(group, one) for group, one in unfinished]))
    for number, (columns, lines) in enumerate(tables):
        if number:
            print()
        if arguments.format == "csv":
            print(escaping.csv_text([columns, *lines]))
        else:
            style = "github" if arguments.format == "markdown" else "simple"
            print(shown_table(escaping.escaped_rows(lines, arguments.format), columns, style=style))
    if not all(one.running for _, one in unfinished):
        say("interrupted runs go on from what is saved of them when the command that began them is given again")
    return 0


def status_record(group: RunGroup) -> dict[str, object]:
    """The finished runs of a group in one line, by column."""
    shared = {name: getattr(group, name) for name in NAMED}
    return {**shared, **group.counts, "seeds": " ".join(map(str, sorted(group.seeds)))}


def unfinished_row(group: RunGroup, one: UnfinishedRun) -> list[object]:
    """One unfinished run, its columns as in :data:`UNFINISHED_HEAD`."""
    from divsal_bench.cli.progress import duration

    trained = one.epoch > one.epochs
    return [
        one.run_id, group.task, group.method, one.seed, "running" if one.running else "interrupted",
        "predicting" if trained else f"{one.epoch} of {one.epochs}", f"{one.saved:.0%}",
        NONE if one.left is None else duration(one.left), one.host,
    ]  # fmt: skip


def show_command(arguments: argparse.Namespace) -> int:
    """Print one run."""
    run = named_run(arguments.run, arguments.out)
    if arguments.format == "json":
        print((run.path / "run.json").read_text(encoding="utf-8"), end="")
        return 0
    record = run.record
    facts = [
        ("run", f"{record.run_id} in {run.path}"),
        ("status", record.status + (f": {record.error}" if record.error else "")),
        ("task", f"{record.spec.task} (version {record.spec.task_version})"),
        ("data", f"{record.spec.data} ({record.spec.data_fingerprint[:8]}): {record.data.train} train "
                 f"({record.data.train_maps} with a human map), {record.data.validation} validation, "
                 f"{record.data.test} test"),
        ("method", f"{record.method_label} (version {record.spec.method_version}; {fields_text(record)})"),
        ("backbone", f"{record.spec.backbone}, {record.spec.head}, weights {record.spec.weights[:12]}"),
        ("protocol",
         f"{record.spec.protocol}, seed {record.spec.seed}, epoch {record.selected_epoch} selected"),
        ("cost", f"{record.seconds:.1f} s ({record.train_seconds:.1f} s training), "
                 f"peak {record.peak_mb:.0f} MB, {record.device}{record.place and f' ({record.place})'}"),
        *([("went on", f"{plural(record.resumes, 'time')} from a checkpoint")] if record.resumes else []),
        *([("standard error", place_of_output(run))] if STDERR_FILE in record.files else []),
        ("versions", ", ".join(f"{name} {version}" for name, version in record.versions.items())),
    ]  # fmt: skip
    print(shown_table(facts, style="plain"))
    for section in (auroc_table(record), field_table(record), agreement_table(record)):
        if section:
            print(f"\n{section}")
    for notice in record.notices:
        print(f"\nnotice: {notice}")
    return 0


def place_of_output(run: Run) -> str:
    """Where what a failed run's process printed is kept, and whether it still is what that run wrote."""
    try:
        run.check_file(STDERR_FILE)
    except UserError:
        return f"{run.path / STDERR_FILE} (not what this run wrote)"
    return str(run.path / STDERR_FILE)


def fields_text(record: Record) -> str:
    """``alpha=0.5``, or that there are none."""
    return ", ".join(f"{name}={value}" for name, value in record.spec.fields.items()) or "no fields"


def named_run(text: str, out: Path) -> Run:
    """A run by its directory or by the first digits of its id."""
    path = Path(text)
    if path.is_dir() or path.is_file():
        return read_run(path)
    if path.exists():
        raise UserError(f"{path} is no run directory; give the folder that holds run.json, or a run id")
    digits = text.lower()
    if len(digits) < 4 or any(character not in "0123456789abcdef" for character in digits):
        raise UserError(f"{text!r} is neither a run directory nor the first digits (4 or more) of a run id")
    found = [run for run in read_runs(out) if run.record.run_id.startswith(digits)]
    if len(found) != 1:
        many = (
            f"{plural(len(found), 'run')} begin so; give more digits"
            if found
            else "no run there begins so; see `divsal-bench status`"
        )
        raise UserError(f"run id {text!r} in {out}: {many}")
    return found[0]


def digits3(value: float | None) -> str:
    """Three digits after the point."""
    return NONE if value is None else f"{value:.3f}".replace("-0.000", "0.000")


def auroc_table(record: Record) -> str:
    """AUROC of each condition."""
    if record.scores is None:
        return ""
    scores = record.scores
    rows = [["validation", "", digits3(scores.validation), "", "", "", ""]]
    rows += [
        [
            c.name,
            c.kind,
            digits3(c.auroc),
            str(c.negatives),
            str(c.positives),
            digits3(c.false_positive_rate) if c.false_positive_rate is not None or not c.negatives else "n/a",
            c.reason,
        ]
        for c in scores.conditions
    ]
    rows += [
        [
            "open-set (mean)",
            "",
            digits3(scores.open_set),
            "",
            "",
            "",
            "primary" if scores.primary == "open-set" else "n/a",
        ]
    ]
    rows += [["worst", "", digits3(scores.worst), "", "", "", ""]]
    head = ["condition", "kind", "AUROC", "negatives", "positives", "FPR at val. threshold", ""]
    return shown_table(rows, head)


def field_table(record: Record) -> str:
    """The field's own metrics, thresholds set on validation, with the rate really achieved."""
    if record.scores is None or not record.scores.field_metrics:
        return ""
    rows = [
        [m.metric, m.condition, digits3(m.value) if not m.note else m.note,
         digits3(m.achieved), digits3(m.oracle),
         ", ".join(f"{name} {value:.3f}" for name, value in m.species.items())]
        for m in record.scores.field_metrics
    ]  # fmt: skip
    head = ["metric", "condition", "value", "rate achieved", "oracle", "per species"]
    text = shown_table(rows, head)
    for threshold in record.scores.thresholds:
        value = "infinity" if threshold.value is None else f"{threshold.value:.4f}"
        text += f"\nthreshold on the logit margin {value}: {threshold.rule} ({threshold.negatives} negatives)"
    return text


def agreement_table(record: Record) -> str:
    """Agreement with human maps on the test split."""
    if record.scores is None:
        return ""
    rows = [
        [name, m.maps_negative, m.maps_positive, digits3(m.lift), digits3(m.pe), f"{digits3(m.auc)} ({m.auc_maps})",
         f"{digits3(m.cc)} ({m.cc_maps})", m.empty, digits3(m.lift_nonempty)]
        for name, m in (("true-class CAM", record.scores.true_cam),
                        ("difference map", record.scores.difference_map))
        if m is not None
    ]  # fmt: skip
    if not rows:
        return "no human maps in the test split: agreement is not available"
    head = ["map", "maps (neg.)", "maps (pos.)", "lift", "PE", "AUC (maps)", "CC (maps)", "empty", "lift non-empty"]
    return shown_table(rows, head)
