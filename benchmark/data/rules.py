"""What the rows of a data set must hold so that every run on it can be kept: one set of rules for all who ask."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from divsal_bench.data import spelling
from divsal_bench.data.canonical import COLUMNS, SALIENCY_KINDS, SPLITS
from divsal_bench.errors import Mistake, UserError, plural, refusal, unknown
from divsal_bench.runs import room
from divsal_bench.scores.conditions import IN_DOMAIN, conditions

if TYPE_CHECKING:
    import pandas as pd

#: The columns whose texts are names, and what their plural is.
NAMES = {"sample_id": "sample_ids", "source": "sources", "category": "categories", "subject": "subjects"}
#: Pairs of names that are shown; the others are counted.
PAIRS = 5


class Rules:
    """Takes a data set's rows one after the other and collects ``mistakes``: what no run could stand on."""

    def __init__(self, class_names: tuple[str, str], category_meaning: str = "category") -> None:
        """Of a data set whose classes and categories are called so."""
        self.class_names = class_names
        self.category_meaning = category_meaning
        self.mistakes: list[Mistake] = []
        self.table: list[tuple[Any, ...]] = []
        self._ids: dict[str, tuple[str, str]] = {}
        self._subjects: dict[str, tuple[str, str, str]] = {}
        self._spellings: dict[str, dict[str, str]] = {"source": {}, "category": {}, "subject": {}}

    def add(
        self,
        where: str,
        sample_id: str,
        split: str,
        label: int,
        source: str,
        category: str,
        subject: str,
        saliency_kind: str,
        has_map: bool,
        blank: bool = False,
    ) -> None:
        """Check one row by itself and against all before it.

        Args:
            where: The row, as its owner finds it.
            sample_id: This and the others are :data:`divsal_bench.data.canonical.COLUMNS`.
            blank: Whether it is the same everywhere, and so counts as none.
        """

        def wrong(kind: str, text: str) -> None:
            self.mistakes.append(Mistake(kind, where, text))

        values = dict(zip(NAMES, (sample_id, source, category, subject), strict=True))
        for column, value in values.items():
            if not value and column != "category":
                own = " (an image of an unknown person: a name of its own)" if column == "subject" else ""
                wrong(f"empty {column}", f"{column} is empty; every row needs one{own}")
            elif problem := spelling.problem(value):
                wrong(f"{column} that cannot be kept", f"{column} {_cut(value)} {problem}")
            elif column != "sample_id":
                self._same(where, column, value)
        if split not in SPLITS:
            wrong("split", str(unknown("split", split, SPLITS)))
        if label not in (0, 1):
            negative, positive = self.class_names
            wrong("label", f"label {label!r} is neither 0 ({negative}) nor 1 ({positive}); mend the adapter")
        if label == 0 and category:
            wrong(
                "category of a negative",
                f"a {self.class_names[0]} row has category {_cut(category)}; leave it empty, only "
                f"{self.class_names[1]} rows have one ({self.category_meaning})",
            )
        if saliency_kind not in SALIENCY_KINDS:
            wrong("saliency_kind", str(unknown("saliency_kind", saliency_kind, SALIENCY_KINDS)))
        elif has_map == (saliency_kind == "none"):
            there = "it has a map" if has_map else "it has no map"
            wrong("map and saliency_kind", f"saliency_kind is {saliency_kind!r}, but {there}; mend one of them")
        if sample_id:
            key = spelling.seen(sample_id)
            if key in self._ids:
                first_id, first = self._ids[key]
                same = "is also" if first_id == sample_id else "reads the same as"
                text = f"sample_id {_cut(sample_id)} {same} that of {first}; remove one row or give it an id of its own"
                wrong("sample_id twice", text)
            self._ids.setdefault(key, (sample_id, where))
        if subject:
            first_split, first, _ = self._subjects.setdefault(spelling.seen(subject), (split, where, subject))
            if first_split != split:
                wrong(
                    "subject in two splits",
                    f"subject {_cut(subject)} is in {split}, but in {first_split} too ({first}); put all images of a "
                    "subject in one split",
                )
        self.table.append((sample_id, split, label, source, category, subject, saliency_kind, has_map and not blank))

    def _same(self, where: str, column: str, value: str) -> None:
        """Names that read the same but are written otherwise would be two."""
        first = self._spellings[column].setdefault(spelling.seen(value), value)
        if first != value:
            text = f"{column} {value!a} reads the same as {first!a}, which other rows have; write both alike"
            self.mistakes.append(Mistake(f"{column} in two spellings", where, text))

    def rows(self) -> pd.DataFrame:
        """The rows so far, columns :data:`divsal_bench.data.canonical.COLUMNS`."""
        import pandas as pd

        return pd.DataFrame(self.table, columns=list(COLUMNS))

    def finish(self) -> list[Mistake]:
        """All mistakes, with what only all rows together show."""
        whole = [*self._classes(), *([] if self.mistakes else self._room())]
        return [*self.mistakes, *(Mistake(f"whole {number}", "", text) for number, text in enumerate(whole))]

    def _classes(self) -> Iterator[str]:
        counts = Counter((row[1], row[2]) for row in self.table)
        for split in SPLITS:
            negatives, positives = counts[split, 0], counts[split, 1]
            if not negatives + positives:
                yield f"there are no rows in the {split} split; train, validation and test all need some"
            elif split != "test" and not (negatives and positives):
                lacking = self.class_names[1 if negatives else 0]
                yield f"the {split} split has no {lacking} rows (of {negatives + positives}); it needs both classes"

    def _room(self) -> Iterator[str]:
        """A run keeps each condition's name, each source's terms and a table of its rows: will it hold them?"""
        rows = self.rows()
        found = conditions(rows)
        test = rows[rows["split"] == "test"]
        parts = {one.name: set(test["category"].to_numpy()[one.positives]) for one in found}
        if problem := room.room_problem(parts, set(rows["source"])):
            yield problem
        scored = rows[rows["split"] != "train"]
        size = sum(len(str(text).encode()) for name in NAMES for text in scored[name])
        for one in found:
            size += int(one.members.sum()) * len(one.name.encode())
        if problem := room.table_problem(len(scored), size):
            longest = max(NAMES, key=lambda name: sum(len(str(text)) for text in scored[name]))
            yield f"{problem}; shorten the {NAMES[longest]}"

    def warnings(self) -> list[str]:
        """What may be meant otherwise; results stand on it all the same."""
        return [*self._alike("source"), *self._alike("category"), *self._subjects_alike(), *self._unnamed()]

    def _alike(self, column: str) -> Iterator[str]:
        """An unseen source or category may only be a seen one in another spelling."""
        place = COLUMNS.index(column)
        splits: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for row in self.table:
            if column == "source" or row[2] == 1:
                splits[row[place]][row[1]] += 1
        pairs = [
            (one, other, how)
            for one, other, how in spelling.resembling(splits)
            if not ("train" in splits[one] and "train" in splits[other])
        ]
        for one, other, how in pairs[:PAIRS]:
            # The seen one first.
            one, other = sorted((one, other), key=lambda name: "train" not in splits[name])
            yield (
                f"the {NAMES[column]} {one} ({_counted(splits[one])}) and {other} ({_counted(splits[other])}) differ "
                f"only in {how}; is that an unseen {column}? If not, write both alike"
            )
        if len(pairs) > PAIRS:
            yield f"{len(pairs) - PAIRS:,} more pairs of {NAMES[column]} differ as little"

    def _subjects_alike(self) -> Iterator[str]:
        """A person in two splits under two spellings leaks from one to the other."""
        groups: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for split, _, subject in self._subjects.values():
            groups[spelling.loose(subject)].setdefault(split, subject)
        torn = [splits for splits in groups.values() if len(splits) > 1]
        if torn:
            names = " and ".join(f"{name!r} ({split})" for split, name in torn[0].items())
            yield (
                f"{plural(len(torn), 'subject')} may stand in several splits, under names that differ only in "
                f"capitals, punctuation or zeros, as {names}; are they the same people? If so, write them alike "
                "and put each in one split"
            )

    def _unnamed(self) -> Iterator[str]:
        named = Counter(row[1] for row in self.table if row[2] == 1 and row[4])
        unnamed = Counter(row[1] for row in self.table if row[2] == 1 and not row[4])
        if unnamed and named:
            yield (
                f"{unnamed.total():,} {self.class_names[1]} rows have no category ({_counted(unnamed)}), "
                f"{named.total():,} have one: those without count as in-domain wherever their source is seen, even if "
                f"training never saw their {self.category_meaning}; fill in category"
            )
        elif unnamed:
            yield f"{unnamed.total():,} {self.class_names[1]} rows have no category"


