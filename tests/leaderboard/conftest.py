"""Runs without training, what publishing knows of their data, and results that were submitted from them."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from written_runs import draw, write_run

from divsal_bench.leaderboard.accepted import submission
from divsal_bench.leaderboard.accepted.publishing import PublicData
from divsal_bench.leaderboard.accepted.submission import SubmissionTerms, Submitted
from divsal_bench.leaderboard.claims import keys
from divsal_bench.leaderboard.claims.gallery import Gallery, GalleryPicture
from divsal_bench.leaderboard.sheets.entries import ROW_COLUMNS
from divsal_bench.runs.reading import Run

MakeRun = Callable[..., Run]


@pytest.fixture
def predictions() -> Callable[..., pd.DataFrame]:
    """The table of one run's predictions: (strength, seed, noise, maps)."""
    return draw


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Write one run and read it back."""
    return functools.partial(write_run, tmp_path)


#: A PNG of one black pixel.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="


def public_data(key: str = "f") -> PublicData:
    """What publishing knows of the data of :func:`write_run`, with one picture and made-up maps."""
    table = draw(1.5, 0).rename(columns={"sample_id": "key"}).sort_values("key", ignore_index=True)
    first = table[table["split"] == "test"].iloc[0]
    name = keys.hashed(first["key"], key * 64, "sample")
    picture = GalleryPicture(
        key=name, label=0, condition=str(first["condition"]), image=PIXEL, human=[[0.0, 1.0], [0.25, 0.5]],
        credit="drawn by code",
    )  # fmt: skip
    gallery = Gallery(class_names=("normal", "abnormal"), pictures=[picture])
    maps = [[[0.123456789, -1.0], [2.0, 3.0]], [[4.0, 5.0], [6.0, 7.0]]]
    return PublicData(table[list(ROW_COLUMNS)], "yes", gallery, lambda run: {name: maps})


def write_published(out: Path, *arguments: Any, **options: Any) -> Run:
    """As :func:`write_run`, with weights that nobody can load."""
    run = write_run(out, *arguments, **options)
    (run.path / "model.safetensors").write_bytes(run.record.run_id.encode())
    return run


def write_results(
    out: Path, runs: list[Run], data: PublicData | None = None, by: str = "Ann", **terms: Any
) -> list[Submitted]:
    """Submit runs to a results folder."""

    def where(run: Run) -> str:
        return f"{run.spec.method}/seed{run.spec.seed}/model.safetensors"

    known = {run.spec.data_fingerprint: data or public_data(run.spec.data_fingerprint[0]) for run in runs}
    full = SubmissionTerms(**{"by": by, "where": where, "describe": lambda name: f"About {name}.", **terms})
    return submission.write_results(runs, known, out, full)


@pytest.fixture
def public() -> PublicData:
    """What publishing knows of the data of ``make_run``."""
    return public_data()


@pytest.fixture
def make_published(tmp_path: Path) -> MakeRun:
    """As ``make_run``, with weights that nobody can load."""
    return functools.partial(write_published, tmp_path)


@pytest.fixture
def five(make_published: MakeRun) -> Callable[..., list[Run]]:
    """The runs of a claim, seeds 0 to 4: as ``make_published`` without the seed."""

    def make(method: str = "cyborg", *arguments: Any, **options: Any) -> list[Run]:
        return [make_published(method, seed, *arguments, **options) for seed in range(5)]

    return make


@pytest.fixture
def submit(tmp_path: Path) -> Callable[..., list[Submitted]]:
    """Submit runs to ``tmp_path / "results"``: (runs, data, by, other terms)."""
    return functools.partial(write_results, tmp_path / "results")


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs and results of two methods with five seeds, once for all tests."""
    folder = tmp_path_factory.mktemp("written")
    runs = [write_published(folder, method, seed) for method in ("cross-entropy", "cyborg") for seed in range(5)]
    write_results(folder / "results", runs)
    return folder


@pytest.fixture
def results(written: Path, tmp_path: Path) -> Path:
    """A results folder of one's own, with two methods of five seeds."""
    return Path(shutil.copytree(written / "results", tmp_path / "results"))


@pytest.fixture(scope="session")
def reproduction(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Run], list[Run]]:
    """Ann's result of five seeds, Bob's five new seeds, and five of a method that is not what Ann says."""
    folder = tmp_path_factory.mktemp("reproduction")
    write_results(folder / "results", [write_published(folder, "cyborg", seed) for seed in range(5)])
    bob = [[write_published(folder / name, "cyborg", seed, strength) for seed in range(5, 10)]
           for name, strength in (("honest", 1.5), ("weak", 0.2))]  # fmt: skip
    return folder / "results", bob[0], bob[1]
