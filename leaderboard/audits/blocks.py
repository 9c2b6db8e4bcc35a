"""The blocks of an audit table: which numbers stand together, and the sentences that explain them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from divsal_bench.leaderboard.audits.cells import (
    METHOD_AND_AUROCS,
    has_numbers,
    image_count,
    images_named,
    method_and_aurocs,
    number_of_row,
    number_over_seeds,
    quantity,
    reasons_of_block,
    seed_count,
    smallest_to_largest,
)
from divsal_bench.leaderboard.audits.table import AuditTable
from divsal_bench.runs.audit_record import Images

#: The maps that the blocks are about, and the orders in which the fidelity test covers cells instead.
MAPS = {"true-class": "true-class CAM", "difference": "difference map"}
CONTROLS = {"random": "random (control)", "centre": "centre (control)"}
REFERENCE = (
    "reference: the published code's version, for comparison with published numbers only. Its defect: where fewer "
    "than k % of the pixels are positive it fills up with ties in the order of the pixels and counts those as "
    "agreement; two empty maps agree by 100 %."
)


@dataclass(frozen=True)
class TextBlock:
    """A small table with what explains it."""

    title: str
    headers: list[str]
    rows: list[list[str]]
    notes: list[str]


def text_blocks(table: AuditTable) -> Iterator[TextBlock]:
    """What a terminal shows."""
    yield from energy_blocks(table)
    yield decision_block(table)
    yield sensitivity_block(table)
    yield fidelity_block(table)
    yield fooling_block(table)


def energy_blocks(table: AuditTable) -> Iterator[TextBlock]:
    """Agreement with people: over all human maps, and by class."""
    if not has_numbers(table, "energy"):
        yield TextBlock("Energy", [], [], reasons_of_block(table, "energy"))
        return
    negatives, positives = table.audits[0].maps
    for of, name in MAPS.items():
        columns = [
            ("PE", "pe"), ("PE × (1 − area)", "pe_corrected"), ("lift", "lift"), ("PE, non-empty", "pe_nonempty"),
            ("lift, non-empty", "lift_nonempty"), ("empty", "empty"),
        ]  # fmt: skip
        yield TextBlock(
            f"Energy of the {name} inside {negatives} + {positives} human maps (negatives + positives)",
            [*METHOD_AND_AUROCS, *(head for head, _ in columns)],
            [
                [
                    *method_and_aurocs(row),
                    *(number_of_row(table, row, "energy", of, "all", metric) for _, metric in columns),
                ]
                for row in table.rows
            ],
            [],
        )
    by_class = [(f"{word}{metric}", of, metric) for of, word in (("true-class", ""), ("difference", "difference: "))
               for metric in ("pe", "lift", "empty")]  # fmt: skip
    groups = [images for images in get_args(Images)[1:] if has_group(table, images)]
    rows = []
    for row in table.rows:
        for images in groups:
            found = row.values.get(quantity("energy", "true-class", images, "pe"))
            cells = [number_of_row(table, row, "energy", of, images, metric) for _, of, metric in by_class]
            rows.append(
                [row.label if images == groups[0] else "", images_named(table, images), image_count(found), *cells]
            )
    said = [
        "PE: share of a map's positive part inside the human map, 0 for an empty map. lift: PE / area, 1 by chance. "
        "empty: maps without a positive part.",
        *(
            f"All human maps are of {images_named(table, images)}: what stands above is theirs."
            for images in only_class_with_maps(table)
        ),
        *reasons_of_block(table, "energy"),
    ]
    if groups:
        heads = ["method", "images", "maps", *(head.replace("pe", "PE") for head, *_ in by_class)]
        yield TextBlock("Energy by predicted class and by class (the other numbers: --format csv)", heads, rows, said)
    else:
        yield TextBlock("Energy by class: all human maps are of one class, predicted as such", [], [], said)


def only_class_with_maps(table: AuditTable) -> list[Images]:
    """The class that all human maps are of; nothing where both classes have some."""
    negatives, positives = table.audits[0].maps
    return [] if negatives and positives else ["negatives" if negatives else "positives"]


def has_group(table: AuditTable, images: Images) -> bool:
    """Whether some run's maps fall into a group, and not all of them do by definition."""
    if images in ("negatives", "positives") and only_class_with_maps(table):
        return False
    return any(quantity("energy", "true-class", images, "pe") in row.values for row in table.rows)


