"""What the owners of images allow, and whether that is enough for what is to be done with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from divsal_bench.contracts.adapter import SourceTerms
from divsal_bench.data import spelling
from divsal_bench.data.reading import window_of
from divsal_bench.errors import UserError
from divsal_bench.words import STRICTEST_FIRST, Permission

if TYPE_CHECKING:
    from divsal_bench.data.arrays import DataRows
    from divsal_bench.data.catalogue import DataSource

#: What may be published, as the fields of terms name it.
PUBLISHED_KINDS = ("images", "weights", "predictions")


def terms_of(data: DataRows, source: DataSource) -> dict[str, dict[str, str]]:
    """What each source of the rows allows: the same images may later be prepared with other words."""
    if source.info is None:
        return {}
    stated = stated_terms(data.rows["source"], source.info.sources)
    return {
        name: {what: getattr(terms, f"redistribute_{what}") for what in PUBLISHED_KINDS}
        for name, terms in stated.items()
    }


def stated_terms(sources: Iterable[object], stated: Mapping[str, SourceTerms]) -> dict[str, SourceTerms]:
    """The terms of every source that rows have: one without terms has not said yes."""
    return {name: stated.get(name, SourceTerms()) for name in sorted({str(source) for source in sources})}


def windows_of(source: DataSource) -> dict[str, str]:
    """The window of each source whose 16-bit images were prepared with one."""
    readings = {} if source.info is None else source.info.readings
    return {name: said["window"] for name, said in sorted(readings.items()) if window_of(said.get("window", ""))}


def may_show(terms: SourceTerms | None) -> bool:
    """Only a plain yes counts."""
    return terms is not None and terms.redistribute_images == "yes"


def is_open(terms: SourceTerms | None) -> bool:
    """Whether an owner leaves something unsaid."""
    return terms is None or any(getattr(terms, f"redistribute_{what}") == "unknown" for what in PUBLISHED_KINDS)


def predictions_permission(terms: Mapping[str, SourceTerms] | None) -> Permission:
    """May predictions be published? Every source must say yes.

    Args:
        terms: Source to what it allows; None for stand-ins, which are ours.
    """
    if terms is None:
        return "yes"
    said = [one.redistribute_predictions for one in terms.values()]
    # No source at all has not said yes either.
    return min(said, key=STRICTEST_FIRST.index) if said else "unknown"


def stricter(now: SourceTerms, then: Mapping[str, str]) -> SourceTerms:
    """What both the data's terms of today and those under which a run was made allow.

    Args:
        then: ``images``, ``weights`` and ``predictions`` to yes, no or unknown; empty where a run does not say.
    """
    words: dict[str, Permission] = {}
    for what in PUBLISHED_KINDS:
        said = next((word for word in STRICTEST_FIRST if word == then.get(what)), None)
        if said is not None:
            words[f"redistribute_{what}"] = min(getattr(now, f"redistribute_{what}"), said, key=STRICTEST_FIRST.index)
    return dataclasses.replace(now, **words)  # type: ignore[arg-type]


def one_spelling(delivered: Mapping[str, SourceTerms]) -> dict[str, SourceTerms]:
    """The terms of sources by composed names; two spellings of one that state different terms allow nothing."""
    terms: dict[str, SourceTerms] = {}
    for name, stated in delivered.items():
        if terms.setdefault(spelling.composed(name), stated) != stated:
            terms[spelling.composed(name)] = SourceTerms("", "no", "no", "no")
    return terms


def require_publishable(terms: Mapping[str, SourceTerms] | None, name: str, permitted: bool) -> None:
    """Refuse data whose owner forbids publishing what was made of it, or does not say.

    Args:
        terms: Source to what it allows; None for stand-ins, which are ours.
        permitted: Whether the user vouches for what the terms do not say.

    Raises:
        UserError: As :func:`require_permission`, for weights or predictions.
    """
    for what in ("weights", "predictions"):
        require_permission(what, terms or {}, name, permitted)


def require_permission(what: str, terms: Mapping[str, SourceTerms], name: str, permitted: bool) -> None:
    """Refuse what a source does not allow.

    Args:
        what: Would be published, one of :data:`PUBLISHED_KINDS`.
        permitted: Whether the user vouches for what is unknown.

    Raises:
        UserError: A no, or an unknown that nobody vouches for.
    """
    said = {source: getattr(one, f"redistribute_{what}") for source, one in terms.items()}
    forbidden = sorted(source for source, word in said.items() if word == "no")
    unknown = sorted(source for source, word in said.items() if word not in ("yes", "no"))
    if forbidden:
        raise UserError(
            f"the terms of {forbidden[0]} (data {name}) forbid publishing {what}; this cannot be pushed, not to a "
            "private repository either"
        )
    if unknown and not permitted:
        raise UserError(
            f"the terms of {unknown[0]} (data {name}) do not say whether {what} may be published; ask its owner, and "
            "if you have the permission add --i-have-permission"
        )
