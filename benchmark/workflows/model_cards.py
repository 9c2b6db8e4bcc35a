"""What the model card of a pushed run says: its scores, what the board says of all seeds, its data, its picture."""

from __future__ import annotations

import base64
import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from divsal_bench.hub import names
from divsal_bench.registry import plugins
from divsal_bench.runs.reading import Run
from divsal_bench.workflows.run_data import RunData

if TYPE_CHECKING:
    from divsal_bench.leaderboard.accepted.publishing import PublicData
    from divsal_bench.publish.example import CardPicture
    from divsal_bench.publish.facts import CardFacts, Summary


def seeds_summary(members: Sequence[Run]) -> Summary:
    """What the board says of these runs alone."""
    from divsal_bench.leaderboard.sheets.scored import Metric
    from divsal_bench.leaderboard.statistics.marks import MARKS
    from divsal_bench.leaderboard.tables import board, wording
    from divsal_bench.publish.facts import METRICS, Summary

    table = board.tables_of_runs(members)[0]
    row = table.rows[0]

    def worded(metric: Metric) -> tuple[str, str]:
        return wording.mean_sd(metric.seeds), wording.population(metric.population) if metric.population else ""

    rows = {name: worded(getattr(row, field)) for field, name in METRICS.items()}
    rows |= {cell.condition: worded(cell.auroc) for cell in row.conditions}
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


def card_facts(
    repo: str, run: Run, opened: RunData, public: PublicData, summary: Summary
) -> tuple[CardFacts, bytes | None]:
    """What a run's card says, and its figure."""
    from divsal_bench.publish.contents import FIGURE
    from divsal_bench.publish.example import example_figure
    from divsal_bench.publish.facts import CardFacts

    task = plugins.tasks().get(run.spec.task)
    source = opened.source(run)
    example = card_example(run, public)
    figure, caption = example_figure(example, public.gallery.class_names, run.spec.seed) if example else (None, "")
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
        figure=(FIGURE, caption) if example else None,
        no_figure=public.gallery.absent,
    )
    return facts, figure


def card_example(run: Run, public: PublicData) -> CardPicture | None:
    """What a run's maps are shown on: a test image that the data's terms allow to show, else a drawn one."""
    from divsal_bench.publish.example import CardPicture, drawn_example

    if not public.gallery.pictures:
        return drawn_example(run)
    first = public.gallery.pictures[0]
    return CardPicture(
        base64.b64decode(first.image),
        None if first.human is None else np.asarray(first.human),
        first.label,
        np.asarray(public.cams(run)[first.key]),
        first.credit,
        f"A test image ({first.condition}, ",
    )


def start_licence(run: Run) -> str | None:
    """The licence of the published weights that training started from; None for random ones."""
    if not run.spec.protocol_settings.get("pretrained"):
        return None
    import timm

    config = timm.get_pretrained_cfg(run.spec.backbone, allow_unregistered=True)
    return str(config.license or "") if config is not None else ""
