"""What is to be explained: images, and beside each its class and its human map where they are given."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np

from divsal_bench.data import decoding, saliency_maps
from divsal_bench.data.damage import NotAnImage
from divsal_bench.data.decoding import Picture
from divsal_bench.errors import UserError, plural
from divsal_bench.prediction import inputs
from divsal_bench.prediction.decoding import file_bytes, looked_at
from divsal_bench.prediction.inputs import Input
from divsal_bench.prediction.lists import LABEL_COLUMN

if TYPE_CHECKING:
    from divsal_bench.prediction.preprocessing import Preprocessing
    from divsal_bench.prediction.pretrained import Pretrained


@dataclass(frozen=True, eq=False)
class Example:
    """One image to explain.

    Attributes:
        label: Its class, 0 or 1; None where it is not given.
        human: The file of its human map; None without one.
    """

    input: Input
    label: int | None = None
    human: Path | None = None


@dataclass(frozen=True, eq=False)
class Opened:
    """What the network sees of an image.

    Attributes:
        pixels: uint8, (1 or 3, S, S).
        human: Its human map in the same geometry, uint8, (S, S); None without one.
        highest: The largest value of a file of 16 bits; 0 for one of 8.
    """

    pixels: np.ndarray
    human: np.ndarray | None
    highest: int = 0


def collect_examples(
    paths: Sequence[str], class_names: tuple[str, str], label: str | None, human: Path | None
) -> list[Example]:
    """Every image that is meant, with class and human map.

    Args:
        paths: As :func:`divsal_bench.prediction.inputs.collect_images` takes them. A CSV file's column ``label`` names
            the class of each image: a class name, 0 or 1, or nothing.
        label: The class of all of them; None takes what the CSV files say.
        human: The map of the one image there is, or a folder with a map for some of them: under the same name, with
            or without the image's folders, and any suffix of an image.

    Raises:
        UserError: Something is not there or cannot be read, a class is unknown, two maps fit one image, or none any.
    """
    given = None if label is None else class_of(label, class_names, "--label")
    found: list[Example] = []
    for one in inputs.collect_images(paths):
        own = given
        if given is None and one.label:
            own = class_of(one.label, class_names, f"{one.place}, column {LABEL_COLUMN}")
        found.append(Example(one, own))
    return found if human is None else with_maps(found, human)


def class_of(name: str, class_names: tuple[str, str], where: str) -> int:
    """The number of a class, by its name, whatever its capitals, or by its number where no class is called so."""
    known = [one.casefold() for one in class_names]
    if name.casefold() in known:
        return known.index(name.casefold())
    if name in ("0", "1"):
        return int(name)
    raise UserError(
        f"{where}: {name[:60]!r} is no class of this network; give {class_names[0]!r} or {class_names[1]!r}"
    )


def with_maps(examples: Sequence[Example], human: Path) -> list[Example]:
    """Give images their human maps."""
    if human.is_dir():
        files = inputs.collect_images([human])
        by_place: dict[tuple[str, ...], list[Path]] = {}
        for one in files:
            by_place.setdefault((*one.parts[:-1], PurePath(one.parts[-1]).stem), []).append(Path(str(one.source)))
        found = [dataclasses.replace(one, human=own_map(one.input, by_place, human)) for one in examples]
        if not any(one.human for one in found):
            raise UserError(
                f"--human {human} has no map for the {plural(len(found), 'image')}; a map carries its image's name, "
                f"e.g. {PurePath(found[0].input.parts[-1]).stem}.png"
            )
        return found
    if not human.exists():
        raise UserError(f"--human: there is no file or folder {human}; give a map, or a folder of maps")
    if len(examples) != 1:
        raise UserError(
            f"--human {human} is one map for {len(examples)} images; give a folder of maps named like the images"
        )
    return [dataclasses.replace(examples[0], human=human)]


def own_map(image: Input, by_place: dict[tuple[str, ...], list[Path]], folder: Path) -> Path | None:
    """The map of an image: in the same folders below ``folder``, else right in it."""
    stem = PurePath(image.parts[-1]).stem if image.parts else ""
    for place in ((*image.parts[:-1], stem), (stem,)):
        files = by_place.get(place, [])
        if len(files) > 1:
            raise UserError(
                f"--human {folder} has {len(files)} maps for {image.image}: {files[0].name} and {files[1].name}; "
                "leave one of them"
            )
        if files:
            return files[0]
    return None


def open_example(pretrained: Pretrained, one: Example) -> Opened | str:
    """Decode an image and its human map, or say why one of them cannot be used."""
    pixels, highest = looked_at(pretrained, one.input.source)
    if isinstance(pixels, str) or one.human is None:
        return pixels if isinstance(pixels, str) else Opened(pixels, None, highest)
    try:
        picture = decoding.decode_image(file_bytes(one.input.source))
        human = human_pixels(
            pretrained.preprocessing, saliency_maps.align(decoding.decode_image(file_bytes(one.human)), picture)
        )
        if not np.ptp(human):
            raise NotAnImage("is empty: all its pixels are alike, so it marks no place")
        return Opened(pixels, human, highest)
    except NotAnImage as error:
        reason = str(error)
    except (OSError, MemoryError) as error:
        reason = f"cannot be read ({getattr(error, 'strerror', None) or error})"
    except Exception as error:  # decoders meet damaged files with every kind of exception; the other images count
        reason = f"is damaged ({type(error).__name__}: {error})"
    return " ".join(f"is not explained: its human map {one.human} {reason}".split())[:400]


def human_pixels(preprocessing: Preprocessing, saliency: Picture) -> np.ndarray:
    """A human map in the geometry of the network's input, uint8, (S, S); 0 where cropping adds a border."""
    from PIL.Image import fromarray

    if (preprocessing.crop_mode, preprocessing.crop_pct) == ("squash", 1.0):
        return saliency_maps.resized_map(saliency, preprocessing.size)
    grey = dataclasses.replace(preprocessing, image_mode="L", mean=(0.0,) * preprocessing.in_chans)
    return np.asarray(grey.pixels(Picture(fromarray(saliency_maps.map_values(saliency)), None))[0])
