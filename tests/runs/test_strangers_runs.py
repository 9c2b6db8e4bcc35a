"""A stranger's run directory, given to every command that opens one: one line, and neither memory, disk nor time."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peak import measured, size_of
from PIL import Image
from safetensors.torch import load_file, save_file
from unsealed import unsealed

from divsal_bench import cli
from divsal_bench.data.room import Room, Shape
from divsal_bench.errors import UserError
from divsal_bench.grid import planning, work
from divsal_bench.hub import link
from divsal_bench.leaderboard.accepted import board_file
from divsal_bench.leaderboard.claims.files import read_submitted
from divsal_bench.networks import inference, trained
from divsal_bench.networks.inference import MOST_PIXELS, InputForm, form_of, infer
from divsal_bench.prediction import loading
from divsal_bench.registry import method_choice, protocols
from divsal_bench.runs import audit_record, store
from divsal_bench.runs.reading import Run, read_run
from divsal_bench.runs.records import Spec

TINY = dataclasses.replace(
    protocols.find_protocol("quick-v1"),
    epochs=1,
    input_size=32,
    backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
)
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A real, tiny run."""
    methods = tuple(method_choice.choose_methods("cross-entropy"))
    asked = planning.Grid(("cxr",), methods, (0,), tmp_path_factory.mktemp("runs"), TINY, data="standin")
    (job,) = planning.plan(asked)[0].jobs
    return read_run(work.execute(job))


@pytest.fixture
def run(made: Run, tmp_path: Path) -> Path:
    """A copy of one's own, whose files may be edited."""
    return unsealed(Path(shutil.copytree(made.path, tmp_path / "run")))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "one.png"
    Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64).astype(np.uint8)).save(path)
    return path


def forge(run: Path, change: Change) -> None:
    """Change the specification; a forger can hash, too."""
    content = json.loads((run / "run.json").read_text())
    change(content["spec"])
    content["run_id"] = Spec(**content["spec"]).run_id
    (run / "run.json").write_text(json.dumps(content))


def settings(**changes: object) -> Change:
    return lambda spec: spec["protocol_settings"].update(changes)


#: What a record may ask for, and the line that answers.
ASKED: dict[str, tuple[Change, str]] = {
    "an input of 20,000 px": (settings(input_size=20_000), "input_size is 20000; 8 to 2048 are read"),
    "an input of 200 digits": (settings(input_size=10**199), "a number that none of ours can be"),
    "a negative input": (settings(input_size=-64), "input_size is -64"),
    "an input that is no number": (settings(input_size="64"), "input_size is '64'"),
    "a threshold of rotation that is infinite": (settings(rotate=float("inf")), "a number that none of ours can be"),
    "a mean that is no number": (settings(mean=[float("nan")]), "a number that none of ours can be"),
    "another setting": (settings(pickle="x.pt"), "protocol settings that this version does not know"),
    "no size": (lambda spec: spec["protocol_settings"].pop("input_size"), "protocol settings"),
    "a large backbone": (lambda spec: spec.update(backbone="resnetv2_152x4_bit"), "does not fit the network"),
    "wide layers": (settings(backbone_args={"channels": [4096] * 4, "stem_width": 4096}), "does not fit the network"),
    "wider layers": (settings(backbone_args={"channels": [10**9] * 4}), "which no protocol here does"),
    "many layers": (settings(backbone_args={"channels": [4] * 50_000}), "which no protocol here does"),
    "three channels": (settings(channels=3), "does not fit the network"),
    "another head": (lambda spec: spec.update(head="one-logit"), "does not fit the network"),
}


@pytest.mark.parametrize("name", ASKED)
def test_what_no_run_asks_for(run: Path, image: Path, name: str) -> None:
    change, message = ASKED[name]
    forge(run, change)
    for use in (lambda: trained.load_model(read_run(run)), lambda: loading.pretrained_in(run, str(run))):
        with pytest.raises(UserError) as caught:
            use()
        assert message in str(caught.value)


def commands(run: Path, image: Path, out: Path) -> list[list[str]]:
    """Every command that opens a run directory of a stranger's."""
    return [
        ["predict", str(run), str(image)],
        ["verify", str(run)],
        ["explain", str(run), str(image), "--out", str(out / "explain")],
        ["explain", str(run), "--set", "test", "--out", str(out / "set")],
        ["audit", str(run), "--workers", "0"],
        ["board", str(run), "--html", str(out / "page.html")],
        ["study", "difference", str(run)],
        ["submit", str(run), "--by", "Ann", "--results", str(out / "results")],
    ]


@pytest.mark.parametrize("name", ["an input of 20,000 px", "a large backbone", "wide layers"])
@pytest.mark.slow
def test_no_command_gives_a_stranger_memory_or_disk(run: Path, image: Path, tmp_path: Path, name: str) -> None:
    """In processes of their own: 9.9 GB and a full disk, before."""
    forge(run, ASKED[name][0])
    home, message = tmp_path / "home", ASKED[name][1]
    given = commands(run, image, tmp_path / "out")
    for command, done in zip(given, measured(*given, environment={"DIVSAL_BENCH_HOME": str(home)}), strict=True):
        assert not any("Traceback" in line for line in done.said)
        if command[0] == "board":  # has the results, and says why it has no maps
            assert message in (tmp_path / "out" / "page.html").read_text()
        else:
            assert done.code == 2, (command, done)
            assert message in done.said[-1], (command, done)
        assert done.megabytes < 1000
    assert size_of(home) < 2**27