def decision_block(table: AuditTable) -> TextBlock:
    """Accuracy, errors by class, and what the decisions rest on."""
    one = table.audits[0]
    columns: list[tuple[str, str, Images, str]] = [
        ("error", "decision", "all", "error"),
        (f"error, {images_named(table, 'negatives')}", "decision", "negatives", "error"),
        (f"error, {images_named(table, 'positives')}", "decision", "positives", "error"),
        ("bias share", "decision", "all", "bias_share"),
        ("… of predicted negatives", "decision", "predicted negative", "bias_share"),
        ("… of predicted positives", "decision", "predicted positive", "bias_share"),
        ("common mode", "head", "all", "common_share"),
        ("empty CAMs", "true-class", "all", "empty"),
        ("empty differences", "difference", "all", "empty"),
    ]
    rows = [
        [
            row.label,
            seed_count(row),
            number_over_seeds(row.in_domain, "auroc"),
            number_over_seeds(row.open_set, "auroc"),
            *(number_of_row(table, row, "decision", of, images, metric) for _, of, images, metric in columns),
        ]
        for row in table.rows
    ]
    minority = f"{one.minority} are the minority" if one.minority else "no class is the minority"
    said = [
        f"Over all {sum(one.test)} test images ({one.test[0]} negatives + {one.test[1]} positives), decided at a "
        f"margin of 0. In training {one.train_counts[0]} + {one.train_counts[1]}: {minority}.",
        "bias share: |bias| / (|bias| + |what the image adds to it|). common mode: ‖w0 + w1‖/2 / ‖w1 − w0‖, what no "
        "decision depends on.",
        *reasons_of_block(table, "decision"),
    ]
    heads = ["method", "seeds", "in-domain", "open-set", *(head for head, *_ in columns)]
    return TextBlock("Decision", heads, rows, said)


def sensitivity_block(table: AuditTable) -> TextBlock:
    """Do the maps of both classes mark different places?"""
    settings = table.settings
    if not has_numbers(table, "sensitivity"):
        return TextBlock("Class sensitivity", [], [], reasons_of_block(table, "sensitivity"))
    columns = []
    for of, name in (("true-class", "CAM"), ("case", "CASE"), ("case-clamped", "CASE clamped")):
        columns += [(f"{name}: agreement %", of, "agreement"), ("passing seeds", of, "passes"), ("empty", of, "empty")]
        columns += [("undefined", of, "undefined")] if of == "case" else []
        columns += [("reference %", of, "agreement_reference")] if settings.reference else []
    rows = [
        [
            *method_and_aurocs(row),
            *(number_of_row(table, row, "sensitivity", of, "all", metric) for _, of, metric in columns),
        ]
        for row in table.rows
    ]
    sizes = {audit.sensitivity_cells for audit in table.audits} - {None}
    cells = "; ".join(f"{count} of {grid[0]} × {grid[1]} cells" for count, grid in sorted(filter(None, sizes)))
    said = [
        f"agreement: share of the top {settings.k:g} % ({cells}) that the maps of both classes have in common, "
        f"tie-safe; {settings.k:g} % by chance. Passing: significantly below τ = {settings.tau:g} % (Wilcoxon over "
        f"{table.audits[0].sampled} images). empty: images of which one map has no positive part, and so no agreement.",
        *([REFERENCE] if settings.reference else []),
        *reasons_of_block(table, "sensitivity"),
    ]
    return TextBlock("Class sensitivity", [*METHOD_AND_AUROCS, *(head for head, *_ in columns)], rows, said)


