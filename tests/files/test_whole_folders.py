import subprocess
import sys
from pathlib import Path

import pytest

from divsal_bench.errors import UserError
from divsal_bench.files import owners, whole
from divsal_bench.files.whole import new_folder


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_the_old_folder_comes_back_when_the_last_step_fails(tmp_path, monkeypatch, error):
    monkeypatch.setattr(whole, "_exchange", lambda one, other: False)
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("old")
    rename = Path.rename

    def fail(path, target):
        if ".partial-" in path.name:
            raise error
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    expected = UserError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected), new_folder(out, replace=True) as aside:
        (aside / "new").write_text("new")
    assert list(tmp_path.iterdir()) == [out]
    assert (out / "old").read_text() == "old"


def dead_mark() -> str:
    """The mark of a process that is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    host, _, rest = owners.own_tag().partition("-")
    return f"{host}-{process.pid}-{rest.partition('-')[2]}"


def test_what_killed_processes_left_is_removed_and_only_that(tmp_path):
    out, dead, living = tmp_path / "out", dead_mark(), owners.own_tag()
    for name in (f".out.partial-{dead}", f".out.old-{dead}", f".out.partial-{living}", ".other.partial-1"):
        (tmp_path / name).mkdir()
    out.mkdir()
    with new_folder(out, replace=True) as aside:
        (aside / "new").write_text("new")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [".other.partial-1", f".out.partial-{living}", "out"]
    )


def test_a_folder_moved_away_by_a_killed_process_comes_back(tmp_path):
    out, old = tmp_path / "out", tmp_path / f".out.old-{dead_mark()}"
    old.mkdir()
    (old / "mine").write_text("mine")
    with pytest.raises(FileExistsError), new_folder(out):
        pass
    assert (out / "mine").read_text() == "mine"


def test_a_folder_that_appeared_meanwhile_is_not_touched(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(FileExistsError), new_folder(out):
        (out / "theirs").mkdir(parents=True)
    assert list(tmp_path.iterdir()) == [out]
    assert (out / "theirs").exists()


def test_a_link_to_a_folder_is_kept_and_its_target_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "old").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with new_folder(tmp_path / "link", replace=True) as aside:
        (aside / "new").write_text("")
    assert (tmp_path / "link").is_symlink()
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["new"]


REPLACE = """
import os, signal, sys
from pathlib import Path
from divsal_bench.files import whole
out, steps = Path(sys.argv[1]), int(sys.argv[2])
if steps >= 0:  # two renames, and killed after so many of them
    whole._exchange = lambda one, other: False
    rename = Path.rename
    def counted(path, target):
        global steps
        if steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        steps -= 1
        return rename(path, target)
    Path.rename = counted
print("ready", flush=True)
for number in range(int(sys.argv[3])):
    with whole.new_folder(out, replace=True) as aside:
        (aside / "content").write_text(str(number))
"""


def replacing(out: Path, steps: int, times: int) -> subprocess.Popen[str]:
    """A process of its own that replaces a folder."""
    command = [sys.executable, "-c", REPLACE, str(out), str(steps), str(times)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no exchange in one step")
def test_a_reader_finds_the_folder_at_every_moment_of_its_replacement(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "content").write_text("old")
    with replacing(out, -1, 300) as process:
        assert process.stdout.readline() == "ready\n"
        looks = 0
        while process.poll() is None:
            assert out.is_dir()
            looks += 1
    assert process.returncode == 0
    assert looks > 100
    assert (out / "content").read_text() == "299"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.skipif(sys.platform == "win32", reason="what a dead process left is not swept there")
@pytest.mark.parametrize(("steps", "content"), [(0, "old"), (1, "old")])
def test_what_a_process_killed_between_two_renames_moved_away_is_put_back(tmp_path, steps, content):
    out = tmp_path / "out"
    out.mkdir()
    (out / "content").write_text("old")
    with replacing(out, steps, 1) as process:
        process.wait()
    assert process.returncode == -9
    assert out.exists() == (steps == 0)
    assert whole.mend(out) == []
    assert (out / "content").read_text() == content
    assert list(tmp_path.iterdir()) == [out]
