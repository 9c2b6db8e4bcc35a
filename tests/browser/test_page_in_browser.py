"""The web page in a real browser: Debian's Chromium, driven headless.

Skipped where there is no Chromium, unless CI_BROWSER=required is set, which turns that into a failure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chromium import HOSTILE, Driver, browser
from drawn_boards import CXR, METHODS, OUTSIDE, STANDINGS, Fake, drawn_gallery, drawn_table

from divsal_bench.leaderboard.tables.schema import Table
from divsal_bench.leaderboard.web.page import render_page, table_id

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    yield from browser(tmp_path_factory.mktemp("profile"), width=1440)


@pytest.fixture(scope="module")
def tables() -> tuple[Table, Table]:
    """Eleven methods with ten seeds and fewer; six with five, in every state of proof."""
    accepted = [replace(fake, seeds=5, standing=STANDINGS[i % 4]) for i, fake in enumerate(METHODS[:6])]
    return (
        drawn_table(methods=(*METHODS, *OUTSIDE)),
        drawn_table("cxr", accepted, CXR, "radiographs", False, ("sensitivity@specificity=95%", "ece")),
    )


@pytest.fixture(scope="module")
def address(tables: tuple[Table, Table], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of the page of both tables."""
    file = tmp_path_factory.mktemp("page") / "board.html"
    galleries = {table_id(table): drawn_gallery(table) for table in tables}
    file.write_text(render_page(tables, galleries), encoding="utf-8")
    return file.as_uri()


@pytest.fixture
def page(driver: Driver, address: str) -> Iterator[Driver]:
    """The page freshly opened on a desktop; afterwards the console must be empty and nothing outside asked for."""
    open_page(driver, address)
    yield driver
    assert driver.get_log("browser") == []
    assert requests(driver) <= {address}


def open_page(driver: Driver, address: str, width: int = 1440, dark: bool = False, scripts: bool = True) -> None:
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 700},
    )
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    driver.get("about:blank")
    driver.get_log("browser")
    driver.get_log("performance")
    driver.get(address)


