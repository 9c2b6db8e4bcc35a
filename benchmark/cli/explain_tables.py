"""What ``explain`` prints of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from divsal_bench.cli.tables import shown_table
from divsal_bench.errors import printable

if TYPE_CHECKING:
    from divsal_bench.explanation.image_table import ImageLine, Value

#: Up to so many images each get a table of their regions; more get one row each.
TABLES = 4
#: Rows on the screen.
SHOWN = 50


def print_images(lines: Sequence[ImageLine]) -> None:
    """A table of regions for each of a few images, else a row for each image."""
    if len(lines) > TABLES:
        print_image_rows(lines)
        return
    for position, one in enumerate(lines):
        if position:
            print()
        print(f"{printable(one.image)}: {one.title or printable(one.error)}")
        if one.regions:
            print_regions(one)
        for note in one.notes:
            print(note)
        if one.agreement:
            print()
            rows = [[name, *map(fixed, numbers.values())] for name, numbers in one.agreement.items()]
            heads = ["map against human map", *next(iter(one.agreement.values()))]
            print(shown_table(rows, heads, "l" + "r" * (len(heads) - 1)))


def print_regions(one: ImageLine) -> None:
    """One image's regions."""
    rows = []
    for row in one.regions:
        moved = row.get("covered: margin moves")
        inside = [fixed(row.get("inside human map", math.nan))] if one.has_human else []
        rows.append(
            [
                str(row["part"]), str(row.get("speaks for", "")), f"{row['logits']:+.4f}", *inside,
                "" if moved is None else f"{moved:+.4f}", str(row.get("as its logits say", "")),
            ]
        )  # fmt: skip
    inside = ["inside human map"] if one.has_human else []
    heads = ["region", "speaks for", "logits", *inside, "covered: margin moves", "as its logits say"]
    print(shown_table(rows, heads, "llr" + "r" * len(inside) + "rl"))


def print_image_rows(lines: Sequence[ImageLine]) -> None:
    """One row for each image."""
    heads = ["image", "explained", "called", "margin", "largest", "bias", "regions", "as logits say", "lift", "error"]
    rows = []
    for one in lines[:SHOWN]:
        row = one.summary
        if row is None:
            rows.append([printable(one.image), *[""] * (len(heads) - 2), printable(one.error)])
            continue
        rows.append(
            [
                printable(one.image), f"{row['explained']} ({str(row['because']).split()[0]})", str(row["decision"]),
                *(f"{row[name]:+.4f}" if name in row else "" for name in ("margin", "largest", "bias")),
                str(row.get("regions", "")), f"{row['as_logits_say']} of {row['covered']}" if "covered" in row else "",
                fixed(row.get("difference_lift", math.nan)), "",
            ]
        )  # fmt: skip
    filled = [head for place, head in enumerate(heads) if place < 4 or any(row[place] for row in rows)]
    kept = [[cell for cell, head in zip(row, heads, strict=True) if head in filled] for row in rows]
    align = {"image": "l", "explained": "l", "called": "l", "error": "l"}
    print(shown_table(kept, filled, "".join(align.get(head, "r") for head in filled)))
    if len(lines) > SHOWN:
        print(f"… and {len(lines) - SHOWN:,} more; --csv writes them all")


def fixed(value: Value) -> str:
    """A number without a unit; nothing where there is none."""
    return "" if not isinstance(value, float) or math.isnan(value) else f"{value + 0.0:.3f}"
