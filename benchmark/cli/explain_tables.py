"""What ``explain`` prints of images, and the content of its CSV files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from divsal_bench.cli.tables import table
from divsal_bench.errors import printable
from divsal_bench.files import escaping

if TYPE_CHECKING:
    from divsal_bench.explain.image import Explanation

Cell = str | float | int
#: Up to so many images each get a table of their regions; more get one row each.
TABLES = 4
#: Rows on the screen.
SHOWN = 50


@dataclass(frozen=True, eq=False)
class Line:
    """One image in the tables.

    Attributes:
        image: As it was given.
        error: Why it is not explained; else "".
        summary: Its columns in images.csv.
        regions: Its rows in regions.csv.
        agreement: Map to its agreement with the human map.
        notes: Which maps are undefined or empty.
        title: What is explained, in one line.
        has_human: Whether it has a human map.
    """

    image: str
    error: str = ""
    summary: dict[str, Cell] | None = None
    regions: tuple[dict[str, Cell], ...] = ()
    agreement: dict[str, dict[str, float]] | None = None
    notes: tuple[str, ...] = ()
    title: str = ""
    has_human: bool = False


def line(found: Explanation) -> Line:
    """What the tables keep of an explanation: no maps, no pixels."""
    called = found.class_names[found.decision]
    return Line(
        image=found.image,
        summary=summary(found),
        regions=tuple(region_rows(found)),
        agreement={one.name: one.numbers for one in found.maps if one.numbers},
        notes=tuple(
            f"{one.name}: {one.absent or 'empty: it has no positive part'}"
            for one in found.maps
            if one.absent or one.empty
        ),
        title=f"{found.own} ({found.why_class}), margin {found.own} − {found.other} {found.margin:+.4f} logits, "
        f"called {called}",
        has_human=found.human is not None,
    )


def summary(found: Explanation) -> dict[str, Cell]:
    """One image as a row of images.csv."""
    row: dict[str, Cell] = {
        "explained": found.own,
        "because": found.why_class,
        "decision": found.class_names[found.decision],
        "score": found.score,
        "margin": found.margin,
    }
    if found.regions is not None:
        row |= {
            "regions": len(found.regions.shown) + found.regions.rest_count,
            "largest": found.regions.shown[0].logits if found.regions.shown else 0.0,
            "rest": found.regions.rest,
            "bias": found.regions.bias,
            "as_logits_say": sum(one.agrees for one in found.covering),
            "covered": len(found.covering),
        }
    for one in found.maps:
        row |= {f"{one.name}_{key}": value for key, value in one.numbers.items()}
    return row


def region_rows(found: Explanation) -> list[dict[str, Cell]]:
    """The regions of one image as rows, then rest, bias and their sum."""
    from divsal_bench.explain.image import speaks_for

    parts = found.regions
    if parts is None:
        return []
    rows: list[dict[str, Cell]] = []
    for rank, (region, did) in enumerate(zip(parts.shown, found.covering, strict=True), start=1):
        rows.append(
            {
                "part": str(rank),
                "speaks for": speaks_for(found, region),
                "logits": region.logits,
                "inside human map": region.inside + 0.0,
                "covered: margin moves": did.moved,
                "as its logits say": "yes" if did.agrees else "no",
            }
        )
    rows.append({"part": f"rest ({parts.rest_count})", "logits": parts.rest})
    rows.append({"part": "bias", "logits": parts.bias})
    rows.append({"part": "sum = margin", "logits": parts.margin})
    return rows


def csv_files(lines: Sequence[Line]) -> dict[str, bytes]:
    """images.csv, a row an image, and regions.csv, a row a region."""
    import pandas as pd

    images = [{"image": one.image, **(one.summary or {}), "error": one.error} for one in lines]
    regions = [{"image": one.image, **row} for one in lines for row in one.regions]
    found = {}
    for name, rows in (("images.csv", images), ("regions.csv", regions)):
        # Not pandas' own strings: a file name may be no text.
        frame = pd.DataFrame(rows, columns=None if rows else ["image"], dtype=object)
        found[name] = escaping.table_csv(frame).encode("utf-8", "backslashreplace")
    return found


def print_tables(lines: Sequence[Line]) -> None:
    """A table of regions for each of a few images, else a row for each image."""
    if len(lines) > TABLES:
        print_rows(lines)
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
            print_table(rows, heads, "l" + "r" * (len(heads) - 1))


def print_regions(one: Line) -> None:
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
    print_table(rows, heads, "llr" + "r" * len(inside) + "rl")


def print_rows(lines: Sequence[Line]) -> None:
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
    print_table(kept, filled, "".join(align.get(head, "r") for head in filled))
    if len(lines) > SHOWN:
        print(f"… and {len(lines) - SHOWN:,} more; --csv writes them all")


def print_table(rows: Sequence[Sequence[str]], heads: Sequence[str], align: str) -> None:
    """Text as it is; ``align`` has l or r for each column."""
    print(table(rows, heads, align))


def fixed(value: Cell) -> str:
    """A number without a unit; nothing where there is none."""
    return "" if not isinstance(value, float) or math.isnan(value) else f"{value + 0.0:.3f}"
