"""A small data set as its owner would deliver it, with real files."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from divsal_bench.contracts.task import StandIn, Task
from divsal_bench.data.prepare import prepare
from divsal_bench.tasks.adapters.manifest_csv import ADAPTER


def picture(seed: int, size: tuple[int, int] = (12, 10), mode: str = "L", kind: str = "PNG", **save) -> bytes:
    """A noise image of (width, height), different for every seed."""
    depth = {"L": (), "RGB": (3,)}[mode]
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], *depth), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=kind, **save)
    return file.getvalue()


def mask(size: tuple[int, int] = (12, 10), value: int = 255, fill: int = 0) -> bytes:
    """A map of (width, height) whose top left quarter holds ``value``."""
    pixels = np.full((size[1], size[0]), fill, np.uint8)
    pixels[: size[1] // 2, : size[0] // 2] = value
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


class Delivered:
    """A folder with images and manifest.csv; tests change ``rows`` and files before :meth:`save`."""

    picture = staticmethod(picture)
    mask = staticmethod(mask)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "img").mkdir(parents=True)
        self.rows: list[dict[str, str]] = []
        for split, source in [("train", "a"), ("val", "a"), ("test", "a"), ("test", "b")]:
            for number in range(4):
                self.add(split, source, "abnormal" if number % 2 else "normal", f"{split}-{source}-{number}")
        for row in self.rows[:8]:
            if row["label"] == "abnormal":
                row |= {"saliency": row["image"].replace(".png", ".map.png"), "saliency_kind": "mask"}
                self.file(row["saliency"]).write_bytes(mask())

    def add(self, split: str, source: str, label: str, name: str) -> dict[str, str]:
        row = {
            "image": f"img/{name}.png",
            "label": label,
            "split": split,
            "source": source,
            "subject": f"person {name}",
            "saliency": "",
            "saliency_kind": "none",
            "licence": "CC BY 4.0",
            "redistribute": "yes",
        }
        self.file(row["image"]).write_bytes(picture(len(self.rows)))
        self.rows.append(row)
        return row

    def file(self, name: str) -> Path:
        return self.folder / name

    def save(self) -> Path:
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        with self.file("manifest.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(self.rows)
        return self.folder


def draw(variant: str, seed: int) -> StandIn:
    """A stand-in of 18 rows, drawn from the seed and different for each variant."""
    generator = np.random.default_rng([seed, len(variant)])
    count = 18
    rows = pd.DataFrame(
        {
            "sample_id": [f"s{number:02d}" for number in range(count)],
            "split": [("train", "validation", "test")[number % 3] for number in range(count)],
            "label": [number // 3 % 2 for number in range(count)],
            "source": ["drawn"] * count,
            "category": ["blob" if number // 3 % 2 else "" for number in range(count)],
            "subject": [f"p{number}" for number in range(count)],
            "saliency_kind": ["mask" if number // 3 % 2 else "none" for number in range(count)],
        }
    )
    maps = np.zeros((count, 16, 16), np.uint8)
    maps[rows["saliency_kind"].to_numpy() == "mask", 4:8, 4:8] = 255
    return StandIn(rows, generator.integers(0, 256, (count, 16, 16), np.uint8), maps)


@pytest.fixture
def task() -> Task:
    return Task(
        name="cxr",
        version=1,
        title="Chest X-ray",
        description="normal or abnormal?",
        class_names=("normal", "abnormal"),
        channels=1,
        category_meaning="finding",
        field_metrics=(),
        draw_standin=draw,
        standin_version=1,
        citation="",
        licence="",
    )


@pytest.fixture
def delivered(tmp_path: Path) -> Delivered:
    return Delivered(tmp_path / "delivered")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIVSAL_BENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def ready(delivered: Delivered, task: Task, home: Path) -> Path:
    """The small data set, prepared in the default place."""
    return prepare(task, ADAPTER, delivered.save(), home / "data" / "cxr").path
