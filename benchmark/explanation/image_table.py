"""What the tables keep of explained images: a row an image, as images.csv has it, and a row a region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from divsal_bench.explanation.image import speaks_for

if TYPE_CHECKING:
    import pandas as pd

    from divsal_bench.explanation.image import Explanation

#: The row that checks the others.
SUM = "sum = margin"
#: Columns of a row a region, as a data frame calls what regions.csv has.
PART_COLUMNS = {
    "image": "image",
    "part": "part",
    "speaks for": "speaks_for",
    "logits": "logits",
    "inside human map": "inside_human_map",
    "covered: margin moves": "margin_moves",
    "as its logits say": "agrees",
}
#: What stands in a row.
Value = str | float | int


@dataclass(frozen=True, eq=False)
class ImageLine:
    """One image in the tables.

    Attributes:
        image: As it was given.
        error: Why it is not explained; else "".
        summary: Its columns in images.csv.
        regions: Its rows in regions.csv.
        agreement: Map to its agreement with the human map.
        notes: Which maps are undefined or empty.
        title: What is explained, in one line.
    """

    image: str
    error: str = ""
    summary: dict[str, Value] | None = None
    regions: tuple[dict[str, Value], ...] = ()
    agreement: dict[str, dict[str, float]] | None = None
    notes: tuple[str, ...] = ()
    title: str = ""
    has_human: bool = False


def image_line(found: Explanation) -> ImageLine:
    """What the tables keep of an explanation: no maps, no pixels."""
    called = found.class_names[found.decision]
    return ImageLine(
        image=found.image,
        summary=image_row(found),
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


def image_row(found: Explanation) -> dict[str, Value]:
    """One image as a row of images.csv."""
    row: dict[str, Value] = {
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


def region_rows(found: Explanation) -> list[dict[str, Value]]:
    """The regions of one image as rows, then rest, bias and their sum."""
    parts = found.regions
    if parts is None:
        return []
    rows: list[dict[str, Value]] = []
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
    rows.append({"part": SUM, "logits": parts.margin})
    return rows


def image_frame(lines: Sequence[ImageLine]) -> pd.DataFrame:
    """images.csv: a row an image, what could not be explained with its reason."""
    return _as_given([{"image": one.image, **(one.summary or {}), "error": one.error} for one in lines])


def region_frame(lines: Sequence[ImageLine]) -> pd.DataFrame:
    """regions.csv: a row a region, then rest, bias and their sum, image by image."""
    return _as_given([{"image": one.image, **row} for one in lines for row in one.regions])


def parts_frame(lines: Sequence[ImageLine]) -> pd.DataFrame:
    """What :func:`region_frame` has to compute with: numbers as numbers, and no row that is the sum of others."""
    import pandas as pd

    table = region_frame(lines).reindex(columns=list(PART_COLUMNS)).rename(columns=PART_COLUMNS)
    table = table[table["part"] != SUM].reset_index(drop=True)
    for name in ("logits", "inside_human_map", "margin_moves"):
        table[name] = pd.to_numeric(table[name]).astype(float)
    for name in ("speaks_for", "agrees"):
        table[name] = table[name].where(table[name].notna(), None)
    table["agrees"] = table["agrees"].map({"yes": True, "no": False}).astype(object)
    return table.assign(agrees=table["agrees"].where(table["agrees"].notna(), None))


def _as_given(rows: Sequence[dict[str, Value]]) -> pd.DataFrame:
    """Rows as a frame that keeps each value as it is."""
    import pandas as pd

    # Not pandas' own strings: a file name may be no text.
    return pd.DataFrame(rows, columns=None if rows else ["image"], dtype=object)
