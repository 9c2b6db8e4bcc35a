"""``divsal-bench study``: three published findings, looked for on this benchmark's data."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from divsal_bench.cli import EXIT_INTERRUPTED, say, tables
from divsal_bench.cli.run import execute, grid_of, worker_count
from divsal_bench.errors import UserError, plural
from divsal_bench.files import escaping
from divsal_bench.grid import planning
from divsal_bench.leaderboard.statistics.over_seeds import cell_of
from divsal_bench.registry import method_choice, plugins, protocols
from divsal_bench.workflows.run_data import RunData, collect

if TYPE_CHECKING:
    from divsal_bench.runs.reading import Run

#: Where the rows of a table belong, then what each row is, then its numbers by seed.
Rows = dict[tuple[str, ...], dict[str, list[float]]]
#: Epochs at which the collapse of CASE is looked at.
EPOCHS = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Table:
    """One table of a study.

    Attributes:
        keys: Names of the columns that say what a row is.
        rows: Their values to metric to one number a seed.
        notes: What the numbers are.
    """

    title: str
    keys: tuple[str, ...]
    rows: Rows
    notes: tuple[str, ...]


def study(arguments: argparse.Namespace) -> int:
    """Train what is missing, measure, print."""
    found = {"difference": difference, "imbalance": imbalance, "case": case}[arguments.study](arguments)
    if found is None:
        return EXIT_INTERRUPTED
    print(rendered(found, arguments.format))
    return 0


def trained(arguments: argparse.Namespace, **settings: Any) -> list[Run] | None:
    """The runs of a grid, those that are missing made first; None after Ctrl-C."""
    usual = {"backbone": None, "head": "two-logit", "data": None, "method": "all", "retry_failed": False}
    grid = grid_of(argparse.Namespace(**{**vars(arguments), **usual, **settings}))
    methods = tuple(method_choice.choose_methods(settings.get("method", "all")))
    plans = planning.plan(dataclasses.replace(grid, methods=methods))
    new, interrupted = execute(plans, worker_count(arguments, grid))
    if interrupted:
        return None
    return [run for run in [*(run for plan in plans for run in plan.done), *new] if run.record.status == "done"]


def add(rows: Rows, key: tuple[str, ...], numbers: Mapping[str, float]) -> None:
    """Put one seed's numbers into a table."""
    row = rows.setdefault(key, {})
    for name, value in numbers.items():
        row.setdefault(name, []).append(value)


def in_order(runs: Iterable[Run]) -> list[Run]:
    """By task, data, method (as the board orders them) and seed."""
    order = {name: place for place, name in enumerate(plugins.ranked_order(plugins.methods().found))}
    return sorted(
        runs,
        key=lambda run: (
            run.spec.task, run.spec.data_fingerprint, order.get(run.spec.method, 99), run.record.method_label,
            run.spec.seed,
        ),
    )  # fmt: skip


def opened(run: Run, data: RunData) -> tuple[Any, Any]:
    """A run's network and data."""
    from divsal_bench.networks import devices
    from divsal_bench.networks.trained import load_model, protocol_of

    devices.make_deterministic(protocol_of(run).threads)
    return load_model(run), data.arrays(run)


def difference(arguments: argparse.Namespace) -> list[Table] | None:
    """Difference maps against true-class CAMs, for every method."""
    from divsal_bench.studies.difference import numbers

    if arguments.runs:
        runs: list[Run] | None = [run for run in collect(arguments.runs, Path()) if run.record.status == "done"]
    else:
        runs = trained(arguments)
    if runs is None:
        return None
    if not runs:
        raise UserError("none of these runs has a result to measure; see `divsal-bench status`")
    wanted = {name.strip() for name in arguments.task.split(",")} - {"all"}
    rows: Rows = {}
    data = RunData(arguments.data)
    for run in in_order(run for run in runs if not wanted or run.spec.task in wanted):
        say(f"{run.spec.task} {run.record.method_label} seed {run.spec.seed}")
        model, arrays = opened(run, data)
        name = f"{run.spec.task} ({run.spec.data})"
        for kind, found in numbers(run, model, arrays, arguments.images).items():
            add(rows, (name, run.record.method_label, kind), found)
    notes = (
        "lift, pe, empty: over the test images with a human map (1 is chance for lift).",
        f"right way: share of at most {arguments.images} test images, the same for all, in which covering the map's "
        "largest positive region with the mean colour lowers the margin of the true class; moved: by how many logits "
        "(negative lowers); moved elsewhere: what the same shape does at another place.",
    )
    return [Table("Difference map against true-class CAM", ("task (data)", "method", "map"), rows, notes)]


