"""The dataset card of a prepared data set: what ``load_dataset`` and the Hub read, and a table for people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from divsal_bench.files import escaping
from divsal_bench.files.texts import spaced

if TYPE_CHECKING:
    from divsal_bench.contracts.adapter import SourceTerms
    from divsal_bench.data.canonical import Info

#: Licence names as data owners write them, to the Hub's identifiers.
_HUB_LICENCES = {
    "cc0-1-0": "cc0-1.0",
    "cc-by-3-0": "cc-by-3.0",
    "cc-by-4-0": "cc-by-4.0",
    "cc-by-sa-4-0": "cc-by-sa-4.0",
    "cc-by-nc-4-0": "cc-by-nc-4.0",
    "cc-by-nc-sa-4-0": "cc-by-nc-sa-4.0",
    "apache-2-0": "apache-2.0",
    "mit": "mit",
}


def data_card(info: Info) -> str:
    """Write a data set's README.md.

    Returns:
        Markdown with a YAML header that names the files of each split, so that a folder and a Hub
        repository load the same way.
    """
    from huggingface_hub import DatasetCardData

    splits = dict.fromkeys(count.split for count in info.counts)
    licence, licence_name = licence_of(info.sources.values())
    header = DatasetCardData(
        license=licence,
        license_name=licence_name,
        pretty_name=f"divsal-bench: {info.task}",
        task_categories=["image-classification"],
        tags=["divsal-bench", "saliency", info.task],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}-*"} for split in splits],
            }
        ],
    ).to_yaml()
    counts = [
        [count.split, count.source, str(count.negatives), str(count.positives), str(count.maps)]
        for count in info.counts
    ]
    terms = [
        [
            name,
            terms.licence or "not stated",
            terms.redistribute_images,
            terms.redistribute_weights,
            terms.redistribute_predictions,
        ]
        for name, terms in info.sources.items()
    ]
    parts = [
        f"---\n{header}\n---",
        f"# {info.task}",
        f"Prepared by divsal-bench for the task `{info.task}`: label 0 is {info.class_names[0]}, label 1 is "
        f"{info.class_names[1]}. `saliency` is a human map in the stored geometry of its image, or null.",
        f"Fingerprint: `{info.fingerprint}`",
        markdown_table(["split", "source", info.class_names[0], info.class_names[1], "maps"], counts),
        "## Terms",
        "May these be published?",
        markdown_table(["source", "licence", "images", "weights", "predictions"], terms),
    ]
    if info.notices:
        parts += ["## Notices", "\n".join(f"- {notice}" for notice in info.notices)]
    return "\n\n".join(parts) + "\n"


def licence_of(terms: Iterable[SourceTerms]) -> tuple[str, str | None]:
    """Name the licence of some sources in the Hub's words, or as ``other`` and all names in one slug."""
    stated = {one.licence for one in terms}
    if not any(stated):
        return "unknown", None
    names = sorted(name or "not stated" for name in stated)
    slugs = [re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") for name in names]
    if len(slugs) == 1 and slugs[0] in _HUB_LICENCES:
        return _HUB_LICENCES[slugs[0]], None
    return "other", "-and-".join(slugs)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines: list[Sequence[str]] = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(markdown_line(cell) for cell in line) + " |" for line in lines)


def markdown_line(text: str, longest: int = 200) -> str:
    """Text from anybody as one line of Markdown that is only text, cut to so many characters."""
    return escaping.markdown(" ".join(spaced(text).split())[:longest])
