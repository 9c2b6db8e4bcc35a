"""Every command in the states that people meet it in: little there, nothing there, the wrong thing there."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import pty
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
from PIL import Image

from divsal_bench import cli
from divsal_bench.cli import parser, tables
from divsal_bench.grid import planning, work
from divsal_bench.registry import method_choice, protocols

TINY = dataclasses.replace(
    protocols.find_protocol("quick-v1"),
    epochs=1,
    input_size=32,
    backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
)
#: What no sentence may hold. A count of one with a plural, counts of nothing as if they were something, Python's words.
BAD = [
    r"\b1 (?:runs|seeds|methods|workers|images|tasks|results|tables|audits|margins|AUROCs|problems|warnings|maps of)\b",
    r"Traceback", r"\[Errno", r"\bNone\b", r"\bnan\b", r"validation errors? for", r"\\u20", r"PosixPath", r"<class",
    r"divsal-bench: [a-z]+ has no result to verify: it failed \(it broke\)\Z", r"divsal-bench:  ", r"\bof 0 of\b",
    r"\(\)", r"pydantic", r"should match pattern",
]  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folders: one run of one method, one on data without maps, a failed one, none; and what is no folder."""
    here = tmp_path_factory.mktemp("world")
    draw(here / "my pictures")
    cli.main(["data", "prepare", "cxr", "--source", str(here / "my pictures/manifest.csv"),
              "--out", str(here / "no maps")])  # fmt: skip
    train(here / "one", "standin")
    train(here / "nomaps", str(here / "no maps"))
    shutil.copytree(here / "one", here / "failed")
    (record,) = (here / "failed").rglob("run.json")
    content = json.loads(record.read_text()) | {"status": "failed", "error": "it broke", "scores": None}
    record.write_text(json.dumps(content))
    (here / "empty").mkdir()
    (here / "afile").write_text("x")
    os.mkfifo(here / "pipe")
    os.mkfifo(here / "pipe.csv")
    os.mkfifo(here / "pipe.py")
    os.mkfifo(here / "pipe.png")
    return here


def draw(folder: Path) -> None:
    """A delivery without human maps."""
    folder.mkdir()
    lines = ["image,label,split,source,subject,saliency,saliency_kind"]
    rng = np.random.default_rng(0)
    plan = [("train", "a", 8), ("validation", "a", 8), ("test", "a", 8), ("test", "b", 8)]
    for split, source, count in plan:
        for label in ("normal", "abnormal") * count:
            name = f"{len(lines)}.png"
            Image.fromarray(rng.integers(0, 256, (32, 32), np.uint8)).save(folder / name)
            lines.append(f"{name},{label},{split},{source},p{len(lines)},,none")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")


def train(out: Path, data: str) -> None:
    methods = tuple(method_choice.choose_methods("cross-entropy"))
    for job in planning.plan(planning.Grid(("cxr",), methods, (0,), out, TINY, data=data))[0].jobs:
        work.execute(job)


Run = Callable[[list[str]], tuple[int, str, str]]