def imbalance(arguments: argparse.Namespace) -> list[Table] | None:
    """Unbalanced against balanced weights on 9:1 data, with a one-logit head."""
    from divsal_bench.data.prepare import prepare
    from divsal_bench.studies.imbalance import numbers

    rows: Rows = {}
    for task in chosen_tasks(arguments):
        for ratio in ("9:1", "1:9"):
            folder = arguments.out / "data" / f"{task}-{ratio.replace(':', '-')}"
            if not folder.exists():
                prepare(plugins.tasks().get(task), plugins.adapters().get("standin"), None, folder, {"ratio": ratio})
            runs = trained(
                arguments, task=task, method="cross-entropy,balanced-cross-entropy", head="one-logit", data=str(folder)
            )
            if runs is None:
                return None
            data = RunData(str(folder))
            for run in in_order(runs):
                model, arrays = opened(run, data)
                for group, found in numbers(run, model, arrays).items():
                    add(rows, (task, ratio, run.record.method_label, group), found)
    notes = (
        "Stand-ins with negatives to positives in training as the ratio says; validation and test as they are.",
        "error: of that class's in-domain test images at a probability of 0.5. The other columns are of images "
        "predicted as that class: maps of the one logit for the predicted sign, as published.",
        "bias share: |bias| / (|bias| + |what the image adds|); bias for: share of seeds with a bias for that class.",
        "pe, lift (of non-empty maps): only where images of that class have human maps.",
    )
    keys = ("task", "negatives : positives", "weights", "class")
    return [Table("Imbalance with a one-logit head", keys, rows, notes)]


def case(arguments: argparse.Namespace) -> list[Table] | None:
    """Class sensitivity and fidelity of maps, binary and with many classes; and the collapse of CASE."""
    from divsal_bench.networks.trained import protocol_of
    from divsal_bench.studies import case as engine
    from divsal_bench.studies import own_networks
    from divsal_bench.studies.inputs import inputs

    runs = trained(arguments, method="cross-entropy")
    if runs is None:
        return None
    binary: Rows = {}
    many: Rows = {}
    data = RunData(None)
    for run in in_order(runs):
        say(f"{run.spec.task} cross-entropy seed {run.spec.seed}: maps of two classes")
        model, arrays = opened(run, data)
        test = inputs(arrays, protocol_of(run), "test")
        seen = engine.some(test, np.isin(test.sources, train_sources(arrays)))
        found = engine.numbers(
            model, seen, seen.labels, arrays.fingerprint, arguments.images, arguments.k, arguments.tau
        )
        for kind, numbers in found.items():
            add(binary, (f"{run.spec.task} ({run.spec.data})", kind), numbers)
    for task in [name for name in chosen_tasks(arguments) if name != "cxr"]:
        for run in in_order(run for run in runs if run.spec.task == task):
            say(f"{task} seed {run.spec.seed}: a class for each category")
            arrays, protocol = data.arrays(run), protocol_of(run)
            classes, names = own_networks.species(arrays)
            model = own_networks.train(arrays, classes, protocol, task, run.spec.seed)
            test = inputs(arrays, protocol, "test")
            own = classes[(arrays.rows["split"] == "test").to_numpy()]
            keep = (own >= 0) & np.isin(test.sources, train_sources(arrays))
            found = engine.numbers(
                model, engine.some(test, keep), own[keep], arrays.fingerprint, arguments.images, arguments.k,
                arguments.tau,
            )  # fmt: skip
            for kind, numbers in found.items():
                add(many, (f"{task} ({len(names)} classes)", kind), numbers)
    notes = (
        f"agreement: per cent of the top {arguments.k:g} % cells that the maps of the two likeliest classes share "
        f"(tie-safe; {arguments.k:g} by chance); passes: share of seeds in which it is shown to be below τ = "
        f"{arguments.tau:g}. The difference map of two classes is one map with two signs: undefined there.",
        "drop: share of the predicted class's probability lost when the map's top 50 % is covered; deletion (low is "
        f"good), insertion (high is good): areas on the probability; on at most {arguments.images} correctly "
        "classified in-domain test images, the same for all maps; random, centre: controls.",
        "lift: energy inside the human map over chance, of the true class's map.",
    )
    tables = [
        Table("Maps of two classes (cross-entropy)", ("task (data)", "map"), binary, notes),
        Table("Maps of many classes: attack species or generators", ("task", "map"), many, notes[:1] + notes[1:]),
    ]
    return [*tables, collapse(arguments, runs, data), head_alone(runs, data)]


