"""What was measured as tables for people, and as JSON and CSV for comparison over time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from divsal_bench.files import escaping
from divsal_bench.files.text_tables import fitted_table, wrapped_lines
from divsal_bench.timing.drawn import VALIDATION
from divsal_bench.timing.measuring import Measured, require_same_work, seconds_of
from divsal_bench.timing.pairs import quartiles_of
from divsal_bench.timing.parts import PARTS
from divsal_bench.timing.workers import EPOCHS

if TYPE_CHECKING:
    from divsal_bench.timing.arithmetic import Curve
    from divsal_bench.timing.pairs import Compared
    from divsal_bench.timing.parts import Watched
    from divsal_bench.timing.setting import Setting

#: Raised when the JSON changes in a way that older readers would misread.
SPEED_VERSION = 1


def setting_record(setting: Setting) -> dict[str, Any]:
    """What all contenders shared."""
    protocol = setting.protocol
    return {
        "backbone": setting.backbone, "protocol": protocol.name, "size": protocol.input_size,
        "batch": protocol.batch_size, "channels": setting.channels, "precision": protocol.precision,
        "channels_last": protocol.channels_last, "mapped": setting.mapped, "threads": protocol.threads,
        "pairs": setting.pairs,
    }  # fmt: skip


def compared_records(measured: Measured) -> list[dict[str, Any]]:
    """One row for each comparison."""
    return [
        {
            "section": one.section, "first": one.first, "second": one.second,
            "ratio": one.quartiles[1], "lower_quartile": one.quartiles[0], "upper_quartile": one.quartiles[2],
            "processor_ratio": quartiles_of(one.processor_ratios)[1] if one.processor_ratios else None,
            "first_ms": 1000 * seconds_of(one.first, [one]), "second_ms": 1000 * seconds_of(one.second, [one]),
            "pairs": len(one.times), "steps": one.turns * one.steps,
        }
        for one in measured.compared
    ]  # fmt: skip


def contender_records(measured: Measured) -> list[dict[str, Any]]:
    """One row for each contender: its speed over all its pairs, its memory, and the seconds of each part of a step."""
    images = {name: count for one in measured.compared
              for name, count in zip((one.first, one.second), one.images, strict=True)}  # fmt: skip
    found = []
    for one in measured.watched:
        seconds = seconds_of(one.name, measured.compared)
        found.append({
            "name": one.name, "images_per_second": images[one.name] / seconds, "ms": 1000 * seconds,
            "peak_mb": one.peak_mb, "part_ms": {part: 1000 * spent for part, spent in one.seconds.items()},
        })  # fmt: skip
    return found


def speed_record(setting: Setting, measured: Measured, facts: dict[str, Any]) -> dict[str, Any]:
    """Everything, for JSON."""
    return {
        "speed_version": SPEED_VERSION,
        "machine": facts,
        "setting": setting_record(setting),
        "comparisons": [
            row | {
                "ratios": list(one.ratios), "images": list(one.images),
                "seconds": [[time.wall for time in pair] for pair in one.times],
                "processor_seconds": [[time.processor for time in pair] for pair in one.times],
                "made_anew_for_each_pair": one.fresh, "gradients_apart": one.apart,
            }
            for row, one in zip(compared_records(measured), measured.compared, strict=True)
        ],
        "contenders": contender_records(measured),
        "curves": [{"name": one.name, "losses": list(one.losses), "auroc": one.auroc} for one in measured.curves],
    }  # fmt: skip


def render_speed(
    setting: Setting, measured: Measured, facts: dict[str, Any], form: str = "terminal", width: int | None = None
) -> str:
    """As ``terminal``, ``markdown``, ``csv`` (the ratios alone) or ``json`` (everything)."""
    if form == "json":
        return json.dumps(speed_record(setting, measured, facts), indent=1)
    rows = compared_records(measured)
    if form == "csv":
        return escaping.csv_text([list(rows[0]) if rows else ["section"], *(list(row.values()) for row in rows)])
    style, room = ("github", None) if form == "markdown" else ("simple", width)
    parts = [
        "\n".join(wrapped_lines(heading(setting, facts), room)),
        ratio_table(measured.compared, style, room),
        contender_table(measured, style, room),
    ]
    if measured.curves:
        parts.append(curve_table(measured.curves, style, room))
    parts += ["\n".join(wrapped_lines(note, room)) for note in notes(setting, measured)]
    return "\n\n".join(filter(None, parts))


def heading(setting: Setting, facts: dict[str, Any]) -> str:
    """What was timed, and on what."""
    protocol = setting.protocol
    threads = f"{protocol.threads} thread{'s' * (protocol.threads != 1)} of {facts['processors']}"
    return (
        f"{setting.backbone} at {protocol.input_size} px, {setting.channels} channel{'s' * (setting.channels != 1)}, "
        f"batches of {protocol.batch_size}, {protocol.name}, {protocol.precision}; {facts['device']}, "
        f"{facts['processor'] or 'processor unknown'} ({facts['instructions']}), {threads}; torch {facts['torch']}"
    )


def ratio_table(compared: Sequence[Compared], style: str, width: int | None) -> str:
    """Ratios of speed, with the quartiles over pairs."""
    rows = []
    for one in compared:
        low, middle, high = one.quartiles
        both = " / ".join(milliseconds(seconds_of(name, [one])) for name in (one.first, one.second))
        steps = one.turns * one.steps
        by_processor = f"{quartiles_of(one.processor_ratios)[1]:.3f}" if one.processor_ratios else ""
        pairs = f"{len(one.times)} × {steps}"
        rows.append((one.name, f"{middle:.3f}", f"{low:.3f}–{high:.3f}", by_processor, both, pairs))
    head = ("speed of", "ratio", "quartiles", "by CPU time", "ms", "pairs × steps")
    return fitted_table(rows, head, "lrrrrr", style, width)


def contender_table(measured: Measured, style: str, width: int | None) -> str:
    """Speed, memory and where the time goes."""
    rows = []
    for one, row in zip(measured.watched, contender_records(measured), strict=True):
        rows.append((
            one.name, f"{row['images_per_second']:,.1f}", milliseconds(row["ms"] / 1000),
            f"{one.peak_mb:,.0f}" if one.peak_mb else "", *shares(one),
        ))  # fmt: skip
    head = ("", "images/s", "ms", "MB", *PARTS.values())
    return fitted_table(rows, head, "lrrr" + "r" * len(PARTS), style, width)


def shares(one: Watched) -> list[str]:
    """Per cent of a step, by part; empty texts for what has no steps."""
    whole = sum(one.seconds.values())
    return [f"{100 * one.seconds[part] / whole:.1f}" if whole else "" for part in PARTS]


def curve_table(curves: Sequence[Curve], style: str, width: int | None) -> str:
    """What the choices of arithmetic do to a short training."""
    usual = curves[0]
    rows = [
        (
            one.name if one is not usual else "fp32, channels_last, plain optimiser",
            f"{one.last_loss:.4f}", "" if one is usual else f"{one.distance(usual):.4f}", f"{one.auroc:.4f}",
        )
        for one in curves
    ]  # fmt: skip
    head = (f"{len(usual.losses)} steps of training", "last loss", "difference of a step's loss", "validation AUROC")
    return fitted_table(rows, head, "lrrr", style, width)


def notes(setting: Setting, measured: Measured) -> list[str]:
    """What the tables do not say of themselves."""
    found = []
    if measured.compared:
        mapped = (
            "Every training image has" if setting.mapped == 100 else f"{setting.mapped} % of the training images have"
        )
        found.append(
            "ratio: images a second of the first over those of the second; median and quartiles over pairs, each of "
            "which is n steps of the one and of the other in turns. By CPU time: the same of this process's "
            f"processor time, which others on the machine lengthen less. ms: the median of all steps of each, which "
            f"a busy machine moves more than the ratio of pairs. {mapped} a human map."
        )
    if any(one.section == "evaluation" for one in measured.compared):
        found.append(f"A step of evaluation is a pass over {VALIDATION} images.")
    if any(one.section == "workers" for one in measured.compared):
        found.append(f"A step of workers is a grid of runs of {EPOCHS} epochs, their start-up included.")
    if setting.pairs < 9:
        found.append("Fewer than 9 pairs are for trying out only.")
    if measured.watched:
        where = "this process, with the data and all else" if setting.device.type == "cpu" else "the device"
        found.append(
            f"MB: most memory of {where}. data, forward, back (the loss and all gradients), update (the optimiser): "
            "per cent of steps that were watched, which the ratios are not made of."
        )
    return found + require_same_work(measured.compared)


def milliseconds(seconds: float) -> str:
    """With as many digits as mean something."""
    value = 1000 * seconds
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
