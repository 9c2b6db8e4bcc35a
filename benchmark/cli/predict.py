"""``divsal-bench predict``: scores and decisions for image files, and maps of where they come from."""

from __future__ import annotations

import argparse
import dataclasses
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.cli import EXIT_USER_ERROR, say, tables, tidy
from divsal_bench.errors import UserError, plural, printable
from divsal_bench.files import escaping, whole
from divsal_bench.networks import devices
from divsal_bench.runs.reading import require_utf8, run_folders

if TYPE_CHECKING:
    import pandas as pd

    from divsal_bench.predict.inputs import Input
    from divsal_bench.predict.prediction import Prediction, Pretrained

#: Rows on the screen.
SHOWN = 50
#: Pictures that may wait to be drawn.
DRAWN = 16
#: Run directories that are named when one must be chosen.
NAMED = 3


def predict(arguments: argparse.Namespace) -> int:
    """Score images and print a table; 2 if one of them could not be scored."""
    devices.prepare_environment()
    # Decoding shares the processors: torch's threads must sleep while they wait, not spin (8 times slower when busy).
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from divsal_bench.predict import inputs, prediction

    check_options(arguments)
    images = inputs.collect_images(arguments.images)
    require_csv(arguments.csv, images, arguments.force)
    pictures = overlay_paths(arguments.overlay, images, arguments.force)
    device = devices.choose(arguments.device)
    pretrained = windowed(open_model(arguments.model), arguments.window)
    if pictures:
        pretrained.require_maps()
    pretrained.model.net.to(device)
    use_threads(pretrained)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # damage that matters becomes an error row
        scored = prediction.stream(pretrained, images, arguments.batch_size, with_maps=bool(pictures))
        deep: list[int] = []
        seen = noted(drawn(scored, pictures, pretrained), deep)
        table = prediction.table(counted(seen, len(images)))
    if arguments.csv is not None:
        write_csv(table, arguments.csv)
    print_table(table, arguments.csv)
    say_depth(deep, pretrained)
    return say_outcome(table, pretrained, arguments)


def check_options(arguments: argparse.Namespace) -> None:
    """Refuse what needs no look at any file."""
    if arguments.batch_size < 1:
        raise UserError(f"--batch-size {arguments.batch_size} is no number of images; give 1 or more")
    if arguments.device.partition(":")[0] not in devices.DEVICES:
        raise UserError(f"unknown device {arguments.device!r}; give one of {', '.join(devices.DEVICES)}")


