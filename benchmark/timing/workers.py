"""Grids of runs by several workers against one, with as many threads together."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.errors import UserError, plural
from divsal_bench.grid import planning, pool
from divsal_bench.grid.jobs import Job
from divsal_bench.registry import plugins
from divsal_bench.runs.records import DataFacts, Spec
from divsal_bench.timing.contenders import PLAIN
from divsal_bench.timing.pairs import Contender

if TYPE_CHECKING:
    from divsal_bench.data.arrays import DataArrays
    from divsal_bench.timing.setting import Setting

#: Runs of a grid for each of the workers, and epochs of a run.
RUNS_EACH, EPOCHS = 3, 6


class GridOfRuns:
    """A grid; a step makes all its runs in a new folder, start-up of the workers included."""

    def __init__(self, setting: Setting, data: DataArrays, workers: int, threads: int, runs: int) -> None:
        self.setting, self.data, self.workers, self.runs = setting, data, workers, runs
        self.protocol = dataclasses.replace(setting.protocol, threads=threads, epochs=EPOCHS)

    def step(self) -> None:
        """Make all runs.

        Raises:
            UserError: One of them failed.
        """
        with tempfile.TemporaryDirectory(prefix="divsal-bench-speed-") as folder:
            made = pool.run_jobs(self.jobs(Path(folder, "runs")), self.workers)
            errors = [run.record.error for run in made if run.record.status != "done"]
        if errors:
            raise UserError(f"{plural(len(errors), 'run')} of the grid that was timed gave no result: {errors[0]}")

    def jobs(self, out: Path) -> list[Job]:
        """Cross-entropy, seed after seed."""
        rows, method = self.data.rows, plugins.methods().get(PLAIN)
        count = rows["split"].value_counts()
        train_maps = int(rows.loc[rows["split"] == "train", "has_map"].sum())
        facts = DataFacts(
            kind="standin", revision="", pixel_hash=self.data.pixel_hash, train=int(count["train"]),
            validation=int(count["validation"]), test=int(count["test"]), train_maps=train_maps,
        )  # fmt: skip
        task = plugins.tasks().get(next(name for name, one in plugins.tasks().found.items()
                                        if one.channels == self.setting.channels))  # fmt: skip
        return [
            Job(
                spec=Spec(
                    task=task.name, task_version=task.version, data="speed", data_fingerprint=self.data.fingerprint,
                    method=PLAIN, method_version=method.version, fields={}, backbone=self.setting.backbone,
                    weights="scratch", head="two-logit", protocol=self.protocol.name,
                    protocol_settings=planning.settings_as_json(self.protocol), seed=seed,
                ),
                label=PLAIN, kind=method.kind, cache=str(self.data.path), data=facts, out=str(out),
                device=str(self.setting.device),
            )
            for seed in itertools.islice(itertools.count(), self.runs)
        ]  # fmt: skip


def grid_contenders(setting: Setting, data: DataArrays, workers: int) -> tuple[Contender, Contender]:
    """Several workers, and one that has their threads; an image is a run here."""
    threads, runs = setting.protocol.threads, RUNS_EACH * workers
    return (
        Contender(plural(workers, "worker"), runs, lambda: GridOfRuns(setting, data, workers, threads, runs)),
        Contender(plural(1, "worker"), runs, lambda: GridOfRuns(setting, data, 1, threads * workers, runs)),
    )
