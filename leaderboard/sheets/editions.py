"""Editions: dated lists of the reference methods whose families are closed on the accepted board.

A method that is merged later, another version or other fields of one that is listed, and every submission of
something else have a family of their own until the next edition: they change no other entry's p.
A reference method that is new on a data set does: it joins the three families there.
To make a new edition put it first; those that were stay, so that an old board can be understood.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from divsal_bench.leaderboard.sheets.entries import Entry
from divsal_bench.words import Kind


@dataclass(frozen=True)
class Reference:
    """A reference method: its default fields at one version.

    Attributes:
        fields: All of its fields with their defaults, in the order in which a label names them.
    """

    name: str
    kind: Kind
    version: int = 1
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Edition:
    """The reference methods from one day on, ISO 8601."""

    date: str
    methods: tuple[Reference, ...]


SHARE = {"alpha": 0.5}
CYBORG = {**SHARE, "cam_class": "true"}
#: Newest first.
EDITIONS = (
    Edition(
        "2026-11-28",
        (
            Reference("cross-entropy", "unguided"),
            Reference("balanced-cross-entropy", "unguided"),
            Reference("cyborg", "one-cam", fields=CYBORG),
            Reference("contrast", "two-cam", fields=SHARE),
            Reference("difference", "two-cam", fields=SHARE),
            Reference("margin", "two-cam", fields={**SHARE, "gap": 0.5, "weight": 0.1}),
            Reference("cyborg-center", "control", fields={**CYBORG, "sigma": 0.25}),
            Reference("cyborg-inverted", "control", fields=CYBORG),
            Reference("cyborg-shuffled", "control", fields=CYBORG),
        ),
    ),
)

CURRENT = EDITIONS[0]


def reference(method: str, version: int) -> Reference | None:
    """A method that this or an earlier edition lists at this version."""
    known = (one for edition in EDITIONS for one in edition.methods)
    return next((one for one in known if (one.name, one.version) == (method, version)), None)


def references(entries: Iterable[Entry], edition: Edition) -> set[str]:
    """Labels of the entries that are reference methods of an edition: its version, with the default fields."""
    listed = {one.name: one for one in edition.methods}
    return {
        entry.label
        for entry in entries
        if (one := listed.get(entry.method)) is not None
        and (entry.label, entry.version, entry.fields) == (one.name, one.version, dict(one.fields))
    }
