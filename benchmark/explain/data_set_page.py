"""The HTML page of an explained data set: one file, no script, nothing asked from anywhere, everything escaped."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from divsal_bench.data.terms import may_show
from divsal_bench.explain.data_set import KINDS, Overview
from divsal_bench.explain.data_set_table import MEANING
from divsal_bench.explain.image_figure import as_picture
from divsal_bench.files import html_page
from divsal_bench.pictures import colours, figure
from divsal_bench.pictures.figure import Panel

if TYPE_CHECKING:
    from PIL.Image import Image

    from divsal_bench.contracts.adapter import SourceTerms
    from divsal_bench.data.arrays import DataArrays

TEMPLATES = Path(__file__).with_name("templates")
#: Side of a picture on the page, pixels.
SIDE = 132


@dataclass(frozen=True)
class Heading:
    """What the page is about, for people.

    Attributes:
        task, data, method, run_id: Of the run.
        seed: Of the run.
        class_names: Of class 0 and class 1.
        threshold: On the score, in words.
    """

    task: str
    data: str
    method: str
    run_id: str
    seed: int
    class_names: tuple[str, str]
    threshold: str


@dataclass(frozen=True)
class Picture:
    """One picture: its data URL and what it shows in words."""

    source: str
    alt: str


@dataclass(frozen=True)
class MeanRow:
    """One condition: for each class, the count and the three mean maps; None without images."""

    condition: str
    classes: tuple[tuple[int, tuple[Picture, ...]] | None, ...]


@dataclass(frozen=True)
class CellView:
    """One class that images are called."""

    decision: str
    count: int
    without: int
    against: int
    share: Picture
    logits: Picture
    top: tuple[tuple[int, int, float, float], ...]


@dataclass(frozen=True)
class Card:
    """One sample of a list."""

    sample: str
    label: str
    decision: str
    correct: bool
    condition: str
    facts: tuple[tuple[str, str], ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Cards:
    """One list of samples."""

    title: str
    about: str
    none: str
    cards: tuple[Card, ...]


def render(found: Overview, data: DataArrays, terms: Mapping[str, SourceTerms] | None, heading: Heading) -> str:
    """Write the page.

    Args:
        found: What it shows.
        data: The images; they are shown where the terms allow it, and nothing of them elsewhere.
        terms: Source to what its owner allows; None for a stand-in, which is ours.
        heading: What it is about.

    Returns:
        HTML with its styles in it, named by their hash in the content security policy.
    """
    made = html_page.escaping_templates(TEMPLATES)
    made.filters |= {"signed": signed, "share": share}
    shown = Shown(data, terms)
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    extent = figure.extent_of(*[one.maps[kind] for one in found.means for kind in KINDS])
    logits = figure.extent_of(*[one.logits for one in found.cells])
    under = shown.mean(found.positions)
    return made.get_template("report.html.j2").render(
        heading=heading,
        found=found,
        hidden=shown.hidden(found),
        underlay=under is not None,
        style=style,
        policy=html_page.content_policy([style]),
        extent=extent,
        logits_extent=logits,
        means=mean_rows(found, heading, under, extent),
        cells=[cell_view(found, number, heading, under, logits) for number in range(len(found.cells))],
        ramps={"signed": ramp(True), "plain": ramp(False)},
        lists=lists(found, shown),
        meaning=meaning(found),
        totals=[(sum(one.wrong[k] for one in found.errors), sum(one.count[k] for one in found.errors)) for k in (0, 1)],
    )


def meaning(found: Overview) -> dict[str, str]:
    """What the columns of samples.csv mean, of those that are there."""
    needs_maps = ("true_…, difference_…", "deciding_inside")
    return {name: text for name, text in MEANING.items() if found.mapped or name not in needs_maps}


class Shown:
    """Which images may be shown."""

    def __init__(self, data: DataArrays, terms: Mapping[str, SourceTerms] | None) -> None:
        """As :func:`render`."""
        self.data, self.terms = data, terms

    def allows(self, position: int) -> bool:
        """Whether an image of the data may be shown."""
        return self.terms is None or may_show(self.terms.get(str(self.data.rows["source"].iloc[position])))

    def hidden(self, found: Overview) -> list[str]:
        """The sources whose images are not shown."""
        sources = self.data.rows["source"].iloc[found.positions]
        return sorted({str(s) for s, at in zip(sources, found.positions, strict=True) if not self.allows(int(at))})

    def mean(self, positions: np.ndarray) -> np.ndarray | None:
        """The mean image, to lay mean maps on; None where one of the images may not be shown."""
        if not all(self.allows(int(position)) for position in positions):
            return None
        total = np.zeros(self.data.images.shape[1:])
        for position in positions:
            total += self.data.images[position]
        return as_picture((total / len(positions)).round().astype(np.uint8))


def base(pixels: np.ndarray | None) -> Image:
    """What a map is laid on: an image, or an even grey."""
    from PIL.Image import Resampling

    plain = np.full((8, 8), 238, np.uint8)
    return figure.square(plain if pixels is None else pixels).resize((SIDE, SIDE), Resampling.LANCZOS)


def laid(pixels: np.ndarray | None, panel: Panel, alt: str) -> Picture:
    """A map on an image, for the page."""
    return Picture(url(figure.with_map(base(pixels), panel)), alt)


def url(image: Image) -> str:
    """An image as a data URL."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=88, subsampling=0)
    return colours.data_url(file.getvalue(), "jpeg")


