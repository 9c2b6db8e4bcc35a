"""Work on rows in threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_threads(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Apply a function in threads, in order, with few items in memory at a time.

    Worth it for image files: Pillow decodes and hashlib hashes outside the interpreter lock.

    Args:
        work: The function. Its first exception, in the order of the items, is raised.
        items: Its arguments.

    Yields:
        Its results, in the order of the items.
    """
    workers = min(8, os.cpu_count() or 1)
    items = iter(items)
    with ThreadPoolExecutor(workers) as pool:
        while chunk := list(islice(items, 32 * workers)):
            yield from pool.map(work, chunk)
