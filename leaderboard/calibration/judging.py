"""What the statistics say of simulated boards, held against the truth.

Every test is held against its own estimand: two methods are equal when their AUROCs in the population of
subjects and seeds are, whatever they are on the subjects drawn; an interval is right when it contains the
population value; a rank interval when it contains every rank that the population values allow. Only what a board
would print can be right or wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from divsal_bench.leaderboard.calibration import batched
from divsal_bench.leaderboard.calibration.batched import Estimates
from divsal_bench.leaderboard.calibration.boards import NEW_SEEDS, Boards
from divsal_bench.leaderboard.calibration.cells import CHANCE, EFFECTS, LOSSES, SimulatedCell
from divsal_bench.leaderboard.calibration.designs import Design
from divsal_bench.leaderboard.statistics.families import (
    ALPHA,
    MIN_SEEDS,
    Pair,
    benjamini_hochberg,
    families,
    holm,
    smallest_visible_miss,
)
from divsal_bench.leaderboard.statistics.marks import IN_DOMAIN_LOSS, chance_p
from divsal_bench.leaderboard.statistics.placements import SubjectCounts

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.intp]

#: Sizes at which power is measured, in AUROC.
GAINS = tuple(sorted(set(EFFECTS.values())))


VISIBLE = ("effect_low", "effect_middle", "effect_high", "power_own", "power_next", "effect_range")


def judge_boards(cell: SimulatedCell, design: Design, boards: Boards) -> dict[str, Floats]:
    """Compare what the statistics say with the truth: for each measure that the cell has, (B,) values."""
    counts = design.counts
    found = {
        **family_errors_and_power(cell, counts, boards),
        **pairs_and_ranks(cell, counts, boards),
        **coverage_of_means(cell, counts, boards),
        **of_conditions(cell, design, boards),
        **reproduction(boards.values),
    }
    if not cell.gains:
        found |= measure_visible_effect(cell, counts, boards)
    if cell.gains == CHANCE:
        found |= measure_chance_marks(cell, design, boards)
    if cell.gains == LOSSES:
        found |= in_domain_worse(cell, counts, boards)
    return found


def pair_estimates(cell: SimulatedCell, pairs: Sequence[Pair], boards: Boards) -> tuple[Ints, Estimates, Floats]:
    """Where pairs stand among all pairs, what the statistics say of them, and their true differences: (m,) each."""
    names = list(cell.kinds)
    first, second = np.array([[names.index(a), names.index(b)] for a, b in pairs], dtype=np.intp).T
    place = np.zeros((len(names), len(names)), dtype=np.intp)
    low, high = np.triu_indices(len(names), 1)
    place[low, high] = place[high, low] = np.arange(len(low))
    at = place[first, second]
    estimates = boards.pairs[at]
    signed = replace(estimates, mean=estimates.mean * np.where(first < second, 1.0, -1.0))
    return at, signed, cell.auroc[first] - cell.auroc[second]


def printed_p(estimates: Estimates, counts: Sequence[SubjectCounts]) -> Floats:
    """(B, m) p, NaN where the product prints none."""
    return np.where(estimates.withheld(counts), np.nan, estimates.p())


def share_of_printed(hits: Bools, printed: Bools) -> Floats:
    """(B,) share of hits among what a board prints, (B, m); NaN where it prints none."""
    number = printed.sum(axis=1)
    return np.where(number > 0, (hits & printed).sum(axis=1) / np.maximum(number, 1), np.nan)


def errors(p: Floats, difference: Floats, truth: Floats) -> Floats:
    """Whether a board has a significant difference where none is or where the true one is opposite.

    Args:
        p: (B, m) adjusted; NaN where withheld.
        difference: (B, m).
        truth: (m,).

    Returns:
        (B,) 0 or 1; NaN where every p is withheld.
    """
    wrong = (p <= ALPHA) & (np.sign(difference) != np.sign(truth))
    return np.where(np.isnan(p).all(axis=1), np.nan, wrong.any(axis=1))


def family_errors_and_power(cell: SimulatedCell, counts: Sequence[SubjectCounts], boards: Boards) -> dict[str, Floats]:
    """Measure the three Holm families; a family without a true null has no error rate."""
    found: dict[str, Floats] = {}
    for family in families(cell.kinds):
        at, estimates, truth = pair_estimates(cell, family.pairs, boards)
        p = holm(printed_p(estimates, counts))
        if (truth == 0.0).any():
            found[f"errors_{family.name}"] = errors(p, estimates.mean, truth)
        if family.name == "baseline":
            if (truth == 0.0).any():
                found["errors_paired_t"] = errors(holm(boards.paired_t[:, at]), estimates.mean, truth)
            for gain in GAINS if cell.gains == EFFECTS else ():
                members = np.isclose(truth, gain)
                hits = (p <= ALPHA) & (estimates.mean > 0.0)
                found[f"power_{gain:.2f}"] = share_of_printed(hits[:, members], ~np.isnan(p[:, members]))
    return found


def pairs_and_ranks(cell: SimulatedCell, counts: Sequence[SubjectCounts], boards: Boards) -> dict[str, Floats]:
    """Measure what is said of the ranked methods and their pairs."""
    ranked = [name for name, kind in cell.kinds.items() if kind != "control"]
    auroc = np.array([value for value, kind in zip(cell.auroc, cell.kinds.values(), strict=True) if kind != "control"])
    k = len(ranked)
    first, second = np.triu_indices(k, 1)
    _, estimates, truth = pair_estimates(
        cell, [(ranked[i], ranked[j]) for i, j in zip(first, second, strict=True)], boards
    )
    p = printed_p(estimates, counts)
    printed = ~np.isnan(p)
    low, high = batched.rank_ends(k, first, second, estimates.mean, p)
    # Equal methods may hold any of the ranks that they share, so the interval must contain them all.
    best = 1 + (auroc > auroc[:, None]).sum(axis=1)
    worst = k - (auroc < auroc[:, None]).sum(axis=1)
    right = ((low <= best) & (high >= worst)).all(axis=1)
    covered = estimates.difference_covers(truth)
    with_baseline = first == 0
    unpaired = boards.unpaired
    return {
        "errors_pairs": errors(holm(p), estimates.mean, truth),
        "ranks": np.where(printed.any(axis=1), right, np.nan),
        "withheld_pairs": 1.0 - printed.mean(axis=1),
        "coverage_baseline": share_of_printed(covered[:, with_baseline], printed[:, with_baseline]),
        "coverage_others": share_of_printed(covered[:, ~with_baseline], printed[:, ~with_baseline]),
        "coverage_unpaired": share_of_printed(
            unpaired.difference_covers(cell.auroc[1:2] - cell.auroc[2:3]), ~unpaired.withheld(counts)
        ),
    }


def coverage_of_means(cell: SimulatedCell, counts: Sequence[SubjectCounts], boards: Boards) -> dict[str, Floats]:
    """Measure the population interval of each method's own mean."""
    covered, printed = boards.means.mean_covers(cell.auroc), ~boards.means.withheld(counts)
    return {
        "coverage_mean_baseline": share_of_printed(covered[:, :1], printed[:, :1]),
        "coverage_mean_others": share_of_printed(covered[:, 1:], printed[:, 1:]),
        "withheld_means": 1.0 - printed.mean(axis=1),
    }


