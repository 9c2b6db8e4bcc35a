"""``divsal-bench explain --set``: a report on the data set of a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.cli import say, tidy
from divsal_bench.cli.tables import table
from divsal_bench.errors import UserError, printable
from divsal_bench.files import escaping, whole
from divsal_bench.networks import devices
from divsal_bench.registry import plugins

if TYPE_CHECKING:
    from divsal_bench.explain.data_set import Overview
    from divsal_bench.explain.data_set_page import Heading
    from divsal_bench.predict.pretrained import Pretrained
    from divsal_bench.runs.reading import Run

REPORT, SAMPLES = "report.html", "samples.csv"


def explain_set(arguments: argparse.Namespace) -> int:
    """Write report.html and samples.csv, and print the errors and the cells that decide."""
    from divsal_bench.cli.progress import counter
    from divsal_bench.explain import data_set, data_set_page
    from divsal_bench.predict import loading
    from divsal_bench.predict.finding import locate, use_threads
    from divsal_bench.workflows.run_data import RunData

    if arguments.limit is not None and arguments.limit < 1:
        raise UserError(f"--limit {arguments.limit} is no number of images; give 1 or more")
    require_out(arguments.out, arguments.force)
    device = devices.choose_device(arguments.device)
    folder, origin = locate(arguments.model, say)
    run = run_of(folder, origin)
    network = loading.pretrained_in(folder, origin)
    network.require_maps()
    opened = RunData(arguments.data)
    data = opened.arrays(run)
    positions = data_set.rows_of(data, arguments.set, arguments.limit, run.spec.data, network.class_names)
    network.model.net.to(device)
    use_threads(network)
    found = data_set.overview(network, data, positions, arguments.set, counter("explained"))
    page = data_set_page.render(found, data, opened.terms(run), heading(run, network))
    arguments.out.mkdir(parents=True, exist_ok=True)
    tidy([arguments.out])
    text = escaping.table_csv(found.table, float_format="%.9g")
    whole.write(arguments.out / SAMPLES, text.encode("utf-8", "backslashreplace"))
    whole.write(arguments.out / REPORT, page.encode("utf-8"))
    print_tables(found, network)
    say(f"model: {printable(origin)}")
    if not found.mapped:
        say("none of these images has a human map: agreement with people is left out")
    say(f"report: {arguments.out / REPORT}; a row an image: {arguments.out / SAMPLES}")
    return 0


def require_out(folder: Path, force: bool) -> None:
    """Refuse what cannot be written, and what would be lost."""
    from divsal_bench.predict import outputs

    outputs.require_writable(folder, "--out")
    for name in (REPORT, SAMPLES):
        if (folder / name).exists() and not force:
            raise UserError(f"--out: {folder / name} exists; choose another folder, or replace it with --force")


def run_of(folder: Path, origin: str) -> Run:
    """The run of a network, which names its data."""
    from divsal_bench.runs.names import RUN_FILE
    from divsal_bench.runs.reading import read_run

    if not (folder / RUN_FILE).is_file():
        raise UserError(
            f"{origin} has no {RUN_FILE}, so the data it was trained on is not known; give images instead of --set"
        )
    return read_run(folder)


def heading(run: Run, network: Pretrained) -> Heading:
    """What the report is about."""
    from divsal_bench.explain.data_set_page import Heading

    names = network.class_names
    if network.threshold is None:
        limit = f"no threshold keeps its rule, so nothing is called {names[1]}"
    else:
        score = f"{names[1]} − {names[0]}"
        limit = f"the network calls an image {names[1]} from a score ({score}) of {network.threshold:+.3f} on"
    title = plugins.tasks().get(run.spec.task).name
    return Heading(
        task=title,
        data=f"{run.spec.data} ({run.spec.data_fingerprint[:8]})",
        method=run.record.method_label,
        run_id=run.record.run_id,
        seed=run.spec.seed,
        class_names=names,
        threshold=f"{limit} ({network.threshold_rule})" if network.threshold_rule else limit,
    )


def print_tables(found: Overview, network: Pretrained) -> None:
    """Errors by condition and class, and where decisions come from."""
    names = network.class_names
    rows = [
        [
            one.condition,
            *(f"{wrong} of {count}" if count else "–" for wrong, count in zip(one.wrong, one.count, strict=True)),
        ]
        for one in found.errors
    ]
    heads = ["condition", *(f"{name} called wrong" for name in names)]
    print(table(rows, heads, "lrr"))
    print()
    cells = [
        [names[one.decision], f"row {y + 1}, column {x + 1}", f"{one.share[y, x]:.3f}", f"{one.logits[y, x]:+.4f}"]
        for one in found.cells
        for y, x in one.top()
    ]
    heads = ["called", f"cell of {found.grid[0]} × {found.grid[1]}", "decides in", "mean logits"]
    print(table(cells, heads, "llrr"))