def requests(driver: Driver) -> set[str]:
    """What the page asked for, pictures inside it left out and its own address without the tab's name."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
    return {url.partition("#")[0] for url in asked if not url.startswith(("data:", "about:"))}


def find(driver: Driver, selector: str) -> list[Any]:
    """Elements of the tab that is open, in their order."""
    return list(driver.find_elements("css selector", f".panel.shown {selector}"))


def names(driver: Driver, within: str = "") -> list[str]:
    """Methods that can be seen, from top to bottom."""
    rows = [row for row in find(driver, f"{within} tr.method") if row.is_displayed()]
    return [row.get_attribute("data-name") for row in sorted(rows, key=lambda row: row.location["y"])]


def heading(driver: Driver, column: str) -> Any:
    (found,) = find(driver, f"thead th[data-col={column}]")
    return found


def sort_by(driver: Driver, column: str) -> None:
    heading(driver, column).find_element("css selector", "button").click()


def check(driver: Driver, selector: str) -> None:
    find(driver, f".filters {selector}")[0].click()


def selected(driver: Driver) -> list[bool]:
    tabs = driver.find_elements("css selector", "[role=tab]")
    return [tab.get_attribute("aria-selected") == "true" for tab in tabs]


def key(name: str) -> str:
    from selenium.webdriver.common.keys import Keys

    return str(getattr(Keys, name))


def press(driver: Driver, name: str) -> None:
    driver.switch_to.active_element.send_keys(key(name))


# -- tabs ----------------------------------------------------------------------------------------------------


def test_a_tab_shows_its_table_and_no_other(page: Driver, tables: tuple[Table, Table]) -> None:
    assert selected(page) == [True, False]
    page.find_elements("css selector", "[role=tab]")[1].click()
    assert selected(page) == [False, True]
    panels = page.find_elements("css selector", ".panel")
    shown = [panel.get_attribute("id") for panel in panels if panel.is_displayed()]
    assert shown == [table_id(tables[1])]
    assert page.current_url.endswith(f"#{table_id(tables[1])}")


def test_tabs_are_walked_with_the_keyboard(page: Driver) -> None:
    page.find_elements("css selector", "[role=tab]")[0].click()
    for name, expected in (("ARROW_RIGHT", 1), ("ARROW_RIGHT", 0), ("ARROW_LEFT", 1), ("HOME", 0), ("END", 1)):
        press(page, name)
        assert selected(page) == [i == expected for i in range(2)], name
    focusable = [tab.get_attribute("tabindex") for tab in page.find_elements("css selector", "[role=tab]")]
    assert focusable == ["-1", "0"]
    assert page.switch_to.active_element.get_attribute("aria-selected") == "true"


def test_an_address_opens_its_tab(driver: Driver, address: str, tables: tuple[Table, Table]) -> None:
    open_page(driver, f"{address}#{table_id(tables[1])}")
    assert selected(driver) == [False, True]


def test_the_first_key_skips_to_the_tables(page: Driver) -> None:
    page.find_element("css selector", "body").send_keys(key("TAB"))
    assert page.switch_to.active_element.get_attribute("class") == "skip"
    page.execute_script("document.querySelectorAll('[role=tab]')[1].click()")
    page.execute_script("document.querySelector('.skip').focus()")
    press(page, "ENTER")
    assert page.switch_to.active_element.get_attribute("id") == "content"
    assert selected(page) == [False, True], "the tab stays"


# -- sorting and filtering -----------------------------------------------------------------------------------


def test_groups_stand_in_the_default_order(page: Driver) -> None:
    held = [names(page, f"tbody[data-group={group}]") for group in ("top", "ranked", "marked", "unranked", "control")]
    assert all(held)
    assert names(page) == [label for group in held for label in group]


def values(driver: Driver, column: str, group: str) -> list[float]:
    cells = find(driver, f"tbody[data-group={group}] tr.method td[data-col={column}]")
    return [float(cell.get_attribute("data-value")) for cell in cells]


def test_a_heading_sorts_inside_the_groups_both_ways(page: Driver) -> None:
    sort_by(page, "seconds")
    assert heading(page, "seconds").get_attribute("aria-sort") == "ascending"
    for group in ("ranked", "marked", "control"):
        assert values(page, "seconds", group) == sorted(values(page, "seconds", group))
    sort_by(page, "seconds")
    assert heading(page, "seconds").get_attribute("aria-sort") == "descending"
    assert values(page, "seconds", "ranked") == sorted(values(page, "seconds", "ranked"), reverse=True)
    sort_by(page, "primary")
    assert heading(page, "seconds").get_attribute("aria-sort") is None
    assert names(page)[-2:] == names(page, "tbody[data-group=control]")


def test_a_heading_sorts_by_keyboard(page: Driver) -> None:
    button = heading(page, "method").find_element("css selector", "button")
    page.execute_script("arguments[0].focus()", button)
    press(page, "ENTER")
    assert heading(page, "method").get_attribute("aria-sort") == "ascending"
    press(page, "SPACE")
    assert heading(page, "method").get_attribute("aria-sort") == "descending"
    ranked = names(page, "tbody[data-group=ranked]")
    assert ranked == sorted(ranked, reverse=True)


def test_without_groups_all_methods_are_one_list_and_missing_values_last(page: Driver) -> None:
    check(page, "[data-groups]")
    sort_by(page, "primary")
    cells = [cell for cell in find(page, "tr.method td[data-col=primary]") if cell.is_displayed()]
    *known, last = sorted(cells, key=lambda cell: cell.location["y"])
    shown = [float(cell.get_attribute("data-value")) for cell in known]
    assert len(shown) == 10
    assert shown == sorted(shown, reverse=True)
    assert (last.text, names(page)[-1]) == ("n/a", "energy"), "a run has no result: no mean"
    assert not [row for row in find(page, "tr.group") if row.is_displayed()]
    for _ in range(2):
        sort_by(page, "difference")
        assert set(names(page)[-2:]) == {"cross-entropy", "energy"}


def test_reset_brings_the_default_back(page: Driver) -> None:
    before = names(page)
    check(page, "[data-groups]")
    sort_by(page, "worst")
    check(page, "[data-hide-controls]")
    find(page, ".filters input[type=search]")[0].send_keys("cyborg")
    assert names(page) == ["cyborg"]
    check(page, "[data-reset]")
    assert names(page) == before


def test_text_filters_methods_and_says_how_many_are_left(page: Driver) -> None:
    find(page, ".filters input[type=search]")[0].send_keys("Cross-Ent")
    assert set(names(page)) == {"cross-entropy", "balanced-cross-entropy"}
    assert find(page, "[data-count]")[0].text == "2 of 11 methods shown"
    find(page, ".filters input[type=search]")[0].send_keys("zzz")
    assert "No method fits" in find(page, "table.board")[0].text
    assert not [row for row in find(page, "tr.group") if row.is_displayed()]


def test_kinds_and_controls_are_filtered(page: Driver) -> None:
    check(page, "[data-kind=two-cam]")
    check(page, "[data-hide-controls]")
    kinds = {row.get_attribute("data-kind") for row in find(page, "tr.method") if row.is_displayed()}
    assert kinds == {"unguided", "one-cam"}
    assert not find(page, "tbody[data-group=control] tr.group")[0].is_displayed()


def test_columns_are_chosen(page: Driver) -> None:
    find(page, ".choose summary")[0].click()
    check(page, "[data-column=in_domain]")
    assert not [cell for cell in find(page, ".board [data-col=in_domain]") if cell.is_displayed()]
    assert all(cell.is_displayed() for cell in find(page, ".board [data-col=primary]"))
    press(page, "ESCAPE")
    assert not find(page, ".choose fieldset")[0].is_displayed()


# -- details and gallery -------------------------------------------------------------------------------------


def test_details_open_and_close_by_mouse_and_keyboard(page: Driver) -> None:
    button = find(page, "tr.method .more")[0]
    row = page.find_element("id", button.get_attribute("aria-controls"))
    assert (button.get_attribute("aria-expanded"), row.is_displayed()) == ("false", False)
    button.click()
    assert (button.get_attribute("aria-expanded"), row.is_displayed()) == ("true", True)
    assert "decides nothing" in row.text
    press(page, "SPACE")
    assert (button.get_attribute("aria-expanded"), row.is_displayed()) == ("false", False)


def test_details_travel_with_their_method(page: Driver) -> None:
    button = find(page, "tbody[data-group=ranked] tr.method .more")[-1]
    button.click()
    sort_by(page, "method")
    follows = "return arguments[0].closest('tr').nextElementSibling.id"
    assert page.execute_script(follows, button) == button.get_attribute("aria-controls")


def test_a_cell_of_the_gallery_is_enlarged_and_closed_with_escape(page: Driver) -> None:
    button = find(page, ".gallery .enlarge")[0]
    page.execute_script("arguments[0].focus({preventScroll: false})", button)
    press(page, "ENTER")
    dialog = page.find_element("css selector", "dialog")
    assert dialog.is_displayed()
    captions = [caption.text.split("\n")[0] for caption in dialog.find_elements("css selector", "figcaption")]
    assert captions == ["image", "human map", "true-class CAM", "false-class CAM", "difference map"]
    press(page, "ESCAPE")
    assert not dialog.is_displayed()


def test_every_picture_is_really_drawn(page: Driver) -> None:
    broken = "return [...document.images].filter(one => !one.complete || one.naturalWidth === 0).length"
    assert page.execute_script(broken) == 0
    assert page.execute_script("return document.images.length") > 100
    background = "return getComputedStyle(document.querySelector('.trio .tile')).backgroundImage.slice(0, 20)"
    assert page.execute_script(background).startswith('url("data:image/')


# -- colours, sizes, no script -------------------------------------------------------------------------------

# WCAG 2 contrast of every visible piece of text with the colour behind it; pictures and hidden text left out.
LOW_CONTRAST = """
const parse = (text) => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
  .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const colour = parse(getComputedStyle(at).backgroundColor);
    if (colour.length < 4 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
const low = new Set();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || node.closest('.tile, .sr, script, style, .skip')) continue;
  if (!node.checkVisibility()) continue;
  const style = getComputedStyle(node);
  const [a, b] = [light(parse(node.closest('svg') ? style.fill : style.color)), light(behind(node))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < 4.5) low.add(`${node.tagName}.${node.className}: ${contrast.toFixed(2)}`);
}
return [...low];
"""


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_in_light_and_in_dark(driver: Driver, address: str, dark: bool) -> None:
    open_page(driver, address, dark=dark)
    for tab in driver.find_elements("css selector", "[role=tab]"):
        tab.click()
        driver.execute_script("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        driver.execute_script("document.querySelectorAll('.panel.shown .more').forEach(one => one.click())")
        assert driver.execute_script(LOW_CONTRAST) == []
    paper = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(19, 22, 27)") == dark


@pytest.mark.parametrize("width", [360, 768, 1024])
def test_the_page_never_scrolls_sideways(driver: Driver, address: str, width: int) -> None:
    open_page(driver, address, width=width)
    for tab in driver.find_elements("css selector", "[role=tab]"):
        driver.execute_script("arguments[0].click()", tab)
        driver.execute_script("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        driver.execute_script("document.querySelectorAll('.panel.shown .more').forEach(one => one.click())")
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width


def test_on_a_phone_methods_are_cards_with_named_numbers_that_can_be_sorted(driver: Driver, address: str) -> None:
    open_page(driver, address, width=360)
    card = find(driver, "tr.method")[0]
    assert card.size["width"] <= 360
    label = "return getComputedStyle(arguments[0], '::before').content"
    cell = find(driver, "tr.method td[data-col=primary]")[0]
    assert driver.execute_script(label, cell) == '"open-set AUROC"'
    check(driver, "[data-groups]")
    choice = find(driver, "[data-sort-by]")[0]
    assert choice.is_displayed()
    choice.find_element("css selector", "option[value=seconds]").click()
    assert names(driver)[0] == "cross-entropy", "the quickest"


def test_without_javascript_everything_is_there(driver: Driver, address: str) -> None:
    open_page(driver, address, scripts=False)
    try:
        panels = driver.find_elements("css selector", ".panel")
        assert [panel.is_displayed() for panel in panels] == [True, True]
        details = driver.find_elements("css selector", "tr.details")
        assert all(row.is_displayed() for row in details)
        assert len(details) == 17
        for dead in (".filters", ".more", ".enlarge"):
            assert not any(one.is_displayed() for one in driver.find_elements("css selector", dead)), dead
        assert all(one.is_displayed() for one in driver.find_elements("css selector", ".tabs a"))
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


# -- nothing from outside acts -------------------------------------------------------------------------------


def test_words_from_outside_stay_words(driver: Driver, tmp_path: Path) -> None:
    standing = replace(STANDINGS[0], description=HOSTILE, proof=HOSTILE, submitter=HOSTILE,
                       weights={0: "javascript:document.title='ran'"})  # fmt: skip
    evil = Fake(HOSTILE, "one-cam", 5, standing=standing)
    parts = [(a, b.replace("sensor-b", HOSTILE), c, d, e) for a, b, c, d, e in CXR]
    table = drawn_table("cxr", [replace(METHODS[0], seeds=5), evil], parts, HOSTILE, False, backbone=HOSTILE)
    gallery = drawn_gallery(table)
    file = tmp_path / "hostile.html"
    file.write_text(render_page([table], {table_id(table): gallery}, "Ours"), encoding="utf-8")
    open_page(driver, file.as_uri())
    for button in find(driver, ".more"):
        button.click()
    driver.execute_script("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    enlarge = find(driver, ".enlarge")[-1]
    driver.execute_script("arguments[0].click()", enlarge)
    assert driver.title == "Ours"
    assert driver.find_elements("css selector", "img[src=x]") == []
    assert driver.find_elements("css selector", "a[href^=javascript]") == []
    assert HOSTILE in driver.find_element("css selector", "dialog h2").text
    assert HOSTILE in [one.text for one in find(driver, ".name")]
    assert find(driver, ".description")[0].text == HOSTILE
    assert driver.get_log("browser") == []
    assert requests(driver) == {file.as_uri()}


def test_the_policy_stops_what_would_slip_through_the_escaping(driver: Driver, address: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    open_page(driver, address)
    driver.execute_script(
        "const one = document.createElement('script'); one.textContent = \"document.title = 'ran'\";"
        "document.body.append(one);"
        "document.body.insertAdjacentHTML('beforeend', '<img src=\"https://example.org/x.png\">')"
    )
    stopped: list[str] = []

    def said(_: Driver) -> bool:
        stopped.extend(entry["message"] for entry in driver.get_log("browser"))
        return len(stopped) >= 2

    WebDriverWait(driver, 20).until(said)
    assert all("Content Security Policy" in message for message in stopped)
    assert driver.title != "ran"
