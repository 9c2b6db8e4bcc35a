"""A method that changes what others compute with fails ``check``, and the message names what it changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from divsal_bench.conformance import isolation, loading
from divsal_bench.conformance.checks import BreachError

METHOD = '''"""A method from outside."""

from dataclasses import dataclass
from typing import ClassVar

from divsal_bench.contracts.method import Method

SEEN = []
{top}

@dataclass
class Mine(Method):
    """Cross-entropy, and something else."""

    name: ClassVar[str] = "mine"
    kind: ClassVar[str] = "unguided"
    runs: ClassVar[int] = 0
    kept: ClassVar[list] = []

    def setup(self, train):
        import numpy, os, random, sys, torch, divsal_bench.training.training
        {setup}

    def loss(self, batch, out):
        return {{"loss": out.cross_entropy}}
'''
#: What setup does, to what the message says.
HOSTILE = {
    "grad mode": ("torch.set_grad_enabled(False)", "the grad mode changed from True to False"),
    "mkldnn": ("torch.backends.mkldnn.set_flags(False)", "torch.backends.mkldnn.enabled changed from True to False"),
    "matmul precision": (
        "torch.set_float32_matmul_precision('medium')",
        "torch's matmul precision changed from highest to medium",
    ),
    "threads": ("torch.set_num_threads(3)", "torch's number of threads changed from 1 to 3"),
    "default dtype": ("torch.set_default_dtype(torch.float64)", "torch's default dtype changed from torch.float32"),
    "default device": ("torch.set_default_device('meta')", "torch's default device changed from cpu to meta"),
    "deterministic mode": ("torch.use_deterministic_algorithms(False)", "torch's deterministic mode changed"),
    "autocast": ("torch.set_autocast_enabled('cpu', True)", "torch's autocast changed"),
    "anomaly mode": ("torch.autograd.set_detect_anomaly(True)", "torch's anomaly mode changed from False to True"),
    "cudnn": ("torch.backends.cudnn.allow_tf32 = False", "torch.backends.cudnn.allow_tf32 changed from True to False"),
    "denormals": ("torch.set_flush_denormal(True)", "torch's flushing of denormal numbers changed from False to True"),
    "global hooks": (
        "torch.nn.modules.module.register_module_forward_hook(lambda module, given, out: out * 1.5)",
        "torch's global module hooks changed",
    ),
    "a function of torch": (
        "original = torch.nn.functional.batch_norm; "
        "torch.nn.functional.batch_norm = lambda *a, **k: 1.5 * original(*a, **k)",
        "torch.nn.functional.batch_norm is replaced; cross-entropy, run in the same process, gives other numbers",
    ),
    "a method of tensors": ("torch.Tensor.square = lambda self: self", "torch.Tensor.square is replaced"),
    "a function of numpy": ("numpy.mean = lambda *a, **k: 0.0", "numpy.mean is replaced"),
    "a function of the engine": (
        "divsal_bench.training.training.Streams.of = classmethod(lambda cls, *given: cls(1, 2, 3, 4))",
        "divsal_bench.training.training.Streams.of is replaced; cross-entropy, run in the same process, "
        "gives other numbers",
    ),
    "the code of a function": (
        "divsal_bench.training.training.batches.__code__ = (lambda count, size, generator: "
        "__import__('torch').arange(count).split(size)).__code__",
        "divsal_bench.training.training.batches is replaced; cross-entropy, run in the same process, "
        "gives other numbers",
    ),
    "a class of torch": (
        "torch.optim.AdamW = torch.optim.SGD",
        "torch.optim.AdamW is replaced",
    ),
    "data that the engine shares": (
        "import dataclasses, divsal_bench.networks.backbones as b; b.TESTED.clear(); "
        "b.known.__globals__['known'] = b.known; "
        "[object.__setattr__(p, 'mean', (0.9,)) for p in __import__('gc').get_objects() "
        "if type(p).__name__ == 'Protocol']",
        "something that runs share is changed; cross-entropy, run in the same process, gives other numbers after it",
    ),
    "numpy's errors": ("numpy.seterr(all='raise')", "numpy's handling of errors changed"),
    "an environment variable": ("os.environ['OMP_NUM_THREADS'] = '7'", "the environment variables changed"),
    "the working directory": ("os.chdir('/')", "the working directory changed from"),
    "the search path": ("sys.path.insert(0, '/tmp')", "the module search path changed"),
    "a count on the class": ("type(self).runs += 1", "Mine.runs is kept between runs"),
    "a list on the class": ("self.kept.append(1)", "Mine.kept is kept between runs"),
    "a list of the module": ("SEEN.append(1)", "the module's SEEN is kept between runs"),
    "a new global": ("globals()['LATER'] = 3", "the module's LATER is kept between runs"),
    "the process": ("os._exit(0)", "the process that ran it ended (exit code 0)"),
    "the process, by a crash": ("os.abort()", "the process that ran it ended (SIGABRT)"),
}


def file_of(folder: Path, setup: str = "pass", top: str = "") -> loading.Candidate:
    """A method in a file of its own, loaded as ``check`` does."""
    file = folder / "mine.py"
    file.write_text(METHOD.format(setup=setup, top=top), encoding="utf-8")
    return loading.find_candidate(str(file))


def look(candidate: loading.Candidate) -> str:
    assert isinstance(candidate.plugin, type)
    return isolation.leaves_others_alone(candidate.plugin)


@pytest.mark.parametrize("case", HOSTILE)
def test_what_a_method_changes_for_others_is_named(tmp_path: Path, case: str) -> None:
    setup, message = HOSTILE[case]
    with pytest.raises(BreachError) as caught:
        look(file_of(tmp_path, setup))
    assert message in str(caught.value)


def test_what_is_changed_while_a_file_is_imported_is_named(tmp_path: Path) -> None:
    """Also where the process that asks has imported it before."""
    guard = "import math\nmath.fsum = lambda values: 0.0"
    import math

    original = math.fsum
    try:
        candidate = file_of(tmp_path, top=guard)
        with pytest.raises(BreachError, match=r"math\.fsum is replaced"):
            look(candidate)
    finally:
        math.fsum = original


def test_a_method_that_puts_back_what_it_changes_passes(tmp_path: Path) -> None:
    setup = "torch.set_grad_enabled(False); torch.set_grad_enabled(True)"
    assert look(file_of(tmp_path, setup)) == "cross-entropy before and after it: equal to the last bit"


def test_a_method_that_fails_and_changes_nothing_is_left_to_the_other_checks(tmp_path: Path) -> None:
    assert look(file_of(tmp_path, "raise ValueError('no')")) == "its run fails; the checks below say why"
