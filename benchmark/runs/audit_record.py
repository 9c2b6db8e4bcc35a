"""The typed result of an audit, and how it is kept beside its run. A leaf: no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator

from divsal_bench.errors import UserError
from divsal_bench.files.models import read_model
from divsal_bench.files.texts import text_problem
from divsal_bench.runs.reading import Run
from divsal_bench.scores.schema import Typed

#: Raised whenever an audit may give other numbers for the same weights and settings.
AUDIT_VERSION: Final = 1
#: An audit may be a stranger's. Bytes of its file, and characters of a text in it; ours have some thousands, and 300.
LARGEST_AUDIT, LONGEST_TEXT = 2**22, 2000


def _showable(text: str) -> str:
    problem = text_problem(text, LONGEST_TEXT)
    if problem:
        raise ValueError(problem)
    return text


#: A text in an audit.
Text = Annotated[str, AfterValidator(_showable)]
Block = Literal["energy", "decision", "sensitivity", "fidelity", "fooling"]
Images = Literal["all", "predicted negative", "predicted positive", "negatives", "positives"]
Metric = Literal[
    "pe", "pe_corrected", "lift", "pe_nonempty", "lift_nonempty", "empty",
    "bias_share", "error", "balanced_error", "common_share", "cosine", "residual_ratio",
    "agreement", "agreement_reference", "passes", "passes_reference", "undefined",
    "drop", "deletion_probability", "deletion_margin", "insertion_probability", "insertion_margin",
    "likeness", "pe_before", "pe_after", "shift", "decisions_changed", "margin_error",
]  # fmt: skip


class AuditSettings(Typed):
    """Everything but the run that decides an audit's numbers.

    Attributes:
        k: Per cent of the cells whose agreement the class-sensitivity test counts.
        tau: Per cent of agreement that a map has to stay below to pass it.
        reference: Also the class-sensitivity test as its authors' code has it.
        fidelity_k: Per cent of the cells covered for the confidence drop.
        images: At most so many test images for sensitivity, fidelity and fooling.
        steps: Points of a deletion or insertion curve after the first.
        cover: What a covered cell shows on these curves.
    """

    k: float = 5.0
    tau: float = 50.0
    reference: bool = False
    fidelity_k: float = 50.0
    images: int = 200
    steps: int = 16
    cover: Literal["mean", "blur"] = "mean"
    version: int = AUDIT_VERSION

    @property
    def digest(self) -> str:
        """12 hexadecimal digits."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


class Quantity(Typed):
    """What a number is about.

    Attributes:
        block: Which part of the audit.
        of: A map (``true-class``, ``difference``, ``case``, …), a control of the fidelity test (``random``,
            ``centre``), ``decision``, or ``head``.
        images: Which of the block's images it is the mean over.
        metric: As the functions of :mod:`divsal_bench.maps` name it. Shares are in [0, 1], agreement in per cent.
    """

    block: Block
    of: Text
    images: Images
    metric: Metric


class Number(Typed):
    """One number of one run.

    Attributes:
        value: None where no image has one.
        count: How many images it is the mean over; for numbers of the classifier alone 0.
    """

    quantity: Quantity
    value: float | None
    count: int


class Undefined(Typed):
    """Why a part of an audit has no numbers, or lacks some.

    Attributes:
        of: As in :class:`Quantity`; "" for the whole block.
    """

    block: Block
    of: Text
    why: Text


class Audit(Typed):
    """The content of audit-….json.

    Attributes:
        weights_sha256: Of the weights that were audited.
        grid: The CAM grid (h, w).
        train_counts: Negatives and positives of the training split.
        test: Negatives and positives of the test split: what energy, decisions and errors are about.
        maps: Negatives and positives among them that have a human map.
        correct: Correctly classified test images: what fidelity draws from.
        sampled: Images of sensitivity and fooling.
        covered: Images of fidelity.
        minority: Which class has fewer training images; None if neither has.
        sensitivity_cells: How many cells, on what grid, are k per cent; None where the test is undefined.
        fidelity_cells: How many cells are ``fidelity_k`` per cent.
    """

    settings: AuditSettings
    run_id: str
    fingerprint: str
    weights_sha256: str
    engine_version: int
    versions: dict[Text, Text]
    grid: tuple[int, int]
    train_counts: tuple[int, int]
    test: tuple[int, int]
    maps: tuple[int, int]
    correct: int
    sampled: int
    covered: int
    minority: Literal["negatives", "positives"] | None
    sensitivity_cells: tuple[int, tuple[int, int]] | None
    fidelity_cells: int
    numbers: list[Number]
    undefined: list[Undefined]
    seconds: float = 0.0

    def fits(self, run: Run, weights_sha256: str) -> bool:
        """Whether it is of this run and these weights."""
        return self.run_id == run.record.run_id and self.weights_sha256 == weights_sha256


def audit_file(run: Run, settings: AuditSettings) -> Path:
    """Where the audit of a run is kept."""
    return run.path / f"audit-{settings.digest}.json"


def find_audit(run: Run, settings: AuditSettings, weights_sha256: str) -> Audit | None:
    """The kept audit; None if there is none, or one that is damaged or of other weights."""
    found = read_audit(audit_file(run, settings))
    return found if found is not None and found.settings == settings and found.fits(run, weights_sha256) else None


def find_audits(run: Run, weights_sha256: str) -> Iterator[Audit]:
    """Every kept audit of this version, whatever its settings."""
    for path in sorted(run.path.glob("audit-*.json")):
        found = read_audit(path)
        if found is not None and found.settings.version == AUDIT_VERSION and found.fits(run, weights_sha256):
            yield found


def read_audit(path: Path) -> Audit | None:
    """One file; None if it is missing or damaged, since it can be computed again."""
    try:
        return read_model(path, Audit, LARGEST_AUDIT)
    except (OSError, ValueError, UserError):
        return None
