"""``divsal-bench explain``: what decided one image, or a data set."""

from __future__ import annotations

import argparse
import json
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.cli import EXIT_USER_ERROR, say, tidy
from divsal_bench.cli.explain_tables import Line, csv_files, line, print_tables
from divsal_bench.errors import UserError, plural, printable
from divsal_bench.files import whole
from divsal_bench.networks import devices

if TYPE_CHECKING:
    from divsal_bench.explain.examples import Opened, Subject
    from divsal_bench.explain.image import Explanation
    from divsal_bench.predict.pretrained import Pretrained

#: Images that are decoded ahead.
AHEAD = 8


def explain(arguments: argparse.Namespace) -> int:
    """Explain images, or with --set a data set; 2 if an image could not be explained."""
    devices.prepare_environment()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as in predict
    devices.require_known(arguments.device)
    check_options(arguments)
    if arguments.set is not None:
        from divsal_bench.cli.explain_set import explain_set

        return explain_set(arguments)
    return explain_images(arguments)


def check_options(arguments: argparse.Namespace) -> None:
    """Refuse options that do not belong together."""
    if arguments.set is not None and arguments.images:
        raise UserError("give images or --set, not both; --set takes the images of the run's own data")
    if arguments.set is None and not arguments.images:
        raise UserError("give images to explain (files, folders or CSV files), or --set test for the run's own data")
    for name in ("data", "limit") if arguments.set is None else ("label", "human", "maps", "window"):
        if getattr(arguments, name) is not None:
            where = "with --set only" if arguments.set is None else "with images only"
            raise UserError(f"--{name} goes {where}; leave it out")
    if arguments.set is not None and arguments.csv:
        raise UserError("--csv goes with images only; --set always writes samples.csv")


def explain_images(arguments: argparse.Namespace) -> int:
    """Explain images: a figure and a JSON file for each, and tables."""
    from divsal_bench.explain import examples, image
    from divsal_bench.predict.depths import depth_notices
    from divsal_bench.predict.finding import open_model, use_threads

    names = image.chosen(arguments.maps)
    device = devices.choose_device(arguments.device)
    network = open_model(arguments.model, arguments.window, say)
    subjects = examples.collect(arguments.images, network.class_names, arguments.label, arguments.human)
    paths = require_out(arguments.out, subjects, arguments.csv, arguments.force)
    closed = image.closed_form(network, names, asked=arguments.maps is not None)
    network.model.net.to(device)
    use_threads(network)
    arguments.out.mkdir(parents=True, exist_ok=True)
    tidy([arguments.out])
    lines: list[Line] = []
    deep: list[int] = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # damage that matters becomes an error
        for one, path, content in counted(decoded(network, subjects, paths), len(subjects)):
            try:
                if isinstance(content, str):
                    raise UserError(f"{printable(one.input.image)} {printable(content)}")
                deep += [content.highest] if content.highest else []
                found = image.explain(network, one.input.image, content, one.label, names, closed)
            except UserError as error:
                if len(subjects) == 1:
                    raise
                lines.append(Line(one.input.image, str(error).removeprefix(printable(one.input.image)).strip()))
                continue
            write_files(found, path, network)
            lines.append(line(found))
    for name, table in csv_files(lines).items() if arguments.csv else ():
        whole.write(arguments.out / name, table)
    print_tables(lines)
    for notice in depth_notices(deep, network.window):
        say(f"notice: {notice}")
    return say_outcome(network, lines, arguments.out)


def require_out(folder: Path, subjects: Sequence[Subject], csv: bool, force: bool) -> list[Path]:
    """Where each image's figure goes; refuse what cannot be written, and what would be lost."""
    from divsal_bench.predict import outputs

    outputs.require_writable(folder, "--out")
    found = outputs.picture_paths(folder, [one.input for one in subjects])
    written = [*found, *(path.with_suffix(".json") for path in found)]
    written += [folder / name for name in ("images.csv", "regions.csv")] if csv else []
    outputs.refuse_inputs("--out", written, [one.input for one in subjects])
    maps = {os.path.realpath(one.human) for one in subjects if one.human is not None}
    for path in written:
        if os.path.realpath(path) in maps:
            raise UserError(f"--out would write over the human map {path}; choose another folder")
    outputs.refuse_present("--out", written, force)
    return found


def decoded(
    network: Pretrained, subjects: Sequence[Subject], paths: Sequence[Path]
) -> Iterator[tuple[Subject, Path, Opened | str]]:
    """Images in order, decoded in threads a little ahead of the network."""
    from divsal_bench.data.threads import ahead
    from divsal_bench.explain import examples

    contents = ahead(lambda one: examples.opened(network, one), subjects, AHEAD)
    yield from zip(subjects, paths, contents, strict=True)


def counted(
    items: Iterator[tuple[Subject, Path, Opened | str]], total: int
) -> Iterator[tuple[Subject, Path, Opened | str]]:
    """Say on a terminal how far it is."""
    from divsal_bench.cli.progress import counter

    show = counter("explained")
    for done, one in enumerate(items, start=1):
        yield one
        show(done, total)


def write_files(found: Explanation, path: Path, network: Pretrained) -> None:
    """The figure, and everything in it as numbers."""
    from divsal_bench.explain.image_figure import picture
    from divsal_bench.explain.image_json import as_json

    whole.write(path, picture(found))
    content = as_json(found, network.origin, network.threshold)
    text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
    # A file name may be no text: its bytes become escapes, which JSON has too.
    whole.write(path.with_suffix(".json"), text.encode("utf-8", "backslashreplace"))


def say_outcome(network: Pretrained, lines: Sequence[Line], out: Path) -> int:
    """What the numbers mean and where the files are, on standard error."""
    say(f"model: {printable(network.origin)}")
    limit = "no threshold" if network.threshold is None else f"{network.threshold:+.4f}"
    score = " − ".join(reversed(network.class_names))
    say(f"threshold: this network calls an image {network.class_names[1]} from a score ({score}) of {limit} on")
    say(
        "regions: connected parts of the difference map; their logits, the rest and the bias add up to the margin. "
        "That is a sum, not a cause: covering a region (with the mean colour) is the check, and should move the margin "
        "against its logits (down for +, up for −)"
    )
    failed = [one for one in lines if one.error]
    say(f"figures and numbers: {out} ({len(lines) - len(failed):,} of {plural(len(lines), 'image')})")
    if not failed:
        return 0
    say(
        f"divsal-bench: {len(failed):,} of {plural(len(lines), 'image')} could not be explained; the first: "
        f"{printable(failed[0].image)} {printable(failed[0].error)}"
    )
    return EXIT_USER_ERROR
