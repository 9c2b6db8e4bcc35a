"""Tables and galleries for the page without training: scores drawn from seeds, pictures painted on the spot."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from PIL import Image

from divsal_bench.leaderboard.claims.gallery import Gallery, GalleryPicture
from divsal_bench.leaderboard.sheets.entries import Entry, Group, Sheet, Standing
from divsal_bench.leaderboard.tables import board
from divsal_bench.leaderboard.tables.schema import Table
from divsal_bench.scores.conditions import assign, conditions
from divsal_bench.scores.scoring import score

Parts = Sequence[tuple[str, str, str, int, int]]
#: Split, source, category, label, number: an in-domain part, an unseen source and two unseen categories.
PAD: Parts = (
    ("train", "sensor-a", "", 0, 2), ("train", "sensor-a", "print", 1, 2),
    ("validation", "sensor-a", "", 0, 120), ("validation", "sensor-a", "print", 1, 60),
    ("test", "sensor-a", "", 0, 120), ("test", "sensor-a", "print", 1, 60),
    ("test", "sensor-a", "lens-dots", 1, 60), ("test", "sensor-a", "artificial", 1, 50),
    ("test", "sensor-b", "", 0, 60), ("test", "sensor-b", "print", 1, 60),
)  # fmt: skip
#: The same with one source more, that has negatives alone.
CXR: Parts = (*PAD, ("test", "hospital-negatives", "", 0, 40))


@dataclass(frozen=True)
class Fake:
    """One method: how far its scores separate the classes, in-domain and where training never was.

    One that is the twin of the method at a place of the list has its very scores.
    """

    label: str
    kind: str
    seeds: int = 10
    inside: float = 3.0
    outside: float = 1.2
    lift: float = 1.5
    failed: int = 0
    diverged: int = 0
    standing: Standing | None = None
    first_seed: int = 0
    twin_of: int | None = None


#: Nine methods: a winner, ties, two marked rows, one too short, one with a failed seed, controls.
METHODS = (
    Fake("cross-entropy", "unguided", lift=1.1),
    Fake("balanced-cross-entropy", "unguided", outside=1.15, lift=1.1),
    Fake("cyborg", "one-cam", outside=1.7, lift=2.4),
    Fake("difference", "two-cam", outside=2.3, lift=2.7),
    Fake("contrast", "two-cam", outside=2.2, lift=2.9),
    Fake("margin:alpha=0.3", "two-cam", inside=0.9, outside=1.3, lift=1.9),
    Fake("gradient-penalty", "one-cam", outside=-0.1, lift=0.7),
    Fake("cyborg-shuffled", "control", outside=1.1, lift=1.0),
    Fake("cyborg-center", "control", outside=1.2, lift=1.3),
)
OUTSIDE = (
    Fake("energy", "one-cam", seeds=4, outside=1.9, failed=1, lift=2.0),
    Fake("quick-look", "two-cam", seeds=3, outside=1.6, lift=1.6),
)
COMMIT = "https://huggingface.co/some-lab/cxr-cyborg/tree/0123456789abcdef0123456789abcdef01234567"
STANDINGS = (
    Standing("reproduced", "5 new seeds by another lab: 0.842 against 0.839 claimed, tolerance 0.011",
             dict.fromkeys(range(10), COMMIT), "Some Lab", "Training with maps of where people look."),
    Standing("verified", "predictions recomputed from the weights, |ΔAUROC| 2e-6", {0: COMMIT}, "A. Person", ""),
    Standing("not reproduced", "5 new seeds: 0.71 against 0.78 claimed, tolerance 0.02", {}, "Other Lab", ""),
    Standing("reported", "", {0: "weights/model.safetensors (sha256 0a1b2c)"}, "New Group", "One sentence."),
)  # fmt: skip


def rows_of(parts: Parts, per_subject: int = 2) -> pd.DataFrame:
    """Validation and test rows with their conditions; two rows a subject, or as many as asked for."""
    table = pd.DataFrame(
        [
            {"split": split, "source": source, "category": category, "label": label}
            for split, source, category, label, count in parts
            for _ in range(count)
        ]
    )
    table = table.assign(
        sample_id=[f"s{i:04d}" for i in range(len(table))],
        subject=[f"{split}-{i // per_subject}" for i, split in enumerate(table["split"])],
    )
    is_test = (table["split"] == "test").to_numpy()
    names, axes = np.full(len(table), "", object), np.full(len(table), "", object)
    names[is_test] = assign(table)
    for condition in conditions(table):
        axes[np.flatnonzero(is_test)[condition.members]] = condition.axis
    table = table.assign(condition=names, condition_axis=axes)
    return table[table["split"] != "train"].reset_index(drop=True)


def entry(fake: Fake, rows: pd.DataFrame, place: int, metrics: tuple[str, ...], maps: int | None = None) -> Entry:
    """Scores that share the difficulty of each image between methods and seeds.

    Args:
        fake: The method.
        rows: As :func:`rows_of` gives them.
        place: Of the method in its list.
        metrics: The field's own.
        maps: Number of test images with a human map; None gives every positive one.
    """
    inside = rows["condition"].isin(["", "in-domain"]).to_numpy()
    strength = np.where(inside, fake.inside, fake.outside) * rows["label"].to_numpy()
    image = np.random.default_rng(99).normal(size=len(rows))
    mapped = ((rows["split"] == "test") & (rows["label"] == 1)).to_numpy()
    mapped = mapped & (np.cumsum(mapped) <= (len(rows) if maps is None else maps))
    seeds = range(fake.first_seed, fake.first_seed + fake.seeds)
    margins, scores = [], []
    for seed in seeds:
        draw = np.random.default_rng([place if fake.twin_of is None else fake.twin_of, seed])
        margin = strength * (1 + 0.08 * draw.normal()) + image + 0.6 * draw.normal(size=len(rows))
        scored = rows.assign(logit0=0.0, logit1=margin)
        for kind, share in (("true", 1.0), ("difference", 0.85)):
            for name in ("pe", "lift", "auc", "cc", "empty"):
                value = {"lift": fake.lift * share, "empty": 0.0, "pe": 0.1 * fake.lift}.get(name, 0.6)
                scored[f"{kind}_{name}"] = np.where(mapped, value + 0.05 * draw.normal() * (name != "empty"), np.nan)
        margins.append(margin)
        scores.append(score(scored, metrics))
    return Entry(
        label=fake.label,
        kind=fake.kind,  # type: ignore[arg-type]
        method=fake.label.partition(":")[0],
        version=1,
        fields={},
        seeds=tuple(seeds),
        failed=fake.failed,
        diverged=fake.diverged,
        margins=np.array(margins),
        scores=tuple(scores),
        seconds=tuple(11.0 + place + 0.1 * seed for seed in seeds),
        peak_mb=640.0 + 12 * place,
        devices=("cpu",),
        torch_versions=("2.13",),
        origins=tuple(f"{fake.label}/seed-{seed}" for seed in seeds),
        standing=fake.standing,
    )


def drawn_table(
    task: str = "iris-pad", methods: Sequence[Fake] = METHODS, parts: Parts = PAD, data: str = "standin",
    standin: bool = True, metrics: tuple[str, ...] = ("apcer@bpcer=1%", "bpcer@bpcer=1%", "d-eer"),
    protocol: str = "quick-v1", backbone: str = "resnet10t", per_subject: int = 2, maps: int | None = None,
    train: int | None = None, train_maps: int | None = None,
) -> Table:  # fmt: skip
    """One table of made-up methods."""
    rows = rows_of(parts, per_subject)
    entries = [entry(fake, rows, place, metrics, maps) for place, fake in enumerate(methods)]
    group = Group(task, "3f5a" * 16, protocol, backbone, "two-logit", "0a1b2c3d")
    scored = any(fake.seeds for fake in methods)
    sheet_rows = rows.rename(columns={"sample_id": "key"}) if scored else None
    ordered = tuple(sorted(entries, key=lambda e: e.label))
    return board.table_of_sheet(
        Sheet(group, data, sheet_rows, ordered, standin, "2026-11-21T10:00:00Z", train, train_maps)
    )  # fmt: skip


@dataclass(frozen=True)
class Painter:
    """Draws pictures with a bright spot, and maps that find it more or less."""

    side: int = 64
    grid: int = 8
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))

    def spot(self, size: int, x: float, y: float, width: float) -> np.ndarray:
        """A Gaussian on a (size, size) grid; x, y and width in shares of the side."""
        at = (np.arange(size) + 0.5) / size
        return np.asarray(np.exp(-((at[None, :] - x) ** 2 + (at[:, None] - y) ** 2) / (2 * width**2)))

    def picture(self, key: str, label: int, condition: str, at: tuple[float, float], human: bool) -> GalleryPicture:
        """A noisy picture with a spot where the evidence is."""
        base = 0.35 + 0.25 * self.spot(self.side, 0.5, 0.5, 0.3) + 0.1 * self.rng.normal(size=(self.side, self.side))
        pixels = np.clip(base + 0.4 * label * self.spot(self.side, *at, 0.08), 0, 1)
        file = io.BytesIO()
        Image.fromarray((255 * pixels).astype(np.uint8), "L").save(file, "PNG")
        return GalleryPicture(
            key=key,
            label=label,
            condition=condition,
            image=base64.b64encode(file.getvalue()).decode("ascii"),
            human=self.spot(self.grid, *at, 0.13).round(3).tolist() if human else None,
            credit="drawn by code, Apache-2.0",
        )

    def cams(self, label: int, at: tuple[float, float], aim: float) -> list[list[list[float]]]:
        """Class CAMs whose true class looks at the spot with weight ``aim``, elsewhere with the rest."""
        noise = self.rng.normal(0, 0.25, (2, self.grid, self.grid))
        elsewhere = self.spot(self.grid, 0.2, 0.8, 0.2)
        true = 4 * aim * self.spot(self.grid, *at, 0.14) + 3 * (1 - aim) * elsewhere - 0.4 + noise[0]
        # A sure method leaves nothing for the other class.
        false = -0.1 - 0.5 * np.abs(true) if aim > 0.75 else 1.5 * elsewhere - 0.7 + noise[1]
        return [one.round(3).tolist() for one in ((false, true) if label else (true, false))]


def drawn_gallery(table: Table, pictures: int = 4, side: int = 64, grid: int = 8) -> Gallery:
    """The same pictures for every method but the last, which has no maps of the first picture."""
    painter = Painter(side, grid)
    spots = [(0.35, 0.4), (0.62, 0.55), (0.5, 0.3), (0.3, 0.66), (0.6, 0.6), (0.45, 0.5)][:pictures]
    names = ("lens-dots", "sensor-b", "in-domain", "artificial", "in-domain", "sensor-b")
    chosen = [
        painter.picture(f"k{i}", int(i != 2), names[i], at, human=i != 2) for i, at in enumerate(spots)
    ]  # fmt: skip
    maps = {
        row.label: {
            picture.key: painter.cams(picture.label, at, 0.2 + 0.09 * place)
            for picture, at in zip(chosen, spots, strict=True)
        }
        for place, row in enumerate(table.rows)
    }
    maps[table.rows[-1].label].pop("k0")
    return Gallery(class_names=("bona fide", "attack"), pictures=chosen, maps=maps)
