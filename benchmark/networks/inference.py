"""Images into a network, logits and maps out."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from divsal_bench.networks import devices, stored

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from divsal_bench.networks.backbones import CamNet
    from divsal_bench.networks.stored import Images
    from divsal_bench.registry.protocols import Protocol

#: In one forward pass; more than 128 images of the sizes that protocols here have.
MOST_PIXELS = 128 * 512**2


@dataclass(frozen=True)
class InputForm:
    """How uint8 images become a network's input, and the arithmetic that it works in.

    Attributes:
        size: Side S of the square input, pixels.
        channels: 3 repeats grey images; ``"task"`` takes images as they are.
        mean, std: Of the input in [0, 1], per channel; one number serves all channels.
        precision: ``fp32`` or ``bf16`` (autocast).
    """

    size: int
    channels: Literal["task", 3]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = True


def form_of(protocol: Protocol) -> InputForm:
    """The form that a protocol trains in."""
    return InputForm(
        size=protocol.input_size,
        channels=protocol.channels,
        mean=protocol.mean,
        std=protocol.std,
        precision=protocol.precision,
        channels_last=protocol.channels_last,
    )


def as_input(images: Tensor, form: InputForm) -> Tensor:
    """uint8 (B, C, S, S) to the network's input: float, normalised, grey repeated if 3 channels are asked."""
    import torch

    mean, std = mean_and_std(tuple(form.mean), tuple(form.std), images.device)
    if form.channels == 3 and images.shape[1] == 1:
        images = images.expand(-1, 3, -1, -1)
    floats = images.float().sub_(mean).div_(std) if images.shape[1] >= mean.shape[1] else (images - mean) / std
    return floats.contiguous(memory_format=torch.channels_last) if form.channels_last else floats


@functools.lru_cache(maxsize=16)
def mean_and_std(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Those of a form for uint8 values, (1, channels, 1, 1); made once, since an accelerator waits for a copy to it."""
    import torch

    with torch.inference_mode(False):  # they are kept, and training uses them too
        first, second = (torch.tensor(values, device=device).view(1, -1, 1, 1) * 255 for values in (mean, std))
    return first, second


class ScoredChunk(NamedTuple):
    """What a network says of some of the images.

    Attributes:
        positions: Which of all.
        logits: (n, 2) float32 on the CPU.
        cams: Of both classes, (n, 2, h, w) float32 on the CPU; None unless asked for.
    """

    positions: slice
    logits: Tensor
    cams: Tensor | None


def infer(
    model: CamNet,
    images: Images,
    form: InputForm,
    with_cams: bool = False,
    batch_size: int = 128,
    on_batch: Callable[[], None] = lambda: None,
) -> tuple[Tensor, Tensor | None]:
    """Score images in order and keep everything; see :func:`infer_chunks`.

    Returns:
        Logits (N, 2) and, if asked for, CAMs (N, 2, h, w), float32 on the CPU.
    """
    import torch

    parts = list(infer_chunks(model, images, form, with_cams, batch_size, on_batch))
    maps = [part.cams for part in parts if part.cams is not None]
    return torch.cat([part.logits for part in parts]), torch.cat(maps) if maps else None


def infer_chunks(
    model: CamNet,
    images: Images,
    form: InputForm,
    with_cams: bool = False,
    batch_size: int = 128,
    on_batch: Callable[[], None] = lambda: None,
) -> Iterator[ScoredChunk]:
    """Score images in order, chunk by chunk: memory does not grow with their number.

    Args:
        images: (N, C, S, S) uint8: a tensor on any device, an array, or
            :class:`divsal_bench.networks.stored.ChosenRows`.
        form: Of the input, with the precision.
        with_cams: Also compute the CAMs of both classes, from the same features.
        batch_size: Changes the last bits of a logit at most (1e-7): matrix products round by their size.
        on_batch: Called for every chunk that is done.
    """
    device = devices.device_of(model)
    model.net.eval()
    size = max(1, min(batch_size, MOST_PIXELS // max(1, images.shape[-1] * images.shape[-2])))
    # One chunk behind: an accelerator works on the next one while the last one's results are used.
    computing: deque[Callable[[], ScoredChunk]] = deque()
    start = 0
    for chunk in stored.chunks(images, size, device):
        computing.append(_scored(model, chunk, start, form, with_cams))
        start += len(chunk)
        if len(computing) > 1:
            yield computing.popleft()()
            on_batch()
    for last in computing:
        yield last()
        on_batch()


def _scored(model: CamNet, chunk: Tensor, start: int, form: InputForm, with_cams: bool) -> Callable[[], ScoredChunk]:
    """Begin one forward pass; the function that is returned waits for its results."""
    import torch

    from divsal_bench.contracts.cams import class_cams

    # Entered for each chunk: a generator must not leave its caller in another mode.
    with torch.inference_mode(), devices.arithmetic(chunk.device, form.precision):
        logits, features = model.forward(as_input(chunk, form))
        results = [logits.float()]
        if with_cams:
            with devices.arithmetic(chunk.device):
                results.append(class_cams(features.float(), model.classifier()[0].float()))
        arrived = devices.to_host(results)

    def scored() -> ScoredChunk:
        scores, *maps = arrived()
        return ScoredChunk(slice(start, start + len(scores)), scores, maps[0] if maps else None)

    return scored
