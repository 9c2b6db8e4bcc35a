"""Audits over seeds: cells, what is undefined, and how it is written."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from parsed_html import parse
from scipy import stats

from divsal_bench.errors import UserError
from divsal_bench.leaderboard.audits import blocks, cells, columns, render
from divsal_bench.leaderboard.audits import table as audit
from divsal_bench.leaderboard.tables import board, schema
from divsal_bench.leaderboard.web.page import render_page
from divsal_bench.runs.audit_record import Audit, AuditSettings, Number, Quantity, Undefined
from divsal_bench.runs.reading import Run
from divsal_bench.runs.records import DataFacts, Record, Spec
from divsal_bench.scores.schema import Scores

pytestmark = pytest.mark.fast

EMPTY = Scores(
    primary="open-set", validation=None, in_domain=0.9, open_set=0.7, worst=0.6, conditions=[], field_metrics=[],
    thresholds=[], true_cam=None, difference_map=None,
)  # fmt: skip
LIFT = cells.quantity("energy", "difference", "all", "lift")
DROP = cells.quantity("fidelity", "difference", "all", "drop")
SHARE = cells.quantity("decision", "head", "all", "common_share")


def a_run(method: str = "cyborg", seed: int = 0, in_domain: float = 0.9, head: str = "two-logit") -> Run:
    spec = Spec(
        task="cxr", task_version=1, data="cxr", data_fingerprint="f" * 64, method=method, method_version=1, fields={},
        backbone="resnet10t", weights="scratch", head=head, protocol="quick-v1", protocol_settings={}, seed=seed,  # type: ignore[arg-type]
    )  # fmt: skip
    record = Record(
        run_id=spec.run_id, status="done", method_label=method,
        method_kind="unguided" if method == "cross-entropy" else "one-cam", spec=spec,
        data=DataFacts(kind="folder", revision="", pixel_hash="", train=1, validation=1, test=1, train_maps=0),
        scores=EMPTY.model_copy(update={"in_domain": in_domain}),
    )  # fmt: skip
    return Run(Path(f"runs/cxr/{method}/seed{seed}-{spec.run_id}"), record)


def an_audit(
    run: Run,
    numbers: dict[Quantity, float | None],
    undefined: tuple[tuple[str, str, str], ...] = (),
    settings: AuditSettings | None = None,
    count: int = 27,
    minority: str | None = "positives",
) -> Audit:
    return Audit(
        settings=settings or AuditSettings(), run_id=run.record.run_id, fingerprint="f" * 64, weights_sha256="0" * 64,
        engine_version=1, versions={}, grid=(8, 8), train_counts=(60, 40), test=(50, 70), maps=(0, 27), correct=80,
        sampled=20, covered=20, minority=minority, sensitivity_cells=(157, (56, 56)), fidelity_cells=32,  # type: ignore[arg-type]
        numbers=[Number(quantity=quantity, value=value, count=count) for quantity, value in numbers.items()],
        undefined=[Undefined(block=block, of=of, why=why) for block, of, why in undefined],  # type: ignore[arg-type]
    )  # fmt: skip


def audited(values: list[float | None], method: str = "cyborg") -> list[audit.Audited]:
    runs = [a_run(method, seed) for seed in range(len(values))]
    return [(run, an_audit(run, {LIFT: value, DROP: 0.25})) for run, value in zip(runs, values, strict=True)]


def test_a_cell_is_the_mean_with_its_t_interval_over_seeds() -> None:
    lifts = [1.0, 1.5, 2.6]
    (table,) = audit.audit_tables(audited([*lifts]))
    (row,) = table.rows
    found = row.values[LIFT]
    low, high = stats.t.interval(0.95, 2, np.mean(lifts), stats.sem(lifts))
    assert (found.cell.mean, found.cell.n, found.missing) == (pytest.approx(1.7), 3, 0)
    assert (found.cell.low, found.cell.high) == (pytest.approx(low), pytest.approx(high))
    assert (row.in_domain.cell.mean, row.open_set.cell.mean) == (pytest.approx(0.9), pytest.approx(0.7))
    text = render.render_audits([table], "terminal")
    assert "1.70" in text
    assert f"[0.00, {high:.2f}]" in text, "a lift is never below 0"
    assert "n = 3 seeds" in text
    assert "*" not in text.replace("…", "")


def test_seeds_without_a_number_are_counted_and_none_is_undefined() -> None:
    (table,) = audit.audit_tables(audited([1.0, None, 2.0]))
    assert cells.number_over_seeds(table.rows[0].values[LIFT], "lift").startswith("1.50 (2/3)")
    assert "(7/10): only so many of the seeds have the number." in blocks.audit_notes(table)
    (none,) = audit.audit_tables(audited([None, None]))
    assert cells.number_over_seeds(none.rows[0].values[LIFT], "lift") == "undefined"


def test_a_reason_names_the_methods_it_holds_for() -> None:
    plain, odd = a_run("cross-entropy"), a_run("cyborg")
    why = ("fooling", "", "undefined for a one-logit head")
    (table,) = audit.audit_tables([(plain, an_audit(plain, {SHARE: 0.3})), (odd, an_audit(odd, {SHARE: 0.4}, (why,)))])
    assert table.reasons == (audit.Reason(*why, ("cyborg",)),)
    assert cells.reasons_of_block(table, "fooling") == ["(cyborg): undefined for a one-logit head."]


def test_rows_stand_in_the_order_of_the_board_and_runs_without_an_audit_are_counted() -> None:
    found = [
        *audited([1.0, 2.0]),
        *audited([3.0], "cross-entropy"),
        (a_run("cyborg", 7), None),
        (a_run("margin"), None),
    ]
    (table,) = audit.audit_tables(found)
    assert [(row.label, row.seeds, row.unaudited) for row in table.rows] == [
        ("cross-entropy", (0,), 0),
        ("cyborg", (0, 1), 1),
    ]
    assert "Runs without an audit: cyborg (1), margin (1)." in blocks.audit_notes(table)
    assert audit.audit_tables([(a_run(), None)]) == []


def test_what_does_not_belong_together_is_refused() -> None:
    one, two = audited([1.0, 2.0])
    with pytest.raises(UserError, match="seed 0 of cyborg is there twice"):
        audit.audit_tables([one, one])
    run = two[0]
    other = an_audit(run, {LIFT: 1.0}, settings=AuditSettings(k=10))
    with pytest.raises(UserError, match="differ in their settings"):
        audit.audit_tables([one, (run, other)])
    heads = [a_run(), a_run(head="one-logit")]
    assert len(audit.audit_tables([(run, an_audit(run, {LIFT: 1.0})) for run in heads])) == 2


def test_the_settings_that_most_runs_share_are_taken() -> None:
    runs = [a_run(seed=seed) for seed in range(3)]
    other = AuditSettings(k=10)
    found = [
        (runs[0], [an_audit(runs[0], {LIFT: 1.0}), an_audit(runs[0], {LIFT: 9.0}, settings=other)]),
        (runs[1], [an_audit(runs[1], {LIFT: 9.0}, settings=other)]),
        (runs[2], []),
    ]
    chosen = audit.with_common_settings(found)
    assert [one.settings.k if one else None for _, one in chosen] == [10, 10, None]
    tied = audit.with_common_settings(found[:1])
    assert [one.settings.k for _, one in tied if one] == [5], "ties go to the usual ones"


def test_minority_and_majority_are_named() -> None:
    run = a_run()
    quantities = {cells.quantity("decision", "decision", images, "error"): 0.1 for images in ("all", "negatives")}
    (table,) = audit.audit_tables([(run, an_audit(run, quantities))])  # type: ignore[arg-type]
    assert "error, negatives (majority)" in blocks.decision_block(table).headers
    rows = list(csv.DictReader(io.StringIO(render.render_audits([table], "csv"))))
    assert [row["role"] for row in rows if row["metric"] == "error"] == ["", "majority"]
    (table,) = audit.audit_tables([(run, an_audit(run, quantities, minority=None))])  # type: ignore[arg-type]
    assert "error, negatives" in blocks.decision_block(table).headers
    assert "no class is the minority" in blocks.decision_block(table).notes[0]


def test_blocks_without_numbers_say_why() -> None:
    run = a_run()
    why = ("energy", "", "the test split has no human maps")
    (table,) = audit.audit_tables([(run, an_audit(run, {DROP: 0.2}, (why,)))])
    text = render.render_audits([table], "terminal")
    assert "Energy\n\n  the test split has no human maps." in text
    assert "lift" not in text.split("Decision")[0]
    assert "0.200" in text


def test_csv_is_long_and_json_has_the_same_numbers() -> None:
    tables = audit.audit_tables([*audited([1.0, 2.0]), *audited([3.0, None], "cross-entropy")])
    rows = list(csv.DictReader(io.StringIO(render.render_audits(tables, "csv"))))
    lifts = {row["method"]: row for row in rows if row["metric"] == "lift"}
    assert (float(lifts["cyborg"]["mean"]), lifts["cyborg"]["n"]) == (1.5, "2")
    assert (lifts["cross-entropy"]["n"], lifts["cross-entropy"]["missing"]) == ("1", "1")
    assert lifts["cross-entropy"]["sd"] == ""
    (content,) = json.loads(render.render_audits(tables, "json"))
    assert len(content["numbers"]) == len(rows)
    assert content["numbers"][-1]["method"] == "cyborg"
    assert render.render_audits([], "csv") == ""


def of_board(group: tuple[str, ...]) -> schema.Table:
    """The board's table of the same runs, without statistics."""
    metric = board.metric({})
    rows = tuple(
        schema.Row(
            label=label, kind="one-cam", seeds=(0, 1), failed=0, diverged=0, rank=None, in_domain=metric,
            open_set=metric, worst=metric, difference=None, marks=(), true_cam=None, difference_map=None, maps=(0, 0),
            conditions=(), field_metrics=(), seconds=1.0, peak_mb=0.0, standing=None,
        )
        for label in ("cyborg", "margin")
    )  # fmt: skip
    task, fingerprint, protocol, backbone, head, digest = group
    return schema.Table(
        task, "cxr", fingerprint, protocol, backbone, head, digest, "open-set", False, "", (), rows, (), ()
    )  # fmt: skip


