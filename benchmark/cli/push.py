"""``divsal-bench push`` and ``data push``: to the Hugging Face Hub, as far as the data's terms allow."""

from __future__ import annotations

import argparse
import base64
import io
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from divsal_bench import plugins
from divsal_bench.cli.run_data import RunData, collect
from divsal_bench.cli.submit import chosen, description
from divsal_bench.data import catalogue
from divsal_bench.errors import UserError
from divsal_bench.hub import client, link, names
from divsal_bench.hub.client import plain_push_errors
from divsal_bench.hub.push import Pushed, open_repository
from divsal_bench.records import Run

if TYPE_CHECKING:
    from divsal_bench.contracts.adapter import SourceTerms
    from divsal_bench.hub.card import CardFacts, Summary
    from divsal_bench.leaderboard.publishing import Publication, PublicData


def push(arguments: argparse.Namespace) -> int:
    """Push every method's runs to a repository of their own."""
    from divsal_bench.leaderboard.submission import by_method

    client.require_token()
    runs = chosen(collect(arguments.runs, arguments.out), arguments.task, arguments.method)
    groups = by_method(runs)
    repos = [names.repository(arguments.to, members[0].record) for members in groups]
    opened = RunData(arguments.data)
    for members in groups:
        check_terms(opened.terms(members[0]), members[0].spec.data, arguments.i_have_permission)
        check_runs(members)
    for repo, members in zip(repos, groups, strict=True):
        for run, done in push_method(repo, members, opened, arguments.private):
            state = "pushed" if done.changed else "unchanged"
            print(f"{state}: {repo}@{done.commit} (seed {run.spec.seed}, branch {done.branch})", flush=True)
    say(
        f"next: divsal-bench verify {repos[0]}@{names.branch(groups[0][0].spec.seed)}; `divsal-bench submit` links "
        "accepted results to these commits"
    )
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
    from divsal_bench.hub.contents import contents
    from divsal_bench.hub.push import push as send
    from divsal_bench.leaderboard.publishing import publication
    from divsal_bench.preprocessing import Preprocessing
    from divsal_bench.trained import load_model, protocol_of

    public = opened.public(members[0])
    found = publication(members, public, lambda run: names.branch(run.spec.seed))
    summary = summary_of(members)
    heads = open_repository(repo, "model", private)
    check_main(repo, found.done)
    result = []
    for run, published in zip(found.done, found.seeds, strict=True):
        facts, figure = facts_of(repo, run, opened, public, found, summary)
        task = plugins.tasks().get(run.spec.task)
        files = contents(
            run,
            load_model(run),
            Preprocessing.of_protocol(protocol_of(run), task.channels),
            facts,
            partial(key, run.spec.data_fingerprint),
            figure,
        )
        message = f"{run.record.method_label}, seed {run.spec.seed} ({run.record.run_id})"
        done = send(repo, "model", names.branch(run.spec.seed), files, message, heads)
        if run.spec.seed == 0:
            send(repo, "model", "main", files, message, heads)
        link.leave(run.path, link.Link(repo, done.commit, published.weights.sha256))
        result.append((run, done))
    return result


def key(fingerprint: str, value: str, what: str) -> str:
    """The published key of an id."""
    from divsal_bench.leaderboard.keys import hashed

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
    from divsal_bench.hub.card import METRICS, Summary
    from divsal_bench.leaderboard import board, wording
    from divsal_bench.leaderboard.scored import Metric

    table = board.tables(members)[0]
    row = table.rows[0]

    def shown(metric: Metric) -> tuple[str, str]:
        return wording.mean_sd(metric.seeds), wording.population(metric.population) if metric.population else ""

    rows = {name: shown(getattr(row, key)) for key, name in METRICS.items()}
    rows |= {cell.condition: shown(cell.auroc) for cell in row.conditions}
    notes = [f"{name}: {reason}." for name, _, reason in table.conditions if reason]
    if table.standin:
        notes.append("Drawn data: a good number here tests the software, not the hypothesis.")
    notes.append("The interval allows for new seeds and new subjects; the lowest of several conditions has none.")
    return Summary(
        rows=rows,
        seeds=row.seeds,
        lacking={run.spec.seed: run.record.status for run in members if run.record.status != "done"},
        marks=[f"{mark}: {board.MARKS[mark]}" for mark in row.marks],
        notes=notes,
    )


