"""Submit: accepted results from runs, and reproductions of somebody's result."""

from __future__ import annotations

import dataclasses
import inspect
import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.errors import UserError
from divsal_bench.hub import link
from divsal_bench.registry import plugins
from divsal_bench.runs.names import WEIGHTS_FILE
from divsal_bench.runs.reading import Run
from divsal_bench.workflows.run_data import RunData
from divsal_bench.workflows.selection import Names, Runs, runs_meant
from divsal_bench.workflows.telling import Say, silent
from divsal_bench.workflows.tidying import sweep_unfinished, sweep_unfinished_below

if TYPE_CHECKING:
    from divsal_bench.leaderboard.accepted.publishing import PublicData
    from divsal_bench.leaderboard.accepted.submission import Submitted
    from divsal_bench.leaderboard.claims.claim import Claim, Reproduction

#: Where accepted results lie in a checkout.
RESULTS = Path("leaderboard/results")
HUB_ID = re.compile(r"([\w.-]+/[\w.-]+)@([0-9a-f]{40})", re.ASCII)


@dataclass(frozen=True)
class Submission:
    """Result files, and the results folder they are in."""

    results: Path
    files: tuple[Submitted, ...]


@dataclass(frozen=True)
class Reproduced:
    """What new seeds say of somebody's result.

    Attributes:
        path: Its file, which holds the outcome now.
        noticed: The true difference that so many seeds find with 80 % power.
    """

    path: Path
    claim: Claim
    noticed: float

    @property
    def outcome(self) -> Reproduction:
        """Both means and how far apart they may be."""
        assert self.claim.reproduction is not None
        return self.claim.reproduction


def submit(
    runs: Runs,
    *,
    by: str,
    task: Names | None = None,
    method: Names | None = None,
    results: str | Path | None = None,
    data: str | Path | None = None,
    weights: Sequence[str] = (),
    permitted: bool = False,
    pictures: bool = True,
    force: bool = False,
    say: Say = silent,
) -> Submission:
    """Write an accepted result for each method in each table of some runs. The same runs again change no byte.

    Args:
        runs: Output folders, run directories or runs, of any tasks and methods; of a method all seeds from 0 on, at
            least five, failed ones too.
        by: Who submits.
        task: These tasks only.
        method: These methods only; a name alone is the method with its default fields.
        results: The results folder; None is that of the checkout in whose root this is called.
        data: A prepared folder or a Hub id; None finds the runs' own data in its usual place.
        weights: Where weights can be had: ``[SEED=]org/name@commit`` or a path; without any where ``push`` put them,
            else the run directory's place in its output folder.
        permitted: The submitter holds a permission that the data set's terms do not state.
        pictures: Show a few test images of the data on the page, as far as its terms allow.
        force: Replace results of the same methods.
        say: Told what was left by killed commands, and which run's link leads nowhere.

    Returns:
        Every result file, and whether it is new.

    Raises:
        UserError: Anything that must not be published, or no folder to write to; then nothing is written.

    Example:
        >>> import divsal_bench
        >>> done = divsal_bench.submit("runs", by="Ann", results="results")
        >>> [one.change for one in done.files]
        ['new', 'new']
    """
    from divsal_bench.leaderboard.accepted.submission import SubmissionTerms, write_results
    from divsal_bench.leaderboard.claims.claim import person

    by = person(by)
    runs = runs_meant(runs, task, method)
    opened = RunData(data)
    where = weights_place(weights, say)
    folder = results_place(results)
    first = {run.spec.data_fingerprint: run for run in runs}
    public = {fingerprint: opened.public(run) for fingerprint, run in first.items()}
    if not pictures:
        public = {fingerprint: without_pictures(one) for fingerprint, one in public.items()}
    sweep_unfinished_below(folder, say)
    terms = SubmissionTerms(by, where, method_sentence, permitted, force)
    return Submission(folder, tuple(write_results(runs, public, folder, terms)))


