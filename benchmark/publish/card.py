"""The model card: what a stranger must know before using one of these networks, and the Hub's metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from divsal_bench.data.card import inline, licence_of, markdown_table
from divsal_bench.hub.names import branch
from divsal_bench.scores.conditions import IN_DOMAIN

if TYPE_CHECKING:
    from divsal_bench.contracts.adapter import SourceTerms
    from divsal_bench.contracts.task import Task
    from divsal_bench.runs.records import Record
    from divsal_bench.scores.schema import Scores

#: Metric to how it is named to the Hub and to people.
METRICS = {"open_set": "open-set AUROC", "worst": "worst-condition AUROC", "in_domain": "in-domain AUROC"}


@dataclass(frozen=True)
class Summary:
    """What statistics say about all seeds of a method, as text; whoever knows statistics hands it in.

    Attributes:
        rows: Metric or condition to ``(mean ± sd over seeds, interval)``, in order; "" where there is none.
        seeds: With a result.
        lacking: Seeds without one, each with ``failed`` or ``diverged``.
        marks: What sets the method apart on the board, e.g. ``shown below chance``.
        notes: What the numbers can and cannot say.
    """

    rows: Mapping[str, tuple[str, str]]
    seeds: Sequence[int]
    lacking: Mapping[int, str] = field(default_factory=dict)
    marks: Sequence[str] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class CardFacts:
    """Everything a card says.

    Attributes:
        repo: ``org/name``.
        task: As installed here.
        method: What its docstring says, with the paper.
        image_mode: ``L`` or ``RGB``: how image files are read.
        in_chans: What the network takes.
        terms: Source to what its owner allows; None for a stand-in, which code draws.
        start_licence: Of the published weights that training started from, "" if not stated; None for random weights.
        data: What to give as ``--data``: a stand-in, or ``org/name@commit``; "" where only its owner's copy exists.
        figure: The figure's file name and what it shows; None without one.
        no_figure: Why there is none.
    """

    repo: str
    record: Record
    task: Task
    method: str
    image_mode: str
    in_chans: int
    terms: Mapping[str, SourceTerms] | None
    start_licence: str | None
    data: str
    summary: Summary
    figure: tuple[str, str] | None
    no_figure: str = ""

    @property
    def scores(self) -> Scores:
        """Of this seed."""
        assert self.record.scores is not None
        return self.record.scores

    @property
    def revision(self) -> str:
        """This seed's branch, as it follows the id."""
        return f"{self.repo}@{branch(self.record.spec.seed)}"


def card(facts: CardFacts) -> str:
    """README.md of one branch. The same runs give the same text: it holds no date but the run's."""
    parts = [
        f"---\n{metadata(facts)}\n---",
        *introduction(facts),
        *usage(facts),
        *limits(facts),
        *data_and_licence(facts),
        *results(facts),
        *commands(facts),
        *citation(facts),
    ]
    return "\n\n".join(parts) + "\n"


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


def on_hub(data: str) -> bool:
    """Whether data is named by a Hub id."""
    return "/" in data


def values(scores: Scores) -> dict[str, float]:
    """The headline AUROCs that a run has."""
    found = {name: getattr(scores, key) for key, name in METRICS.items()}
    return {name: value for name, value in found.items() if value is not None}


def introduction(facts: CardFacts) -> list[str]:
    """What it is."""
    spec, names = facts.record.spec, facts.task.class_names
    start = f"the published weights `timm/{spec.backbone}`" if facts.start_licence is not None else "random weights"
    text = (
        f"A `{spec.backbone}` trained with **{facts.record.method_label}** from {start}, protocol `{spec.protocol}`, "
        f"for one binary decision: {facts.task.description} Class 0 is *{names[0]}*, class 1 is *{names[1]}*. "
        f"The method: {inline(facts.method, 2000)}"
    )
    seeds = (
        f"This is **seed {spec.seed}**; pushed together: seeds {', '.join(map(str, facts.summary.seeds))}. Every seed "
        "has a branch `seed-N`, and `main` is seed 0 by rule, never the best one."
    )
    if facts.summary.lacking:
        seeds += " Seeds without a result: " + ", ".join(f"{n} ({why})" for n, why in facts.summary.lacking.items())
        seeds += "."
    return [f"# {facts.task.title}: {facts.record.method_label}", text, seeds]


