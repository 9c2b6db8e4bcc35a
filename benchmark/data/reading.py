"""How the files of a source are read: one window for its 16-bit images, one way for its maps, told or found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from divsal_bench.data.decoding import Picture
from divsal_bench.data.images import FULL, Window, see_through
from divsal_bench.data.saliency_maps import CHANNELS, MAP_READINGS, is_mask, levels
from divsal_bench.errors import UserError, unknown

#: Options of ``data prepare`` that every adapter has. ``window:NAME`` and ``map:NAME`` are for the source NAME alone.
OPTIONS = {
    "window": "16-bit images: which values are black and white, 12bit, minmax (of the source) or LO:HI, e.g. 0:4095",
    "map": f"maps in colours: {', '.join(CHANNELS)}, index (all but index 0 of a palette) or colormap:NAME "
    f"({', '.join(name.partition(':')[2] for name in MAP_READINGS if ':' in name)})",
}
#: A source is refused unless told where its images use less than this share of their bits' range.
_LEAST_SPAN = 1 / 2
#: An image this far below its source's largest value was stored with fewer bits.
_DIM = 1 / 4


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What decoding an image showed.

    Attributes:
        deep: Whether it has more than 8 bits.
        low, high: Its least and largest value; 0 unless it is deep.
        see_through: Whether it has transparent parts.
    """

    deep: bool
    low: int = 0
    high: int = 0
    see_through: bool = False


@dataclass(frozen=True, slots=True)
class MapFacts:
    """What decoding a map showed.

    Attributes:
        blank: Whether it has the same value everywhere, and so marks no place: it counts as no map.
        mask: Whether it has only two values.
        high: Its largest value.
        full: The largest value that its bits can hold.
        ordinary: Whether it reaches from 0 to 255 in 8 bits as it is stored.
    """

    blank: bool
    mask: bool
    high: int
    full: int
    ordinary: bool


@dataclass(frozen=True)
class Reading:
    """How the files of one source are read.

    Attributes:
        window: The values of 16 bits that are black and white; None where nothing is told and all are used.
        maps: How maps in colours are read, one of
            :data:`divsal_bench.data.saliency_maps.MAP_READINGS`; "" for grey ones.
        tops: Largest value of a map's bits to the one that is read as 255 instead.
    """

    window: Window | None = None
    maps: str = ""
    tops: Mapping[int, int] = field(default_factory=dict)

    def stated(self) -> dict[str, str]:
        """What ``divsal.json`` says of it; empty where files are read as they are."""
        found = {}
        if self.window:
            found["window"] = f"{self.window[0]}:{self.window[1]}"
        if self.maps:
            found["map"] = self.maps
        for full, top in sorted(self.tops.items()):
            found[f"largest of 0 to {full} in grey maps"] = str(top)
        return found


@dataclass(frozen=True)
class ReadingOptions:
    """The options ``window`` and ``map``: source to value, "" for all other sources."""

    windows: Mapping[str, str]
    maps: Mapping[str, str]

    def window(self, source: str) -> str:
        """What is said of a source's images, or ""."""
        return self.windows.get(source, self.windows.get("", ""))

    def map(self, source: str) -> str:
        """What is said of a source's maps, or ""."""
        return self.maps.get(source, self.maps.get("", ""))


def window_of(text: str) -> Window | None:
    """The window that a text such as ``12bit`` or ``0:4095`` means, whatever the images hold; None if it means none."""
    return (0, 2 ** _bits(text) - 1) if _bits(text) else _limits(text)


def is_option(name: str) -> bool:
    """Whether an option is one of these and not the adapter's."""
    return name.partition(":")[0] in OPTIONS


def told(options: Mapping[str, str]) -> ReadingOptions:
    """Read the options.

    Args:
        options: Names of :func:`is_option` to values.

    Raises:
        UserError: A value that nothing here knows.
    """
    found: dict[str, dict[str, str]] = {name: {} for name in OPTIONS}
    for option, value in options.items():
        name, _, source = option.partition(":")
        if name == "map" and value not in MAP_READINGS:
            raise unknown("value of the option map", value, MAP_READINGS)
        if name == "window" and value != "minmax" and not _bits(value) and not _limits(value):
            raise UserError(
                f"the option {option} is {value!r}; write 12bit, minmax or LO:HI with 0 ≤ LO < HI ≤ 65535, e.g. 0:4095"
            )
        found[name][source] = value
    return ReadingOptions(found["window"], found["map"])


def image_facts(picture: Picture) -> ImageFacts:
    """Look at a decoded image."""
    if not picture.deep:
        return ImageFacts(False, see_through=see_through(picture))
    low, high = (int(value) for value in picture.image.getextrema())  # type: ignore[arg-type]
    return ImageFacts(True, low, high)


def map_facts(saliency: Picture, reading: str = "") -> MapFacts:
    """Look at a decoded map.

    Args:
        saliency: From :func:`divsal_bench.data.saliency_maps.align`.
        reading: As :func:`divsal_bench.data.saliency_maps.map_values` takes it.

    Raises:
        Coloured, NotAnImage: As :func:`divsal_bench.data.saliency_maps.map_values`.
    """
    values, full = levels(saliency, reading)
    low, high = int(values.min()), int(values.max())
    mask = low < high and is_mask(values)
    # Masks of 0 and 255 are so ordinary that nobody need be told.
    ordinary = not saliency.deep and (low, high) == (0, 255)
    if ordinary and saliency.image.mode != "L":
        ordinary = saliency.image.convert("L").getextrema() == (0, 255)
    return MapFacts(low == high, mask, high, full, ordinary)