def test_the_board_shows_audit_columns_and_names_the_command_for_the_rest() -> None:
    found = audited([1.0, 2.0])
    tables, audits = [of_board(found[0][0].spec.group)], audit.audit_tables([*found, (a_run("margin"), None)])
    text = columns.render_with_audits(tables, audits, "terminal")
    assert "1.50" in text
    assert "Runs without an audit: margin; `divsal-bench audit RUNS` makes them." in text
    rows = list(csv.DictReader(io.StringIO(columns.render_with_audits(tables, audits, "csv"))))
    assert [(row["method"], row["audit_lift"], row["audit_lift_n"]) for row in rows] == [
        ("cyborg", "1.5", "2"),
        ("margin", "", "0"),
    ]
    (content,) = json.loads(columns.render_with_audits(tables, audits, "json"))
    assert content["rows"][0]["audit"]["audit_lift"] == 1.5
    assert "| audit" in columns.render_with_audits(tables, audits, "markdown")
    with pytest.raises(UserError, match="not written as LaTeX"):
        columns.render_with_audits(tables, audits, "latex")


def test_the_page_has_the_block_only_when_asked_and_escapes_what_it_is_given() -> None:
    found = audited([1.0, 2.0])
    hostile = "<script>alert(1)</script>"
    odd = [(run, one.model_copy(update={"undefined": [Undefined(block="fooling", of="", why=hostile)]}))
           for run, one in found if one]  # fmt: skip
    tables = [of_board(found[0][0].spec.group)]
    page = render_page(tables, {}, audits=audit.audit_tables(odd))
    assert hostile not in page
    assert "&lt;script&gt;alert" in page
    assert "1.50" in parse(page).text
    assert ">Audit</h3>" not in render_page(tables, {})
