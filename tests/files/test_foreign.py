"""Files that may be anybody's."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from divsal_bench.files import foreign

pytestmark = pytest.mark.fast


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def terminal(path: Path) -> None:
    path.symlink_to("/dev/tty")


def listening(path: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(str(path))


IRREGULAR: dict[str, Callable[[Path], None]] = {
    "a pipe": pipe, "an endless device": device, "a terminal": terminal, "a socket": listening, "a folder": Path.mkdir,
}  # fmt: skip


@pytest.mark.parametrize("kind", IRREGULAR)
def test_what_is_no_regular_file_is_never_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    IRREGULAR[kind](Path("x"))
    for read in (foreign.read_bytes, foreign.read_json):
        with pytest.raises(ValueError, match="is not a regular file"):
            read(Path("x"))


def test_nothing_can_take_a_files_place_between_the_look_and_the_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"1")
    found = file.stat()
    file.unlink()
    os.mkfifo(file)
    monkeypatch.setattr(Path, "stat", lambda path, **_: found)
    with pytest.raises(ValueError, match="is not a regular file"):
        foreign.read_bytes(file)


def test_a_file_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1234")
    assert foreign.read_bytes(tmp_path / "x", 4) == b"1234"
    with pytest.raises(ValueError, match="has more than 3 bytes"):
        foreign.read_bytes(tmp_path / "x", 3)
    with pytest.raises(FileNotFoundError):
        foreign.read_bytes(tmp_path / "y")


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, "{", "\udcff", '"\\', "9" * 5000])
def test_json_that_is_none_is_one_kind_of_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ValueError):  # noqa: PT011
        foreign.read_json(tmp_path / "x")
