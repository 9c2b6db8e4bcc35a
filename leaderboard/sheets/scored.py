"""Score the entries of one sheet: AUROCs, and what each test subject contributes to them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from divsal_bench.errors import UserError
from divsal_bench.leaderboard.sheets.entries import Entry, Sheet
from divsal_bench.leaderboard.statistics import families, over_seeds, reader_case
from divsal_bench.leaderboard.statistics.over_seeds import SeedCell
from divsal_bench.leaderboard.statistics.placements import AurocRows, SubjectCounts, clustered_influence, count_subjects
from divsal_bench.leaderboard.statistics.reader_case import NAN, Comparison, Interval
from divsal_bench.scores import conditions

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
#: Seed to a metric's value and its influence values, (K,) over test subjects.
BySeed = dict[int, tuple[float, Floats]]
#: A run's own numbers were computed in float64 from the same logits.
RUN_AGREES = 1e-4


@dataclass(frozen=True)
class Metric:
    """AUROC on some conditions: one number a seed, summarised twice.

    Attributes:
        seeds: Mean ± sd and the t-interval over seeds, "on exactly these test images".
        population: The interval for new seeds and new test subjects; None where there is no such metric,
            without ends where it has no interval.
    """

    seeds: SeedCell
    population: Interval | None


@dataclass(frozen=True)
class Subjects:
    """The people behind the test rows.

    Attributes:
        total: Number of test subjects.
        single: Of them, those with one test row; an image whose subject is unknown counts as one.
        conditions: Of every condition that has an AUROC, by name.
        primary: Names of the conditions that the primary metric is a mean over.
    """

    total: int
    single: int
    conditions: dict[str, SubjectCounts]
    primary: tuple[str, ...]

    def behind(self, name: str) -> list[SubjectCounts]:
        """The subjects of one condition; none where it is not known."""
        return [self.conditions[name]] if name in self.conditions else []

    @property
    def behind_primary(self) -> list[SubjectCounts]:
        """The subjects of the conditions that make the primary metric."""
        return [self.conditions[name] for name in self.primary]


@dataclass(frozen=True, eq=False)
class Scored:
    """An entry with what the tests need.

    Attributes:
        primary, in_domain, worst: Empty where there is no such metric.
        conditions: Every condition that has an AUROC, by name.
    """

    entry: Entry
    primary: BySeed = field(default_factory=dict)
    in_domain: BySeed = field(default_factory=dict)
    worst: BySeed = field(default_factory=dict)
    conditions: dict[str, BySeed] = field(default_factory=dict)


def score_sheet(sheet: Sheet) -> dict[str, Scored]:
    """Score every entry on the sheet's test rows, by label; UserError if its own numbers are others."""
    if sheet.rows is None:
        return {entry.label: Scored(entry) for entry in sheet.entries}
    is_test, found, subjects = test_rows(sheet.rows)
    with_result = [entry for entry in sheet.entries if entry.seeds]
    scores = np.concatenate([entry.margins[:, is_test] for entry in with_result])

    def one(names: list[str]) -> list[tuple[float, Floats]]:
        chosen = [AurocRows(c.name, c.positives, c.negatives) for c in found if c.name in names]
        result = clustered_influence(scores, chosen, subjects)
        return list(zip(result.primary.tolist(), result.influence, strict=True))

    each = {c.name: one([c.name]) for c in found if c.has_auroc}
    unseen = [c.name for c in found if c.in_primary]
    parts: dict[str, list[tuple[float, Floats]]] = {}
    if any(c.name == conditions.IN_DOMAIN and c.kind == "scored" for c in found):
        parts["in_domain"] = each[conditions.IN_DOMAIN]
    if unseen:
        parts["primary"] = one(unseen)
        # The minimum moves with the condition that attains it: its influence is that condition's.
        parts["worst"] = [min(run, key=lambda pair: pair[0]) for run in zip(*(each[n] for n in unseen), strict=True)]
    elif "in_domain" in parts:
        parts["primary"] = parts["in_domain"]

    results = {entry.label: Scored(entry) for entry in sheet.entries}
    start = 0
    for entry in with_result:
        here = slice(start, start + len(entry.seeds))
        start = here.stop
        results[entry.label] = Scored(
            entry,
            **{name: dict(zip(entry.seeds, values[here], strict=True)) for name, values in parts.items()},
            conditions={name: dict(zip(entry.seeds, values[here], strict=True)) for name, values in each.items()},
        )
        check_own_numbers(results[entry.label])
    return results


def test_rows(rows: pd.DataFrame) -> tuple[npt.NDArray[np.bool_], list[conditions.Condition], npt.NDArray[np.str_]]:
    """Which rows are test rows, (N,); the conditions of these T rows; and the subject of each, (T,)."""
    is_test = (rows["split"] == "test").to_numpy()
    test = rows[is_test]
    found = conditions.restore(
        test["label"].to_numpy(np.int64),
        test["condition"].to_numpy(object),
        test["condition_axis"].to_numpy(object),
    )
    return is_test, found, test["subject"].to_numpy(str)


