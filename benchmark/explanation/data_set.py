"""A data set explained: mean maps, the cells that decide, where model and people disagree, and the errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from divsal_bench.errors import UserError
from divsal_bench.explanation.data_set_overview import Deciding, Errors, ExplainedSplit, Floats, MeanMaps, Overview
from divsal_bench.explanation.data_set_table import agreements, samples
from divsal_bench.explanation.image import pooled, scorer
from divsal_bench.maps import evidence, measures
from divsal_bench.maps.fidelity import choose_images
from divsal_bench.maps.regions import Region, Regions, occlusion, regions
from divsal_bench.networks import devices, inference
from divsal_bench.scores.conditions import condition_columns

if TYPE_CHECKING:
    from divsal_bench.data.arrays import DataArrays
    from divsal_bench.prediction.pretrained import Pretrained

#: How many samples a list of disagreements has.
LISTED = 8
#: Images in one forward pass.
BATCH = 64


def positions_to_explain(
    data: DataArrays, split: ExplainedSplit, limit: int | None, name: str, names: tuple[str, str]
) -> npt.NDArray[np.int64]:
    """The positions of the images to explain.

    Args:
        limit: At most so many, drawn by sample id and fingerprint: the same for every network.

    Raises:
        UserError: The split is empty, or what is left of it has a single class.
    """
    found = np.flatnonzero(data.rows["split"].to_numpy(dtype=str) == split)
    if not len(found):
        raise UserError(f"the data {name} has no {split} images")
    if limit is not None:
        ids = data.rows["sample_id"].iloc[found].astype(str).tolist()
        found = found[choose_images(ids, np.ones(len(found), bool), limit, data.fingerprint)]
    labels = data.rows["label"].to_numpy(dtype=int)[found]
    if labels.min() == labels.max():
        cure = "take more with --limit" if limit is not None else "take the other split"
        raise UserError(
            f"all {len(found)} {split} images of the data {name}{' that --limit chose' if limit is not None else ''} "
            f"are {names[labels[0]]}: a report compares two classes; {cure}"
        )
    return found.astype(np.int64)


def overview(
    pretrained: Pretrained,
    data: DataArrays,
    positions: npt.NDArray[np.int64],
    split: ExplainedSplit,
    progress: Callable[[int, int], None] | None = None,
) -> Overview:
    """Explain the images of a data set.

    Args:
        pretrained: The run's network, on the device where it works; it has a closed form.
        data: The run's, at the size of its protocol.
        positions: From :func:`positions_to_explain`.

    Raises:
        UserError: A score is not finite.
    """
    import torch

    device, score = devices.device_of(pretrained.model), scorer(pretrained)
    mapped = data.rows["has_map"].to_numpy(dtype=bool)[positions]
    scores, cams, chosen, after, areas = [], [], [], [], []
    bias, weight = 0.0, None
    for start in range(0, len(positions), BATCH):
        here = positions[start : start + BATCH]
        pixels = torch.from_numpy(np.ascontiguousarray(data.images[here])).to(device)
        floats = inference.as_input(pixels, pretrained.input_form)
        with devices.arithmetic(device, pretrained.precision):
            found = evidence.gather(pretrained.model, floats)
        margins = found.margin.double().cpu().numpy()
        if not np.isfinite(margins).all():
            raise UserError(f"sample {data.rows['sample_id'].iloc[here[~np.isfinite(margins)][0]]} has no finite score")
        bias, weight = float(found.bias[1].double() - found.bias[0].double()), found.weight.cpu().numpy()
        maps = found.cams.double().cpu().numpy()
        humans = [
            pooled(np.array(data.maps[position]), found.grid) if has else None
            for position, has in zip(here, mapped[start : start + BATCH], strict=True)
        ]
        sides = np.array([1 if class_called(pretrained, margin) else -1 for margin in margins])
        parts = [
            regions(side * (one[1] - one[0]), side * bias, human, count=one[0].size)
            for side, one, human in zip(sides, maps, humans, strict=True)
        ]
        deciders = [next((region for region in one.shown if region.logits > 0), None) for one in parts]
        covered = occlusion(score, floats, [Regions((one,) if one else (), 0.0, 0, 0.0) for one in deciders], sides)
        scores.append(margins)
        cams.append(maps)
        chosen += deciders
        after += [one[0].moved if one else math.nan for one in covered]
        areas += humans
        if progress is not None:
            progress(min(start + BATCH, len(positions)), len(positions))
    assert weight is not None
    return overview_of_found(
        pretrained, data, positions, split, np.concatenate(scores), np.concatenate(cams), chosen, np.array(after),
        areas, bias, weight,
    )  # fmt: skip


def class_called(pretrained: Pretrained, margin: float) -> int:
    """The class that a margin is called, 0 or 1."""
    return int(pretrained.threshold is not None and margin >= pretrained.threshold)


def overview_of_found(
    pretrained: Pretrained,
    data: DataArrays,
    positions: npt.NDArray[np.int64],
    split: ExplainedSplit,
    scores: Floats,
    cams: Floats,
    chosen: Sequence[Region | None],
    after: Floats,
    areas: Sequence[np.ndarray | None],
    bias: float,
    weight: np.ndarray,
) -> Overview:
    """Tables and means of what was found image by image."""
    rows = data.rows.iloc[positions].reset_index(drop=True)
    labels = rows["label"].to_numpy(dtype=np.int64)
    conditions = (
        condition_columns(data.rows, positions)["condition"] if split == "test" else np.array([split] * len(rows))
    )
    decisions = np.array([class_called(pretrained, margin) for margin in scores])
    grid = (cams.shape[2], cams.shape[3])
    index = np.arange(len(labels))
    maps = {"true": cams[index, labels], "false": cams[index, 1 - labels]}
    maps["difference"] = maps["true"] - maps["false"]
    deciding = np.array([np.zeros(grid, bool) if one is None else one.cells for one in chosen])
    table = samples(pretrained, rows, labels, decisions, scores, conditions, chosen, after, bias)
    if any(area is not None for area in areas):
        table = table.assign(**agreements(maps, areas))
        inside = [math.nan if one is None else one.inside for one in chosen]
        table = table.assign(deciding_inside=np.array(inside) + 0.0)
    shares = measures.bias_share(scores, bias)
    wrong = decisions != labels
    limit = pretrained.threshold if pretrained.threshold is not None else math.inf
    lift = table["difference_lift"].to_numpy() if "difference_lift" in table else np.full(len(table), math.nan)
    against = np.where(after > 0, after, math.nan)
    beyond = np.where(wrong, np.abs(scores - limit) if math.isfinite(limit) else scores, math.nan)
    return Overview(
        split=split,
        total=int((data.rows["split"] == split).sum()),
        grid=grid,
        positions=positions,
        table=table,
        differences=maps["difference"],
        deciding=deciding,
        means=mean_maps(maps, labels, conditions),
        cells=tuple(
            where_decided(decision, decisions == decision, deciding, cams, scores)
            for decision in (0, 1)
            if (decisions == decision).any()
        ),
        errors=tuple(
            Errors(name, both_classes(labels, wrong & (conditions == name)), both_classes(labels, conditions == name))
            for name in conditions_in_order(conditions)
        ),
        bias=bias,
        bias_share=float(np.nanmean(shares)) if np.isfinite(shares).any() else math.nan,
        common_share=measures.compare_rows(weight).common_share,
        low_lift=rows_with_smallest(lift),
        failures=rows_with_smallest(-against),
        confident=rows_with_smallest(-beyond),
    )


def mean_maps(
    maps: dict[str, Floats], labels: npt.NDArray[np.int64], conditions: npt.NDArray[np.generic]
) -> tuple[MeanMaps, ...]:
    """Means by condition and class, where there are images."""
    found = []
    for name in conditions_in_order(conditions):
        for label in (0, 1):
            own = (conditions == name) & (labels == label)
            if own.any():
                means = {kind: values[own].mean(0) for kind, values in maps.items()}
                found.append(MeanMaps(label, str(name), int(own.sum()), means))
    return tuple(found)


def where_decided(
    decision: int, own: npt.NDArray[np.bool_], deciding: npt.NDArray[np.bool_], cams: Floats, scores: Floats
) -> Deciding:
    """The cells that decide for one class."""
    towards = cams[own, decision] - cams[own, 1 - decision]
    regions_of = deciding[own]
    return Deciding(
        decision=decision,
        count=int(own.sum()),
        without=int((~regions_of.any((1, 2))).sum()),
        against=int(((scores[own] >= 0) != (decision == 1)).sum()),
        share=regions_of.mean(0),
        logits=towards.mean(0) / towards[0].size,
    )


def conditions_in_order(conditions: npt.NDArray[np.generic]) -> list[str]:
    """Names of conditions, in-domain first."""
    return sorted({str(name) for name in conditions}, key=lambda name: (name != "in-domain", name))


def both_classes(labels: npt.NDArray[np.int64], chosen: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """How many of the chosen images are of class 0, and of class 1."""
    return int((chosen & (labels == 0)).sum()), int((chosen & (labels == 1)).sum())


def rows_with_smallest(values: Floats) -> tuple[int, ...]:
    """The rows with the smallest values, NaN never; ties to the earlier row."""
    order = np.argsort(values, kind="stable")
    return tuple(int(row) for row in order[:LISTED] if not math.isnan(values[row]))
