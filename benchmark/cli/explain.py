"""``divsal-bench explain``: what decided one image, or a data set."""

from __future__ import annotations

import argparse
import json
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from divsal_bench import devices
from divsal_bench.cli import EXIT_USER_ERROR
from divsal_bench.cli.predict import locate, printable, refuse_inputs, say, use_threads
from divsal_bench.errors import UserError

if TYPE_CHECKING:
    from divsal_bench.explained.inputs import Opened, Subject
    from divsal_bench.explained.single import Explanation
    from divsal_bench.pretrained import Pretrained

#: Up to so many images each get a table of their regions; more get one row each.
TABLES = 4
#: Rows on the screen.
SHOWN = 50
#: Images that are decoded ahead.
AHEAD = 8


def explain(arguments: argparse.Namespace) -> int:
    """Explain images, or with --set a data set; 2 if an image could not be explained."""
    devices.prepare_environment()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as in predict
    if arguments.device.partition(":")[0] not in devices.DEVICES:
        raise UserError(f"unknown device {arguments.device!r}; give one of {', '.join(devices.DEVICES)}")
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
    for name in ("data", "limit") if arguments.set is None else ("label", "human", "maps"):
        if getattr(arguments, name) is not None:
            where = "with --set only" if arguments.set is None else "with images only"
            raise UserError(f"--{name} goes {where}; leave it out")
    if arguments.set is not None and arguments.csv:
        raise UserError("--csv goes with images only; --set always writes samples.csv")


def explain_images(arguments: argparse.Namespace) -> int:
    """Explain images: a figure and a JSON file for each, and tables."""
    from divsal_bench import pretrained
    from divsal_bench.explained import inputs, single

    names = single.chosen(arguments.maps)
    device = devices.choose(arguments.device)
    network = pretrained.load(*locate(arguments.model))
    subjects = inputs.collect(arguments.images, network.class_names, arguments.label, arguments.human)
    paths = require_out(arguments.out, subjects, arguments.csv, arguments.force)
    single.require(network, names, asked=arguments.maps is not None)
    closed = single.has_closed_form(network)
    network.model.net.to(device)
    use_threads(network)
    arguments.out.mkdir(parents=True, exist_ok=True)
    tables: list[dict[str, Any]] = []
    failed: list[tuple[str, str]] = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # damage that matters becomes an error
        for one, path, content in counted(decoded(network, subjects, paths), len(subjects)):
            if isinstance(content, str):
                if len(subjects) == 1:
                    raise UserError(f"{printable(one.input.image)} {printable(content)}")
                failed.append((one.input.image, content))
                tables.append({"image": one.input.image, "error": content})
                continue
            found = single.explain(network, one.input.image, content, one.label, names, closed)
            write_files(found, path, network)
            tables.append({"image": one.input.image, "error": "", "found": found if len(subjects) <= TABLES else None}
                          | {"row": summary(found), "regions": region_rows(found)})  # fmt: skip
    if arguments.csv:
        write_tables(arguments.out, tables)
    print_tables(tables)
    return say_outcome(network, tables, failed, arguments.out)


def require_out(folder: Path, subjects: Sequence[Subject], csv: bool, force: bool) -> list[Path]:
    """Where each image's figure goes; refuse what cannot be written, and what would be lost."""
    from divsal_bench import overlay

    overlay.require_writable(folder, "--out")
    found = [folder / name for name in overlay.file_names([one.input.parts for one in subjects])]
    written = [*found, *(path.with_suffix(".json") for path in found)]
    written += [folder / name for name in ("images.csv", "regions.csv")] if csv else []
    refuse_inputs("--out", written, [one.input for one in subjects])
    maps = {os.path.realpath(one.human) for one in subjects if one.human is not None}
    for path in written:
        if os.path.realpath(path) in maps:
            raise UserError(f"--out would write over the human map {path}; choose another folder")
    there = [path for path in written if path.exists()]
    if there and not force:
        more = f" and {len(there) - 1} more there" if len(there) > 1 else ""
        raise UserError(f"--out: {there[0]}{more} exists; choose another folder, or replace it with --force")
    return found


