"""``divsal-bench push`` and ``data push``: to the Hugging Face Hub, as far as the data's terms allow."""

from __future__ import annotations

import argparse
import base64
import inspect
import io
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from divsal_bench.cli import say, tidy
from divsal_bench.cli.submit import chosen
from divsal_bench.data import catalogue
from divsal_bench.errors import UserError
from divsal_bench.hub import client, link, names
from divsal_bench.hub.client import plain_push_errors
from divsal_bench.hub.push import Pushed, open_repository
from divsal_bench.registry import plugins
from divsal_bench.runs.reading import Run
from divsal_bench.workflows.run_data import RunData, collect

if TYPE_CHECKING:
    from divsal_bench.contracts.adapter import SourceTerms
    from divsal_bench.data.canonical import Info
    from divsal_bench.leaderboard.accepted.publishing import PublicData
    from divsal_bench.publish.card import CardFacts, Summary


def push(arguments: argparse.Namespace) -> int:
    """Push every method's runs to a repository of their own."""
    from divsal_bench.leaderboard.accepted.submission import by_method

    runs = chosen(collect(arguments.runs, arguments.out), arguments.task, arguments.method)
    groups = by_method(runs)
    repos = [names.repository(arguments.to, members[0].record) for members in groups]
    client.require_token()
    client.require_namespace(arguments.to)
    opened = RunData(arguments.data)
    for members in groups:
        for run in members:
            check_terms(opened.terms(run), run.spec.data, arguments.i_have_permission)
        check_runs(members)
    for repo, members in zip(repos, groups, strict=True):
        for run, done in push_method(repo, members, opened, arguments.private):
            state = "pushed" if done.changed else "unchanged"
            print(f"{state}: {repo}@{done.commit} (seed {run.spec.seed}, branch {done.branch})", flush=True)
    say(f"next: divsal-bench verify {repos[0]}@{names.branch(groups[0][0].spec.seed)}")
    say("`divsal-bench submit` links accepted results to these commits")
    return 0


def check_terms(terms: Mapping[str, SourceTerms] | None, name: str, permitted: bool) -> None:
    """Refuse data whose owner forbids publishing what was made of it, or does not say.

    Args:
        terms: Source to what it allows; None for stand-ins, which are ours.
        name: The data set's, for messages.
        permitted: Whether the user vouches for what the terms do not say.
    """
    for what, attribute in (("weights", "redistribute_weights"), ("predictions", "redistribute_predictions")):
        refuse(what, {source: getattr(one, attribute) for source, one in (terms or {}).items()}, name, permitted)


def refuse(what: str, said: Mapping[str, str], name: str, permitted: bool) -> None:
    """Refuse what a source does not allow.

    Args:
        what: Would be published.
        said: Source to yes, no or unknown.
        name: The data set's, for messages.
        permitted: Whether the user vouches for what is unknown.

    Raises:
        UserError: A no, or an unknown that nobody vouches for.
    """
    forbidden = sorted(source for source, word in said.items() if word == "no")
    unknown = sorted(source for source, word in said.items() if word not in ("yes", "no"))
    if forbidden:
        raise UserError(
            f"the terms of {forbidden[0]} (data {name}) forbid publishing {what}; this cannot be pushed, not to a "
            "private repository either"
        )
    if unknown and not permitted:
        raise UserError(
            f"the terms of {unknown[0]} (data {name}) do not say whether {what} may be published; ask its owner, and "
            "if you have the permission add --i-have-permission"
        )


def check_runs(members: Sequence[Run]) -> None:
    """Refuse a method without a result, before anything is sent."""
    done = [run for run in members if run.record.status == "done"]
    if not done:
        raise UserError(f"{members[0].record.method_label} has no seed with a result; leave it out with --method")
    for run in done:
        if (run.path / "config.json").exists():
            raise UserError(f"{run.path} was pulled from the Hub; push runs of your own")


def push_method(repo: str, members: Sequence[Run], opened: RunData, private: bool) -> list[tuple[Run, Pushed]]:
    """Push one method's seeds, each to its branch, and seed 0 to ``main`` too."""
    from divsal_bench.hub.push import push as send
    from divsal_bench.leaderboard.accepted.publishing import publication
    from divsal_bench.networks.trained import load_model, protocol_of
    from divsal_bench.predict.preprocessing import Preprocessing
    from divsal_bench.publish.contents import contents

    public = opened.public(members[0])
    found = publication(members, public, lambda run: names.branch(run.spec.seed))
    summary = summary_of(members)
    check_main(repo, found.done)
    branches = []
    for run in found.done:
        facts, figure = facts_of(repo, run, opened, public, summary)
        task = plugins.tasks().get(run.spec.task)
        preprocessing = Preprocessing.of_protocol(protocol_of(run), task.channels)
        branches.append(
            contents(run, load_model(run), preprocessing, facts, partial(key, run.spec.data_fingerprint), figure)
        )
    to = open_repository(repo, "model", private)
    result = []
    for run, published, files in zip(found.done, found.seeds, branches, strict=True):
        message = f"{run.record.method_label}, seed {run.spec.seed} ({run.record.run_id})"
        done = send(to, names.branch(run.spec.seed), files, message)
        if run.spec.seed == 0:
            send(to, "main", files, message)
        hub = client.endpoint() or link.PUBLIC
        tidy([run.path])
        link.leave(run.path, link.Link(repo, done.commit, published.weights.sha256, hub, to.private))
        result.append((run, done))
    return result