def require_sound(rows: pd.DataFrame, class_names: tuple[str, str], name: str) -> None:
    """Refuse data on which runs could not be kept, before any of them is trained.

    Args:
        rows: Columns :data:`divsal_bench.data.canonical.COLUMNS`.

    Raises:
        UserError: With the first mistake of each kind.
    """
    rules = Rules(class_names)
    for row in rows[list(COLUMNS[:-1])].itertuples(index=False, name=None):
        sample_id, split, label, source, category, subject, kind = row
        # A map that is the same everywhere counts as none in training.
        rules.add(f"sample {sample_id!r}", sample_id, split, label, source, category, subject, kind, kind != "none")
    mistakes = rules.finish()
    if mistakes:
        raise UserError(f"{name}: {refusal(mistakes)}; see divsal-bench data check")


def condition_lines(rows: pd.DataFrame, class_names: Sequence[str]) -> Iterator[str]:
    """The conditions of the test split, one a line: rows and subjects of each class.

    Args:
        rows: Columns :data:`divsal_bench.data.canonical.COLUMNS`.
    """
    test = rows[rows["split"] == "test"]
    subjects = test["subject"].to_numpy()
    for found in conditions(rows):
        parts = [
            f"{int(mask.sum()):,} {name} of {_people(subjects[mask])}"
            for name, mask in zip(class_names, (found.negatives, found.positives), strict=True)
        ]
        axis = "" if found.axis == IN_DOMAIN else f"unseen {found.axis}, "
        text = f"{found.name} ({axis}{found.kind}): {', '.join(parts)}"
        yield f"{text}; {found.reason}" if found.reason else text
    alone = int((test["subject"].map(test["subject"].value_counts()) == 1).sum())
    if len(test):
        yield (
            f"{alone:,} of {len(test):,} test rows are their subject's only one; an image without a known "
            "person counts as a subject of its own"
        )


def _people(subjects: Iterable[str]) -> str:
    number = len(set(subjects))
    return f"{number:,} subject{'s' * (number != 1)}"


def _counted(splits: Counter[str]) -> str:
    """``train 48, test 60 rows``."""
    return ", ".join(f"{split} {splits[split]:,}" for split in SPLITS if splits[split]) + " rows"


def _cut(text: str, longest: int = 60) -> str:
    """A name as Python writes it, so that invisible characters show."""
    shown = text if len(text) <= longest else text[:longest] + "…"
    return repr(shown) if shown.isprintable() else ascii(shown)
