import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divsal_bench.scores.conditions import IN_DOMAIN, assign, conditions, restore

pytestmark = pytest.mark.fast


def table(*rows: tuple[str, int, str, str]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=["split", "label", "source", "category"])


TRAIN = [("train", 0, "a", ""), ("train", 1, "a", "print")]

names = st.sampled_from(["a", "b", "c", "in-domain", "source:a", "category:b"])
row = st.tuples(st.sampled_from(["train", "validation", "test"]), st.integers(0, 1), names, names).map(
    lambda row: (*row[:3], row[3] if row[1] else "")
)


@given(st.lists(row, max_size=40))
def test_each_test_row_falls_in_the_one_condition_of_the_rule(rows):
    data = table(*rows).astype({"label": int})
    found = conditions(data)
    test = [row for row in rows if row[0] == "test"]
    assert (sum((c.members.astype(int) for c in found), np.zeros(len(test), int)) == 1).all()
    assert len({c.name for c in found}) == len(found)

    train = [row for row in rows if row[0] == "train"]
    seen_sources = {row[2] for row in train}
    seen_categories = {row[3] for row in train if row[1]}
    for index, (_, label, source, category) in enumerate(test):
        condition = next(c for c in found if c.members[index])
        if source not in seen_sources:
            assert (condition.axis, condition.value) == ("source", source)
        elif label and category not in seen_categories:
            assert (condition.axis, condition.value) == ("category", category)
        else:
            assert (condition.axis, condition.value) == (IN_DOMAIN, "")
        assert assign(data)[index] == condition.name


@given(st.lists(row, max_size=40))
def test_scored_masks_hold_the_right_rows_and_agree_with_the_kind(rows):
    data = table(*rows).astype({"label": int})
    labels = np.array([row[1] for row in rows if row[0] == "test"], int)
    found = conditions(data)
    in_domain = next((c.members for c in found if c.axis == IN_DOMAIN), np.zeros(len(labels), bool))
    for c in found:
        assert labels[c.positives].all()
        assert not labels[c.negatives].any()
        assert (c.positives == c.members & (labels == 1)).all()
        own = c.members & (labels == 0)
        borrowed = in_domain & (labels == 0)
        assert c.has_auroc == (c.positives.any() and c.negatives.any())
        assert (c.reason == "") == (c.kind == "scored")
        if c.axis == "category" or (c.axis == "source" and not own.any()):
            assert (c.negatives == borrowed).all()
        else:
            assert (c.negatives == own).all()
        assert c.in_primary == (c.kind == "scored" and c.axis != IN_DOMAIN)


@given(st.lists(row, max_size=30))
def test_a_predictions_table_gives_the_same_conditions_back(rows):
    data = table(*rows).astype({"label": int})
    found = conditions(data)
    test = data[data["split"] == "test"]
    axes = np.full(len(test), "", object)
    for c in found:
        axes[c.members] = c.axis
    again = {c.name: c for c in restore(test["label"].to_numpy(), assign(data), axes)}
    assert set(again) == {c.name for c in found}
    for c in found:
        other = again[c.name]
        assert (c.kind, c.axis, c.reason) == (other.kind, other.axis, other.reason)
        for mask in ("members", "positives", "negatives"):
            assert (getattr(c, mask) == getattr(other, mask)).all()


def test_unseen_category_is_scored_against_all_in_domain_negatives_only():
    data = table(
        *TRAIN,
        ("test", 0, "a", ""),
        ("test", 1, "a", "print"),
        ("test", 1, "a", "replay"),
        ("test", 0, "new", ""),
        ("test", 1, "new", "replay"),
    )
    found = {c.name: c for c in conditions(data)}
    assert list(found) == [IN_DOMAIN, "new", "replay"]
    assert found["replay"].positives.tolist() == [False, False, True, False, False]
    assert found["replay"].negatives.tolist() == [True, False, False, False, False]
    # Inside an unseen source the category does not matter: the row belongs to the source.
    assert found["new"].members.tolist() == [False, False, False, True, True]
    assert [c.kind for c in found.values()] == ["scored"] * 3


@pytest.mark.parametrize(
    ("test_rows", "name", "kind", "positives", "negatives"),
    [
        ([("test", 0, "a", ""), ("test", 1, "new", "x")], "new", "cross-source", 1, 1),
        ([("test", 0, "a", ""), ("test", 0, "new", "")], "new", "negatives-only", 0, 1),
        ([("test", 1, "a", "print"), ("test", 1, "new", "x")], "new", "not-scorable", 1, 0),
        ([("test", 1, "a", "print"), ("test", 1, "a", "x")], "x", "not-scorable", 1, 0),
        ([("test", 1, "a", "print")], IN_DOMAIN, "not-scorable", 1, 0),
        ([("test", 0, "a", "")], IN_DOMAIN, "negatives-only", 0, 1),
        ([("test", 1, "a", "print"), ("test", 0, "new", ""), ("test", 1, "new", "")], "new", "scored", 1, 1),
    ],
)
def test_kinds(test_rows, name, kind, positives, negatives):
    found = {c.name: c for c in conditions(table(*TRAIN, *test_rows))}[name]
    assert (found.kind, int(found.positives.sum()), int(found.negatives.sum())) == (
        kind,
        positives,
        negatives,
    )
    assert not found.in_primary or kind == "scored"
    if kind == "not-scorable":
        assert "negatives" in found.reason


def test_names_that_clash_get_their_axis():
    data = table(
        *TRAIN,
        ("test", 0, "a", ""),
        ("test", 1, "a", "x"),
        ("test", 1, "x", ""),
        ("test", 1, "in-domain", ""),
        ("test", 1, "source:x", ""),
    )
    assert [(c.axis, c.value, c.name) for c in conditions(data)] == [
        ("in-domain", "", "in-domain"),
        ("source", "in-domain", "source:in-domain"),
        ("source", "source:x", "source:x"),
        ("source", "x", "source:source:x"),
        ("category", "x", "category:x"),
    ]


def test_validation_rows_make_nothing_seen():
    data = table(*TRAIN, ("validation", 1, "v", "w"), ("test", 1, "v", "w"), ("test", 1, "a", "w"))
    assert assign(data).tolist() == ["v", "w"]


def test_negatives_have_no_category():
    data = table(*TRAIN, ("train", 0, "a", "odd"), ("test", 0, "a", "other"), ("test", 1, "a", "odd"))
    assert assign(data).tolist() == [IN_DOMAIN, "odd"]


def test_labels_must_be_binary():
    with pytest.raises(ValueError, match="labels"):
        conditions(table(*TRAIN, ("test", 2, "a", "")))