def key(fingerprint: str, value: str, what: str) -> str:
    """The published key of an id."""
    from divsal_bench.leaderboard.claims.keys import hashed

    return hashed(value, fingerprint, what)


def check_main(repo: str, done: Sequence[Run]) -> None:
    """Refuse seeds without seed 0 in a new repository: ``main`` would be empty, or would have to be another seed."""
    if any(run.spec.seed == 0 for run in done):
        return
    with plain_push_errors(repo):
        there = client.patiently(lambda: client.api().file_exists(repo, "run.json"))
    if not there:
        raise UserError(
            f"{repo} has no seed 0 yet, and `main` is always seed 0, never the best; push seed 0 too, or first"
        )


def summary_of(members: Sequence[Run]) -> Summary:
    """What the board says of these runs alone."""
    from divsal_bench.leaderboard.sheets.scored import Metric
    from divsal_bench.leaderboard.statistics.marks import MARKS
    from divsal_bench.leaderboard.tables import board, wording
    from divsal_bench.publish.card import METRICS, Summary

    table = board.tables_of_runs(members)[0]
    row = table.rows[0]

    def shown(metric: Metric) -> tuple[str, str]:
        return wording.mean_sd(metric.seeds), wording.population(metric.population) if metric.population else ""

    rows = {name: shown(getattr(row, key)) for key, name in METRICS.items()}
    rows |= {cell.condition: shown(cell.auroc) for cell in row.conditions}
    notes = [f"{name}: {reason}." for name, _, reason in table.conditions if reason]
    if table.standin:
        notes.append("Drawn data: a good number here tests the software, not the hypothesis.")
    notes.append("The interval allows for new seeds and new test subjects; the lowest of several conditions has none.")
    return Summary(
        rows=rows,
        seeds=row.seeds,
        lacking={run.spec.seed: run.record.status for run in members if run.record.status != "done"},
        marks=[f"{mark}: {MARKS[mark]}" for mark in row.marks],
        notes=notes,
    )


def facts_of(
    repo: str, run: Run, opened: RunData, public: PublicData, summary: Summary
) -> tuple[CardFacts, bytes | None]:
    """What a run's card says, and its figure."""
    from divsal_bench.publish.card import CardFacts
    from divsal_bench.publish.contents import FIGURE

    task = plugins.tasks().get(run.spec.task)
    source = opened.source(run)
    figure = example(run, public)
    method = plugins.methods().found.get(run.spec.method)
    name = names.data_name(run.record)
    facts = CardFacts(
        repo=repo,
        record=run.record.model_copy(update={"spec": run.spec.model_copy(update={"data": name})}),
        task=task,
        method=" ".join((inspect.getdoc(method) or "").split()) if method else "",
        image_mode="L" if task.channels == 1 else "RGB",
        in_chans=int(run.record.model_args["in_chans"]),
        terms=opened.terms(run),
        start_licence=start_licence(run),
        data=source.spec if source.kind in ("standin", "hub") else "",
        summary=summary,
        figure=(FIGURE, figure[1]) if figure else None,
        no_figure=public.gallery.absent,
    )
    return facts, figure[0] if figure else None


def start_licence(run: Run) -> str | None:
    """The licence of the published weights that training started from; None for random ones."""
    if not run.spec.protocol_settings.get("pretrained"):
        return None
    import timm

    config = timm.get_pretrained_cfg(run.spec.backbone, allow_unregistered=True)
    return str(config.license or "") if config is not None else ""