def collapse(arguments: argparse.Namespace, runs: Sequence[Run], data: RunData) -> Table:
    """What cross-entropy does to the angle of the two rows, and the angle to CASE, epoch by epoch."""
    from divsal_bench.studies import case as engine
    from divsal_bench.studies import own_networks
    from divsal_bench.studies.inputs import inputs

    rows: Rows = {}
    last = min(EPOCHS[-1], arguments.epochs)
    protocol = dataclasses.replace(protocols.find_protocol(arguments.protocol), epochs=last, weight_decay=0.0)
    for run in in_order(runs):
        say(f"{run.spec.task} seed {run.spec.seed}: {last} epochs, watching the angle of the rows")
        arrays = data.arrays(run)
        test = inputs(arrays, protocol, "test")
        if not test.mapped.any():
            continue
        labels = arrays.rows["label"].to_numpy(np.int64, copy=True)

        def watch(epoch: int, model: Any, task: str = run.spec.task, test: Any = test) -> None:
            if epoch in EPOCHS or epoch == last:
                add(rows, (task, f"{epoch:3d}"), engine.collapse(model, test))

        own_networks.train(arrays, labels, protocol, run.spec.task, run.spec.seed, watch)
    notes = (
        "cosine, residual: of the two classifier rows; CASE keeps the residual. pe: energy inside the human map of "
        "the true class's map, on test images with a human map, maps that the guard calls undefined (residual < 0.1) "
        "included, so that the collapse is seen; empty, undefined: shares of the CASE maps.",
        f"Cross-entropy without weight decay, {last} epochs, one-cycle schedule of {arguments.protocol}.",
    )
    return Table("The collapse of CASE with two classes", ("task", "epoch"), rows, notes)


def head_alone(runs: Sequence[Run], data: RunData) -> Table:
    """The collapse where training goes on: a new head on the features of finished runs."""
    from divsal_bench.networks.trained import protocol_of
    from divsal_bench.studies import case as engine
    from divsal_bench.studies.inputs import inputs

    rows: Rows = {}
    for run in in_order(runs):
        say(f"{run.spec.task} seed {run.spec.seed}: a new head on the run's features")
        model, arrays = opened(run, data)
        train, test = (inputs(arrays, protocol_of(run), split) for split in ("train", "test"))
        if test.mapped.any():
            for step, found in engine.head_alone(model, train, test, run.spec.seed).items():
                add(rows, (run.spec.task, f"{step}"), found)
    notes = (
        "A new head, trained with cross-entropy by whole-batch Adam at 0.01 without weight decay on the features of "
        "the cross-entropy runs, which stay as they are. Columns as above.",
    )
    return Table("The collapse of CASE: the head alone, trained on and on", ("task", "steps"), rows, notes)


def chosen_tasks(arguments: argparse.Namespace) -> list[str]:
    """The tasks asked for."""
    known = plugins.tasks().found
    names = list(known) if arguments.task == "all" else [name.strip() for name in arguments.task.split(",")]
    return [plugins.tasks().get(name).name for name in names]


def train_sources(arrays: Any) -> np.ndarray:
    """Sources of the training split."""
    rows = arrays.rows
    return np.unique(rows.loc[rows["split"] == "train", "source"].to_numpy(dtype=str))


def rendered(found: Sequence[Table], form: str) -> str:
    """All tables as text."""
    if form == "json":
        return json.dumps([as_json(table) for table in found], indent=1)
    if form == "csv":
        lines = [
            [table.title, " / ".join(key), name, *(plain(value) for value in summarised(values))]
            for table in found
            for key, row in table.rows.items()
            for name, values in row.items()
        ]
        return escaping.csv_text([["table", "row", "metric", "mean", "low", "high", "n"], *lines])
    return "\n\n".join(as_text(table, form) for table in found)


def as_text(table: Table, form: str) -> str:
    """One table for people: mean [95 % t-interval over seeds]."""
    metrics = list(dict.fromkeys(name for row in table.rows.values() for name in row))
    count = max((len(found) for row in table.rows.values() for found in row.values()), default=0)
    lines = [[*key, *(shown(row.get(name, [])) for name in metrics)] for key, row in table.rows.items()]
    markdown = form == "markdown"
    rows = escaping.escaped_rows(lines, form)
    body = tables.table(rows, [*table.keys, *metrics], style="github" if markdown else "simple")
    notes = [f"n = {plural(count, 'seed')}: mean [95 % t-interval over seeds].", *table.notes]
    heading = f"**{table.title}**" if markdown else table.title
    return "\n".join([heading, "", body, "", *(("- " if markdown else "  ") + note for note in notes)])


def summarised(found: Sequence[float]) -> tuple[float, float, float, int]:
    """Mean and t-interval of the seeds that have a number."""
    values = np.array([value for value in found if not math.isnan(value)])
    summary = cell_of(values)
    return summary.mean, summary.low, summary.high, len(values)


def shown(found: Sequence[float]) -> str:
    """``mean [low, high]``, or a dash."""
    mean, low, high, count = summarised(found)
    if not count:
        return "–"
    text = f"{mean:.2f}" if math.isnan(low) or low == high else f"{mean:.2f} [{low:.2f}, {high:.2f}]"
    text = text.replace("-0.00", "0.00")
    return text if count == len(found) else f"{text} (n {count})"


def as_json(table: Table) -> dict[str, Any]:
    """Every seed's number."""
    return {
        "title": table.title,
        "rows": [
            {**dict(zip(table.keys, key, strict=True)), "seeds": {name: list(map(plain, found)) for name, found in
                                                                  row.items()}}
            for key, row in table.rows.items()
        ],
        "notes": list(table.notes),
    }  # fmt: skip


def plain(value: float) -> float | None:
    """JSON and CSV have no NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value
