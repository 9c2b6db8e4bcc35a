"""Calibration: how often the leaderboard's statistics are right on boards whose truth is known. No torch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from divsal_bench.errors import UserError
from divsal_bench.leaderboard.calibration import calibration
from divsal_bench.leaderboard.calibration.calibration import CellRates
from divsal_bench.leaderboard.calibration.cells import cells_named
from divsal_bench.networks import devices
from divsal_bench.workflows.forms import require_form
from divsal_bench.workflows.selection import Names, joined, require_number
from divsal_bench.workflows.telling import Say, silent

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Calibration:
    """What was measured.

    Attributes:
        cells: All measures of each kind of board.
        seed: Of the random numbers.
    """

    cells: tuple[CellRates, ...]
    seed: int

    @property
    def missed(self) -> tuple[str, ...]:
        """Every pass mark that is missed: the cell and the measure."""
        return tuple(
            f"{one.cell.name} {rate.measure.name}" for one in self.cells for rate in one.rates if rate.holds is False
        )

    def frame(self) -> pd.DataFrame:
        """One row for each cell and measure; NaN where a cell has nothing of the kind."""
        import pandas as pd

        from divsal_bench.leaderboard.calibration.report import rate_records

        return pd.DataFrame(rate_records(self.cells, self.seed))

    def text(self, form: str = "terminal", width: int | None = None) -> str:
        """The rates as ``terminal``, ``markdown``, ``csv`` or ``json``.

        Args:
            form: How.
            width: Of the terminal, in characters; None folds nothing.
        """
        from divsal_bench.leaderboard.calibration.report import render_rates

        require_form(form)
        return render_rates(self.cells, form, self.seed, width)


def calibrate(
    cells: Names = "all", *, boards: int = 2000, seed: int = 0, workers: int | None = 0, say: Say = silent
) -> Calibration:
    """Simulate boards with a known truth and count how often the statistics are right.

    Args:
        cells: Kinds of boards: a name, several (also as one text joined by commas), or ``all``.
        boards: Boards a cell, at least 2.
        seed: Of the random numbers, at least 0.
        workers: Processes; 0 stays in this one, None takes as many as the machine has room for.
        say: Told of each cell when it is done.

    Returns:
        The rates of every cell, and which pass marks are missed.

    Raises:
        UserError: A cell is not known, or a number is too small.

    Example:
        >>> import divsal_bench
        >>> found = divsal_bench.calibrate("equal-0-n5", boards=25)
        >>> found.frame()["cell"].unique().tolist()
        ['equal-0-n5']
    """
    processes = devices.default_workers(1) if workers is None else workers
    for name, value, least in (("boards", boards, 2), ("seed", seed, 0), ("workers", processes, 0)):
        require_number(name, value)
        if value < least:
            raise UserError(f"--{name} is {value}; give {least} or more")
    chosen = cells_named(joined(cells, "cells"))
    started = time.monotonic()
    found: list[CellRates] = []
    for one in calibration.simulate_cells(chosen, boards, seed, max(processes, 1)):
        found.append(one)
        seconds = time.monotonic() - started
        left = seconds / len(found) * (len(chosen) - len(found))
        say(f"[{len(found)}/{len(chosen)}] {one.cell.name}: {seconds:.0f} s so far, about {left:.0f} s left")
    return Calibration(tuple(found), seed)
