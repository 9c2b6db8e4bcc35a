"""The state of a :class:`Training` between two steps as JSON and tensors, and back into a new one of the same run.

Written are weights and buffers, optimiser and schedule, every random stream, the best epoch so far, the history, the
place in the epoch, and what the method keeps in its attributes (:mod:`divsal_bench.training.packing`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from divsal_bench.training.known import Known, UnusableError
from divsal_bench.training.packing import Packer, tensors_of
from divsal_bench.training.training import Training, batches
from divsal_bench.training.unpacking import Unpacker

#: How the names of tensors begin that are not the method's or the optimiser's.
NETWORK, KEPT, STREAM = "network.", "kept.", "stream."
#: What reading content that fits nothing raises, whoever wrote it.
MISFITS = (
    UnusableError, LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError, SyntaxError,
    MemoryError,
)  # fmt: skip


def known_to(training: Training) -> Known:
    """What a new start of this training makes again; to be asked before the first step."""
    split = training.split
    named = {f"train.{name}": value for name, value in vars(split).items() if value is not None}
    named |= {"train": split, **{NETWORK + name: tensor for name, tensor in network_tensors(training).items()}}
    return Known(training.method, named)


def network_tensors(training: Training) -> dict[str, Tensor]:
    """Everything in the network that changes: parameters, and buffers whether they are saved with a model or not."""
    net = training.model.net
    return {**dict(net.named_parameters()), **dict(net.named_buffers())}


def stream_states(training: Training) -> dict[str, tuple[Callable[[], Tensor], Callable[[Tensor], Any]]]:
    """How to read and to set torch's random streams: the run's own, and those that networks draw from."""
    found: dict[str, tuple[Callable[[], Tensor], Callable[[Tensor], Any]]] = {
        "geometry": (training.geometry.get_state, training.geometry.set_state),
        "own": (training.own.get_state, training.own.set_state),
        "split": (training.split.generator.get_state, training.split.generator.set_state),
        "torch": (torch.get_rng_state, torch.set_rng_state),
    }
    device = training.train.labels.device
    if device.type == "cuda":
        found["device"] = (
            lambda: torch.cuda.get_rng_state(device), lambda state: torch.cuda.set_rng_state(state, device)
        )  # fmt: skip
    elif device.type == "mps":
        found["device"] = (torch.mps.get_rng_state, torch.mps.set_rng_state)
    return found


def state_of(training: Training, known: Known) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Everything that a training is between two steps.

    Args:
        training: It is left as it is.
        known: Of :func:`known_to`, from before its first step.

    Returns:
        Content for JSON, and tensors by name, some of which are the training's own: to be written before the next step.

    Raises:
        UnstorableError: The method keeps something that cannot be restored.
    """
    packer = Packer(known)
    history = training.history
    # The method first: what it keeps decides whether there is a state at all.
    content = {"method": packer.pack(training.method, "self")}
    packer.check_shared()
    content |= {
        "notices": packer.items(list(history.notices), "train.notices"),
        "epoch": training.epoch,
        "done": training.done,
        "best": packer.pack(training.best, "best"),
        "sums": packer.pack(training.sums, "sums"),
        "epochs": packer.pack(history.epochs, "epochs"),
        "selected_epoch": history.selected_epoch,
        "train_seconds": history.train_seconds,
        "optimiser": packer.pack(training.optimiser.state_dict(), "optimiser"),
        "scheduler": packer.pack(training.scheduler.state_dict(), "scheduler"),
        "python": packer.pack(random.getstate(), "random"),
        "numpy": packer.pack(np.random.get_state(legacy=False), "numpy.random"),
    }
    tensors = packer.tensors | dict(tensors_of(network_tensors(training), NETWORK))
    if training.kept is not None:
        tensors |= tensors_of(training.kept, KEPT)
    tensors |= {STREAM + name: read() for name, (read, _) in stream_states(training).items()}
    tensors[STREAM + "order"] = training.order_before if training.done else training.order.get_state()
    return content, tensors


