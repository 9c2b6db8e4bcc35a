"""Weights fitted to an architecture: what they must agree in is looked at before anything is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from divsal_bench.errors import UserError
from divsal_bench.files import foreign
from divsal_bench.files.texts import first_line
from divsal_bench.networks.backbones import CamNet
from divsal_bench.runs.names import WEIGHTS_FILE
from divsal_bench.words import Head

#: A network may take so many times the bytes of its weights file (which may have half precision), and so many more.
MOST_TIMES, SPARE_BYTES = 4, 2**26
#: Bytes of the head of a safetensors file, which names its tensors; the largest networks have some hundred thousand.
LARGEST_HEAD = 2**23
#: A number that describes a network, how many of them one list has, and characters of a name.
LARGEST_NUMBER, LONGEST_LIST, LONGEST_NAME = 4096, 16, 60


def fitted_network(
    folder: Path, architecture: str, arguments: dict[str, Any], head: Head, source: str, channels_last: bool = True
) -> CamNet:
    """Build a network of a checked specification and load its weights.

    Args:
        folder: Holds model.safetensors.
        head: As the arguments say.
        source: The file that describes it, for messages.
    """
    import timm
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / WEIGHTS_FILE
    wrong = misfit(folder, architecture, arguments, source)
    if wrong is not None:
        raise UserError(f"{path} does not fit the network that {source} describes ({wrong})")
    try:
        net = timm.create_model(architecture, pretrained=False, **arguments)
        net.load_state_dict(load_file(path), strict=True)
    except (OSError, RuntimeError, TypeError, ValueError, AssertionError, SafetensorError) as error:
        raise UserError(f"{path} does not fit the network that {source} describes ({first_line(error)})") from error
    if channels_last:
        net.to(memory_format=torch.channels_last)
    net.eval()
    return CamNet(net, head)


def misfit(folder: Path, architecture: str, arguments: dict[str, Any], source: str) -> str | None:
    """How weights differ from the network they should fit; None if they fit.

    Nothing is allocated, and nothing that is refused here is built: neither a file nor a description can make a
    network that takes much more memory than the weights file. That a tensor is not saved (as tables of positions are
    not) does not make it small.

    Raises:
        UserError: The weights cannot be read, there is no such network, it decides by something else than one linear
            layer, or it is far larger than its weights.
    """
    import timm
    import torch

    found = shapes_of(folder / WEIGHTS_FILE)
    try:
        with torch.device("meta"):
            net = timm.create_model(architecture, pretrained=False, **arguments)
    except Exception as error:  # constructors fail in any way at arguments that they did not expect
        raise UserError(f"{folder / source} describes a network that cannot be built ({first_line(error)})") from error
    wanted = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    for name, shape in wanted.items():
        if name not in found:
            return f"{name} is missing there"
        if found[name] != shape:
            return f"{name} is {shape_text(found[name])} there and {shape_text(shape)} in the network"
    extra = next((name for name in found if name not in wanted), None)
    if extra is not None:
        return f"{extra[:LONGEST_NAME]!r} is in the file and not in the network"
    linear = getattr(net, "get_classifier", lambda: None)()
    if not isinstance(linear, torch.nn.Linear):
        raise UserError(f"{folder}: the classifier of {architecture} is {type(linear).__name__}, not linear")
    size = sum(tensor.nbytes for tensor in (*net.parameters(), *net.buffers()))
    most = MOST_TIMES * (folder / WEIGHTS_FILE).stat().st_size + SPARE_BYTES
    if size > most:
        raise UserError(
            f"{folder / source} describes a network of {size:,} bytes, {most:,} are allowed for its {WEIGHTS_FILE}; "
            "its img_size may be wrong"
        )
    return None


def shapes_of(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a safetensors file, by its head alone; UserError if it is damaged or cut off."""
    from safetensors import SafetensorError, safe_open

    try:
        with foreign.open_regular(path) as head:
            size = int.from_bytes(head.read(8), "little")
        if LARGEST_HEAD < size <= path.stat().st_size:
            raise ValueError(f"its head has {size:,} bytes, {LARGEST_HEAD:,} are allowed")
        with safe_open(path, "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(
            f"{path} is not a whole safetensors file ({foreign.why_unread(error)}); get it again"
        ) from error


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape for people: ``64×3×7×7``."""
    return "×".join(map(str, shape)) or "one number"
