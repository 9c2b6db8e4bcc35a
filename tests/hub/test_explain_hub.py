"""``explain`` of a network on the Hub: its images are those of the data on this machine."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hub_server import HubServer

from divsal_bench import cli
from divsal_bench.hub import names
from divsal_bench.runs.reading import read_runs
from divsal_bench.scores import scoring


def test_a_report_from_a_commit(hub: HubServer, pushed_runs: Path, tmp_path: Path) -> None:
    run = next(one for one in read_runs(pushed_runs) if one.spec.method == "cyborg" and one.spec.seed == 1)
    model = f"{names.repository('ann', run.record)}@seed-1"
    assert cli.main(["explain", model, "--set", "test", "--limit", "60", "--out", str(tmp_path)]) == 0
    table = pd.read_csv(tmp_path / "samples.csv").set_index("sample_id")
    stored = run.predictions().set_index("sample_id").loc[table.index]
    assert table["score"].to_numpy() == pytest.approx(scoring.margins(stored), rel=1e-5, abs=1e-5)
    assert run.record.run_id in (tmp_path / "report.html").read_text(encoding="utf-8")
