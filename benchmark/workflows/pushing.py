"""Push: trained networks and prepared data to the Hugging Face Hub, as far as the data's terms allow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.data import catalogue, terms
from divsal_bench.errors import UserError
from divsal_bench.hub import client, link, names, tokens
from divsal_bench.hub.push import Pushed, open_repository, push_branch
from divsal_bench.hub.refusals import plain_push_errors
from divsal_bench.registry import plugins
from divsal_bench.runs.names import CONFIG_FILE, RUN_FILE
from divsal_bench.runs.reading import Run
from divsal_bench.workflows.model_cards import card_facts, seeds_summary
from divsal_bench.workflows.run_data import RunData
from divsal_bench.workflows.selection import Names, Runs, runs_meant
from divsal_bench.workflows.telling import Say, silent, unheard
from divsal_bench.workflows.tidying import sweep_unfinished

if TYPE_CHECKING:
    from divsal_bench.data.canonical import Info


@dataclass(frozen=True)
class PushedRun:
    """A run on the Hub.

    Attributes:
        on_hub: Its branch, the commit there, and whether the push changed it.
    """

    run: Run
    on_hub: Pushed


OnPushed = Callable[[PushedRun], None]


@dataclass(frozen=True)
class PushedData:
    """A prepared data set on the Hub.

    Attributes:
        on_hub: The commit of ``main``, and whether the push changed it.
    """

    info: Info
    on_hub: Pushed

    @property
    def origin(self) -> str:
        """The pinned id, as ``--data`` takes it."""
        return f"{self.on_hub.repo}@{self.on_hub.commit}"


def push(
    runs: Runs,
    *,
    to: str,
    task: Names | None = None,
    method: Names | None = None,
    data: str | Path | None = None,
    private: bool = False,
    permitted: bool = False,
    say: Say = silent,
    on_pushed: OnPushed = unheard,
) -> list[PushedRun]:
    """Push every method's runs to a repository of their own: a branch for each seed, and ``main`` for seed 0.

    The same push again makes no new commit; one that broke off goes on. The token comes from where the Hub's client
    looks for it (``hf auth login``, or HF_TOKEN).

    Args:
        runs: Output folders, run directories or runs, of any tasks and methods; seeds without a result are named in the
            cards of the others.
        to: A user name or an organisation on the Hub.
        task: These tasks only.
        method: These methods only; a name alone is the method with its default fields.
        data: A prepared folder or a Hub id; None finds the runs' own data in its usual place.
        private: Make new repositories private.
        permitted: Whoever pushes holds a permission that the data's terms do not state.
        say: Told what was left by killed commands.
        on_pushed: Told of each run as soon as its method is on the Hub.

    Returns:
        The runs with a result, by method.

    Raises:
        UserError: Terms that forbid it, a method without a result or without seed 0, no right to write there, or a
            Hub that cannot be reached. Nothing is sent unless all of it may be.

    Example:
        >>> import divsal_bench
        >>> pushed = divsal_bench.push("runs", method="cyborg", to="ann")
        >>> pushed[0].on_hub.branch
        'seed-0'
    """
    from divsal_bench.leaderboard.accepted.submission import by_method

    groups = by_method(runs_meant(runs, task, method))
    repos = [names.repository(to, members[0].record) for members in groups]
    tokens.require_token()
    tokens.require_namespace(to)
    opened = RunData(data)
    for members in groups:
        for run in members:
            terms.require_publishable(opened.terms(run), run.spec.data, permitted)
        require_results(members)
    done = []
    for repo, members in zip(repos, groups, strict=True):
        for one in push_method(repo, members, opened, private, say):
            done.append(one)
            on_pushed(one)
    return done


def require_results(members: Sequence[Run]) -> None:
    """Refuse a method without a result, before anything is sent."""
    done = [run for run in members if run.record.status == "done"]
    if not done:
        raise UserError(f"{members[0].record.method_label} has no seed with a result; leave it out with --method")
    for run in done:
        if (run.path / CONFIG_FILE).exists():
            raise UserError(f"{run.path} was pulled from the Hub; push runs of your own")


def push_method(repo: str, members: Sequence[Run], opened: RunData, private: bool, say: Say) -> list[PushedRun]:
    """Push one method's seeds, each to its branch, and seed 0 to ``main`` too."""
    from divsal_bench.leaderboard.accepted.publishing import publication
    from divsal_bench.leaderboard.claims.keys import hashed
    from divsal_bench.networks.trained import load_model, protocol_of
    from divsal_bench.prediction.preprocessing import Preprocessing
    from divsal_bench.publish.contents import branch_files

    public = opened.public(members[0])
    found = publication(members, public, lambda run: names.branch(run.spec.seed))
    summary = seeds_summary(members)
    require_main(repo, found.done)
    fingerprint = members[0].spec.data_fingerprint
    branches = []
    for run in found.done:
        facts, figure = card_facts(repo, run, opened, public, summary)
        task = plugins.tasks().get(run.spec.task)
        preprocessing = Preprocessing.of_protocol(protocol_of(run), task.channels)
        branches.append(
            branch_files(
                run,
                load_model(run),
                preprocessing,
                facts,
                lambda value, what: hashed(value, fingerprint, what),
                figure,
            )
        )
    repository = open_repository(repo, "model", private)
    result = []
    for run, published, files in zip(found.done, found.seeds, branches, strict=True):
        message = f"{run.record.method_label}, seed {run.spec.seed} ({run.record.run_id})"
        done = push_branch(repository, names.branch(run.spec.seed), files, message)
        if run.spec.seed == 0:
            push_branch(repository, "main", files, message)
        sweep_unfinished([run.path], say)
        sha256 = published.weights.sha256
        where = link.Link(repo, done.commit, sha256, client.address(), repository.private)
        link.leave_link(run.path, where)
        result.append(PushedRun(run, done))
    return result