def ramp(is_signed: bool) -> str:
    """A colour scale, for the legends."""
    return url(figure.colour_bar(160, 10, is_signed))


def mean_rows(found: Overview, heading: Heading, under: np.ndarray | None, extent: float) -> list[MeanRow]:
    """Mean maps, one row a condition."""
    by_place = {(one.condition, one.label): one for one in found.means}
    rows = []
    for condition in dict.fromkeys(one.condition for one in found.means):
        classes: list[tuple[int, tuple[Picture, ...]] | None] = []
        for label in (0, 1):
            one = by_place.get((condition, label))
            if one is None:
                classes.append(None)
                continue
            names = {"true": heading.class_names[label], "false": heading.class_names[1 - label]}
            about = {kind: f"mean CAM of {name}" for kind, name in names.items()}
            about["difference"] = f"mean difference map, {names['true']} − {names['false']}"
            made = tuple(
                laid(
                    under,
                    Panel("", one.maps[kind], extent, True),
                    f"{about[kind]}, {heading.class_names[label]} images, {condition}: mean over the grid "
                    f"{signed(float(one.maps[kind].mean()))} logits",
                )
                for kind in KINDS
            )
            classes.append((one.count, made))
        rows.append(MeanRow(condition, tuple(classes)))
    return rows


def cell_view(found: Overview, number: int, heading: Heading, under: np.ndarray | None, extent: float) -> CellView:
    """Where the decisions for one class come from."""
    one = found.cells[number]
    name = heading.class_names[one.decision]
    top = one.top()
    marks = np.zeros((min(len(top), 3), *one.share.shape), bool)
    for mark, (y, x) in zip(marks, top, strict=False):
        mark[y, x] = True
    return CellView(
        decision=name,
        count=one.count,
        without=one.without,
        against=one.against,
        share=laid(under, Panel("", one.share), f"how often each cell lies in the region that decides for {name}"),
        logits=laid(
            under,
            Panel("", one.logits, extent, True, outlines=list(marks), numbered=False),
            f"mean logits of each cell towards {name}",
        ),
        top=tuple((y + 1, x + 1, float(one.share[y, x]), float(one.logits[y, x])) for y, x in top),
    )


def lists(found: Overview, shown: Shown) -> list[Cards]:
    """The samples to look at."""
    found_lists = []
    if found.mapped:
        found_lists.append(
            Cards(
                "Model and people disagree most",
                "The images whose difference map (true − false) lies least inside the human map: the lowest lift.",
                "No image has a lift.",
                cards(found, shown, found.low_lift),
            )
        )
    found_lists.append(
        Cards(
            "Covering what decided does not weaken the decision",
            "The region that decided was covered with the mean colour, and the margin moved towards the decision all "
            "the same: its logits add up to the margin, but are not what holds the decision.",
            "Wherever a region decided, covering it weakened the decision.",
            cards(found, shown, found.failures),
        )
    )
    found_lists.append(
        Cards(
            "Most confident errors",
            "Wrong decisions, the farthest from the threshold first.",
            "No decision is wrong.",
            cards(found, shown, found.confident),
        )
    )
    return found_lists


def cards(found: Overview, shown: Shown, rows: Sequence[int]) -> tuple[Card, ...]:
    """Samples with their difference maps and, where that is allowed, image and human map."""
    return tuple(card(found, shown, row) for row in rows)


def card(found: Overview, shown: Shown, row: int) -> Card:
    """One sample."""
    own = found.table.iloc[row]
    position = int(found.positions[row])
    allowed = shown.allows(position)
    pixels = as_picture(np.array(shown.data.images[position])) if allowed else None
    values, cells = found.differences[row], found.deciding[row]
    extent = figure.extent_of(values)
    marks = [cells] if cells.any() else []
    pictures = []
    if allowed:
        pictures.append(Picture(url(base(pixels)), f"image {own['sample_id']}"))
        if shown.data.rows["has_map"].iloc[position]:
            human = np.array(shown.data.maps[position]) / 255.0
            pictures.append(laid(pixels, Panel("", human), "human map"))
    alt = f"difference map, true − false, ±{extent:.3g} logits; the region that decided is outlined"
    pictures.append(laid(pixels, Panel("", values, extent, True, outlines=marks, numbered=False), alt))
    facts = [("margin of the true class", signed(float(own["margin_true"])))]
    if "difference_lift" in own and not math.isnan(own["difference_lift"]):
        facts.append(("lift", f"{own['difference_lift']:.2f}"))
    if cells.any():
        facts.append(("region that decided", signed(float(own["deciding_logits"]))))
        facts.append(("covered, moves the decision's margin by", signed(float(own["covered_moves"]))))
    else:
        facts.append(("region that decided", "none"))
    facts.append(("scale of the map", f"±{extent:.3g}"))
    return Card(
        sample=str(own["sample_id"]),
        label=str(own["label"]),
        decision=str(own["decision"]),
        correct=bool(own["correct"]),
        condition=str(own["condition"]),
        facts=tuple(facts),
        pictures=tuple(pictures),
    )


def signed(value: float) -> str:
    """Logits, with a sign."""
    return f"{value:+.3f}".replace("-", "−") if math.isfinite(value) else "–"


def share(value: float) -> str:
    """A share in [0, 1]."""
    return f"{value:.2f}" if math.isfinite(value) else "–"
