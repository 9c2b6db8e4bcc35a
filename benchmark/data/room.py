"""The room that decoded data takes: refused before it is begun where there is none, stopped before a disk is full."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from divsal_bench.errors import UserError

#: Of the room that is free when decoding begins this share stays free, and no more than so many bytes.
SHARE_LEFT, MOST_LEFT = 0.1, 2**30
#: Bytes between two looks at what is free.
LOOK_EVERY = 2**26
#: What can be done where there is no room.
FREE_SOME = "free some space or set DIVSAL_BENCH_HOME to a folder with room"


@dataclass(frozen=True)
class Shape:
    """The size of decoded data.

    Attributes:
        rows: Images.
        maps: How many of them have a map.
        channels: Of an image.
        side: Of images and maps, in pixels.
    """

    rows: int
    maps: int
    channels: int
    side: int

    @property
    def bytes(self) -> int:
        """Bytes of all pixels."""
        return (self.rows * self.channels + self.maps) * self.side**2

    def __str__(self) -> str:
        return f"{self.rows:,} images and {self.maps:,} maps at {self.side} px"


class Room:
    """The disk that a folder will be on, and what of it stays free.

    Attributes:
        there: The innermost of the folder's parents that exists.
        free: Bytes that were free at first.
        left: Bytes that stay free.
    """

    def __init__(self, target: Path) -> None:
        self.there = next(folder for folder in target.resolve().parents if folder.exists())
        self.free = shutil.disk_usage(self.there).free
        self.left = int(min(SHARE_LEFT * self.free, MOST_LEFT))
        self._unseen = 0

    def is_enough(self, shape: Shape) -> bool:
        """Whether it holds data of this size."""
        return shape.bytes <= self.free - self.left

    def require(self, shape: Shape) -> None:
        """Refuse what would fill the disk: the size may be what a stranger's run asks for.

        Raises:
            UserError: With the bytes that are needed, and where.
        """
        if not self.is_enough(shape):
            raise UserError(
                f"{shape} take {amount(shape.bytes)}, and {self.there} has room for {amount(self.free - self.left)} "
                f"({amount(self.left)} of what is free there stay free); {FREE_SOME}"
            )

    def take(self, count: int) -> None:
        """Take note of bytes that are written; others may be filling the same disk.

        Raises:
            UserError: Less than :attr:`left` is free.
        """
        self._unseen += count
        if self._unseen < LOOK_EVERY:
            return
        self._unseen = 0
        free = shutil.disk_usage(self.there).free
        if free < self.left:
            raise UserError(
                f"decoding stopped before the disk of {self.there} is full: {amount(free)} are free, and "
                f"{amount(self.left)} stay free; {FREE_SOME}"
            )


def amount(count: int) -> str:
    """Bytes as people say them: ``3.2 MB``, ``99.0 GB``."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