def example(run: Run, public: PublicData) -> tuple[bytes, str] | None:
    """A picture of a run's maps, and what it shows: on a test image that the data's terms allow to show, else drawn."""
    from PIL import Image

    from divsal_bench.pictures import figure
    from divsal_bench.pictures.figure import Panel

    if public.gallery.pictures:
        shown = public.gallery.pictures[0]
        label, credit, place = shown.label, shown.credit, f"A test image ({shown.condition}, "
        cams = np.asarray(public.cams(run)[shown.key])
        png, human = base64.b64decode(shown.image), None if shown.human is None else np.asarray(shown.human)
    else:
        drawn = drawn_example(run)
        if drawn is None:
            return None
        (png, human, label, cams), credit = drawn, "drawn by code"
        place = "An image of the task's built-in data, since the terms of the test images do not allow showing them ("
    names_ = public.gallery.class_names
    true, false = cams[label], cams[1 - label]
    extent = figure.extent_of(true, false, true - false)
    unit = " logits (mean over cells)"
    panels = [
        Panel(f"image ({names_[label]})", note=credit),
        Panel("where people look", human, note="" if human is not None else "no human map"),
        Panel(f"true-class CAM ({names_[label]})", true, extent, True, unit),
        Panel(f"false-class CAM ({names_[1 - label]})", false, extent, True, unit),
        Panel("difference map (true - false)", true - false, extent, True, unit),
    ]
    caption = (
        f"{place}{names_[label]}; {credit}), chosen by a fixed rule (a positive with a human map, by salted id), never "
        f"by result. Maps of seed {run.spec.seed}; the mean of the difference map, {(true - false).mean():+.3f}, plus "
        "the difference of the biases is the logit margin between the true and the false class. The colour scale is "
        "this picture's own."
    )
    image = np.asarray(Image.open(io.BytesIO(png), formats=["PNG"]))
    return figure.figure(image, panels), caption


def drawn_example(run: Run) -> tuple[bytes, np.ndarray | None, int, np.ndarray] | None:
    """A picture of the task's stand-in as PNG, its human map, its label and a run's class CAMs of it."""
    from divsal_bench.data import arrays
    from divsal_bench.networks.trained import protocol_of
    from divsal_bench.publish.gallery import class_cams, pictures

    task = plugins.tasks().get(run.spec.task)
    data = arrays.load(task, catalogue.resolve(task, "standin"), protocol_of(run).input_size)
    shown = pictures(data, None, str).shown
    if not shown:
        return None
    first = shown[0]
    return first.image, first.human, first.label, class_cams(run, data, [first.sample_id])[first.sample_id]


def push_data(arguments: argparse.Namespace) -> int:
    """Push a prepared data set."""
    from divsal_bench.data.canonical import read_info
    from divsal_bench.data.card import card
    from divsal_bench.data.check import check
    from divsal_bench.hub.push import push as send

    given = arguments.data
    folder = catalogue.default_folder(given) if given in plugins.tasks().found else Path(given)
    info = read_info(folder)
    repo = names.checked(arguments.to, arguments.name or f"{info.task}-{info.fingerprint[: names.DIGITS]}")
    sources = sorted({count.source for count in info.counts})
    said = {name: info.sources[name].redistribute_images if name in info.sources else "unknown" for name in sources}
    refuse("images", said, str(given), arguments.i_have_permission)
    client.require_token()
    client.require_namespace(arguments.to)
    report = check(str(folder))
    if not report.ok:
        raise UserError(f"{folder} is not what it was prepared as: {report.problems[0]}; prepare it again with --force")
    require_same_terms(repo, info)
    say(
        f"notice: what {folder} holds goes public as it is: images with their metadata, sample ids and subject ids "
        f"(such as {report.rows['sample_id'].iloc[0]!r} of {report.rows['subject'].iloc[0]!r})"
    )
    to = open_repository(repo, "dataset", arguments.private)
    files: dict[str, bytes | Path] = {path: folder / path for path in ("divsal.json", *info.files)}
    done = send(to, "main", files | {"README.md": card(info).encode()}, f"{info.task}, {info.fingerprint[:8]}")
    state = "pushed" if done.changed else "unchanged"
    print(f"{state}: {repo}@{done.commit}")
    say(f"next: divsal-bench run --task {info.task} --method all --data {repo}@{done.commit}")
    return 0


def require_same_terms(repo: str, info: Info) -> None:
    """Refuse to put the same images there once more under other terms.

    Raises:
        UserError: The repository states other terms for a source.
    """
    from divsal_bench.data import remote
    from divsal_bench.data.canonical import INFO_FILE

    with plain_push_errors(repo):
        there = client.patiently(lambda: client.api().file_exists(repo, INFO_FILE, repo_type="dataset"))
    if not there:
        return
    known = remote.info_of(repo, remote.commit_of(repo, None))
    for source, terms in known.sources.items():
        if source in info.sources and info.sources[source] != terms:
            raise UserError(
                f"{repo} is there already and states other terms for {source} ({terms.redistribute_images}, "
                f"{terms.licence or 'licence not stated'}); prepare the data with the same, or give another --name"
            )
