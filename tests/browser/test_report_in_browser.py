"""The report of ``explain --set`` in a real browser: it asks for nothing, says nothing on the console, and fits.

Skipped where there is no Chromium, unless CI_BROWSER=required is set, which turns that into a failure.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

import numpy as np
import pytest
from chromium import HOSTILE, Driver, browser

from divsal_bench import cli
from divsal_bench.explanation import data_set, data_set_page
from divsal_bench.grid import planning, work
from divsal_bench.prediction import loading
from divsal_bench.registry import method_choice, protocols
from divsal_bench.runs.reading import read_run
from divsal_bench.workflows.run_data import RunData

pytestmark = pytest.mark.browser

TINY = dataclasses.replace(
    protocols.find_protocol("quick-v1"),
    epochs=1,
    input_size=32,
    backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    yield from browser(tmp_path_factory.mktemp("profile"), width=1200)


@pytest.fixture(scope="module")
def addresses(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of a report as the command writes it, and of one whose data has hostile names."""
    folder = tmp_path_factory.mktemp("report")
    grid = planning.Grid(
        ("cxr",), tuple(method_choice.choose_methods("cross-entropy")), (0,), folder / "runs", TINY, data="standin"
    )
    for job in planning.plan(grid)[0].jobs:
        work.execute(job)
    place = next((folder / "runs/cxr/cross-entropy").iterdir())
    assert cli.main(["explain", str(place), "--set", "test", "--limit", "80", "--out", str(folder / "out")]) == 0
    network, data = loading.pretrained_in(place, ""), RunData(None).arrays(read_run(place))
    rows = data.rows.assign(sample_id=[f"{HOSTILE}{i}" for i in range(len(data.rows))])
    rows["source"] = np.where(rows["split"] == "test", HOSTILE, rows["source"])
    hostile, names = dataclasses.replace(data, rows=rows), (HOSTILE, "b")
    network = dataclasses.replace(network, class_names=names)
    found = data_set.overview(network, hostile, data_set.positions_to_explain(hostile, "test", 40, "", names), "test")
    heading = data_set_page.ReportHeading(HOSTILE, HOSTILE, HOSTILE, HOSTILE, 0, names, HOSTILE)
    (folder / "hostile.html").write_text(data_set_page.render_report(found, hostile, {}, heading), encoding="utf-8")
    return {"plain": (folder / "out/report.html").as_uri(), "hostile": (folder / "hostile.html").as_uri()}


def open_page(driver: Driver, address: str, width: int, dark: bool) -> None:
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
    """What the page asked for, pictures inside it left out."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
    return {url for url in asked if not url.startswith(("data:", "about:"))}


@pytest.mark.parametrize("which", ["plain", "hostile"])
@pytest.mark.parametrize(("width", "dark"), [(1200, False), (360, True)])
def test_it_is_quiet_and_fits(driver: Driver, addresses: dict[str, str], which: str, width: int, dark: bool) -> None:
    open_page(driver, addresses[which], width, dark)
    assert driver.get_log("browser") == []
    assert requests(driver) == {addresses[which]}
    assert driver.title != "ran"
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width, "nothing to scroll sideways"
    pictures = driver.find_elements("css selector", "img")
    assert len(pictures) > 10
    assert all(driver.execute_script("return arguments[0].naturalWidth > 0", one) for one in pictures)


def brightness(driver: Driver, script: str) -> float:
    words = driver.execute_script(script)
    return sum(float(word) for word in words[words.index("(") + 1 : -1].split(",")[:3])


def test_dark_is_dark(driver: Driver, addresses: dict[str, str]) -> None:
    for dark in (False, True):
        open_page(driver, addresses["plain"], 1200, dark)
        ground = brightness(driver, "return getComputedStyle(document.body).backgroundColor")
        ink = brightness(driver, "return getComputedStyle(document.querySelector('h1')).color")
        assert (ground < ink) == dark
