"""Work on rows in threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from divsal_bench.processes.processors import usable_processors

T = TypeVar("T")
R = TypeVar("R")


def in_threads(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Apply a function in threads, in order, with few items in memory at a time.

    Worth it for image files: Pillow decodes and hashlib hashes outside the interpreter lock.

    Args:
        work: The function. Its first exception, in the order of the items, is raised.
    """
    workers = min(8, os.cpu_count() or 1)
    items = iter(items)
    with ThreadPoolExecutor(workers) as pool:
        while chunk := list(islice(items, 32 * workers)):
            yield from pool.map(work, chunk)


def ahead(work: Callable[[T], R], items: Iterable[T], count: int) -> Iterator[R]:
    """Apply a function in threads, in order, at most ``count`` results ahead of whoever takes them.

    Unlike :func:`divsal_bench.processes.threads.in_threads` it goes on working while the taker is busy.
    """
    items = iter(items)
    pool = ThreadPoolExecutor(min(8, usable_processors()))
    try:
        pending: deque[Future[R]] = deque(pool.submit(work, item) for item in islice(items, count))
        while pending:
            yield pending.popleft().result()
            pending.extend(pool.submit(work, item) for item in islice(items, 1))
    finally:
        pool.shutdown(cancel_futures=True)