@pytest.fixture
def command(world: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A command in this process, in the world; one that waits for ever is a failure."""
    monkeypatch.chdir(world)

    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError("the command waits for ever")

    before = signal.signal(signal.SIGALRM, late)

    def run(arguments: list[str]) -> tuple[int, str, str]:
        capsys.readouterr()
        signal.alarm(120)
        try:
            code = cli.main(arguments)
        finally:
            signal.alarm(0)
        said = capsys.readouterr()
        return code, said.out, said.err

    yield run
    signal.signal(signal.SIGALRM, before)


def check_sentences(code: int, out: str, err: str) -> None:
    """Exit code 0 or 2; an error is one line on standard error and nothing on standard output."""
    assert code in (0, 2)
    lines = [line for line in err.splitlines() if line.startswith("divsal-bench: ")]
    assert len(lines) == (code == 2), err
    if code == 2:
        assert out == "" or out.startswith("image "), "an error, and yet a table"  # predict has a row for it
        assert err.splitlines()[-1] == lines[0]
    for pattern in BAD:
        found = re.search(pattern, out + err)
        assert not found, f"{found[0]!r} in {out + err}"


COMMANDS = [
    "status --out {out}", "board {out}", "board --out {out}", "board {out} --audit", "board {out} --format json",
    "board {out} --html page.html", "compare cross-entropy cyborg --out {out}", "compare {out} one",
    "compare cross-entropy@0 cross-entropy@1 --out {out}", "compare cross-entropy@x cross-entropy --out {out}",
    "verify {out}", "audit {out} --images 8 --workers 0 --format csv", "study difference {out} --images 8",
    "show {out}",
    "push {out} --to me", "submit {out} --by me --results results", "predict {out} 'my pictures/1.png'",
    "explain {out} 'my pictures/1.png' --out explained-{out} --force",
    "explain {out} --set test --out set-{out} --force --limit 9", "data check {out}", "data push {out} --to me",
    "run --task cxr --data {out} --plan", "board --check --results {out}", "board --accepted --results {out}",
    "board --recompute --results {out}", "board --diff {out} --results empty", "predict one {out}",
    "submit one --by me --reproduces {out}", "verify --accepted {out} --by me",
    "verify --accepted {out} --runs one --by me",
    "check {out}", "data prepare cxr --source {out} --out prepared-{out}",
    "explain one 'my pictures/1.png' --human {out} --out human-{out} --force",
]  # fmt: skip


@pytest.mark.parametrize("out", ["one", "nomaps", "failed", "empty", "nowhere", "afile", "pipe"])
@pytest.mark.parametrize("line", COMMANDS)
def test_every_sentence_is_right_where_there_is_little_or_nothing(command: Run, line: str, out: str) -> None:
    check_sentences(*command(shlex.split(line.format(out=out))))


@pytest.mark.parametrize(
    "line",
    [
        "show {id}", "info cxr", "info cyborg", "data list", "list tasks", "list methods", "pull me/x", "verify me/x",
        "predict me/x afile", "explain me/x afile --out x", "audit me/x", "push one --to me",
        "data push nowhere --to me",
        "calibrate --boards 1", "calibrate --cells none", "standins check --task none", "study case --task none",
        "speed --only none", "speed --size 0",
        "check nothing", "check ./nothing.py", "run --task cxr --out pipe", "run --task cxr --out afile/x",
    ],
)  # fmt: skip
def test_other_commands(command: Run, world: Path, line: str) -> None:
    (record,) = (world / "one").rglob("run.json")
    check_sentences(*command(shlex.split(line.format(id=shlex.quote(str(record.parent))))))


@pytest.mark.parametrize(
    "line",
    [
        "predict one pipe.csv", "predict one pipe.png", "explain one pipe.csv --out e1",
        "explain one pipe.png --out e2",
        "predict one 'my pictures/1.png' --csv pipe --force", "predict one 'my pictures/1.png' --csv /dev/null --force",
        "predict one 'my pictures/1.png' --csv empty --force", "predict one 'my pictures/1.png' --overlay pipe",
        "explain one 'my pictures/1.png' --human pipe.png --out e3", "explain one 'my pictures/1.png' --out pipe",
        "explain one --set test --out pipe", "board one --html pipe", "board one --html empty",
        "board one --html /dev/null",
        "check ./pipe.py", "check ./pipe", "data prepare cxr --source pipe.csv --out p1",
        "run --task cxr --data pipe.csv",
        "board --accepted --results pipes", "board --check --results pipes", "submit one --by me --results pipes2",
        "verify --accepted pipe.csv --by me", "submit one --by me --reproduces pipe",
    ],
)  # fmt: skip
def test_a_pipe_or_a_device_is_refused_and_never_waited_for(command: Run, world: Path, line: str) -> None:
    (world / "pipes/cxr").mkdir(parents=True, exist_ok=True)
    for place in (world / "pipes/board.json", world / "pipes/cxr/x.json", world / "pipes2"):
        if not place.exists():
            os.mkfifo(place)
    code, out, err = command(shlex.split(line))
    assert code == 2, out + err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("divsal-bench: ")
    assert Path("/dev/null").is_char_device()


HUGE = "9" * 400


@pytest.mark.parametrize(
    "line",
    [
        "run --task cxr --seeds {n} --plan", "run --task cxr --seeds {n}-{n} --plan",
        "run --task cxr --seeds -{n} --plan",
        "run --task cxr --method cyborg:alpha={n} --plan", "run --task cxr --method cyborg:alpha=1e{n} --plan",
        "run --task cxr --workers -{n} --plan", "run --task cxr --data org/name@{n} --plan", "show {n}",
        "predict one 'my pictures/1.png' --batch-size -{n}", "explain one --set test --limit -{n} --out x",
        "audit one --images -{n}", "audit one --k {n}", "audit one --tau 1e{n}", "audit one --fidelity-k {n}",
        "compare cross-entropy@{n} cross-entropy --out one", "calibrate --boards -{n}", "speed --size {n}",
        "submit one --by me --weights {n}=x --results r", "verify --accepted afile --by me --date {n}", "info {n}",
    ],
)  # fmt: skip
def test_numbers_of_400_digits(command: Run, line: str) -> None:
    code, out, err = command(shlex.split(line.format(n=HUGE)))
    assert code in (0, 2)
    assert "Traceback" not in out + err


@contextlib.contextmanager
def somebody_else() -> Iterator[None]:
    """As a user without rights; root may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("line", ["status --out {out}", "board {out}", "verify {out}", "predict {out} afile",
                                  "compare cross-entropy cyborg --out {out}", "show abcd --out {out}"])  # fmt: skip
@pytest.mark.parametrize("inside", ["", "cxr"])
def test_a_folder_that_cannot_be_read_is_said_and_never_empty(
    command: Run, world: Path, tmp_path: Path, line: str, inside: str
) -> None:
    out = tmp_path / "runs"
    shutil.copytree(world / "one", out)
    for place in {world, *world.parents, tmp_path, *tmp_path.parents}:
        if place.is_relative_to(tempfile.gettempdir()) and place != Path(tempfile.gettempdir()):
            place.chmod(place.stat().st_mode | 0o055)
    (out / inside).chmod(0)
    command(shlex.split(line.format(out=world / "one")))  # what it imports may be out of the other user's reach
    try:
        with somebody_else():
            code, shown, err = command(shlex.split(line.format(out=out)))
    finally:
        (out / inside).chmod(0o755)
    assert (code, shown) == (2, "")
    assert "Permission denied" in err or "no permission" in err
    assert err.count("\n") == 1


def test_next_lines_can_be_pasted(command: Run, world: Path, tmp_path: Path) -> None:
    """Each is split as a shell does, and the command line takes it."""
    shown = []
    for line in (
        f"data prepare cxr --source 'my pictures/manifest.csv' --out '{tmp_path}/my prepared'",
        f"data prepare cxr --source 'my pictures/manifest.csv' --out '{tmp_path}/quo\"te$HOME'",
        f"submit '{world}/nomaps' --data '{world}/no maps' --by me --results '{tmp_path}/my results' "
        "--i-have-permission",
    ):
        code, out, err = command(shlex.split(line))
        if code == 2 and "seeds" in err:  # a submission may need more of them
            continue
        assert code == 0, err
        shown += [one.removeprefix("next: ") for one in (out + err).splitlines() if one.startswith("next: ")]
    assert len(shown) >= 2
    for text in shown:
        name, *arguments = shlex.split(text)
        assert name == "divsal-bench"
        parsed = parser.parse(arguments)
        if parsed.command == "run":
            arguments += ["--plan"]
        code, out, err = command(arguments)
        assert code == 0, (text, err)


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("علی‌رضا", True), ("क्‍ष", True), ("میخا‌ییل رضایی", True), ("Zoë O’Neil", True), ("王小明", True),
        ("A‌lice", False), ("Al​ice", False), ("‮evil", False), ("‌علی", False), ("علی‍", False), ("a\tb", False),
        ("\x1b[31mred", False), ("", False), ("  ", False), ("x" * 401, False), ("soft­hyphen", False),
    ],
)  # fmt: skip
def test_names_of_people_are_taken_as_they_are_spelt_or_refused_in_words(name: str, taken: bool) -> None:
    from divsal_bench.errors import UserError
    from divsal_bench.leaderboard.claims.claim import person

    if taken:
        assert person(name) == name
        return
    with pytest.raises(UserError) as error:
        person(name)
    assert "is no name: it " in str(error.value)
    assert not re.search(r"pattern|\\p|\^|Value error|String should", str(error.value))


