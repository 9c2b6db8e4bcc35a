"""Numbers about maps, heads and errors of one network. Numpy only; means over seeds are the leaderboard's."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from divsal_bench.scores.agreement import agreement_with_people

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

ENERGY = ("pe", "pe_corrected", "lift", "pe_nonempty", "lift_nonempty", "empty", "undefined")


def energy_inside(
    maps: npt.NDArray[np.floating], region: npt.NDArray[np.floating], undefined: Bools | None = None
) -> dict[str, Floats]:
    """How much of each map's positive part lies inside a region.

    Zhang, Bieri, Günther 2024 (arXiv 2403.14435), with the definitions of :mod:`divsal_bench.scores.agreement`.

    Args:
        maps: Signed, (N, h, w).
        region: In [0, 1] on the same grid, (N, h, w) or (h, w): a mask, or a human map area-pooled.
        undefined: (N,): maps to leave out.

    Returns:
        Columns (N,), :data:`ENERGY`. NaN throughout where there is no region; where the map is undefined, in all but
        ``undefined`` (0 or 1).
        ``pe``, ΣS·h / ΣS with S = relu(map), 0 for an empty map, so that it mixes "no map" with "map elsewhere";
        ``pe_corrected``, PE·(1 − mean h), the paper's;
        ``lift``, PE / mean h, 1 by chance;
        ``pe_nonempty`` and ``lift_nonempty``, NaN for an empty map;
        ``empty``, 1 where S has no positive part.
    """
    if not len(maps):
        return {name: np.zeros(0) for name in ENERGY}
    region = np.broadcast_to(region, maps.shape)
    plain = agreement_with_people(maps, region)
    area = region.reshape(len(region), -1).astype(np.float64).mean(1)
    left_out = np.zeros(len(maps), bool) if undefined is None else undefined
    filled = plain["empty"] == 0
    columns = {
        "pe": plain["pe"],
        "pe_corrected": plain["pe"] * (1 - area),
        "lift": plain["lift"],
        "pe_nonempty": np.where(filled, plain["pe"], np.nan),
        "lift_nonempty": np.where(filled, plain["lift"], np.nan),
        "empty": plain["empty"],
    }
    columns = {name: np.where(left_out, np.nan, values) for name, values in columns.items()}
    return columns | {"undefined": np.where(area > 0, left_out.astype(np.float64), np.nan)}


def bias_share(margins: Floats, bias: float) -> Floats:
    """How much of each decision is the classifier's bias: |B| / (|B| + |E|), E what the image adds.

    Our number for the "bias activation" of Zhang, Bieri, Günther 2024 (arXiv 2403.14435). The two may point apart, so
    that a share of ½ can also be a bias that the image only just outweighs.

    Args:
        margins: z1 − z0, (N,).
        bias: b1 − b0.

    Returns:
        (N,) in [0, 1]; NaN where both are 0.
    """
    image = np.abs(np.asarray(margins, np.float64) - bias)
    total = image + abs(bias)
    return np.where(total > 0, abs(bias) / np.where(total > 0, total, 1.0), np.nan)


@dataclass(frozen=True)
class ComparedRows:
    """Two rows of a classifier, compared.

    Attributes:
        common_share: ‖s‖ / ‖d‖ with s = (w_a + w_b)/2 and d = w_b − w_a: what no decision between the two depends on,
            and so what cross-entropy leaves as it was drawn; infinite for equal rows, 0 for a one-logit head.
        cosine: cos(w_a, w_b); NaN if a row is zero.
        residual_ratio: ‖w_perp‖ / ‖w_b‖ = |sin|, what CASE leaves of one row without the other; NaN if a row is zero.
    """

    common_share: float
    cosine: float
    residual_ratio: float


def compare_rows(weight: npt.NDArray[np.floating], pair: tuple[int, int] = (0, 1)) -> ComparedRows:
    """Compare the rows of two classes.

    Args:
        weight: W, (K, C).
        pair: The classes a and b.
    """
    first, second = (np.asarray(weight[k], np.float64) for k in pair)
    common, apart = float(np.linalg.norm(first + second)) / 2, float(np.linalg.norm(second - first))
    lengths = float(np.linalg.norm(first)), float(np.linalg.norm(second))
    share = common / apart if apart else (math.inf if common else math.nan)
    if not all(lengths):
        return ComparedRows(share, math.nan, math.nan)
    a, b = first / lengths[0], second / lengths[1]
    cosine = float(a @ b)
    return ComparedRows(share, float(np.clip(cosine, -1, 1)), float(np.linalg.norm(b - cosine * a)))


@dataclass(frozen=True)
class ErrorRates:
    """Errors by class at the decision z1 − z0 ≥ 0; NaN where there is nothing to count.

    Attributes:
        fnr, fpr: FN / P and FP / N.
        total: (FN + FP) / (P + N).
        balanced: (FNR + FPR) / 2.
        minority, majority: FNR or FPR, by which class has fewer and more images in the training split.
        minority_class: 0 or 1; None if both are as frequent.
        note: What is missing and why; "" if nothing is.
    """

    fnr: float
    fpr: float
    total: float
    balanced: float
    minority: float
    majority: float
    minority_class: int | None
    note: str = ""


def error_rates(labels: npt.NDArray[np.integer], margins: Floats, train_counts: tuple[int, int]) -> ErrorRates:
    """Count errors by class (Zhang, Bieri, Günther 2024).

    Args:
        labels: (N,), 0 or 1.
        margins: z1 − z0, (N,).
        train_counts: Negatives and positives of the training split.
    """
    wrong = (margins >= 0) != (labels == 1)
    fpr, fnr = (float(wrong[labels == k].mean()) if (labels == k).any() else math.nan for k in (0, 1))
    notes = [
        f"no {name} among these images: no error rate for them"
        for name, rate in (("negatives", fpr), ("positives", fnr))
        if math.isnan(rate)
    ]
    minority = None if train_counts[0] == train_counts[1] else int(train_counts[1] < train_counts[0])
    if minority is None:
        notes.append("the training classes are balanced: there is no minority")
    low, high = {None: (math.nan, math.nan), 0: (fpr, fnr), 1: (fnr, fpr)}[minority]
    total = float(wrong.mean()) if len(wrong) else math.nan
    return ErrorRates(fnr, fpr, total, (fnr + fpr) / 2, low, high, minority, "; ".join(notes))
