"""What the drawn data sets share: named random streams, soft shapes, textures, layouts and shortcuts.

Everything works on a whole batch at once: a shape parameter is an array of length N (one an image) or a
number (the same for all), and an image is float32 in [0, 1], (N, S, S) for grey and (N, 3, S, S) for colour,
which is several times faster to paint than (N, S, S, 3). Only numpy is used, and every random number comes
from a stream named by :func:`named_stream`, so that the three variants of a stand-in share all streams and differ
in the shortcut alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from divsal_bench.contracts.task import VARIANTS, StandIn

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray
Value = Any  # a number for all images, or an array with one number an image
Coordinates = tuple[Array, Array]

#: Side of every drawn image, in pixels.
SIZE = 64


# -- random streams ------------------------------------------------------------------------------------------


def named_stream(*names: object) -> np.random.Generator:
    """Return the generator of a name, e.g. ``stream("cxr", seed, "ribs")``; the same on every machine."""
    digest = hashlib.sha256("/".join(str(name) for name in names).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


# -- rows ----------------------------------------------------------------------------------------------------


def lay_out(task: str, seed: int, counts: Iterable[tuple[Any, ...]], categories: Sequence[str]) -> pd.DataFrame:
    """Lay out the rows of a stand-in: the contract's columns, in the order of ``counts``.

    A quarter of the subjects have two images. A subject belongs to one split, source and category.
    ``saliency_kind`` is filled in by :func:`finish`.

    Args:
        task: The task's name.
        seed: Of the stand-in.
        counts: Split, source, and the number of images of each category.
        categories: Their names, in that order; "" means the negative class.
    """
    import pandas as pd

    rng = named_stream(task, seed, "layout")
    columns: dict[str, list[Any]] = {c: [] for c in ("split", "label", "source", "category", "subject")}
    subject = -1
    groups = [
        (split, source, category, n)
        for split, source, *numbers in counts
        for category, n in zip(categories, numbers, strict=True)
    ]
    for split, source, category, n in groups:
        second = rng.random(n) < 0.25
        previous_was_second = True  # the first image of a group always opens a subject
        for is_second in second:
            previous_was_second = bool(is_second) and not previous_was_second
            subject += not previous_was_second
            columns["subject"].append(f"{task}-s{subject:04d}")
        columns["split"] += [split] * n
        columns["label"] += [int(category != "")] * n
        columns["source"] += [source] * n
        columns["category"] += [category] * n
    ids = [f"{task}-{i:04d}" for i in range(len(columns["split"]))]
    return pd.DataFrame({"sample_id": ids, **columns, "saliency_kind": "none"})


def subject_codes(rows: pd.DataFrame) -> Array:
    """Return each row's subject as 0, 1, 2 …: draw anatomy per subject, ``values[subject_codes(rows)]``."""
    codes: Array = np.unique(rows["subject"].to_numpy(dtype=str), return_inverse=True)[1]
    return codes


def shortcut(rows: pd.DataFrame, variant: str, rng: np.random.Generator, agreement: float) -> Array:
    """Return the planted shortcut of each row: 1 where it says "positive", 0 where it says "negative".

    Where a row's source and category are in the train split, it agrees with the label with probability
    ``agreement``. Elsewhere it is independent of the label: a fair coin in an unseen source with both
    classes, and the in-domain negatives' rate for positives that are scored against those negatives (an
    unseen category, or a source with positives only), so that it has an AUROC of ½ in every unseen
    condition. ``standin:oracle`` tosses the fair coin in the train split as well; ``standin:null`` gets the
    values of ``standin``, and its caller does not draw them.
    """
    if variant not in VARIANTS:
        raise ValueError(f"unknown stand-in variant {variant!r}; choose from {', '.join(VARIANTS)}")
    agrees, coin = rng.random(len(rows)) < agreement, rng.random(len(rows)) < 0.5
    label = rows["label"].to_numpy() == 1
    train = (rows["split"] == "train").to_numpy()
    seen_source = rows["source"].isin(rows["source"][train]).to_numpy()
    seen_category = rows["category"].isin(rows["category"][train]).to_numpy()
    own_negatives = rows["source"].isin(rows["source"][~label]).to_numpy()
    value = np.where(agrees, label, ~label)
    value = np.where(seen_source & ~seen_category | ~own_negatives, ~agrees, value)
    value = np.where(~seen_source & own_negatives, coin, value)
    if variant == "standin:oracle":
        value = np.where(train, coin, value)
    return value.astype(np.float32)


