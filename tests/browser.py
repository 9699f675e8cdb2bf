"""A Chromium without a screen, and the docs' pictures of the page:

make demo && .venv/bin/python tests/browser.py    # out/report.html -> docs/images/report-*.png
"""

from __future__ import annotations

import base64
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")

_FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,900"),
]

ROOT = Path(__file__).resolve().parent.parent
# picture: width, dark or not, and the element at whose lower end it ends
_PICTURES = {"report-desktop": (1280, False, "#filled-section"), "report-phone": (390, True, "#observed-section figure")}


@contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """A driven browser, its log and requests recorded."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM  # pyright: ignore[reportAttributeAccessIssue]
    for flag in [*_FLAGS, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def opened(browser, page: Path, *, width: int = 1280, dark: bool = False) -> None:
    """The page, all its figures drawn."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.get(page.as_uri())
    until(browser, "return document.documentElement.dataset.drawn === 'yes' || !document.getElementById('trouble').hidden")
    assert browser.execute_script("return document.getElementById('trouble').textContent") == ""


def until(browser, script: str, seconds: float = 600.0) -> None:
    limit = time.monotonic() + seconds
    while not browser.execute_script(script):
        assert time.monotonic() < limit, f"never true: {script}"
        time.sleep(0.05)


def picture(browser, page: Path, *, width: int, dark: bool, end: str) -> bytes:
    """The page from its top to the lower end of the element `end`, as PNG."""
    opened(browser, page, width=width, dark=dark)
    bottom = browser.execute_script(f"return document.querySelector('{end}').getBoundingClientRect().bottom + scrollY")
    clip = {"x": 0, "y": 0, "width": width, "height": bottom + 16, "scale": 1}
    return base64.b64decode(browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})["data"])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, chromium(Path(folder)) as driven:
        for name, (width, dark, end) in _PICTURES.items():
            taken = picture(driven, ROOT / "out" / "report.html", width=width, dark=dark, end=end)
            (ROOT / "docs" / "images" / f"{name}.png").write_bytes(taken)