@pytest.mark.parametrize("label", ["Normal", "NORMAL", "normal", "AbNormal", "0", "1"])
def test_class_names_are_taken_in_any_capitals(command: Run, tmp_path: Path, label: str) -> None:
    (tmp_path / "list.csv").write_text(f"image,label\n{Path('my pictures/1.png').resolve()},{label}\n")
    code, out, err = command(["explain", "one", str(tmp_path / "list.csv"), "--out", str(tmp_path / "out")])
    assert code == 0, err
    assert ("abnormal (" if label in ("1", "AbNormal") else ": normal (") in out


def test_names_that_are_not_utf_8(command: Run, world: Path, tmp_path: Path) -> None:
    """Of an image: scored and explained. Of a folder of runs: refused before any work, since Parquet cannot open it."""
    odd = tmp_path / os.fsdecode(b"n\xff\xe9")
    odd.mkdir()
    shutil.copy(world / "my pictures/1.png", odd / os.fsdecode(b"a\xff.png"))
    code, out, err = command(["predict", "one", str(odd), "--csv", str(odd / "s.csv"), "--overlay", str(odd / "o")])
    assert (code, "a?.png" in out) == (0, True), err
    code, out, err = command(
        ["explain", "one", str(odd / os.fsdecode(b"a\xff.png")), "--out", str(tmp_path / "e"), "--csv"]
    )
    assert (code, "a?.png" in out) == (0, True), err
    (file,) = (tmp_path / "e").glob("*.json")
    assert json.loads(file.read_text(encoding="utf-8"))
    shutil.copytree(world / "one", odd / "runs")
    runs = str(odd / "runs")
    for line in (
        ["board", runs], ["verify", runs], ["audit", runs], ["submit", runs, "--by", "me", "--results", "r"],
        ["push", runs, "--to", "me"], ["predict", runs, "afile"], ["compare", runs, "one"],
        ["explain", runs, "--set", "test", "--out", "x"], ["run", "--task", "cxr", "--out", runs],
        ["study", "difference", runs],
    ):  # fmt: skip
        code, out, err = command(line)
        assert (code, out, err.count("\n")) == (2, "", 1), line
        assert "is not UTF-8" in err
        assert "rename it" in err


