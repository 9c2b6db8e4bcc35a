"""The trained network of a run, from its record and its safetensors; no pickle is ever loaded."""

from __future__ import annotations

import json

from pydantic import TypeAdapter, ValidationError

from divsal_bench.errors import UserError, field_problem
from divsal_bench.networks import backbones
from divsal_bench.networks.backbones import CamNet
from divsal_bench.networks.fitting import LARGEST_NUMBER, LONGEST_LIST, fitted_network
from divsal_bench.registry import plugins, protocols
from divsal_bench.registry.protocols import Protocol
from divsal_bench.runs.names import WEIGHTS_FILE
from divsal_bench.runs.reading import Run


def load_model(run: Run) -> CamNet:
    """The network of a run directory, on the CPU, in evaluation mode.

    A record may be a stranger's: the network is built from its specification, nothing in it can name a file, and it
    takes little more memory than its weights file (see :func:`divsal_bench.networks.fitting.misfit`).

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
    return fitted_network(run.path, spec.backbone, arguments, spec.head, "run.json", protocol.channels_last)


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
