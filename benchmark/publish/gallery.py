"""Pictures to show maps on: a few test images of a data set, chosen by rule and never by results."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from divsal_bench.contracts.adapter import SourceTerms
from divsal_bench.data.terms import may_show
from divsal_bench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from divsal_bench.data.arrays import DataArrays
    from divsal_bench.runs.reading import Run

#: How many pictures, and their largest side.
COUNT, SIDE = 4, 96
#: Human maps are kept on this grid, whatever the protocols that a data set is used with.
GRID = (8, 8)
STANDIN_CREDIT = "drawn by code, Apache-2.0"


@dataclass(frozen=True, eq=False)
class ShownPicture:
    """One test image.

    Attributes:
        image: A PNG, grey or RGB, at most :data:`SIDE` px.
        human: The human map area-pooled to :data:`GRID`, in [0, 1]; None without one.
        credit: Source and licence in one line.
    """

    sample_id: str
    label: int
    condition: str
    image: bytes
    human: np.ndarray | None
    credit: str


@dataclass(frozen=True, eq=False)
class ShownPictures:
    """The pictures of a data set, or why there are none."""

    shown: tuple[ShownPicture, ...]
    absent: str = ""


def pictures(data: DataArrays, terms: Mapping[str, SourceTerms] | None, key: Callable[[str], str]) -> ShownPictures:
    """Choose and draw the pictures of a data set.

    Args:
        data: At any size.
        terms: Source to what its owner allows; None for a stand-in, which is ours.
        key: Sample id to its published key, which decides between equals.
    """
    from divsal_bench.scores.conditions import condition_columns

    chosen = np.flatnonzero(data.rows["split"].to_numpy(dtype=str) == "test")
    rows = data.rows.iloc[chosen].assign(
        condition=condition_columns(data.rows, chosen)["condition"],
        position=chosen,
        key=[key(str(sample)) for sample in data.rows["sample_id"].iloc[chosen]],
    )
    allowed = rows[[terms is None or may_show(terms.get(source)) for source in rows["source"]]]
    if allowed.empty:
        names = ", ".join(sorted(set(rows["source"])))
        return ShownPictures((), f"The terms of the test images' sources ({names}) do not allow showing them.")
    return ShownPictures(tuple(draw_picture(data, row, terms) for _, row in chosen_rows(allowed).iterrows()))


def chosen_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """At most :data:`COUNT` rows: those with a human map first, then by key; a negative and two conditions if any.

    Args:
        rows: Test rows, columns label, has_map, condition and key.
    """
    ranked = rows.assign(unmapped=~rows["has_map"].astype(bool)).sort_values(["unmapped", "key"])
    positives, negatives = ranked[ranked["label"] == 1], ranked[ranked["label"] == 0]
    picked = list(positives.index[:1])
    seen = set(ranked.loc[picked, "condition"])
    picked += list(positives.index[~positives["condition"].isin(seen)][:1])
    seen |= set(ranked.loc[picked, "condition"])
    # Where one condition has all the positives, the negative can still show another.
    other = negatives[~negatives["condition"].isin(seen)] if len(seen) < 2 else negatives
    picked += list((negatives if other.empty else other).index[:1])
    picked += [index for index in ranked.index if index not in picked][: COUNT - len(picked)]
    return ranked.loc[picked]


def draw_picture(data: DataArrays, row: pd.Series, terms: Mapping[str, SourceTerms] | None) -> ShownPicture:
    """One picture from the decoded arrays."""
    from PIL.Image import Resampling, fromarray

    from divsal_bench.contracts import cams

    pixels = np.array(data.images[row["position"]])
    picture = fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    if max(picture.size) > SIDE:
        picture = picture.resize((SIDE, SIDE), Resampling.LANCZOS)
    png = io.BytesIO()
    picture.save(png, "PNG", optimize=True)
    human = None
    if row["has_map"]:
        human = cams.human_cells(data.maps[row["position"]][None], GRID)[0]
    source = str(row["source"])
    credit = STANDIN_CREDIT if terms is None else f"{source}, {terms[source].licence or 'licence not stated'}"
    return ShownPicture(str(row["sample_id"]), int(row["label"]), str(row["condition"]), png.getvalue(), human, credit)


def cams_of_samples(run: Run, data: DataArrays, samples: Sequence[str]) -> dict[str, np.ndarray]:
    """The CAMs of both classes of some images, from a run's weights.

    Args:
        data: The data it was scored on, at the size of its protocol.

    Returns:
        Sample id to (2, h, w) float32: class 0 and class 1, without the bias.

    Raises:
        UserError: A sample is not in the data, or the weights cannot be loaded.
    """
    from divsal_bench.networks.inference import form_of, infer
    from divsal_bench.networks.stored import ChosenRows
    from divsal_bench.networks.trained import load_model, protocol_of

    if not samples:
        return {}
    position = {str(sample): i for i, sample in enumerate(data.rows["sample_id"])}
    missing = [sample for sample in samples if sample not in position]
    if missing:
        raise UserError(f"sample {missing[0]!r} is not in the data of {run.path}; give the data of the run with --data")
    images = ChosenRows(data.images, np.array([position[sample] for sample in samples]))
    _, maps = infer(load_model(run), images, form_of(protocol_of(run)), with_cams=True)
    assert maps is not None
    return dict(zip(samples, maps.numpy(), strict=True))
