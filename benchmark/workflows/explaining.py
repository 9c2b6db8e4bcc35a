"""Explain: what decided each image, and what decides a data set."""

from __future__ import annotations

import dataclasses
import json
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from divsal_bench.errors import UserError, printable
from divsal_bench.files import escaping, whole
from divsal_bench.networks import devices
from divsal_bench.workflows.selection import Names, image_paths, joined
from divsal_bench.workflows.telling import OnCount, Say, silent, unheard
from divsal_bench.workflows.tidying import sweep_unfinished

if TYPE_CHECKING:
    import pandas as pd

    from divsal_bench.explanation.data_set_overview import Overview
    from divsal_bench.explanation.examples import Example, Opened
    from divsal_bench.explanation.image import Explanation
    from divsal_bench.explanation.image_table import ImageLine
    from divsal_bench.prediction.finding import Model
    from divsal_bench.prediction.pretrained import Pretrained

#: Images that are decoded ahead.
AHEAD = 8
IMAGES, REGIONS = "images.csv", "regions.csv"
REPORT, SAMPLES = "report.html", "samples.csv"


@dataclass(frozen=True, eq=False)
class ExplainedImages:
    """Images, each explained.

    Attributes:
        network: What explained them.
        lines: What the tables have of each image, in order; its ``error`` where it could not be explained.
        explanations: All that was found, of those that could be; none where they were not to be kept.
        written: The files that were written.
        notices: How files of 16 bits were read, where that may not fit them.
    """

    network: Pretrained
    lines: tuple[ImageLine, ...] = field(repr=False)
    explanations: tuple[Explanation, ...] = field(repr=False)
    written: tuple[Path, ...] = field(repr=False)
    notices: tuple[str, ...]

    def frame(self) -> pd.DataFrame:
        """A row an image: class, margin, largest region, rest, bias, agreement with the human map."""
        from divsal_bench.explanation.image_table import image_frame

        return image_frame(self.lines)

    def regions(self) -> pd.DataFrame:
        """A row a region, then rest and bias, image by image: ``logits`` of an image add up to its margin.

        NaN, or None in ``agrees``, where a column does not apply: rest and bias lie in no region.
        """
        from divsal_bench.explanation.image_table import parts_frame

        return parts_frame(self.lines)

    @property
    def failed(self) -> tuple[ImageLine, ...]:
        """The images that could not be explained."""
        return tuple(one for one in self.lines if one.error)


@dataclass(frozen=True, eq=False)
class ExplainedSet:
    """A data set, explained.

    Attributes:
        network: What decided.
        overview: Mean maps, the cells that decide, disagreements, errors.
        page: The report, HTML.
        written: The files that were written.
    """

    network: Pretrained
    overview: Overview = field(repr=False)
    page: str = field(repr=False)
    written: tuple[Path, ...]

    def frame(self) -> pd.DataFrame:
        """A row an image, as samples.csv has it."""
        return self.overview.table


