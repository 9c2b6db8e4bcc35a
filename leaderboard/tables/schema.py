"""A board as typed objects."""

from __future__ import annotations

from dataclasses import dataclass, field

from divsal_bench.leaderboard.sheets.entries import Group, Standing
from divsal_bench.leaderboard.sheets.scored import Metric
from divsal_bench.leaderboard.statistics.families import Rank
from divsal_bench.leaderboard.statistics.over_seeds import SeedCell
from divsal_bench.leaderboard.statistics.reader_case import NAN, Comparison, FixedImages


@dataclass(frozen=True)
class Test:
    """The decisive test of one pair, in its family.

    Attributes:
        family: As :class:`divsal_bench.leaderboard.statistics.families.Family` names it.
        first, second: Labels; the difference is first − second.
        comparison: Over new seeds and new test subjects.
        p_holm: Adjusted within the family; NaN where undefined or withheld.
        family_size: Number of tests in the family.
        smallest_effect: The smallest difference that this test would have seen with 80 % power.
        on_these_images: Decides nothing.
        hedges_g: In units of the sd over seeds.
        superiority: Share of seed pairs in which the first is higher.
        smallest_low, smallest_high: 95 % range of ``smallest_effect``, which is an estimate.
        without_one: Smallest and largest difference that is left when one unseen condition is left out: descriptive.
        over_conditions: Interval with the conditions as a sample of conditions, NaN below 5: descriptive.
        withheld: Why it has no p although there are seeds enough: too few test subjects; "" otherwise.
    """

    family: str
    first: str
    second: str
    comparison: Comparison
    p_holm: float
    family_size: int
    smallest_effect: float
    on_these_images: FixedImages
    hedges_g: float
    superiority: float
    smallest_low: float = NAN
    smallest_high: float = NAN
    without_one: tuple[float, float] = (NAN, NAN)
    over_conditions: tuple[float, float] = (NAN, NAN)
    withheld: str = ""


@dataclass(frozen=True)
class PairTest:
    """One of the tests that ranks are built from: first − second, Holm over all pairs of ranked methods.

    Attributes:
        withheld: Why it has no p; "" otherwise. Such a pair counts as not separated.
    """

    first: str
    second: str
    difference: float
    p: float
    p_holm: float
    withheld: str = ""


@dataclass(frozen=True)
class ConditionCell:
    """One method on one condition.

    Attributes:
        auroc: Without seeds where the condition has no AUROC.
        difference: To cross-entropy, over the seeds both have; None without any.
        q: Benjamini–Hochberg over every condition and method of the table but those with a family of their own, which
            have a grid of their own; None where not tested.
        false_positive_rate: Of the condition's negatives at the threshold set on validation, over seeds.
        mark: ``not shown above chance``, ``shown below chance``, or "".
    """

    condition: str
    auroc: Metric
    difference: Comparison | None
    q: float | None
    false_positive_rate: SeedCell | None
    mark: str = ""


@dataclass(frozen=True)
class FieldCell:
    """A :class:`divsal_bench.scores.schema.FieldScore` of one method over seeds."""

    metric: str
    condition: str
    value: SeedCell | None
    achieved: SeedCell | None
    oracle: SeedCell | None
    note: str


@dataclass(frozen=True)
class Agreement:
    """Agreement of one kind of model map with human maps, over seeds; ``empty`` is the mean number of empty maps."""

    lift: SeedCell
    pe: SeedCell | None
    auc: SeedCell | None
    cc: SeedCell | None
    lift_nonempty: SeedCell | None
    empty: float


@dataclass(frozen=True)
class Survivors:
    """What the seeds with a result gave where others have none: no mean of the method, since what fails is no accident.

    Attributes:
        seeds, asked: Number of seeds with a result, and of all that were asked for.
        in_domain, open_set, worst: Over the survivors, on exactly these test images.
    """

    seeds: int
    asked: int
    in_domain: SeedCell
    open_set: SeedCell
    worst: SeedCell


