"""Audit one run: what its maps show, what its decisions rest on, and whether the maps say anything about them.

One forward pass over the test split gives energy, decisions and errors; a few images of it, drawn by sample id and
data fingerprint, give class sensitivity, fidelity and fooling. Only fidelity runs the network again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

import numpy as np
import numpy.typing as npt

from divsal_bench.auditing.findings import Findings
from divsal_bench.contracts import cams
from divsal_bench.errors import UserError
from divsal_bench.maps import case, fooling, measures
from divsal_bench.maps.closed_form import MAPS
from divsal_bench.maps.evidence import ONE_LOGIT, Evidence, gather, join_evidence
from divsal_bench.maps.fidelity import COLUMNS, choose_images, measure_fidelity
from divsal_bench.maps.sensitivity import Sensitivity, Version, class_sensitivity, no_positive, pair
from divsal_bench.networks.devices import arithmetic, device_of
from divsal_bench.networks.inference import as_input, form_of
from divsal_bench.networks.stored import ChosenRows, as_tensor, chunks
from divsal_bench.networks.trained import protocol_of
from divsal_bench.runs import versions
from divsal_bench.runs.audit_record import Audit, AuditSettings, Images
from divsal_bench.runs.records import ENGINE_VERSION
from divsal_bench.runs.store import weights_sha256

if TYPE_CHECKING:
    from divsal_bench.data.arrays import DataArrays
    from divsal_bench.networks.backbones import CamNet
    from divsal_bench.registry.protocols import Protocol
    from divsal_bench.runs.reading import Run

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

#: Maps whose class sensitivity is tested. The difference map says why it cannot be.
SENSITIVITY_MAPS = ("true-class", "difference", "case", "case-clamped")
#: What is added to a metric's name, to the version of the test.
VERSIONS: dict[str, Version] = {"": "tie-safe", "_reference": "reference"}
COMMON_MODE = "undefined for a one-logit head: its rows are ±½w, whose sum is 0 whatever the network has learned"


@dataclass(frozen=True, eq=False)
class OnePass:
    """What one forward pass over the test split leaves.

    Attributes:
        labels: (N,), 0 or 1.
        margins: z1 − z0, (N,).
        maps: ``true-class`` and ``difference`` to signed maps for the right class, each (N, h, w).
        sample: Positions of the images in ``evidence``, ascending, (n,).
        evidence: With features, of the sample alone: those of a whole test split can be gigabytes.
    """

    labels: Ints
    margins: Floats
    maps: dict[str, npt.NDArray[np.float32]]
    sample: Ints
    evidence: Evidence

    @property
    def groups(self) -> dict[Images, Bools]:
        """Which of the N images each group holds."""
        positive, predicted = self.labels == 1, self.margins >= 0
        names: tuple[Images, ...] = get_args(Images)
        return dict(zip(names, (positive | True, ~predicted, predicted, ~positive, positive), strict=True))


def audit_run(run: Run, model: CamNet, data: DataArrays, settings: AuditSettings) -> Audit:
    """Audit a run on its test split.

    Args:
        run: What was run; its specification is read, and its weights hashed.
        data: Of the run, at the size of its protocol.

    Returns:
        Every number of one run. Tests that compare two rows of the classifier are undefined for a one-logit head, and
        agreement with people without human maps; the audit says why and has the rest.

    Raises:
        UserError: It is not the run's data, the test split holds one class only, or the network has no closed-form
            CAM.
    """
    started = time.perf_counter()
    run.require_data(data.fingerprint)
    protocol = protocol_of(run)
    split = data.rows["split"].to_numpy(dtype=str)
    rows = np.flatnonzero(split == "test")
    labels = data.rows["label"].to_numpy(np.int64)
    counts, train = class_counts(labels[rows]), class_counts(labels[split == "train"])
    if not all(counts):
        raise UserError(
            f"{run.path}: the test split of {run.spec.data} holds {counts[0]} negatives and {counts[1]} positives; an "
            "audit compares both classes, prepare the data with some of each"
        )
    ids = data.rows["sample_id"].iloc[rows].astype(str).tolist()
    sample = choose_images(ids, np.ones(len(rows), bool), settings.images, data.fingerprint)
    try:
        seen = seen_in_one_pass(model, ChosenRows(data.images, rows), labels[rows], sample, protocol)
    except UserError as error:
        raise UserError(f"{run.path} cannot be audited: {error}") from None

    mapped = data.rows["has_map"].to_numpy(dtype=bool)[rows]
    errors = measures.error_rates(seen.labels, seen.margins, train)
    found = Findings()
    if mapped.any():
        add_energy(found, seen, mapped, cams.human_cells(ChosenRows(data.maps, rows[mapped]), seen.evidence.grid))
    else:
        found.no("energy", "", "the test split has no human maps: there is no agreement with people to measure")
    add_decision(found, seen, errors)
    cells = add_sensitivity(found, seen.evidence, settings, protocol.input_size)
    covered, fidelity_cells = add_fidelity(found, seen, model, data, rows, ids, settings, protocol)
    add_fooling(found, seen)
    return Audit(
        settings=settings,
        run_id=run.record.run_id,
        fingerprint=data.fingerprint,
        weights_sha256=weights_sha256(run.path),
        engine_version=ENGINE_VERSION,
        versions=versions.versions(),
        grid=seen.evidence.grid,
        train_counts=train,
        test=counts,
        maps=class_counts(seen.labels[mapped]),
        correct=int(((seen.margins >= 0) == (seen.labels == 1)).sum()),
        sampled=len(sample),
        covered=covered,
        minority=None if errors.minority_class is None else ("negatives", "positives")[errors.minority_class],
        sensitivity_cells=cells,
        fidelity_cells=fidelity_cells,
        numbers=found.numbers,
        undefined=found.undefined,
        seconds=round(time.perf_counter() - started, 3),
    )


def class_counts(labels: npt.NDArray[np.integer]) -> tuple[int, int]:
    """How many negatives and positives."""
    return int((labels == 0).sum()), int((labels == 1).sum())


def seen_in_one_pass(
    model: CamNet, images: ChosenRows, labels: Ints, sample: Ints, protocol: Protocol, batch_size: int = 128
) -> OnePass:
    """Run the network once over the test split.

    Args:
        images: uint8, (N, C, S, S).
        labels: (N,).
        sample: Positions among the N whose features are kept.
    """
    import torch

    margins = np.zeros(len(labels))
    maps: dict[str, npt.NDArray[np.float32]] = {}
    kept, start = [], 0
    for chunk in chunks(images, batch_size, device_of(model)):
        # The network alone: maps are computed in float32, as everywhere.
        with arithmetic(device_of(model), protocol.precision):
            evidence = gather(model, as_input(chunk, form_of(protocol)))
        part = slice(start, start + len(chunk))
        target = torch.from_numpy(labels[part])
        true, false = (MAPS[name].function(evidence, target).values.numpy() for name in ("true-class", "false-class"))
        margins[part] = evidence.margin.double().numpy()
        for name, values in (("true-class", true), ("difference", true - false)):
            maps.setdefault(name, np.zeros((len(labels), *evidence.grid), np.float32))[part] = values
        inside = torch.from_numpy(sample[(sample >= start) & (sample < part.stop)] - start)
        kept.append(replace(evidence, features=evidence.features[inside], logits=evidence.logits[inside]))
        start = part.stop
    return OnePass(labels, margins, maps, sample, join_evidence(kept))


def add_energy(found: Findings, seen: OnePass, mapped: Bools, human: npt.NDArray[np.float32]) -> None:
    """Proportional energy of both maps inside the human maps, by predicted and by true class."""
    for name, maps in seen.maps.items():
        columns = measures.energy_inside(maps[mapped], human)
        for images, members in seen.groups.items():
            inside = members[mapped]
            if not inside.any():
                continue
            for metric in ("pe", "pe_corrected", "lift", "pe_nonempty", "lift_nonempty", "empty"):
                found.add("energy", name, metric, columns[metric][inside], images)


def add_decision(found: Findings, seen: OnePass, errors: measures.ErrorRates) -> None:
    """Bias share, errors by class, empty maps and the classifier's rows, on the whole test split."""
    bias = seen.evidence.bias.double().numpy()
    share = measures.bias_share(seen.margins, float(bias[1] - bias[0]))
    empty = {name: no_positive(maps.astype(np.float64)).astype(np.float64) for name, maps in seen.maps.items()}
    for images, members in seen.groups.items():
        if members.any():
            found.add("decision", "decision", "bias_share", share[members], images)
            for name, values in empty.items():
                found.add("decision", name, "empty", values[members], images)
    negatives, positives = class_counts(seen.labels)
    found.one("decision", "decision", "error", errors.total, negatives + positives)
    found.one("decision", "decision", "error", errors.fpr, negatives, "negatives")
    found.one("decision", "decision", "error", errors.fnr, positives, "positives")
    found.one("decision", "decision", "balanced_error", errors.balanced, negatives + positives)
    if seen.evidence.head == "one-logit":
        found.no("decision", "head", COMMON_MODE)
        return
    compared = measures.compare_rows(seen.evidence.weight.numpy())
    for metric in ("common_share", "cosine", "residual_ratio"):
        found.one("decision", "head", metric, getattr(compared, metric))


