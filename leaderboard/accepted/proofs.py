"""How far a result has been checked: reported → verified → reproduced, or not reproduced.

*Verified*: somebody recomputed margins and agreement with people from the weights. *Reproduced*: somebody else trained
at least five new seeds, and their mean is as close to the claimed one as new seeds of the same method are in 95 % of
cases.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from divsal_bench.errors import UserError
from divsal_bench.leaderboard.accepted.publishing import Publication
from divsal_bench.leaderboard.accepted.rescoring import AGREES
from divsal_bench.leaderboard.claims import claim as claims
from divsal_bench.leaderboard.claims import keys
from divsal_bench.leaderboard.claims.claim import NEW_SEEDS, Claim, Reproduction, Verified
from divsal_bench.leaderboard.claims.consistency import check_new_seeds, check_proofs
from divsal_bench.leaderboard.claims.files import MARGINS, read_submitted
from divsal_bench.leaderboard.statistics import families
from divsal_bench.runs.reading import Run

#: Differences of AUROC below this are never held against anybody.
LEAST_TOLERANCE = 0.001


@dataclass(frozen=True)
class Closeness:
    """A claimed mean, a new one, and how far apart they may be."""

    claimed_mean: float
    new_mean: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the new mean is close enough."""
        return abs(self.new_mean - self.claimed_mean) <= self.tolerance


def closeness(claimed: Sequence[float], new: Sequence[float]) -> Closeness:
    """Compare new seeds with those of a claim.

    The tolerance is half the 95 % prediction interval of the mean of m new seeds after n claimed ones,
    t(.975, n − 1)·s·√(1/n + 1/m), at least :data:`LEAST_TOLERANCE`: an honest result misses in 5 % of cases. The
    test images are the same, so that nothing is allowed for other images.

    Args:
        claimed: Primary metric of each claimed seed, n ≥ 2.
        new: Of each new seed, m ≥ 1.

    Raises:
        UserError: One claimed seed tells no spread.
    """
    n, m = len(claimed), len(new)
    if n < 2 or m < 1:
        raise UserError(f"{n} claimed and {m} new seeds with a primary metric cannot be compared; 2 and 1 are needed")
    # The standard error of the difference between both means, by the spread of the claimed seeds.
    error = float(np.std(claimed, ddof=1) * np.sqrt(1 / n + 1 / m))
    half = float(stats.t.ppf(0.975, n - 1)) * error
    return Closeness(float(np.mean(claimed)), float(np.mean(new)), max(LEAST_TOLERANCE, half))


def noticed_miss(claimed: Sequence[float], m: int) -> float:
    """The true difference that a reproduction with m new seeds finds with 80 % power.

    "Reproduced" only says that no miss was found; this says how large one would have been found.

    Args:
        claimed: Primary metric of each claimed seed, n ≥ 2.
        m: Number of new seeds.
    """
    return families.smallest_visible_miss(float(np.std(claimed, ddof=1)), len(claimed), m, LEAST_TOLERANCE)


def proof_of(claim: Claim) -> str:
    """What shows a claim's state, in one line, and what it does not show."""
    parts = []
    if claim.verified is not None:
        one = claim.verified
        largest = f"largest |ΔAUROC| {one.max_difference:.2g} on {one.device}"
        parts.append(f"verified by {one.by} ({one.date[:10]}): {largest}")
    if claim.reproduction is not None:
        new = claim.reproduction
        parts.append(
            f"{claims.proven_state(claim)} by {new.by} ({new.date[:10]}): mean {new.new_mean:.4f} of {len(new.seeds)} "
            f"new seeds, claimed {new.claimed_mean:.4f}, tolerance {new.tolerance:.4f}"
            + (f"; {unnoticed(noticed_miss(claim.primary, len(new.seeds)))}" if new.holds else "")
        )
    return "; ".join(parts)


def unnoticed(size: float) -> str:
    """What "reproduced" leaves open."""
    return f"no miss was found: one of {size:.4f} would have been in 80 % of cases, a smaller one less often"


