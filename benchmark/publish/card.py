"""The model card: what a stranger must know before using one of these networks, and the Hub's metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING

from divsal_bench.data.card import markdown_line, markdown_table
from divsal_bench.publish.card_metadata import metadata
from divsal_bench.publish.facts import METRICS, CardFacts, values
from divsal_bench.scores.conditions import IN_DOMAIN

if TYPE_CHECKING:
    from divsal_bench.scores.schema import Scores


def model_card(facts: CardFacts) -> str:
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


def introduction(facts: CardFacts) -> list[str]:
    """What it is."""
    spec, names = facts.record.spec, facts.task.class_names
    start = f"the published weights `timm/{spec.backbone}`" if facts.start_licence is not None else "random weights"
    text = (
        f"A `{spec.backbone}` trained with **{facts.record.method_label}** from {start}, protocol `{spec.protocol}`, "
        f"for one binary decision: {facts.task.description} Class 0 is *{names[0]}*, class 1 is *{names[1]}*. "
        f"The method: {markdown_line(facts.method, 2000)}"
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
        return ["## Data and licence", text, f"The images are drawn by code. {markdown_line(facts.task.licence)}"]
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
        [name, card_number(own.get(name), 4), card_number(rates.get(name)), mean or "n/a", interval or "–"]
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
        *agreement_section(scores),
    ]
    if facts.figure is None:
        return [*parts, facts.no_figure] if facts.no_figure else parts
    name, caption = facts.figure
    return [*parts, f"![maps of one image]({name})", markdown_line(caption, 800)]


def card_number(value: float | None, digits: int = 3) -> str:
    """A number, or that there is none."""
    return "n/a" if value is None else f"{value:.{digits}f}"


def field_metrics(scores: Scores) -> list[str]:
    """The field's own metrics of this seed."""
    rows = [
        [one.metric, one.condition, card_number(one.value), card_number(one.achieved), one.note]
        for one in scores.field_metrics
    ]
    return [markdown_table(["this seed", "on", "value", "rate really achieved", "note"], rows)] if rows else []


def agreement_section(scores: Scores) -> list[str]:
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
        f"Task: {markdown_line(facts.task.citation, 800)}",
        f"Method `{spec.method}`: {markdown_line(facts.method, 2000)}",
        "Benchmark: divsal-bench (Python package `divsal-bench`; its CITATION.cff names all papers).",
    ]
