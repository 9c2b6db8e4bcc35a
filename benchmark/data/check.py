"""Check: is a prepared data set what it says it is, and can a benchmark stand on it?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.data import canonical, decoding, duplicates, reading, remote, saliency_maps
from divsal_bench.data.canonical import (
    INFO_FILE,
    SPLITS,
    Count,
    Entry,
    Info,
    Progress,
)
from divsal_bench.data.catalogue import as_path
from divsal_bench.data.damage import NotAnImage
from divsal_bench.data.fingerprint import RowIdentity, data_fingerprint
from divsal_bench.data.rules import Rules
from divsal_bench.data.threads import in_threads
from divsal_bench.errors import Mistake, UserError, plural, printable

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: Findings of one kind beyond these are only counted.
SHOWN = 3


@dataclass(frozen=True, eq=False)
class CheckReport:
    """What :func:`check_data_set` found.

    Attributes:
        location: The folder, or the Hub id with its commit.
        task: The task it is prepared for.
        class_names: Names of class 0 and class 1.
        fingerprint: Recomputed from the rows.
        stored_fingerprint: What ``divsal.json`` says.
        problems: What makes results on this data wrong.
        warnings: What the user should know.
        counts: Rows per split and source.
        categories: Category to split to number of positives.
        rows: Columns :data:`divsal_bench.data.canonical.COLUMNS`; what
            :func:`divsal_bench.scores.conditions.conditions` takes.
    """

    location: str
    task: str
    class_names: tuple[str, str]
    fingerprint: str
    stored_fingerprint: str
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    counts: tuple[Count, ...]
    categories: dict[str, dict[str, int]]
    rows: pd.DataFrame = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return the header and the rows of a table: what is in the data set, per split and source."""
        head = ["split", "source", *self.class_names, "maps"]
        body = [[c.split, c.source, f"{c.negatives:,}", f"{c.positives:,}", f"{c.maps:,}"] for c in self.counts]
        return head, body

    def lines(self) -> list[str]:
        """Return the report as plain text; the data may be a stranger's, so that nothing of it moves a terminal."""
        head, body = self.table()
        widths = [max(len(row[column]) for row in [head, *body]) for column in range(len(head))]
        lines = [f"{self.location} (task {self.task})", f"fingerprint {self.fingerprint}", ""]
        for row in [head, *body]:
            cells = [
                cell.ljust(width) if column < 2 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
        lines.append("")
        for category, splits in self.categories.items():
            numbers = ", ".join(f"{split} {number:,}" for split, number in splits.items())
            lines.append(f"category {category or '(none)'}: {numbers}")
        lines += [f"problem: {text}" for text in self.problems]
        lines += [f"warning: {text}" for text in self.warnings]
        lines.append(f"{plural(len(self.problems), 'problem')}, {plural(len(self.warnings), 'warning')}")
        return [printable(line) for line in lines]


def check_data_set(data: str | Path, progress: Progress | None = None) -> CheckReport:
    """Read a prepared data set completely and check it.

    Args:
        data: A folder, or a Hub id ``org/name[@revision]``.
        progress: Called with (rows done, all rows).

    Raises:
        UserError: There is no such data, or its ``divsal.json`` cannot be read. Everything else that is wrong
            is in the report.
    """
    folder, location = _find(str(data))
    if not canonical.is_prepared(folder):
        raise UserError(f"{folder} is not a prepared data set (it has no {INFO_FILE})")
    info = canonical.parse_info(folder / INFO_FILE)
    rows = _Rows(info)
    names = _check_files(folder, info, rows)
    done = 0
    for name in names:
        try:
            for entry, unusual in in_threads(_unusual, canonical.read_shard(folder / name, info)):
                rows.add(entry, unusual)
                done += 1
                if progress:
                    progress(done, info.rows)
        except UserError as error:
            rows.problem("file", str(error))
    return rows.report(location)


def _find(data: str) -> tuple[Path, str]:
    """Return the folder of a data set and how to call it."""
    folder = as_path(data)
    if data and folder.is_dir():
        return folder, str(folder)
    hub = remote.parse_id(data)
    if hub is None or folder.exists() or data.startswith((".", "~", "/")):
        raise UserError(f"there is no data set {data!r}: give a prepared folder or a Hub id org/name[@revision]")
    commit = remote.commit_of(*hub)
    return remote.download(hub[0], commit), f"{hub[0]}@{commit}"


def _check_files(folder: Path, info: Info, rows: _Rows) -> list[str]:
    """Compare the files with the list in ``divsal.json``; return those that can be read."""
    files = [path for path in (folder / "data").glob("*.parquet") if path.is_file()]
    there = {f"data/{path.name}": path.stat().st_size for path in files}
    for name in sorted(set(info.files) - set(there)):
        rows.problem("file", f"{name} is missing")
    for name in sorted(set(there) - set(info.files)):
        # load_dataset takes every file of the folder, this program those that are listed.
        rows.problem("file", f"{name} is not listed in {INFO_FILE}; remove it")
    for name, size in info.files.items():
        if there.get(name, size) != size:
            rows.problem("file", f"{name} was changed after preparing ({there[name]:,} bytes, not {size:,})")
    return [name for name in info.files if name in there]


@dataclass(frozen=True)
class _Unusual:
    """What decoding a row's files showed."""

    identity: RowIdentity
    unreadable: str = ""
    image: reading.ImageFacts = reading.ImageFacts(False)  # noqa: RUF009 - frozen
    saliency: reading.MapFacts | None = None
    pixels: bytes = b""
    look: np.ndarray | None = None


@decoding.one_large_at_a_time()
def _unusual(entry: Entry) -> tuple[Entry, _Unusual]:
    identity = entry.identity()
    part = "image"
    try:
        picture = decoding.decode_image(entry.image)
        facts, pixels, look = (
            reading.image_facts(picture),
            duplicates.pixel_digest(picture),
            duplicates.print_of(picture),
        )
        saliency = None
        if entry.saliency is not None:
            part = "map"
            saliency = reading.map_facts(saliency_maps.align(decoding.decode_image(entry.saliency), picture))
    except NotAnImage as error:
        return entry, _Unusual(identity, f"the {part} of {entry.sample_id!r} {error}")
    return entry, _Unusual(identity, "", facts, saliency, pixels, look)


class _Rows:
    """Everything that is known over the rows of a data set."""

    def __init__(self, info: Info) -> None:
        self.info = info
        self.rules = Rules(info.class_names)
        self.found: list[Mistake] = []
        self.identities: list[RowIdentity] = []
        self.pictures = duplicates.Pictures()
        self.survey = reading.Survey()
        self.looks: list[tuple[duplicates.Seen, np.ndarray]] = []
        self.copies = self.blank = self.see_through = 0

    def problem(self, kind: str, text: str) -> None:
        """Note what no rule about names and splits sees."""
        self.found.append(Mistake(kind, "", text))

    def add(self, entry: Entry, unusual: _Unusual) -> None:
        """Check one row against itself and all before it."""
        name = repr(entry.sample_id)
        if canonical.value_problem(entry):
            self.problem("value", f"{name}: {canonical.value_problem(entry)}")
            return
        row = unusual.identity
        blank = unusual.saliency is not None and unusual.saliency.blank
        self.rules.add(name, *row[:6], entry.saliency_kind, entry.saliency is not None, blank)
        if unusual.unreadable:
            self.problem("image", unusual.unreadable)
        self._add_picture(entry, unusual)
        self.blank += blank
        self.identities.append(row)

    def _add_picture(self, entry: Entry, unusual: _Unusual) -> None:
        """Look for the same picture among those before it, and keep what is looked at over all of them."""
        if unusual.look is None:
            return
        self.survey.add(entry.source, unusual.image, unusual.saliency)
        self.see_through += unusual.image.see_through
        name, names = repr(entry.sample_id), self.info.class_names
        here = duplicates.Seen(entry.sample_id, entry.split, entry.label)
        first = self.pictures.add(unusual.pixels, here)
        if first is None:
            self.looks.append((here, unusual.look))
        elif first.split != entry.split:
            self.problem("copy", f"{name} in {entry.split} is the same image as {first.name!r} in {first.split}")
        elif first.label != entry.label:
            self.problem(
                "both labels",
                f"{name} in {entry.split} is {names[entry.label]}, its copy {first.name!r} {names[first.label]}",
            )
        else:
            self.copies += 1

    def report(self, location: str) -> CheckReport:
        """Check what only all rows together show."""
        counts, categories = self._counts()
        found = [*self.found, *self.rules.finish()]
        fingerprint = data_fingerprint(self.identities)
        if fingerprint != self.info.fingerprint:
            text = (
                f"the rows give the fingerprint {fingerprint[:12]}…, {INFO_FILE} says "
                f"{self.info.fingerprint[:12]}…: the data was changed after preparing"
            )
            found.append(Mistake("fingerprint", "", text))
        here, stated = ({astuple(one)[:4] for one in some} for some in (counts, self.info.counts))
        if not found and here != stated:
            text = f"{INFO_FILE} counts other rows per split and source than there are; prepare the data again"
            found.append(Mistake("counts", "", text))
        readings, problems, _ = self.survey.readings(reading.told({}), {count.source for count in counts})
        found += [Mistake(kind, "", text) for kind, text in problems]
        return CheckReport(
            location,
            self.info.task,
            self.info.class_names,
            fingerprint,
            self.info.fingerprint,
            _told_mistakes(found),
            tuple(self._warnings(counts, readings)),
            counts,
            categories,
            self.rules.rows(),
        )

    def _counts(self) -> tuple[tuple[Count, ...], dict[str, dict[str, int]]]:
        numbers: dict[tuple[int, str], list[int]] = {}
        categories: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for _, split, label, source, category, _, _, has_map in self.rules.table:
            count = numbers.setdefault((SPLITS.index(split), source), [0, 0, 0])
            count[label] += 1
            count[2] += has_map
            if label == 1:
                categories[category][split] += 1
        counts = tuple(Count(SPLITS[split], source, *numbers[split, source]) for split, source in sorted(numbers))
        return counts, {name: dict(categories[name]) for name in sorted(categories)}

    def _near_copies(self) -> list[str]:
        """Images that look like one of another split, though their pixels differ."""
        import numpy as np

        by_split = {split: [one for one in self.looks if one[0].split == split] for split in SPLITS}
        pairs: list[tuple[int, str, str]] = []
        for number, split in enumerate(SPLITS):
            here = by_split[split]
            before = [one for other in SPLITS[:number] for one in by_split[other]]
            if not here or not before:
                continue
            if len(here) * len(before) > duplicates.MOST_PAIRS:
                return ["there are too many images to look for nearly equal ones in two splits"]
            index, bits = duplicates.nearest(
                np.stack([look for _, look in here]), np.stack([look for _, look in before])
            )
            for row in np.flatnonzero(bits <= duplicates.NEAR):
                one, other = here[row][0], before[index[row]][0]
                pairs.append((int(bits[row]), f"{one.name!r} in {one.split}", f"{other.name!r} in {other.split}"))
        if not pairs:
            return []
        _, first, second = min(pairs)
        return [
            f"{plural(len(pairs), 'image')} look{'s' * (len(pairs) == 1)} like one of another split (saved again with "
            "loss, made smaller or brighter?): "
            f"e.g. {first} and {second}"
        ]

    def _warnings(self, counts: tuple[Count, ...], readings: dict[str, reading.Reading]) -> Iterator[str]:
        yield from self.rules.warnings()
        if not any(count.maps for count in counts if count.split == "train"):
            yield "no training image has a map: guided methods have nothing to be guided by"
        if self.blank:
            yield f"{self.blank} maps have the same value everywhere; methods treat them as no map"
        for source, how in sorted(readings.items()):
            for full, top in sorted(how.tops.items()):
                yield (
                    f"source {source}: its grey maps reach no more than {top} of {full}, so they are nearly empty in "
                    "training; prepare the data again"
                )
        if self.see_through:
            yield f"{self.see_through} images have transparent parts; they are read over black"
        if self.copies:
            yield f"{self.copies} images are copies of another one in the same split"
        yield from self._near_copies()
        for source in sorted({count.source for count in counts}):
            terms = self.info.sources.get(source)
            if terms is None or "unknown" in (
                terms.redistribute_images,
                terms.redistribute_weights,
                terms.redistribute_predictions,
            ):
                yield f"source {source}: it is not known what may be published"


def _told_mistakes(found: list[Mistake]) -> tuple[str, ...]:
    """Mistakes in words, of each kind the first few, the rest as a number."""
    kinds: defaultdict[str, list[str]] = defaultdict(list)
    for kind, where, text in found:
        kinds[kind].append(f"{where}: {text}" if where else text)
    lines = []
    for texts in kinds.values():
        lines += texts[:SHOWN]
        if len(texts) > SHOWN:
            lines.append(f"… and {len(texts) - SHOWN} more like this")
    return tuple(lines)
