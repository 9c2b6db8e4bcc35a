"""Networks ready for use, from a run directory or a timm repository. What these say of themselves is checked."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divsal_bench.data.images import FULL, Window
from divsal_bench.data.reading import window_of
from divsal_bench.errors import UserError
from divsal_bench.files import foreign
from divsal_bench.networks import backbones
from divsal_bench.networks.backbones import CamNet, Head, first_line
from divsal_bench.networks.trained import (  # fmt: skip
    LARGEST_NUMBER,
    LONGEST_LIST,
    LONGEST_NAME,
    PICKLES,
    WEIGHTS_FILE,
    build,
    by,
    load_model,
    misfit,
    protocol_of,
)
from divsal_bench.predict.preprocessing import OWN_KEY, Precision, Preprocessing
from divsal_bench.registry import plugins, protocols
from divsal_bench.runs.records import Record, Run, read_run

if TYPE_CHECKING:
    import pandas as pd

    from divsal_bench.predict.prediction import Source

CONFIG_FILE, RUN_FILE = "config.json", "run.json"
#: Bytes. Such files have a few thousand.
LARGEST_JSON = 2**20
#: What a stranger's model_args may name beside what our protocols give a backbone: nothing that names a file.
ARGUMENTS = frozenset(
    ("in_chans", "num_classes", "output_stride", "global_pool", "drop_rate", "drop_path_rate", "img_size")
)
#: Without effect on a network that is not being trained.
FOR_TRAINING = frozenset(("drop_rate", "drop_path_rate"))
LONGEST_RULE = 300
DEFAULT_NAMES = ("negative", "positive")
NO_THRESHOLD = "it states none, so 0: a probability of 0.5"


@dataclass(frozen=True)
class OperatingPoint:
    """Where decisions change.

    Attributes:
        threshold: On the logit margin; class 1 from there on. None: nothing is called class 1.
        rule: What set it, for people.
    """

    threshold: float | None
    rule: str


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A network that decides between two classes, and all that using it takes.

    Attributes:
        model: In evaluation mode, on the CPU unless it was moved.
        preprocessing: From a file to its input.
        class_names: Of class 0 and class 1.
        threshold, threshold_rule: As in :class:`OperatingPoint`.
        precision: ``fp32``, or ``bf16`` (autocast).
        origin: Where it came from, for people.
        record: Of the run that trained it; None where that is not known.
        channels_last: Its memory format.
        window: The values of 16-bit files that are black and white; of a run whose data was prepared with one window,
            that one.
    """

    model: CamNet
    preprocessing: Preprocessing
    class_names: tuple[str, str]
    threshold: float | None
    threshold_rule: str
    precision: Precision
    origin: str
    record: Record | None
    channels_last: bool = True
    window: Window = FULL

    def predict(self, images: Iterable[Source], batch_size: int = 32) -> pd.DataFrame:
        """Score images, on the device where the model is.

        Args:
            images: Paths, bytes of image files, or PIL images.
            batch_size: Images in one forward pass, fewer where the input is large; changes the last digits of a score
                at most.

        Returns:
            One row an image, in order: image (the path, or ``image 3``), score (the logit margin z1 − z0), probability
            (of class 1), decision (a class name) and error ("", or why the image could not be read; its score is NaN).

        Raises:
            UserError: One image instead of a list of them.
        """
        from divsal_bench.predict import prediction

        if isinstance(images, str | bytes | Path) or not isinstance(images, Iterable):
            raise UserError("predict takes a list of images; put a single one in brackets: predict([image])")
        return prediction.table(prediction.stream(self, prediction.inputs_of(list(images)), batch_size))

    def decision(self, score: float) -> str:
        """The name of the class that a logit margin is called."""
        return self.class_names[self.threshold is not None and score >= self.threshold]

    def require_maps(self) -> None:
        """Check that its class activation maps explain its scores: mean map + bias = logit.

        Raises:
            UserError: They do not, as in a transformer.
        """
        protocol = dataclasses.replace(
            self.preprocessing.as_protocol(channels_last=False),
            output_stride=self.preprocessing.size,  # any grid is enough to look at
        )
        name = self.record.spec.backbone if self.record is not None else type(self.model.net).__name__
        backbones.check_closed_form(self.model, name, protocol, self.preprocessing.in_chans)


