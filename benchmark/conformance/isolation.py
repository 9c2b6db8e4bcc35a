"""Whether a method leaves the process as it found it: cross-entropy before and after it, bit for bit.

Runs have a process each, so that no method can change another's numbers. Whoever calls a method elsewhere, in a
notebook or in a library, has no such wall; and what a method changes for others it changes for itself, too.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import pickle
import signal
import sys
import types
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from divsal_bench.conformance import loading, smoke, specimens
from divsal_bench.conformance.checks import BreachError, raised, shorten
from divsal_bench.contracts.method import Method
from divsal_bench.registry import plugins

PROTOCOL = dataclasses.replace(specimens.PROTOCOL, epochs=2)
BASELINE = "cross-entropy"
#: Packages whose functions a method may call and not replace.
WATCHED = ("torch", "timm", "numpy", "math", "random", "builtins", "divsal_bench")
#: What the process that all of these checks are forked from imports.
PRELOADED = ["timm", "torch", "sklearn.metrics", "scipy.stats", "divsal_bench.grid.work", __name__]
#: Changes that are named; of more, their number is.
MOST_NAMED = 3


def leaves_others_alone(method: type[Method]) -> str:
    """Run cross-entropy, the method and cross-entropy again, in a process that nothing else has touched.

    Raises:
        BreachError: Something that others use is changed afterwards, or cross-entropy gives other numbers.
    """
    context: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    if sys.platform == "linux":
        context.set_forkserver_preload(PRELOADED)
    registered = plugins.methods().found.get(method.name) is method
    origins = plugins.methods().origin
    origin = origins.get(method.name, "") if registered else ""
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(
        target=answer, args=(origins[BASELINE], origin, method.name, loading.plugin_file(method), sender)
    )
    process.start()
    sender.close()
    try:
        problem, note = receiver.recv()
    except EOFError:
        process.join()
        code = process.exitcode or 0
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise BreachError(f"the process that ran it ended ({how}); a method may not end its process") from None
    finally:
        process.join()
    if problem:
        raise BreachError(problem)
    return str(note)


def answer(baseline_from: str, origin: str, name: str, file: Path, pipe: Connection) -> None:
    """Send (problem, note) of one method; the process is used up then."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)  # the report is printed by the process that asks
    try:
        found = between_two_runs(baseline_from, origin, name, file)
    except BreachError as breach:
        found = str(breach), ""
    except BaseException as error:  # a plugin may raise anything
        found = raised(error, file), ""
    pipe.send(found)
    pipe.close()
    os._exit(0)


def between_two_runs(baseline_from: str, origin: str, name: str, file: Path) -> tuple[str, str]:
    """What is wrong with a method, or a note on it; both may be "".

    Args:
        baseline_from: Where cross-entropy is registered.
        origin: Where it is registered; "" for a file that is not.
    """
    plugins.narrow(method=baseline_from)
    baseline = plugins.methods().get(BASELINE)
    with smoke.workplace() as folder, smoke.registered(specimens.TASK):
        before = smoke.short_run(specimens.TASK.name, baseline, PROTOCOL, folder / "before")
        functions = dict(functions_of_others())
        settings = settings_of_process()
        plugins.narrow(method=origin)
        # A folder of plugins that only the asking process knows of leaves the file.
        known = plugins.methods().found.get(name) if origin else None
        method = known or plugins.method_class(loading.load_file(file))
        kept = lasting_state(method)
        failure = ""
        try:
            with smoke.registered(method):
                smoke.short_run(specimens.TASK.name, method, PROTOCOL, folder / "method")
        except BreachError as breach:
            failure = str(breach)
        changes = [
            *changed_settings(settings, settings_of_process()),
            *(f"{name} is replaced" for name in replaced(functions)),
            *(f"{name} is kept between runs" for name in changed(kept, lasting_state(method))),
        ]
        if failure and not changes:
            return "", "its run fails; the checks below say why"
        plugins.narrow(method=baseline_from)
        try:
            baseline = plugins.methods().get(BASELINE)
            after = smoke.short_run(specimens.TASK.name, baseline, PROTOCOL, folder / "after")
            other = "" if after.record.files == before.record.files else "gives other numbers after it"
        except Exception:  # whatever was changed may stop it anywhere
            other = "fails after it"
    if not changes and not other:
        return "", "cross-entropy before and after it: equal to the last bit"
    named = changes[:MOST_NAMED] + ([f"{len(changes) - MOST_NAMED} more changes"] if len(changes) > MOST_NAMED else [])
    consequence = f"; cross-entropy, run in the same process, {other}" if other else ""
    what = "; ".join(named) or "something that runs share is changed"
    return shorten(f"{what}{consequence}; leave everything but your own objects as you find it"), ""


