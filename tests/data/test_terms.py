"""What owners allow, as a table: what may be shown, scored in public, and pushed."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from divsal_bench.contracts.adapter import Permission, SourceTerms
from divsal_bench.data import terms
from divsal_bench.errors import UserError

pytestmark = pytest.mark.fast

YES, NO, UNKNOWN = (SourceTerms("CC BY 4.0", word, word, word) for word in ("yes", "no", "unknown"))
SILENT = SourceTerms()


def one(weights: Permission, predictions: Permission) -> SourceTerms:
    return SourceTerms("", "yes", weights, predictions)


@pytest.mark.parametrize(
    ("sources", "predictions", "refused", "refused_with_permission"),
    [
        (None, "yes", "", ""),  # drawn images are ours
        ({}, "unknown", "", ""),
        ({"a": YES}, "yes", "", ""),
        ({"a": YES, "b": YES}, "yes", "", ""),
        ({"a": SILENT}, "unknown", "the terms of a (data films) do not say whether weights", ""),
        ({"b": YES, "a": UNKNOWN}, "unknown", "the terms of a (data films) do not say whether weights", ""),
        ({"a": YES, "b": NO}, "no", "the terms of b (data films) forbid publishing weights",
         "the terms of b (data films) forbid publishing weights"),
        ({"a": UNKNOWN, "b": NO}, "no", "the terms of b (data films) forbid publishing weights",
         "the terms of b (data films) forbid publishing weights"),
        ({"a": one("yes", "unknown")}, "unknown", "do not say whether predictions", ""),
        ({"a": one("unknown", "yes")}, "yes", "do not say whether weights", ""),
        ({"a": one("unknown", "no")}, "no", "do not say whether weights", "forbid publishing predictions"),
        ({"b": NO, "a": NO}, "no", "the terms of a (data films)", "the terms of a (data films)"),
    ],
)  # fmt: skip
def test_what_a_data_sets_sources_allow_together(
    sources: dict[str, SourceTerms] | None, predictions: str, refused: str, refused_with_permission: str
) -> None:
    assert terms.predictions_permission(sources) == predictions
    for permitted, message in ((False, refused), (True, refused_with_permission)):
        if not message:
            terms.require_publishable(sources, "films", permitted)
            continue
        with pytest.raises(UserError) as caught:
            terms.require_publishable(sources, "films", permitted)
        assert message in str(caught.value)
        assert ("--i-have-permission" in str(caught.value)) == ("do not say" in message)


@pytest.mark.parametrize(("what", "is_refused"), [("images", False), ("weights", True), ("predictions", False)])
def test_only_what_would_be_published_is_asked_for(what: str, is_refused: bool) -> None:
    stated = {"a": SourceTerms("", "yes", "no", "yes")}
    if is_refused:
        with pytest.raises(UserError, match=f"forbid publishing {what}; this cannot be pushed, not to a private"):
            terms.require_permission(what, stated, "films", permitted=True)
    else:
        terms.require_permission(what, stated, "films", permitted=False)


@pytest.mark.parametrize(
    ("stated", "shown", "something_unsaid"),
    [
        (None, False, True),
        (SILENT, False, True),
        (YES, True, False),
        (NO, False, False),
        (SourceTerms("", "yes", "no", "unknown"), True, True),
        (SourceTerms("", "no", "yes", "yes"), False, False),
    ],
)
def test_one_source(stated: SourceTerms | None, shown: bool, something_unsaid: bool) -> None:
    assert terms.may_show(stated) is shown
    assert terms.is_open(stated) is something_unsaid


@pytest.mark.parametrize(("now", "then"), list(itertools.product(("yes", "unknown", "no"), repeat=2)))
def test_of_two_words_the_stricter_counts(now: Permission, then: Permission) -> None:
    found = terms.stricter(SourceTerms("CC0", now, now, "yes"), {"images": then, "weights": "?", "secrets": "yes"})
    order = ["no", "unknown", "yes"]
    assert found == SourceTerms("CC0", min(now, then, key=order.index), now, "yes")


def test_a_run_that_states_no_terms_changes_none() -> None:
    assert terms.stricter(NO, {}) == NO
    assert terms.stricter(YES, {}) == YES


def test_every_source_of_the_rows_has_terms_and_no_other() -> None:
    assert terms.stated_terms(["b", "a", "b"], {"a": YES, "elsewhere": NO}) == {"a": YES, "b": SILENT}
    arrays: Any = SimpleNamespace(rows=pd.DataFrame({"source": ["b", "a", "b"]}))
    source: Any = SimpleNamespace(info=SimpleNamespace(sources={"a": NO}))
    assert terms.terms_of(arrays, source) == {
        "a": {"images": "no", "weights": "no", "predictions": "no"},
        "b": {"images": "unknown", "weights": "unknown", "predictions": "unknown"},
    }
    drawn: Any = SimpleNamespace(info=None)
    assert terms.terms_of(arrays, drawn) == {}


def test_two_spellings_of_a_source_that_state_different_terms_allow_nothing() -> None:
    composed, apart = "Cl\u00ednica", "Cli\u0301nica"
    assert terms.one_spelling({composed: YES, apart: YES, "b": NO}) == {composed: YES, "b": NO}
    assert terms.one_spelling({composed: YES, apart: UNKNOWN}) == {composed: SourceTerms("", "no", "no", "no")}