def in_blocks(
    paint: Callable[..., tuple[Array, Array]], parameters: dict[str, Array], rng: np.random.Generator
) -> tuple[Array, Array]:
    """Call ``paint(p, rng)`` on blocks of 64 rows of ``parameters``; return uint8 images and boolean maps.

    ``paint`` returns images, (N, S, S) or (N, S, S, 3), and maps, (N, S, S), in [0, 1]; a map is True where
    it is above ½. Blocks stay in the processor's cache: several times faster than painting all rows at once.
    """
    n = len(next(iter(parameters.values())))
    images, maps = [], []
    for i in range(0, n, 64):
        painted = paint({key: value[i : i + 64] for key, value in parameters.items()}, rng)
        images.append(to_uint8(painted[0]))
        maps.append(painted[1] > 0.5)
    return np.concatenate(images), np.concatenate(maps)


def finish(rows: pd.DataFrame, images: Array, maps: Array, mapped: Array) -> StandIn:
    """Fill in ``saliency_kind``: rows that are not ``mapped`` lose their map, and an empty map is no map."""
    mapped = mapped & maps.any(axis=(1, 2))
    rows = rows.assign(saliency_kind=np.where(mapped, "mask", "none"))
    return StandIn(rows, images, (maps & mapped[:, None, None]).astype(np.uint8) * np.uint8(255))


def to_uint8(images: Array) -> Array:
    """Round [0, 1] to 0 … 255, clipping what lies outside."""
    return np.clip(np.rint(images * 255.0), 0, 255).astype(np.uint8)


# -- shapes --------------------------------------------------------------------------------------------------


def per_image(value: Value) -> Array:
    """Shape one number an image as (N, 1, 1), a plain number as (1, 1, 1), and leave images alone."""
    array = np.asarray(value, dtype=np.float32)
    return array.reshape(-1, 1, 1) if array.ndim < 2 else array


def coordinates(dx: Value = 0.0, dy: Value = 0.0, scale: Value = 1.0, angle: Value = 0.0) -> Coordinates:
    """Return the coordinates x (to the right) and y (downwards), in [-1, 1], each (N or 1, SIZE, SIZE).

    With arguments, the coordinates of an object that is shifted by (dx, dy), enlarged by ``scale`` and
    turned by ``angle`` (radians, clockwise): shapes drawn in them move together.
    """
    axis = ((np.arange(SIZE, dtype=np.float32) + 0.5) * (2.0 / SIZE) - 1.0)[None]
    x, y = axis[:, None, :] - per_image(dx), axis[:, :, None] - per_image(dy)
    c, s = np.cos(per_image(angle)) / per_image(scale), np.sin(per_image(angle)) / per_image(scale)
    u, v = c * x + s * y, c * y - s * x
    return np.broadcast_arrays(u, v)[0], np.broadcast_arrays(u, v)[1]


def soft_step(value: Array, soft: Value = 0.05) -> Array:
    """Return 1 where ``value`` is above zero and 0 below, with a smooth edge of half-width ``soft``."""
    t = value * (0.5 / per_image(soft)) + np.float32(0.5)
    np.clip(t, 0.0, 1.0, out=t)
    return np.asarray(t * t * (3.0 - 2.0 * t))


def ellipse(
    xy: tuple[Array, Array],
    cx: Value,
    cy: Value,
    rx: Value,
    ry: Value,
    angle: Value = 0.0,
    soft: Value = 0.05,
) -> Array:
    """Return soft filled ellipses in [0, 1]; ``soft`` is the edge's half-width as a share of the radius."""
    x, y = xy[0] - per_image(cx), xy[1] - per_image(cy)
    c, s = np.cos(per_image(angle)), np.sin(per_image(angle))
    u, v = (c * x + s * y) / per_image(rx), (c * y - s * x) / per_image(ry)
    return soft_step(1.0 - np.sqrt(u * u + v * v), soft)


