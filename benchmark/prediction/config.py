"""config.json of a published network: what it says, checked."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from divsal_bench.errors import UserError
from divsal_bench.files import foreign
from divsal_bench.files.texts import first_line
from divsal_bench.networks.fitting import LARGEST_NUMBER, LONGEST_LIST, LONGEST_NAME
from divsal_bench.prediction.preprocessing import OWN_KEY, Preprocessing
from divsal_bench.registry import protocols
from divsal_bench.runs.names import CONFIG_FILE, LARGEST_CONFIG
from divsal_bench.words import Head

#: What a stranger's model_args may name beside what our protocols give a backbone: nothing that names a file.
ARGUMENTS = frozenset(
    ("in_chans", "num_classes", "output_stride", "global_pool", "drop_rate", "drop_path_rate", "img_size")
)
#: Without effect on a network that is not being trained.
FOR_TRAINING = frozenset(("drop_rate", "drop_path_rate"))
#: Characters of what set a threshold.
LONGEST_RULE = 300
#: Of class 0 and class 1, where they have no names.
DEFAULT_NAMES = ("negative", "positive")
#: Where no threshold is stated.
NO_THRESHOLD = "it states none, so 0: a probability of 0.5"


@dataclass(frozen=True)
class StatedThreshold:
    """Where decisions change.

    Attributes:
        threshold: On the logit margin; class 1 from there on. None: nothing is called class 1.
        rule: What set it, for people.
    """

    threshold: float | None
    rule: str


def small_file(path: Path) -> bool:
    """Whether a JSON file is there; one beyond all reason is a UserError."""
    if not os.path.lexists(path):
        return False
    if not path.is_file():
        raise UserError(f"{path} is not a regular file; get it again")
    if path.stat().st_size > LARGEST_CONFIG:
        raise UserError(f"{path} has more than {LARGEST_CONFIG:,} bytes; it is none that divsal-bench or timm wrote")
    return True


@dataclass(frozen=True)
class Config:
    """A config.json, checked.

    Attributes:
        architecture: A name that timm knows, without a tag.
        arguments: Of ``timm.create_model``; num_classes (1 or 2) and in_chans (1 or 3) are always there.
        class_names, point, run_id: What it says under our own key; None or "" where it has none.
    """

    architecture: str
    arguments: dict[str, Any]
    preprocessing: Preprocessing
    class_names: tuple[str, str] | None
    point: StatedThreshold | None
    run_id: str

    @property
    def head(self) -> Head:
        """One logit or two."""
        return "one-logit" if self.arguments["num_classes"] == 1 else "two-logit"


def read_config(folder: Path) -> Config:
    """Read a config.json in timm's root layout.

    Raises:
        UserError: It is damaged, asks for what is not allowed, or its network makes no decision between two classes.
    """
    path = folder / CONFIG_FILE
    try:
        content = foreign.read_json(path, LARGEST_CONFIG)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({first_line(error)}); get it again") from error
    try:
        if not isinstance(content, dict) or "architecture" not in content:
            raise UserError("it names no architecture, so it is no timm repository's")
        architecture = known_architecture(content["architecture"])
        arguments = arguments_of(content, architecture)
        preprocessing = Preprocessing.of_config(content)
        own = content.get(OWN_KEY)
        if own is None:
            return Config(architecture, arguments, preprocessing, label_names(content), None, "")
        if not isinstance(own, dict):
            raise UserError(f"its {OWN_KEY} is no JSON object")
        point = stated_point(own) if "threshold" in own else None
        run_id = plain_text(own.get("run_id", ""), "run_id", LONGEST_NAME)
        return Config(architecture, arguments, preprocessing, stated_names(own), point, run_id)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def known_architecture(name: object) -> str:
    """Names like ``local-dir:…`` make timm open a folder, those with a tag make it look weights up."""
    import timm

    if not isinstance(name, str) or name not in timm.list_models():
        raise UserError(f"its architecture {str(name)[:LONGEST_NAME]!r} is none that timm has; update timm?")
    return name


def arguments_of(content: Mapping[str, Any], architecture: str) -> dict[str, Any]:
    """Arguments of ``timm.create_model``, with what timm itself takes from elsewhere in its config.json."""
    given = content.get("model_args") or {}
    stated = content.get("pretrained_cfg", content)
    if not isinstance(given, dict) or not isinstance(stated, dict):
        raise UserError("its model_args or pretrained_cfg is no JSON object")
    found = {name: checked_argument(name, value) for name, value in given.items() if value is not None}
    size = stated.get("input_size")
    if isinstance(size, list) and len(size) == 3:
        found.setdefault("in_chans", size[0])
        if stated.get("fixed_input_size") is True:
            found.setdefault("img_size", checked_argument("img_size", size[1:]))
    if isinstance(stated.get("global_pool"), str):
        found.setdefault("global_pool", checked_argument("global_pool", stated["global_pool"]))
    found.setdefault("in_chans", 3)
    found.setdefault("num_classes", content.get("num_classes", stated.get("num_classes")))
    classes, channels = found["num_classes"], found["in_chans"]
    if classes is None:
        raise UserError(f"it does not say how many classes its {architecture} has; a decision has 2 (or one logit)")
    if type(classes) is not int or classes not in (1, 2):
        raise UserError(f"its network has {str(classes)[:20]} classes, a divsal-bench decision has 2 (or one logit)")
    if type(channels) is not int or channels not in (1, 3):
        raise UserError(f"its network takes {str(channels)[:20]} channels; images have 1 (grey) or 3 (RGB)")
    return found


def checked_argument(name: str, value: Any) -> Any:
    """Only numbers of sane size, short lists of them, and the name of a pooling."""
    if name not in ARGUMENTS | {arg for one in protocols.PROTOCOLS.values() for arg in one.backbone_args}:
        raise UserError(f"its model_args give {str(name)[:LONGEST_NAME]!r}, which is not allowed")
    if name == "global_pool" and isinstance(value, str) and re.fullmatch("[a-z]{0,20}", value):
        return value
    numbers = value if isinstance(value, list) else [value]
    if len(numbers) > LONGEST_LIST or not all(
        type(one) in (int, float, bool) and abs(one) <= LARGEST_NUMBER for one in numbers
    ):
        raise UserError(f"its model_args give {name} a value that is not allowed ({str(value)[:LONGEST_NAME]!r})")
    return value


def stated_names(own: Mapping[str, Any]) -> tuple[str, str]:
    """Class names under our own key."""
    names = own.get("class_names", list(DEFAULT_NAMES))
    if not isinstance(names, list) or len(names) != 2:
        raise UserError(f"its class_names {str(names)[:LONGEST_NAME]} are not two")
    negative, positive = (plain_text(name, "class name", LONGEST_NAME) for name in names)
    if not negative or not positive or negative == positive:
        raise UserError(f"its class_names {negative!r} and {positive!r} are not two names")
    return negative, positive


def label_names(content: Mapping[str, Any]) -> tuple[str, str] | None:
    """Class names as timm states them, if they are two that can be shown."""
    try:
        return stated_names({"class_names": content.get("label_names")})
    except UserError:
        return None


def stated_point(own: Mapping[str, Any]) -> StatedThreshold:
    """The threshold under our own key; null is one that nothing reaches."""
    value = own["threshold"]
    if value is not None and (type(value) not in (int, float) or not abs(value) < 1e9):
        raise UserError(f"its threshold {str(value)[:LONGEST_NAME]!r} is no number")
    rule = plain_text(own.get("threshold_rule", ""), "threshold_rule", LONGEST_RULE)
    return StatedThreshold(None if value is None else float(value), rule)


def plain_text(text: object, name: str, longest: int) -> str:
    """Text that is safe to print: short, without line breaks and other control characters."""
    if not isinstance(text, str) or len(text) > longest or not text.isprintable():
        raise UserError(f"its {name} {str(text)[:LONGEST_NAME]!r} is not plain text of up to {longest} characters")
    return text