@dataclass(frozen=True)
class MethodRow:
    """One method.

    Attributes:
        seeds: Seeds with a result, sorted.
        failed, diverged: Number of runs without one.
        rank: None for controls, fewer than five seeds, and whatever else ``unranked`` says.
        in_domain, open_set, worst: Without seeds where a run has no result, or where another method stands for this.
        difference: To cross-entropy on the primary metric, over the seeds both have; None without any. It has a p, not
            adjusted, only where a family tests it.
        marks: Of :data:`divsal_bench.leaderboard.statistics.marks.MARKS`.
        true_cam, difference_map: Agreement with people; None without human maps in the test split.
        maps: (negatives, positives) with a human map in the test split.
        seconds: Mean seconds a run.
        standing: Of an accepted result; None for runs of one's own.
        unranked: Why it has no rank; "" where it has one.
        untested: Why it is in no family; "" where it may be in one.
        identical_to: The method whose margins it repeats; "" otherwise.
        survivors: Where a seed that was asked for has no result.
        worst_mark: As of a condition, of the lowest one.
    """

    label: str
    kind: str
    seeds: tuple[int, ...]
    failed: int
    diverged: int
    rank: Rank | None
    in_domain: Metric
    open_set: Metric
    worst: Metric
    difference: Comparison | None
    marks: tuple[str, ...]
    true_cam: Agreement | None
    difference_map: Agreement | None
    maps: tuple[int, int]
    conditions: tuple[ConditionCell, ...]
    field_metrics: tuple[FieldCell, ...]
    seconds: float
    peak_mb: float
    standing: Standing | None
    unranked: str = ""
    untested: str = ""
    identical_to: str = ""
    survivors: Survivors | None = None
    worst_mark: str = ""

    @property
    def primary(self) -> Metric:
        """Open-set AUROC; in-domain AUROC where there is no unseen condition."""
        return self.open_set if self.open_set.population is not None else self.in_domain


@dataclass(frozen=True)
class ConditionSubjects:
    """The people behind one condition.

    Attributes:
        positives, negatives, largest_share: As in
            :class:`divsal_bench.leaderboard.statistics.placements.SubjectCounts`.
        effective: K, the number of equal subjects they count as, the lowest of all methods; NaN if unknown.
        withheld: Why nothing on this condition has a p or an interval; "" where they are enough.
    """

    name: str
    positives: int
    negatives: int
    effective: float
    largest_share: float
    withheld: str = ""


@dataclass(frozen=True)
class Table:
    """One table, with all that is said about it.

    Attributes:
        primary: ``open-set`` or ``in-domain``.
        conditions: Name, kind and reason of every condition.
        rows: By kind, cross-entropy first, then by label.
        tests: Family by family.
        pairs: What the ranks are built from.
        notes: What the numbers can and cannot say.
        date: Of the newest result, ISO 8601.
        subjects: Of every condition that has an AUROC.
        test_subjects, single_subjects: Number of test subjects, and of those with one test row.
        subject_share: c⁺/v, the share of a difference's variance that is due to the test subjects: the median over
            the differences to cross-entropy, without any over the methods' means; NaN if unknown.
        withheld: Why nothing has a p or a rank: too few test subjects; "" otherwise.
        train, train_maps: Rows of the training split, and those with a human map; None if unknown.
        unnamed: The data is drawn, and was used without being named.
        edition: Date of the list of reference methods that the families are closed to; "" where they are open.
    """

    task: str
    data: str
    fingerprint: str
    protocol: str
    backbone: str
    head: str
    digest: str
    primary: str
    standin: bool
    date: str
    conditions: tuple[tuple[str, str, str], ...]
    rows: tuple[MethodRow, ...]
    tests: tuple[Test, ...]
    pairs: tuple[PairTest, ...]
    notes: tuple[str, ...] = field(default=())
    subjects: tuple[ConditionSubjects, ...] = ()
    test_subjects: int = 0
    single_subjects: int = 0
    subject_share: float = NAN
    withheld: str = ""
    train: int | None = None
    train_maps: int | None = None
    unnamed: bool = False
    edition: str = ""

    @property
    def group(self) -> Group:
        """What makes it another table than the others."""
        return Group(self.task, self.fingerprint, self.protocol, self.backbone, self.head, self.digest)
