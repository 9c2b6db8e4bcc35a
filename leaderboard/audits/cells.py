"""The cells of audit tables: one number in words, and why there is none."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import get_args

from divsal_bench.leaderboard.audits.table import AuditRow, AuditTable, AuditValue, Reason
from divsal_bench.leaderboard.tables.wording import NONE
from divsal_bench.runs.audit_record import Block, Images, Metric, Quantity

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
#: Accuracy stands beside every block.
METHOD_AND_AUROCS = ("method", "in-domain", "open-set")


def method_and_aurocs(row: AuditRow) -> list[str]:
    """Method and mean AUROCs."""
    return [row.label, *(f"{one.cell.mean:.3f}" if one.cell.n else "n/a" for one in (row.in_domain, row.open_set))]


def quantity(block: Block, of: str, images: Images, metric: str) -> Quantity:
    """A key of :attr:`AuditRow.values`."""
    names: tuple[Metric, ...] = get_args(Metric)
    return Quantity(block=block, of=of, images=images, metric=names[names.index(metric)])  # type: ignore[arg-type]


def has_numbers(table: AuditTable, block: Block) -> bool:
    """Whether any method has numbers in a block."""
    return any(one.block == block for row in table.rows for one in row.values)


def number_of_row(table: AuditTable, row: AuditRow, block: Block, of: str, images: Images, metric: str) -> str:
    """One number, ``undefined``, or a dash where there was nothing to measure."""
    found = row.values.get(quantity(block, of, images, metric))
    if found is None:
        known = any(one.block == block and one.of in ("", of) and row.label in one.labels for one in table.reasons)
        return "undefined" if known else NONE
    return number_over_seeds(found, metric)


def number_over_seeds(value: AuditValue, metric: str) -> str:
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


def images_named(table: AuditTable, images: str) -> str:
    """A group of images, as minority or majority where the training classes are unbalanced."""
    found = class_role(table, images)
    return f"{images} ({found})" if found else images


def class_role(table: AuditTable, images: str) -> str:
    """``minority`` or ``majority`` of the training split; "" for other groups, and where neither class is."""
    minority = table.audits[0].minority
    if images not in ("negatives", "positives") or minority is None:
        return ""
    return "minority" if images == minority else "majority"


def image_count(value: AuditValue | None) -> str:
    """``27``, or ``3–6`` where seeds differ."""
    return NONE if value is None else smallest_to_largest((value.fewest, value.most))


def smallest_to_largest(counts: Iterator[int] | tuple[int, int]) -> str:
    """The smallest and the largest."""
    found = sorted(set(counts))
    return str(found[0]) if len(found) == 1 else f"{found[0]}–{found[-1]}"


def seed_count(row: AuditRow) -> str:
    """``10``, or ``9, 1 without``."""
    return f"{len(row.seeds)}, {row.unaudited} without" if row.unaudited else str(len(row.seeds))


def reasons_of_block(table: AuditTable, block: Block) -> list[str]:
    """What of a block is undefined, and the reason."""
    return [reason_sentence(table, one) for one in table.reasons if one.block == block]


def reason_sentence(table: AuditTable, one: Reason) -> str:
    """``difference: undefined …``, with the methods if not all."""
    names = "" if len(one.labels) == len(table.rows) else f"({', '.join(one.labels)})"
    about = " ".join(filter(None, (one.of, names)))
    return f"{f'{about}: ' if about else ''}{one.why}."