def ring(xy: Coordinates, cx: Value, cy: Value, rx: Value, ry: Value, width: Value, soft: Value = 0.05) -> Array:
    """Return soft elliptic outlines; ``width`` is their half-width as a share of the radius."""
    u, v = (xy[0] - per_image(cx)) / per_image(rx), (xy[1] - per_image(cy)) / per_image(ry)
    return soft_step(per_image(width) - np.abs(1.0 - np.sqrt(u * u + v * v)), soft)


def blob(xy: Coordinates, cx: Value, cy: Value, rx: Value, ry: Value) -> Array:
    """Return Gaussian blobs of height 1 and standard deviations (rx, ry)."""
    u, v = (xy[0] - per_image(cx)) / per_image(rx), (xy[1] - per_image(cy)) / per_image(ry)
    return np.asarray(np.exp(-0.5 * (u * u + v * v)))


def over(base: Array, paint: Value, alpha: Array) -> Array:
    """Lay ``alpha`` (N, S, S) of some paint over images: a number, one number an image, or images.

    For colour images, (N, 3, S, S), also one colour an image, (N, 3).
    """
    paint = np.asarray(paint, dtype=np.float32)
    if base.ndim == 4:
        alpha = alpha[:, None]
        paint = paint[:, :, None, None] if paint.ndim == 2 else paint
    elif paint.ndim == 1:
        paint = per_image(paint)
    result = paint - base
    result *= alpha
    result += base
    return np.asarray(result)


# -- textures ------------------------------------------------------------------------------------------------


def smooth_noise(rng: np.random.Generator, n: int, cells: int) -> Array:
    """Return (n, SIZE, SIZE) cloudy noise, mean 0 and variance about 1: Gaussian, ``cells`` bumps a side."""
    # Cosine interpolation between lattice points, divided by the root of its own variance at each pixel.
    position = np.linspace(0.0, cells, SIZE, dtype=np.float32)
    weight = np.clip(1.0 - np.abs(position[:, None] - np.arange(cells + 1, dtype=np.float32)), 0.0, 1.0)
    weight = weight * weight * (3.0 - 2.0 * weight)
    weight /= np.sqrt((weight**2).sum(axis=1, keepdims=True))
    lattice = rng.standard_normal((n, cells + 1, cells + 1), dtype=np.float32)
    return weight @ lattice @ weight.T


def white_noise(rng: np.random.Generator, n: int) -> Array:
    """Return (n, SIZE, SIZE) independent Gaussian pixels, mean 0 and variance 1."""
    return rng.standard_normal((n, SIZE, SIZE), dtype=np.float32)


def band_noise(rng: np.random.Generator, n: int, low: float, high: float) -> Array:
    """Return noise of variance about 1 with ``low`` to ``high`` cycles across the image (soft band edges)."""
    frequency = np.fft.fftfreq(SIZE, 1.0 / SIZE).astype(np.float32)
    f = np.sqrt(frequency[:, None] ** 2 + frequency[None, :] ** 2)
    gain = np.exp(-((f / high) ** 4)) * (1.0 - np.exp(-((f / max(low, 1e-6)) ** 4)))
    gain /= np.sqrt((gain**2).mean())
    half = SIZE // 2 + 1  # the spectrum of a real image is symmetric: numpy keeps half of its columns
    spectrum = np.fft.rfft2(white_noise(rng, n)) * gain[:, :half].astype(np.float32)
    return np.asarray(np.fft.irfft2(spectrum, s=(SIZE, SIZE)), dtype=np.float32)


def blur(images: Array, sigma: Value) -> Array:
    """Blur by a Gaussian of ``sigma`` pixels (0 leaves an image alone); the edge repeats beyond it."""
    pixel = np.arange(SIZE, dtype=np.float32)
    width = np.maximum(per_image(sigma), 1e-3)
    kernel = np.exp(-0.5 * ((pixel[:, None] - pixel[None]) / width) ** 2)
    for edge, outside in ((0, -1.0 - pixel), (-1, SIZE + pixel)):
        beyond = np.exp(-0.5 * ((pixel[:, None] - outside[None]) / width) ** 2).sum(axis=-1)
        kernel[..., edge] += beyond
    kernel /= kernel.sum(axis=-1, keepdims=True)
    if images.ndim == 4:
        kernel = kernel[:, None]
    return np.asarray(kernel @ images @ np.swapaxes(kernel, -1, -2))
