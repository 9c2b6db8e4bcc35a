"""From an image file to what a network was trained on: the same pixels and the same floats, or timm's own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np

from divsal_bench.data import decoding, images
from divsal_bench.data.damage import NotAnImage
from divsal_bench.errors import UserError
from divsal_bench.networks.inference import InputForm

if TYPE_CHECKING:
    from PIL.Image import Image

    from divsal_bench.registry.protocols import Protocol

ImageMode = Literal["L", "RGB"]
Precision = Literal["fp32", "bf16"]
#: The key of config.json that is ours; timm passes it by.
OWN_KEY = "divsal_bench"
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
CROP_MODES = ("center", "squash", "border")
#: Pixels. A config.json may be a stranger's, and its numbers decide how much memory is taken.
SMALLEST, LARGEST = 8, 2048
#: timm resizes to size / crop_pct before it crops. No published configuration goes below 0.7.
LEAST_CROP, LARGEST_RESIZED = 0.25, 2 * LARGEST
#: A resized picture may have this many times the network's input's pixels, and this many pixels: a thread holds one.
MOST_TIMES, MOST_PIXELS = 64, 2**26
#: A longer picture would lose all but a sliver to a centred crop.
LONGEST_RATIO = 50


@dataclass(frozen=True)
class Preprocessing:
    """How a file becomes a network's input.

    Attributes:
        size: Side S of the square input, pixels, from 8 to 2048.
        image_mode: How a file is read: ``L`` (grey) or ``RGB``.
        in_chans: What the network takes: 1 or 3. A grey image is repeated for 3.
        mean, std: Of the input in [0, 1], ``in_chans`` numbers each.
        interpolation, crop_mode, crop_pct: As timm names them; training uses bilinear, squash (the aspect ratio is
            not kept) and 1.0.

    Raises:
        UserError: A value that nothing here can work with.
    """

    size: int
    image_mode: ImageMode
    in_chans: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"
    crop_mode: str = "squash"
    crop_pct: float = 1.0

    def __post_init__(self) -> None:
        wrong = next((problem for fine, problem in self._demands() if not fine), None)
        if wrong is not None:
            raise UserError(f"its preprocessing asks for {wrong[:200]}")

    def _demands(self) -> Iterator[tuple[bool, str]]:
        """What must hold, each with what is asked for where it does not."""
        modes, filters, crops = (", ".join(names) for names in (get_args(ImageMode), INTERPOLATIONS, CROP_MODES))
        square = type(self.size) is int and SMALLEST <= self.size <= LARGEST
        yield square, f"an input of {self.size!r} px; {SMALLEST} to {LARGEST} are read"
        yield self.image_mode in get_args(ImageMode), f"an image mode of {self.image_mode!r}; {modes} are read"
        yield _is_number(self.in_chans) and self.in_chans in (1, 3), f"{self.in_chans!r} channels; 1 or 3 are read"
        yield self.image_mode == "L" or self.in_chans == 3, "RGB images for a network that takes 1 channel"
        for name, values in (("mean", self.mean), ("std", self.std)):
            numbers = len(values) == self.in_chans and all(map(_is_number, values))
            yield numbers, f"a {name} of {values!r} for {self.in_chans} channels"
        yield all(value > 0 for value in self.std), f"a std of {self.std!r}"
        yield self.interpolation in INTERPOLATIONS, f"an interpolation of {self.interpolation!r}; {filters} are known"
        yield self.crop_mode in CROP_MODES, f"a crop mode of {self.crop_mode!r}; {crops} are known"
        share = _is_number(self.crop_pct) and LEAST_CROP <= self.crop_pct <= 2
        yield share, f"a crop share of {self.crop_pct!r}; {LEAST_CROP} to 2 are read"
        resized = f"{self.size} px cut from {self.size / self.crop_pct:.0f} px (size / crop_pct)"
        yield self.size / self.crop_pct <= LARGEST_RESIZED, f"{resized}; up to {LARGEST_RESIZED} px are read"

    @classmethod
    def of_protocol(cls, protocol: Protocol, task_channels: Literal[1, 3]) -> Preprocessing:
        """What training did: resize to a square with Pillow's bilinear filter, then normalise."""
        in_chans = 3 if protocol.channels == 3 else task_channels
        return cls(
            size=protocol.input_size,
            image_mode="L" if task_channels == 1 else "RGB",
            in_chans=in_chans,
            mean=_for_channels(protocol.mean, in_chans),
            std=_for_channels(protocol.std, in_chans),
        )

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Preprocessing:
        """What a timm ``config.json`` states, with timm's defaults.

        Args:
            config: Its content. ``divsal_bench: {"image_mode": …}`` is our own addition; without it one channel is
                read as grey, three as RGB.
        """
        from timm.data.config import resolve_data_config

        stated = _mapping(config.get("pretrained_cfg", config), "pretrained_cfg")
        # Always with a mean: timm takes an empty dictionary for a missing one.
        filled = {"mean": None, **stated}
        found = resolve_data_config(pretrained_cfg=filled)  # type: ignore[no-untyped-call]
        size = found["input_size"]
        if not isinstance(size, list | tuple) or len(size) != 3:
            raise UserError(
                f"its preprocessing asks for an input of {str(size)[:60]}; [channels, height, width] is read"
            )
        if size[1] != size[2]:
            raise UserError(f"its preprocessing asks for an input of {size[1]!r} × {size[2]!r} px; squares are read")
        in_chans = _mapping(config.get("model_args") or {}, "model_args").get("in_chans", size[0])
        own = _mapping(config.get(OWN_KEY) or {}, OWN_KEY)
        return cls(
            size=size[1],
            image_mode=own.get("image_mode", "L" if in_chans == 1 else "RGB"),
            in_chans=in_chans,
            mean=_for_channels(found["mean"], in_chans),
            std=_for_channels(found["std"], in_chans),
            interpolation=found["interpolation"],
            crop_mode=found["crop_mode"],
            crop_pct=found["crop_pct"],
        )

    def as_config(self) -> dict[str, Any]:
        """The part of timm's ``pretrained_cfg`` that makes timm preprocess alike; values as JSON has them."""
        return {
            "input_size": [self.in_chans, self.size, self.size],
            "interpolation": self.interpolation,
            "crop_pct": self.crop_pct,
            "crop_mode": self.crop_mode,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def input_form(self, precision: Precision = "fp32", channels_last: bool = True) -> InputForm:
        """How the pixels become a network's input, as in training."""
        return InputForm(self.size, 3 if self.in_chans == 3 else "task", self.mean, self.std, precision, channels_last)

    def pixels(self, picture: decoding.Picture, window: images.Window = images.FULL) -> np.ndarray:
        """A decoded file at the network's size.

        Args:
            window: The values of 16-bit files that are black and white.

        Returns:
            uint8, (1, S, S) for ``L`` and (3, S, S) for ``RGB``: for what we trained, bit by bit what training saw.

        Raises:
            NotAnImage: It is too long and narrow for a centred crop.
        """
        if (self.crop_mode, self.interpolation, self.crop_pct) == ("squash", "bilinear", 1.0):
            return images.image_pixels(picture, 1 if self.image_mode == "L" else 3, self.size, window)
        if self.crop_mode == "center":
            self._require_room(*picture.image.size)
        return np.asarray(_geometry(self)(images.eight_bit_image(picture, 1 if self.image_mode == "L" else 3, window)))

    def _require_room(self, width: int, height: int) -> None:
        """Refuse a picture that fills the memory when its short side is resized and its long side follows.

        The other crop modes never make more than size / crop_pct squared of any picture.
        """
        short, long = sorted((width, height))
        side = int(self.size / self.crop_pct)
        pixels = side * side * long / short
        if long > LONGEST_RATIO * short or pixels > min(MOST_TIMES * self.size**2, MOST_PIXELS):
            raise NotAnImage(
                f"is too long and narrow ({width} x {height} pixels) for a centred crop of {self.size} pixels; cut it "
                "to what is to be judged"
            )


@functools.lru_cache(maxsize=8)
def _geometry(preprocessing: Preprocessing) -> Callable[[Image], Any]:
    """timm's resizing and cropping, up to uint8."""
    from timm.data.transforms_factory import create_transform

    channels = 1 if preprocessing.image_mode == "L" else 3
    transform = create_transform(
        input_size=(channels, preprocessing.size, preprocessing.size),
        interpolation=preprocessing.interpolation,
        crop_mode=preprocessing.crop_mode,
        crop_pct=preprocessing.crop_pct,
        mean=preprocessing.mean[:channels],  # what border crops are filled with
        use_prefetcher=True,  # leaves the normalising to others
    )
    return cast("Callable[[Image], Any]", transform)


def _for_channels(value: Any, count: int) -> tuple[float, ...]:
    """One number serves all channels."""
    given = tuple(value) if isinstance(value, list | tuple) else (value,)
    return given * count if len(given) == 1 and count in (1, 3) else given


def _is_number(value: Any) -> bool:
    """No truth value, not infinite, not NaN."""
    return type(value) in (int, float) and abs(value) <= 1e6


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"its {name} is no JSON object")
    return value
