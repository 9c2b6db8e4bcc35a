"""Standard output and error as scripts and terminals give them: no traceback, the right exit code, no work lost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX shells and devices")

#: Prints our own signs, letters and an emoji, and a name that is no text.
PRINTS = """
import sys
from divsal_bench import cli
def handler(arguments):
    print("−0.034 ± 0.010 · é ü 好 \\U0001f600", "\\udcff")
    cli.say("plan: 2 × 3, α …")
    return {code}
class Parsed: pass
Parsed.handler = staticmethod(handler)
import divsal_bench.cli.parser as parser
parser.parse = lambda argv: Parsed
sys.exit(cli.main([]))
"""


def shell(command: str, *, cwd: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A line of bash, with ``$D`` for the command and ``$P`` for Python."""
    python = sys.executable
    known = {**os.environ, "D": f"{python} -m divsal_bench", "P": python, **environment}
    return subprocess.run(["bash", "-c", command], cwd=cwd, env=known, capture_output=True, check=False, timeout=120)


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "prints.py").write_text(PRINTS.format(code=0), encoding="utf-8")
    (tmp_path / "fails.py").write_text(PRINTS.format(code=1), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", r"-0.034 +- 0.010 | \xe9 \xfc \u597d \U0001f600 \udcff"),
        ("latin-1", r"-0.034 ± 0.010 · é ü \u597d \U0001f600 \udcff"),
        ("cp1252", r"-0.034 ± 0.010 · é ü \u597d \U0001f600 \udcff"),
        ("cp437", r"-0.034 ± 0.010 · é ü \u597d \U0001f600 \udcff"),
        ("utf-8", "−0.034 ± 0.010 · é ü 好 \U0001f600 \\udcff"),
        ("ascii:strict", r"-0.034 +- 0.010 | \xe9 \xfc \u597d \U0001f600 \udcff"),
    ],
)
def test_what_an_encoding_lacks_is_replaced(script: Path, encoding: str, shown: str) -> None:
    done = shell("$P prints.py", cwd=script, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode(encoding.partition(":")[0]).rstrip("\n") == shown
    assert b"Traceback" not in done.stderr


def test_the_c_locale_prints_and_takes_any_name(script: Path) -> None:
    plain = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = shell("$P prints.py", cwd=script, **plain)
    assert (done.returncode, b"-0.034 +- 0.010" in done.stdout) == (0, True), done.stderr
    for name in ("é", "$'\\xff\\xfe'", "好"):
        done = shell(f"mkdir -p {name}; $D status --out {name}", cwd=script, **plain)
        assert (done.returncode, done.stdout) == (0, b""), done.stderr
        assert b"there are no runs in" in done.stderr
        assert done.stderr.count(b"\n") == 1


def test_a_name_that_the_locale_cannot_write_is_one_line(script: Path) -> None:
    """A list names its images in UTF-8; in the C locale without Python's UTF-8 mode no file can be called so."""
    (script / "list.csv").write_text("image\nbildé.png\n", encoding="utf-8")
    code = (
        "import sys; from divsal_bench import cli; import divsal_bench.cli.parser as parser\n"
        "class Parsed:\n    handler = staticmethod(lambda _: open('bild\\xe9.png'))\n"
        "parser.parse = lambda argv: Parsed\nsys.exit(cli.main([]))"
    )
    (script / "opens.py").write_text(code, encoding="utf-8")
    done = shell("$P opens.py", cwd=script, LC_ALL="POSIX", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert b"LC_ALL=C.UTF-8" in done.stderr


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("$P prints.py >&-", 0),
        ("$P prints.py 2>&-", 0),
        ("$P prints.py <&- >&- 2>&-", 0),
        ("$P prints.py 2>/dev/full", 0),
        ("$P prints.py >/dev/full", 2),
        ("$P prints.py >/dev/full 2>/dev/full", 2),
        ("$P fails.py >&- 2>&-", 1),
        ("$P fails.py 2>/dev/full", 1),
        ("$D --help >/dev/full", 2),
        ("$D --version >&-", 0),
        ("$D list nothing 2>&-", 2),
        ("$D list nothing 2>/dev/full", 2),
        ("$D list tasks 2>/dev/full", 0),
    ],
)
def test_closed_and_full_streams_keep_the_exit_code(script: Path, command: str, code: int) -> None:
    done = shell(command, cwd=script)
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    if code == 2 and ">/dev/full" in command and "2>" not in command:
        assert done.stderr.endswith(b"standard output could not be written (No space left on device); "
                                    b"free some space, or mend it\n")  # fmt: skip


def test_a_closed_stream_is_not_the_next_file_that_is_opened(script: Path) -> None:
    """With descriptor 1 free, the first file a program opens gets it, and the table would be written into it."""
    code = "open('data.txt', 'w').write('mine'); import os; os.write(1, b'stray')"
    (script / "opens.py").write_text(
        "import sys; from divsal_bench.cli import streams; streams.prepare_streams()\n" + code, encoding="utf-8"
    )
    assert shell("$P opens.py >&- 2>&-", cwd=script).returncode == 0
    assert (script / "data.txt").read_text() == "mine"


@pytest.mark.parametrize(("name", "code"), [("prints.py", 0), ("fails.py", 1)])
def test_a_reader_that_leaves_changes_nothing(script: Path, name: str, code: int) -> None:
    """``| head``: the command goes on, and its exit code is its own."""
    more = (script / name).read_text(encoding="utf-8").replace("    print(", "    for _ in range(20000): print(")
    (script / name).write_text(more, encoding="utf-8")
    done = shell(f"$P {name} | head -1; exit ${{PIPESTATUS[0]}}", cwd=script)
    assert done.returncode == code
    assert done.stdout.count(b"\n") == 1
    assert done.stderr == "plan: 2 × 3, α …\n".encode()


def test_warnings_that_are_asked_to_be_errors_end_nothing(script: Path) -> None:
    warns = (
        (script / "prints.py")
        .read_text(encoding="utf-8")
        .replace("    cli.say(", "    import warnings; warnings.warn('of a library', DeprecationWarning)\n    cli.say(")
    )
    (script / "prints.py").write_text(warns, encoding="utf-8")
    done = shell("$P prints.py", cwd=script, PYTHONWARNINGS="error")
    assert done.returncode == 0, done.stderr
    assert b"DeprecationWarning: of a library" in done.stderr
    worker = """
import subprocess, sys
from divsal_bench.cli import streams
streams.prepare_streams()
child = [sys.executable, "-c", "import warnings; warnings.warn('of a worker')"]
sys.exit(subprocess.run(child).returncode)
"""
    (script / "worker.py").write_text(worker, encoding="utf-8")
    assert shell("$P worker.py", cwd=script, PYTHONWARNINGS="error").returncode == 0


def test_a_library_that_leaves_is_no_success(script: Path) -> None:
    leaves = (script / "prints.py").read_text(encoding="utf-8").replace("    cli.say(", "    sys.exit(0)\n    cli.say(")
    (script / "prints.py").write_text(leaves, encoding="utf-8")
    done = shell("$P prints.py", cwd=script)
    assert done.returncode == 2
    assert done.stderr == b"divsal-bench: a plugin or a library called sys.exit(0); nothing after it was done\n"