def usage(facts: CardFacts) -> list[str]:
    """How to run it, with timm alone and with this package."""
    convert = f'.convert("{facts.image_mode}")'
    if facts.image_mode == "L" and facts.in_chans == 3:
        convert += '.convert("RGB")'
    one = facts.record.spec.head == "one-logit"
    margin = "model(x)[0, 0]" if one else "logits[0, 1] - logits[0, 0]"
    code = [
        "import timm, torch",
        "from PIL import Image, ImageOps",
        "",
        f'model = timm.create_model("hf-hub:{facts.revision}", pretrained=True).eval()',
        "transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)",
        f'image = ImageOps.exif_transpose(Image.open("image.png")){convert}  # 8 bit; scale 16-bit files first',
        "x = transform(image).unsqueeze(0)",
        "with torch.inference_mode():",
        *([] if one else ["    logits = model(x)"]),
        f"    margin = {margin}  # the score, for {facts.task.class_names[1]!r}",
    ]
    shell = [
        f"divsal-bench predict {facts.revision} IMAGES --csv scores.csv --overlay maps/",
        f"divsal-bench pull {facts.revision}",
    ]
    return [
        "## Use",
        "With timm alone:",
        "```python\n" + "\n".join(code) + "\n```",
        "With divsal-bench, which also reads 16-bit and turned files as training did, and applies the threshold that "
        "was set on the validation split:",
        "```bash\n" + "\n".join(shell) + "\n```",
        threshold(facts),
    ]


def threshold(facts: CardFacts) -> str:
    """The decision threshold and what it does."""
    points = facts.scores.thresholds
    if not points:
        return "No decision threshold was set."
    first = points[0]
    value = f"margin ≥ {first.value:.4f}" if first.value is not None else "none (nothing is called positive)"
    return (
        f"Decision threshold: {value}; {first.rule} ({first.negatives} negatives). It is not a probability of one "
        "half: sigmoid(margin) is what the network calls a probability, and nothing makes it a calibrated one. On "
        "unseen conditions the rate is another: see the false-positive rates below."
    )


def limits(facts: CardFacts) -> list[str]:
    """Intended use and misuse."""
    names = facts.task.class_names
    drawn = (
        " It was trained on images **drawn by code** and knows nothing of photographs or radiographs: it serves to "
        "test software and to teach."
        if facts.terms is None
        else ""
    )
    return [
        "## Intended use, and misuse",
        "For research on training with human saliency: comparing methods, looking at class activation maps, "
        f"reproducing results.{drawn}",
        "This is a research model, **not a medical device and not a security product**. Do not use it to diagnose or "
        "to triage patients, to admit or to reject people, to accuse anybody of a forgery, or as evidence. Its errors "
        f"are not independent of who is in the picture; nobody has tested it for differences between groups. A score "
        f"above the threshold means that the network found a pattern that went with *{names[1]}* in its training "
        "data, no more.",
        "Such classifiers fail on what training did not contain: read the rows of unseen conditions below, not the "
        "in-domain one.",
    ]


def data_and_licence(facts: CardFacts) -> list[str]:
    """Where the data came from, and the terms that follow."""
    spec, data = facts.record.spec, facts.record.data
    text = (
        f"Task `{spec.task}`, data `{spec.data}`, fingerprint `{spec.data_fingerprint}`: {data.train} training images "
        f"({data.train_maps} with a human map), {data.validation} validation, {data.test} test."
    )
    if facts.terms is None:
        return ["## Data and licence", text, f"The images are drawn by code. {inline(facts.task.licence)}"]
    rows = [
        [name, one.licence or "not stated", one.redistribute_weights, one.redistribute_predictions]
        for name, one in sorted(facts.terms.items())
    ]
    return [
        "## Data and licence",
        text,
        "These weights and predictions derive from data with the following terms, which you take over with them:",
        markdown_table(["source", "licence", "weights may be published", "predictions"], rows),
    ]


