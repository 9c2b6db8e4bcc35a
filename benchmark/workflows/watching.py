"""What an output folder holds: finished runs, those that are being made, and those that were interrupted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from divsal_bench.errors import UserError
from divsal_bench.runs.reading import read_runs
from divsal_bench.runs.records import Spec
from divsal_bench.runs.unfinished import unfinished_runs

#: Of a finished run, in the order in which they are counted.
ENDS = ("done", "failed", "diverged")


@dataclass(frozen=True)
class UnfinishedRun:
    """A run without a record.

    Attributes:
        running: Else it was interrupted: the same command goes on from what is saved of it.
        epoch: The one that is trained, of ``epochs``; one more than these while predictions are made.
        saved: Share of the training that the last checkpoint holds, in [0, 1].
        seconds: Spent so far.
        left: Seconds of training that are left at the pace of this run, from what is saved where it was interrupted;
            None while that is not known.
        resumes: How often it has gone on from a checkpoint.
        host: The machine that makes it, or made it last.
    """

    run_id: str
    seed: int
    running: bool
    epoch: int
    epochs: int
    saved: float
    seconds: float
    left: float | None
    resumes: int
    host: str


@dataclass(frozen=True)
class RunGroup:
    """The runs of one task, data set, protocol, backbone and method.

    Attributes:
        counts: Finished runs by how they ended.
        seeds: Of finished runs.
    """

    task: str
    data: str
    fingerprint: str
    protocol: str
    backbone: str
    method: str
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ENDS, 0))
    seeds: set[int] = field(default_factory=set)
    unfinished: list[UnfinishedRun] = field(default_factory=list)


def run_status(out: Path) -> list[RunGroup]:
    """Everything in an output folder, from its files alone, in a fixed order.

    Raises:
        UserError: There is no such folder, or it holds a damaged run.

    Example:
        >>> from pathlib import Path
        >>> from divsal_bench.workflows.watching import run_status
        >>> [group.counts["failed"] for group in run_status(Path("runs"))]
        [0, 0]
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is no folder; give the output folder as --out")
    if not out.is_dir():
        raise UserError(f"there is no output folder {out}; give the one you ran with as --out")
    groups: dict[tuple[str, ...], RunGroup] = {}

    def group_of(spec: Spec, label: str) -> RunGroup:
        key = (spec.task, spec.data, spec.data_fingerprint[:8], spec.protocol, spec.backbone, label)
        return groups.setdefault(key, RunGroup(*key))

    # Unfinished ones first: one that ends between the two looks is then counted once more, never not at all.
    unfinished = unfinished_runs(out)
    ended: dict[str, str] = {}
    for run in read_runs(out):
        group = group_of(run.spec, run.record.method_label)
        group.counts[run.record.status] += 1
        group.seeds.add(run.spec.seed)
        ended[run.record.run_id] = run.record.status
    for progress, running in unfinished:
        run_id = progress.spec.run_id
        if ended.get(run_id) == "done" or (run_id in ended and not running):
            continue
        behind = progress.step if running else progress.saved_step
        left = progress.pace * max(0, progress.steps - behind) if progress.pace else None
        group_of(progress.spec, progress.method_label).unfinished.append(
            UnfinishedRun(
                run_id=run_id,
                seed=progress.spec.seed,
                running=running,
                epoch=progress.epoch,
                epochs=progress.epochs,
                saved=min(1.0, progress.saved_step / progress.steps) if progress.steps else 0.0,
                seconds=progress.seconds,
                left=left,
                resumes=progress.resumes,
                host=progress.host,
            )
        )
    return [groups[key] for key in sorted(groups)]
