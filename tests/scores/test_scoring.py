"""From predictions to a run's numbers: conditions, thresholds, field metrics, agreement."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from divsal_bench.scores import metrics, scoring
from divsal_bench.scores.conditions import assign, conditions

pytestmark = pytest.mark.fast

PAD = ("apcer@bpcer=1%", "bpcer@bpcer=1%", "d-eer")


def predictions(seed: int = 0, negatives: int = 120) -> pd.DataFrame:
    """In-domain rows; unseen sources with both classes, with positives, with negatives; an unseen category."""
    g = np.random.default_rng(seed)
    parts = [
        ("validation", "a", "", 0, negatives), ("validation", "a", "print", 1, 50),
        ("test", "a", "", 0, negatives), ("test", "a", "print", 1, 40), ("test", "a", "lens", 1, 30),
        ("test", "b", "", 0, 25), ("test", "b", "print", 1, 20), ("test", "c", "print", 1, 15),
        ("test", "d", "", 0, 10),
    ]  # fmt: skip
    rows = [
        {"split": split, "source": source, "category": category, "label": label}
        for split, source, category, label, count in parts
        for _ in range(count)
    ]
    table = pd.DataFrame(rows)
    train = pd.DataFrame([
        {"split": "train", "source": "a", "category": "", "label": 0},
        {"split": "train", "source": "a", "category": "print", "label": 1},
    ])  # fmt: skip
    whole = pd.concat([train, table], ignore_index=True)
    is_test = (table["split"] == "test").to_numpy()
    names = np.full(len(table), "", object)
    axes = np.full(len(table), "", object)
    names[is_test] = assign(whole)
    for condition in conditions(whole):
        axes[np.flatnonzero(is_test)[condition.members]] = condition.axis
    margin = g.normal(size=len(table)) + table["label"].to_numpy() * 1.5
    return table.assign(
        sample_id=[f"s{i}" for i in range(len(table))], subject=[f"p{i}" for i in range(len(table))],
        condition=names, condition_axis=axes, logit0=-margin / 2, logit1=margin / 2,
    )  # fmt: skip


def part(table: pd.DataFrame, **wanted: object) -> np.ndarray:
    """Margins of the rows that match."""
    mask = np.all([table[name] == value for name, value in wanted.items()], axis=0)
    return scoring.margins(table)[mask]


def auroc(negatives: np.ndarray, positives: np.ndarray) -> float:
    return metrics.auroc(np.repeat([0, 1], [len(negatives), len(positives)]), np.concatenate([negatives, positives]))


def test_each_condition_is_scored_as_the_design_says() -> None:
    table = predictions()
    scores = scoring.score(table, PAD)
    inside = part(table, split="test", source="a", label=0)
    expected = {
        "in-domain": auroc(inside, part(table, split="test", source="a", category="print")),
        "b": auroc(part(table, source="b", label=0), part(table, source="b", label=1)),
        "c": auroc(inside, part(table, source="c")),
        "lens": auroc(inside, part(table, category="lens")),
        "d": None,
    }
    assert {c.name: c.auroc for c in scores.conditions} == pytest.approx(expected)
    assert {c.name: c.kind for c in scores.conditions} == {
        "in-domain": "scored", "b": "scored", "c": "cross-source", "d": "negatives-only", "lens": "scored"
    }  # fmt: skip
    assert scores.primary == "open-set"
    assert scores.open_set == pytest.approx((expected["b"] + expected["lens"]) / 2)  # type: ignore[operator]
    assert scores.worst == pytest.approx(min(expected["b"], expected["lens"]))  # type: ignore[type-var]
    assert scores.in_domain == pytest.approx(expected["in-domain"])


def test_thresholds_come_from_validation_and_report_the_rate_really_achieved() -> None:
    table = predictions()
    scores = scoring.score(table, PAD)
    validation = part(table, split="validation", label=0)
    threshold = np.sort(np.concatenate([validation, part(table, split="validation", label=1)]))
    threshold = next(t for t in threshold if np.mean(validation >= t) <= 0.01)
    assert scores.thresholds[0].value == threshold
    found = next(m for m in scores.field_metrics if m.metric == "apcer@bpcer=1%" and m.condition == "b")
    assert found.value == pytest.approx(np.mean(part(table, source="b", label=1) < threshold))
    assert found.achieved == pytest.approx(np.mean(part(table, source="b", label=0) >= threshold))
    assert found.species == {"print": found.value}
    alone = next(c for c in scores.conditions if c.name == "d")
    assert alone.false_positive_rate == pytest.approx(np.mean(part(table, source="d") >= threshold))


def test_changing_test_scores_moves_no_threshold() -> None:
    table = predictions()
    changed = table.assign(logit1=table["logit1"] + np.where(table["split"] == "test", 5.0, 0.0))
    assert scoring.score(table, PAD).thresholds == scoring.score(changed, PAD).thresholds


def test_an_operating_point_needs_enough_negatives_in_both_places() -> None:
    scores = scoring.score(predictions(negatives=99), PAD)
    found = [m for m in scores.field_metrics if m.metric == "apcer@bpcer=1%"]
    assert found
    assert all(m.value is None and "n/a (N_val=99, N_test=99; 100 negatives" in m.note for m in found)
    at_five = scoring.score(predictions(negatives=99), ("sensitivity@specificity=95%",))
    assert all(m.value is not None for m in at_five.field_metrics)


@pytest.mark.parametrize(("negatives", "known"), [(99, False), (100, True)])
def test_a_false_positive_rate_needs_as_many(negatives: int, known: bool) -> None:
    found = scoring.score(predictions(negatives=negatives), PAD)
    assert {c.false_positive_rate is not None for c in found.conditions if c.negatives} == {known}


def test_without_unseen_conditions_in_domain_auroc_is_primary() -> None:
    table = predictions()
    table = table[(table["split"] == "validation") | (table["condition"] == "in-domain")].reset_index(drop=True)
    scores = scoring.score(table, ())
    assert (scores.primary, scores.open_set, scores.worst) == ("in-domain", None, None)
    assert scores.in_domain is not None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_not_finite_is_refused(bad: float) -> None:
    table = predictions()
    table.loc[3, "logit1"] = bad
    with pytest.raises(ValueError, match=r"1 of .* scores are not finite"):
        scoring.score(table, ())


def test_agreement_means_are_over_test_maps_alone_with_their_number_per_class() -> None:
    table = predictions()
    inside = (table["split"] == "test") & (table["source"] == "a")
    values = np.where(inside | (table["split"] == "validation"), 0.25, np.nan)
    for kind in ("true", "difference"):
        for name in ("pe", "lift", "auc", "cc"):
            table[f"{kind}_{name}"] = values
        table[f"{kind}_empty"] = np.where(np.isnan(values), np.nan, 0.0)
    first = table.index[inside][0]
    table.loc[first, ["true_pe", "true_lift", "true_empty"]] = [0.0, 0.0, 1.0]
    found = scoring.score(table, ()).true_cam
    assert found is not None
    assert (found.maps_negative, found.maps_positive, found.empty) == (120, 70, 1)
    assert found.lift == pytest.approx(0.25 * 189 / 190)
    assert found.lift_nonempty == pytest.approx(0.25)
    assert scoring.score(predictions(), ()).true_cam is None


def test_auc_and_cc_say_how_many_maps_they_stand_on() -> None:
    table = predictions()
    is_test = np.flatnonzero((table["split"] == "test").to_numpy())[:5]
    for kind in ("true", "difference"):
        for name in ("pe", "lift", "auc", "cc", "empty"):
            table[f"{kind}_{name}"] = np.nan
            table.loc[is_test, f"{kind}_{name}"] = 0.0 if name == "empty" else 0.5
        table.loc[is_test[:2], f"{kind}_auc"] = np.nan
        table.loc[is_test[:1], f"{kind}_cc"] = np.nan
    found = scoring.score(table, PAD).true_cam
    assert found is not None
    assert (found.maps_negative + found.maps_positive, found.auc_maps, found.cc_maps) == (5, 3, 4)
