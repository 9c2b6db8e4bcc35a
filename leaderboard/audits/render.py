"""Audit tables as text: blocks for a terminal and Markdown, long CSV, JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from tabulate import tabulate

from divsal_bench.files import escaping
from divsal_bench.leaderboard.audits.table import AuditRow, AuditTable, Reason, Value
from divsal_bench.leaderboard.tables.flat import records_csv
from divsal_bench.leaderboard.tables.render import without_nan
from divsal_bench.leaderboard.tables.wording import NONE
from divsal_bench.runs.audit_record import Block, Images, Metric, Quantity

Format = Literal["terminal", "markdown", "csv", "json"]
MAPS = {"true-class": "true-class CAM", "difference": "difference map"}
CONTROLS = {"random": "random (control)", "centre": "centre (control)"}
#: What the numbers cannot leave; an interval of their mean is cut there.
RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(
        ("pe", "pe_corrected", "pe_nonempty", "empty", "bias_share", "error", "balanced_error", "residual_ratio",
         "passes", "passes_reference", "undefined", "drop", "deletion_probability", "insertion_probability",
         "pe_before", "pe_after"),
        (0.0, 1.0),
    ),
    **dict.fromkeys(("agreement", "agreement_reference"), (0.0, 100.0)),
    **dict.fromkeys(("cosine", "likeness", "shift"), (-1.0, 1.0)),
    **dict.fromkeys(("lift", "lift_nonempty", "common_share", "decisions_changed", "margin_error"), (0.0, math.inf)),
}  # fmt: skip
#: Digits after the point, where they are not three; shares of images are shown in per cent.
DIGITS = {"lift": 2, "lift_nonempty": 2, "agreement": 1, "agreement_reference": 1, "decisions_changed": 1}
PERCENT = ("empty", "undefined")
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


def render(tables: Sequence[AuditTable], form: Format) -> str:
    """Write audit tables; every number of CSV and JSON is unrounded."""
    if form == "json":
        return json.dumps([as_json(table) for table in tables], indent=1)
    if form == "csv":
        return as_csv(tables)
    return "\n\n".join(as_text(table, form) for table in tables)


def heading(table: AuditTable) -> str:
    """One line that names everything a row depends on."""
    group = table.group
    head = "" if group.head == "two-logit" else f" · {group.head}"
    data = f"data {table.data} ({group.fingerprint[:8]})"
    return f"audit · {group.task} · {data} · {group.protocol} · {group.backbone}{head}"


def as_text(table: AuditTable, form: Format) -> str:
    """Heading, blocks and notes."""
    markdown = form == "markdown"
    parts = [f"**{escaping.markdown(heading(table))}**" if markdown else heading(table)]
    for block in blocks(table):
        if block.rows:
            rows = escaping.escaped_rows(block.rows, form)
            align = ["left" if head in ("method", "images", "order") else "right" for head in block.headers]
            text = tabulate(
                rows, block.headers, tablefmt="github" if markdown else "simple", disable_numparse=True, colalign=align
            )
            parts.append(f"{f'**{block.title}**' + chr(10) if markdown else block.title}\n{text}")
        else:
            parts.append(f"**{block.title}**" if markdown else block.title)
        parts.append("\n".join(f"- {escaping.markdown(note)}" if markdown else f"  {note}" for note in block.notes))
    parts.append("\n".join(f"- {escaping.markdown(note)}" if markdown else f"  {note}" for note in notes(table)))
    return "\n\n".join(part for part in parts if part)


def blocks(table: AuditTable) -> Iterator[TextBlock]:
    """What a terminal shows."""
    yield from energy(table)
    yield decision(table)
    yield sensitivity(table)
    yield fidelity(table)
    yield fooling(table)


def energy(table: AuditTable) -> Iterator[TextBlock]:
    """Agreement with people: over all human maps, and by class."""
    if not has(table, "energy"):
        yield TextBlock("Energy", [], [], why(table, "energy"))
        return
    negatives, positives = table.audits[0].maps
    for of, name in MAPS.items():
        columns = [
            ("PE", "pe"), ("PE × (1 − area)", "pe_corrected"), ("lift", "lift"), ("PE, non-empty", "pe_nonempty"),
            ("lift, non-empty", "lift_nonempty"), ("empty", "empty"),
        ]  # fmt: skip
        yield TextBlock(
            f"Energy of the {name} inside {negatives} + {positives} human maps (negatives + positives)",
            [*FIRST, *(head for head, _ in columns)],
            [
                [*first(row), *(shown(table, row, "energy", of, "all", metric) for _, metric in columns)]
                for row in table.rows
            ],
            [],
        )
    by_class = [(f"{word}{metric}", of, metric) for of, word in (("true-class", ""), ("difference", "difference: "))
               for metric in ("pe", "lift", "empty")]  # fmt: skip
    groups = [images for images in get_args(Images)[1:] if splits(table, images)]
    rows = []
    for row in table.rows:
        for images in groups:
            found = row.values.get(quantity("energy", "true-class", images, "pe"))
            cells = [shown(table, row, "energy", of, images, metric) for _, of, metric in by_class]
            rows.append([row.label if images == groups[0] else "", named(table, images), counted(found), *cells])
    said = [
        "PE: share of a map's positive part inside the human map, 0 for an empty map. lift: PE / area, 1 by chance. "
        "empty: maps without a positive part.",
        *(f"All human maps are of {named(table, images)}: what stands above is theirs." for images in alone(table)),
        *why(table, "energy"),
    ]
    if groups:
        heads = ["method", "images", "maps", *(head.replace("pe", "PE") for head, *_ in by_class)]
        yield TextBlock("Energy by predicted class and by class (the other numbers: --format csv)", heads, rows, said)
    else:
        yield TextBlock("Energy by class: all human maps are of one class, predicted as such", [], [], said)


def alone(table: AuditTable) -> list[Images]:
    """The class that all human maps are of; nothing where both classes have some."""
    negatives, positives = table.audits[0].maps
    return [] if negatives and positives else ["negatives" if negatives else "positives"]


def splits(table: AuditTable, images: Images) -> bool:
    """Whether some run's maps fall into a group, and not all of them do by definition."""
    if images in ("negatives", "positives") and alone(table):
        return False
    return any(quantity("energy", "true-class", images, "pe") in row.values for row in table.rows)