@pytest.mark.parametrize("name", ["run.json", "predictions.parquet", "model.safetensors", "config.json"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "link to a device", "link to nothing"])
def test_files_that_are_none(
    run: Path, image: Path, tmp_path: Path, name: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run / name
    file.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        file.symlink_to("/dev/zero" if kind == "link to a device" else tmp_path / "nothing")
    for command in (["verify", run], ["predict", run, image], ["show", run], ["status", "--out", run.parent]):
        if (command[0], name) in {("predict", "predictions.parquet"), ("show", "config.json")} or (
            command[0] in ("show", "status") and name != "run.json"
        ):
            continue  # not opened
        code = cli.main([*map(str, command)])
        printed = capsys.readouterr()
        assert code == (0 if command[0] == "status" else 2)
        assert "Traceback" not in printed.err


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "null", "[" * 200_000, '{"repo": 5}', '{"repo": "a/b", "commit": "x", "sha256": "0"}', "{", "\xff",
        '{"repo": "a/b", "commit": "' + "0" * 40 + '", "sha256": 5}', '{"a": ' + "9" * 10_000 + "}", " " * 2**17,
        '{"repo": "a/b", "commit": "' + "0" * 40 + '", "sha256": "0", "endpoint": 5}',
        '{"repo": "a/b", "commit": "' + "0" * 40 + '", "sha256": "0", "private": "no"}',
    ],
    ids=lambda text: ascii(text[:30]),
)  # fmt: skip
def test_a_damaged_link(run: Path, text: str) -> None:
    (run / link.FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"hub\.json is damaged .* delete it and push again"):
        link.read_link(run)


def test_a_link_that_is_a_pipe(run: Path) -> None:
    os.mkfifo(run / link.FILE)
    with pytest.raises(UserError, match="not a regular file"):
        link.read_link(run)


@pytest.mark.parametrize("name", ["results.json", "board.json"])
def test_results_that_are_pipes(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    read = (
        partial(board_file.read_board, tmp_path)
        if name == "board.json"
        else partial(read_submitted, tmp_path / name, 100)
    )
    with pytest.raises(UserError, match=r"is no file|not a regular file"):
        read()


@pytest.mark.parametrize("kind", ["pipe", "deep", "large", "nothing", "no UTF-8", "control"])
def test_an_audit_of_a_strangers_is_passed_by(run: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = read_run(run)
    assert cli.main(["audit", str(run), "--workers", "0", "--images", "4"]) == 0
    (file,) = run.glob("audit-*.json")
    content = file.read_bytes()
    assert audit_record.read_audit(file) is not None
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    else:
        changed = json.loads(content)
        changed["versions"]["torch"] = "\x1b[2J"
        file.write_bytes(
            {
                "deep": b"[" * 10**6, "large": content + b" " * 2**23, "nothing": b"", "no UTF-8": b"\xff",
                "control": json.dumps(changed).encode(),
            }[kind]
        )  # fmt: skip
    assert audit_record.read_audit(file) is None
    assert list(audit_record.find_audits(found, store.weights_sha256(run))) == []


def test_a_head_of_many_tensors_is_not_read(run: Path) -> None:
    file = run / "model.safetensors"
    head = json.dumps({f"{i:09}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(130_000)})
    file.write_bytes(len(head).to_bytes(8, "little") + head.encode())
    with pytest.raises(UserError, match=r"its head has .* bytes, 8,388,608 are allowed"):
        trained.load_model(read_run(run))


def test_weights_of_other_shapes_and_names(run: Path) -> None:
    file = run / "model.safetensors"
    true = load_file(file)
    for change, message in (
        ({"fc.weight": torch.zeros(2, 3)}, "2×3 there and 2×8"),
        ({"more": torch.zeros(1)}, "'more' is in the file and not in the network"),
        ({"fc.bias": None}, "fc.bias is missing there"),
    ):
        changed = {name: value for name, value in {**true, **change}.items() if value is not None}
        save_file(changed, file)
        with pytest.raises(UserError, match=message):
            trained.load_model(read_run(run))


def test_decoding_that_would_fill_the_disk_is_not_begun(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    images = free // 2048**2
    with pytest.raises(UserError, match=r"images and 0 maps at 2048 px take .* GB, and .* has room for"):
        Room(tmp_path / "new" / "folder").require(Shape(images, 0, 1, 2048))
    Room(tmp_path / "new" / "folder").require(Shape(10, 10, 1, 64))


def test_a_large_input_makes_small_batches(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = trained.load_model(read_run(run))
    seen: list[int] = []
    as_input = inference.as_input

    def counted(images: torch.Tensor, form: InputForm) -> torch.Tensor:
        seen.append(len(images))
        return as_input(images, form)

    monkeypatch.setattr(inference, "as_input", counted)
    side = 1024
    images = torch.zeros(40, 1, side, side, dtype=torch.uint8)
    infer(model, images, form_of(TINY))
    assert sum(seen) == 40
    assert max(seen) == MOST_PIXELS // side**2
    seen.clear()
    infer(model, torch.zeros(300, 1, 224, 224, dtype=torch.uint8), form_of(TINY))
    assert seen[0] == 128  # as ever, where the results of protocols depend on it