def subjects_of(sheet: Sheet) -> Subjects | None:
    """Count the people behind a sheet's test rows; None where it has no rows."""
    if sheet.rows is None:
        return None
    _, found, subjects = test_rows(sheet.rows)
    counts = count_subjects([AurocRows(c.name, c.positives, c.negatives) for c in found if c.has_auroc], subjects)
    rows_each = np.unique(subjects, return_counts=True)[1]
    unseen = tuple(c.name for c in found if c.in_primary)
    inside = tuple(one.name for one in counts if one.name == conditions.IN_DOMAIN)
    return Subjects(
        total=len(rows_each),
        single=int((rows_each == 1).sum()),
        conditions={one.name: one for one in counts},
        primary=unseen or inside,
    )


def check_own_numbers(scored: Scored) -> None:
    """Compare what an entry says of itself with what its predictions say."""
    entry = scored.entry
    for own, seed, origin in zip(entry.scores, entry.seeds, entry.origins, strict=True):
        claims = {("in_domain", ""): own.in_domain, ("open_set", ""): own.open_set, ("worst", ""): own.worst}
        claims |= {("auroc of condition ", c.name): c.auroc for c in own.conditions}
        sources = {
            ("in_domain", ""): scored.in_domain,
            ("open_set", ""): scored.primary if scored.worst else {},
            ("worst", ""): scored.worst,
        }
        sources |= {("auroc of condition ", name): found for name, found in scored.conditions.items()}
        for name in claims.keys() | sources.keys():
            claim, found = claims.get(name), sources.get(name, {}).get(seed)
            if (claim is None) != (found is None) or (
                claim is not None and found is not None and abs(claim - found[0]) > RUN_AGREES
            ):
                shown = "none" if found is None else f"{found[0]:.6f}"
                raise UserError(
                    f"{origin} says {''.join(name)} = {claim if claim is not None else 'none'}, its predictions "
                    f"say {shown}; delete it and make it again"
                )


def metric(found: BySeed, counts: Sequence[SubjectCounts] = ()) -> Metric:
    """Summarise one metric over seeds and over the population.

    Args:
        counts: Subjects of every condition that the metric is a mean over; too few give no population interval.
    """
    values = np.array([found[seed][0] for seed in sorted(found)])
    if not len(values):
        return Metric(over_seeds.seed_cell(values), None)
    interval = reader_case.population_interval(values, np.array([found[seed][1] for seed in sorted(found)]))
    if families.withheld(counts, interval.subjects):
        interval = dataclasses.replace(interval, low=NAN, high=NAN, status="undefined")
    return Metric(over_seeds.seed_cell(values), interval)


def seeds_only(found: BySeed) -> Metric:
    """Summarise over seeds alone: for a minimum over conditions, which no normal interval covers."""
    return Metric(metric(found).seeds, None)


def compare_shared_seeds(a: BySeed, b: BySeed, counts: Sequence[SubjectCounts] = ()) -> Comparison | None:
    """Compare over the seeds both have; None without any.

    Args:
        counts: Subjects of every condition that the metric is a mean over; too few give neither p nor interval.
    """
    shared = sorted(set(a) & set(b))
    if not shared:
        return None
    parts = [np.array([found[seed][1] for seed in shared]) for found in (a, b)]
    return with_verdict(reader_case.compare_paired(*shared_values(a, b), parts[0], parts[1]), counts)


def compare_all_seeds(a: BySeed, b: BySeed, counts: Sequence[SubjectCounts] = ()) -> Comparison:
    """Compare two sets of runs that share no seed, neither empty."""
    parts = [np.array([found[seed][1] for seed in sorted(found)]) for found in (a, b)]
    return with_verdict(reader_case.compare_unpaired(*values_of(a, b), parts[0], parts[1]), counts)


def with_verdict(found: Comparison, counts: Sequence[SubjectCounts]) -> Comparison:
    """A comparison, without p and interval where there are too few test subjects for them."""
    if not families.withheld(counts, found.subjects):
        return found
    return dataclasses.replace(found, t=NAN, p=NAN, low=NAN, high=NAN, status="undefined")


def values_of(a: BySeed, b: BySeed) -> tuple[Floats, Floats]:
    """The metric of both at the seeds both have; without any, at all of each. Ascending."""
    if set(a) & set(b):
        return shared_values(a, b)
    first, second = (np.array([found[seed][0] for seed in sorted(found)]) for found in (a, b))
    return first, second


def shared_values(a: BySeed, b: BySeed) -> tuple[Floats, Floats]:
    """The metric of both at the seeds both have, ascending."""
    shared = sorted(set(a) & set(b))
    first, second = (np.array([found[seed][0] for seed in shared]) for found in (a, b))
    return first, second


def without_p(comparison: Comparison) -> Comparison:
    """A comparison that is shown and not tested."""
    return dataclasses.replace(comparison, p=NAN)
