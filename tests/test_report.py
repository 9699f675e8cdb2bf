"""The page without a browser: its structure, its size, and labels that try to be code."""

from __future__ import annotations

import base64
import functools
import gzip
import itertools
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure

import rankless
from pages import HOSTILE, SENSORS, finished, observations
from rankless import plots
from rankless.report.page import page
from rankless.report.profile import BARS, largest, profile
from rankless.report.traces import POINTS, shortened, thinned
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations
from rankless.views.axes import axis_of
from test_views import stand_in

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """The elements of a page, each with its attributes and its own text; raises where tags don't match."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, str] = {}  # by id
        self._open: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append((tag, attributes))
        if tag not in VOID:
            self._open.append((tag, attributes.get("id", "")))

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        for _, name in self._open:
            if name:
                self.texts[name] = self.texts.get(name, "") + data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    finished().report(path)
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    return path.read_text(encoding="utf-8")


def figures_of(text: str) -> dict:
    return json.loads(Page(text).texts["figures"])


def plots_of(text: str) -> dict:
    """Every figure, those of all choices included."""
    held = figures_of(text)
    plots = dict(held["plots"])
    for name, options in held["choosers"].items():
        for number, option in enumerate(options):
            plots |= {f"{name} {number} {figure}": drawn["plot"] for figure, drawn in option["figures"].items()}
    return plots


def test_the_page_fetches_nothing_and_is_small(text):
    elements = Page(text)
    links = [value for _, attributes in elements.elements for name, value in attributes.items() if name in ("src", "href", "action")]
    assert all(link.startswith(("#", "data:")) for link in links), links
    policy = [m["content"] for m in elements.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy and policy[0].startswith("default-src 'none'")
    assert len(text) < 5_000_000
    script = gzip.decompress(base64.b64decode(elements.texts["plotly"])).decode()
    assert "plotly.js" in script[:200]


def test_the_page_is_the_same_every_time(text):
    assert page(finished()) == text


def test_labels_stay_labels(text):
    elements = Page(text)
    assert not elements.all("img")
    assert not elements.all("b")
    assert not [a for _, attributes in elements.elements for a in attributes if a.startswith("on")]
    assert len(elements.all("script")) == 3
    assert HOSTILE in text.replace("&lt;", "<").replace("&gt;", ">")
    for plot in plots_of(text).values():  # Plotly reads some markup: there labels are escaped
        assert "<img" not in json.dumps(plot)
        assert "<b>bold" not in json.dumps(plot)
    bars = figures_of(text)["plots"]["coverage-0"]["data"][0]
    assert len(set(bars["y"])) == len(SENSORS)  # long labels lie: bars go from left to right
    assert bars["y"][1] == "&lt;b&gt;bold&lt;/b&gt; &amp; co"


def test_every_figure_has_a_heading_a_text_and_a_table(text):
    elements = Page(text)
    names = [a["id"] for a in elements.all("div") if a.get("class") == "canvas"]
    ids = [a["id"] for _, a in elements.elements if "id" in a]
    assert len(ids) == len(set(ids))
    held = figures_of(text)
    assert set(names) == set(held["plots"]) | {f for options in held["choosers"].values() for f in options[0]["figures"]}
    assert {a["data-of"] for a in elements.all("details")} == set(names)
    for name in names:
        assert elements.texts[f"{name}-title"].strip()
        assert elements.texts[f"{name}-text"].strip()
    labelled = {a["for"] for a in elements.all("label")}
    assert all(a["id"] in labelled for a in elements.all("select"))
    for _, attributes in elements.elements:  # what is referred to is there
        for name in ("aria-labelledby", "aria-describedby"):
            assert attributes.get(name, ids[0]) in ids
    headings = [tag for tag, _ in elements.elements if re.fullmatch("h[1-6]", tag)]
    assert headings.count("h1") == 1
    assert all(int(b[1]) - int(a[1]) <= 1 for a, b in itertools.pairwise(headings))


def test_every_plot_holds_numbers(text):
    for name, plot in plots_of(text).items():
        rows = [row for trace in plot["data"] for row in trace.get("z", [trace["x"], trace["y"]])]
        values = [v for row in rows for v in row if isinstance(v, (int, float))]
        assert values, name
        assert np.isfinite(np.asarray(values, float)).all(), name


def test_the_first_paragraph_and_the_warnings_are_there(text):
    plain = re.sub(r"\s+", " ", text)
    assert "were missing and are filled in. On observed entries that were hidden from it the typical error is" in plain
    assert "1 slice of day has no observed entry and is filled from main effects: 2024-04-29 (extrapolation)." in plain


def test_components_are_drawn_as_their_modes_ask(text):
    held = figures_of(text)
    first = held["choosers"]["factors"][0]["figures"]
    kinds = {name: (drawn["plot"]["data"][0]["type"], drawn["plot"]["layout"]["xaxis"].get("type")) for name, drawn in first.items()}
    assert kinds == {"factor-0": ("bar", None), "factor-1": ("scatter", "date"), "factor-2": ("scatter", "linear")}
    assert len(held["choosers"]["factors"]) == finished().fits[0].rank + finished().estimator.effects_


def test_slices_and_positions_are_the_callers_choice():
    spots = np.arange(8.0).reshape(4, 2)
    text = page(finished(), title="<Mine>", slices=[{"sensor": "plain", "hour": 3}], positions={"sensor": spots})
    assert "<h1>&lt;Mine&gt;</h1>" in text
    (only,) = figures_of(text)["choosers"]["filled"]
    assert "at sensor plain, hour 3" in only["text"]
    places = figures_of(text)["choosers"]["factors"][0]["figures"]["factor-0"]["plot"]["data"][0]
    assert (places["x"], places["y"]) == (spots[:, 0].tolist(), spots[:, 1].tolist())
    assert len(places["marker"]["color"]) == 4


def test_an_interval_becomes_a_band():
    model = CPTensor([np.ones((3, 1)), np.arange(20.0)[:, None]])
    done = stand_in(Observations.from_array(model.full()), model)
    without = [t["name"] for t in figures_of(page(done))["choosers"]["filled"][0]["figures"]["filled"]["plot"]["data"]]
    done.predict_interval = lambda cells, coverage: (np.zeros(len(cells)), np.ones(len(cells)))
    traces = figures_of(page(done))["choosers"]["filled"][0]["figures"]["filled"]["plot"]["data"]
    assert [t["name"] for t in traces] == ["lower bound", "90% interval", *without]


@pytest.mark.filterwarnings("ignore:.*no observed entry and:UserWarning")
@pytest.mark.parametrize("data", ["constant", "complete matrix", "order 5", "main effects"])
def test_odd_data_have_a_page_too(data, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "constant": np.where(rng.random((4, 5)) < 0.7, 3.0, np.nan),
        "complete matrix": rng.normal(size=(20, 2)) @ rng.normal(size=(2, 15)) + 0.1 * rng.normal(size=(20, 15)),
        "order 5": np.where(rng.random((4, 3, 5, 1, 6)) < 0.7, 1 + np.arange(6.0) * np.arange(4.0)[:, None, None, None, None], np.nan),
        "main effects": np.where(rng.random((9, 30)) < 0.8, np.add.outer(np.arange(9.0), np.arange(30.0) ** 2), np.nan),
    }
    done = rankless.complete(arrays[data], random_state=0, max_rank=2)
    done.report(tmp_path / "page.html")
    Page((tmp_path / "page.html").read_text(encoding="utf-8"))


LOSSES = {
    "poisson": {"loss": "poisson"},
    "bernoulli": {"loss": "bernoulli"},
    "huber": {"loss": "huber"},
    "nonnegative": {"nonnegative": True},
}


@functools.cache
def by_loss(name: str) -> rankless.Completion:
    rng = np.random.default_rng(0)
    means = np.exp(np.add.outer(rng.normal(size=8), rng.normal(size=12)) / 2 + 1)
    values = (rng.random(means.shape) < means / means.max()) if name == "bernoulli" else rng.poisson(means)
    return rankless.complete(np.where(rng.random(means.shape) < 0.8, values, np.nan), random_state=0, max_rank=2, **LOSSES[name])


@pytest.mark.parametrize("name", LOSSES)
def test_other_losses_have_a_page_too(name, tmp_path):
    done = by_loss(name)
    done.report(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    Page(text)
    loss = LOSSES[name].get("loss")
    path = figures_of(text)["plots"]["path-score"]
    shown = sorted(y for trace in path["data"] for y in trace["y"])
    np.testing.assert_allclose(shown, sorted(done.path["score" if loss else "holdout_rmse"]), rtol=1e-4)
    assert path["layout"]["yaxis"]["title"]["text"] == (f"held-out {loss} deviance" if loss else "held-out error")
    if loss:
        assert path["layout"]["shapes"][0]["y0"] == done.estimator.blank_deviance_  # pyright: ignore[reportAttributeAccessIssue]
    assert "None" not in json.dumps(path["data"][0]["text"]) and path["data"][0]["text"][0].startswith("grow, rank ")


@pytest.mark.parametrize("name", LOSSES)
def test_other_losses_have_plots_too(name):
    for draw in (plots.search_path, plots.spectrum, plots.filled, plots.hidden):
        ax = Figure().subplots()
        assert draw(by_loss(name), ax=ax) is ax
        ax.figure.canvas.draw()
        if draw is plots.search_path and "loss" in LOSSES[name]:
            assert ax.get_ylabel() == f"held-out {name} deviance"


def test_a_large_sparse_array_has_a_small_page():
    rng = np.random.default_rng(0)
    shape = (400_000, 30_000, 50)  # 6e11 cells, 5 TB
    indices = np.unique(np.column_stack([rng.integers(0, d, 200_000) for d in shape]), axis=0)
    model = CPTensor([rng.normal(size=(d, 30)).astype(np.float32) for d in shape])
    obs = Observations.from_indices(indices, model.at(indices), shape=shape)
    done = stand_in(obs, model, held=obs.subset(rng.random(obs.size) < 0.1))
    text = page(done)
    assert len(text) < 5_000_000
    assert max(len(trace.get("x", [])) for plot in plots_of(text).values() for trace in plot["data"]) <= 2000


def test_thinning_keeps_the_extremes():
    values = np.random.default_rng(0).normal(size=100_001)
    values[[7, 77_777]] = -50.0, 50.0
    values[1000:1100] = np.nan
    kept = thinned(values)
    assert len(kept) <= POINTS
    assert {7, 77_777} <= set(kept.tolist())
    assert (np.diff(kept) > 0).all()


def test_many_categories_are_shown_largest_first():
    values = np.random.default_rng(0).normal(size=200)
    which = largest(values, BARS)
    assert which.tolist() == np.argsort(-np.abs(values), kind="stable")[:BARS].tolist()
    obs = Observations.from_array(np.ones((200, 2)), labels=[[f"station {i}" for i in range(200)], None])
    (bars,) = profile(axis_of(obs, 0), {"loading": values}, title="loading")["data"]
    assert bars["y"][0] == f"station {which[0]}"
    assert shortened("x" * 40 + "end", 24) == "x" * 15 + "…" + "xxxxxend"


def test_nothing_is_left_where_a_page_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match=r"folder .* does not exist"):
        finished().report(tmp_path / "none" / "page.html")
    with pytest.raises(ValueError, match="no mode 'station'"):
        finished().report(tmp_path / "page.html", positions={"station": np.zeros((4, 2))})
    assert not list(tmp_path.iterdir())
    assert observations().size


def test_eight_years_are_a_line_over_whole_years():
    obs = Observations.from_array(np.ones((2, 8)), labels=[["x", "y"], np.arange(2014, 2022)])
    plot = profile(axis_of(obs, 1), {"loading": np.arange(8.0)}, title="loading", line=False)
    (curve,) = plot["data"]
    assert (curve["type"], curve["mode"], curve["x"]) == ("scatter", "lines+markers", list(range(2014, 2022)))
    assert (plot["layout"]["xaxis"]["type"], plot["layout"]["xaxis"]["dtick"]) == ("linear", 1)
