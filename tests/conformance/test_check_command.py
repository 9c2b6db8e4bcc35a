"""``divsal-bench check``: each way in which a plugin can break the contract has its own message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from divsal_bench.cli import main
from divsal_bench.registry import plugins

Check = Callable[..., tuple[int, list[str], str]]

GOOD = '''"""A method from outside."""

from dataclasses import dataclass
from typing import ClassVar

from divsal_bench.contracts.cams import blend, normalise
from divsal_bench.contracts.method import Method


@dataclass
class Mine(Method):
    """The true-class CAM should look like the human map."""

    name: ClassVar[str] = "mine"
    kind: ClassVar[str] = "one-cam"
    alpha: float = 0.5

    def loss(self, batch, out):
        human, mapped = batch.human(out.grid)
        distance = (normalise(out.true_cam) - human).square().mean((-2, -1))
        return {"loss": blend(out.cross_entropy, distance, mapped, self.alpha)}
'''
HEAD, BODY = GOOD[: GOOD.index("        human, mapped")], GOOD[GOOD.index("        human, mapped") :]
RETURN = BODY.splitlines()[-1].strip()


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Check:
    """Check code, or whatever PLUGIN is given, in an empty folder: (exit code, lines of the report, standard error)."""
    monkeypatch.chdir(tmp_path)

    def run(code: str = "", plugin: str = "mine.py") -> tuple[int, list[str], str]:
        if code:
            Path(plugin).write_text(code, encoding="utf-8")
        capsys.readouterr()
        exit_code = main(["check", plugin])
        captured = capsys.readouterr()
        return exit_code, captured.out.splitlines(), captured.err

    return run


def failures(lines: list[str]) -> list[str]:
    """The lines of the checks that did not pass."""
    assert all(line.startswith(("ok: ", "FAILED: ")) for line in lines[:-1])
    return [line for line in lines if line.startswith("FAILED: ")]


def body(code: str) -> str:
    """The good method with another loss; each line of ``code`` becomes one of its lines."""
    return HEAD + "".join(f"        {line}\n" for line in code.strip().splitlines())


@pytest.mark.slow
def test_a_good_method_passes_every_check_that_needs_no_training(
    check: Check, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The short runs on all stand-ins take the longest; the worked examples of CONTRIBUTING.md go through them.
    no_tasks = plugins.Plugins("task", {}, {})
    monkeypatch.setattr(plugins, "tasks", lambda: no_tasks)
    code, lines, err = check(GOOD)
    assert code == 0
    assert not failures(lines)
    assert "ok: contract (one-cam, version 1)" in lines
    assert "ok: fields (alpha=0.5)" in lines
    assert "ok: kind (one-cam: the maps and one CAM decide the loss)" in lines
    assert lines[-1].startswith(f"mine.py: {len(lines) - 1} of {len(lines) - 1} checks passed, 0 failed")
    assert err == "notice: checking mine.py runs its code\n"
    assert "mine" not in plugins.methods().found
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


LOADS = {
    "raises": ("raise RuntimeError('no luck')", "raised RuntimeError: no luck (mine.py line 1)"),
    "leaves": ("raise SystemExit(0)", "raised SystemExit: 0 (mine.py line 1)"),
    "ends the process": (GOOD + "\nimport os\nos._exit(0)", "running mine.py ends the process"),
    "raises what is no Exception": ("raise GeneratorExit", "raised GeneratorExit: (mine.py line 1)"),
    "speaks to the terminal": (r"raise BaseException('\x1b[31mx')", "raised BaseException: ?[31mx (mine.py line 1)"),
    "lacks a module": (
        "\nimport a_module_that_is_not_there",
        "No module named 'a_module_that_is_not_there' (mine.py line 2",
    ),
    "is not Python": (GOOD.replace("def loss(self, batch, out):", "def loss(self, batch, out)"), "raised SyntaxError"),
    "is empty": ("\n", "must define exactly one Method class, this one defines 0"),
    "holds two": (GOOD + GOOD.replace("Mine", "Other"), "this one defines 2"),
    "binds no task": ("TASK = 'cxr'", "TASK must be a divsal_bench.contracts.task.Task, not str"),
}


@pytest.mark.parametrize("case", LOADS)
def test_a_file_that_does_not_load_fails_with_the_reason_and_its_line(check: Check, case: str) -> None:
    code, message = LOADS[case]
    exit_code, lines, err = check(code)
    assert exit_code == 1
    assert len(lines) == 1
    assert lines[0].startswith("FAILED: loads: ")
    assert message in lines[0]
    assert "Traceback" not in err


DECLARES = {
    "kind": ('"one-cam"', '"three-cam"', "contract: kind must be one of unguided, one-cam"),
    "bad name": ('"mine"', '"../mine"', "contract: name must be lower case words joined by hyphens"),
    "reserved name": ('"mine"', '"all"', "contract: the name 'all' is a word of the command line"),
    "taken name": ('"mine"', '"cyborg"', "contract: the name 'cyborg' is taken by divsal_bench.baselines.cyborg"),
    "no dataclass": ("@dataclass\n", "", "contract: the class must be decorated with @dataclass"),
    "no loss": ("def loss", "def losses", "contract: it does not define loss(batch, out)"),
    "version": (
        "    alpha:",
        '    version: ClassVar[str] = "1.0"\n    alpha:',
        "contract: version is '1.0'; write version: ClassVar[int]",
    ),
    "no default": ("alpha: float = 0.5", "alpha: float", "contract: field 'alpha' needs a default"),
    "no type": (
        "alpha: float = 0.5",
        "alpha = 0.5",
        "fields: alpha = 0.5 has no type, so it is no field; write alpha: float",
    ),
    "wrong type": ("alpha: float = 0.5", 'alpha: float = "half"', "fields: the default fields are refused"),
    "other type": (
        "alpha: float = 0.5",
        'alpha: float = "0.5"',
        "fields: field alpha = '0.5' is not of its type; as typed it reads 0.5",
    ),
    "no JSON": (
        "alpha: float = 0.5",
        "alpha: float = 0.5\n    sizes: tuple[int, ...] = (1, 2)",
        "fields: field sizes = (1, 2) cannot be kept as JSON",
    ),
    "not finite": ("alpha: float = 0.5", 'alpha: float = float("inf")', "fields: the default fields are refused"),
    "strange type": (
        "alpha: float = 0.5",
        "alpha: float = 0.5\n    other: Method = None",
        "fields: the fields' types cannot be read",
    ),
    "a settable name": ("name: ClassVar[str]", "name: str", "fields: name is a field, so that users could set it"),
    "no docstring": (
        '    """The true-class CAM should look like the human map."""\n',
        "",
        "docstring: class Mine has no docstring",
    ),
    "loss(self, out)": (
        "def loss(self, batch, out)",
        "def loss(self, out)",
        "signatures: loss takes (self, out); write def loss(self, batch, out)",
    ),
    "setup(self)": (
        "    def loss",
        "    def setup(self):\n        pass\n\n    def loss",
        "signatures: setup takes (self); write def setup(self, train)",
    ),
    "the engine": (
        "from divsal_bench.contracts.cams",
        "from divsal_bench.data import catalogue\nfrom divsal_bench.contracts.cams",
        "imports: mine.py line 6 imports divsal_bench.data",
    ),
    "torch at the top": (
        "from typing",
        "import torch\nfrom typing",
        "imports: mine.py line 4 imports torch at the top",
    ),
}


@pytest.mark.parametrize("case", DECLARES)
def test_a_wrong_declaration_is_named_before_anything_is_computed(check: Check, case: str) -> None:
    old, new, message = DECLARES[case]
    assert old in GOOD
    exit_code, lines, _ = check(GOOD.replace(old, new, 1))
    assert exit_code == 1
    (failed,) = failures(lines)
    assert f"FAILED: {message}" in failed
    assert not any("loss on" in line for line in lines)


ORDINARY = "loss on a batch with and without maps"
NO_MAPS = "loss on a batch without any map"
FLAT = "loss on constant CAMs"
COMPUTES = {
    "raises": (
        "raise ZeroDivisionError('in the plugin')",
        f"{ORDINARY}: raised ZeroDivisionError: in the plugin (mine.py line 19)",
    ),
    "no dict": ("return out.cross_entropy", f"{ORDINARY}: loss(batch, out) returned Tensor; return {{'loss': …}}"),
    "nothing": ("pass", f"{ORDINARY}: loss(batch, out) returned NoneType"),
    "no key": (
        "return {'total': out.cross_entropy}",
        f"{ORDINARY}: loss(batch, out) returned a dict with the keys ['total']",
    ),
    "a float": ("return {'loss': out.cross_entropy, 'extra': 1.0}", f"{ORDINARY}: extra is float, not a tensor"),
    "a vector": ("return {'loss': out.true_cam.mean((1, 2))}", f"{ORDINARY}: loss has shape (10,), not a scalar"),
    "not a number": ("return {'loss': out.cross_entropy * float('nan')}", f"{ORDINARY}: loss is nan; guard divisors"),
    "detached": ("return {'loss': out.cross_entropy.detach()}", f"{ORDINARY}: loss has no gradient"),
    "head only": (
        "return {'loss': (out.features.detach().mean((2, 3)) @ out.weight.T).square().mean()}",
        f"{ORDINARY}: no gradient reaches the backbone",
    ),
    "needs maps": (
        "human, mapped = batch.human(out.grid)\n"
        "distance = (normalise(out.true_cam) - human).square().mean((-2, -1))\n"
        "return {'loss': self.alpha * out.cross_entropy + (1 - self.alpha) * distance[mapped].mean()}",
        f"{NO_MAPS}: loss is nan",
    ),
    "masks too late": (
        "import torch\n"
        "human, mapped = batch.human(out.grid)\n"
        "low, high = out.true_cam.amin((1, 2), keepdim=True), out.true_cam.amax((1, 2), keepdim=True)\n"
        "cam = torch.where(high > low, (out.true_cam - low) / (high - low), 0.0)\n"
        "return {'loss': blend(out.cross_entropy, (cam - human).square().mean((1, 2)), mapped, self.alpha)}",
        f"{FLAT}: the loss is finite, its gradient in",
    ),
    "other names": (
        BODY.replace(
            RETURN,
            "losses = {'loss': blend(out.cross_entropy, distance, mapped, self.alpha)}\n"
            "if mapped.any(): losses['distance'] = distance.mean()\nreturn losses",
        ),
        "the same names for every batch: distance is returned for some batches only",
    ),
    "weighs maps": (
        BODY.replace(RETURN, "if not mapped.any(): return {'loss': out.cross_entropy}\n" + RETURN),
        "without maps, alpha · cross-entropy: it is 0.66",
    ),
    "other alpha": (
        BODY.replace("self.alpha)", "0.5)"),
        "with alpha = 1, cross-entropy bit for bit: it is 0.5",
    ),
    "no guidance": (
        "return {'loss': out.cross_entropy}",
        "kind: kind is one-cam, but other human maps give the same loss",
    ),
    "detached CAM": (
        BODY.replace("out.true_cam", "out.true_cam.detach()"),
        "kind: the human maps change the loss, but not its gradient",
    ),
    "both CAMs": (
        BODY.replace("out.true_cam", "out.true_cam - out.false_cam"),
        "kind: kind is one-cam, but the loss changes with the false-class CAM; declare two-cam",
    ),
    "torch's randomness": (
        "import torch\ntorch.rand(1)\n" + BODY,
        "repeatable: the global random state of torch is used; draw from batch.generator",
    ),
    "numpy's randomness": (
        "import numpy\nnumpy.random.rand()\n" + BODY,
        "repeatable: the global random state of numpy is used",
    ),
    "own randomness": (
        "import os\nout.__dict__['cross_entropy'] = out.cross_entropy * (1 + os.urandom(4)[0])\n" + BODY,
        "repeatable: the same batch gave loss",
    ),
    "changes the batch": (
        "batch.raw_maps.add_(1)\n" + BODY,
        "nothing changed in place: loss changes the batch's raw_maps in place",
    ),
    "changes the outputs": (
        "out.features.data.mul_(0.9)\n" + BODY,
        "nothing changed in place: loss changes the outputs' features in place",
    ),
    "reads a file": ("open('mine.txt', 'w').close()\n" + BODY, "no file, connection or process: a hook opens mine.txt"),
    "starts a process": (
        "import subprocess, sys\nsubprocess.run([sys.executable, '-c', ''])\n" + BODY,
        "no file, connection or process: a hook starts",
    ),
}


@pytest.mark.parametrize("case", COMPUTES)
def test_a_loss_that_breaks_a_promise_fails_that_check(check: Check, case: str) -> None:
    code, message = COMPUTES[case]
    exit_code, lines, err = check(body("\n".join(line.strip() for line in code.splitlines())))
    assert exit_code == 1
    assert any(line.startswith(f"FAILED: {message}") for line in failures(lines)), failures(lines)
    assert "Traceback" not in err
    assert not any("short run" in line for line in lines), "nothing is trained with a method that is broken"
    assert " wait until they pass" in lines[-1]


HOOKS = {
    "transform returns nothing": (
        "def transform(self, batch):\n        pass",
        "transform(batch) returned NoneType, not a Batch",
    ),
    "setup changes the labels": (
        "def setup(self, train):\n        train.labels.zero_()",
        "setup changes the training split's labels in place",
    ),
    "setup wants all maps at once": (
        "def setup(self, train):\n        train.maps.float().mean()",
        "train.maps is read by rows: take train.maps[rows]",
    ),
    "transform changes the batch": (
        "def transform(self, batch):\n        batch.labels.zero_()\n        return batch",
        "transform changes the batch's labels in place",
    ),
    "setup fails without maps": (
        "def setup(self, train):\n        train.maps[train.has_map][0]",
        "loss on training data without any map: raised IndexError",
    ),
}


@pytest.mark.parametrize("case", HOOKS)
def test_the_optional_hooks_are_looked_at_too(check: Check, case: str) -> None:
    code, message = HOOKS[case]
    exit_code, lines, _ = check(GOOD.replace("    def loss", f"    {code}\n\n    def loss"))
    assert exit_code == 1
    assert any(message in line for line in failures(lines)), failures(lines)


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [
        ("two-cam", BODY, "kind is two-cam, but the false-class CAM does not change the loss; declare one-cam"),
        ("unguided", BODY, "kind is unguided, but the loss changes with the human maps"),
    ],
)
def test_a_kind_that_promises_something_else_is_found(check: Check, kind: str, code: str, message: str) -> None:
    exit_code, lines, _ = check((HEAD + code).replace('"one-cam"', f'"{kind}"'))
    assert exit_code == 1
    (failed,) = failures(lines)
    assert f"FAILED: kind: {message}" in failed


def test_a_run_that_fails_names_the_line_of_the_plugin(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    cxr = {"cxr": plugins.tasks().get("cxr")}
    monkeypatch.setattr(plugins, "tasks", lambda: plugins.Plugins("task", cxr, {}))
    big = "if len(batch.labels) > 30: raise ValueError('too many')\n"
    exit_code, lines, _ = check(body("\n".join(line.strip() for line in (big + BODY).splitlines())))
    assert exit_code == 1
    (failed,) = failures(lines)
    assert "short run on the cxr stand-in: the run failed: ValueError: too many (mine.py line 19)" in failed


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        ("cybrog", "unknown method or task 'cybrog'. Did you mean 'cyborg'?"),
        ("iris-pda", "Did you mean 'iris-pad'?"),
        ("nowhere.py", "there is no file nowhere.py"),
        ("./nowhere", "nowhere is not a .py file"),
        (".", "unknown method or task '.'"),
        ("./", "is not a .py file"),
    ],
)
def test_what_is_no_plugin_is_one_line_and_exit_code_2(check: Check, plugin: str, message: str) -> None:
    code, lines, err = check(plugin=plugin)
    assert (code, lines) == (2, [])
    assert message in err
    assert err.splitlines()[-1].startswith("divsal-bench: ")


def test_a_registered_plugin_that_cannot_be_loaded_fails_by_its_name(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = plugins.Plugins("method", {}, {"divsal_bench.baselines.my_own": "RuntimeError: no luck"})
    monkeypatch.setattr(plugins, "methods", lambda: broken)
    code, lines, err = check(plugin="my-own")
    assert code == 1
    assert lines == ["FAILED: loads: RuntimeError: no luck (in divsal_bench.baselines.my_own); mend that file"]
    assert "notice: broken method plugin" in err


def test_a_file_of_the_plugin_folders_is_the_registered_plugin() -> None:
    from divsal_bench.conformance import loading

    cyborg = plugins.methods().get("cyborg")
    assert loading.find_candidate(str(loading.plugin_file(cyborg))).plugin is cyborg
    cxr = plugins.tasks().get("cxr")
    assert loading.find_candidate(str(loading.plugin_file(cxr))).plugin is cxr
