"""``divsal-bench submit``: accepted results from run directories, and reproductions of somebody's."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import shlex
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.cli import say, tidy, tidy_below
from divsal_bench.errors import UserError, plural
from divsal_bench.hub import link
from divsal_bench.registry import plugins
from divsal_bench.registry.method_choice import choose_method, split_items
from divsal_bench.runs.reading import Run
from divsal_bench.workflows.run_data import RunData, collect

if TYPE_CHECKING:
    from divsal_bench.leaderboard.accepted.publishing import PublicData

#: Where accepted results lie in a checkout.
RESULTS = Path("leaderboard/results")
HUB_ID = re.compile(r"([\w.-]+/[\w.-]+)@([0-9a-f]{40})", re.ASCII)


def submit(arguments: argparse.Namespace) -> int:
    """Write result files, or stamp one with a reproduction."""
    from divsal_bench.leaderboard.accepted.submission import Terms
    from divsal_bench.leaderboard.accepted.submission import submit as write
    from divsal_bench.leaderboard.claims.claim import person

    person(arguments.by)
    runs = chosen(collect(arguments.runs, arguments.out), arguments.task, arguments.method)
    opened = RunData(arguments.data)
    where = weights_place(arguments.weights)
    if arguments.reproduces is not None:
        return reproduce(runs, opened, where, arguments)
    arguments.results = results_place(arguments.results)
    data = {run.spec.data_fingerprint: run for run in runs}
    terms = Terms(arguments.by, where, description, arguments.i_have_permission, arguments.force)
    public = {name: opened.public(run) for name, run in data.items()}
    if arguments.without_pictures:
        public = {name: without_pictures(one) for name, one in public.items()}
    tidy_below(arguments.results)
    done = write(runs, public, arguments.results, terms)
    for one in done:
        counts = [plural(len(one.claim.seeds), "seed")]
        counts += [f"{len(one.claim.missing)} without a result"] * bool(one.claim.missing)
        print(f"{one.change}: {one.path} ({', '.join(counts)})")
    if any(one.change != "unchanged" for one in done):
        place = shlex.quote(str(arguments.results))
        say(f"next: divsal-bench board --recompute --results {place}")
        say(f"then commit {place} and open a pull request (CONTRIBUTING.md)")
    return 0


def results_place(given: Path | None) -> Path:
    """``--results``; else the folder of the checkout in whose root the command was given.

    Raises:
        UserError: This is no checkout: a new folder here would be found by nobody.
    """
    if given is not None:
        return given
    try:
        project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    except (OSError, ValueError, LookupError, TypeError):
        project = ""
    if project != "divsal-bench":
        raise UserError(
            f"{Path.cwd()} is no checkout of divsal-bench; go to the root of yours, or name the folder to write to "
            "with --results DIR"
        )
    return RESULTS


def without_pictures(data: PublicData) -> PublicData:
    """The same, showing no test image: what a licence allows, a project may still not want in its repository."""
    absent = "Whoever submitted the first result on this data left the pictures out."
    return dataclasses.replace(data, gallery=data.gallery.model_copy(update={"pictures": [], "absent": absent}))


def reproduce(runs: Sequence[Run], opened: RunData, where: Callable[[Run], str], arguments: argparse.Namespace) -> int:
    """Compare new seeds with somebody's result and store the outcome in it; 1 if they do not reproduce it."""
    from divsal_bench.leaderboard.accepted.proofs import noticed_miss, unnoticed, with_reproduction
    from divsal_bench.leaderboard.accepted.publishing import publication
    from divsal_bench.leaderboard.accepted.reading import open_result
    from divsal_bench.leaderboard.accepted.submission import Terms, check_permission
    from divsal_bench.leaderboard.claims.files import NEW_MARGINS, model_json, write_all

    path = arguments.reproduces
    known = open_result(path)
    if known.claim.reproduction is not None and not arguments.force:
        old = known.claim.reproduction
        raise UserError(f"{path} holds a reproduction by {old.by} ({old.date[:10]}); add --force to replace it")
    mine = [run for run in runs if run.spec.entry == known.claim.spec(0).entry]
    if not mine:
        raise UserError(f"none of the runs given is of {known.claim.label} with the claimed fields and version")
    for run in mine:
        if run.spec.data_fingerprint != known.claim.table.fingerprint:
            raise UserError(
                f"{run.path} was run on other data ({run.spec.data_fingerprint[:8]}) than {path} claims "
                f"({known.claim.table.fingerprint[:8]}); leave it out or give the claimed data"
            )
    data = opened.public(mine[0])
    check_permission(data, mine[0], Terms(arguments.by, where, permitted=arguments.i_have_permission))
    found = publication(mine, data, where)
    date = max(run.record.created for run in mine)
    claim = with_reproduction(known.claim, found, mine, arguments.by, date, path)
    new = claim.reproduction
    assert new is not None
    tidy([path.parent])
    write_all({path.with_name(path.stem + NEW_MARGINS): found.margin_bytes(), path: model_json(claim)})
    primary = claim.seeds[0].scores.primary
    noticed = noticed_miss(claim.primary, len(new.seeds))
    print(
        f"{claim.state}: {claim.label}, {primary} AUROC claimed {new.claimed_mean:.4f} "
        f"({plural(len(claim.seeds), 'seed')}), new {new.new_mean:.4f} ({plural(len(new.seeds), 'seed')}), "
        f"|difference| {abs(new.new_mean - new.claimed_mean):.4f}, tolerance {new.tolerance:.4f}; "
        + (unnoticed(noticed) if new.holds else "an honest result misses in about 5 % of cases")
        + f"\nwritten to {path}"
    )
    return 0 if claim.state == "reproduced" else 1