def decision(table: AuditTable) -> TextBlock:
    """Accuracy, errors by class, and what the decisions rest on."""
    one = table.audits[0]
    columns: list[tuple[str, str, Images, str]] = [
        ("error", "decision", "all", "error"),
        (f"error, {named(table, 'negatives')}", "decision", "negatives", "error"),
        (f"error, {named(table, 'positives')}", "decision", "positives", "error"),
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
            number(row.in_domain, "auroc"),
            number(row.open_set, "auroc"),
            *(shown(table, row, "decision", of, images, metric) for _, of, images, metric in columns),
        ]
        for row in table.rows
    ]
    minority = f"{one.minority} are the minority" if one.minority else "no class is the minority"
    said = [
        f"Over all {sum(one.test)} test images ({one.test[0]} negatives + {one.test[1]} positives), decided at a "
        f"margin of 0. In training {one.train_counts[0]} + {one.train_counts[1]}: {minority}.",
        "bias share: |bias| / (|bias| + |what the image adds to it|). common mode: ‖w0 + w1‖/2 / ‖w1 − w0‖, what no "
        "decision depends on.",
        *why(table, "decision"),
    ]
    heads = ["method", "seeds", "in-domain", "open-set", *(head for head, *_ in columns)]
    return TextBlock("Decision", heads, rows, said)


def sensitivity(table: AuditTable) -> TextBlock:
    """Do the maps of both classes mark different places?"""
    settings = table.settings
    if not has(table, "sensitivity"):
        return TextBlock("Class sensitivity", [], [], why(table, "sensitivity"))
    columns = []
    for of, name in (("true-class", "CAM"), ("case", "CASE"), ("case-clamped", "CASE clamped")):
        columns += [(f"{name}: agreement %", of, "agreement"), ("passing seeds", of, "passes"), ("empty", of, "empty")]
        columns += [("undefined", of, "undefined")] if of == "case" else []
        columns += [("reference %", of, "agreement_reference")] if settings.reference else []
    rows = [
        [*first(row), *(shown(table, row, "sensitivity", of, "all", metric) for _, of, metric in columns)]
        for row in table.rows
    ]
    sizes = {audit.sensitivity_cells for audit in table.audits} - {None}
    cells = "; ".join(f"{count} of {grid[0]} × {grid[1]} cells" for count, grid in sorted(filter(None, sizes)))
    said = [
        f"agreement: share of the top {settings.k:g} % ({cells}) that the maps of both classes have in common, "
        f"tie-safe; {settings.k:g} % by chance. Passing: significantly below τ = {settings.tau:g} % (Wilcoxon over "
        f"{table.audits[0].sampled} images). empty: images of which one map has no positive part, and so no agreement.",
        *([REFERENCE] if settings.reference else []),
        *why(table, "sensitivity"),
    ]
    return TextBlock("Class sensitivity", [*FIRST, *(head for head, *_ in columns)], rows, said)