def on_condition(cell: SimulatedCell, design: Design) -> Floats:
    """(C, k) population AUROC of each method on each condition."""
    return cell.auroc + cell.spread * np.array(design.offsets)[:, None]


def of_conditions(cell: SimulatedCell, design: Design, boards: Boards) -> dict[str, Floats]:
    """Measure the intervals on single conditions, in-domain being one, and Benjamini-Hochberg over all of them."""
    auroc = on_condition(cell, design)
    means, pairs, p = [], [], []
    for one, single, compared, counts in zip(
        auroc, boards.condition_means, boards.condition_pairs, design.counts, strict=True
    ):
        means.append((single.mean_covers(one), ~single.withheld([counts])))
        pairs.append((compared.difference_covers(one[1:] - one[0]), ~compared.withheld([counts])))
        p.append(printed_p(compared, [counts]))
    difference = np.concatenate([compared.mean for compared in boards.condition_pairs], axis=1)
    truth = np.concatenate([one[1:] - one[0] for one in auroc])
    q = np.concatenate(p, axis=1)
    found = benjamini_hochberg(q) <= ALPHA
    false = found & (np.sign(difference) != np.sign(np.round(truth, 12)))
    return {
        "coverage_condition_mean": share_of_printed(
            *(np.concatenate(part, axis=1) for part in zip(*means, strict=True))
        ),
        "coverage_condition": share_of_printed(*(np.concatenate(part, axis=1) for part in zip(*pairs, strict=True))),
        "false_discoveries": np.where(
            np.isnan(q).all(axis=1), np.nan, false.sum(axis=1) / np.maximum(found.sum(axis=1), 1)
        ),
    }


