"""Speed: ratios of what trains and predicts here, from contenders that take turns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from divsal_bench.errors import UserError
from divsal_bench.networks import devices
from divsal_bench.registry.protocols import find_protocol
from divsal_bench.timing import machine, measuring, report
from divsal_bench.timing.measuring import Measured
from divsal_bench.timing.pairs import STEPS_ON_ACCELERATOR, Compared
from divsal_bench.timing.setting import Setting, timed_protocol
from divsal_bench.workflows.forms import require_form
from divsal_bench.workflows.selection import Names, joined, require_number
from divsal_bench.workflows.telling import Say, silent

if TYPE_CHECKING:
    import pandas as pd

#: Where no protocol is named: of the package's own small network, and of every network that is named.
OWN_PROTOCOL, NAMED_PROTOCOL = "quick-v1", "cyborg-v1"
#: For all pairs of a comparison, about, where the number of steps is not given.
SECONDS = 6.0
#: What numbers may be, both ends included.
BOUNDS = {
    "size": (8, 2048), "batch": (2, 4096), "pairs": (1, 999), "steps": (1, 100_000), "threads": (1, 1024),
    "workers": (2, 256), "mapped": (1, 100),
}  # fmt: skip


@dataclass(frozen=True, repr=False)
class Speed:
    """What was measured.

    Attributes:
        setting: What all contenders shared.
        measured: Comparisons, contenders and curves.
        machine: Processor, device, software and date.
    """

    setting: Setting
    measured: Measured
    machine: dict[str, Any] = field(repr=False)

    def __repr__(self) -> str:
        return f"Speed({self.setting.backbone}, {len(self.measured.compared)} compared)"

    def frame(self) -> pd.DataFrame:
        """One row for each comparison: ratio, quartiles, milliseconds of a step."""
        import pandas as pd

        return pd.DataFrame(report.compared_records(self.measured))

    def contenders(self) -> pd.DataFrame:
        """One row for each contender: images a second, milliseconds of a step and of its parts, peak memory."""
        import pandas as pd

        rows = report.contender_records(self.measured)
        return pd.DataFrame([{**row, **{f"{part}_ms": ms for part, ms in row.pop("part_ms").items()}} for row in rows])

    def record(self) -> dict[str, Any]:
        """Everything, as JSON keeps it."""
        return report.speed_record(self.setting, self.measured, self.machine)

    def text(self, form: str = "terminal", width: int | None = None) -> str:
        """The tables as ``terminal`` or ``markdown``, the ratios as ``csv``, or everything as ``json``.

        Args:
            form: How.
            width: Of the terminal, in characters; None folds nothing.
        """
        require_form(form)
        return report.render_speed(self.setting, self.measured, self.machine, form, width)


def speed(
    *,
    only: Names | None = None,
    backbone: str | None = None,
    size: int | None = None,
    batch: int | None = None,
    protocol: str | None = None,
    device: str = "auto",
    pairs: int = 9,
    steps: int | None = None,
    threads: int | None = None,
    workers: int | None = None,
    mapped: int = 100,
    say: Say = silent,
) -> Speed:
    """Time what trains and predicts here, contenders in turns; nothing is kept on the disk.

    Args:
        only: Sections (``loop``, ``methods``, ``published``, ``cache``, ``evaluation``, ``arithmetic``, ``workers``)
            and methods; None for all but ``workers``.
        backbone: A timm name; None takes the protocol's.
        size: Side of the square input, pixels; None takes the protocol's.
        batch: Images of a training step; None takes the protocol's.
        protocol: A protocol's name; None takes ``quick-v1``, or ``cyborg-v1`` where a backbone is named.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        pairs: Of each comparison; 9 or more for numbers that are shown.
        steps: Of each contender in a pair; None takes as many as fit into about 6 seconds for all pairs.
        threads: Of the processor; None takes the protocol's.
        mapped: Per cent of the rows that have a human map; the section ``published`` takes 100.
        workers: Processes of the section ``workers``, which is then among them; None is 2.
        say: Told of each comparison when it is done.

    Returns:
        Ratios, speeds, memory and parts.

    Raises:
        UserError: Something is not known, not there, or too small or large.

    Example:
        >>> import divsal_bench
        >>> found = divsal_bench.speed(only="loop", pairs=1, steps=2, device="cpu")
        >>> found.frame()[["first", "second"]].values.tolist()
        [['cross-entropy', 'bare loop']]
    """
    numbers = {
        "size": size,
        "batch": batch,
        "pairs": pairs,
        "steps": steps,
        "threads": threads,
        "workers": workers,
        "mapped": mapped,
    }
    for name, value in numbers.items():
        require_number(name, value)
        least, most = BOUNDS[name]
        if value is not None and not least <= value <= most:
            raise UserError(f"--{name} is {shortened(value)}; give {least} to {most:,}")
    names = None if only is None else [name.strip() for name in joined(only, "only").split(",") if name.strip()]
    if names == []:
        raise UserError("--only names nothing; give sections or methods, joined by commas")
    sections, methods = measuring.asked_for(names, workers)
    if mapped < 100 and "published" in sections:
        raise UserError(
            "--mapped below 100 leaves nothing to compare in `published`, whose style of code takes a map for "
            "every image; name sections or methods with --only"
        )
    usual = find_protocol(protocol or (NAMED_PROTOCOL if backbone else OWN_PROTOCOL))
    devices.require_known(device)
    devices.prepare_environment()
    place = devices.choose_device(device)
    steps_a_turn = min(steps or STEPS_ON_ACCELERATOR, STEPS_ON_ACCELERATOR) if place.type != "cpu" else 1
    setting = Setting(
        backbone or usual.backbone, timed_protocol(usual, size, batch, threads), place, pairs,
        turns=None if steps is None else max(1, steps // steps_a_turn), seconds=SECONDS, steps=steps_a_turn,
        mapped=mapped,
    )  # fmt: skip
    total = measuring.count_compared(sections, methods)
    done: list[Compared] = []

    def told(one: Compared) -> None:
        done.append(one)
        low, middle, high = one.quartiles
        say(f"[{len(done)}/{total}] {one.name}: {middle:.3f} ({low:.3f}–{high:.3f})")

    measured = measuring.measure_speed(setting, sections, methods, workers or 2, told, say)
    return Speed(setting, measured, machine.machine_facts(place))


def shortened(value: int) -> str:
    """A number as it was given, or its beginning."""
    return text if len(text := str(value)) <= 20 else f"{text[:20]}…"