def decoded(
    network: Pretrained, subjects: Sequence[Subject], paths: Sequence[Path]
) -> Iterator[tuple[Subject, Path, Opened | str]]:
    """Images in order, decoded in threads a little ahead of the network."""
    from divsal_bench.explained import inputs
    from divsal_bench.prediction import ahead

    contents = ahead(lambda one: inputs.opened(network, one), subjects, AHEAD)
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
    from divsal_bench.explained.picture import picture
    from divsal_bench.explained.single import as_json

    write(path, picture(found))
    content = as_json(found, network.origin, network.threshold)
    write(path.with_suffix(".json"), (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode())


def write(path: Path, content: bytes) -> None:
    """Written aside and renamed: what is there is whole."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_bytes(content)
        aside.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}); free some space, or mend it") from error
    finally:
        aside.unlink(missing_ok=True)


def summary(found: Explanation) -> dict[str, Any]:
    """One image as a row of images.csv."""
    row: dict[str, Any] = {
        "explained": found.own,
        "because": found.why_class,
        "decision": found.class_names[found.decision],
        "score": found.score,
        "margin": found.margin,
    }
    if found.regions is not None:
        largest = found.regions.shown[0].logits if found.regions.shown else 0.0
        row |= {
            "regions": len(found.regions.shown) + found.regions.rest_count,
            "largest": largest,
            "rest": found.regions.rest,
            "bias": found.regions.bias,
            "as_logits_say": sum(one.agrees for one in found.covering),
            "covered": len(found.covering),
        }
    for one in found.maps:
        row |= {f"{one.name}_{key}": value for key, value in one.numbers.items()}
    return row


def region_rows(found: Explanation) -> list[dict[str, Any]]:
    """The regions of one image as rows, then rest, bias and their sum."""
    from divsal_bench.explained.single import speaks_for

    parts = found.regions
    if parts is None:
        return []
    rows: list[dict[str, Any]] = []
    for rank, (region, did) in enumerate(zip(parts.shown, found.covering, strict=True), start=1):
        rows.append(
            {
                "part": str(rank),
                "speaks for": speaks_for(found, region),
                "logits": region.logits,
                "inside human map": region.inside,
                "covered: margin moves": did.moved,
                "as its logits say": "yes" if did.agrees else "no",
            }
        )
    rows.append({"part": f"rest ({parts.rest_count})", "logits": parts.rest})
    rows.append({"part": "bias", "logits": parts.bias})
    rows.append({"part": "sum = margin", "logits": parts.margin})
    return rows


def write_tables(folder: Path, tables: Sequence[dict[str, Any]]) -> None:
    """images.csv: a row an image; regions.csv: a row a region."""
    import pandas as pd

    images = [{"image": one["image"], **one.get("row", {}), "error": one["error"]} for one in tables]
    regions = [{"image": one["image"], **row} for one in tables for row in one.get("regions", [])]
    for name, rows in (("images.csv", images), ("regions.csv", regions)):
        text = pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")
        write(folder / name, text.encode("utf-8", "backslashreplace"))


def print_tables(tables: Sequence[dict[str, Any]]) -> None:
    """A table of regions for each of a few images, else a row for each image."""
    if len(tables) > TABLES:
        print_rows(tables)
        return
    for position, one in enumerate(tables):
        if position:
            print()
        if one["error"]:
            print(f"{printable(one['image'])}: {printable(one['error'])}")
            continue
        found = one["found"]
        called = found.class_names[found.decision]
        print(
            f"{printable(one['image'])}: {found.own} ({found.why_class}), margin {found.own} − {found.other} "
            f"{found.margin:+.4f} logits, called {called}"
        )
        if one["regions"]:
            print_regions(one["regions"], found.human is not None)
        print_agreement(found)


def print_regions(rows: Sequence[dict[str, Any]], has_human: bool) -> None:
    """One image's regions."""
    cells = []
    for row in rows:
        inside, moved = row.get("inside human map", math.nan), row.get("covered: margin moves", math.nan)
        cells.append(
            [
                row["part"], row.get("speaks for", ""), f"{row['logits']:+.4f}",
                *([fixed(inside)] if has_human else []),
                "" if math.isnan(moved) else f"{moved:+.4f}", row.get("as its logits say", ""),
            ]
        )  # fmt: skip
    inside_head = ["inside human map"] if has_human else []
    heads = ["region", "speaks for", "logits", *inside_head, "covered: margin moves", "as its logits say"]
    align = ["left", "left", "right", *(["right"] if has_human else []), "right", "left"]
    print(tabulate(cells, heads, tablefmt="simple", disable_numparse=True, colalign=align))


def print_agreement(found: Explanation) -> None:
    """Maps that are undefined or empty, and each map's agreement with the human map."""
    for one in found.maps:
        if one.absent or one.empty:
            print(f"{one.name}: {one.absent or 'empty: it has no positive part'}")
    rows = [[one.name, *(fixed(value) for value in one.numbers.values())] for one in found.maps if one.numbers]
    if rows:
        heads = ["map against human map", *next(one.numbers for one in found.maps if one.numbers)]
        print()
        align = ["left", *["right"] * (len(heads) - 1)]
        print(tabulate(rows, heads, tablefmt="simple", disable_numparse=True, colalign=align))


def print_rows(tables: Sequence[dict[str, Any]]) -> None:
    """One row for each image."""
    has_human = any("difference_lift" in one.get("row", {}) for one in tables)
    cells = []
    for one in tables[:SHOWN]:
        row = one.get("row")
        if row is None:
            cells.append([printable(one["image"]), *[""] * (7 + has_human), printable(one["error"])])
            continue
        checked = f"{row['as_logits_say']} of {row['covered']}" if "covered" in row else ""
        cells.append(
            [
                printable(one["image"]), f"{row['explained']} ({row['because'].split()[0]})", row["decision"],
                *(f"{row[name]:+.4f}" if name in row else "" for name in ("margin", "largest", "bias")),
                str(row.get("regions", "")), checked,
                *([fixed(row.get("difference_lift", math.nan))] if has_human else []), "",
            ]
        )  # fmt: skip
    heads = ["image", "explained", "called", "margin", "largest", "bias", "regions", "as logits say"]
    heads += ["lift"] if has_human else []
    align = ["left", "left", "left", "right", "right", "right", "right", "right", *["right"] * has_human]
    if any(row[-1] for row in cells):
        heads, align = [*heads, "error"], [*align, "left"]
    else:
        cells = [row[:-1] for row in cells]
    print(tabulate(cells, heads, tablefmt="simple", disable_numparse=True, colalign=align))
    if len(tables) > SHOWN:
        print(f"… and {len(tables) - SHOWN:,} more; --csv writes them all")


def fixed(value: float) -> str:
    """A share; nothing where there is none."""
    return "" if math.isnan(value) else f"{value + 0.0:.3f}"


def say_outcome(
    network: Pretrained, tables: Sequence[dict[str, Any]], failed: Sequence[tuple[str, str]], out: Path
) -> int:
    """What the numbers mean and where the files are, on standard error."""
    say(f"model: {printable(network.origin)}")
    limit = "no threshold" if network.threshold is None else f"{network.threshold:+.4f}"
    say(f"called {network.class_names[1]} from a score ({' − '.join(reversed(network.class_names))}) of {limit} on")
    say(
        "regions: connected parts of the difference map; their logits, the rest and the bias add up to the margin. "
        "That is a sum, not a cause: covering a region (with the mean colour) is the check"
    )
    say(f"figures and numbers: {out} ({len(tables) - len(failed):,} of {len(tables):,} images)")
    if not failed:
        return 0
    image, reason = failed[0]
    say(
        f"divsal-bench: {len(failed):,} of {len(tables):,} images could not be explained; the first: "
        f"{printable(image)} {printable(reason)}"
    )
    return EXIT_USER_ERROR