def fidelity(table: AuditTable) -> TextBlock:
    """Maps beside the controls."""
    if not has(table, "fidelity"):
        return TextBlock("Fidelity", [], [], why(table, "fidelity"))
    settings = table.settings
    columns = [
        (f"confidence drop@{settings.fidelity_k:g}", "drop"), ("deletion, p", "deletion_probability"),
        ("deletion, margin", "deletion_margin"), ("insertion, p", "insertion_probability"),
        ("insertion, margin", "insertion_margin"),
    ]  # fmt: skip
    rows = []
    for row in table.rows:
        for of, name in (MAPS | CONTROLS).items():
            cells = [shown(table, row, "fidelity", of, "all", metric) for _, metric in columns]
            lead = first(row) if of == "true-class" else ["", "", ""]
            rows.append([*lead, name, *cells])
    covered, correct = spread(a.covered for a in table.audits), spread(a.correct for a in table.audits)
    said = [
        f"On {covered} of {correct} correctly classified test images. drop: share of the decision's probability lost "
        f"when the top {settings.fidelity_k:g} % of the cells are covered. Faithful maps have a high drop, a low "
        "deletion and a high insertion area, and say something where they beat both controls: cells at random, and "
        "nearest to the centre first. Margins differ in scale between networks: compare within a method.",
        *why(table, "fidelity"),
    ]
    return TextBlock("Fidelity", [*FIRST, "order", *(head for head, _ in columns)], rows, said)


def fooling(table: AuditTable) -> TextBlock:
    """What one vector added to both rows of the classifier does."""
    if not has(table, "fooling"):
        return TextBlock("Fooling", [], [], why(table, "fooling"))
    columns = [
        ("CAM: PE in the border", "true-class", "pe_before"), ("after", "true-class", "pe_after"),
        ("shift", "true-class", "shift"), ("likeness", "true-class", "likeness"),
        ("difference: shift", "difference", "shift"), ("likeness", "difference", "likeness"),
        ("decisions changed", "decision", "decisions_changed"), ("margins moved by", "decision", "margin_error"),
    ]  # fmt: skip
    rows = [
        [*first(row), *(shown(table, row, "fooling", of, "all", metric) for _, of, metric in columns)]
        for row in table.rows
    ]
    said = [
        f"One vector is added to both rows of the classifier, so that the CAMs of {table.audits[0].sampled} images "
        "move to the border. Decisions and the difference map cannot change, rounding apart; a CAM that moves shows "
        "that it need not say anything about the decision. likeness: correlation of the map before and after.",
        *why(table, "fooling"),
    ]
    return TextBlock("Passive fooling", [*FIRST, *(head for head, *_ in columns)], rows, said)


#: Accuracy stands beside every block.
FIRST = ("method", "in-domain", "open-set")


def first(row: AuditRow) -> list[str]:
    """Method and mean AUROCs."""
    return [row.label, *(f"{one.cell.mean:.3f}" if one.cell.n else "n/a" for one in (row.in_domain, row.open_set))]


def quantity(block: Block, of: str, images: Images, metric: str) -> Quantity:
    """A key of :attr:`AuditRow.values`."""
    names: tuple[Metric, ...] = get_args(Metric)
    return Quantity(block=block, of=of, images=images, metric=names[names.index(metric)])  # type: ignore[arg-type]


def has(table: AuditTable, block: Block) -> bool:
    """Whether any method has numbers in a block."""
    return any(one.block == block for row in table.rows for one in row.values)


def shown(table: AuditTable, row: AuditRow, block: Block, of: str, images: Images, metric: str) -> str:
    """One number, ``undefined``, or a dash where there was nothing to measure."""
    found = row.values.get(quantity(block, of, images, metric))
    if found is None:
        known = any(one.block == block and one.of in ("", of) and row.label in one.labels for one in table.reasons)
        return "undefined" if known else NONE
    return number(found, metric)


def number(value: Value, metric: str) -> str:
    """Mean, and on a second line the t-interval; of too few seeds how many have it."""
    cell = value.cell
    if not cell.n:
        return "n/a" if metric == "auroc" else "undefined"
    of_seeds = f" ({cell.n}/{cell.n + value.missing})" if value.missing else ""
    if metric.startswith("passes"):
        return f"{round(cell.mean * cell.n)} of {cell.n}"
    if metric == "margin_error":
        return f"{cell.maximum:.0e}"
    low, high = RANGES.get(metric, (-math.inf, math.inf)) if metric != "auroc" else (0.0, 1.0)
    percent = metric in PERCENT
    digits = 1 if percent else DIGITS.get(metric, 3)
    scale = 100 if percent else 1

    def text(one: float) -> str:
        rounded = f"{scale * min(max(one, low), high):.{digits}f}"
        return rounded.removeprefix("-") if float(rounded) == 0 else rounded

    interval = "" if math.isnan(cell.low) else f"\n[{text(cell.low)}, {text(cell.high)}]"
    return f"{text(cell.mean)}{' %' if percent else ''}{of_seeds}{interval}"


