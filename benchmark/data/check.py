"""Check: is a prepared data set what it says it is, and can a benchmark stand on it?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.data import canonical, decoding, duplicates, reading, remote, saliency_maps
from divsal_bench.data.canonical import INFO_FILE, SPLITS, Count, Info, Progress, Sample
from divsal_bench.data.catalogue import as_path
from divsal_bench.data.check_report import CheckReport, told_mistakes
from divsal_bench.data.damage import NotAnImage
from divsal_bench.data.fingerprint import RowIdentity, data_fingerprint
from divsal_bench.data.rules import Rules
from divsal_bench.data.terms import is_open
from divsal_bench.errors import Mistake, UserError
from divsal_bench.hub.client import parse_id
from divsal_bench.processes.threads import in_threads

if TYPE_CHECKING:
    import numpy as np


def check_data_set(data: str | Path, progress: Progress | None = None) -> CheckReport:
    """Read a prepared data set completely and check it.

    Args:
        data: A folder, or a Hub id ``org/name[@revision]``.

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
            for sample, unusual in in_threads(_unusual, canonical.read_shard(folder / name, info)):
                rows.add(sample, unusual)
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
    hub = parse_id(data)
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
def _unusual(sample: Sample) -> tuple[Sample, _Unusual]:
    identity = sample.identity()
    part = "image"
    try:
        picture = decoding.decode_image(sample.image)
        facts, pixels, look = (
            reading.image_facts(picture),
            duplicates.pixel_digest(picture),
            duplicates.print_of(picture),
        )
        saliency = None
        if sample.saliency is not None:
            part = "map"
            saliency = reading.map_facts(saliency_maps.align(decoding.decode_image(sample.saliency), picture))
    except NotAnImage as error:
        return sample, _Unusual(identity, f"the {part} of {sample.sample_id!r} {error}")
    return sample, _Unusual(identity, "", facts, saliency, pixels, look)


class _Rows:
    """Everything that is known over the rows of a data set."""

    def __init__(self, info: Info) -> None:
        self.info = info
        self.rules = Rules(info.class_names)
        self.found: list[Mistake] = []
        self.identities: list[RowIdentity] = []
        self.pictures = duplicates.SeenPictures()
        self.survey = reading.Survey()
        self.looks: list[tuple[duplicates.Sighting, np.ndarray]] = []
        self.copies = self.blank = self.see_through = 0

    def problem(self, kind: str, text: str) -> None:
        """Note what no rule about names and splits sees."""
        self.found.append(Mistake(kind, "", text))

    def add(self, sample: Sample, unusual: _Unusual) -> None:
        """Check one row against itself and all before it."""
        name = repr(sample.sample_id)
        if canonical.value_problem(sample):
            self.problem("value", f"{name}: {canonical.value_problem(sample)}")
            return
        row = unusual.identity
        blank = unusual.saliency is not None and unusual.saliency.blank
        self.rules.add(name, *row[:6], sample.saliency_kind, sample.saliency is not None, blank)
        if unusual.unreadable:
            self.problem("image", unusual.unreadable)
        self._add_picture(sample, unusual)
        self.blank += blank
        self.identities.append(row)

    def _add_picture(self, sample: Sample, unusual: _Unusual) -> None:
        """Look for the same picture among those before it, and keep what is looked at over all of them."""
        if unusual.look is None:
            return
        self.survey.add(sample.source, unusual.image, unusual.saliency)
        self.see_through += unusual.image.see_through
        name, names = repr(sample.sample_id), self.info.class_names
        here = duplicates.Sighting(sample.sample_id, sample.split, sample.label)
        first = self.pictures.add(unusual.pixels, here)
        if first is None:
            self.looks.append((here, unusual.look))
        elif first.split != sample.split:
            self.problem("copy", f"{name} in {sample.split} is the same image as {first.name!r} in {first.split}")
        elif first.label != sample.label:
            self.problem(
                "both labels",
                f"{name} in {sample.split} is {names[sample.label]}, its copy {first.name!r} {names[first.label]}",
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
            told_mistakes(found),
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
        yield from duplicates.near_copies(self.looks, SPLITS)
        for source in sorted({count.source for count in counts}):
            if is_open(self.info.sources.get(source)):
                yield f"source {source}: it is not known what may be published"
