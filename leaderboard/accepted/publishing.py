"""From run directories to what is published of them: scores of float32 margins, and where the weights are."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError

from divsal_bench.errors import UserError, field_problem
from divsal_bench.files import foreign
from divsal_bench.leaderboard.accepted.rescoring import check_agreement, first_difference, scores_of
from divsal_bench.leaderboard.claims import keys
from divsal_bench.leaderboard.claims.claim import Missing, SeedResult, Weights, metric_names
from divsal_bench.leaderboard.claims.gallery import ClassCams, Gallery
from divsal_bench.leaderboard.sheets.entries import computed_on, rows_and_margins
from divsal_bench.leaderboard.sheets.scored import RUN_AGREES
from divsal_bench.runs.names import WEIGHTS_FILE
from divsal_bench.runs.reading import Run
from divsal_bench.scores.field_scores import REDEFINED
from divsal_bench.scores.layout import Layout, layout_of
from divsal_bench.scores.schema import Scores
from divsal_bench.scores.scoring import score
from divsal_bench.words import Permission

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class PublicData:
    """What publishing needs to know of a data set; whoever can open the data hands it in.

    Attributes:
        rows: Its validation and test rows, columns :data:`divsal_bench.leaderboard.sheets.entries.ROW_COLUMNS`, ``key``
            and ``subject`` being the ids of the data, sorted by key.
        predictions: May predictions on these rows be published?
        gallery: Pictures under their published keys, no maps.
        cams: Class CAMs of the pictures from a run's weights, by published key.
    """

    rows: pd.DataFrame
    predictions: Permission
    gallery: Gallery
    cams: Callable[[Run], Mapping[str, ClassCams]]


@dataclass(frozen=True, eq=False)
class Publication:
    """Some runs of one method as they are published.

    Attributes:
        rows: With published keys, sorted by them.
        seeds, missing: With and without a result, ascending.
        margins: (n, N) of ``seeds``, in the order of ``rows``.
        done: The runs of ``seeds``.
    """

    rows: pd.DataFrame
    seeds: list[SeedResult]
    missing: list[Missing]
    margins: keys.Margins
    done: list[Run]

    def margin_bytes(self) -> bytes:
        """The margins file."""
        return keys.margin_bytes(self.rows["key"].tolist(), [one.seed for one in self.seeds], self.margins)


def publication(runs: Sequence[Run], data: PublicData, where: Callable[[Run], str]) -> Publication:
    """Turn the runs of one method into what is published, checking each against its own numbers and the data.

    Args:
        runs: Of one specification but for the seed.
        where: Where a run's weights can be had; see :class:`divsal_bench.leaderboard.claims.claim.Weights`.

    Raises:
        UserError: Predictions that do not fit run.json or the data, a seed that is there twice, missing weights.
    """
    runs = sorted(runs, key=lambda run: run.spec.seed)
    for earlier, run in itertools.pairwise(runs):
        if earlier.spec.seed == run.spec.seed:
            raise UserError(f"seed {run.spec.seed} is there twice, in {earlier.path} and {run.path}; leave one out")
    fingerprint = runs[0].spec.data_fingerprint
    rows = keys.published(data.rows, fingerprint)
    # Both are sorted by their own key: published row i is the data's row order[i].
    order = np.argsort([keys.hashed(str(key), fingerprint, "sample") for key in data.rows["key"]], kind="stable")
    done = [run for run in runs if run.record.status == "done"]
    margins = np.empty((len(done), len(rows)), np.float32)
    for values, run in zip(margins, done, strict=True):
        values[:] = checked_margins(run, data)[order]
    arrangement = layout_of(rows.astype({"label": "int64"}))
    seeds = [
        seed_result(run, rescored(run, values, arrangement), where(run))
        for run, values in zip(done, margins, strict=True)
    ]
    for run, one in zip(done, seeds, strict=True):
        check_agreement(one, seeds[0], arrangement, run.path)
    keys.check_no_copies(runs[0].record.method_label, [run.spec.seed for run in done], margins)
    return Publication(
        rows=rows,
        seeds=seeds,
        missing=[
            Missing(seed=run.spec.seed, run_id=run.record.run_id, status=run.record.status)
            for run in runs
            if run.record.status != "done"
        ],
        margins=margins,
        done=done,
    )


def checked_margins(run: Run, data: PublicData) -> np.ndarray:
    """A run's margins, float64 (N,), if its predictions are of this data's rows and give its numbers."""
    rows, values = rows_and_margins(run)
    if not keys.are_same_rows(rows, data.rows):
        raise UserError(
            f"{run.path} has predictions on other samples than the data set holds; if it was pulled from the Hub, "
            "submit the runs that were pushed, else delete that folder and run again"
        )
    claimed = run.record.scores
    if claimed is None:
        raise UserError(f"{run.path} is done but has no scores; delete that folder and run again")
    again = score(run.predictions(), metric_names(claimed))
    difference = first_difference(without_redefined(claimed), without_redefined(again), RUN_AGREES)
    if difference is not None:
        raise UserError(
            f"{run.path}: run.json says {difference.field} = {difference.claimed}, its predictions say "
            f"{difference.found}; delete that folder and run again"
        )
    return values


def without_redefined(scores: Scores) -> Scores:
    """The scores without those that older runs computed otherwise; what is published is computed anew."""
    kept = [one for one in scores.field_metrics if one.metric not in REDEFINED]
    return scores.model_copy(update={"field_metrics": kept})


def rescored(run: Run, values: np.ndarray, rows: Layout) -> Scores:
    """The scores of a run's float32 margins, (N,) in the order of the layout."""
    claimed = run.record.scores
    assert claimed is not None
    scores = scores_of(values, rows, metric_names(claimed), claimed.true_cam, claimed.difference_map)
    for name in ("in_domain", "open_set", "worst"):
        before, after = getattr(claimed, name), getattr(scores, name)
        if before is not None and abs(before - after) > RUN_AGREES:
            raise UserError(
                f"{run.path}: in float32 {name} is {after:.6f}, not {before:.6f}: its margins are too large to "
                "publish; train with weights that do not explode"
            )
    return scores


def seed_result(run: Run, scores: Scores, where: str) -> SeedResult:
    """What is published of one run."""
    file = run.path / WEIGHTS_FILE
    run.check_file(file.name)
    try:
        # What the record names was compared just now; weights are large.
        sha256 = run.record.files.get(file.name) or foreign.sha256(file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or f"it {error}"
        raise UserError(f"{file} cannot be read ({reason}); a result needs its weights, run it again") from error
    try:
        return SeedResult(
            seed=run.spec.seed,
            run_id=run.record.run_id,
            scores=scores,
            seconds=run.record.seconds,
            peak_mb=run.record.peak_mb,
            device=computed_on(run),
            torch=run.record.versions.get("torch", ""),
            weights=Weights(where=where, sha256=sha256),
        )
    except ValidationError as error:
        field, problem = field_problem(error.errors())
        given = str(error.errors()[0]["input"])[:80]
        raise UserError(f"{run.path}: {field} {given!r} cannot be published: it {problem}") from None
