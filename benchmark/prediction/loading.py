"""Networks ready for use, from a run directory or a timm repository. What these say of themselves is checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from divsal_bench.data.images import FULL, Window
from divsal_bench.data.reading import window_of
from divsal_bench.errors import UserError
from divsal_bench.files.texts import first_line
from divsal_bench.networks import backbones
from divsal_bench.networks.backbones import CamNet
from divsal_bench.networks.fitting import fitted_network, misfit, shape_text
from divsal_bench.networks.trained import load_model, protocol_of
from divsal_bench.prediction.config import (
    DEFAULT_NAMES,
    FOR_TRAINING,
    LONGEST_RULE,
    NO_THRESHOLD,
    Config,
    StatedThreshold,
    plain_text,
    read_config,
    small_file,
)
from divsal_bench.prediction.preprocessing import Preprocessing
from divsal_bench.prediction.pretrained import Pretrained
from divsal_bench.registry import plugins
from divsal_bench.runs.names import CONFIG_FILE, PICKLES, RUN_FILE, WEIGHTS_FILE
from divsal_bench.runs.reading import Run, read_run
from divsal_bench.runs.records import Record


def pretrained_in(folder: Path, origin: str) -> Pretrained:
    """The network of a run directory, or of a folder in timm's layout (config.json and model.safetensors).

    Args:
        folder: Its content may be a stranger's: nothing in it can name a file or choose code, and the network takes
            little more memory than its weights file (see :func:`divsal_bench.networks.fitting.misfit`). What one pass
            takes grows with the input, which has at most 2048 px. Pickles are never loaded.
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


def of_config(folder: Path, config: Config, origin: str) -> Pretrained:
    """From config.json alone: our memory format and precision are not known."""
    model = fitted_network(folder, config.architecture, config.arguments, config.head, CONFIG_FILE)
    require_logits(folder, model, config)
    point = config.point or StatedThreshold(0.0, NO_THRESHOLD)
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
        model = fitted_network(run.path, architecture, arguments, spec.head, RUN_FILE, protocol.channels_last)
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


def point_of(run: Run) -> StatedThreshold:
    """The task's first operating point: the one that the conditions' false-positive rates are measured at."""
    if run.record.scores is None or not run.record.scores.thresholds:
        return StatedThreshold(0.0, NO_THRESHOLD)
    first = run.record.scores.thresholds[0]
    return StatedThreshold(first.value, plain_text(first.rule, f"threshold rule in {run.path}", LONGEST_RULE))


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
        raise UserError(
            f"{folder}: {config.architecture} gives {shape_text(tuple(logits.shape))} numbers for one image, not 2"
        )