def require_main(repo: str, done: Sequence[Run]) -> None:
    """Refuse seeds without seed 0 in a new repository: ``main`` would be empty, or would have to be another seed."""
    if any(run.spec.seed == 0 for run in done):
        return
    with plain_push_errors(repo):
        there = client.patiently(lambda: client.api().file_exists(repo, RUN_FILE))
    if not there:
        raise UserError(
            f"{repo} has no seed 0 yet, and `main` is always seed 0, never the best; push seed 0 too, or first"
        )


def push_data(
    data: str | Path,
    *,
    to: str,
    name: str | None = None,
    private: bool = False,
    permitted: bool = False,
    say: Say = silent,
) -> PushedData:
    """Push a prepared data set, whole and checked, as far as the terms of its sources allow.

    Args:
        data: A task's name, for what is prepared in its usual place, or a folder.
        to: A user name or an organisation on the Hub.
        name: Of the repository; None makes one of the task and the fingerprint.
        private: Make a new repository private.
        permitted: Whoever pushes holds a permission that the terms do not state.
        say: Told what goes public.

    Returns:
        What was pushed, and where it is.

    Raises:
        UserError: No prepared data, terms that forbid it or differ from those stated there, data that does not pass
            its check, no right to write there, or a Hub that cannot be reached.

    Example:
        >>> import divsal_bench
        >>> done = divsal_bench.prepare("cxr", adapter="standin", out="to-push")
        >>> pushed = divsal_bench.push_data("to-push", to="ann")
        >>> pushed.origin.startswith("ann/cxr-")
        True
    """
    from divsal_bench.data.canonical import INFO_FILE, read_info
    from divsal_bench.data.card import data_card
    from divsal_bench.data.check import check_data_set

    folder = catalogue.default_folder(str(data)) if data in plugins.tasks().found else Path(data)
    info = read_info(folder)
    repo = names.hub_name(to, name or f"{info.task}-{info.fingerprint[: names.DIGITS]}")
    stated = terms.stated_terms((count.source for count in info.counts), info.sources)
    terms.require_permission("images", stated, str(data), permitted)
    tokens.require_token()
    tokens.require_namespace(to)
    report = check_data_set(str(folder))
    if not report.ok:
        raise UserError(f"{folder} is not what it was prepared as: {report.problems[0]}; prepare it again with --force")
    require_same_terms(repo, info)
    say(
        f"notice: what {folder} holds goes public as it is: images with their metadata, sample ids and subject ids "
        f"(such as {report.rows['sample_id'].iloc[0]!r} of {report.rows['subject'].iloc[0]!r})"
    )
    repository = open_repository(repo, "dataset", private)
    files: dict[str, bytes | Path] = {path: folder / path for path in (INFO_FILE, *info.files)}
    files["README.md"] = data_card(info).encode()
    return PushedData(info, push_branch(repository, "main", files, f"{info.task}, {info.fingerprint[:8]}"))


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
    for source, stated in known.sources.items():
        if source in info.sources and info.sources[source] != stated:
            raise UserError(
                f"{repo} is there already and states other terms for {source} ({stated.redistribute_images}, "
                f"{stated.licence or 'licence not stated'}); prepare the data with the same, or give another --name"
            )