def named(table: AuditTable, images: str) -> str:
    """A group of images, as minority or majority where the training classes are unbalanced."""
    found = role(table, images)
    return f"{images} ({found})" if found else images


def role(table: AuditTable, images: str) -> str:
    """``minority`` or ``majority`` of the training split; "" for other groups, and where neither class is."""
    minority = table.audits[0].minority
    if images not in ("negatives", "positives") or minority is None:
        return ""
    return "minority" if images == minority else "majority"


def counted(value: Value | None) -> str:
    """``27``, or ``3–6`` where seeds differ."""
    return NONE if value is None else spread((value.fewest, value.most))


def spread(counts: Iterator[int] | tuple[int, int]) -> str:
    """The smallest and the largest."""
    found = sorted(set(counts))
    return str(found[0]) if len(found) == 1 else f"{found[0]}–{found[-1]}"


def seed_count(row: AuditRow) -> str:
    """``10``, or ``9, 1 without``."""
    return f"{len(row.seeds)}, {row.unaudited} without" if row.unaudited else str(len(row.seeds))


def why(table: AuditTable, block: Block) -> list[str]:
    """What of a block is undefined, and the reason."""
    return [said(table, one) for one in table.reasons if one.block == block]


def said(table: AuditTable, one: Reason) -> str:
    """``difference: undefined …``, with the methods if not all."""
    names = "" if len(one.labels) == len(table.rows) else f"({', '.join(one.labels)})"
    about = " ".join(filter(None, (one.of, names)))
    return f"{f'{about}: ' if about else ''}{one.why}."


def notes(table: AuditTable) -> list[str]:
    """What holds for every block."""
    counts = sorted({len(row.seeds) for row in table.rows})
    found = [
        f"n = {spread((counts[0], counts[-1]))} seed{'s' * (counts[-1] > 1)}. "
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


def facts(table: AuditTable) -> dict[str, Any]:
    """What every row of a table shares."""
    names = ("task", "fingerprint", "protocol", "backbone", "head")
    shared = {name: getattr(table.group, name) for name in names}
    return {"task": shared.pop("task"), "data": table.data, **shared}


def long_rows(table: AuditTable) -> Iterator[dict[str, Any]]:
    """One row for each number of each method, and for each reason why there is none."""
    for row in table.rows:
        head = {**facts(table), "method": row.label, "kind": row.kind}
        accuracy = (("in_domain", row.in_domain), ("open_set", row.open_set))
        found = [("accuracy", "decision", "all", name, value) for name, value in accuracy]
        found += [(one.block, one.of, one.images, one.metric, value) for one, value in row.values.items()]
        for block, of, group, metric, value in found:
            cell = value.cell
            yield {
                **head, "block": block, "of": of, "group": group, "role": role(table, group), "metric": metric,
                "mean": cell.mean, "sd": cell.sd, "low": cell.low, "high": cell.high, "n": cell.n,
                "missing": value.missing, "fewest_images": value.fewest, "most_images": value.most, "undefined": "",
            }  # fmt: skip
        blank = dict.fromkeys(("mean", "sd", "low", "high"), math.nan)
        for one in table.reasons:
            if row.label in one.labels:
                yield {
                    **head, "block": one.block, "of": one.of, "group": "", "role": "", "metric": "", **blank, "n": 0,
                    "missing": len(row.seeds), "fewest_images": 0, "most_images": 0, "undefined": one.why,
                }  # fmt: skip


def as_csv(tables: Sequence[AuditTable]) -> str:
    """Long: one number a line, empty where there is none."""
    rows = [row for table in tables for row in long_rows(table)]
    return records_csv([{name: "" if value != value else value for name, value in row.items()} for row in rows])


def as_json(table: AuditTable) -> dict[str, Any]:
    """Everything about one table."""
    one = table.audits[0]
    content = {
        **facts(table),
        "settings": one.settings.model_dump(mode="json"),
        "grid": one.grid,
        "train": one.train_counts,
        "test": one.test,
        "maps": one.maps,
        "minority": one.minority,
        "without": table.without,
        "methods": [
            {"method": row.label, "kind": row.kind, "seeds": row.seeds, "unaudited": row.unaudited}
            for row in table.rows
        ],
        "numbers": [
            {name: value for name, value in row.items() if name in AFTER_FACTS} for row in long_rows(table)
            if not row["undefined"]
        ],
        "undefined": [dataclasses.asdict(reason) for reason in table.reasons],
        "notes": [note for block in blocks(table) for note in block.notes] + notes(table),
    }  # fmt: skip
    found: dict[str, Any] = without_nan(content)
    return found


AFTER_FACTS = (
    "method", "block", "of", "group", "role", "metric", "mean", "sd", "low", "high", "n", "missing", "fewest_images",
    "most_images",
)  # fmt: skip
