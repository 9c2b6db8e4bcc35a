"""Plan a grid of runs: its data, what is there already, and what is missing."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from divsal_bench.contracts.task import Task
from divsal_bench.data.arrays import DataRows
from divsal_bench.data.catalogue import DataSource
from divsal_bench.data.terms import terms_of, windows_of
from divsal_bench.errors import UserError
from divsal_bench.grid.jobs import CHECKPOINT_MINUTES, Job
from divsal_bench.registry import method_source, plugins, protocols
from divsal_bench.registry.method_choice import MethodChoice
from divsal_bench.registry.protocols import Protocol
from divsal_bench.runs import store
from divsal_bench.runs.bounds import check_content
from divsal_bench.runs.reading import Run
from divsal_bench.runs.records import DataFacts, Spec
from divsal_bench.scores import conditions
from divsal_bench.words import Head


@dataclass(frozen=True)
class Grid:
    """What was asked for: tasks × methods × one backbone × seeds under one protocol.

    Attributes:
        data: As ``--data``; None chooses per task.
        backbone: None takes the protocol's.
        retry_failed: Run failed and diverged runs again.
        checkpoint_minutes: Between two checkpoints within an epoch; 0 makes none.
    """

    tasks: tuple[str, ...]
    methods: tuple[MethodChoice, ...]
    seeds: tuple[int, ...]
    out: Path
    protocol: Protocol = protocols.PROTOCOLS["quick-v1"]
    backbone: str | None = None
    head: Head = "two-logit"
    data: str | None = None
    device: str = "auto"
    retry_failed: bool = False
    checkpoint_minutes: float = CHECKPOINT_MINUTES


@dataclass(frozen=True)
class TaskPlan:
    """One task's part of a plan: its data, the runs that are there (of any status), and those missing.

    Attributes:
        data: Its rows; with their pixels, unless the plan is only looked at.
    """

    task: Task
    source: DataSource
    data: DataRows
    done: tuple[Run, ...]
    jobs: tuple[Job, ...]
    notices: tuple[str, ...]


def plan(
    grid: Grid,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] = lambda text: None,
    decode: bool = True,
) -> list[TaskPlan]:
    """Find the data, write down every specification and look which runs exist.

    Nothing is written but the decoded images' cache.

    Args:
        say: Told when another process decodes the same data and is waited for.
        decode: Decode what is not decoded yet. Without it the jobs cannot be run: their data is not there.

    Raises:
        UserError: Anything that would make the runs fail and that the user can mend.
    """
    from divsal_bench.data import arrays as data_arrays
    from divsal_bench.data import catalogue

    if not grid.seeds:
        raise UserError("no seeds to run; --seeds takes a number from 1, e.g. --seeds 5")
    backbone = grid.backbone or grid.protocol.backbone
    weights = "scratch"
    if grid.backbone or grid.protocol.pretrained:
        backbone, weights = check_backbone(backbone, grid)
    tasks = [plugins.tasks().get(name) for name in dict.fromkeys(grid.tasks)]
    load = data_arrays.load_arrays if decode else data_arrays.load_rows
    sources = [(task, catalogue.resolve(task, grid.data)) for task in tasks]
    size = grid.protocol.input_size
    return [
        plan_task(task, source, load(task, source, size, progress, say), grid, backbone, weights)
        for task, source in sources
    ]


def check_backbone(backbone: str, grid: Grid) -> tuple[str, str]:
    """Full name and weights hash of a backbone that is known to build and to have a closed-form CAM."""
    from divsal_bench.networks import backbones

    backbone = backbones.full_name(backbone, grid.protocol)
    channels = {3 if grid.protocol.channels == 3 else plugins.tasks().get(name).channels for name in grid.tasks}
    for in_chans in sorted(channels):
        backbones.build(backbone, grid.protocol, in_chans, grid.head, seed=0)
    return backbone, backbones.weights_hash(backbone, grid.protocol)


def plan_task(task: Task, source: DataSource, data: DataRows, grid: Grid, backbone: str, weights: str) -> TaskPlan:
    """Plan one task."""
    from divsal_bench.data import rules

    check_splits(data, source)
    rules.require_sound(data.rows, task.class_names, source.name)
    facts = data_facts(data, source)
    settings = settings_as_json(grid.protocol)
    done: list[Run] = []
    jobs: list[Job] = []
    # Seeds outermost: a grid that is stopped early has the same seeds for every method.
    for seed, choice in itertools.product(dict.fromkeys(grid.seeds), grid.methods):
        method = plugins.methods().get(choice.name)
        spec = Spec(
            task=task.name,
            task_version=task.version,
            data=source.name,
            data_fingerprint=data.fingerprint,
            method=choice.name,
            method_version=method.version,
            fields=choice.fields,
            backbone=backbone,
            weights=weights,
            head=grid.head,
            protocol=grid.protocol.name,
            protocol_settings=settings,
            seed=seed,
        )
        run = store.find_run(grid.out, spec)
        if run is not None and (run.record.status == "done" or not grid.retry_failed):
            done.append(run)
        else:
            check_record(spec, choice.label, facts)
            jobs.append(
                Job(
                    spec=spec,
                    label=choice.label,
                    kind=method.kind,
                    cache=str(data.path),
                    data=facts,
                    out=str(grid.out.absolute()),
                    device=grid.device,
                    task_from=plugins.tasks().origin.get(task.name, ""),
                    method_from=plugins.methods().origin.get(choice.name, ""),
                    checkpoint_minutes=grid.checkpoint_minutes,
                    replaces=run.record.created if run is not None else "",
                )
            )
    notices = tuple(filter(None, (source.notice, *data.notices, *plan_warnings(grid, done, facts))))
    return TaskPlan(task, source, data, tuple(done), tuple(jobs), notices)


def plan_warnings(grid: Grid, done: Sequence[Run], facts: DataFacts) -> list[str]:
    """What would make a table say something else than its reader thinks."""
    found = []
    methods = plugins.methods()
    made_by = {(run.spec.method, run.record.method_source) for run in done}
    stale = {name for name, source in made_by if method_source.has_changed(methods.get(name), source)}
    if stale:
        found.append(
            f"the code of {', '.join(sorted(stale))} has changed since these runs were made; raise its `version` to "
            "run it again"
        )
    guided = [c.label for c in grid.methods if plugins.methods().get(c.name).kind != "unguided"]
    if guided and not facts.train_maps:
        found.append(f"no training image has a human map: {', '.join(guided)} have nothing to be guided by")
    return found


def check_record(spec: Spec, label: str, data: DataFacts) -> None:
    """Refuse a run whose record could not be read back, before any work."""
    content = {"method_label": label, "spec": spec.model_dump(mode="json"), "data": data.model_dump(mode="json")}
    try:
        check_content(content)
    except ValueError as error:
        raise UserError(
            f"a run of {label} on {spec.data} could not be read back ({error}); shorten that name or field"
        ) from None


def check_splits(data: DataRows, source: DataSource) -> None:
    """Refuse data that cannot be trained on, selected with or tested on."""
    for split in ("train", "validation"):
        labels = data.rows.loc[data.rows["split"] == split, "label"]
        if labels.empty:
            raise UserError(f"the {split} split of {source.name} has no rows; prepare the data again with some")
        if labels.nunique() < 2:
            raise UserError(f"the {split} split of {source.name} holds one class only; both are needed there")
    if not (data.rows["split"] == "test").any():
        raise UserError(f"{source.name} has no test rows; prepare the data again with some")
    if not any(condition.kind == "scored" for condition in conditions.conditions(data.rows)):
        raise UserError(
            f"no condition of the test split of {source.name} has both classes, so nothing could be scored; see "
            "divsal-bench data check"
        )


def data_facts(data: DataRows, source: DataSource) -> DataFacts:
    """What a run's record keeps about its data."""
    counts = data.rows["split"].value_counts()
    in_train = data.rows["split"] == "train"
    return DataFacts(
        kind="standin" if source.is_drawn else source.kind,
        revision=source.revision,
        pixel_hash=data.pixel_hash,
        train=int(counts.get("train", 0)),
        validation=int(counts.get("validation", 0)),
        test=int(counts.get("test", 0)),
        train_maps=int(data.rows.loc[in_train, "has_map"].sum()),
        terms=terms_of(data, source),
        windows=windows_of(source),
    )


def settings_as_json(protocol: Protocol) -> dict[str, Any]:
    """The protocol as JSON keeps it, so that a specification hashes the same before and after storing."""
    content: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(protocol)))
    return content
