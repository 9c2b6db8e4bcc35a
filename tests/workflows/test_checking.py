"""The check of a plugin, as Python users call it."""

from __future__ import annotations

from pathlib import Path

import pytest

from divsal_bench.conformance.checks import Outcome
from divsal_bench.errors import UserError
from divsal_bench.workflows import checking


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_what_is_found_is_told_as_it_is_known_and_returned(capfd: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text("TASK = 'cxr'", encoding="utf-8")
    told: list[Outcome] = []
    said: list[str] = []
    found = checking.check_plugin("mine.py", on_outcome=told.append, say=said.append)
    assert list(found.outcomes) == told
    assert (found.passed, found.failed, found.total) == (0, 1, 0)
    assert "TASK must be a divsal_bench.contracts.task.Task, not str" in found.outcomes[0].problem
    assert said == ["checking mine.py runs its code"]
    assert capfd.readouterr() == ("", "")


def test_what_stops_at_a_stage_says_how_many_checks_there_are() -> None:
    code = "from divsal_bench.contracts.method import Guided\nclass Mine(Guided):\n    name = 'mine'\n"
    Path("mine.py").write_text(code, encoding="utf-8")
    found = checking.check_plugin("mine.py")
    assert [outcome.name for outcome in found.outcomes] == ["contract"]
    assert found.total > 20


def test_what_is_no_plugin_is_refused() -> None:
    with pytest.raises(UserError, match="Did you mean 'cyborg'"):
        checking.check_plugin("cybrog")
