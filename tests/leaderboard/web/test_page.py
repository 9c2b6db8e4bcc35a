"""The web page: what stands in it, that nothing from outside can act in it, and that its numbers are the table's."""

from __future__ import annotations

import base64
import hashlib
import io
import math
import re
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from drawn_boards import COMMIT, CXR, METHODS, OUTSIDE, STANDINGS, Fake, drawn_gallery, drawn_table
from parsed_html import Node, parse
from PIL import Image

from divsal_bench.errors import UserError
from divsal_bench.leaderboard.claims.gallery import Gallery
from divsal_bench.leaderboard.statistics.marks import MARKS
from divsal_bench.leaderboard.tables import wording
from divsal_bench.leaderboard.tables.schema import MethodRow, Table
from divsal_bench.leaderboard.web import axes
from divsal_bench.leaderboard.web.page import hub_link, render_page, table_id
from divsal_bench.leaderboard.web.page_gallery import gallery_view
from divsal_bench.pictures import colours

HOSTILE = "<img src=x onerror=\"document.title='ran'\"></script><script>document.title='ran'</script>\"'{{ 7*7 }}"


@cache
def stand_in() -> Table:
    """Eleven methods: ties, a winner, marked rows, one too short, one with a failed run, controls."""
    return drawn_table(methods=(*METHODS, *OUTSIDE))


@cache
def accepted() -> Table:
    """Six methods with five seeds on data that is no stand-in, in every state of proof."""
    methods = [replace(fake, seeds=5, standing=STANDINGS[i % 4]) for i, fake in enumerate(METHODS[:6])]
    return drawn_table("cxr", methods, CXR, "radiographs", False, ("sensitivity@specificity=95%", "ece"))


@cache
def text() -> str:
    """The page of both tables."""
    return render_page(
        [stand_in(), accepted()], {table_id(table): drawn_gallery(table) for table in (stand_in(), accepted())}
    )


@cache
def page() -> Node:
    return parse(text())


def panel(table: Table) -> Node:
    return page().one("section", id=table_id(table))


def method_rows(table: Table) -> dict[str, Node]:
    return {node.attributes["data-name"]: node for node in panel(table).all("tr", class_="method")}


def row_of(table: Table, label: str) -> MethodRow:
    (found,) = [row for row in table.rows if row.label == label]
    return found


def cell(node: Node, column: str) -> Node:
    return node.one("td", data_col=column)


def details(table: Table, label: str) -> Node:
    button = method_rows(table)[label].one("button", class_="more")
    return panel(table).one("tr", id=button.attributes["aria-controls"])


# -- one file, and nothing else ------------------------------------------------------------------------------


def test_the_page_asks_for_nothing_outside_itself() -> None:
    for node in page().walk():
        for name in ("src", "srcset", "data", "action", "poster"):
            assert node.attributes.get(name, "data:").startswith("data:"), node
        if node.tag != "a" and "href" in node.attributes:
            assert node.attributes["href"] == "data:,"
        assert node.tag not in {"iframe", "object", "embed", "base", "audio", "video"}
    for style in page().all("style"):
        assert "@import" not in style.text
        assert all(found.startswith("data:image/") for found in re.findall(r"url\(\s*([^)]{12})", style.text))
    assert "http" not in page().one("script").text


def test_the_policy_names_exactly_the_styles_and_the_script_of_the_page() -> None:
    policy = page().one("meta", http_equiv="Content-Security-Policy").attributes["content"]
    parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))

    def hashes(tag: str) -> list[str]:
        found = ["".join(node.strings()) for node in page().all(tag)]
        return [f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in found]

    assert parts.pop("script-src").split() == hashes("script")
    assert parts.pop("style-src").split() == hashes("style")
    assert parts == {"default-src": "'none'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'"}


def test_no_element_carries_a_style_or_a_handler() -> None:
    for node in page().walk():
        assert not [name for name in node.attributes if name == "style" or name.startswith("on")], node