def load(folder: Path, origin: str) -> Pretrained:
    """The network of a run directory, or of a folder in timm's layout (config.json and model.safetensors).

    Args:
        folder: Its content may be a stranger's: nothing in it can name a file or choose code, and the network takes
            little more memory than its weights file (see :func:`misfit`). What one pass takes grows with the input,
            which has at most 2048 px. Pickles are never loaded.
        origin: For people.

    Raises:
        UserError: It is neither, its network makes no decision between two classes, or something in it does not fit.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    has_run, has_config = (small_file(folder / name) for name in (RUN_FILE, CONFIG_FILE))
    run = read_run(folder) if has_run else None
    if run is not None and run.record.status != "done":
        raise UserError(f"{folder} holds no network: its run {run.record.status} ({run.record.error[:200]!r})")
    require_weights(folder, has_run or has_config)
    config = read_config(folder) if has_config else None
    if run is not None:
        return of_run(run, config, origin)
    assert config is not None
    return of_config(folder, config, origin)


def small_file(path: Path) -> bool:
    """Whether a JSON file is there; one beyond all reason is a UserError."""
    if not os.path.lexists(path):
        return False
    if not path.is_file():
        raise UserError(f"{path} is not a regular file; get it again")
    if path.stat().st_size > LARGEST_JSON:
        raise UserError(f"{path} has more than {LARGEST_JSON:,} bytes; it is none that divsal-bench or timm wrote")
    return True


def require_weights(folder: Path, described: bool) -> None:
    """Refuse a folder without weights that may be loaded, and one that says nothing about them."""
    if not (folder / WEIGHTS_FILE).is_file():
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in PICKLES and path.is_file())
        if pickles:
            raise UserError(
                f"{folder} has its weights as {pickles[0]!r}, a pickle: loading one can run any code, so none is ever "
                f"loaded here; ask its owner for {WEIGHTS_FILE}"
            )
    if not described:
        raise UserError(
            f"{folder} is neither a divsal-bench nor a timm repository: it has no {RUN_FILE} and no {CONFIG_FILE}"
        )
    if not (folder / WEIGHTS_FILE).is_file():
        raise UserError(f"{folder} has no {WEIGHTS_FILE}; get it again, or run it again")


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
    point: OperatingPoint | None
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
        content = foreign.read_json(path, LARGEST_JSON)
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


def stated_point(own: Mapping[str, Any]) -> OperatingPoint:
    """The threshold under our own key; null is one that nothing reaches."""
    value = own["threshold"]
    if value is not None and (type(value) not in (int, float) or not abs(value) < 1e9):
        raise UserError(f"its threshold {str(value)[:LONGEST_NAME]!r} is no number")
    rule = plain_text(own.get("threshold_rule", ""), "threshold_rule", LONGEST_RULE)
    return OperatingPoint(None if value is None else float(value), rule)


def plain_text(text: object, name: str, longest: int) -> str:
    """Text that is safe to print: short, without line breaks and other control characters."""
    if not isinstance(text, str) or len(text) > longest or not text.isprintable():
        raise UserError(f"its {name} {str(text)[:LONGEST_NAME]!r} is not plain text of up to {longest} characters")
    return text


def of_config(folder: Path, config: Config, origin: str) -> Pretrained:
    """From config.json alone: our memory format and precision are not known."""
    model = build(folder, config.architecture, config.arguments, config.head, CONFIG_FILE)
    require_logits(folder, model, config)
    point = config.point or OperatingPoint(0.0, NO_THRESHOLD)
    return Pretrained(
        model=model,
        preprocessing=config.preprocessing,
        class_names=config.class_names or DEFAULT_NAMES,
        threshold=point.threshold,
        threshold_rule=point.rule,
        precision="fp32",
        origin=origin,
        record=None,
    )


def of_run(run: Run, config: Config | None, origin: str) -> Pretrained:
    """From run.json; a config.json beside it must say the same."""
    spec, protocol = run.spec, protocol_of(run)
    if not backbones.known(spec.backbone):
        raise UserError(f"{run.path}: backbone {spec.backbone!r} has a tag that timm does not know")
    architecture = spec.backbone.partition(".")[0]
    task = plugins.tasks().found.get(spec.task)
    # Of a task that is not installed here, the weights tell how many channels they take.
    choices = (3,) if protocol.channels == 3 else (1, 3) if task is None else (task.channels,)
    options = [backbones.model_args(spec.backbone, protocol, channels, spec.head) for channels in choices]
    misfits = [misfit(run.path, architecture, option, RUN_FILE) for option in options]
    if None not in misfits:
        raise UserError(f"{run.path / WEIGHTS_FILE} does not fit the network that {RUN_FILE} describes ({misfits[0]})")
    arguments = options[misfits.index(None)]
    if task is not None:
        model, channels = load_model(run), task.channels
    else:
        run.check_file(WEIGHTS_FILE)
        model = build(run.path, architecture, arguments, spec.head, RUN_FILE, protocol.channels_last)
        grey = arguments["in_chans"] == 1 or (config is not None and config.preprocessing.image_mode == "L")
        channels = 1 if grey else 3
    try:
        preprocessing = Preprocessing.of_protocol(protocol, channels)
    except UserError as error:
        raise UserError(f"{run.path / RUN_FILE}: {error}") from None
    point = point_of(run)
    names = task.class_names if task is not None else config.class_names if config is not None else None
    result = Pretrained(
        model=model,
        preprocessing=preprocessing,
        class_names=names or DEFAULT_NAMES,
        threshold=point.threshold,
        threshold_rule=point.rule,
        precision="bf16" if protocol.precision == "bf16" else "fp32",
        origin=origin,
        record=run.record,
        channels_last=bool(protocol.channels_last),
        window=stated_window(run.record),
    )
    if config is not None:
        require_agreement(run, config, architecture, arguments, result)
    return result


def stated_window(record: Record) -> Window:
    """The one window that a run's data was prepared with; all values of 16 bits where there is none, or several."""
    told = set(record.data.windows.values())
    return (window_of(told.pop()) if len(told) == 1 else None) or FULL


