"""One static web page of tables: self-contained, no request to anywhere, nothing from outside run or trusted."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.files import html_page
from divsal_bench.leaderboard.audits import columns
from divsal_bench.leaderboard.audits.columns import AuditBlock
from divsal_bench.leaderboard.audits.table import AuditTable
from divsal_bench.leaderboard.claims.gallery import Gallery
from divsal_bench.leaderboard.statistics.marks import MARKS
from divsal_bench.leaderboard.tables import notes, notes_on_tests, wording
from divsal_bench.leaderboard.tables.schema import Table
from divsal_bench.leaderboard.web import at_a_glance, axes, page_view
from divsal_bench.leaderboard.web.page_gallery import GalleryView, gallery_view, picture_stylesheet
from divsal_bench.leaderboard.web.page_view import BoardView

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("templates")
TITLE = "divsal-bench leaderboard"
#: The one place that becomes a link; everything else from outside stays text.
HUB_LINK = re.compile(r"https://huggingface\.co/[\w.-]+/[\w.-]+(/[\w.-]+)*/?", re.ASCII)


@dataclass(frozen=True)
class TabPanel:
    """One tab.

    Attributes:
        key: The table's id, also of the panel in the page's address.
        label: Of the tab: the fewest words that tell it from the others.
        audit: None where the page shows no audits.
    """

    key: str
    label: tuple[str, ...]
    view: BoardView
    gallery: GalleryView
    audit: AuditBlock | None


def render_page(
    tables: Sequence[Table],
    galleries: Mapping[str, Gallery],
    title: str = TITLE,
    audits: Sequence[AuditTable] | None = None,
) -> str:
    """Write the page.

    Args:
        tables: In the order of the tabs.
        galleries: By :func:`table_id`; a table without one says so.
        audits: Shown beside the tables they belong to; None shows nothing of audits.

    Returns:
        HTML. Styles and script stand in it and are named by their hashes in its content security policy, so that
        nothing else can run or be fetched.

    Raises:
        UserError: A gallery holds something that is no picture or no map.
    """
    panels = [
        tab_panel(table, galleries.get(table_id(table)), label, index, audits)
        for index, (table, label) in enumerate(zip(tables, tab_labels(tables), strict=True))
    ]
    style = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    pictures = picture_stylesheet([one.gallery for one in panels])
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    template = page_templates().get_template("page.html.j2")
    return template.render(
        title=title,
        panels=panels,
        style=style,
        pictures=pictures,
        script=script,
        policy=html_page.content_policy([style, pictures], [script]),
    )


def table_id(table: Table) -> str:
    """The table's name in addresses and for galleries: a word for people and ten digits that decide."""
    digits = hashlib.sha256(json.dumps(astuple(table.group)).encode()).hexdigest()[:10]
    word = re.sub(r"[^a-z0-9]+", "-", table.task.lower()).strip("-")
    return f"{word or 'table'}-{digits}"


def tab_panel(
    table: Table, gallery: Gallery | None, label: tuple[str, ...], index: int, audits: Sequence[AuditTable] | None
) -> TabPanel:
    """One table with its gallery and audits, methods in the order of the board."""
    view = page_view.board_view(table)
    methods = [(line.row.label, line.row.kind) for group in view.groups for line in group.lines]
    shown = columns.audit_columns(table, audits) if audits is not None else None
    return TabPanel(table_id(table), label, view, gallery_view(gallery, methods, f"shot-{index}"), shown)


def tab_labels(tables: Sequence[Table]) -> list[tuple[str, ...]]:
    """Task and data, and as much of the rest as tells the tabs apart."""

    def parts(table: Table) -> tuple[str, ...]:
        return (table.task, table.data, table.protocol, table.backbone, table.head, table.fingerprint[:8], table.digest)

    all_parts = [parts(table) for table in tables]
    labels = []
    for own in all_parts:
        twins = [other for other in all_parts if other[:2] == own[:2]]
        differing = [i for i in range(2, len(own)) if len({twin[i] for twin in twins}) > 1]
        labels.append((*own[:2], *(own[i] for i in differing)))
    return labels


def page_templates() -> Environment:
    """The page's templates with the words that they use."""
    made = html_page.escaping_templates(TEMPLATES)
    made.filters |= {
        "number": wording.number_or_dash,
        "signed": wording.signed_or_dash,
        "mean_sd": wording.mean_sd,
        "t_interval": wording.t_interval,
        "extremes": wording.extremes,
        "population": wording.population,
        "signed_interval": wording.signed_interval,
        "probability": wording.p_or_dash,
        "p_of_test": wording.p_of_test,
        "visible_effect": wording.visible_effect_text,
        "chance": wording.chance_or_dash,
        "span": wording.span,
        "sampled": wording.sampled,
        "percent": wording.whole_percent,
        "is_significant": wording.is_significant,
        "hub_link": hub_link,
    }
    made.globals |= {
        "FEW_MAPS": notes.FEW_MAPS,
        "MARKS": MARKS,
        "QUESTIONS": notes_on_tests.QUESTIONS,
        "family_names": at_a_glance.family_names,
        "adjusted_over": at_a_glance.adjusted_over,
        "draw_metric": axes.draw_metric,
        "draw_difference": axes.draw_difference,
    }
    return made


def hub_link(text: str) -> str:
    """The address if it is one of the Hugging Face Hub, else ""."""
    return text if HUB_LINK.fullmatch(text) and ".." not in text else ""
