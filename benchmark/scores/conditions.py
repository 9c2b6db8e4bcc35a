"""Conditions: which test rows are in-domain, from an unseen source or category, and what is scored.

"Unseen" means absent from the train split. A leaf: it imports nothing else of the project.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Axis = Literal["in-domain", "source", "category"]
ConditionKind = Literal["scored", "cross-source", "negatives-only", "not-scorable"]
Mask = NDArray[np.bool_]

IN_DOMAIN = "in-domain"


@dataclass(frozen=True, eq=False)
class Condition:
    """One part of the test split and the rows its AUROC compares.

    All masks run over the test rows in the order of the table, shape (number of test rows,).

    Attributes:
        name: Unique among the conditions of a data set: ``in-domain``, the unseen source's or the unseen
            category's name; a name that clashes gets its axis in front, as in ``source:x``.
        axis: Why it is a condition of its own.
        value: The source or category as the rows spell it; "" for in-domain.
        kind: ``scored``: has an AUROC, and on the two unseen axes counts in the primary mean.
            ``cross-source``: an unseen source with positives only, compared with the in-domain negatives;
            outside the primary mean, because such an AUROC mostly measures the source.
            ``negatives-only``: no AUROC, only the false-positive rate at the validation threshold.
            ``not-scorable``: there is nothing to compare its positives with.
        members: The rows that fall in this condition. Over all conditions they partition the test split.
        positives: The positives that are scored; always members.
        negatives: The negatives they are scored against; members, or the in-domain negatives.
        reason: Why there is no AUROC, or why it stays out of the mean; "" for ``scored``.
    """

    name: str
    axis: Axis
    value: str
    kind: ConditionKind
    members: Mask = field(repr=False)
    positives: Mask = field(repr=False)
    negatives: Mask = field(repr=False)
    reason: str = ""

    @property
    def has_auroc(self) -> bool:
        """Whether both classes are there to compare."""
        return self.kind in ("scored", "cross-source")

    @property
    def in_primary(self) -> bool:
        """Whether its AUROC counts in open-set AUROC, the mean over unseen conditions with both classes."""
        return self.kind == "scored" and self.axis != IN_DOMAIN


def conditions(rows: pd.DataFrame) -> list[Condition]:
    """Sort the test rows into conditions.

    Each test row falls in exactly one: its source's if the train split lacks that source, else, for a
    positive, its category's if the train split lacks that category, else in-domain. Negatives have no
    category; one that carries a category all the same is treated as if it had none, and so is a positive
    whose category is empty.

    Args:
        rows: All rows of a data set, columns split, label, source and category.

    Returns:
        In-domain first, then unseen sources, then unseen categories, each sorted by name; only conditions
        with at least one row.

    Raises:
        ValueError: A label is neither 0 nor 1.
    """
    split = rows["split"].to_numpy(dtype=str)
    label = rows["label"].to_numpy(dtype=int)
    if not np.isin(label, (0, 1)).all():
        raise ValueError("labels must be 0 or 1")
    source = rows["source"].to_numpy(dtype=str)
    category = np.where(label == 1, rows["category"].to_numpy(dtype=str), "")

    train, test = split == "train", split == "test"
    positive = label[test] == 1
    source, seen_sources = source[test], np.unique(source[train])
    # "" is no category: it can be missing from train (every train positive named) and still not be unseen.
    category, seen_categories = category[test], np.unique(np.append(category[train], ""))

    new_source = ~np.isin(source, seen_sources)
    new_category = ~new_source & ~np.isin(category, seen_categories)
    in_domain = ~new_source & ~new_category
    in_domain_negatives = in_domain & ~positive

    parts: list[tuple[Axis, str, Mask]] = [("in-domain", "", in_domain)]
    parts += [("source", str(value), source == value) for value in np.unique(source[new_source])]
    parts += [
        ("category", str(value), new_category & (category == value)) for value in np.unique(category[new_category])
    ]
    parts = [part for part in parts if part[2].any()]
    names = _names([(axis, value) for axis, value, _ in parts])
    return [
        _condition(name, axis, value, members, positive, in_domain_negatives)
        for name, (axis, value, members) in zip(names, parts, strict=True)
    ]


def assign(rows: pd.DataFrame) -> NDArray[np.object_]:
    """Name the condition of every test row.

    Args:
        rows: As for :func:`conditions`.

    Returns:
        Shape (number of test rows,), in the order of the table.
    """
    found = conditions(rows)
    names = np.full(int((rows["split"].to_numpy(dtype=str) == "test").sum()), "", dtype=object)
    for condition in found:
        names[condition.members] = condition.name
    return names


def _condition(
    name: str, axis: Axis, value: str, members: Mask, positive: Mask, in_domain_negatives: Mask
) -> Condition:
    """Decide what the members are compared with, and whether that gives an AUROC."""
    positives, negatives = members & positive, members & ~positive
    kind: ConditionKind = "scored"
    reason = ""
    if not positives.any():
        kind, reason = "negatives-only", "it has no positives: only its false-positive rate can be measured"
    elif axis == "category" or (axis == "source" and not negatives.any()):
        negatives = in_domain_negatives
        if not negatives.any():
            kind, reason = "not-scorable", "it has no negatives, and there are no in-domain test negatives"
        elif axis == "source":
            kind = "cross-source"
            reason = "it has no negatives of its own: against other sources' an AUROC mostly measures the source"
    elif not negatives.any():
        kind, reason = "not-scorable", "there are no in-domain test negatives"
    return Condition(name, axis, value, kind, members, positives, negatives, reason)


def _names(parts: list[tuple[Axis, str]]) -> list[str]:
    """Give every condition a name of its own; ``in-domain`` is reserved, whether or not it has rows."""
    plain = {value for axis, value in parts if axis != IN_DOMAIN}
    counts = Counter(value for axis, value in parts if axis != IN_DOMAIN)
    taken = plain | {IN_DOMAIN}
    names = []
    for axis, value in parts:
        name = IN_DOMAIN if axis == IN_DOMAIN else value
        if axis != IN_DOMAIN and (counts[value] > 1 or value == IN_DOMAIN):
            name = f"{axis}:{value}"
            # A source may really be called "source:x"; its own name is left alone and this one grows.
            while name in taken:
                name = f"{axis}:{name}"
            taken.add(name)
        names.append(name)
    return names


def restore(label: NDArray[np.integer], name: NDArray[np.object_], axis: NDArray[np.object_]) -> list[Condition]:
    """Rebuild the conditions from a predictions table, which has no training rows to derive them from.

    Args:
        label: Of the test rows, (N,).
        name: Condition name of each test row, (N,), as :func:`assign` gave it.
        axis: Its axis, (N,).

    Returns:
        In the order of :func:`conditions`; ``value`` repeats the name.
    """
    positive = label == 1
    in_domain_negatives = (axis == IN_DOMAIN) & ~positive
    order: dict[str, int] = {IN_DOMAIN: 0, "source": 1, "category": 2}
    found = sorted({(order[a], str(n), a) for n, a in zip(name, axis, strict=True)})
    return [_condition(value, kind, value, name == value, positive, in_domain_negatives) for _, value, kind in found]


def condition_columns(rows: pd.DataFrame, chosen: np.ndarray) -> dict[str, np.ndarray]:
    """Condition name and axis of the chosen rows; "" outside the test split."""
    is_test = rows["split"].to_numpy(dtype=str) == "test"
    names = np.full(len(rows), "", dtype=object)
    axes = np.full(len(rows), "", dtype=object)
    names[is_test] = assign(rows)
    where = np.flatnonzero(is_test)
    for condition in conditions(rows):
        axes[where[condition.members]] = condition.axis
    return {"condition": names[chosen], "condition_axis": axes[chosen]}
