"""``divsal-bench explain``: what decided one image, or a data set."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from divsal_bench.cli import EXIT_USER_ERROR, say
from divsal_bench.errors import UserError, plural, printable

if TYPE_CHECKING:
    from pathlib import Path

    from divsal_bench.workflows.explaining import ExplainedImages


def command(arguments: argparse.Namespace) -> int:
    """Explain images, or with --set a data set; 2 if an image could not be explained."""
    require_fitting_options(arguments)
    if arguments.set is not None:
        from divsal_bench.cli.explain_set import print_set

        return print_set(arguments)
    from divsal_bench.cli.explain_tables import print_images
    from divsal_bench.cli.progress import counter
    from divsal_bench.predict.depths import depth_notices
    from divsal_bench.workflows import explaining

    found = explaining.explain(
        arguments.model,
        arguments.images,
        out=arguments.out,
        label=arguments.label,
        human=arguments.human,
        maps=arguments.maps,
        window=arguments.window,
        csv=arguments.csv,
        force=arguments.force,
        device=arguments.device,
        keep=False,
        say=say,
        on_image=counter("explained"),
    )
    print_images(found.lines)
    for notice in depth_notices(found.highest, found.network.window):
        say(f"notice: {notice}")
    return say_explained(found, arguments.out)


def require_fitting_options(arguments: argparse.Namespace) -> None:
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


def say_explained(found: ExplainedImages, out: Path) -> int:
    """What the numbers mean and where the files are, on standard error; 2 if an image could not be explained."""
    network = found.network
    say(f"model: {printable(network.origin)}")
    limit = "no threshold" if network.threshold is None else f"{network.threshold:+.4f}"
    score = " − ".join(reversed(network.class_names))
    say(f"threshold: this network calls an image {network.class_names[1]} from a score ({score}) of {limit} on")
    say(
        "regions: connected parts of the difference map; their logits, the rest and the bias add up to the margin. "
        "That is a sum, not a cause: covering a region (with the mean colour) is the check, and should move the margin "
        "against its logits (down for +, up for −)"
    )
    failed, total = found.failed, len(found.lines)
    say(f"figures and numbers: {out} ({total - len(failed):,} of {plural(total, 'image')})")
    if not failed:
        return 0
    say(
        f"divsal-bench: {len(failed):,} of {plural(total, 'image')} could not be explained; the first: "
        f"{printable(failed[0].image)} {printable(failed[0].error)}"
    )
    return EXIT_USER_ERROR