class Survey:
    """What all files of a data set showed, source by source."""

    def __init__(self) -> None:
        self._images: dict[str, list[ImageFacts]] = {}
        self._maps: dict[str, list[MapFacts]] = {}

    def add(self, source: str, image: ImageFacts, saliency: MapFacts | None) -> None:
        """Take one row."""
        if image.deep:
            self._images.setdefault(source, []).append(image)
        if saliency is not None:
            self._maps.setdefault(source, []).append(saliency)

    def readings(
        self, options: ReadingOptions, sources: Iterable[str]
    ) -> tuple[dict[str, Reading], list[tuple[str, str]], list[str]]:
        """Decide how each source is read.

        Returns:
            Source to reading; what makes the data unusable, each as its kind and in plain language; and what the user
            should know.
        """
        names = sorted(sources)
        found: dict[str, Reading] = {}
        problems = [("option", text) for text in _misplaced_options(options, names, self._images, self._maps)]
        notices: list[str] = []
        for name in names:
            deep, maps = self._images.get(name, []), self._maps.get(name, [])
            window = None
            if deep:
                try:
                    window = _window(name, deep, options.window(name))
                except UserError as error:
                    problems.append(("depth", str(error)))
            if window:
                notices.append(
                    f"source {name}: {len(deep):,} images of 16 bits are read with {window[0]} as black and "
                    f"{window[1]} as white (window={options.window(name)}), and are kept in 8 bits."
                )
            reading = Reading(window, options.map(name) if maps else "", _tops(maps))
            notices += _map_notices(name, maps, reading)
            found[name] = reading
        return found, problems, notices


def _misplaced_options(
    options: ReadingOptions, names: list[str], images: Mapping[str, object], maps: Mapping[str, object]
) -> list[str]:
    """Options for sources that are not there, or have nothing that they could be for."""
    wrong = []
    for option, given, there, what in (
        ("window", options.windows, images, "16-bit images"),
        ("map", options.maps, maps, "maps"),
    ):
        for source in given:
            if source and source not in names:
                wrong.append(f"the option {option}:{source} is for a source that is not there ({', '.join(names[:8])})")
            elif source not in there and (source or not there):
                wrong.append(f"the option {option} is given, but {source or 'the data'} has no {what}; leave it out")
    return wrong


def _window(name: str, deep: list[ImageFacts], value: str) -> Window | None:
    """The window of a source's 16-bit images; None where they use their range."""
    low, high = min(one.low for one in deep), max(one.high for one in deep)
    images = f"source {name}: {len(deep):,} images"
    limits = _limits(value)
    if limits:
        return limits
    if _bits(value):
        top = 2 ** _bits(value) - 1
        above = sum(one.high > top for one in deep)
        if above:
            raise UserError(
                f"{images} have 16 bits, and {above:,} of them values above {top} (largest {high}): window={value} "
                "does not fit all; convert them, give the two kinds a source each, or take LO:HI"
            )
        return 0, top
    if high == low:
        raise UserError(f"{images} of 16 bits hold the same value ({high}) everywhere; replace them")
    if not value and high - low < _LEAST_SPAN * FULL[1]:
        used = f"their lowest {high.bit_length()} bits (largest value {high})" if high < 2**15 else f"{low} to {high}"
        left = round((high - low) * 255 / FULL[1]) + 1
        raise UserError(
            f"{images} are 16-bit files that use only {used}: {left} grey levels would be left; prepare it with the "
            f"values that are black and white, --option window={_likely(high)}, minmax or LO:HI"
        )
    dim = [one.high for one in deep if one.high - low <= _DIM * (high - low)]
    if dim:
        raise UserError(
            f"{images} have 16 bits, of which {len(dim):,} reach no more than {max(dim)} and others {high}: one window "
            "cannot be right for both; convert them, give the two kinds a source each, or say --option "
            f"window={low}:{high} where the dark ones are meant to be dark"
        )
    return (low, high) if value == "minmax" else None


def _likely(high: int) -> str:
    """The option's value that fits what is delivered most often."""
    return f"{high.bit_length()}bit" if 8 < high.bit_length() < 16 else "12bit"


def _tops(maps: list[MapFacts]) -> dict[int, int]:
    """Which largest values of grey maps leave more than half of their range unused, and are read as 255."""
    tops: dict[int, int] = {}
    for one in maps:
        if not one.mask and not one.blank:
            tops[one.full] = max(tops.get(one.full, 0), one.high)
    return {full: top for full, top in tops.items() if top < full / 2}


def _map_notices(name: str, maps: list[MapFacts], reading: Reading) -> list[str]:
    notices = []
    if reading.maps:
        notices.append(f"source {name}: {len(maps):,} maps are read as map={reading.maps}, and are kept in grey.")
    for full, top in sorted(reading.tops.items()):
        count = sum(one.full == full and not one.mask and not one.blank for one in maps)
        notices.append(
            f"source {name}: {count:,} grey maps reach no more than {top} of {full}; {top} is read as the largest."
        )
    masks = 0 if reading.maps else sum(one.mask and not one.ordinary for one in maps)
    if masks:
        notices.append(
            f"source {name}: {masks:,} maps are masks in other values, bits or colours; they are read as 0 and 255."
        )
    return notices


def _bits(value: str) -> int:
    """9 to 16 of a value such as ``12bit``, else 0."""
    found = re.fullmatch(r"(9|1[0-6])bit", value)
    return int(found[1]) if found else 0


def _limits(value: str) -> Window | None:
    """The two numbers of a value such as ``0:4095``."""
    found = re.fullmatch(r"([0-9]{1,5}):([0-9]{1,5})", value)
    if not found or not 0 <= int(found[1]) < int(found[2]) <= FULL[1]:
        return None
    return int(found[1]), int(found[2])
