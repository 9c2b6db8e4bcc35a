"""Files that appear whole or not at all, and what killed commands leave: whose it is, who ignores it, who sweeps it."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from divsal_bench import cli
from divsal_bench.errors import UserError
from divsal_bench.files import owners, whole
from divsal_bench.grid import planning, work
from divsal_bench.hub import link
from divsal_bench.registry import method_choice, protocols
from divsal_bench.runs.reading import read_runs

ROOT = Path(__file__).resolve().parents[2]
TINY = dataclasses.replace(
    protocols.find_protocol("quick-v1"),
    epochs=1,
    input_size=32,
    backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
)
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with five runs of one method: as many as a submission needs."""
    folder = tmp_path_factory.mktemp("runs")
    methods = tuple(method_choice.choose_methods("cross-entropy"))
    for job in planning.plan(planning.Grid(("cxr",), methods, tuple(range(5)), folder, TINY, data="standin"))[0].jobs:
        work.execute(job)
    return folder


@pytest.fixture(scope="module")
def run(out: Path) -> Path:
    return sorted((out / "cxr/cross-entropy").iterdir())[0]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)).save(path)
    return path


def unfinished(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob(".*") if whole.is_aside(path.name))


def dead_mark() -> str:
    """The mark of a process of this host that is gone."""
    code = "from divsal_bench.files import owners; print(owners.own_tag())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def write_half(path: Path) -> None:
    with whole.new_file(path) as aside:
        aside.write_bytes(b"half")
        raise ZeroDivisionError


def test_a_file_is_whole_or_as_before(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)  # the longest name there can be
    whole.write(path, b"one")
    with pytest.raises(ZeroDivisionError):
        write_half(path)
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]
    whole.write(path, b"two")
    assert path.read_bytes() == b"two"


@posix
def test_only_files_are_replaced(tmp_path: Path) -> None:
    """Root could replace /dev/stdout by a rename, and a pipe's reader would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "device").symlink_to("/dev/null")
    for name in ("pipe", "folder", "device"):
        with pytest.raises(UserError, match="no file; give another"):
            whole.write(tmp_path / name, b"x")
    assert (tmp_path / "device").is_symlink()
    assert not unfinished(tmp_path)


def test_writing_is_all_or_nothing(tmp_path: Path) -> None:
    kept, blocked = tmp_path / "kept", tmp_path / "folder"
    kept.write_bytes(b"old")
    number = kept.stat().st_ino
    (blocked / "inside").mkdir(parents=True)
    with pytest.raises(UserError, match=r"folder cannot be written \(.*\); free some space or pray"):
        whole.write_files({kept: b"new", tmp_path / "a/b/c": b"1", blocked: b"2"}, "pray")
    assert kept.read_bytes() == b"old"
    assert kept.stat().st_ino == number, "put back by a rename: a full disk has no space for a copy"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "kept"]
    shutil.rmtree(blocked)
    whole.write_files({kept: b"new", tmp_path / "a/b/c": b"1"}, "pray")
    assert kept.read_bytes() == b"new"


@posix
def test_a_disk_that_fills_up_leaves_everything_as_it_was(tmp_path: Path) -> None:
    """With a real limit on the size of files, which any of the three may be the first to reach."""
    script = (
        "import resource, signal, sys\nfrom pathlib import Path\nfrom divsal_bench.files import whole\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "root, large = Path(sys.argv[1]), int(sys.argv[2])\n"
        "whole.write_files({root / f'{i}': b'x' * (100_000 if i == large else 10) for i in range(3)}, 'pray')"
    )
    folder = tmp_path
    for i in range(3):
        (folder / f"{i}").write_bytes(b"old")
    for large in range(3):
        done = subprocess.run(
            [sys.executable, "-c", script, str(folder), str(large)], capture_output=True, text=True, check=False
        )
        assert "cannot be written" in done.stderr
        assert [(folder / f"{i}").read_bytes() for i in range(3)] == [b"old"] * 3
        assert not list(folder.glob(".*"))


def test_what_a_dead_process_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    mark = dead_mark()
    dead = [tmp_path / f".partial-{mark}", tmp_path / f".partial-{mark}-3", tmp_path / f".cxr.partial-{mark}"]
    for path in dead[:2]:
        path.write_bytes(b"x")
    (dead[2] / "data").mkdir(parents=True)
    other_host = "0" * 8 + mark[8:]
    kept = [
        tmp_path / f".partial-{owners.own_tag()}", tmp_path / f".partial-{other_host}", tmp_path / ".partial-",
        tmp_path / f".cxr.old-{mark}", tmp_path / f"partial-{mark}", tmp_path / ".hidden", tmp_path / ".partial-x.png",
    ]  # fmt: skip
    for path in kept:
        path.write_bytes(b"x")
    assert sorted(whole.sweep([tmp_path, tmp_path, tmp_path / "nowhere"])) == sorted(dead)
    assert sorted(tmp_path.iterdir()) == sorted(kept)


#: A command that is killed when it writes its first file through to the disk.
KILLED = """
import os, signal, sys
from divsal_bench import cli
calls = int(sys.argv.pop(1))
def kill(number):
    global calls
    calls -= 1
    if calls < 0:
        os.kill(os.getpid(), signal.SIGKILL)