def explain(
    model: Model,
    images: str | Path | Iterable[str | Path],
    *,
    out: str | Path | None = None,
    label: str | None = None,
    human: str | Path | None = None,
    maps: Names | None = None,
    window: str | None = None,
    csv: bool = False,
    force: bool = False,
    device: str = "auto",
    keep: bool = True,
    say: Say = silent,
    on_image: OnCount = unheard,
) -> ExplainedImages:
    """Take the logit margin of each image apart: maps, and regions whose logits with the bias add up to it.

    Args:
        model: A run directory, a model on the Hugging Face Hub as ``org/name[@revision]``, a :class:`Run`, or a
            :class:`Pretrained`.
        images: Image files, folders, or CSV files of images (column ``label``: their class); one or several.
        out: A folder for a figure and a JSON file an image; None writes nothing.
        label: The images' class; None explains the class that each is called, or that a CSV file gives.
        human: The human map of the one image, or a folder of maps named like the images.
        maps: Names of maps, one or several, also as one text joined by commas; None takes
            :data:`divsal_bench.explanation.image.DEFAULT`.
        window: How 16-bit files are read, ``12bit`` or ``LO:HI``; None as the network's data were.
        csv: Also write images.csv and regions.csv to ``out``.
        force: Replace files that are there.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        keep: Keep every explanation with its maps and pixels; False for more images than fit into memory.
        say: Told what the user should know of a repository, and of what was tidied up.
        on_image: Told how many images are done, and of how many.

    Returns:
        One line an image. One that cannot be explained has its reason there, unless it is the only one.

    Raises:
        UserError: There is no such network or image, the only image cannot be explained, a map cannot be had for this
            network, or a file would be lost.

    Example:
        >>> from pathlib import Path
        >>> import divsal_bench
        >>> from PIL import Image
        >>> Image.linear_gradient("L").convert("RGB").save("gradient.png")
        >>> found = divsal_bench.explain(next(Path("runs/cxr/cyborg").iterdir()), "gradient.png")
        >>> one = found.explanations[0]
        >>> abs(one.regions.margin - one.margin) < 1e-3  # regions, rest and bias add up to the margin
        True
    """
    _prepare(device)
    from divsal_bench.explanation import examples, image, image_table
    from divsal_bench.explanation.image_table import ImageLine, image_line
    from divsal_bench.prediction import finding
    from divsal_bench.prediction.decoding import depth_notices
    from divsal_bench.prediction.outputs import write_table

    asked = image_paths(images)
    names = image.maps_named(None if maps is None else joined(maps, "maps"))
    chosen = devices.choose_device(device)
    network = finding.open_model(model, window, say)
    given = examples.collect_examples(
        [str(one) for one in asked], network.class_names, label, None if human is None else Path(human)
    )
    folder = None if out is None else Path(out)
    paths = [None] * len(given) if folder is None else _figure_paths(folder, given, csv, force)
    closed = image.has_closed_form(network, names, asked=maps is not None)
    network.model.net.to(chosen)
    finding.use_threads(network)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        sweep_unfinished([folder], say)
    lines: list[ImageLine] = []
    kept: list[Explanation] = []
    written: list[Path] = []
    highest: list[int] = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # damage that matters becomes an error
        for number, (one, path, opened) in enumerate(_decoded(network, given, paths), start=1):
            name = one.input.image
            try:
                if isinstance(opened, str):
                    raise UserError(f"{printable(name)} {printable(opened)}")
                highest += [opened.highest] if opened.highest else []
                found = image.explain_image(network, name, opened, one.label, names, closed)
            except UserError as error:
                if len(given) == 1:
                    raise
                lines.append(ImageLine(name, str(error).removeprefix(printable(name)).strip()))
            else:
                lines.append(image_line(found))
                kept += [found] if keep else []
                written += [] if path is None else write_explanation(found, path, network)
            on_image(number, len(given))
    notices = tuple(depth_notices(highest, network.window))
    result = ExplainedImages(network, tuple(lines), tuple(kept), tuple(written), notices)
    if folder is None or not csv:
        return result
    tables = {folder / IMAGES: result.frame(), folder / REGIONS: image_table.region_frame(lines)}
    for file, table in tables.items():
        write_table(table, file)
    return dataclasses.replace(result, written=(*written, *tables))