def facts_of(
    repo: str, run: Run, opened: RunData, public: PublicData, found: Publication, summary: Summary
) -> tuple[CardFacts, bytes | None]:
    """What a run's card says, and its figure."""
    from divsal_bench.hub.card import CardFacts
    from divsal_bench.hub.contents import FIGURE

    task = plugins.tasks().get(run.spec.task)
    source = opened.source(run)
    figure = example(run, public)
    return (
        CardFacts(
            repo=repo,
            record=run.record,
            task=task,
            method=description(run.spec.method),
            image_mode="L" if task.channels == 1 else "RGB",
            in_chans=int(run.record.model_args["in_chans"]),
            terms=opened.terms(run),
            data=source.spec if source.kind in ("standin", "hub") else "",
            summary=summary,
            figure=(FIGURE, figure[1]) if figure else None,
            no_figure=public.gallery.absent,
        ),
        figure[0] if figure else None,
    )


def example(run: Run, public: PublicData) -> tuple[bytes, str] | None:
    """A picture of a run's maps on the first image that the data's terms allow to show, and what it shows."""
    from PIL import Image

    from divsal_bench import figure
    from divsal_bench.figure import Panel

    if not public.gallery.pictures:
        return None
    shown = public.gallery.pictures[0]
    names = public.gallery.class_names
    cams = np.asarray(public.cams(run)[shown.key])
    true, false = cams[shown.label], cams[1 - shown.label]
    extent = figure.extent_of(true, false, true - false)
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown.image)), formats=["PNG"]))
    human = None if shown.human is None else np.asarray(shown.human)
    panels = [
        Panel(f"image ({names[shown.label]})", note=shown.credit),
        Panel("where people look", human, note="" if human is not None else "no human map"),
        Panel(f"true-class CAM ({names[shown.label]})", true, extent, True, " logits a cell"),
        Panel(f"false-class CAM ({names[1 - shown.label]})", false, extent, True, " logits a cell"),
        Panel("difference map (true − false)", true - false, extent, True, " logits a cell"),
    ]
    caption = (
        f"A test image ({shown.condition}, {names[shown.label]}; {shown.credit}), chosen by rule, never by result, and "
        f"the maps of seed {run.spec.seed}. The mean of the difference map plus the difference of the biases is the "
        "logit margin between the true and the false class."
    )
    return figure.figure(image, panels), caption


def push_data(arguments: argparse.Namespace) -> int:
    """Push a prepared data set."""
    from divsal_bench.data.canonical import read_info
    from divsal_bench.hub.push import push as send

    client.require_token()
    given = arguments.data
    folder = catalogue.default_folder(given) if given in plugins.tasks().found else Path(given)
    info = read_info(folder)
    said = {source: terms.redistribute_images for source, terms in info.sources.items()}
    refuse("images", said, str(given), arguments.i_have_permission)
    name = arguments.name or f"{info.task}-{info.fingerprint[: names.DIGITS]}"
    repo = names.checked(arguments.to, name)
    heads = open_repository(repo, "dataset", arguments.private)
    files: dict[str, bytes | Path] = {path: folder / path for path in ("README.md", "divsal.json", *info.files)}
    done = send(repo, "dataset", "main", files, f"{info.task}, fingerprint {info.fingerprint[:8]}", heads)
    state = "pushed" if done.changed else "unchanged"
    print(f"{state}: {repo}@{done.commit}")
    say(f"next: divsal-bench run --task {info.task} --method all --data {repo}@{done.commit}")
    return 0


def say(text: str) -> None:
    """Print to standard error: standard output belongs to the result."""
    print(text, file=sys.stderr, flush=True)
