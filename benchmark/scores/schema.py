"""The typed numbers of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    pass


class Typed(BaseModel):
    """Closed and immutable: an unknown or missing field is an error, not a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


class ConditionScore(Typed):
    """AUROC of one condition.

    Attributes:
        axis, kind, reason: As in :class:`divsal_bench.scores.conditions.Condition`.
        auroc: None without both classes.
        positives, negatives: Rows compared.
        false_positive_rate: Of the negatives, at the threshold set on validation; None with fewer than 1/rate
            negatives in validation or in the in-domain test rows.
    """

    name: str
    axis: str
    kind: str
    reason: str
    auroc: float | None
    positives: int
    negatives: int
    false_positive_rate: float | None


class FieldScore(Typed):
    """One of the field's own metrics on one condition.

    Attributes:
        value: None where it is not available; ``note`` says why.
        achieved: The constrained rate really reached by the threshold set on validation.
        oracle: The value had the threshold been set on the condition itself.
        species: Attack species to its own value, where the metric has them.
    """

    metric: str
    condition: str
    value: float | None
    achieved: float | None = None
    oracle: float | None = None
    species: dict[str, float] = {}
    note: str = ""


class Threshold(Typed):
    """A decision threshold on the logit margin, and the rule that set it on the whole validation split.

    ``value`` is None when no threshold but infinity keeps the rule: nothing is called positive.
    """

    rule: str
    rate: float
    value: float | None
    negatives: int


class MapAgreement(Typed):
    """Agreement of one kind of model map with human maps, over the test rows that have one.

    Attributes:
        maps_negative, maps_positive: How many maps, by class.
        auc_maps, cc_maps: How many of them allow AUC (some cell inside, some outside) and CC (not constant).
        empty: How many model maps had no positive part (counted as PE 0).
        lift_nonempty, pe_nonempty: Over the other maps.
    """

    maps_negative: int
    maps_positive: int
    empty: int
    pe: float | None
    lift: float | None
    auc: float | None
    auc_maps: int
    cc: float | None
    cc_maps: int
    pe_nonempty: float | None
    lift_nonempty: float | None


class Scores(Typed):
    """All numbers of one run.

    Attributes:
        primary: ``open-set`` (mean AUROC over unseen conditions with both classes), or ``in-domain`` where
            there is no such condition.
        true_cam, difference_map: Agreement with people; None where the test split has no human map.
    """

    primary: Literal["open-set", "in-domain"]
    validation: float | None
    in_domain: float | None
    open_set: float | None
    worst: float | None
    conditions: list[ConditionScore]
    field_metrics: list[FieldScore]
    thresholds: list[Threshold]
    true_cam: MapAgreement | None
    difference_map: MapAgreement | None
