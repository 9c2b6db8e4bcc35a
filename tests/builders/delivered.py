"""A small data set as its owner would deliver it, with real files."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from PIL import Image


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
