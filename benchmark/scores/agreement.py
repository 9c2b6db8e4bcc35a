"""Agreement of model maps with human maps, on the CAM grid. A leaf: numpy and scipy only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: Below this share of its largest magnitude a map has no positive part: it is empty.
EMPTY = 1e-8
COLUMNS = ("pe", "lift", "auc", "cc", "empty")
#: Maps that are compared in one go: ten arrays of their size are made on the way.
AT_ONCE = 4096


def agreement_with_people(maps: npt.NDArray[np.floating], human: npt.NDArray[np.floating]) -> dict[str, Floats]:
    """Compare each map with its human map.

    Args:
        maps: Raw model maps, signed, (N, h, w).
        human: Human maps area-pooled to the grid, in [0, 1], not min–max scaled, (N, h, w).

    Returns:
        Arrays of shape (N,), all NaN where the human map is all zero:
        ``pe``, proportional energy ΣS·h / ΣS with S = relu(map), 0 for an empty map;
        ``lift``, PE / mean h (1 = chance);
        ``auc``, of the raw map against h ≥ 0.5, ties ½; NaN where h has cells on one side only;
        ``cc``, Pearson correlation of raw map and h, 0 for a constant map; NaN for a constant h;
        ``empty``, 1 where S has no positive part.
    """
    parts = [slice(start, start + AT_ONCE) for start in range(0, max(1, len(maps)), AT_ONCE)]
    found = [_agreement_of_few(maps[part], human[part]) for part in parts]
    return {name: np.concatenate([one[name] for one in found]) for name in COLUMNS}


def _agreement_of_few(maps: npt.NDArray[np.floating], human: npt.NDArray[np.floating]) -> dict[str, Floats]:
    """All at once."""
    from scipy.stats import rankdata

    raw = maps.reshape(len(maps), -1).astype(np.float64)
    h = human.reshape(len(human), -1).astype(np.float64)
    energy = np.maximum(raw, 0)
    empty = energy.max(1) <= EMPTY * np.abs(raw).max(1)
    total = np.where(empty, 1.0, energy.sum(1))
    share = np.where(empty, 0.0, (energy * h).sum(1) / total)
    mean_h = h.mean(1)

    inside = h >= 0.5
    n_in, n_out = inside.sum(1), (~inside).sum(1)
    ranks = rankdata(raw, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        auc = ((ranks * inside).sum(1) - n_in * (n_in + 1) / 2) / (n_in * n_out)
        lift = share / mean_h
        centred, centred_h = raw - raw.mean(1, keepdims=True), h - mean_h[:, None]
        spread = np.sqrt((centred**2).sum(1) * (centred_h**2).sum(1))
        cc = np.where(np.ptp(raw, axis=1) == 0, 0.0, (centred * centred_h).sum(1) / spread)
    cc = np.where(np.ptp(h, axis=1) == 0, np.nan, cc)
    columns = {"pe": share, "lift": lift, "auc": auc, "cc": cc, "empty": empty.astype(np.float64)}
    return {name: np.where(mean_h > 0, values, np.nan) for name, values in columns.items()}
