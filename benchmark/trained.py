"""Trained networks, rebuilt from what a run left: its record and its safetensors. No pickle is ever loaded."""

from __future__ import annotations

import hashlib
from pathlib import Path

from divsal_bench.backbones import CamNet, first_line
from divsal_bench.errors import UserError
from divsal_bench.protocols import Protocol
from divsal_bench.records import Run

WEIGHTS_FILE = "model.safetensors"


def load_model(run: Run) -> CamNet:
    """The network of a run directory, on the CPU.

    Raises:
        UserError: The run has no weights, or they do not fit its own record.
    """
    import timm
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = run.path / WEIGHTS_FILE
    if not path.is_file():
        raise UserError(f"{run.path} has no {WEIGHTS_FILE}; run it again")
    try:
        net = timm.create_model(run.spec.backbone, pretrained=False, **run.record.model_args)
        net.load_state_dict(load_file(path))
    except (OSError, RuntimeError, TypeError, ValueError, SafetensorError) as error:
        raise UserError(f"{path} does not fit the network that run.json describes ({first_line(error)})") from error
    if protocol_of(run).channels_last:
        net.to(memory_format=torch.channels_last)
    return CamNet(net, run.spec.head)


def protocol_of(run: Run) -> Protocol:
    """The protocol as the run's record keeps it.

    Raises:
        UserError: It is from another version of this program.
    """
    try:
        return Protocol(**run.spec.protocol_settings)
    except TypeError as error:
        raise UserError(f"{run.path} has protocol settings that this version does not know ({error})") from None


def weights_sha256(path: Path) -> str:
    """Hash of a run directory's weights, 64 hexadecimal digits; a missing file is a UserError."""
    try:
        with (path / WEIGHTS_FILE).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path / WEIGHTS_FILE} cannot be read ({error.strerror or error}); run it again") from error