def explain_set(
    model: Model,
    split: Literal["test", "validation"] = "test",
    *,
    out: str | Path | None = None,
    data: str | Path | None = None,
    limit: int | None = None,
    force: bool = False,
    device: str = "auto",
    say: Say = silent,
    on_image: OnCount = unheard,
) -> ExplainedSet:
    """Explain a split of the data that a network was trained on: mean maps, the cells that decide, the errors.

    Args:
        model: A run directory, a model on the Hub that was pushed from one, a :class:`Run`, or a :class:`Pretrained`
            that was made of one.
        split: ``test`` or ``validation``.
        out: A folder for report.html and samples.csv; None writes nothing.
        data: The run's data, where it is not in its usual place.
        limit: At most so many images, drawn by their ids: the same for every network.
        force: Replace files that are there.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        say: Told what the user should know of a repository, and of what was tidied up.
        on_image: Told how many images are done, and of how many.

    Returns:
        The overview, a row an image, and the page.

    Raises:
        UserError: There is no such network or data, its data is not known, a file would be lost, or the images that
            are left have a single class.

    Example:
        >>> from pathlib import Path
        >>> import divsal_bench
        >>> found = divsal_bench.explain_set(next(Path("runs/cxr/cyborg").iterdir()), limit=60)
        >>> len(found.frame())
        60
    """
    _prepare(device)
    from divsal_bench.explanation import data_set, data_set_page
    from divsal_bench.prediction import finding
    from divsal_bench.workflows.run_data import RunData

    if limit is not None and limit < 1:
        raise UserError(f"--limit {limit} is no number of images; give 1 or more")
    folder = None if out is None else Path(out)
    if folder is not None:
        _require_report_folder(folder, force)
    chosen = devices.choose_device(device)
    run, network = finding.run_and_network(model, say)
    network.require_maps()
    opened = RunData(data)
    arrays = opened.arrays(run)
    positions = data_set.positions_to_explain(arrays, split, limit, run.spec.data, network.class_names)
    network.model.net.to(chosen)
    finding.use_threads(network)
    found = data_set.overview(network, arrays, positions, split, on_image)
    page = data_set_page.render_report(found, arrays, opened.terms(run), data_set_page.report_heading(network))
    if folder is None:
        return ExplainedSet(network, found, page, ())
    folder.mkdir(parents=True, exist_ok=True)
    sweep_unfinished([folder], say)
    text = escaping.table_csv(found.table, float_format="%.9g")
    whole.write(folder / SAMPLES, text.encode("utf-8", "backslashreplace"))
    whole.write(folder / REPORT, page.encode("utf-8"))
    return ExplainedSet(network, found, page, (folder / REPORT, folder / SAMPLES))


def write_explanation(found: Explanation, path: Path, network: Pretrained) -> list[Path]:
    """Write one image's figure to a file, and everything in it as numbers beside it; both names are returned."""
    from divsal_bench.explanation.image_figure import explanation_png
    from divsal_bench.explanation.image_json import explanation_json

    whole.write(path, explanation_png(found))
    content = explanation_json(found, network.origin, network.threshold)
    text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
    beside = path.with_suffix(".json")
    # A file name may be no text: its bytes become escapes, which JSON has too.
    whole.write(beside, text.encode("utf-8", "backslashreplace"))
    return [path, beside]


def _prepare(device: str) -> None:
    """What must stand before torch is imported."""
    devices.prepare_environment()
    # Decoding shares the processors: torch's threads must sleep while they wait, not spin.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    devices.require_known(device)


def _figure_paths(folder: Path, given: Sequence[Example], csv: bool, force: bool) -> list[Path]:
    """Where each image's figure goes; refuse what cannot be written, and what would be lost."""
    from divsal_bench.prediction import outputs

    outputs.require_writable(folder, "--out")
    found = outputs.picture_paths(folder, [one.input for one in given])
    written = [*found, *(path.with_suffix(".json") for path in found)]
    written += [folder / name for name in (IMAGES, REGIONS)] if csv else []
    outputs.refuse_inputs("--out", written, [one.input for one in given])
    maps = {os.path.realpath(one.human) for one in given if one.human is not None}
    for path in written:
        if os.path.realpath(path) in maps:
            raise UserError(f"--out would write over the human map {path}; choose another folder")
    outputs.refuse_present("--out", written, force)
    return found


def _require_report_folder(folder: Path, force: bool) -> None:
    """Refuse what cannot be written, and what would be lost."""
    from divsal_bench.prediction import outputs

    outputs.require_writable(folder, "--out")
    for name in (REPORT, SAMPLES):
        if (folder / name).exists() and not force:
            raise UserError(f"--out: {folder / name} exists; choose another folder, or replace it with --force")


def _decoded(
    network: Pretrained, given: Sequence[Example], paths: Sequence[Path | None]
) -> Iterator[tuple[Example, Path | None, Opened | str]]:
    """Images in order, decoded in threads a little ahead of the network."""
    from divsal_bench.explanation import examples
    from divsal_bench.processes.threads import ahead

    contents = ahead(lambda one: examples.open_example(network, one), given, AHEAD)
    yield from zip(given, paths, contents, strict=True)
