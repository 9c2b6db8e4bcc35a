"""One image explained: its decision, maps, and the regions whose logits and the bias are its margin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from divsal_bench.contracts import cams
from divsal_bench.errors import UserError, unknown
from divsal_bench.maps import closed_form, evidence, gradcam, public
from divsal_bench.maps.covering import Score, margin_score
from divsal_bench.maps.regions import Occlusion, Region, Regions, occlusion, regions
from divsal_bench.networks import devices, inference
from divsal_bench.scores.agreement import EMPTY, agreement_with_people

if TYPE_CHECKING:
    from torch import Tensor

    from divsal_bench.explanation.examples import Opened
    from divsal_bench.prediction.pretrained import Pretrained

#: The maps that are shown where none are asked for.
DEFAULT = ("true-class", "false-class", "difference", "case", "case-clamped")
#: Maps that need no closed form. Grad-CAM is ours, the others come with the extra ``explain``.
FREE = tuple(public.PUBLIC)
#: Regions that are named; the others are summed.
NAMED = 8


@dataclass(frozen=True, eq=False)
class ShownMap:
    """One map of one image.

    Attributes:
        sentence, source: What it shows and where it is from.
        signed: Its negative part speaks against the class.
        on_scale: Whether its mean over the grid is in logits, so that it shares a scale with the difference map.
        values: Signed, (h, w) float64; None where it is undefined.
        absent: Why it is undefined; "" where it is not.
        numbers: Agreement with the human map, by :data:`divsal_bench.scores.agreement.COLUMNS`; empty without one.
    """

    name: str
    sentence: str
    source: str
    signed: bool
    on_scale: bool
    values: np.ndarray | None
    absent: str = ""
    numbers: dict[str, float] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether it is defined and has no positive part."""
        if self.values is None:
            return False
        return bool(self.values.max() <= EMPTY * np.abs(self.values).max())


@dataclass(frozen=True, eq=False)
class Explanation:
    """One image, explained.

    Attributes:
        target: The class that is explained.
        labelled: Whether that is the image's given class; otherwise it is the one that it is called.
        logits: Of class 0 and class 1.
        score: z1 − z0.
        decision: The class that it is called, at the network's threshold.
        maps: In the order asked for.
        regions: Of the difference map towards ``target``; None for a network without a closed form.
        covering: What covering each named region did, in their order.
        pixels: What the network saw, uint8, (1 or 3, S, S).
        human: The human map, uint8, (S, S); None without one.
    """

    image: str
    class_names: tuple[str, str]
    target: int
    labelled: bool
    logits: tuple[float, float]
    score: float
    decision: int
    maps: tuple[ShownMap, ...]
    regions: Regions | None
    covering: tuple[Occlusion, ...]
    pixels: np.ndarray
    human: np.ndarray | None

    @property
    def margin(self) -> float:
        """The score towards the class that is explained: z_c − z_other."""
        return self.score if self.target else -self.score

    @property
    def own(self) -> str:
        """The name of the class that is explained."""
        return self.class_names[self.target]

    @property
    def other(self) -> str:
        """The name of the other class."""
        return self.class_names[1 - self.target]

    @property
    def why_class(self) -> str:
        """``true class`` or ``predicted class``: what the explained class is."""
        return "true class" if self.labelled else "predicted class"

    def map(self, name: str) -> ShownMap | None:
        """One of its maps."""
        return next((one for one in self.maps if one.name == name), None)


def maps_named(text: str | None) -> tuple[str, ...]:
    """The maps that ``--maps`` names, separated by commas, without it :data:`DEFAULT`; UserError if one is unknown."""
    if text is None:
        return DEFAULT
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise UserError(f"--maps names no map; choose from {', '.join([*closed_form.MAPS, *FREE])}")
    for name in names:
        if name not in closed_form.MAPS and name not in FREE:
            raise unknown("map", name, [*closed_form.MAPS, *FREE])
    return names


def has_closed_form(pretrained: Pretrained, names: Sequence[str], asked: bool) -> bool:
    """Whether mean CAM + bias is the network's logit; refuse maps that cannot be had, before any image is read.

    Args:
        asked: Whether the user named them: of those that are shown by default, an undefined one says so in its place.

    Raises:
        UserError: A package is missing, a map is undefined for this head, or it needs a closed form that is not there.
    """
    if any(name in FREE and name != "gradcam" for name in names):
        public.grad_cam_package()
    closed_names = [name for name in names if name in closed_form.MAPS]
    for name in closed_names if asked else ():
        if why := closed_form.map_kind(name).undefined_for(pretrained.model.head):
            raise UserError(f"--maps {name}: {why}; leave it out, or take difference or case-clamped")
    try:
        pretrained.require_maps()
    except UserError as error:
        if closed_names:
            raise UserError(f"{error} Without one, --maps gradcam,hirescam explains it, without regions.") from None
        return False
    return True


