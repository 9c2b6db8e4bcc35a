"""Studies: three published findings about maps, looked for on this benchmark's data."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from divsal_bench.errors import UserError, unknown
from divsal_bench.grid.events import OnEvent
from divsal_bench.registry import plugins, protocols
from divsal_bench.studies.study_table import Rows, StudyTable, add_seed
from divsal_bench.workflows import running
from divsal_bench.workflows.asking import Seeds, task_names
from divsal_bench.workflows.run_data import RunData
from divsal_bench.workflows.selection import Names, Runs, joined, runs_meant
from divsal_bench.workflows.telling import Say, silent, unheard

if TYPE_CHECKING:
    from divsal_bench.data.arrays import DataArrays
    from divsal_bench.networks.backbones import CamNet
    from divsal_bench.runs.reading import Run
    from divsal_bench.words import Head

Question = Literal["difference", "imbalance", "case"]
#: Epochs at which the collapse of CASE is looked at.
EPOCHS = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class _Asked:
    """The arguments of :func:`study` that its questions share."""

    task: Names
    seeds: Seeds
    protocol: str
    device: str
    workers: int | None
    out: Path
    say: Say
    on_event: OnEvent

    def trained(
        self, method: str, task: str | None = None, head: Head = "two-logit", data: str | None = None
    ) -> list[Run]:
        """The runs of a grid that have a result, in the order of tables; those that are missing are made first."""
        runs = running.run(
            self.task if task is None else task, method, seeds=self.seeds, protocol=self.protocol, head=head,
            data=data, device=self.device, workers=self.workers, out=self.out,
            on_event=self.on_event,
        )  # fmt: skip
        return runs_in_order(run for run in runs if run.record.status == "done")


def study(
    question: Question,
    runs: Runs | None = None,
    *,
    task: Names = "all",
    seeds: Seeds = 5,
    data: str | Path | None = None,
    images: int = 200,
    k: float = 5.0,
    tau: float = 50.0,
    epochs: int = 64,
    protocol: str = "quick-v1",
    device: str = "auto",
    workers: int | None = 0,
    out: str | Path = "runs",
    say: Say = silent,
    on_event: OnEvent = unheard,
) -> list[StudyTable]:
    """Train what is missing, and measure: what docs/studies.md is made of.

    Args:
        question: ``difference``, difference maps against true-class CAMs; ``imbalance``, 9:1 data with a one-logit
            head; ``case``, class sensitivity, fidelity and the collapse of CASE.
        runs: Of ``difference``: output folders, run directories or runs to measure; None trains what is missing.
        task: A name, several (also as one text joined by commas), or ``all``.
        seeds: How many, from 0; a range as ``"5-9"``; or which.
        data: Of ``difference``: the data of ``runs``, where it was moved.
        images: At most so many test images are covered.
        k: Of ``case``: per cent of the cells that are compared.
        tau: Of ``case``: per cent that agreement is to be below.
        epochs: Of the collapse of CASE.
        protocol: A protocol's name.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``; for training.
        workers: Processes that train; 0 trains in this one, None takes as many as the machine has room for.
        out: The output folder; runs it already holds are not run again.
        say: Told what is being measured.
        on_event: Told of every epoch and of every run that ends.

    Returns:
        One table; of ``case`` four.

    Raises:
        UserError: Something is not known by that name, or there is no run with a result.

    Example:
        >>> import divsal_bench
        >>> (table,) = divsal_bench.study("difference", "runs", images=4)
        >>> sorted(table.frame()["map"].unique())
        ['difference', 'true-class']
    """
    asked = _Asked(
        task=task,
        seeds=seeds,
        protocol=protocol,
        device=device,
        workers=workers,
        out=Path(out),
        say=say,
        on_event=on_event,
    )
    if question == "difference":
        return [difference_table(asked, runs, data, images)]
    if question == "imbalance":
        return [imbalance_table(asked)]
    if question == "case":
        found, opened = asked.trained("cross-entropy"), RunData(None)
        return [
            *class_map_tables(asked, found, opened, images, k, tau),
            collapse_table(asked, found, opened, epochs),
            new_head_table(asked, found, opened),
        ]
    raise unknown("study", question, ("difference", "imbalance", "case"))


def difference_table(asked: _Asked, given: Runs | None, data: str | Path | None, images: int) -> StudyTable:
    """Difference maps against true-class CAMs, for every method."""
    from divsal_bench.studies.difference import difference_numbers

    if given is not None:
        wanted = {name.strip() for name in joined(asked.task, "task").split(",")} - {"all"}
        runs = [run for run in runs_meant(given) if run.record.status == "done"]
    else:
        wanted, runs = set(), asked.trained("all")
    if not runs:
        raise UserError("none of these runs has a result to measure; see `divsal-bench status`")
    rows: Rows = {}
    opened = RunData(data)
    for run in runs_in_order(run for run in runs if not wanted or run.spec.task in wanted):
        asked.say(f"{run.spec.task} {run.record.method_label} seed {run.spec.seed}")
        name = f"{run.spec.task} ({run.spec.data})"
        for kind, found in difference_numbers(run, *network_and_data(run, opened), images).items():
            add_seed(rows, (name, run.record.method_label, kind), found)
    notes = (
        "lift, pe, empty: over the test images with a human map (1 is chance for lift).",
        f"right way: share of at most {images} test images, the same for all, in which covering the map's "
        "largest positive region with the mean colour lowers the margin of the true class; moved: by how many logits "
        "(negative lowers); moved elsewhere: what the same shape does at another place.",
    )
    return StudyTable("Difference map against true-class CAM", ("task (data)", "method", "map"), rows, notes)


def imbalance_table(asked: _Asked) -> StudyTable:
    """Unbalanced against balanced weights on 9:1 data, with a one-logit head."""
    from divsal_bench.data.prepare import prepare_data_set
    from divsal_bench.studies.imbalance import imbalance_numbers

    rows: Rows = {}
    for task in task_names(asked.task):
        for ratio in ("9:1", "1:9"):
            folder = asked.out / "data" / f"{task}-{ratio.replace(':', '-')}"
            if not folder.exists():
                prepare_data_set(
                    plugins.tasks().get(task), plugins.adapters().get("standin"), None, folder, {"ratio": ratio}
                )
            opened = RunData(str(folder))
            methods = "cross-entropy,balanced-cross-entropy"
            for run in asked.trained(methods, task, head="one-logit", data=str(folder)):
                for group, found in imbalance_numbers(run, *network_and_data(run, opened)).items():
                    add_seed(rows, (task, ratio, run.record.method_label, group), found)
    notes = (
        "Stand-ins with negatives to positives in training as the ratio says; validation and test as they are.",
        "error: of that class's in-domain test images at a probability of 0.5. The other columns are of images "
        "predicted as that class: maps of the one logit for the predicted sign, as published.",
        "bias share: |bias| / (|bias| + |what the image adds|); bias for: share of seeds with a bias for that class.",
        "pe, lift (of non-empty maps): only where images of that class have human maps.",
    )
    keys = ("task", "negatives : positives", "weights", "class")
    return StudyTable("Imbalance with a one-logit head", keys, rows, notes)


def class_map_tables(
    asked: _Asked, runs: Sequence[Run], opened: RunData, images: int, k: float, tau: float
) -> list[StudyTable]:
    """Class sensitivity and fidelity of maps, of two classes and of many."""
    from divsal_bench.networks.trained import protocol_of
    from divsal_bench.studies import own_networks
    from divsal_bench.studies.case import class_map_numbers
    from divsal_bench.studies.inputs import split_inputs

    binary: Rows = {}
    many: Rows = {}
    for run in runs:
        asked.say(f"{run.spec.task} cross-entropy seed {run.spec.seed}: maps of two classes")
        model, arrays = network_and_data(run, opened)
        test = split_inputs(arrays, protocol_of(run), "test")
        seen = test.part(np.isin(test.sources, train_sources(arrays)))
        found = class_map_numbers(model, seen, seen.labels, arrays.fingerprint, images, k, tau)
        for kind, numbers in found.items():
            add_seed(binary, (f"{run.spec.task} ({run.spec.data})", kind), numbers)
    for task in [name for name in task_names(asked.task) if name != "cxr"]:
        for run in [run for run in runs if run.spec.task == task]:
            asked.say(f"{task} seed {run.spec.seed}: a class for each category")
            arrays, protocol = opened.arrays(run), protocol_of(run)
            classes, names = own_networks.category_classes(arrays)
            model = own_networks.train_network(arrays, classes, protocol, task, run.spec.seed)
            test = split_inputs(arrays, protocol, "test")
            own = classes[(arrays.rows["split"] == "test").to_numpy()]
            keep = (own >= 0) & np.isin(test.sources, train_sources(arrays))
            found = class_map_numbers(model, test.part(keep), own[keep], arrays.fingerprint, images, k, tau)
            for kind, numbers in found.items():
                add_seed(many, (f"{task} ({len(names)} classes)", kind), numbers)
    notes = (
        f"agreement: per cent of the top {k:g} % cells that the maps of the two likeliest classes share "
        f"(tie-safe; {k:g} by chance); passes: share of seeds in which it is shown to be below τ = "
        f"{tau:g}. The difference map of two classes is one map with two signs: undefined there.",
        "drop: share of the predicted class's probability lost when the map's top 50 % is covered; deletion (low is "
        f"good), insertion (high is good): areas on the probability; on at most {images} correctly "
        "classified in-domain test images, the same for all maps; random, centre: controls.",
        "lift: energy inside the human map over chance, of the true class's map.",
    )
    return [
        StudyTable("Maps of two classes (cross-entropy)", ("task (data)", "map"), binary, notes),
        StudyTable("Maps of many classes: attack species or generators", ("task", "map"), many, notes),
    ]


def collapse_table(asked: _Asked, runs: Sequence[Run], opened: RunData, epochs: int) -> StudyTable:
    """What cross-entropy does to the angle of the two rows, and the angle to CASE, epoch by epoch."""
    from divsal_bench.studies import own_networks
    from divsal_bench.studies.case import case_at_angle
    from divsal_bench.studies.inputs import Inputs, split_inputs

    rows: Rows = {}
    last = min(EPOCHS[-1], epochs)
    protocol = dataclasses.replace(protocols.find_protocol(asked.protocol), epochs=last, weight_decay=0.0)
    for run in runs:
        asked.say(f"{run.spec.task} seed {run.spec.seed}: {last} epochs, watching the angle of the rows")
        arrays = opened.arrays(run)
        test = split_inputs(arrays, protocol, "test")
        if not test.mapped.any():
            continue
        labels = arrays.rows["label"].to_numpy(np.int64, copy=True)

        def watch(epoch: int, model: CamNet, task: str = run.spec.task, test: Inputs = test) -> None:
            if epoch in EPOCHS or epoch == last:
                add_seed(rows, (task, f"{epoch:3d}"), case_at_angle(model, test))

        own_networks.train_network(arrays, labels, protocol, run.spec.task, run.spec.seed, watch)
    notes = (
        "cosine, residual: of the two classifier rows; CASE keeps the residual. pe: energy inside the human map of "
        "the true class's map, on test images with a human map, maps that the guard calls undefined (residual < 0.1) "
        "included, so that the collapse is seen; empty, undefined: shares of the CASE maps.",
        f"Cross-entropy without weight decay, {last} epochs, one-cycle schedule of {asked.protocol}.",
    )
    return StudyTable("The collapse of CASE with two classes", ("task", "epoch"), rows, notes)


def new_head_table(asked: _Asked, runs: Sequence[Run], opened: RunData) -> StudyTable:
    """The collapse where training goes on: a new head on the features of finished runs."""
    from divsal_bench.networks.trained import protocol_of
    from divsal_bench.studies.case import train_new_head
    from divsal_bench.studies.inputs import split_inputs

    rows: Rows = {}
    for run in runs:
        asked.say(f"{run.spec.task} seed {run.spec.seed}: a new head on the run's features")
        model, arrays = network_and_data(run, opened)
        train, test = (split_inputs(arrays, protocol_of(run), split) for split in ("train", "test"))
        if test.mapped.any():
            for step, found in train_new_head(model, train, test, run.spec.seed).items():
                add_seed(rows, (run.spec.task, f"{step}"), found)
    notes = (
        "A new head, trained with cross-entropy by whole-batch Adam at 0.01 without weight decay on the features of "
        "the cross-entropy runs, which stay as they are. Columns as above.",
    )
    return StudyTable("The collapse of CASE: the head alone, trained on and on", ("task", "steps"), rows, notes)


def runs_in_order(runs: Iterable[Run]) -> list[Run]:
    """By task, data, method (as the board orders them) and seed."""
    order = {name: place for place, name in enumerate(plugins.ranked_order(plugins.methods().found))}
    return sorted(
        runs,
        key=lambda run: (
            run.spec.task, run.spec.data_fingerprint, order.get(run.spec.method, 99), run.record.method_label,
            run.spec.seed,
        ),
    )  # fmt: skip


def network_and_data(run: Run, opened: RunData) -> tuple[CamNet, DataArrays]:
    """A run's network, made deterministic as it was trained, and its data."""
    from divsal_bench.networks import devices
    from divsal_bench.networks.trained import load_model, protocol_of

    devices.make_deterministic(protocol_of(run).threads)
    return load_model(run), opened.arrays(run)


def train_sources(arrays: DataArrays) -> np.ndarray[Any, np.dtype[np.str_]]:
    """Sources of the training split."""
    rows = arrays.rows
    return np.unique(rows.loc[rows["split"] == "train", "source"].to_numpy(dtype=str))