def results(facts: CardFacts) -> list[str]:
    """Accuracy with intervals, agreement with people, and one picture."""
    scores, summary = facts.scores, facts.summary
    own = values(scores) | {one.name: one.auroc for one in scores.conditions}
    rates = {one.name: one.false_positive_rate for one in scores.conditions}
    rates[METRICS["in_domain"]] = rates.get(IN_DOMAIN)
    rows = [
        [name, number(own.get(name), 4), number(rates.get(name)), mean or "n/a", interval or "–"]
        for name, (mean, interval) in summary.rows.items()
        if name != IN_DOMAIN  # once is enough
    ]
    head = [
        "AUROC",
        f"this seed ({facts.record.spec.seed})",
        "its false-positive rate at the threshold",
        f"mean ± sd over the {len(summary.seeds)} seeds",
        "95 % interval for new seeds and new test subjects",
    ]
    parts = [
        "## Results",
        markdown_table(head, rows),
        *field_metrics(scores),
        *(f"**{mark}**" for mark in summary.marks),
        "\n".join(f"- {note}" for note in summary.notes),
        "### Agreement with people",
        *agreement(scores),
    ]
    if facts.figure is None:
        return [*parts, facts.no_figure] if facts.no_figure else parts
    name, caption = facts.figure
    return [*parts, f"![maps of one image]({name})", inline(caption, 800)]


def number(value: float | None, digits: int = 3) -> str:
    """A number, or that there is none."""
    return "n/a" if value is None else f"{value:.{digits}f}"


def field_metrics(scores: Scores) -> list[str]:
    """The field's own metrics of this seed."""
    rows = [
        [one.metric, one.condition, number(one.value), number(one.achieved), one.note] for one in scores.field_metrics
    ]
    return [markdown_table(["this seed", "on", "value", "rate really achieved", "note"], rows)] if rows else []


def agreement(scores: Scores) -> list[str]:
    """Of true-class CAM and difference map."""
    if scores.true_cam is None or scores.difference_map is None:
        return ["The test split has no human maps."]
    rows = [
        [
            name,
            *("n/a" if value is None else f"{value:.3f}" for value in (one.pe, one.lift, one.auc, one.cc)),
            str(one.empty),
            f"{one.maps_negative} + {one.maps_positive}",
        ]
        for name, one in (("true-class CAM", scores.true_cam), ("difference map", scores.difference_map))
    ]
    head = ["map", "proportional energy", "lift (1 = chance)", "AUC", "CC", "empty maps", "negatives + positives"]
    return [
        markdown_table(head, rows),
        "How much of the map's positive part lies where people look, on this seed's test images that have a human map.",
    ]


def commands(facts: CardFacts) -> list[str]:
    """Reproduce and verify."""
    spec = facts.record.spec
    where = facts.data or "FOLDER"
    run = (
        f"divsal-bench run --task {spec.task} --method '{facts.record.method_label}' --seeds {spec.seed}-{spec.seed} "
        f"--protocol {spec.protocol} --backbone {spec.backbone} --head {spec.head} --data {where}"
    )
    verify = f"divsal-bench verify {facts.revision}"
    if facts.terms is not None:
        verify += f" --data {where}"
    versions = ", ".join(f"{name} {number}" for name, number in facts.record.versions.items())
    text = f"Trained on {facts.record.device} with {versions}; run id `{facts.record.run_id}`, {facts.record.created}."
    if not facts.data:
        text += " FOLDER: the same data, prepared with `divsal-bench data prepare`; its fingerprint is given above."
    return [
        "## Reproduce and verify",
        f"```bash\n{run}\n{verify}\n```",
        "`verify` computes the predictions again from these weights and compares every margin, AUROC and agreement.",
        text,
    ]


def citation(facts: CardFacts) -> list[str]:
    """What to cite."""
    spec = facts.record.spec
    return [
        "## Citation",
        f"Task: {inline(facts.task.citation, 800)}",
        f"Method `{spec.method}`: {inline(facts.method, 2000)}",
        "Benchmark: divsal-bench (Python package `divsal-bench`; its CITATION.cff names all papers).",
    ]
