"""The network that somebody names: a run directory, an output folder with one run, a repository's folder, a Hub id."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Union

from divsal_bench.errors import UserError
from divsal_bench.runs.names import CONFIG_FILE, RUN_FILE
from divsal_bench.runs.reading import Run, read_run, require_utf8, run_folders

if TYPE_CHECKING:
    from divsal_bench.prediction.pretrained import Pretrained

#: A network: a folder, a Hub id, a run that was read, or the network itself.
Model = Union[str, Path, Run, "Pretrained"]
#: Run directories that are named when one must be chosen.
NAMED = 3


def open_model(model: Model, window: str | None, say: Callable[[str], None]) -> Pretrained:
    """A run directory, a repository's folder, or a Hub id (a folder of that name goes first); a run; or a network.

    Args:
        window: The values of 16-bit files that are black and white, ``12bit`` or ``LO:HI``; None takes the network's.

    Raises:
        UserError: There is neither, it is no network that can be used, or the window is none.
    """
    from divsal_bench.prediction import loading
    from divsal_bench.prediction.pretrained import Pretrained

    found = model if isinstance(model, Pretrained) else loading.pretrained_in(*locate(model, say))
    return windowed(found, window)


def run_and_network(model: Model, say: Callable[[str], None]) -> tuple[Run, Pretrained]:
    """A network and its run, which names its data; UserError where that is not known."""
    from divsal_bench.prediction import loading
    from divsal_bench.prediction.pretrained import Pretrained

    if isinstance(model, Pretrained):
        origin = model.origin
        if model.record is not None:
            return Run(Path(origin), model.record), model
    else:
        place, origin = locate(model, say)
        if (place / RUN_FILE).is_file():
            return read_run(place), loading.pretrained_in(place, origin)
    raise UserError(
        f"{origin} has no {RUN_FILE}, so the data it was trained on is not known; give images instead of --set"
    )


def locate(name: str | Path | Run, say: Callable[[str], None]) -> tuple[Path, str]:
    """The folder of a network, and what to call it; one on the Hub is fetched. UserError if there is neither."""
    if isinstance(name, Run):
        return name.path, str(name.path)
    if not isinstance(name, str | Path):
        raise UserError(f"model takes a folder, a Hub id, a Run or a Pretrained, not {type(name).__name__}")
    path = Path(name)
    require_utf8(path)
    if path.is_dir():
        folder = single_run(path)
        return folder, str(folder)
    from divsal_bench.hub.client import parse_id

    if path.exists():
        raise UserError(f"{path} is a file; give the folder of a run, or a Hub id org/name[@revision]")
    if parse_id(str(name)) is None:
        raise UserError(f"there is no folder {name}, and it is no Hub id (org/name[@revision]); give a run's folder")
    from divsal_bench.hub.pull import snapshot

    found = snapshot(str(name))
    if found.notice:
        say(f"notice: {found.notice}")
    return found.folder, found.origin


def single_run(folder: Path) -> Path:
    """A folder itself, or the one run in an output folder; UserError if it holds several."""
    if any((folder / name).is_file() for name in (RUN_FILE, CONFIG_FILE)):
        return folder
    runs = run_folders(folder, 1, 2, 3)
    if len(runs) > 1:
        rest = f" and {len(runs) - NAMED} more" if len(runs) > NAMED else ""
        raise UserError(f"{folder} holds {len(runs)} runs; name one of them: {', '.join(map(str, runs[:NAMED]))}{rest}")
    return runs[0] if runs else folder


def windowed(pretrained: Pretrained, text: str | None) -> Pretrained:
    """A network that reads 16-bit files with the window that ``--window`` names, if it names one."""
    from divsal_bench.data import reading

    if text is None:
        return pretrained
    found = reading.window_of(text)
    if found is None:
        raise UserError(f"--window {text!r}: write 12bit, or LO:HI with 0 ≤ LO < HI ≤ 65535, e.g. 0:4095")
    return dataclasses.replace(pretrained, window=found)


def use_threads(pretrained: Pretrained) -> None:
    """A network that was trained on one thread is too small to share: decoding has better use for the others."""
    import torch

    if pretrained.record is not None and pretrained.record.spec.protocol_settings.get("threads") == 1:
        torch.set_num_threads(1)
