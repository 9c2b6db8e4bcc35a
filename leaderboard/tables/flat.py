"""A table flat: one record a method, its numbers unrounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from divsal_bench.files import escaping
from divsal_bench.leaderboard.sheets.scored import Metric
from divsal_bench.leaderboard.statistics import families
from divsal_bench.leaderboard.tables.schema import MethodRow, Table


def records_csv(records: Sequence[dict[str, Any]]) -> str:
    """Records with the same columns as CSV, empty where there is no number; nothing without records."""
    if not records:
        return ""
    values = [["" if is_missing(one[name]) else one[name] for name in records[0]] for one in records]
    return escaping.csv_text([list(records[0]), *values])


def is_missing(value: Any) -> bool:
    """Whether there is no number: None or NaN."""
    return value is None or value != value


def method_record(table: Table, one: MethodRow) -> dict[str, Any]:
    """Unrounded numbers; None or NaN where there is none."""
    content: dict[str, Any] = {
        "task": table.task,
        "data": table.data,
        "fingerprint": table.fingerprint,
        "protocol": table.protocol,
        "backbone": table.backbone,
        "head": table.head,
        "primary": table.primary,
        "method": one.label,
        "kind": one.kind,
        "n": len(one.seeds),
        "failed": one.failed,
        "diverged": one.diverged,
        "marks": "; ".join(one.marks),
        "rank_low": one.rank.low if one.rank else None,
        "rank_high": one.rank.high if one.rank else None,
        "unranked": one.unranked,
        "identical_to": one.identical_to,
        "worst_mark": one.worst_mark,
    }
    for name in ("in_domain", "open_set", "worst"):
        metric: Metric = getattr(one, name)
        content |= {
            name: metric.seeds.mean,
            f"{name}_sd": metric.seeds.sd,
            f"{name}_t_low": metric.seeds.low,
            f"{name}_t_high": metric.seeds.high,
            f"{name}_population_low": metric.population.low if metric.population else None,
            f"{name}_population_high": metric.population.high if metric.population else None,
        }
    test = next((t for t in table.tests if t.second == families.BASELINE and t.first == one.label), None)
    found, left = one.difference, one.survivors
    content |= {
        "difference": found.difference if found else None,
        "difference_low": found.low if found else None,
        "difference_high": found.high if found else None,
        "p": test.comparison.p if test else None,
        "p_holm": test.p_holm if test else None,
        "family_size": test.family_size if test else None,
        "effective_subjects": test.comparison.subjects if test else None,
        "withheld": table.withheld or (test.withheld if test else ""),
        "smallest_visible_effect": test.smallest_effect if test else None,
        "smallest_visible_effect_low": test.smallest_low if test else None,
        "smallest_visible_effect_high": test.smallest_high if test else None,
        "survivors_only": f"{left.seeds} of {left.asked} seeds" if left else "",
        "survivors_open_set": left.open_set.mean if left else None,
        "survivors_in_domain": left.in_domain.mean if left else None,
        "lift_true": one.true_cam.lift.mean if one.true_cam else None,
        "lift_difference": one.difference_map.lift.mean if one.difference_map else None,
        "maps_negative": one.maps[0],
        "maps_positive": one.maps[1],
        "train_rows": table.train,
        "train_maps": table.train_maps,
        "test_subjects": table.test_subjects,
        "single_row_subjects": table.single_subjects,
        "subjects_by_condition": "; ".join(
            f"{c.name}: {c.positives} + {c.negatives}, K {c.effective:.1f}, largest share {c.largest_share:.3f}"
            for c in table.subjects
        ),
        "subject_share": table.subject_share,
        "seconds": one.seconds,
        "peak_mb": one.peak_mb,
    }
    return content
