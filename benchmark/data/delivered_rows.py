"""Rows as they are delivered: their files decoded and compared, and kept in the form that runs read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from divsal_bench.contracts.adapter import Row
from divsal_bench.contracts.task import Task
from divsal_bench.data import decoding, dicom, duplicates, images, png, reading, saliency_maps
from divsal_bench.data.canonical import Progress, Sample
from divsal_bench.data.damage import NotAnImage
from divsal_bench.data.delivered_files import delivered_bytes, named_file
from divsal_bench.data.fingerprint import bytes_digest
from divsal_bench.errors import Mistake, UserError, refusal
from divsal_bench.processes.threads import in_threads

#: Bytes of files that are kept between the two times they are needed; beyond it they are read again.
KEPT_BYTES = 2**28


@dataclass(frozen=True, slots=True)
class _Checked:
    """What the files of a row showed, or the mistake in them.

    Attributes:
        files: The bytes of image and map.
        hashes: Of those bytes, where they are not kept.
    """

    row: Row
    files: tuple[bytes, bytes | None] = (b"", None)
    pixels: bytes = b""
    image: reading.ImageFacts = reading.ImageFacts(False)  # noqa: RUF009 - frozen
    saliency: reading.MapFacts | None = None
    turned: bool = False
    dicom: bool = False
    hashes: tuple[str, str] | None = None
    mistake: Mistake | None = None


def kept_samples(
    rows: list[Row],
    root: Path,
    task: Task,
    told: reading.ReadingOptions,
    notices: list[str],
    readings: dict[str, dict[str, str]],
    progress: Progress | None,
) -> Iterator[Sample]:
    """Read and check the files of all rows, then read them once more and yield them as they are kept.

    How a source is read depends on all its files. ``notices`` and ``readings`` are complete when the first row is out.
    """
    checked: list[_Checked] = []
    kept = 0
    for one in in_threads(lambda row: _checked_row(row, root, told.map(row.source)), rows):
        kept += sum(len(data or b"") for data in one.files)
        checked.append(one if kept <= KEPT_BYTES else _without_files(one))
        if progress:
            progress(len(checked), len(rows))
    survey = reading.Survey()
    for one in checked:
        survey.add(one.row.source, one.image, one.saliency)
    found, problems, told_notices = survey.readings(told, {row.source for row in rows})
    mistakes = [one.mistake for one in checked if one.mistake] + _same_pictures(checked, task)
    if not mistakes:
        mistakes = [Mistake(kind, "", text) for kind, text in problems]
    if mistakes:
        raise refusal(mistakes)
    notices += [*_unusual_rows(checked), *told_notices]
    readings.update({source: one.stated() for source, one in sorted(found.items()) if one.stated()})
    yield from (in_threads if readings or kept > KEPT_BYTES else map)(
        lambda one: _kept_sample(one, root, found[one.row.source]), checked
    )


@decoding.one_large_at_a_time()
def _checked_row(row: Row, root: Path, maps: str) -> _Checked:
    """Read the files of one row and decode them completely."""
    part: tuple[str, Path | bytes | None] = ("image", row.image)
    try:
        image_bytes = delivered_bytes(row, row.image, root, "image")
        saliency_bytes = None if row.saliency is None else delivered_bytes(row, row.saliency, root, "map")
        picture = decoding.decode_image(image_bytes)
        facts, pixels = reading.image_facts(picture), duplicates.pixel_digest(picture)
        map_facts, turned = None, False
        if saliency_bytes is not None:
            part = ("map", row.saliency)
            saliency = decoding.decode_image(saliency_bytes)
            map_facts = reading.map_facts(saliency_maps.align(saliency, picture), maps)
            turned = (picture.turn or 1) > 1 and saliency.turn is None
    except saliency_maps.Coloured as error:
        name, file = part
        cure = f"say how such maps are read with --option map=WAY, one of {', '.join(saliency_maps.MAP_READINGS)}"
        return _Checked(row, mistake=Mistake("coloured", row.where, f"the {name}{named_file(file)} {error}; {cure}"))
    except NotAnImage as error:
        name, file = part
        text = f"the {name}{named_file(file)} {error}; replace the file or remove the row"
        return _Checked(row, mistake=Mistake(f"unreadable {name}", row.where, text))
    except UserError as error:
        return _Checked(row, mistake=Mistake("file", "", str(error)))
    return _Checked(row, (image_bytes, saliency_bytes), pixels, facts, map_facts, turned, dicom.is_dicom(image_bytes))


def _same_pictures(checked: list[_Checked], task: Task) -> list[Mistake]:
    """Pictures that stand in two splits, or in both classes, whatever file they are saved in."""
    found: list[Mistake] = []
    seen = duplicates.SeenPictures()
    for one in checked:
        row = one.row
        first = None if one.mistake else seen.add(one.pixels, duplicates.Sighting(row.where, row.split, int(row.label)))
        if first is None:
            continue
        if first.split != row.split:
            text = (
                f"this image of {row.split} has the pixels of the one of {first.name} in {first.split}; "
                "remove one row, or put both in one split"
            )
            found.append(Mistake("copy", row.where, text))
        elif first.label != row.label:
            names = task.class_names
            text = (
                f"it is {names[row.label]}, but its copy {first.name} {names[first.label]}; "
                "remove the row that is wrong"
            )
            found.append(Mistake("both labels", row.where, text))
    return found


def _unusual_rows(checked: list[_Checked]) -> list[str]:
    """What is unusual and no mistake."""
    notices = []
    blank = sum(one.saliency is not None and one.saliency.blank for one in checked)
    if blank:
        notices.append(f"{blank:,} maps have the same value everywhere; methods treat them as no map.")
    see_through = sum(one.image.see_through for one in checked)
    if see_through:
        notices.append(f"{see_through:,} images have transparent parts; they are read over black.")
    dicom = sum(one.dicom for one in checked)
    if dicom:
        notices.append(f"{dicom:,} images are DICOM files; they are kept as 8-bit PNGs, with the window they state.")
    turned = sum(one.turned for one in checked)
    if turned:
        notices.append(
            f"{turned:,} images with a map carry an EXIF orientation and their maps do not: training turns "
            "both alike, `datasets` turns only the image."
        )
    return notices


def _without_files(one: _Checked) -> _Checked:
    """Let the bytes of a row go, which would fill the memory."""
    return replace(one, files=(b"", None), hashes=(bytes_digest(one.files[0]), bytes_digest(one.files[1])))


def _files_again(row: Row, root: Path, hashes: tuple[str, str]) -> tuple[bytes, bytes | None]:
    """Read the files of a row once more."""
    image = delivered_bytes(row, row.image, root, "image")
    saliency = None if row.saliency is None else delivered_bytes(row, row.saliency, root, "map")
    if (bytes_digest(image), bytes_digest(saliency)) != hashes:
        raise UserError(f"{row.where}: its files were changed while they were being prepared; run the command again")
    return image, saliency


@decoding.one_large_at_a_time()
def _kept_sample(checked: _Checked, root: Path, how: reading.Reading) -> Sample:
    """Read the files of one row again, and write anew those that are not kept as delivered."""
    row = checked.row
    image, saliency = checked.files if checked.hashes is None else _files_again(row, root, checked.hashes)
    anew = checked.dicom or (checked.image.deep and how.window is not None)
    facts = checked.saliency
    rewritten = facts is not None and (how.maps != "" or (not facts.mask and facts.full in how.tops))
    if anew or rewritten:
        picture = decoding.decode_image(image)
        turned = picture.turn not in (None, 1)
        if saliency is not None and (rewritten or turned):
            upright = saliency_maps.align(decoding.decode_image(saliency), picture)
            values = saliency_maps.map_values(upright, how.maps, how.tops.get(facts.full, 0) if facts else 0)
            # Beside a turned image a map that states nothing would be turned like it.
            saliency = png.encode(values, upright=turned and not anew)
        if anew:
            image = png.encode(images.eight_bits(picture, how.window))
    return Sample(
        row.sample_id,
        row.split,
        int(row.label),
        row.source,
        row.category,
        row.subject,
        image,
        saliency,
        row.saliency_kind,
        facts is not None and facts.blank,
    )