def explain_image(
    pretrained: Pretrained, image: str, opened: Opened, label: int | None, names: Sequence[str], closed: bool = True
) -> Explanation:
    """Explain one image.

    Args:
        pretrained: The network, on the device where it works.
        label: The class to explain; None takes the one that the image is called.
        names: Maps, from :func:`maps_named`.
        closed: Whether the network has a closed form; without one there are no regions, and ``names`` are all
            :data:`FREE`.

    Raises:
        UserError: A score that is not finite, or a map cannot be made for this network.
    """
    import torch

    device = devices.device_of(pretrained.model)
    floats = inference.as_input(torch.from_numpy(opened.pixels.copy())[None].to(device), pretrained.input_form)
    found = None
    with devices.arithmetic(device, pretrained.precision):
        if closed:
            found = evidence.gather(pretrained.model, floats)
            logits = found.logits
        else:
            with torch.no_grad():
                logits = pretrained.model.forward(floats)[0]
    values = logits[0].double().cpu().numpy()
    score = float(values[1] - values[0])
    if not math.isfinite(score):
        raise UserError(f"{image} gives a score that is not finite")
    decision = int(pretrained.decision(score) == pretrained.class_names[1])
    target = decision if label is None else label
    classes = torch.tensor([target], device=device)
    shown = tuple(one_map(pretrained, name, found, floats, classes, opened.human) for name in names)
    parts, covering = None, tuple[Occlusion, ...]()
    if found is not None:
        difference = closed_form.difference_map(found, classes).values[0].double().cpu().numpy()
        bias = float(found.bias[target].double() - found.bias[1 - target].double())
        parts = regions(difference, bias, pooled(opened.human, found.grid), count=NAMED)
        side = np.array([1 if target else -1])
        (covering,) = occlusion(scorer(pretrained), floats, [parts], side)
    return Explanation(
        image=image,
        class_names=pretrained.class_names,
        target=target,
        labelled=label is not None,
        logits=(float(values[0]), float(values[1])),
        score=score,
        decision=decision,
        maps=shown,
        regions=parts,
        covering=covering,
        pixels=opened.pixels,
        human=opened.human,
    )


def one_map(
    pretrained: Pretrained,
    name: str,
    found: evidence.Evidence | None,
    floats: Tensor,
    target: Tensor,
    human: np.ndarray | None,
) -> ShownMap:
    """One map of one image, with its agreement."""
    if name in closed_form.MAPS:
        assert found is not None
        entry = closed_form.map_kind(name)
        sentence, source, signed, on_scale = entry.sentence, entry.source, entry.signed, True
        why = entry.undefined_for(pretrained.model.head)
        made = None if why else entry.function(found, target)
    else:
        own = public.PUBLIC[name]
        why, sentence, source = "", own.sentence, own.source
        signed = on_scale = name in ("gradcam", "hirescam")
        if name == "gradcam":
            made = gradcam.gradcam(pretrained.model, floats, target)
        else:
            made = public.public_map(name, pretrained.model, floats, target)
    if made is not None and bool(made.undefined[0]):
        why, made = made.why, None
    if made is None:
        return ShownMap(name, sentence, source, signed, on_scale, None, f"undefined: {why.removeprefix('undefined ')}")
    values = made.values[0].detach().double().cpu().numpy()
    numbers = {}
    area = pooled(human, (values.shape[0], values.shape[1]))
    if area is not None:
        numbers = {key: float(column[0]) for key, column in agreement_with_people(values[None], area[None]).items()}
    return ShownMap(name, sentence, source, signed, on_scale, values, "", numbers)


def pooled(human: np.ndarray | None, grid: tuple[int, int]) -> np.ndarray | None:
    """A human map, uint8 (S, S), averaged on the grid: (h, w) in [0, 1]."""
    return None if human is None else cams.human_cells(human[None], grid)[0].astype(np.float64)


def scorer(pretrained: Pretrained) -> Score:
    """Normalised images to margins, in the network's own precision: scores are those that ``predict`` gives."""
    plain, device = margin_score(pretrained.model), devices.device_of(pretrained.model)

    def score(images: Tensor) -> np.ndarray:
        with devices.arithmetic(device, pretrained.precision):
            return plain(images)

    return score


def speaks_for(found: Explanation, region: Region) -> str:
    """The class that a region adds logits to."""
    return found.own if region.logits > 0 else found.other
