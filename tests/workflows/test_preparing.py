"""Preparing and checking data from Python: typed results, and nothing printed."""

from __future__ import annotations

from pathlib import Path

import pytest
from delivered import Delivered

from divsal_bench.data import catalogue
from divsal_bench.errors import UserError
from divsal_bench.workflows.preparing import check_data, prepare

pytestmark = pytest.mark.fast


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIVSAL_BENCH_HOME", str(tmp_path / "home"))
    return Delivered(tmp_path / "delivered").save()


def test_what_is_prepared_is_found_by_its_task(source: Path, capfd: pytest.CaptureFixture[str]) -> None:
    steps: list[tuple[int, int]] = []
    done = prepare("cxr", source, on_row=lambda *step: steps.append(step))
    assert done.path == catalogue.default_folder("cxr")
    assert steps[-1] == (len(done.rows), len(done.rows))
    report = check_data("cxr", on_row=lambda *step: steps.append(step))
    assert report.ok
    assert (report.task, report.fingerprint, report.counts) == ("cxr", done.fingerprint, done.counts)
    assert check_data(str(done.path)).fingerprint == done.fingerprint
    assert capfd.readouterr() == ("", "")


def test_it_is_written_where_it_is_asked_for(source: Path, tmp_path: Path) -> None:
    assert prepare("cxr", source, out=tmp_path / "here").path == tmp_path / "here"
    assert not catalogue.default_folder("cxr").exists()
    with pytest.raises(UserError, match="add --force"):
        prepare("cxr", source, out=tmp_path / "here")
    prepare("cxr", source, out=tmp_path / "here", force=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "cxy"}, "unknown task 'cxy'"),
        ({"adapter": "manifest"}, "unknown adapter 'manifest'"),
        ({"options": {"windw": "12bit"}}, "unknown option of the adapter manifest-csv 'windw'"),
    ],
)
def test_names_are_checked(source: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        prepare(**{"task": "cxr", "source": source, **arguments})  # type: ignore[arg-type]


def test_what_is_wrong_is_in_the_report(source: Path) -> None:
    done = prepare("cxr", source)
    shard = next((done.path / "data").glob("test-*.parquet"))
    shard.write_bytes(shard.read_bytes() + b"x")
    report = check_data("cxr")
    assert not report.ok
    assert "was changed after preparing" in report.problems[0]
