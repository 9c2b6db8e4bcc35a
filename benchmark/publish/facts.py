"""What a model card says, before it is put into words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from divsal_bench.hub.names import branch

if TYPE_CHECKING:
    from divsal_bench.contracts.adapter import SourceTerms
    from divsal_bench.contracts.task import Task
    from divsal_bench.runs.records import Record
    from divsal_bench.scores.schema import Scores

#: Metric to how it is named to the Hub and to people.
METRICS = {"open_set": "open-set AUROC", "worst": "worst-condition AUROC", "in_domain": "in-domain AUROC"}


@dataclass(frozen=True)
class Summary:
    """What statistics say about all seeds of a method, as text; whoever knows statistics hands it in.

    Attributes:
        rows: Metric or condition to ``(mean ± sd over seeds, interval)``, in order; "" where there is none.
        seeds: With a result.
        lacking: Seeds without one, each with ``failed`` or ``diverged``.
        marks: What sets the method apart on the board, e.g. ``shown below chance``.
        notes: What the numbers can and cannot say.
    """

    rows: Mapping[str, tuple[str, str]]
    seeds: Sequence[int]
    lacking: Mapping[int, str] = field(default_factory=dict)
    marks: Sequence[str] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class CardFacts:
    """Everything a card says.

    Attributes:
        task: As installed here.
        method: What its docstring says, with the paper.
        image_mode: ``L`` or ``RGB``: how image files are read.
        in_chans: What the network takes.
        terms: Source to what its owner allows; None for a stand-in, which code draws.
        start_licence: Of the published weights that training started from, "" if not stated; None for random weights.
        data: What to give as ``--data``: a stand-in, or ``org/name@commit``; "" where only its owner's copy exists.
        figure: The figure's file name and what it shows; None without one.
        no_figure: Why there is none.
    """

    repo: str
    record: Record
    task: Task
    method: str
    image_mode: str
    in_chans: int
    terms: Mapping[str, SourceTerms] | None
    start_licence: str | None
    data: str
    summary: Summary
    figure: tuple[str, str] | None
    no_figure: str = ""

    @property
    def scores(self) -> Scores:
        """Of this seed."""
        assert self.record.scores is not None
        return self.record.scores

    @property
    def revision(self) -> str:
        """This seed's branch, as it follows the id."""
        return f"{self.repo}@{branch(self.record.spec.seed)}"


def on_hub(data: str) -> bool:
    """Whether data is named by a Hub id."""
    return "/" in data


def values(scores: Scores) -> dict[str, float]:
    """The headline AUROCs that a run has."""
    found = {name: getattr(scores, key) for key, name in METRICS.items()}
    return {name: value for name, value in found.items() if value is not None}