def restore_training(
    training: Training, known: Known, content: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Bring a training that has not begun to where another one of the same run was.

    Args:
        known: Of :func:`known_to`.
        content, tensors: Of :func:`state_of`, perhaps by way of a file that may be anybody's.

    Raises:
        UnusableError: They do not fit; the training is then spoilt, and has to be made again.
    """
    try:
        _restore(training, known, content, tensors)
    except MISFITS as error:
        text = str(error) if isinstance(error, UnusableError) else f"does not fit ({type(error).__name__}: {error})"
        raise UnusableError(text) from error


def _restore(training: Training, known: Known, content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    history, protocol = training.history, training.protocol
    epoch, done = int(content["epoch"]), int(content["done"])
    if not (1 <= epoch <= protocol.epochs + 1 and 0 <= done < training.steps) or (epoch > protocol.epochs and done):
        raise UnusableError(f"is at step {done} of epoch {epoch}")
    unpacker = Unpacker(known, tensors, training.train.labels.device)
    unpacker.unpack(content["method"])
    history.notices[:] = [unpacker.unpack(one) for one in content["notices"]]
    training.epoch = epoch
    training.best = float(unpacker.unpack(content["best"]))
    training.sums = unpacker.unpack(content["sums"])
    history.epochs = unpacker.unpack(content["epochs"])
    history.selected_epoch = int(content["selected_epoch"])
    history.train_seconds = float(content["train_seconds"])
    for row in history.epochs:
        if not all(type(name) is str and type(value) in (int, float) for name, value in row.items()):
            raise UnusableError("has a history of something else than numbers")
    if len(history.epochs) != epoch - 1:
        raise UnusableError(f"is in epoch {epoch} and has a history of {len(history.epochs)}")
    fill_network(network_tensors(training), under(tensors, NETWORK))
    restore_optimiser(training, unpacker.unpack(content["optimiser"]))
    schedule = unpacker.unpack(content["scheduler"])
    require_form(training.scheduler.state_dict(), schedule, "schedule")
    training.scheduler.load_state_dict(schedule)
    kept = under(tensors, KEPT)
    if kept:
        own = training.model.net.state_dict()
        require_alike(own, kept)
        training.kept = {name: kept[name].to(tensor.device, copy=True) for name, tensor in own.items()}
    elif protocol.selection != "last" and epoch > 1:
        raise UnusableError("lacks the best epoch")
    random.setstate(unpacker.unpack(content["python"]))
    np.random.set_state(unpacker.unpack(content["numpy"]))
    training.order.set_state(tensors[STREAM + "order"])
    if done:
        training.order_before = training.order.get_state()
        training.shuffled = batches(len(training.train), protocol.batch_size, training.order)
        training.model.net.train()
        training.done = done
    # Last: whatever is drawn on the way must not move them.
    for name, (_, write) in stream_states(training).items():
        write(tensors[STREAM + name])


def restore_optimiser(training: Training, found: dict[str, Any]) -> None:
    """Give the optimiser its state; whatever is not of a parameter's shape does not fit."""
    own = training.optimiser.state_dict()
    if [sorted(group) for group in found["param_groups"]] != [sorted(group) for group in own["param_groups"]]:
        raise UnusableError("has another optimiser")
    require_form(own["param_groups"], found["param_groups"], "optimiser")
    parameters = [one for group in training.optimiser.param_groups for one in group["params"]]
    for number, values in found["state"].items():
        for value in values.values():
            if isinstance(value, Tensor) and value.dim() and value.shape != parameters[number].shape:
                raise UnusableError("has the optimiser of another network")
    training.optimiser.load_state_dict(found)


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors whose names begin so, without that."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def fill_network(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Write weights and buffers in place: the optimiser, and perhaps the method, hold on to them."""
    require_alike(own, found)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(found[name])


def require_alike(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Refuse tensors of other names, shapes or kinds of numbers."""
    if own.keys() != found.keys():
        raise UnusableError(f"has other tensors ({min(own.keys() ^ found.keys())})")
    for name, tensor in own.items():
        if (tensor.shape, tensor.dtype) != (found[name].shape, found[name].dtype):
            raise UnusableError(f"has {name} as {tuple(found[name].shape)}, here it is {tuple(tensor.shape)}")


def require_form(own: Any, found: Any, what: str) -> None:
    """Refuse content that is built otherwise than ours: other names, lengths or kinds of values."""
    if type(own) is not type(found) and {type(own), type(found)} != {int, float}:
        raise UnusableError(f"has another {what}")
    if isinstance(own, dict | list | tuple):
        if len(own) != len(found) or (isinstance(own, dict) and own.keys() != found.keys()):
            raise UnusableError(f"has another {what}")
        for name in own if isinstance(own, dict) else range(len(own)):
            require_form(own[name], found[name], what)