def fidelity_block(table: AuditTable) -> TextBlock:
    """Maps beside the controls."""
    if not has_numbers(table, "fidelity"):
        return TextBlock("Fidelity", [], [], reasons_of_block(table, "fidelity"))
    settings = table.settings
    columns = [
        (f"confidence drop@{settings.fidelity_k:g}", "drop"), ("deletion, p", "deletion_probability"),
        ("deletion, margin", "deletion_margin"), ("insertion, p", "insertion_probability"),
        ("insertion, margin", "insertion_margin"),
    ]  # fmt: skip
    rows = []
    for row in table.rows:
        for of, name in (MAPS | CONTROLS).items():
            cells = [number_of_row(table, row, "fidelity", of, "all", metric) for _, metric in columns]
            lead = method_and_aurocs(row) if of == "true-class" else ["", "", ""]
            rows.append([*lead, name, *cells])
    covered, correct = (
        smallest_to_largest(a.covered for a in table.audits),
        smallest_to_largest(a.correct for a in table.audits),
    )
    said = [
        f"On {covered} of {correct} correctly classified test images. drop: share of the decision's probability lost "
        f"when the top {settings.fidelity_k:g} % of the cells are covered. Faithful maps have a high drop, a low "
        "deletion and a high insertion area, and say something where they beat both controls: cells at random, and "
        "nearest to the centre first. Margins differ in scale between networks: compare within a method.",
        *reasons_of_block(table, "fidelity"),
    ]
    return TextBlock("Fidelity", [*METHOD_AND_AUROCS, "order", *(head for head, _ in columns)], rows, said)


def fooling_block(table: AuditTable) -> TextBlock:
    """What one vector added to both rows of the classifier does."""
    if not has_numbers(table, "fooling"):
        return TextBlock("Fooling", [], [], reasons_of_block(table, "fooling"))
    columns = [
        ("CAM: PE in the border", "true-class", "pe_before"), ("after", "true-class", "pe_after"),
        ("shift", "true-class", "shift"), ("likeness", "true-class", "likeness"),
        ("difference: shift", "difference", "shift"), ("likeness", "difference", "likeness"),
        ("decisions changed", "decision", "decisions_changed"), ("margins moved by", "decision", "margin_error"),
    ]  # fmt: skip
    rows = [
        [
            *method_and_aurocs(row),
            *(number_of_row(table, row, "fooling", of, "all", metric) for _, of, metric in columns),
        ]
        for row in table.rows
    ]
    said = [
        f"One vector is added to both rows of the classifier, so that the CAMs of {table.audits[0].sampled} images "
        "move to the border. Decisions and the difference map cannot change, rounding apart; a CAM that moves shows "
        "that it need not say anything about the decision. likeness: correlation of the map before and after.",
        *reasons_of_block(table, "fooling"),
    ]
    return TextBlock("Passive fooling", [*METHOD_AND_AUROCS, *(head for head, *_ in columns)], rows, said)


def audit_notes(table: AuditTable) -> list[str]:
    """What holds for every block."""
    counts = sorted({len(row.seeds) for row in table.rows})
    found = [
        f"n = {smallest_to_largest((counts[0], counts[-1]))} seed{'s' * (counts[-1] > 1)}. "
        + ("Mean over seeds and 95 % t-interval over seeds, on exactly these test images. " if counts[-1] > 1 else "")
        + "Differences between methods are exploratory: none is tested, and none has a star.",
    ]
    if any(value.missing and value.cell.n for row in table.rows for value in row.values.values()):
        found.append("(7/10): only so many of the seeds have the number.")
    if table.without:
        without = ", ".join(f"{label} ({count})" for label, count in table.without.items())
        found.append(f"Runs without an audit: {without}.")
    if table.standin:
        found.append(
            "Stand-in data is drawn by code and built so that guidance can help: a win here tests the software, not "
            "the hypothesis."
        )
    return found