def require_csv(path: Path | None, inputs: Sequence[Input], force: bool) -> None:
    """Refuse a --csv that cannot be written or would be lost."""
    if path is None:
        return
    if path.is_dir():
        raise UserError(f"--csv {path} is a folder; name a file")
    if path.exists() and not path.is_file():
        raise UserError(f"--csv {path} is a device or a pipe; name a file")
    if not path.parent.is_dir():
        raise UserError(f"--csv {path} cannot be written: there is no folder {path.parent}; make it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UserError(f"--csv {path} cannot be written (no permission in {path.parent}); choose another folder")
    refuse_inputs("--csv", [path], inputs)
    if path.exists() and not force:
        raise UserError(f"--csv {path} exists; choose another file, or replace it with --force")


def overlay_paths(folder: Path | None, inputs: Sequence[Input], force: bool) -> list[Path]:
    """Where each input's picture goes; empty without --overlay."""
    from divsal_bench.predict import overlay

    if folder is None:
        return []
    overlay.require_writable(folder)
    found = [folder / name for name in overlay.file_names([one.parts for one in inputs])]
    refuse_inputs("--overlay", found, inputs)
    there = [path for path in found if path.exists()]
    if there and not force:
        more = f" and {len(there) - 1} more there" if len(there) > 1 else ""
        raise UserError(f"--overlay: {there[0]}{more} exists; choose another folder, or replace it with --force")
    return found


def refuse_inputs(option: str, paths: Sequence[Path], inputs: Sequence[Input]) -> None:
    """Never write over an image that is to be read, with --force or without."""
    given = (str(one.source) for one in inputs if isinstance(one.source, str | Path))
    read = {os.path.realpath(path) for path in given if "\0" not in path}
    for path in paths:
        if os.path.realpath(path) in read:
            raise UserError(f"{option} would write over the image {path}; choose another folder")


def open_model(name: str) -> Pretrained:
    """A run directory, a repository's folder, or a Hub id; a folder of that name goes first.

    Raises:
        UserError: There is neither, or it is no network that can be used.
    """
    from divsal_bench.predict import loading

    return loading.load(*locate(name))


def locate(name: str) -> tuple[Path, str]:
    """The folder of a network, and what to call it; one on the Hub is fetched.

    Raises:
        UserError: There is neither a folder nor a repository of that name.
    """
    path = Path(name)
    require_utf8(path)
    if path.is_dir():
        folder = single_run(path)
        return folder, str(folder)
    from divsal_bench.hub.client import parse_id

    if path.exists():
        raise UserError(f"{path} is a file; give the folder of a run, or a Hub id org/name[@revision]")
    if parse_id(name) is None:
        raise UserError(f"there is no folder {name}, and it is no Hub id (org/name[@revision]); give a run's folder")
    from divsal_bench.hub.pull import snapshot

    found = snapshot(name)
    if found.notice:
        say(f"notice: {found.notice}")
    return found.folder, found.origin


def single_run(folder: Path) -> Path:
    """A folder itself, or the one run in an output folder.

    Raises:
        UserError: It holds several runs.
    """
    from divsal_bench.runs.names import CONFIG_FILE, RUN_FILE

    if any((folder / name).is_file() for name in (RUN_FILE, CONFIG_FILE)):
        return folder
    runs = run_folders(folder, 1, 2, 3)
    if len(runs) > 1:
        rest = f" and {len(runs) - NAMED} more" if len(runs) > NAMED else ""
        raise UserError(f"{folder} holds {len(runs)} runs; name one of them: {', '.join(map(str, runs[:NAMED]))}{rest}")
    return runs[0] if runs else folder


def use_threads(pretrained: Pretrained) -> None:
    """A network that was trained on one thread is too small to share: decoding has better use for the others."""
    import torch

    if pretrained.record is not None and pretrained.record.spec.protocol_settings.get("threads") == 1:
        torch.set_num_threads(1)


def drawn(scored: Iterator[Prediction], pictures: Sequence[Path], pretrained: Pretrained) -> Iterator[Prediction]:
    """Draw predictions as they come, in threads beside the network; few maps are in memory at a time.

    Args:
        scored: With maps, if there are pictures.
        pictures: Where each is drawn; none without --overlay.
        pretrained: What scored them.
    """
    from divsal_bench.data.threads import ahead
    from divsal_bench.predict import overlay

    if not pictures:
        return scored
    pictures[0].parent.mkdir(parents=True, exist_ok=True)
    tidy([pictures[0].parent])

    def draw(one: tuple[Prediction, Path]) -> Prediction:
        if one[0].difference is not None:
            overlay.save(overlay.draw(one[0], pretrained.class_names, pretrained.threshold), one[1])
        return one[0]

    return ahead(draw, zip(scored, pictures, strict=True), DRAWN)


def windowed(pretrained: Pretrained, text: str | None) -> Pretrained:
    """A network that reads 16-bit files with the window that ``--window`` names, if it names one."""
    from divsal_bench.data import reading

    if text is None:
        return pretrained
    found = reading.window_of(text)
    if found is None:
        raise UserError(f"--window {text!r}: write 12bit, or LO:HI with 0 ≤ LO < HI ≤ 65535, e.g. 0:4095")
    return dataclasses.replace(pretrained, window=found)


def noted(scored: Iterator[Prediction], deep: list[int]) -> Iterator[Prediction]:
    """Note the largest value of every file of 16 bits."""
    for one in scored:
        if one.highest:
            deep.append(one.highest)
        yield one


def say_depth(deep: Sequence[int], pretrained: Pretrained) -> None:
    """How files of 16 bits were read, and whether that fits them: once for all of them."""
    low, high = pretrained.window
    dark = [highest for highest in deep if highest - low < (high - low) / 2]
    bright = [highest for highest in deep if highest > high]
    if deep and (low, high) != (0, 65535):
        say(f"notice: {len(deep):,} 16-bit files were read with {low} as black and {high} as white")
    if dark:
        bits = max(dark).bit_length()
        say(
            f"notice: {len(dark):,} of {len(deep):,} 16-bit files use only their lowest {bits} bits (largest value "
            f"{max(dark)}), so they are dark to the network; --window {max(9, bits)}bit or LO:HI says which values are "
            "black and white"
        )
    if bright:
        say(f"notice: {len(bright):,} of {len(deep):,} 16-bit files have values above {high}; they are cut off there")


def counted(scored: Iterator[Prediction], total: int) -> Iterator[Prediction]:
    """Say on a terminal how far it is."""
    from divsal_bench.cli.progress import counter

    show = counter("scored")
    for done, one in enumerate(scored, start=1):
        yield one
        show(done, total)


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Written aside and renamed: what is there is whole."""
    tidy([path.parent])
    whole.write(path, escaping.table_csv(table).encode("utf-8", "backslashreplace"))


def print_table(table: pd.DataFrame, csv: Path | None) -> None:
    """The first rows, and how many more there are."""
    rows = []
    for image, score, probability, decision, error in table.head(SHOWN).itertuples(index=False, name=None):
        numbers = ["", ""] if error else [f"{score:+.4f}", f"{probability:.4f}"]
        rows.append([printable(image), *numbers, decision, printable(error)])
    columns = list(table.columns)
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    print(tables.table(rows, columns, "lrrll"[: len(columns)]))
    if len(table) > SHOWN:
        print(f"… and {len(table) - SHOWN:,} more" + (f" in {csv}" if csv else "; --csv FILE writes them all"))


def say_outcome(table: pd.DataFrame, pretrained: Pretrained, arguments: argparse.Namespace) -> int:
    """Where the numbers come from and how many there are of each kind, on standard error."""
    from divsal_bench.predict.inputs import left_out
    from divsal_bench.predict.prediction import probability

    names = pretrained.class_names
    if pretrained.threshold is None:
        limit = f"no threshold keeps its rule, so nothing is called {names[1]}"
    else:
        share = probability(pretrained.threshold)
        limit = f"{names[1]} from a score of {pretrained.threshold:+.4f} on, a probability of {share:.3f}"
    say(f"model: {printable(pretrained.origin)}")
    say(f"threshold: {limit} ({pretrained.threshold_rule or 'its rule is not stated'})")
    wrong = table[table["error"] != ""]
    counts = [f"{int((table['decision'] == name).sum()):,} {name}" for name in names]
    say(f"{plural(len(table), 'image')}: {', '.join(counts)}, {len(wrong):,} not scored{left_out(arguments.images)}")
    for option, place in (("scores", arguments.csv), ("maps", arguments.overlay)):
        if place is not None:
            say(f"{option}: {place}")
    if wrong.empty:
        return 0
    first = wrong.iloc[0]
    say(
        f"divsal-bench: {len(wrong):,} of {plural(len(table), 'image')} could not be scored; the first: "
        f"{printable(first['image'])} {printable(first['error'])}"
    )
    return EXIT_USER_ERROR
