"""Debian's Chromium, driven headless, for the tests of pages.

Tests are skipped where there is none, unless CI_BROWSER=required is set, which turns that into a failure.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
#: Started as root in a container, and talking to nobody.
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
#: A name that does something where it is not shown as text.
HOSTILE = "<img src=x onerror=\"document.title='ran'\"><script>document.title='ran'</script>"
Driver = Any


def missing() -> str:
    """What keeps the browser from starting; "" if nothing does."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed (pip install -e '.[dev]')"
    found = [path for path in (CHROMIUM, DRIVER) if not (Path(path).exists() or shutil.which(Path(path).name))]
    return f"{' and '.join(found)} not installed (Debian: chromium, chromium-driver)" if found else ""


def browser(profile: Path, width: int) -> Iterator[Driver]:
    """A browser with an empty profile and a window of this width, 1,000 pixels high; ended with the generator."""
    reason = missing()
    if reason and os.environ.get("CI_BROWSER") == "required":
        pytest.fail(f"a browser is required here: {reason}")
    if reason:
        pytest.skip(reason)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM if Path(CHROMIUM).exists() else str(shutil.which("chromium"))
    for flag in (*FLAGS, f"--window-size={width},1000", f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = webdriver.Chrome(options, Service(DRIVER if Path(DRIVER).exists() else str(shutil.which("chromedriver"))))
    yield made
    made.quit()