def add_sensitivity(
    found: Findings, evidence: Evidence, settings: AuditSettings, side: int
) -> tuple[int, tuple[int, int]] | None:
    """Class sensitivity of each map; how many cells of what grid are k per cent, None where nothing is defined."""
    if evidence.head == "one-logit":
        found.no("sensitivity", "", ONE_LOGIT)
        return None
    cells = None
    for name in SENSITIVITY_MAPS:
        for suffix, result in sensitivities(evidence, name, settings, side):
            if result.note and not suffix:
                found.no("sensitivity", name, result.note)
                break
            found.add("sensitivity", name, f"agreement{suffix}", result.agreement)
            if result.passes is not None:
                found.one("sensitivity", name, f"passes{suffix}", float(result.passes), result.valid)
            if suffix:
                continue
            cells = cells or (result.cells, result.grid)
            found.one("sensitivity", name, "empty", result.empty_rate, result.total)
            found.one("sensitivity", name, "undefined", result.undefined_rate, result.total)
            if result.undefined_rate:
                found.no("sensitivity", name, f"undefined where {case.WHY}")
    return cells


def sensitivities(
    evidence: Evidence, name: str, settings: AuditSettings, side: int
) -> Iterator[tuple[str, Sensitivity]]:
    """The tie-safe test of one map, and the reference version if it is asked for."""
    first, second, undefined = pair(evidence, name)
    for suffix, version in VERSIONS.items():
        if settings.reference or not suffix:
            yield suffix, class_sensitivity(
                first, second, k=settings.k, tau=settings.tau, version=version, undefined=undefined,
                head=evidence.head, side=side,
            )  # fmt: skip


