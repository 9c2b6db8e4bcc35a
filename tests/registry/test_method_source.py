"""Digits for a method's code: edits are noticed, and what computes nothing changes none."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from divsal_bench.conformance import loading
from divsal_bench.contracts.method import Method
from divsal_bench.registry import method_source, plugins
from divsal_bench.registry.method_source import COMPUTES_THE_SAME, has_changed, source_hash

CODE = textwrap.dedent("""
    '''A method.'''
    from dataclasses import dataclass
    from math import tau as turn
    from typing import TYPE_CHECKING, ClassVar
    from divsal_bench.contracts.method import Guided

    if TYPE_CHECKING:
        from torch import Tensor

    SIGN = 1

    def helper(out):
        return SIGN * turn * out.cross_entropy  # the cross-entropy

    @dataclass
    class Mine(Guided):
        '''A method from outside.'''
        name: ClassVar[str] = "mine"
        kind: ClassVar[str] = "unguided"

        def loss(self, batch, out):
            '''The loss.'''
            return {"loss": helper(out)}
""")


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], type[Method]]:
    """Make a method of a file's text."""

    def made(text: str) -> type[Method]:
        (tmp_path / "mine.py").write_text(text, encoding="utf-8")
        return plugins.method_class(loading.load_file(tmp_path / "mine.py"))

    return made


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SIGN * ", "-SIGN * "),
        ("SIGN = 1", "SIGN = -1"),
        ("SIGN = 1", "SIGN = True"),
        ('"unguided"', '"one-cam"'),
        ("import tau as turn", "import pi as turn"),
        ("helper(out)}", "helper(out), 'other': out.cross_entropy}"),
    ],
)
def test_an_edit_anywhere_in_a_methods_file_is_noticed(load: Callable[[str], type[Method]], old: str, new: str) -> None:
    assert old in CODE
    before = source_hash(load(CODE))
    assert len(before) == 16
    assert not has_changed(load(CODE), before)
    assert not has_changed(load(CODE), "")
    assert has_changed(load(CODE.replace(old, new)), before)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  # the cross-entropy", ""),
        ("'''A method.'''", ""),
        ("'''The loss.'''", ""),
        ("'''A method from outside.'''", "'''Said otherwise.'''"),
        ("from divsal_bench.contracts.method import Guided", "from divsal_bench.contracts.method import Batch, Guided"),
        ("if TYPE_CHECKING:\n    from torch import Tensor\n", ""),
        ('{"loss": helper(out)}', "{\n            'loss': helper(out),\n        }"),
        ("SIGN = 1\n", "SIGN = 1\n\n\n\n"),
    ],
)
def test_what_computes_nothing_does_not_count(load: Callable[[str], type[Method]], old: str, new: str) -> None:
    assert old in CODE
    assert not has_changed(load(CODE.replace(old, new)), source_hash(load(CODE)))


def test_digits_are_of_the_methods_that_one_builds_on_and_not_of_the_contracts() -> None:
    found = plugins.methods().found
    assert [one.__name__ for one in method_source.built_on(found["cyborg-inverted"])] == ["CyborgInverted", "Cyborg"]
    assert [one.__name__ for one in method_source.built_on(found["margin"])] == ["Margin"]


@pytest.mark.parametrize("name", COMPUTES_THE_SAME)
def test_runs_of_earlier_versions_are_of_the_code_of_today(name: str) -> None:
    method = plugins.methods().get(name)
    today, *earlier = COMPUTES_THE_SAME[name]
    assert today == source_hash(method), "the method is edited: its line can go from COMPUTES_THE_SAME"
    assert [len(digits) for digits in earlier] == [16] * (len(earlier) - 2) + [12, 8]
    assert not any(has_changed(method, digits) for digits in earlier)
    for others in ("0123456789ab", "01234567", *COMPUTES_THE_SAME["cyborg" if name == "margin" else "margin"]):
        assert has_changed(method, others)


def test_runs_of_earlier_versions_are_not_of_the_code_of_an_edited_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method_source, "source_hash", lambda method: "0123456789abcdef")
    assert all(has_changed(plugins.methods().get("cyborg"), digits) for digits in COMPUTES_THE_SAME["cyborg"])


def test_an_outside_method_of_an_earlier_version_is_compared_by_its_text(load: Callable[[str], type[Method]]) -> None:
    file, text = method_source.hashed_files(load(CODE), str, 12), method_source.class_hash(load(CODE))
    assert (len(file), len(text)) == (12, 8)
    assert not has_changed(load(CODE), file)
    assert not has_changed(load(CODE), text)
    assert has_changed(load(CODE + "\n# edited\n"), file)
    assert has_changed(load(CODE.replace("helper(out)}", "-helper(out)}")), text)
