"""Every kind of board that is simulated: its methods, their true effects, and what makes it hard."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from divsal_bench.errors import unknown
from divsal_bench.leaderboard.statistics.families import BASELINE, MIN_SEEDS, REFERENCE
from divsal_bench.words import Kind

Floats = npt.NDArray[np.float64]
#: Six ranked methods and one control: every family and every pair exists.
METHODS: dict[str, Kind] = {
    BASELINE: "unguided",
    "balanced-cross-entropy": "unguided",
    REFERENCE: "one-cam",
    "difference": "two-cam",
    "contrast": "two-cam",
    "margin": "two-cam",
    "cyborg-shuffled": "control",
}
#: Nine ranked methods and three controls.
MORE_METHODS: dict[str, Kind] = {
    **METHODS,
    "one-cam submission": "one-cam",
    "two-cam submission": "two-cam",
    "unguided submission": "unguided",
    "cyborg-inverted": "control",
    "cyborg-center": "control",
}
#: Factor of the baseline's `seed_sd` that makes the seed sd of its AUROC 4 times the others' of 0.06.
NOISY = 6.7
#: Factors that make it 6 and 10 times the others'; with the second a mean of .85 has seeds from .4 to 1.
NOISIER, UNSTABLE = 10.0, 20.0
#: Gains in population AUROC where there are true effects; every family of two or more keeps a true null.
EFFECTS = {REFERENCE: 0.03, "difference": 0.03, "contrast": 0.05, "margin": 0.07}
#: Population AUROCs .50, .55, .56, .60, .65 and .44 around a `level` of .50; the lower condition of .55 is at .50.
CHANCE = {REFERENCE: 0.05, "difference": 0.06, "contrast": 0.10, "margin": 0.15, "cyborg-shuffled": -0.06}
#: Losses against the baseline: none, just the one that is let pass, and two that are not.
LOSSES = {REFERENCE: -0.02, "difference": -0.06, "contrast": -0.12}


@dataclass(frozen=True)
class SimulatedCell:
    """One kind of board.

    Attributes:
        name: What `--cells` takes.
        seeds: n, at least 2.
        image_effect: Sd of the method x image effect, in score sd, in [0, 0.9].
        design: A key of `DESIGNS`.
        seed_sd: Sd of a run's separation, in score sd; with 0.1 and the noise an AUROC of .85 has a seed sd
            of about .018.
        baseline_factor: How many times that the baseline's is.
        level: Population AUROC of a method without an effect, the mean over conditions.
        kinds: Kind of each method, the baseline first.
        gains: Population AUROC above `level`, of the methods that have a true effect.
        spread: Factor of the design's `offsets`.
        heavy_tails: Whether what differs between images is t with 3 degrees of freedom instead of normal.
        cut: Scores outside are set to the nearer end, so that they tie; None for none.
        is_beyond: Whether it lies beyond what is promised, and is shown without pass marks.
    """

    name: str
    seeds: int
    image_effect: float = 0.35
    design: str = "plain"
    seed_sd: float = 0.1
    baseline_factor: float = 1.0
    level: float = 0.85
    kinds: dict[str, Kind] = field(default_factory=lambda: METHODS)
    gains: dict[str, float] = field(default_factory=dict)
    spread: float = 1.0
    heavy_tails: bool = False
    cut: tuple[float, float] | None = None
    is_beyond: bool = False

    @property
    def is_marked(self) -> bool:
        """Whether pass marks apply: with fewer than `MIN_SEEDS` seeds the product prints no p and no rank."""
        return self.seeds >= MIN_SEEDS and not self.is_beyond

    @property
    def auroc(self) -> Floats:
        """(k,) AUROC of each method over new seeds and new subjects, the mean over conditions."""
        return np.array([self.level + self.gains.get(name, 0.0) for name in self.kinds])


def cells() -> dict[str, SimulatedCell]:
    """List every kind of board by name: each at n = 5 and 10, and two at n = 3."""
    found = []
    for n in (5, 10):
        found += [
            SimulatedCell(f"equal-0-n{n}", n, image_effect=0.0),
            SimulatedCell(f"equal-0.2-n{n}", n, image_effect=0.2),
            SimulatedCell(f"equal-0.35-n{n}", n),
            SimulatedCell(f"clustered-n{n}", n, design="clustered"),
            SimulatedCell(f"four-conditions-n{n}", n, design="four conditions"),
            SimulatedCell(f"noisy-baseline-n{n}", n, image_effect=0.2, seed_sd=0.06, baseline_factor=NOISY),
            SimulatedCell(f"nine-methods-n{n}", n, image_effect=0.0, kinds=MORE_METHODS),
            SimulatedCell(f"near-ceiling-n{n}", n, level=0.93),
            SimulatedCell(f"few-subjects-n{n}", n, design="few subjects", level=0.93),
            SimulatedCell(f"effects-n{n}", n, image_effect=0.2, seed_sd=0.06, gains=EFFECTS),
            SimulatedCell(f"clustered-effects-n{n}", n, design="clustered", seed_sd=0.15, gains=EFFECTS),
        ]
        found += [
            SimulatedCell(f"{count}-mixed-subjects-n{n}", n, design=f"{count} mixed") for count in (5, 10, 20, 40)
        ]  # fmt: skip
        found += [
            SimulatedCell(f"dominant-subject-n{n}", n, design="dominant"),
            SimulatedCell(f"large-subject-n{n}", n, design="large"),
            SimulatedCell(f"large-negative-subject-n{n}", n, design="large, negative"),
            SimulatedCell(f"uneven-subjects-n{n}", n, design="uneven"),
            SimulatedCell(f"small-classes-n{n}", n, design="small classes"),
            SimulatedCell(f"rare-positives-n{n}", n, design="rare positives"),
            SimulatedCell(f"heavy-tails-n{n}", n, heavy_tails=True),
            SimulatedCell(f"saturated-n{n}", n, cut=(0.0, 1.5)),
            SimulatedCell(f"ceiling-n{n}", n, level=0.995, spread=0.04),
            SimulatedCell(f"noisier-baseline-n{n}", n, image_effect=0.2, seed_sd=0.06, baseline_factor=NOISIER),
            SimulatedCell(
                f"unstable-baseline-n{n}", n, image_effect=0.2, seed_sd=0.06, baseline_factor=UNSTABLE, is_beyond=True
            ),
            SimulatedCell(f"chance-n{n}", n, image_effect=0.2, level=0.5, gains=CHANCE),
            SimulatedCell(f"losses-n{n}", n, image_effect=0.2, seed_sd=0.06, level=0.9, gains=LOSSES),
        ]
    found += [SimulatedCell("reproduction-n15", 15)]
    found += [
        SimulatedCell("equal-0.35-n3", 3),
        SimulatedCell("effects-n3", 3, image_effect=0.2, seed_sd=0.06, gains=EFFECTS),
    ]
    return {cell.name: cell for cell in found}


def cells_named(text: str) -> list[SimulatedCell]:
    """Read `all`, or names joined by commas; UserError if one is not known."""
    known = cells()
    if text == "all":
        return list(known.values())
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names or [text]:
        if name not in known:
            raise unknown("cell", name, known)
    return [known[name] for name in names]