def add_fidelity(
    found: Findings,
    seen: OnePass,
    model: CamNet,
    data: DataArrays,
    rows: Ints,
    ids: list[str],
    settings: AuditSettings,
    protocol: Protocol,
) -> tuple[int, int]:
    """Confidence drop, deletion and insertion of both maps and of the controls; images used, and cells that are k %."""
    from divsal_bench.maps.covering import margin_score

    correct = (seen.margins >= 0) == (seen.labels == 1)
    chosen = choose_images(ids, correct, settings.images, data.fingerprint)
    if not len(chosen):
        found.no("fidelity", "", "no test image is classified correctly")
        return 0, 0
    with arithmetic(device_of(model), protocol.precision):
        result = measure_fidelity(
            margin_score(model),
            as_input(as_tensor(data.images[rows[chosen]]), form_of(protocol)),
            {name: maps[chosen] for name, maps in seen.maps.items()},
            seen.labels[chosen],
            seen.margins[chosen],
            [ids[i] for i in chosen],
            data.fingerprint,
            count=len(chosen),
            k=settings.fidelity_k,
            steps=settings.steps,
            cover=settings.cover,
        )
    for name, columns in result.scores.items():
        for metric in COLUMNS:
            found.add("fidelity", name, metric, columns[metric])
    return len(chosen), result.cells


def add_fooling(found: Findings, seen: OnePass) -> None:
    """What adding one vector to both rows of the classifier, towards the border, does to maps and decisions."""
    import torch

    if seen.evidence.head == "one-logit":
        found.no("fooling", "", fooling.UNDEFINED)
        return
    labels = torch.from_numpy(seen.labels[seen.sample])
    target = fooling.border(seen.evidence.grid)
    vector = fooling.attack(seen.evidence, labels, target)
    result = fooling.fooled(seen.evidence, fooling.add_to_rows(seen.evidence, vector), labels, target)
    for name, columns in (("true-class", result.columns["true"]), ("difference", result.columns["difference"])):
        for metric in ("likeness", "pe_before", "pe_after"):
            found.add("fooling", name, metric, columns[metric])
        found.add("fooling", name, "shift", columns["pe_after"] - columns["pe_before"])
    found.one("fooling", "decision", "decisions_changed", result.decisions_changed, len(labels))
    found.one("fooling", "decision", "margin_error", result.margin_error, len(labels))
