"""Which accelerators there are, and the places of workers on them.

A worker sees its own device only, by ``CUDA_VISIBLE_DEVICES`` in its environment, so that inside it is ``cuda``.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

from divsal_bench.errors import UserError, plural
from divsal_bench.networks import devices
from divsal_bench.processes import places
from divsal_bench.processes.places import Place

#: The variable by which a scheduler, or a person, says which CUDA devices there are; CUDA counts within it.
VISIBLE = "CUDA_VISIBLE_DEVICES"
#: What names a device there: a number, or the identifier of a device or of a part of one (MIG).
IDENTIFIER = re.compile(r"\d+|(GPU|MIG)-\S+")


def uses_accelerator(device: str) -> bool:
    """Whether runs go to a GPU; looks without importing torch where a name tells."""
    if device != "auto":
        return device.partition(":")[0] != "cpu"
    return devices.has_nvidia() or (sys.platform in ("darwin", "win32") and devices.choose_device(device).type != "cpu")


def cuda_identifiers() -> list[str]:
    """What ``CUDA_VISIBLE_DEVICES`` must be for each CUDA device of this process: ``cuda:0``, ``cuda:1`` …

    Where the variable is there, it is the list, read as CUDA does: up to the first that names no device.

    Raises:
        UserError: It names a device twice, which CUDA takes for none.
    """
    listed = os.environ.get(VISIBLE)
    if listed is None:
        import torch

        return [str(number) for number in range(torch.cuda.device_count())]
    found: list[str] = []
    for item in listed.split(","):
        if not IDENTIFIER.fullmatch(item.strip()):
            break
        found.append(item.strip())
    if len(set(found)) < len(found):
        raise UserError(f"{VISIBLE} is {listed!r} and names a device twice; name each once")
    return found


def device_places(named: str, slots: int) -> tuple[str, tuple[Place, ...]]:
    """Places on accelerators, ``slots`` on each.

    Args:
        named: As ``--devices``: ``cuda:0,cuda:1``; ``cuda`` is all of them; ``mps``.

    Returns:
        The device as a run calls it inside of its place, and the places: those of different devices come first, so
        that few runs spread over all devices.

    Raises:
        UserError: Something else is named, or what is not there, or one twice.
    """
    if slots < 1:
        raise UserError(f"--slots must be 1 or more, not {slots}")
    names = [name.strip() for name in named.split(",") if name.strip()]
    if not names:
        raise UserError("--devices names no device; give some, e.g. --devices cuda:0,cuda:1")
    if names == ["mps"]:
        devices.choose_device("mps")
        return "mps", on_devices({"mps": {}}, slots)
    for name in names:
        if not re.fullmatch(r"cuda(:\d+)?", name):
            more = "; on the CPU, --workers divides the processors" if name.startswith("cpu") else ""
            raise UserError(f"--devices takes cuda (all that there are), cuda:0, cuda:1 …, or mps, not {name!r}{more}")
    there = {f"cuda:{number}": {VISIBLE: found} for number, found in enumerate(cuda_identifiers())}
    source = f"{VISIBLE} is {os.environ[VISIBLE]!r}, which makes" if VISIBLE in os.environ else "this machine has"
    known = f"{source} {plural(len(there), 'CUDA device') if there else 'no CUDA device'}"
    wanted = [one for name in names for one in (there if name == "cuda" else [f"cuda:{int(name[5:])}"])]
    missing = [one for one in wanted if one not in there] or ([] if wanted else names)
    if missing:
        fix = f"; choose among {', '.join(there)}" if there else "; take --device cpu"
        raise UserError(f"--devices names {missing[0]}, but {known}{fix}")
    twice = [one for one in wanted if wanted.count(one) > 1]
    if twice:
        raise UserError(f"--devices names {twice[0]} twice; --slots is how many workers share a device")
    devices.choose_device("cuda")
    return "cuda", on_devices({one: there[one] for one in wanted}, slots)


def on_devices(environments: dict[str, dict[str, str]], slots: int) -> tuple[Place, ...]:
    """So many places on each of some devices, by name, with what makes its workers see it."""
    pairs = [(slot, device) for slot in range(slots) for device in environments]
    return tuple(
        Place(
            number,
            device,
            ", ".join([device] * bool(environments[device]) + [f"slot {slot + 1} of {slots}"] * (slots > 1)),
            environment={**environments[device], devices.SLOTS: str(slots)},
        )
        for number, (slot, device) in enumerate(pairs)
    )


def places_for_workers(workers: int | Sequence[Place], device: str, threads: int) -> tuple[Place, ...]:
    """The places of a number of workers: on the CPU each its processors, on one accelerator each a slot."""
    if not isinstance(workers, int):
        return tuple(workers)
    if not uses_accelerator(device):
        return places.on_processors(workers, threads)
    return on_devices({device: {}}, workers)
