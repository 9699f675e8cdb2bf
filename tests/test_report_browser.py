"""The page in a real browser: drawn, quiet, off the network, and usable on a phone and by keyboard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import CHROMIUM, DRIVER, chromium, opened, picture, until
from pages import finished

pytestmark = [
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs a Chromium and its chromedriver: apt-get install chromium chromium-driver"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # the driver's own sockets
]


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    finished().report(path)
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Any]:
    pytest.importorskip("selenium", reason="needs selenium: pip install selenium")
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


# Marks that Plotly has drawn in each figure, and whether each lies in the card that holds it
DRAWN = """
return [...document.querySelectorAll('.canvas')].map(canvas => {
  const box = canvas.getBoundingClientRect(), svg = canvas.querySelector('svg.main-svg').getBoundingClientRect();
  const marks = '.point path, path.point, .js-line, .hm image';
  return [canvas.id, canvas.querySelectorAll(marks).length, svg.left >= box.left - 1 && svg.right <= box.right + 1 && box.height > 100];
});
"""


@pytest.mark.parametrize("width", [1280, 390, 360])
def test_every_figure_is_drawn_and_nothing_sticks_out(browser, page, width):
    opened(browser, page, width=width)
    drawn = browser.execute_script(DRAWN)
    assert len(drawn) == 15
    for name, marks, inside in drawn:
        assert marks, f"{name} is empty"
        assert inside, f"{name} is not as wide as its card"
    # a phone zooms out until all fits, and innerWidth grows with it: compare with the screen
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_a_scale_of_colours_leaves_room_on_a_phone(browser, page):
    opened(browser, page, width=360)
    script = """
    const box = name => document.querySelector(name).getBoundingClientRect();
    return [box('#gaps .hm image').width / box('#gaps').width, box('#gaps .cbtitle text').bottom, box('#gaps .hm image').top];
    """
    share, scale, top = browser.execute_script(script)
    assert share > 0.4
    assert scale <= top + 1


def test_no_error_and_no_request(browser, page):
    for log in ("browser", "performance"):
        browser.get_log(log)
    opened(browser, page)
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert page.as_uri() in asked
    assert {url.split(":")[0] for url in asked} <= {"file", "data"}
    assert browser.execute_script("return performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length") == 0


def test_labels_run_no_code(browser, page):
    opened(browser, page)
    assert browser.execute_script("return document.querySelectorAll('img, .canvas a').length") == 0
    ticks = browser.execute_script("return [...document.querySelectorAll('#coverage-0 .ytick text')].map(t => t.textContent)")
    assert "<b>bold</b> & co" in ticks


def ink(browser) -> tuple[list[int], list[int]]:
    """Red, green and blue of the page, and of the axis labels of the first figure."""
    script = """
    const rgb = text => text.match(/\\d+/g).slice(0, 3).map(Number);
    const label = document.querySelector('#coverage-0 .xtick text');
    return [rgb(getComputedStyle(document.body).backgroundColor), rgb(getComputedStyle(label).fill)];
    """
    paper, text = browser.execute_script(script)
    return paper, text


def test_the_theme_follows_the_system_until_the_button_says_otherwise(browser, page):
    opened(browser, page, dark=True)
    paper, text = ink(browser)
    assert max(paper) < 60 and min(text) > 180
    opened(browser, page)
    paper, text = ink(browser)
    assert min(paper) > 200 and max(text) < 80
    button = browser.find_element("id", "theme")
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    until(browser, "return getComputedStyle(document.querySelector('#coverage-0 .xtick text')).fill.match(/\\d+/)[0] > 180")
    assert max(ink(browser)[0]) < 60
    assert button.get_attribute("aria-pressed") == "true"
    assert browser.execute_script("return document.querySelectorAll('.canvas svg.main-svg').length") >= 15


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_contrast(browser, page, dark):
    opened(browser, page, dark=dark)
    script = """
    const light = rgb => rgb.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
      .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const rgb = text => text.match(/[\\d.]+/g).map(Number);
    const below = element => {
      for (; element; element = element.parentElement) {
        const color = rgb(getComputedStyle(element).backgroundColor);
        if (color.length === 3 || color[3] > 0) return color.slice(0, 3);
      }
    };
    const ratios = [];
    for (const element of document.querySelectorAll('h1, h2, h3, p, dt, dd, li, a, summary, label, select, button')) {
      if (!element.textContent.trim() || element.closest('[hidden], .skip, noscript')) continue;
      const [a, b] = [rgb(getComputedStyle(element).color).slice(0, 3), below(element)].map(light).sort((x, y) => y - x);
      ratios.push([(a + 0.05) / (b + 0.05), element.textContent.trim().slice(0, 40)]);
    }
    return ratios;
    """
    ratios = browser.execute_script(script)
    assert len(ratios) > 40
    assert [pair for pair in ratios if pair[0] < 4.5] == []


def test_keys_choose_a_component_and_open_its_numbers(browser, page):
    from selenium.webdriver.common.keys import Keys

    opened(browser, page)
    choice = browser.find_element("id", "factors-choice")
    before = browser.execute_script("return document.getElementById('factor-1').data[0].y")
    choice.send_keys(Keys.ARROW_DOWN)
    until(browser, f"return document.getElementById('factor-1').data[0].y[0] !== {before[0]}")
    assert browser.execute_script("return document.getElementById('factors-text').textContent").startswith("Size ")
    summary = browser.find_element("css selector", "details[data-of='factor-1'] summary")
    summary.send_keys(Keys.ENTER)
    rows = "return [...document.querySelectorAll(\"details[data-of='factor-1'] tbody tr\")].map(r => [...r.cells].map(c => c.textContent))"
    until(browser, f"{rows.replace('return ', 'return (')}).length > 0")
    table = browser.execute_script(rows)
    assert len(table) == 60
    assert table[0][0] == "2024-03-01"
    assert [float(row[1]) for row in table] == browser.execute_script("return document.getElementById('factor-1').data[0].y")
    browser.find_element("css selector", "button[data-of='factors'][data-step='-1']").send_keys(Keys.SPACE)
    until(browser, f"return document.getElementById('factor-1').data[0].y[0] === {before[0]}")


def test_every_control_is_reached_by_the_tab_key_and_has_a_name(browser, page):
    from selenium.webdriver.common.keys import Keys

    opened(browser, page)
    controls = "[...document.querySelectorAll('a[href], button, select, summary')]"
    count = browser.execute_script(f"return {controls}.length")
    reached = []
    for _ in range(2 * count):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(browser.execute_script(f"return {controls}.indexOf(document.activeElement)"))
        if reached[-1] == count - 1:
            break
    assert browser.execute_script(f"return {controls}[0].textContent") == "Skip to the content"
    assert [place for place in reached if place >= 0] == list(range(count))  # each once, in the order of the page
    named = browser.execute_script(
        "return [...document.querySelectorAll('button, select')].map(e => e.ariaLabel || (e.labels[0] || e).textContent.trim())"
    )
    assert all(named)


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_a_picture_of_the_page_ends_where_its_element_ends(browser, page, width, dark):
    opened(browser, page, width=width, dark=dark)
    bottom = browser.execute_script("return document.querySelector('#filled-section').getBoundingClientRect().bottom + scrollY")
    taken = picture(browser, page, width=width, dark=dark, end="#filled-section")
    assert taken.startswith(b"\x89PNG")
    assert (int.from_bytes(taken[16:20]), int.from_bytes(taken[20:24])) == (width, pytest.approx(bottom + 16, abs=1))
