"""What one branch of a repository holds: timm's root layout, and what a stranger needs to check it."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divsal_bench.prediction.preprocessing import OWN_KEY
from divsal_bench.publish.card import model_card
from divsal_bench.publish.card_metadata import evaluation
from divsal_bench.publish.facts import CardFacts
from divsal_bench.runs.names import CONFIG_FILE, PREDICTIONS_FILE, RUN_FILE, WEIGHTS_FILE

if TYPE_CHECKING:
    import pandas as pd

    from divsal_bench.networks.backbones import CamNet
    from divsal_bench.prediction.preprocessing import Preprocessing
    from divsal_bench.runs.reading import Run

FIGURE = "difference-map.png"


def branch_files(
    run: Run,
    model: CamNet,
    preprocessing: Preprocessing,
    facts: CardFacts,
    key: Callable[[str, str], str],
    figure: bytes | None,
) -> dict[str, bytes | Path]:
    """Every file of a run's branch, by its path there: small ones as bytes, the weights where they lie.

    Args:
        run: Done, with its weights.
        preprocessing: What its images go through.
        key: An id and ``sample`` or ``subject`` to its published key.
        figure: A PNG, if the data's terms allow one.
    """
    predictions = published_predictions(run.predictions(), key)
    # What is published has other ids and no history: the record names the files that lie beside it there.
    named = {name: digits for name, digits in facts.record.files.items() if name == WEIGHTS_FILE}
    if facts.record.files:
        named[PREDICTIONS_FILE] = hashlib.sha256(predictions).hexdigest()
    record = facts.record.model_copy(update={"files": named})
    files: dict[str, bytes | Path] = {
        CONFIG_FILE: json_bytes(config(run, model, preprocessing, facts.task.class_names)),
        WEIGHTS_FILE: run.path / WEIGHTS_FILE,
        RUN_FILE: json_bytes(record.model_dump(mode="json")),
        PREDICTIONS_FILE: predictions,
        "README.md": model_card(facts).encode(),
    }
    entries = evaluation(facts)
    if entries is not None:
        files[f".eval_results/{run.spec.task}.yaml"] = entries.encode()
    if figure is not None:
        files[FIGURE] = figure
    return files


def config(run: Run, model: CamNet, preprocessing: Preprocessing, class_names: tuple[str, str]) -> dict[str, Any]:
    """``config.json``: what timm needs to rebuild the network, and under a key of our own what it has no word for."""
    spec, net = run.spec, model.net
    architecture = spec.backbone.partition(".")[0]
    usual = getattr(net, "pretrained_cfg", {})
    arguments = run.record.model_args
    content: dict[str, Any] = {
        "architecture": architecture,
        "num_classes": arguments["num_classes"],
        "num_features": net.num_features,
        "global_pool": "avg",
        "model_args": arguments,
        "pretrained_cfg": {
            "custom_load": False,
            "fixed_input_size": False,
            **preprocessing.as_config(),
            "num_classes": arguments["num_classes"],
            "first_conv": usual.get("first_conv"),
            "classifier": usual.get("classifier"),
        },
        OWN_KEY: {
            "run_id": run.record.run_id,
            "image_mode": preprocessing.image_mode,
            "class_names": list(class_names),
        },
    }
    if spec.head == "two-logit":
        content["label_names"] = list(class_names)
    points = run.record.scores.thresholds if run.record.scores else []
    if points:
        content[OWN_KEY] |= {"threshold": points[0].value, "threshold_rule": points[0].rule}
    return content


def published_predictions(table: pd.DataFrame, key: Callable[[str, str], str]) -> bytes:
    """``predictions.parquet`` with salted keys for ids, sorted by them, so that no order tells anything either.

    Args:
        key: An id and ``sample`` or ``subject`` to its published key.
    """
    public = table.assign(
        sample_id=[key(str(value), "sample") for value in table["sample_id"]],
        subject=[key(str(value), "subject") for value in table["subject"]],
    )
    sink = io.BytesIO()
    public.sort_values("sample_id", ignore_index=True).to_parquet(sink, index=False, compression="zstd")
    return sink.getvalue()


def json_bytes(content: dict[str, Any]) -> bytes:
    """The same bytes for the same content."""
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
