"""What is decided between the methods of a table: families, ranks, marks, and the conditions as an exploration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from divsal_bench.leaderboard.sheets import scored
from divsal_bench.leaderboard.sheets.scored import Scored, Subjects, compare_shared_seeds, metric, without_p
from divsal_bench.leaderboard.statistics import families, marks, over_conditions, over_seeds, reader_case
from divsal_bench.leaderboard.statistics.families import Family, Rank
from divsal_bench.leaderboard.statistics.placements import SubjectCounts
from divsal_bench.leaderboard.statistics.reader_case import NAN, Comparison
from divsal_bench.leaderboard.tables.schema import (
    ConditionCell,
    PairTest,
    Test,
)
from divsal_bench.scores.conditions import IN_DOMAIN
from divsal_bench.scores.schema import Scores

Floats = npt.NDArray[np.float64]


def condition_cells(
    found: Mapping[str, Scored],
    tested: Sequence[str],
    baseline: Scored | None,
    subjects: Subjects,
    listed: Sequence[Family],
) -> dict[str, tuple[ConditionCell, ...]]:
    """Every method on every condition, Benjamini–Hochberg over the whole grid of differences that are tested.

    A method with a family of its own has a grid of its own, too: it changes no other method's q.
    """
    differences: dict[tuple[str, str], Comparison] = {}
    for label, one in found.items():
        for name in one.conditions:
            if baseline is None:
                continue
            comparison = compare_shared_seeds(
                one.conditions[name], baseline.conditions.get(name, {}), subjects.behind(name)
            )
            if comparison is not None and one is not baseline:
                differences[label, name] = comparison
    decided = {
        (label, name): one
        for (label, name), one in differences.items()
        if label in tested
        and families.BASELINE in tested
        and not families.withheld(subjects.behind(name), one.subjects)
    }
    own = {family.name.removeprefix(families.OWN) for family in listed if family.name.startswith(families.OWN)}
    q: dict[tuple[str, str], float] = {}
    for alone in ("", *sorted(own)):
        grid = [key for key in decided if (key[0] if key[0] in own else "") == alone]
        adjusted = families.benjamini_hochberg(np.array([decided[key].p for key in grid]))
        q |= dict(zip(grid, map(float, adjusted), strict=True))

    def cell(label: str, name: str, one: Scored) -> ConditionCell:
        auroc = metric(one.conditions.get(name, {}), subjects.behind(name))
        difference = differences.get((label, name))
        return ConditionCell(
            condition=name,
            auroc=auroc,
            difference=without_p(difference) if difference and (label, name) not in decided else difference,
            q=q.get((label, name)),
            false_positive_rate=over_seeds.known_cell(
                c.false_positive_rate for scores in one.entry.scores for c in scores.conditions if c.name == name
            ),
            mark=marks.against_chance(auroc.population),
        )

    return {
        label: tuple(cell(label, name, one) for name in condition_names(one.entry.scores))
        for label, one in found.items()
    }


def condition_names(scores: Sequence[Scores]) -> list[str]:
    """Names of all conditions, in their own order."""
    return [c.name for c in scores[0].conditions] if scores else []


def marks_of(one: Scored, baseline: Scored | None, subjects: Subjects) -> tuple[str, ...]:
    """Findings that set a row apart."""
    chance = marks.against_chance(metric(one.primary, subjects.behind_primary).population)
    worse = baseline is not None and marks.is_worse_in_domain(
        compare_shared_seeds(one.in_domain, baseline.in_domain, subjects.behind(IN_DOMAIN))
    )
    return (*([chance] if chance else []), *([marks.IN_DOMAIN_WORSE] if worse else []))


def decide(one: Scored, other: Scored, counts: Sequence[SubjectCounts]) -> tuple[Comparison, str]:
    """The test of two methods, and why it has no p; "" where it has one."""
    comparison = compare_shared_seeds(one.primary, other.primary, counts)
    assert comparison is not None, "methods that are tested have the seeds from 0 on"
    return comparison, families.withheld(counts, comparison.subjects)


def decide_pairs(ranked: Sequence[Scored], subjects: Subjects) -> list[PairTest]:
    """The test of every pair of ranked methods."""
    found = [
        (first.entry.label, second.entry.label, *decide(first, second, subjects.behind_primary))
        for first, second in combinations(ranked, 2)
    ]
    adjusted = families.holm(np.array([comparison.p for *_, comparison, _ in found]))
    return [
        PairTest(first, second, comparison.difference, comparison.p, float(p_holm), reason)
        for (first, second, comparison, reason), p_holm in zip(found, adjusted, strict=True)
    ]


def ranks_of(pairs: Sequence[PairTest], ranked: Sequence[str], marked: dict[str, tuple[str, ...]]) -> dict[str, Rank]:
    """Rank intervals; none without a pair that may be tested.

    A pair whose test is withheld counts as not separated, which keeps both ranks wide: else one odd entry, like to
    another but for one test subject, could take the ranks from all.
    """
    if all(pair.withheld for pair in pairs):
        return {}
    return families.rank_intervals(
        ranked,
        [(pair.first, pair.second) for pair in pairs],
        np.array([pair.difference for pair in pairs]),
        np.array([pair.p for pair in pairs]),
        [label for label, found in marked.items() if found],
    )


def differences_by_condition(one: Scored, other: Scored, subjects: Subjects) -> Floats:
    """(C,) difference on each condition that the primary metric is a mean over, the mean over common seeds."""
    found = [compare_shared_seeds(one.conditions[name], other.conditions[name]) for name in subjects.primary]
    return np.array([comparison.difference for comparison in found if comparison is not None])


def run_families(listed: Sequence[Family], found: Mapping[str, Scored], subjects: Subjects) -> list[Test]:
    """Every family, Holm in each."""
    tests: list[Test] = []
    for family in listed:
        decided = [decide(found[first], found[second], subjects.behind_primary) for first, second in family.pairs]
        adjusted = families.holm(np.array([comparison.p for comparison, _ in decided]))
        for (first, second), (comparison, reason), p in zip(family.pairs, decided, adjusted, strict=True):
            shared = scored.shared_values(found[first].primary, found[second].primary)
            size = len(decided)
            smallest = families.smallest_visible_effect(comparison.variance, comparison.df, size)
            low, high = families.visible_effect_range(comparison.variance, comparison.df, size)
            by_condition = differences_by_condition(found[first], found[second], subjects)
            sampled = over_conditions.random_conditions(by_condition)
            tests.append(
                Test(
                    family=family.name,
                    first=first,
                    second=second,
                    comparison=comparison,
                    p_holm=float(p),
                    family_size=size,
                    smallest_effect=NAN if reason else smallest,
                    on_these_images=reader_case.compare_on_fixed_images(*shared),
                    hedges_g=over_seeds.hedges_g(*shared),
                    superiority=over_seeds.probability_of_superiority(*shared),
                    smallest_low=NAN if reason else low,
                    smallest_high=NAN if reason else high,
                    without_one=over_conditions.leave_one_out(by_condition),
                    over_conditions=(sampled.low, sampled.high),
                    withheld=reason,
                )
            )
    return tests