def test_ids_are_unique_and_what_is_referred_to_is_there() -> None:
    ids = [node.attributes["id"] for node in page().walk() if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    for node in page().walk():
        for name in ("aria-controls", "aria-labelledby", "for", "data-for"):
            assert set(node.attributes.get(name, "").split()) <= set(ids), node
        if node.attributes.get("href", "").startswith("#"):
            assert node.attributes["href"][1:] in ids


def test_the_same_tables_give_the_same_page() -> None:
    galleries = {table_id(table): drawn_gallery(table) for table in (stand_in(), accepted())}
    assert render_page([stand_in(), accepted()], galleries) == text()


def test_five_tables_of_nine_methods_with_galleries_fit_into_three_megabytes() -> None:
    table = drawn_table()
    assert len(table.rows) == 9
    many = [replace(table, task=f"task-{i}") for i in range(5)]
    made = render_page(many, {table_id(one): drawn_gallery(one, 6, 96, 14) for one in many})
    assert len(made.encode()) <= 3_000_000


def test_without_results_the_page_says_so() -> None:
    assert "no results yet" in parse(render_page([], {}, "Ours")).text


# -- tabs ----------------------------------------------------------------------------------------------------


def test_each_table_has_a_tab_that_links_to_its_panel() -> None:
    links = [node.attributes["href"] for node in page().all("a", data_tab="")]
    assert links == [f"#{table_id(table)}" for table in (stand_in(), accepted())]
    assert [node.text for node in page().all("a", data_tab="")] == ["iris-pad standin", "cxr radiographs"]


def test_tabs_name_protocol_and_backbone_where_several_are_there() -> None:
    table = drawn_table(methods=METHODS[:1])
    several = [table, replace(table, backbone="resnet50"), replace(table, task="cxr"),
               replace(table, protocol="cyborg-v1")]  # fmt: skip
    labels = [node.text for node in parse(render_page(several, {})).all("a", data_tab="")]
    assert labels == [
        "iris-pad standin · quick-v1 · resnet10t", "iris-pad standin · quick-v1 · resnet50", "cxr standin",
        "iris-pad standin · cyborg-v1 · resnet10t",
    ]  # fmt: skip


def test_a_tables_id_is_made_of_what_its_rows_share_and_nothing_else() -> None:
    table = drawn_table(methods=METHODS[:2])
    assert re.fullmatch(r"iris-pad-[0-9a-f]{10}", table_id(table))
    assert table_id(replace(table, rows=(), data="another name", date="", notes=())) == table_id(table)
    for part in ("task", "fingerprint", "protocol", "backbone", "head", "digest"):
        assert table_id(replace(table, **{part: "x"})) != table_id(table)
    assert re.fullmatch(r"[a-z0-9-]+", table_id(replace(table, task='"><script>')))


# -- the board -----------------------------------------------------------------------------------------------


def test_groups_stand_in_order_and_hold_the_rows_that_belong_there() -> None:
    groups = {node.attributes["data-group"]: node for node in panel(stand_in()).all("tbody") if
              "data-group" in node.attributes}  # fmt: skip
    assert list(groups) == ["top", "ranked", "marked", "unranked", "control"]
    held = {key: names(node) for key, node in groups.items()}
    assert held["top"] == [r.label for r in sorted(stand_in().rows, key=order) if r.rank and r.rank.top]
    assert held["marked"] == ["margin:alpha=0.3", "gradient-penalty"]
    assert set(held["unranked"]) == {"energy", "quick-look"}
    assert set(held["control"]) == {"cyborg-shuffled", "cyborg-center"}
    for labels in held.values():
        keys = [order(row_of(stand_in(), label)) for label in labels]
        assert keys == sorted(keys)


def names(node: Node) -> list[str]:
    return [row.attributes["data-name"] for row in node.all("tr", class_="method")]


def order(row: MethodRow) -> tuple[float, float, float]:
    low, high = (row.rank.low, row.rank.high) if row.rank else (math.inf, math.inf)
    return low, high, -row.open_set.seeds.mean


def test_marked_and_unranked_rows_say_why() -> None:
    rows = method_rows(stand_in())
    for label, mark in (("margin:alpha=0.3", "in-domain worse"), ("gradient-penalty", "not shown above chance")):
        assert mark in rows[label].one("th").text
    heading = panel(stand_in()).one("tbody", data_group="marked").one("tr", class_="group").text.lower()
    held = {mark for row in stand_in().rows for mark in row.marks}
    assert held == {"in-domain worse", "not shown above chance"}
    assert all((f"{mark}: {reason}".lower() in heading) == (mark in held) for mark, reason in MARKS.items())
    assert "1 failed" in cell(rows["energy"], "rank").text
    assert "n = 3, a test needs 5 seeds" in cell(rows["quick-look"], "rank").text
    assert "4 1 failed" in cell(rows["energy"], "seeds").text


@pytest.mark.parametrize("table", [stand_in, accepted])
def test_the_numbers_are_the_tables_own(table: object) -> None:
    shown: Table = table()  # type: ignore[operator]
    tests = {test.first: test for test in shown.tests if test.family == "baseline"}
    for label, node in method_rows(shown).items():
        row = row_of(shown, label)
        exact = {
            "primary": row.open_set.seeds.mean, "in_domain": row.in_domain.seeds.mean, "worst": row.worst.seeds.mean,
            "difference": row.difference.difference if row.difference else None,
            "p": tests[label].p_holm if label in tests else None,
            "lift_true": row.true_cam.lift.mean if row.true_cam else None,
            "lift_difference": row.difference_map.lift.mean if row.difference_map else None,
            "seconds": row.seconds, "peak": row.peak_mb, "seeds": len(row.seeds),
        }  # fmt: skip
        for column, value in exact.items():
            found = cell(node, column).attributes.get("data-value")
            known = None if value is None or math.isnan(value) else value
            assert (None if found is None else float(found)) == known, (label, column)
        assert (row.open_set.population is None) == (row.survivors is not None)
        if row.open_set.population is not None:
            assert wording.population(row.open_set.population) in cell(node, "primary").text
            assert f"{row.open_set.seeds.mean:.3f}" in cell(node, "primary").text
        if row.rank:
            ends = [row.rank.low] if row.rank.low == row.rank.high else [row.rank.low, row.rank.high]
            assert cell(node, "rank").text == "–".join(map(str, ends))
        if row.difference:
            assert wording.signed_interval(row.difference) in cell(node, "difference").text
        starred = label in tests and tests[label].p_holm <= 0.05
        assert ("*" in cell(node, "p").text) == starred


def test_each_score_is_drawn_where_its_numbers_are() -> None:
    metrics = [row.open_set for row in stand_in().rows]
    scale = axes.auroc_axis(metrics)
    for label, node in method_rows(stand_in()).items():
        metric = row_of(stand_in(), label).open_set
        if metric.population is None:  # survivors only
            assert label == "energy"
            assert not cell(node, "primary").all("svg")
            continue
        svg = cell(node, "primary").one("svg")
        low, high, mean = (scale.x(v) for v in (metric.population.low, metric.population.high, metric.seeds.mean))
        assert svg.one("path", class_="span").attributes["d"] == f"M{low} 4.5v7m0-3.5H{high}m0-3.5v7"
        assert svg.one("circle").attributes["cx"] == str(mean)
        assert svg.one("path", class_="ref").attributes["d"] == f"M{scale.x(0.5)} 0v16"
        assert svg.attributes["aria-hidden"] == "true"


def test_axes_hold_everything_and_their_line_of_no_effect() -> None:
    for values, reference in (([0.93, 0.97], 0.5), ([0.2, 0.31], 0.5), ([-0.3, 0.01], 0.0), ([0.0, 0.0], 0.0)):
        scale = axes.axis_over(values, reference, 0.08)
        assert scale.low <= min(*values, reference) < max(*values, reference) + 1e-9 <= scale.high + 1e-9
        assert (scale.low, scale.high) == pytest.approx((scale.ticks[0], scale.ticks[-1]))
        assert len(scale.ticks) <= scale.width // axes.TICK
        assert all(a < b for a, b in pairwise(scale.x(tick) for tick in scale.ticks))
    assert axes.lift_axis([0.3, 6.0]).low == 0
    assert axes.auroc_axis([row.open_set for row in stand_in().rows]).high == 1


@pytest.mark.parametrize("far", [100.0, 1e4, 1e300, -1e300])
def test_an_axis_has_few_ticks_whatever_its_range(far: float) -> None:
    scale = axes.axis_over([0.0, far], 1.0, 0.0)
    assert 2 <= len(scale.ticks) <= 12
    assert 0 <= scale.x(far) <= scale.width


def test_a_picture_with_a_broken_chunk_is_refused_in_one_line() -> None:
    gallery = drawn_gallery(stand_in())
    content = bytearray(base64.b64decode(gallery.pictures[0].image))
    content[37:41] = b"\x00\xff\x00\xff"
    broken = gallery.pictures[0].model_copy(update={"image": base64.b64encode(bytes(content)).decode()})
    with pytest.raises(UserError, match="is not a PNG"):
        gallery_view(gallery.model_copy(update={"pictures": [broken]}), [], "g")


def test_every_row_has_a_cell_for_every_column_and_headings_that_sort() -> None:
    board = panel(stand_in()).one("table", class_="board")
    columns = [node.attributes["data-col"] for node in board.one("thead", role="rowgroup").all("th")]
    assert columns[:5] == ["method", "rank", "primary", "difference", "p"]
    for node in board.one("thead", role="rowgroup").all("th"):
        assert node.attributes["scope"] == "col"
        assert node.one("button")
    for row in board.all("tr", class_="method"):
        assert [c.attributes["data-col"] for c in row.children if isinstance(c, Node)] == columns
        assert row.one("th").attributes["scope"] == "row"
    region = panel(stand_in()).one("div", role="region", aria_labelledby="caption-0")
    assert region.one("caption", id="caption-0").text.startswith("Methods by rank interval")
    assert region.attributes["tabindex"] == "0", "what scrolls must be reachable by keyboard"


def test_a_table_without_unseen_conditions_is_headed_by_in_domain_auroc() -> None:
    parts = [part for part in CXR if part[1] == "sensor-a" and part[2] in ("", "print")]
    table = drawn_table("cxr", METHODS[:3], parts, "one hospital", False, ("ece",))
    assert table.primary == "in-domain"
    shown = parse(render_page([table], {}))
    columns = [node.attributes["data-col"] for node in shown.one("thead", role="rowgroup").all("th")]
    assert "in_domain" not in columns
    assert "worst" not in columns
    heading = next(node for node in shown.all("th") if node.attributes.get("data-col") == "primary")
    assert heading.text.startswith("in-domain AUROC")


def test_three_seeds_and_one_method_alone_are_shown_without_ranks() -> None:
    preview = drawn_table(methods=[replace(fake, seeds=3) for fake in METHODS[:3]])
    alone = drawn_table(methods=METHODS[:1])
    nothing = drawn_table(methods=[replace(METHODS[0], seeds=0, failed=2)])
    for table in (preview, alone, nothing):
        assert "No ranks" in parse(render_page([table], {})).text


# -- the details ---------------------------------------------------------------------------------------------


def test_details_hold_conditions_with_q_and_false_positive_rates() -> None:
    table = stand_in()
    rows = {node.one("th").text: node for node in details(table, "cyborg").all("table")[0].one("tbody").all("tr")}
    assert set(rows) == {name for name, *_ in table.conditions}
    for one in row_of(table, "cyborg").conditions:
        shown = rows[one.condition].text
        assert wording.mean_sd(one.auroc.seeds) in shown
        assert wording.population(one.auroc.population) in shown
        assert wording.p_or_dash(one.q) in shown
        assert ("*" in shown) == wording.is_significant(one.q)
        assert wording.mean_sd(one.false_positive_rate) in shown


def test_a_condition_without_auroc_shows_its_false_positive_rate() -> None:
    lines = [node for node in details(accepted(), "cyborg").all("tr") if len(node.all("th")) == 1]
    rows = {node.one("th").text: node.text for node in lines}
    assert "n/a" in rows["hospital-negatives"]
    assert re.search(r"0\.\d{3} ± 0\.\d{3}$", rows["hospital-negatives"])


def test_details_set_apart_what_decides_nothing() -> None:
    apart = details(stand_in(), "cyborg").one("div", class_="apart")
    assert "On exactly these images" in apart.text
    assert "decides nothing" in apart.text
    for test in stand_in().tests:
        if "cyborg" in (test.first, test.second):
            assert wording.signed_interval(test.on_these_images) in apart.text
            assert wording.p_or_dash(test.on_these_images.p_sign_flip) in apart.text


def test_every_test_is_listed_with_its_family_size_and_effect_sizes() -> None:
    shown = panel(stand_in()).one("section", class_="tests").text
    for test in stand_in().tests:
        line = (
            f"{test.first} − {test.second} {wording.signed_or_dash(test.comparison.difference)} "
            f"{wording.signed_interval(test.comparison)} {wording.p_or_dash(test.p_holm)}"
        )
        assert line in shown
        assert f"{wording.number_or_dash(test.hedges_g, 2)} {wording.number_or_dash(test.superiority, 2)}" in shown
    for pair in stand_in().pairs:
        assert f"{pair.first} − {pair.second} {wording.signed_or_dash(pair.difference)}" in shown


def test_field_metrics_stand_with_the_achieved_rate_and_the_oracle() -> None:
    shown = details(accepted(), "difference").text
    for one in row_of(accepted(), "difference").field_metrics:
        assert one.metric in shown
        assert wording.mean_sd(one.value) in shown
        if one.achieved and one.oracle:
            assert f"{wording.mean_sd(one.achieved)} {wording.mean_sd(one.oracle)}" in shown


def test_states_are_shown_with_their_proof() -> None:
    for standing in STANDINGS:
        holders = [row.label for row in accepted().rows if row.standing == standing]
        assert holders
        for label in holders:
            assert standing.state in cell(method_rows(accepted())[label], "state").text
            assert standing.proof in details(accepted(), label).text
            assert standing.submitter in details(accepted(), label).text
    assert not [node for node in panel(stand_in()).all("th") if node.attributes.get("data-col") == "state"]


# -- what the numbers can and cannot say ---------------------------------------------------------------------


def test_the_box_says_what_the_numbers_can_and_cannot_say() -> None:
    box = panel(stand_in()).one("section", class_="limits").text
    assert "What these numbers can and cannot say" in box
    assert "n = 3–10 runs a method" in box
    questions = {
        "baseline": "Each method − cross-entropy",
        "divergence": "Each two-cam method − cyborg",
        "controls": "cyborg − each control",
    }
    for family, question in questions.items():
        assert f"{question}: {sum(test.family == family for test in stand_in().tests)}" in box
    smallest = [test.smallest_effect for test in stand_in().tests if test.family == "baseline"]
    assert f"{min(smallest):.3f} to {max(smallest):.3f}" in box
    assert "1 failed, 0 diverged" in box
    assert "2026-11-21" in box
    assert box.count("Stars (*) use the p of their family, ranks the p over all pairs; the two may disagree.") == 1
    assert all(" ".join(note.split()) in box for note in stand_in().notes)


def test_stand_ins_and_only_stand_ins_carry_their_notice() -> None:
    (notice,) = panel(stand_in()).all("aside")
    assert "cannot show that guidance helps on real images" in notice.text
    assert "tests the software, not the hypothesis" in notice.text
    assert not panel(accepted()).all("aside")


# -- nothing from outside acts -------------------------------------------------------------------------------


def hostile() -> tuple[Table, Gallery]:
    """A table and a gallery whose every word from outside is an attack."""
    standing = replace(
        STANDINGS[0],
        description=HOSTILE,
        proof=HOSTILE,
        submitter=HOSTILE,
        weights={0: "javascript:alert(1)", 1: HOSTILE},
    )
    evil = Fake(HOSTILE, "one-cam", 5, standing=standing)
    parts = [(a, b.replace("sensor-b", HOSTILE), c.replace("lens-dots", HOSTILE), d, e) for a, b, c, d, e in CXR]
    table = drawn_table(
        HOSTILE, [replace(METHODS[0], seeds=5), evil], parts, HOSTILE, protocol=HOSTILE, backbone=HOSTILE
    )
    gallery = drawn_gallery(table)
    first = gallery.pictures[0].model_copy(update={"credit": HOSTILE, "condition": HOSTILE, "key": "k1"})
    return table, gallery.model_copy(
        update={"class_names": (HOSTILE, HOSTILE), "pictures": [first, *gallery.pictures[2:]]}
    )


def test_what_comes_from_outside_stays_text() -> None:
    table, gallery = hostile()
    shown = parse(render_page([table], {table_id(table): gallery}, HOSTILE))
    ours = parse(render_page([stand_in()], {table_id(stand_in()): drawn_gallery(stand_in())}))
    assert {node.tag for node in shown.walk()} <= {node.tag for node in ours.walk()}
    assert len(shown.all("script")) == 1
    for node in shown.walk():
        assert not [name for name in node.attributes if name.startswith("on") or name == "style"]
    assert all(node.attributes["src"].startswith("data:image/") for node in shown.all("img"))
    assert shown.one("title").text == " ".join(HOSTILE.split())
    assert shown.text.count("onerror=") > 20
    assert "49" not in shown.one("h1").text


@pytest.mark.parametrize(
    ("place", "links"),
    [
        (COMMIT, True),
        ("https://huggingface.co/lab/model/blob/0123456789abcdef0123456789abcdef01234567/model.safetensors", True),
        ("http://huggingface.co/lab/model", False),
        ("https://huggingface.co.evil.example/lab/model", False),
        ("https://huggingface.co@evil.example/lab/model", False),
        ("https://evil.example/https://huggingface.co/lab/model", False),
        ("javascript:alert('https://huggingface.co/lab/model')", False),
        ("https://huggingface.co/lab/model\n", False),
        ("https://huggingface.co/lab/model?next=//evil.example", False),
        ("https://huggingface.co/lab/../../evil", False),
        (" https://huggingface.co/lab/model", False),
        ("runs/model.safetensors (sha256 0a)", False),
    ],
)
def test_only_addresses_of_the_hub_become_links(place: str, links: bool) -> None:
    assert bool(hub_link(place)) == links


def test_weights_are_links_only_where_they_lie_on_the_hub() -> None:
    (holder,) = [row.label for row in accepted().rows if row.standing == STANDINGS[1]][:1]
    (link,) = details(accepted(), holder).all("a")
    assert link.attributes == {"href": COMMIT, "rel": "noopener noreferrer external"}
    (plain,) = [row.label for row in accepted().rows if row.standing == STANDINGS[3]][:1]
    assert not details(accepted(), plain).all("a")
    assert STANDINGS[3].weights[0] in details(accepted(), plain).text
    outside = {node.attributes["href"] for node in page().all("a")} - {
        node.attributes["href"] for node in page().all("a") if node.attributes["href"].startswith("#")
    }
    assert outside == {COMMIT}


# -- the gallery ---------------------------------------------------------------------------------------------


def test_every_method_is_shown_on_the_same_pictures_with_its_three_maps() -> None:
    gallery = panel(stand_in()).one("section", class_="gallery")
    rows = gallery.one("tbody").all("tr")
    assert {row.one("th").one("span", class_="name").text for row in rows} == {row.label for row in stand_in().rows}
    for row in rows:
        label = row.one("th").one("span", class_="name").text
        assert len(row.all("td")) == 4
        for number, td in enumerate(row.all("td"), 1):
            if "no maps" in td.text:
                continue
            tiles = td.all("span", class_="tile")
            kinds = [tile.attributes["data-name"] for tile in tiles]
            assert kinds == ["true-class CAM", "false-class CAM", "difference map"]
            for tile in tiles:
                if tile.all("img"):
                    alt = tile.one("img").attributes["alt"]
                    assert alt.startswith(f"{tile.attributes['data-name']} of {label} on image {number}")
                else:
                    assert tile.text == "empty: no positive part"
    assert gallery.text.count("empty: no positive part") > 0
    assert gallery.text.count("no maps") == 1
    assert "drawn by code, Apache-2.0" in gallery.text
    assert "no human map" in gallery.text
    assert "the lowest seed, never the best" in gallery.text


def test_each_picture_is_in_the_page_twice_however_many_methods_there_are() -> None:
    source = panel(stand_in()).one("section", class_="gallery").one("thead").all("img")[0].attributes["src"]
    assert text().count(source.partition(",")[2]) == 2 * 2  # as itself and as a background; both tables show it


def test_a_gallery_that_may_not_be_shown_says_why() -> None:
    absent = Gallery(class_names=("real", "fake"), pictures=[], absent="The source's terms do not allow it.")
    table = drawn_table(methods=METHODS[:2])
    for gallery, reason in (({table_id(table): absent}, "The source's terms do not allow it."),
                            ({}, "No CAM gallery was made")):  # fmt: skip
        section = parse(render_page([table], gallery)).one("section", class_="gallery")
        assert reason in section.text
        assert not section.all("img")


def decoded(source: str) -> np.ndarray:
    """The (h, w, 4) colours of a data URL, red, green, blue, opacity."""
    head, _, content = source.partition(",")
    assert head == "data:image/png;base64"
    return np.array(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGBA"))


def test_maps_have_one_pixel_a_cell_and_are_clear_where_nothing_is() -> None:
    pixels = decoded(colours.sequential(np.array([[-5.0, 0.0, 1.0], [2.0, 3.0, 4.0]]), 4.0))
    assert pixels.shape == (2, 3, 4)
    assert pixels[0, 0, 3] == pixels[0, 1, 3] == 0
    assert np.all(np.diff(pixels.reshape(-1, 4)[1:, 3].astype(int)) > 0)
    assert tuple(pixels[1, 2]) == colours.SEQUENTIAL[-1][1:]


def test_the_difference_map_is_symmetric_about_zero() -> None:
    pixels = decoded(colours.diverging(np.array([[-2.0, -1.0, 0.0, 1.0, 2.0]]), 2.0))[0].astype(int)
    assert pixels[2, 3] <= 8
    assert np.abs(pixels[:, 3] - pixels[::-1, 3]).max() <= 4
    assert pixels[0, 2] > pixels[0, 0], "blue against the true class"
    assert pixels[4, 0] > pixels[4, 2], "red for it"


def test_both_class_cams_share_a_scale_and_the_difference_states_its_own() -> None:
    table = drawn_table(methods=METHODS[:1])
    gallery = drawn_gallery(table, pictures=1)
    positive = [[[1.0, 0.0]], [[4.0, -1.0]]]  # class 0, then class 1, which is the true one
    gallery = gallery.model_copy(update={"maps": {"cross-entropy": {"k0": positive}}})
    (cells,) = [method.cells for method in gallery_view(gallery, [("cross-entropy", "unguided")], "g").methods]
    assert cells[0] is not None
    true, false, difference = cells[0]
    assert (true.note, false.note, difference.note) == ("0 to 4", "0 to 4", "±3")
    assert decoded(true.url)[0, 0, 3] > decoded(false.url)[0, 0, 3] > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": "no base64!"}, "not a PNG"),
        ({"image": base64.b64encode(b"<svg onload=alert(1)>").decode()}, "not a PNG"),
        ({"human": [[0.5], [0.5, 0.5]]}, "another shape"),
    ],
)
def test_a_picture_that_is_none_is_refused(change: dict[str, object], message: str) -> None:
    gallery = drawn_gallery(drawn_table(methods=METHODS[:1]), pictures=1)
    broken = gallery.model_copy(update={"pictures": [gallery.pictures[0].model_copy(update=change)]})
    with pytest.raises(UserError, match=message):
        gallery_view(broken, [], "g")


@pytest.mark.parametrize("cams", [[[[1.0]]], [[[1.0]], [[1.0, 2.0]]], [[[1.0]], [[1.0], [2.0, 3.0]]], [[], []]])
def test_maps_of_another_shape_are_refused(cams: list[list[list[float]]]) -> None:
    gallery = drawn_gallery(drawn_table(methods=METHODS[:1]), pictures=1)
    broken = gallery.model_copy(update={"maps": {"cross-entropy": {"k0": cams}}})
    with pytest.raises(UserError, match=r"maps? of cross-entropy"):
        gallery_view(broken, [("cross-entropy", "unguided")], "g")