def check_reproduction(claim: Claim, where: Path) -> None:
    """Compute a stored reproduction's means and tolerance again; UserError if one was edited, or metrics differ."""
    new = claim.reproduction
    if new is None:
        return
    again = closeness(claim.primary, claims.primary_of(new.seeds))
    for field in ("claimed_mean", "new_mean", "tolerance"):
        stored, found = getattr(new, field), getattr(again, field)
        if abs(stored - found) > AGREES:
            raise UserError(f"edited metrics in {where}: reproduction.{field} is {stored}, the margins give {found}")


def with_verification(claim: Claim, proof: Verified) -> Claim:
    """The claim with the proof that its weights give its predictions; a reproduction stays.

    Raises:
        UserError: The proof is of other margins.
    """
    new = with_state(claim.model_copy(update={"verified": proof}))
    check_proofs(new, claim.label)
    return new


def with_reproduction(claim: Claim, found: Publication, runs: Sequence[Run], by: str, date: str, where: Path) -> Claim:
    """The claim with what somebody else's new seeds gave, whichever way it went.

    Args:
        found: The new seeds as they are published.
        runs: The same, as they were read.
        by: Who trained them.
        date: Of the newest of them.
        where: The claim's file; its margins lie beside it.

    Raises:
        UserError: They are too few, not new, the claimant's own, copies, or of another specification.
    """
    by = claims.person(by)
    if claims.same_person(by, claim.submitter):
        raise UserError(f"{claim.submitter} cannot reproduce their own result {where}; somebody else must train it")
    for run in runs:
        if run.spec.run_id != claim.spec(run.spec.seed).run_id:
            raise UserError(f"{run.path} ran {differing_field(claim, run)} than {where} claims")
    known = {one.seed for one in claim.seeds} | {one.seed for one in claim.missing}
    old = sorted(known & {run.spec.seed for run in runs})
    if old:
        raise UserError(
            f"seed{'s' * (len(old) > 1)} {', '.join(map(str, old))} {'are' if len(old) > 1 else 'is'} in the claim "
            f"already; train others, e.g. --seeds {max(known) + 1}-{max(known) + NEW_SEEDS}"
        )
    if len(found.seeds) < NEW_SEEDS:
        raise UserError(f"a reproduction needs {NEW_SEEDS} new seeds with a result, there are {len(found.seeds)}")
    check_new_seeds(claim, sorted(run.spec.seed for run in runs), where)
    check_not_copied(claim, found, where)
    compared = closeness(claim.primary, claims.primary_of(found.seeds))
    proof = Reproduction(
        by=by,
        date=date,
        seeds=found.seeds,
        missing=found.missing,
        claimed_mean=compared.claimed_mean,
        new_mean=compared.new_mean,
        tolerance=compared.tolerance,
        margins_sha256=hashlib.sha256(found.margin_bytes()).hexdigest(),
        claim_margins_sha256=claim.margins_sha256,
    )
    return with_state(claim.model_copy(update={"reproduction": proof}))


def check_not_copied(claim: Claim, found: Publication, where: Path) -> None:
    """Refuse new seeds that have the margins of another new seed or of a claimed one."""
    names = found.rows["key"].tolist()
    file = where.with_name(where.stem + MARGINS)
    claimed = [one.seed for one in claim.seeds]
    margins = keys.parse_margins(file, read_submitted(file, keys.limit(len(names))), claimed, names)
    both = np.concatenate([margins, found.margins])
    keys.check_no_copies(where, [*claimed, *(one.seed for one in found.seeds)], both)


def with_state(claim: Claim) -> Claim:
    """The claim with the state that its proofs show."""
    return claim.model_copy(update={"state": claims.proven_state(claim)})


def differing_field(claim: Claim, run: Run) -> str:
    """``another backbone (resnet18)``: the first part of a run's specification that is not the claim's."""
    claimed, found = claim.spec(run.spec.seed), run.spec
    for name in type(found).model_fields:
        if name != "data" and getattr(claimed, name) != getattr(found, name):
            value = getattr(found, name)
            return f"another {name} ({str(value)[:60]}, not {str(getattr(claimed, name))[:60]})"
    return "something else"
