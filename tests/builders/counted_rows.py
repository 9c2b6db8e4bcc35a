"""Stored rows that tell how they are read, and refuse to be read whole."""

from __future__ import annotations

from typing import Any

import numpy as np


class CountedRows:
    """An array whose rows are read a few at a time.

    Attributes:
        asked: The numbers of the rows of every reading, in order.
    """

    def __init__(self, array: np.ndarray, most: int) -> None:
        """``most``: the rows that one reading may ask for."""
        self.array, self.most = array, most
        self.shape, self.dtype = array.shape, array.dtype
        self.asked: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, which: Any) -> np.ndarray:
        rows = np.atleast_1d(np.arange(len(self.array))[which])
        self.asked.append(rows)
        if len(rows) > self.most:
            raise AssertionError(f"{len(rows)} rows were asked for at once; {self.most} may be")
        return np.array(self.array[which])

    def __array__(self, *arguments: Any, **options: Any) -> np.ndarray:
        raise AssertionError("all rows were asked for at once")

    @property
    def read(self) -> np.ndarray:
        """Every row that was read, sorted, each as often as it was."""
        return np.sort(np.concatenate([np.zeros(0, np.int64), *self.asked]))