def settings_of_process() -> dict[str, object]:
    """What decides how others compute, by its name."""
    import numpy as np
    import torch

    hooks = vars(torch.nn.modules.module)
    found: dict[str, object] = {
        "the grad mode": torch.is_grad_enabled(),
        "the inference mode": torch.is_inference_mode_enabled(),
        "torch's anomaly mode": torch.is_anomaly_enabled(),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's default device": torch.get_default_device(),
        "torch's number of threads": torch.get_num_threads(),
        "torch's matmul precision": torch.get_float32_matmul_precision(),
        "torch's deterministic mode": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        "torch's filling of memory": torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        "torch's autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        "torch's flushing of denormal numbers": bool(torch.tensor(1e-310, dtype=torch.float64, device="cpu") * 1 == 0),
        "torch's global module hooks": {name: len(value) for name, value in hooks.items() if is_hooks(name, value)},
        "numpy's handling of errors": np.geterr(),
        "the environment variables": {k: v for k, v in os.environ.items() if k != smoke.HOME},
        "the working directory": Path.cwd(),
        "the module search path": list(sys.path),
    }
    for backend in ("mkldnn", "mkl", "cudnn", "cuda.matmul", "openmp"):
        holder: Any = torch.backends
        for part in backend.split("."):
            holder = getattr(holder, part)
        for flag in ("enabled", "benchmark", "deterministic", "allow_tf32", "fp32_precision"):
            value = getattr(holder, flag, None)
            if isinstance(value, bool | str):
                found[f"torch.backends.{backend}.{flag}"] = value
    found["torch.backends.mkldnn.enabled"] = torch._C._get_mkldnn_enabled()  # type: ignore[attr-defined]
    return found


def is_hooks(name: str, value: object) -> bool:
    """Whether an attribute of torch's module holds hooks that all modules call."""
    return name.startswith("_global") and isinstance(value, dict)


def changed_settings(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """What is set otherwise, with both values where they are short."""
    found = []
    for name in changed(before, after):
        values = f" from {before.get(name)} to {after.get(name)}"
        found.append(f"{name} changed{values if len(values) < 80 else ''}")
    return found


def functions_of_others() -> Iterator[tuple[str, tuple[object, ...]]]:
    """Every function, class and method of the watched packages, by its full name, with what it does."""
    for module_name, module in sorted(sys.modules.items()):
        if module_name.partition(".")[0] not in WATCHED or not isinstance(module, types.ModuleType):
            continue
        for name, value in list(vars(module).items()):
            # Not isinstance: what torch has deprecated pretends to be a class, and warns.
            if issubclass(type(value), type) and value.__module__ == module_name:
                yield from (
                    (f"{module_name}.{name}.{part}", what_it_is(held))
                    for part, held in list(vars(value).items())
                    if callable(held) or isinstance(held, property | classmethod | staticmethod)
                )
            if callable(value):
                yield f"{module_name}.{name}", what_it_is(value)


def what_it_is(thing: object) -> tuple[object, ...]:
    """What a function is: itself, its code and what it takes for granted. Kept alive, so that no identity is reused."""
    if isinstance(thing, types.FunctionType):
        return thing, thing.__code__, thing.__defaults__, thing.__kwdefaults__
    return (thing,)


def replaced(before: dict[str, tuple[object, ...]]) -> list[str]:
    """Names that stood for something else before; the shortest first, for a name is often imported elsewhere."""
    now = dict(functions_of_others())
    found = [
        name
        for name, parts in before.items()
        if name not in now or any(a is not b for a, b in zip(parts, now[name], strict=False))
    ]
    # A class that inherits a method changes, too, when it is given one of its own.
    found += [name for name in now if name not in before and name.rpartition(".")[0] in before]
    return sorted(found, key=lambda name: (name.count("."), len(name)))


def lasting_state(method: type[Method]) -> dict[str, object]:
    """What outlives a run: attributes of a method's classes, and of the modules that define them."""
    found: dict[str, object] = {}
    for one in method.__mro__:
        if one is not Method and issubclass(one, Method):
            module = sys.modules.get(one.__module__)
            places = {f"{one.__name__}.": vars(one), "the module's ": vars(module) if module is not None else {}}
            for place, held in places.items():
                found |= {f"{place}{name}": frozen(value) for name, value in held.items() if is_state(name, value)}
    return found


def is_state(name: str, value: object) -> bool:
    """Whether an attribute may hold what a run left."""
    return not (name.startswith("__") or name == "_abc_impl" or callable(value) or isinstance(value, types.ModuleType))


def frozen(value: object) -> object:
    """A value, to compare with what it is later."""
    try:
        return pickle.dumps(value)
    except Exception:  # not everything can be: identity must do
        return repr(value)


def changed(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """Names whose values differ, or that came or went."""
    return [name for name in {**before, **after} if before.get(name) != after.get(name)]