def measure_visible_effect(cell: SimulatedCell, counts: Sequence[SubjectCounts], boards: Boards) -> dict[str, Floats]:
    """Measure the smallest visible effect of the first family where all methods are equal.

    The effect that a board prints is added to its own differences and to those of the next board: is it found there,
    with the critical value of Holm's first step? Its range is right where it contains the effect that follows from
    the true variance, that of the differences over boards.
    """
    (family,) = (one for one in families(cell.kinds) if one.name == "baseline")
    _, estimates, _ = pair_estimates(cell, family.pairs, boards)
    m = len(family.pairs)
    kept = ~estimates.withheld(counts)
    if not kept.any():
        return {name: np.full(len(kept), np.nan) for name in VISIBLE}
    effect = np.where(kept, estimates.smallest_visible_effect(m), np.nan)

    def found(added: Floats) -> Floats:
        p = replace(estimates, mean=estimates.mean + added).p()
        return share_of_printed(p <= ALPHA / m, kept & ~np.isnan(added))

    low, high = estimates.visible_effect_range(m)
    true = effect * np.sqrt(estimates.mean.var(axis=0, ddof=1) / estimates.variance)
    measured = (
        *(np.full(len(kept), value) for value in np.nanquantile(effect, [0.1, 0.5, 0.9])),
        found(effect),
        found(np.roll(effect, 1, axis=0)),
        share_of_printed((low <= true) & (true <= high), kept),
    )
    return dict(zip(VISIBLE, measured, strict=True))


def measure_chance_marks(cell: SimulatedCell, design: Design, boards: Boards) -> dict[str, Floats]:
    """Measure the marks `not shown above chance` and `shown below chance`, of means and of the worst condition."""
    low, high = boards.means.mean_interval()
    printed = ~boards.means.withheld(design.counts)

    def of(level: float, hits: Bools) -> Floats:
        members = np.isclose(cell.auroc, level)
        return share_of_printed(hits[:, members], printed[:, members])

    at_chance = np.isclose(on_condition(cell, design).min(axis=0), 0.5)
    above, below, known = np.ones_like(printed), np.zeros_like(printed), np.zeros_like(printed)
    for one, counts in zip(boards.condition_means, design.counts, strict=True):
        seen = ~one.withheld([counts])
        above &= ~seen | (one.mean_interval()[0] > 0.5)
        below |= seen & (one.mean < 0.5) & (chance_p(one.mean, one.variance, one.df) * len(design.counts) <= ALPHA)
        known |= seen
    return {
        "above_at_chance": of(0.5, low > 0.5),
        "below_at_chance": of(0.5, high < 0.5),
        **{f"unproven_{level:.2f}": of(level, low <= 0.5) for level in (0.56, 0.60, 0.65)},
        "below_0.44": of(0.44, high < 0.5),
        "worst_above_at_chance": share_of_printed(above[:, at_chance], known[:, at_chance]),
        "worst_below_at_chance": share_of_printed(below[:, at_chance], known[:, at_chance]),
    }


def in_domain_worse(cell: SimulatedCell, counts: Sequence[SubjectCounts], boards: Boards) -> dict[str, Floats]:
    """Measure the mark `in-domain worse` on the last condition, for every true loss."""
    compared = boards.condition_pairs[-1]
    printed = ~compared.withheld([counts[-1]])
    marked = compared.mean + compared.half_width() < -IN_DOMAIN_LOSS
    loss = cell.auroc[0] - cell.auroc[1:]
    return {
        f"worse_{size:.2f}": share_of_printed(marked[:, np.isclose(loss, size)], printed[:, np.isclose(loss, size)])
        for size in (0.0, 0.02, 0.06, 0.12)
    }


def reproduction(values: Floats) -> dict[str, Floats]:
    """Measure the reproduction check: a method's last seeds on the same images against its first ones.

    Args:
        values: (B, k, n) metric of each run; nothing is measured unless there are enough seeds for both.
    """
    n = values.shape[-1] - NEW_SEEDS
    if n < MIN_SEEDS:
        return {}
    claimed = values[..., :n]
    sd = claimed.std(axis=-1, ddof=1)
    apart = values[..., n:].mean(axis=-1) - claimed.mean(axis=-1)
    tolerance = stats.t.ppf(0.975, n - 1) * sd * (1 / n + 1 / NEW_SEEDS) ** 0.5
    miss = sd * smallest_visible_miss(1.0, n, NEW_SEEDS)
    return {
        "reproduction_rejected": (np.abs(apart) > tolerance).mean(axis=1),
        "reproduction_noticed": (np.abs(apart + miss) > tolerance).mean(axis=1),
    }