def point_of(run: Run) -> OperatingPoint:
    """The task's first operating point: the one that the conditions' false-positive rates are measured at."""
    if run.record.scores is None or not run.record.scores.thresholds:
        return OperatingPoint(0.0, NO_THRESHOLD)
    first = run.record.scores.thresholds[0]
    return OperatingPoint(first.value, plain_text(first.rule, f"threshold rule in {run.path}", LONGEST_RULE))


def require_agreement(
    run: Run, config: Config, architecture: str, arguments: Mapping[str, Any], used: Pretrained
) -> None:
    """Refuse a config.json beside run.json that describes another network or another decision."""
    facts: dict[str, tuple[Any, Any]] = {"architecture": (config.architecture, architecture)}
    for name in sorted({*config.arguments, *arguments} - FOR_TRAINING):
        facts[name] = (config.arguments.get(name), arguments.get(name))
    if config.arguments.get("global_pool") == "avg":  # what every network here does
        facts.pop("global_pool", None)
    facts["preprocessing"] = (config.preprocessing, used.preprocessing)
    if config.class_names is not None:
        facts["class_names"] = (config.class_names, used.class_names)
    if config.point is not None:
        facts["threshold"] = (config.point.threshold, used.threshold)
    if config.run_id:
        facts["run_id"] = (config.run_id, run.record.run_id)
    for name, (stated, wanted) in facts.items():
        if stated != wanted:
            raise UserError(
                f"{run.path}: {CONFIG_FILE} and {RUN_FILE} do not agree: {name} is {str(stated)[:200]} in the one and "
                f"{str(wanted)[:200]} by the other; get the folder again"
            )


def require_logits(folder: Path, model: CamNet, config: Config) -> None:
    """Run a stranger's network once: it must give two logits. That one linear layer does was checked before."""
    import torch

    size = config.preprocessing.size
    try:
        with torch.inference_mode():
            logits, _ = model.forward(torch.zeros(1, config.preprocessing.in_chans, size, size))
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise UserError(
            f"{folder}: {config.architecture} does not run on {size} px input ({first_line(error)})"
        ) from error
    if tuple(logits.shape) != (1, 2):
        raise UserError(f"{folder}: {config.architecture} gives {by(tuple(logits.shape))} numbers for one image, not 2")
