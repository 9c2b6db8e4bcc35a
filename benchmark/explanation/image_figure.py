"""One explained image as a picture: image, human map, maps on stated scales, and the numbers of its regions."""

from __future__ import annotations

import io
import math

import numpy as np

from divsal_bench.errors import printable
from divsal_bench.explanation.image import Explanation, ShownMap, speaks_for
from divsal_bench.maps.regions import Occlusion, Region
from divsal_bench.pictures import figure
from divsal_bench.pictures.figure import Panel

#: Panels in a row.
COLUMNS = 4
TITLES = {
    "difference": "difference: {own} − {other}",
    "case": "CASE of {own}",
    "case-clamped": "CASE of {own}, clamped",
}


def explanation_png(found: Explanation) -> bytes:
    """Draw one image's explanation.

    All maps whose mean is in logits share one scale: what is faint beside the others is small.
    """
    shared = [one.values for one in found.maps if one.values is not None and one.on_scale]
    panels = [Panel("image, as the network sees it", note=called_as(found))]
    if found.human is not None:
        panels.append(Panel("where people look", found.human / 255.0))
    panels += [map_panel(found, one, figure.extent_of(*shared)) for one in found.maps]
    file = io.BytesIO()
    sheet = figure.sheet(as_picture(found.pixels), panels, figure_heading(found), figure_footer(found), COLUMNS)
    sheet.save(file, "PNG", compress_level=4)  # a fifth of the time of the smallest file
    return file.getvalue()


def map_panel(found: Explanation, one: ShownMap, extent: float) -> Panel:
    """One map."""
    title = title_of(found, one.name)
    if one.values is None:
        return Panel(title, text=f"{one.absent[0].upper()}{one.absent[1:]}.")
    if one.empty and not one.signed:
        return Panel(title, one.values, note="empty: it has no positive part")
    outlines = () if found.regions is None else [region.cells for region in found.regions.shown]
    return Panel(
        title,
        one.values,
        extent if one.on_scale else figure.extent_of(np.maximum(one.values, 0)),
        one.signed,
        " logits" if one.on_scale else " (its own scale)",
        outlines=outlines if one.name == "difference" else (),
    )


def title_of(found: Explanation, name: str) -> str:
    """What a map shows, with the names of the classes."""
    titles = TITLES | {"true-class": f"CAM of {found.own} ({found.why_class})", "false-class": "CAM of {other}"}
    return titles.get(name, f"{name} of {{own}}").format(own=found.own, other=found.other)


def figure_heading(found: Explanation) -> list[str]:
    """What is explained."""
    return [
        printable(found.image),
        f"{found.own} ({found.why_class}): margin {found.own} − {found.other} = {found.margin:+.3f} logits; called "
        f"{found.class_names[found.decision]}",
    ]


def called_as(found: Explanation) -> str:
    """What the image is, and what it is called."""
    called = found.class_names[found.decision]
    return f"{found.own}, called {called}" if found.labelled else f"called {called}"


def figure_footer(found: Explanation) -> list[str]:
    """How to read it, and the regions."""
    shared = "maps with a sign: red for the class, blue against it; all maps in logits share one scale; smoothed"
    if found.regions is None:
        return [shared, "no closed-form CAM: regions and their logits do not exist for this network"]
    lines = [shared, "regions of the difference map: their logits, the rest and the bias add up to the margin"]
    for rank, (region, did) in enumerate(zip(found.regions.shown, found.covering, strict=True), start=1):
        lines.append(f"   {rank}   {region_in_words(found, region, did)}")
    parts = found.regions
    rest = f"rest ({parts.rest_count} regions) {parts.rest:+.3f}, " if parts.rest_count else ""
    lines.append(f"   {rest}bias {parts.bias:+.3f}; sum = margin {parts.margin:+.3f}")
    return lines


def region_in_words(found: Explanation, region: Region, did: Occlusion) -> str:
    """One region in words."""
    inside = "" if math.isnan(region.inside) else f"; {region.inside + 0.0:.2f} of it inside the human map"
    word = "as its logits say" if did.agrees else "NOT as its logits say"
    return (
        f"{region.logits:+.3f} (speaks for {speaks_for(found, region)}){inside}; covered, the margin moves by "
        f"{did.moved:+.3f}, {word}"
    )


def as_picture(pixels: np.ndarray) -> np.ndarray:
    """Pixels (1 or 3, S, S) in the order of pictures: (S, S) or (S, S, 3)."""
    return pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
