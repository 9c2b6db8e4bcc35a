"""The HTML page of an explained data set: one file, no script, nothing asked from anywhere, everything escaped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from divsal_bench.explanation.data_set_overview import KINDS, Overview
from divsal_bench.explanation.data_set_pictures import (
    PagePicture,
    ShownImages,
    colour_ramp,
    jpeg_data_url,
    map_on_image,
    picture_base,
)
from divsal_bench.explanation.data_set_table import MEANING
from divsal_bench.explanation.image_figure import as_picture
from divsal_bench.files import html_page
from divsal_bench.pictures import figure
from divsal_bench.pictures.figure import Panel

if TYPE_CHECKING:
    from divsal_bench.contracts.adapter import SourceTerms
    from divsal_bench.data.arrays import DataArrays
    from divsal_bench.prediction.pretrained import Pretrained

TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class ReportHeading:
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
class MeanMapRow:
    """One condition: for each class, the count and the three mean maps; None without images."""

    condition: str
    classes: tuple[tuple[int, tuple[PagePicture, ...]] | None, ...]


@dataclass(frozen=True)
class DecisionView:
    """One class that images are called."""

    decision: str
    count: int
    without: int
    against: int
    share: PagePicture
    logits: PagePicture
    top: tuple[tuple[int, int, float, float], ...]


@dataclass(frozen=True)
class SampleCard:
    """One sample of a list."""

    sample: str
    label: str
    decision: str
    correct: bool
    condition: str
    facts: tuple[tuple[str, str], ...]
    pictures: tuple[PagePicture, ...]


@dataclass(frozen=True)
class SampleList:
    """One list of samples."""

    title: str
    about: str
    none: str
    cards: tuple[SampleCard, ...]


def report_heading(network: Pretrained) -> ReportHeading:
    """What the report on the data of a run's network is about."""
    names, record = network.class_names, network.record
    assert record is not None
    if network.threshold is None:
        limit = f"no threshold keeps its rule, so nothing is called {names[1]}"
    else:
        score = f"{names[1]} − {names[0]}"
        limit = f"the network calls an image {names[1]} from a score ({score}) of {network.threshold:+.3f} on"
    return ReportHeading(
        task=record.spec.task,
        data=f"{record.spec.data} ({record.spec.data_fingerprint[:8]})",
        method=record.method_label,
        run_id=record.run_id,
        seed=record.spec.seed,
        class_names=names,
        threshold=f"{limit} ({network.threshold_rule})" if network.threshold_rule else limit,
    )


def render_report(
    found: Overview, data: DataArrays, terms: Mapping[str, SourceTerms] | None, heading: ReportHeading
) -> str:
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
    made.filters |= {"signed": signed_logits, "share": share_in_digits}
    shown = ShownImages(data, terms)
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
        means=mean_map_rows(found, heading, under, extent),
        cells=[decision_view(found, number, heading, under, logits) for number in range(len(found.cells))],
        ramps={"signed": colour_ramp(True), "plain": colour_ramp(False)},
        lists=sample_lists(found, shown),
        meaning=column_meanings(found),
        totals=[(sum(one.wrong[k] for one in found.errors), sum(one.count[k] for one in found.errors)) for k in (0, 1)],
    )


def column_meanings(found: Overview) -> dict[str, str]:
    """What the columns of samples.csv mean, of those that are there."""
    needs_maps = ("true_…, difference_…", "deciding_inside")
    return {name: text for name, text in MEANING.items() if found.mapped or name not in needs_maps}


def mean_map_rows(found: Overview, heading: ReportHeading, under: np.ndarray | None, extent: float) -> list[MeanMapRow]:
    """Mean maps, one row a condition."""
    by_place = {(one.condition, one.label): one for one in found.means}
    rows = []
    for condition in dict.fromkeys(one.condition for one in found.means):
        classes: list[tuple[int, tuple[PagePicture, ...]] | None] = []
        for label in (0, 1):
            one = by_place.get((condition, label))
            if one is None:
                classes.append(None)
                continue
            names = {"true": heading.class_names[label], "false": heading.class_names[1 - label]}
            about = {kind: f"mean CAM of {name}" for kind, name in names.items()}
            about["difference"] = f"mean difference map, {names['true']} − {names['false']}"
            made = tuple(
                map_on_image(
                    under,
                    Panel("", one.maps[kind], extent, True),
                    f"{about[kind]}, {heading.class_names[label]} images, {condition}: mean over the grid "
                    f"{signed_logits(float(one.maps[kind].mean()))} logits",
                )
                for kind in KINDS
            )
            classes.append((one.count, made))
        rows.append(MeanMapRow(condition, tuple(classes)))
    return rows


