"""Trained networks, rebuilt from what a run left: its record and its safetensors. No pickle is ever loaded."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from divsal_bench import backbones, plugins, protocols
from divsal_bench.backbones import CamNet, first_line
from divsal_bench.errors import UserError, field_problem
from divsal_bench.protocols import Protocol
from divsal_bench.records import Run

WEIGHTS_FILE = "model.safetensors"
#: Ends of the names of files that can run code when they are loaded; none is.
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".tar")


def load_model(run: Run) -> CamNet:
    """The network of a run directory, on the CPU.

    A record may be a stranger's: the network is built from its specification, and nothing in it can name a file.

    Raises:
        UserError: The run has no weights, they do not fit its specification, or that asks for what no protocol has.
    """
    import timm
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = run.path / WEIGHTS_FILE
    if not path.is_file():
        raise UserError(f"{run.path} has no {WEIGHTS_FILE}; run it again")
    spec, protocol = run.spec, protocol_of(run)
    in_chans = 3 if protocol.channels == 3 else plugins.tasks().get(spec.task).channels
    # Names like local-dir:… make timm open a folder; known names only look weights up, which are not asked for.
    if not backbones.known(spec.backbone):
        raise UserError(f"{run.path}: backbone {spec.backbone!r} has a tag that timm does not know")
    arguments = backbones.model_args(spec.backbone, protocol, in_chans, spec.head)
    try:
        net = timm.create_model(spec.backbone, pretrained=False, **arguments)
        net.load_state_dict(load_file(path))
    except (OSError, RuntimeError, TypeError, ValueError, AssertionError, SafetensorError) as error:
        raise UserError(f"{path} does not fit the network that run.json describes ({first_line(error)})") from error
    if protocol.channels_last:
        net.to(memory_format=torch.channels_last)
    return CamNet(net, run.spec.head)


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
        if name not in usual or not all(type(number) in (int, float) for number in numbers):
            raise UserError(
                f"{run.path}: its protocol gives the backbone {str(name)[:60]!r}, which no protocol here does"
            )
    return protocol


def weights_sha256(path: Path) -> str:
    """Hash of a run directory's weights, 64 hexadecimal digits; a missing file is a UserError."""
    try:
        with (path / WEIGHTS_FILE).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path / WEIGHTS_FILE} cannot be read ({error.strerror or error}); run it again") from error