def chosen(runs: list[Run], tasks: str | None, methods: str | None) -> list[Run]:
    """Runs of the named tasks and methods; a name alone is the method with its default fields.

    Raises:
        UserError: None is left.
    """
    wanted = {name.strip() for name in tasks.split(",") if name.strip()} if tasks else None
    labels = {label for item in split_items(methods) for label in (item, canonical(item))} if methods else None
    kept = [
        run
        for run in runs
        if (wanted is None or run.spec.task in wanted) and (labels is None or run.record.method_label in labels)
    ]
    if not kept:
        there = sorted({f"{run.spec.task} {run.record.method_label}" for run in runs})
        raise UserError(f"no run is of that task and method; there are {', '.join(there[:12])}")
    return kept


def canonical(method: str) -> str:
    """A method as tables call it, however its fields were written; as it is where it is not installed here."""
    try:
        return choose_method(method).label
    except UserError:
        return method


def weights_place(given: Sequence[str]) -> Callable[[Run], str]:
    """Where weights can be had, from every ``--weights``: ``[SEED=]org/name@commit`` or a path.

    Without any it is where ``push`` put them, else the run directory's place in its output folder.

    Raises:
        UserError: Something else was given.
    """
    places: dict[int | None, str] = {}
    for text in given:
        number, equals, rest = text.partition("=")
        seed, place = (int(number), rest) if equals and number.isdigit() else (None, text)
        hub = HUB_ID.fullmatch(place)
        if "@" in place and not hub:
            raise UserError(f"--weights {place!r} names no commit; write org/name@ and all 40 digits of it")
        if Path(place).is_absolute() or ".." in Path(place).parts:
            raise UserError(f"--weights {place!r} leads out of the folder; give a relative path or org/name@commit")
        places[seed] = f"https://huggingface.co/{hub[1]}/blob/{hub[2]}" if hub else place.strip("/")

    def where(run: Run) -> str:
        own = "/".join(run.path.resolve().parts[-3:])
        if run.spec.seed in places:
            return f"{places[run.spec.seed]}/model.safetensors"
        if not places and (pushed := link.read(run.path)):
            if pushed.problem:
                say(f"notice: {pushed.problem}: the result names no link for seed {run.spec.seed}")
                return f"{own}/model.safetensors"
            return f"https://huggingface.co/{pushed.repo}/blob/{pushed.commit}/model.safetensors"
        return "/".join(filter(None, (places.get(None, ""), own, "model.safetensors")))

    return where


def description(method: str) -> str:
    """First line of a method's docstring; "" for a method that is not installed here."""
    found = plugins.methods().found.get(method)
    return (inspect.getdoc(found) or "").split("\n")[0] if found else ""