def decision_view(
    found: Overview, number: int, heading: ReportHeading, under: np.ndarray | None, extent: float
) -> DecisionView:
    """Where the decisions for one class come from."""
    one = found.cells[number]
    name = heading.class_names[one.decision]
    top = one.top()
    marks = np.zeros((min(len(top), 3), *one.share.shape), bool)
    for mark, (y, x) in zip(marks, top, strict=False):
        mark[y, x] = True
    return DecisionView(
        decision=name,
        count=one.count,
        without=one.without,
        against=one.against,
        share=map_on_image(
            under, Panel("", one.share), f"how often each cell lies in the region that decides for {name}"
        ),
        logits=map_on_image(
            under,
            Panel("", one.logits, extent, True, outlines=list(marks), numbered=False),
            f"mean logits of each cell towards {name}",
        ),
        top=tuple((y + 1, x + 1, float(one.share[y, x]), float(one.logits[y, x])) for y, x in top),
    )


def sample_lists(found: Overview, shown: ShownImages) -> list[SampleList]:
    """The samples to look at."""
    found_lists = []
    if found.mapped:
        found_lists.append(
            SampleList(
                "Model and people disagree most",
                "The images whose difference map (true − false) lies least inside the human map: the lowest lift.",
                "No image has a lift.",
                sample_cards(found, shown, found.low_lift),
            )
        )
    found_lists.append(
        SampleList(
            "Covering what decided does not weaken the decision",
            "The region that decided was covered with the mean colour, and the margin moved towards the decision all "
            "the same: its logits add up to the margin, but are not what holds the decision.",
            "Wherever a region decided, covering it weakened the decision.",
            sample_cards(found, shown, found.failures),
        )
    )
    found_lists.append(
        SampleList(
            "Most confident errors",
            "Wrong decisions, the farthest from the threshold first.",
            "No decision is wrong.",
            sample_cards(found, shown, found.confident),
        )
    )
    return found_lists


def sample_cards(found: Overview, shown: ShownImages, rows: Sequence[int]) -> tuple[SampleCard, ...]:
    """Samples with their difference maps and, where that is allowed, image and human map."""
    return tuple(sample_card(found, shown, row) for row in rows)


def sample_card(found: Overview, shown: ShownImages, row: int) -> SampleCard:
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
        pictures.append(PagePicture(jpeg_data_url(picture_base(pixels)), f"image {own['sample_id']}"))
        if shown.data.rows["has_map"].iloc[position]:
            human = np.array(shown.data.maps[position]) / 255.0
            pictures.append(map_on_image(pixels, Panel("", human), "human map"))
    alt = f"difference map, true − false, ±{extent:.3g} logits; the region that decided is outlined"
    pictures.append(map_on_image(pixels, Panel("", values, extent, True, outlines=marks, numbered=False), alt))
    facts = [("margin of the true class", signed_logits(float(own["margin_true"])))]
    if "difference_lift" in own and not math.isnan(own["difference_lift"]):
        facts.append(("lift", f"{own['difference_lift']:.2f}"))
    if cells.any():
        facts.append(("region that decided", signed_logits(float(own["deciding_logits"]))))
        facts.append(("covered, moves the decision's margin by", signed_logits(float(own["covered_moves"]))))
    else:
        facts.append(("region that decided", "none"))
    facts.append(("scale of the map", f"±{extent:.3g}"))
    return SampleCard(
        sample=str(own["sample_id"]),
        label=str(own["label"]),
        decision=str(own["decision"]),
        correct=bool(own["correct"]),
        condition=str(own["condition"]),
        facts=tuple(facts),
        pictures=tuple(pictures),
    )


def signed_logits(value: float) -> str:
    """Logits, with a sign."""
    return f"{value:+.3f}".replace("-", "−") if math.isfinite(value) else "–"


def share_in_digits(value: float) -> str:
    """A share in [0, 1]."""
    return f"{value:.2f}" if math.isfinite(value) else "–"