def reproduce(
    result: str | Path,
    runs: Runs,
    *,
    by: str,
    task: Names | None = None,
    method: Names | None = None,
    data: str | Path | None = None,
    weights: Sequence[str] = (),
    permitted: bool = False,
    force: bool = False,
    say: Say = silent,
) -> Reproduced:
    """Compare new seeds with somebody's accepted result and store the outcome in it, whichever way it went.

    Args:
        result: Its JSON file, in a results folder.
        runs: Output folders, run directories or runs: at least five new seeds; other methods are passed by.
        by: Who trained them.
        task, method, data, weights, permitted, say: As :func:`submit`.
        force: Replace another reproduction.

    Returns:
        The result with its outcome, whichever way it went.

    Raises:
        UserError: No such result, or seeds that are too few, not new, the claimant's own, or of something else.

    Example:
        >>> import divsal_bench
        >>> (theirs,) = divsal_bench.submit("runs", by="Ann", method="cyborg", results="claimed").files
        >>> mine = divsal_bench.run("cxr", "cyborg", seeds="5-9", data="standin", out="again")
        >>> done = divsal_bench.reproduce(theirs.path, mine, by="Bob")
        >>> done.claim.state in ("reproduced", "not reproduced")
        True
    """
    from divsal_bench.leaderboard.accepted.proofs import noticed_miss, with_reproduction
    from divsal_bench.leaderboard.accepted.publishing import publication
    from divsal_bench.leaderboard.accepted.reading import open_result
    from divsal_bench.leaderboard.accepted.submission import check_permission
    from divsal_bench.leaderboard.claims.claim import person
    from divsal_bench.leaderboard.claims.files import NEW_MARGINS, model_json, write_all

    by, path = person(by), Path(result)
    runs = runs_meant(runs, task, method)
    opened = RunData(data)
    where = weights_place(weights, say)
    known = open_result(path).claim
    if known.reproduction is not None and not force:
        old = known.reproduction
        raise UserError(f"{path} holds a reproduction by {old.by} ({old.date[:10]}); add --force to replace it")
    mine = [run for run in runs if run.spec.entry == known.spec(0).entry]
    if not mine:
        raise UserError(f"none of the runs given is of {known.label} with the claimed fields and version")
    for run in mine:
        if run.spec.data_fingerprint != known.table.fingerprint:
            raise UserError(
                f"{run.path} was run on other data ({run.spec.data_fingerprint[:8]}) than {path} claims "
                f"({known.table.fingerprint[:8]}); leave it out or give the claimed data"
            )
    public = opened.public(mine[0])
    check_permission(public, mine[0], permitted)
    found = publication(mine, public, where)
    date = max(run.record.created for run in mine)
    claim = with_reproduction(known, found, mine, by, date, path)
    sweep_unfinished([path.parent], say)
    write_all({path.with_name(path.stem + NEW_MARGINS): found.margin_bytes(), path: model_json(claim)})
    return Reproduced(path, claim, noticed_miss(claim.primary, len(found.seeds)))


def results_place(given: str | Path | None) -> Path:
    """The folder that is named; else that of the checkout in whose root this was called.

    Raises:
        UserError: This is no checkout: a new folder here would be found by nobody.
    """
    if given is not None:
        return Path(given)
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


def weights_place(given: Sequence[str], say: Say = silent) -> Callable[[Run], str]:
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
            return f"{places[run.spec.seed]}/{WEIGHTS_FILE}"
        if not places and (pushed := link.read_link(run.path)):
            if pushed.problem:
                say(f"notice: {pushed.problem}: the result names no link for seed {run.spec.seed}")
                return f"{own}/{WEIGHTS_FILE}"
            return f"https://huggingface.co/{pushed.repo}/blob/{pushed.commit}/{WEIGHTS_FILE}"
        return "/".join(filter(None, (places.get(None, ""), own, WEIGHTS_FILE)))

    return where


def method_sentence(method: str) -> str:
    """First line of a method's docstring; "" for a method that is not installed here."""
    found = plugins.methods().found.get(method)
    return (inspect.getdoc(found) or "").split("\n")[0] if found else ""
