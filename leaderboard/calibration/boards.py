"""What the statistics say of many boards at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from divsal_bench.leaderboard.calibration import batched
from divsal_bench.leaderboard.calibration.batched import Estimates, Floats

#: Seeds of a reproduction, and of the smaller set in an unpaired comparison.
NEW_SEEDS = 5
#: Everything that estimates hold.
FIELDS = tuple(Estimates.__dataclass_fields__)


@dataclass(frozen=True, eq=False)
class Boards:
    """What the statistics say of B boards.

    Attributes:
        values: (B, k, n) primary metric of each run.
        means: Of each method.
        pairs: Of all pairs of methods, in the order of `np.triu_indices`.
        unpaired: Of the second and third method, the third with its first `NEW_SEEDS` seeds, as if no seed were
            shared.
        condition_means: Of each method on each condition.
        condition_pairs: Of each method but the first against the first, on each condition.
        paired_t: (B, m) p of every pair on exactly these images.
    """

    values: Floats
    means: Estimates
    pairs: Estimates
    unpaired: Estimates
    condition_means: tuple[Estimates, ...]
    condition_pairs: tuple[Estimates, ...]
    paired_t: Floats


def estimate(auroc: Floats, influence: Floats) -> Boards:
    """Compute everything that is judged.

    Args:
        auroc: (C, B, k, n) of each run on each condition.
        influence: (C, B, k, n, K) of each subject on it.
    """
    primary, total = auroc.mean(axis=0), influence.mean(axis=0)
    k = primary.shape[1]
    first, second = np.triu_indices(k, 1)
    others, baseline = np.arange(1, k), np.zeros(k - 1, dtype=np.intp)
    few = slice(None, NEW_SEEDS)
    return Boards(
        values=primary,
        means=batched.mean_estimates(primary, total),
        pairs=batched.paired_estimates(primary, total, first, second),
        unpaired=batched.unpaired_estimates(primary[:, 1], primary[:, 2, few], total[:, 1], total[:, 2, few]),
        condition_means=tuple(batched.mean_estimates(*one) for one in zip(auroc, influence, strict=True)),
        condition_pairs=tuple(
            batched.paired_estimates(*one, others, baseline) for one in zip(auroc, influence, strict=True)
        ),
        paired_t=batched.paired_t(primary, first, second),
    )


def join_boards(parts: Sequence[Boards]) -> Boards:
    """Put boards one after the other."""

    def joined(members: Sequence[Estimates]) -> Estimates:
        return Estimates(*(np.concatenate([getattr(one, name) for one in members]) for name in FIELDS))

    return Boards(
        values=np.concatenate([part.values for part in parts]),
        means=joined([part.means for part in parts]),
        pairs=joined([part.pairs for part in parts]),
        unpaired=joined([part.unpaired for part in parts]),
        condition_means=tuple(map(joined, zip(*(part.condition_means for part in parts), strict=True))),
        condition_pairs=tuple(map(joined, zip(*(part.condition_pairs for part in parts), strict=True))),
        paired_t=np.concatenate([part.paired_t for part in parts]),
    )