def in_terminal(arguments: list[str], columns: int, cwd: Path) -> list[str]:
    """What a real terminal of that width is shown on standard output, line by line."""
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    line = [sys.executable, "-m", "divsal_bench", *arguments]
    shown = b""
    with subprocess.Popen(line, cwd=cwd, stdout=writer, stderr=subprocess.DEVNULL, env=environment) as run:
        os.close(writer)
        while True:
            try:
                part = os.read(reader, 65536)
            except OSError:
                break
            if not part:
                break
            shown += part
    os.close(reader)
    assert run.returncode == 0
    return shown.decode().splitlines()


@pytest.mark.parametrize("columns", [60, 100])
@pytest.mark.parametrize("line", ["list tasks", "list methods", "list protocols", "status --out one", "info cxr"])
def test_tables_fold_to_the_terminal(world: Path, line: str, columns: int) -> None:
    shown = in_terminal(line.split(), columns, world)
    assert max(map(len, shown)) <= columns
    words = " ".join(shown).split()
    piped = subprocess.run([sys.executable, "-m", "divsal_bench", *line.split()], cwd=world, capture_output=True,
                           text=True, check=True).stdout  # fmt: skip
    assert max(map(len, piped.splitlines())) > 60, "this line is too short to show anything"
    for word in piped.split():
        if not set(word) <= {"-"}:
            assert word in words, f"{word} is lost"


@pytest.mark.parametrize("width", [None, 12, 25, 40, 60, 100])
def test_no_cell_is_lost_at_any_width(width: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "terminal_width", lambda: width)
    rows = [["one", 1, "some words of a long sentence that must be broken", ""], ["two", 22, "x" * 30, "last"]]
    for style in ("simple", "plain"):
        head = ["name", "count", "what it is about", "end"] if style == "simple" else ()
        text = tables.shown_table(rows, head, "lrll", style)
        for word in ("one", "22", "broken", "last"):
            assert word in text.split()
        assert text.replace("\n", "").replace(" ", "").count("x" * 30) == 1
    assert tables.shown_table([], ["a", "b"]).split()[:2] == ["a", "b"]
