"""Trained networks, rebuilt from what a run left: its record and its safetensors. No pickle is ever loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from divsal_bench.errors import UserError, field_problem
from divsal_bench.files import foreign
from divsal_bench.files.texts import first_line
from divsal_bench.networks import backbones
from divsal_bench.networks.backbones import CamNet
from divsal_bench.registry import plugins, protocols
from divsal_bench.registry.protocols import Protocol
from divsal_bench.runs.names import WEIGHTS_FILE
from divsal_bench.runs.reading import Run
from divsal_bench.words import Head

#: A network may take so many times the bytes of its weights file (which may have half precision), and so many more.
MOST_TIMES, SPARE_BYTES = 4, 2**26
#: Bytes of the head of a safetensors file, which names its tensors; the largest networks have some hundred thousand.
LARGEST_HEAD = 2**23
#: A number that describes a network, how many of them one list has, and characters of a name.
LARGEST_NUMBER, LONGEST_LIST, LONGEST_NAME = 4096, 16, 60

Shapes = dict[str, tuple[int, ...]]


def load_model(run: Run) -> CamNet:
    """The network of a run directory, on the CPU, in evaluation mode.

    A record may be a stranger's: the network is built from its specification, nothing in it can name a file, and it
    takes little more memory than its weights file (see :func:`misfit`).

    Raises:
        UserError: The run has no weights, they are not its own or do not fit its specification, or that asks for what
            no protocol has.
    """
    if not (run.path / WEIGHTS_FILE).is_file():
        raise UserError(f"{run.path} has no {WEIGHTS_FILE}; run it again")
    run.check_file(WEIGHTS_FILE)
    spec, protocol = run.spec, protocol_of(run)
    in_chans = 3 if protocol.channels == 3 else plugins.tasks().get(spec.task).channels
    # Names like local-dir:… make timm open a folder; known names only look weights up, which are not asked for.
    if not backbones.known(spec.backbone):
        raise UserError(f"{run.path}: backbone {spec.backbone!r} has a tag that timm does not know")
    arguments = backbones.model_args(spec.backbone, protocol, in_chans, spec.head)
    return build(run.path, spec.backbone, arguments, spec.head, "run.json", protocol.channels_last)


def build(
    folder: Path, architecture: str, arguments: dict[str, Any], head: Head, source: str, channels_last: bool = True
) -> CamNet:
    """Build a network of a checked specification and load its weights.

    Args:
        folder: Holds model.safetensors.
        architecture: A name that timm knows.
        arguments: Checked.
        head: As the arguments say.
        source: The file that describes it, for messages.
        channels_last: Memory format.
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
            return f"{name} is {by(found[name])} there and {by(shape)} in the network"
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


def shapes_of(path: Path) -> Shapes:
    """Names and shapes in a safetensors file; only its head is read.

    Raises:
        UserError: It is damaged or cut off.
    """
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


def by(shape: tuple[int, ...]) -> str:
    """A shape for people: ``64×3×7×7``."""
    return "×".join(map(str, shape)) or "one number"


def protocol_of(run: Run) -> Protocol:
    """The protocol as the run's record keeps it.

    Raises:
        UserError: It is from another version of this program, or gives the network what no protocol here does.
    """
    try:
        protocol = Protocol(**run.spec.protocol_settings)
        # A record may be a stranger's. JSON again, for lists stand there where tuples belong.
        TypeAdapter(Protocol).validate_json(json.dumps(run.spec.protocol_settings), strict=True)
    except TypeError as error:
        raise UserError(f"{run.path} has protocol settings that this version does not know ({error})") from None
    except ValidationError as error:
        field, problem = field_problem(error.errors())
        text = str(error.errors()[0]["input"])[:60]
        raise UserError(
            f"{run.path}: its protocol's {field} is {text!r}, which no protocol here has (it {problem})"
        ) from None
    for name, least, most in (("input_size", 8, 2048), ("threads", 1, 256), ("output_stride", 1, 64)):
        value = getattr(protocol, name)
        if value is not None and not least <= value <= most:
            raise UserError(f"{run.path}: its protocol's {name} is {value}; {least} to {most} are read")
    usual = {name for one in protocols.PROTOCOLS.values() for name in one.backbone_args}
    given = protocol.backbone_args if isinstance(protocol.backbone_args, dict) else {"": protocol.backbone_args}
    for name, value in given.items():
        numbers = value if isinstance(value, list | tuple) else [value]
        if (
            name not in usual
            or len(numbers) > LONGEST_LIST
            or not all(type(number) in (int, float) and abs(number) <= LARGEST_NUMBER for number in numbers)
        ):
            raise UserError(
                f"{run.path}: its protocol gives the backbone {str(name)[:60]!r}, which no protocol here does"
            )
    return protocol
