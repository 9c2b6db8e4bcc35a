"""Colour maps undone: from the colours of a heat map back to its values."""

from __future__ import annotations

import functools

import numpy as np

from divsal_bench.data.damage import NotAnImage

NAMES = ("jet", "hot", "viridis", "turbo")
#: Mean distance of a picture's colours from a colour map's, in levels of 255, beyond which it was not drawn with it.
FARTHEST = 12.0
#: Polynomials of degree 6, by Matt Zucker (https://www.shadertoy.com/view/WlfXRN, public domain).
_VIRIDIS = (
    (0.2777273272234177, 0.005407344544966578, 0.3340998053353061),
    (0.1050930431085774, 1.404613529898575, 1.384590162594685),
    (-0.3308618287255563, 0.214847559468213, 0.09509516302823659),
    (-4.634230498983486, -5.799100973351585, -19.33244095627987),
    (6.228269936347081, 14.17993336680509, 56.69055260068105),
    (4.776384997670288, -13.74514537774601, -65.35303263337234),
    (-5.435455855934631, 4.645852612178535, 26.3124352495832),
)
#: Polynomials of degree 5, by Anton Mikhailov, who made the colour map (Apache-2.0).
_TURBO = (
    (0.13572138, 0.09140261, 0.10667330),
    (4.61539260, 2.19418839, 12.64194608),
    (-42.66032258, 4.84296658, -60.58204836),
    (132.13108234, -14.18503333, 110.36276771),
    (-152.94239396, 4.27729857, -89.90310912),
    (59.28637943, 2.82956604, 27.34824973),
)


@functools.cache
def colours_of_map(name: str) -> np.ndarray:
    """The colours of one of :data:`NAMES`, uint8, (256, 3); jet and hot are those of Matplotlib."""
    x = np.linspace(0, 1, 256)
    if name == "jet":
        ramps = [
            np.interp(x, [0, 0.35, 0.66, 0.89, 1], [0, 0, 1, 1, 0.5]),
            np.interp(x, [0, 0.125, 0.375, 0.64, 0.91, 1], [0, 0, 1, 1, 0, 0]),
            np.interp(x, [0, 0.11, 0.34, 0.65, 1], [0.5, 1, 1, 0, 0]),
        ]
    elif name == "hot":
        ramps = [
            np.interp(x, [0, 0.365079, 1], [0.0416, 1, 1]),
            np.interp(x, [0, 0.365079, 0.746032, 1], [0, 0, 1, 1]),
            np.interp(x, [0, 0.746032, 1], [0, 0, 1]),
        ]
    else:
        factors = np.array({"viridis": _VIRIDIS, "turbo": _TURBO}[name])
        ramps = list(np.polynomial.polynomial.polyval(x, factors))
    return np.rint(np.clip(np.stack(ramps, axis=1), 0, 1) * 255).astype(np.uint8)


def undone(colours: np.ndarray, name: str) -> np.ndarray:
    """The values that a colour map was drawn from: those of its nearest colours.

    Args:
        colours: uint8, (height, width, 3).

    Returns:
        uint8, (height, width).

    Raises:
        NotAnImage: The picture has other colours than this colour map.
    """
    flat = colours.reshape(-1, 3).astype(np.int32)
    different, place = np.unique(flat @ np.array([65536, 256, 1]), return_inverse=True)
    those = np.stack([different >> 16, different >> 8 & 255, different & 255], axis=1)
    values, apart = np.empty(len(those), np.uint8), np.empty(len(those))
    known = colours_of_map(name).astype(np.int32)
    for start in range(0, len(those), 4096):
        squares = ((those[start : start + 4096, None] - known) ** 2).sum(2)
        values[start : start + 4096] = squares.argmin(1)
        apart[start : start + 4096] = np.sqrt(squares.min(1))
    if np.average(apart, weights=np.bincount(place.ravel())) > FARTHEST:
        raise NotAnImage(f"has other colours than the colour map {name}")
    return values[place].reshape(colours.shape[:2])