os.fsync = kill
sys.exit(cli.main(sys.argv[1:]))
"""


@posix
@pytest.mark.parametrize(
    "command",
    [
        "predict {run} {image} --csv {here}/scores.csv",
        "predict {run} {image} --overlay {here}",
        "explain {run} {image} --out {here} --csv",
        "explain {run} --set test --limit 8 --out {here}",
        "audit {run} --images 8 --workers 0",
        "board {out} --html {here}/page.html",
        "submit {out} --by me --results {here}",
        "board --recompute --results {here}",
    ],
)
@pytest.mark.slow
def test_after_kill_9_the_same_command_cleans_up_and_says_so(
    out: Path, run: Path, image: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the real signal, in the middle of writing."""
    here = tmp_path / "here"
    here.mkdir()
    mine = tmp_path / "runs"
    shutil.copytree(out, mine)
    places = {"run": mine / run.relative_to(out), "out": mine, "here": here, "image": image}
    arguments = [part.format(**places) for part in command.split()]
    if "--recompute" in arguments:
        assert cli.main(["submit", str(mine), "--by", "me", "--results", str(here)]) == 0
    before = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")}
    for calls in (0, 1) if arguments[0] in ("submit", "explain") else (0,):
        done = subprocess.run([sys.executable, "-c", KILLED, str(calls), *arguments], capture_output=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
    left = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")} - before
    assert any(whole.is_aside(path.name) for path in left), "nothing was left: the kill came at the wrong time"
    assert all(any(whole.is_aside(part) for part in path.parts) or (tmp_path / path).is_dir() or calls
               for path in left), left  # fmt: skip
    capsys.readouterr()
    if calls:
        arguments += ["--force"]
    assert cli.main(arguments) == 0
    assert "which a killed command had left unfinished" in capsys.readouterr().err
    assert not unfinished(tmp_path)


@posix
def test_the_link_that_a_push_leaves_is_whole(run: Path, tmp_path: Path) -> None:
    code = """
        import os, signal
        os.fsync = lambda number: os.kill(os.getpid(), signal.SIGKILL)
        import sys
        from pathlib import Path
        from divsal_bench.hub import link
        link.leave_link(Path(sys.argv[1]), link.Link("me/x", "0" * 40, "0" * 64))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(unfinished(tmp_path)) == 1
    assert link.read_link(tmp_path) is None
    assert len(whole.sweep([tmp_path])) == 1


def test_unfinished_runs_are_no_runs(out: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Work in progress in ``.partial`` is neither counted nor taken for the one run of a folder."""
    shutil.copytree(run, tmp_path / ".partial" / f"{owners.own_tag()}-new")
    shutil.copytree(run, tmp_path / ".partial/a/b")
    assert read_runs(tmp_path) == []
    for arguments in (["board", str(tmp_path)], ["verify", str(tmp_path)], ["audit", str(tmp_path)]):
        assert cli.main(arguments) == 2
        assert "holds no finished run" in capsys.readouterr().err
    assert cli.main(["predict", str(tmp_path), str(run)]) == 2
    capsys.readouterr()
    assert cli.main(["status", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""


def test_git_ignores_what_is_unfinished() -> None:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    names = [
        f"leaderboard/results/cxr/2d1f6884/.partial-{owners.own_tag()}-0",
        f"leaderboard/results/.partial-{owners.own_tag()}",
        f"data/.cxr.partial-{owners.own_tag()}/data/test-00000.parquet",
    ]
    done = subprocess.run(["git", "check-ignore", *names], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == names


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of four megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=2000", "tmpfs", str(place)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a disk cannot be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as file:
        while True:
            try:
                file.write(b"x" * 4096)
            except OSError:
                return


@pytest.mark.parametrize(
    "command",
    [
        "predict {run} {image} --csv {disk}/kept",
        "predict {run} {image} --overlay {disk}",
        "explain {run} {image} --out {disk} --csv",
        "explain {run} --set test --limit 8 --out {disk}",
        "board {out} --html {disk}/kept",
        "submit {out} --by me --results {disk}/results",
    ],
)
def test_a_full_disk_is_one_line_and_leaves_what_was_there(
    disk: Path, out: Path, run: Path, image: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (disk / "kept").write_bytes(b"before")
    fill(disk)
    places = {"run": run, "out": out, "disk": disk, "image": image}
    force = [] if command.startswith(("board", "submit")) else ["--force"]
    assert cli.main([part.format(**places) for part in command.split()] + force) == 2
    said = capsys.readouterr().err
    assert "No space left on device" in said
    assert said.count("\n") == 1
    assert (disk / "kept").read_bytes() == b"before"
    assert sorted(path.name for path in disk.iterdir()) == ["filler", "kept"]


@pytest.mark.parametrize(("trouble", "workers"), [("full", "0"), ("read-only", "2")])
def test_an_audit_that_cannot_be_kept_is_shown_and_said(
    disk: Path, out: Path, trouble: str, workers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in sorted((out / "cxr/cross-entropy").iterdir())[:2]:
        shutil.copytree(folder, disk / "cxr/cross-entropy" / folder.name)
        for kept in (disk / "cxr/cross-entropy" / folder.name).glob("audit-*.json"):
            kept.unlink()
    if trouble == "full":
        fill(disk)
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert cli.main(["audit", str(disk), "--images", "8", "--workers", workers]) == 2
    said = capsys.readouterr()
    assert "Energy of the true-class CAM" in said.out
    last = said.err.splitlines()[-1]
    assert last.startswith("divsal-bench: 2 audits of 2 could not be kept beside the run: ")
    assert ("No space left on device" if trouble == "full" else "Read-only file system") in last
    assert not unfinished(disk)


@posix
@pytest.mark.slow
def test_the_workers_of_a_killed_audit_end_with_it(out: Path, tmp_path: Path) -> None:
    import time

    shutil.copytree(out, tmp_path / "runs")
    command = [sys.executable, "-m", "divsal_bench", "audit", str(tmp_path / "runs"), "--workers", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as audit:
        assert audit.stderr is not None
        for line in audit.stderr:
            if line.startswith("[1/5]"):
                break
        children = [int(pid) for pid in Path(f"/proc/{audit.pid}/task/{audit.pid}/children").read_text().split()]
        assert len(children) >= 2
        audit.kill()
    end = time.monotonic() + 20
    while any(alive(pid) for pid in children) and time.monotonic() < end:
        time.sleep(0.1)
    assert not [pid for pid in children if alive(pid)]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False
