"""How files of 16 bits were read, and whether that fits them."""

from __future__ import annotations

from collections.abc import Sequence

from divsal_bench.data.images import FULL, Window


def depth_notices(deep: Sequence[int], window: Window) -> list[str]:
    """What to say about files of 16 bits, once for all of them.

    Args:
        deep: The largest value of each.
        window: The values that were read as black and white.
    """
    low, high = window
    dark = [highest for highest in deep if highest - low < (high - low) / 2]
    bright = [highest for highest in deep if highest > high]
    found = []
    if deep and window != FULL:
        found.append(f"{len(deep):,} 16-bit files were read with {low} as black and {high} as white")
    if dark:
        bits = max(dark).bit_length()
        found.append(
            f"{len(dark):,} of {len(deep):,} 16-bit files use only their lowest {bits} bits (largest value "
            f"{max(dark)}), so they are dark to the network; --window {max(9, bits)}bit or LO:HI says which values are "
            "black and white"
        )
    if bright:
        found.append(f"{len(bright):,} of {len(deep):,} 16-bit files have values above {high}; they are cut off there")
    return found
