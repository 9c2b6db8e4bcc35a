"""What killed commands left unfinished is removed from folders that are about to be written to."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from divsal_bench.errors import printable
from divsal_bench.files import whole
from divsal_bench.workflows.telling import Say


def sweep_unfinished(folders: Iterable[Path], say: Say) -> None:
    """Remove what killed commands left unfinished in folders, and say so."""
    removed = whole.sweep(folders)
    if removed:
        more = f" and {len(removed) - 1} more" if len(removed) > 1 else ""
        say(f"notice: removed {printable(removed[0])}{more}, which a killed command had left unfinished")


def sweep_unfinished_below(folder: Path, say: Say) -> None:
    """:func:`sweep_unfinished` of a folder and all folders in it."""
    sweep_unfinished((Path(place) for place, _, _ in os.walk(folder)), say)
