"""The metadata of a model card, in the Hub's own terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from divsal_bench.data.card import licence_of
from divsal_bench.publish.facts import CardFacts, on_hub, values

if TYPE_CHECKING:
    from divsal_bench.contracts.adapter import SourceTerms


def metadata(facts: CardFacts) -> str:
    """The YAML header, checked by the Hub's own library."""
    from huggingface_hub import EvalResult, ModelCardData

    spec = facts.record.spec
    licence, licence_name = licence_of(licences(facts))
    content: dict[str, Any] = {
        "license": licence,
        "license_name": licence_name,
        "library_name": "timm",
        "pipeline_tag": "image-classification",
        "tags": ["divsal-bench", "timm", "human-saliency", "class-activation-map", spec.task, spec.method],
    }
    if spec.protocol_settings.get("pretrained"):
        content["base_model"] = f"timm/{spec.backbone}"
    if on_hub(facts.data):
        content["datasets"] = [facts.data.partition("@")[0]]
    else:
        # The Hub's current format (.eval_results/) can only name data sets that are on the Hub.
        content["model_name"] = facts.repo.partition("/")[2]
        content["eval_results"] = [
            EvalResult(
                task_type="image-classification",
                dataset_type="other",
                dataset_name=f"{spec.task}, {spec.data} ({spec.data_fingerprint[:8]})",
                metric_type="roc_auc",
                metric_name=f"{name}, seed {spec.seed}",
                metric_value=round(value, 6),
            )
            for name, value in values(facts.scores).items()
        ]
    return str(ModelCardData(**content).to_yaml())


def licences(facts: CardFacts) -> list[SourceTerms]:
    """What the weights derive from: every source of the data, and the weights that training started from."""
    from divsal_bench.contracts.adapter import SourceTerms

    # A stand-in of this package is ours; one of another package states its licence in words only.
    ours = facts.task.draw_standin.__module__.partition(".")[0] == __name__.partition(".")[0]
    found = [SourceTerms("Apache-2.0" if ours else "")] if facts.terms is None else list(facts.terms.values())
    return found + ([] if facts.start_licence is None else [SourceTerms(facts.start_licence)])


def evaluation(facts: CardFacts) -> str | None:
    """``.eval_results/<task>.yaml``: the Hub's current format; None where the data is not on the Hub."""
    import yaml
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    if not on_hub(facts.data):
        return None
    spec = facts.record.spec
    dataset, _, revision = facts.data.partition("@")
    entries = [
        EvalResultEntry(
            dataset_id=dataset,
            dataset_revision=revision,
            task_id=name.replace(" ", "-").lower(),
            value=round(value, 6),
            date=facts.record.created,
            notes=f"divsal-bench {facts.record.versions.get('divsal-bench', '')}, {spec.protocol}, seed {spec.seed}",
        )
        for name, value in values(facts.scores).items()
    ]
    return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False)
