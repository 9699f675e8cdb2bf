"""The page put together: sentences, figures and Plotly's script into the template."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from rankless.report.assurance import grounds
from rankless.report.factors import SHOWN, factors
from rankless.report.figures import coverage, filled, gaps, held_out, search_path, spectrum
from rankless.report.traces import Chooser, Figure
from rankless.views import Done
from rankless.views.axes import Axis, Positions, axes_of
from rankless.views.words import facts, headline, warnings


@dataclass
class Section:
    """A heading, a paragraph, what to choose from and what to look at."""

    name: str
    title: str
    text: str = ""
    figures: list[Figure] = field(default_factory=list)
    choosers: list[Chooser] = field(default_factory=list)


def page(
    done: Done,
    *,
    title: str | None = None,
    positions: Positions | None = None,
    slices: Sequence[Mapping[str, object]] | None = None,
) -> str:
    """The whole page as text."""
    import jinja2

    sections = list(_sections(done, axes_of(done.observations, positions), slices))
    # autoescape: labels are the user's, and may hold anything
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_part("page.html"))
    return template.render(
        title=title or _title(done),
        headline=headline(done),
        facts=facts(done),
        warnings=warnings(done),
        sections=sections,
        style=_part("page.css"),
        script=_part("page.js"),
        figures=_embedded(sections),
        plotly=_packed(),
    )


def _sections(done: Done, axes: Sequence[Axis], slices: Sequence[Mapping[str, object]] | None) -> Iterator[Section]:
    obs = done.observations
    shape = " x ".join(f"{axis.size:,} {axis.name}" for axis in axes)
    text = f"{obs.size:,} cells of {shape}, {obs.share:.1%} of all."
    yield Section("observed", "What was observed", text, list(coverage(done, axes)), [gaps(done, axes)])
    yield Section("filled", "Observed and filled in", _OF_FILLED, [], [filled(done, slices)])
    errors = list(held_out(done, axes))
    if errors:
        units = "" if done.given.units is None else f" Every {axes[done.given.units.mode].name} is in its own standard deviations here."
        yield Section("errors", "How good it is", _OF_ERRORS + units, errors)
    chooser = factors(done, axes)
    if chooser is not None:
        sizes = [spectrum(done)] if done.fits[0].rank else []
        yield Section("components", "The components", _of_components(done), sizes, [chooser])
    assurance = getattr(done, "assurance", None)
    if assurance is not None:
        yield Section("assurance", "How many, and are they real", f"{assurance} {_OF_ASSURANCE}", list(grounds(assurance)))
    if not done.path.empty:
        yield Section("search", "How they were found", _OF_SEARCH, list(search_path(done)))


_OF_FILLED = (
    "The longest mode runs from left to right at one slice of every other mode. The fit is drawn where there are observations, too."
)
_OF_ERRORS = (
    "Observed entries that were hidden from every choice, and what fits made without them say of them: "
    "a missing cell that is like an observed one taken at random is filled as well."
)
_OF_SEARCH = (
    "Each point is a fit. Penalty and depth were chosen where held-out entries are found best; "
    "everything was then fitted again to all entries."
)
_OF_ASSURANCE = (
    "A component is real where it is found again from other random starts and in halves of the data (a match of 0.9 and more), "
    "and held-out entries are surely worse filled without it."
)
_OF_COMPONENTS = (
    "The data are a sum of components; in each, every mode has a vector of loadings, here at root mean square 1, "
    "and the cells are their products."
)


def _of_components(done: Done) -> str:
    text = _OF_COMPONENTS
    rank = done.fits[0].rank
    if rank > SHOWN:
        text += f" The {SHOWN} largest of {rank} are shown; numbers are those of done.fits[0] and done.components()."
    beside = [
        name
        for name, part in (
            ("a mean of draws from the posterior", done.estimator.drawn_),
            ("what close cells share", done.estimator.nearby_),
            ("what slices say of each other", done.estimator.unfolded_),
        )
        if part is not None
    ]
    if beside:
        text += f" The answer also holds {' and '.join(beside)}."
    if done.transform.name != "none":
        text += f" They make up the {done.transform.of_what}."
    return text


def _title(done: Done) -> str:
    value = done.observations.value_name
    names = ", ".join(done.observations.modes)
    return f"{'Data' if value == 'value' else value} by {names}, filled in"


def _part(name: str) -> str:
    return resources.files("rankless.report").joinpath(name).read_text(encoding="utf-8")


def _packed() -> str:
    """Plotly's script, a third as long: the browser unpacks it."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


def _embedded(sections: Sequence[Section]) -> str:
    """All figures as JSON in which nothing can end a script element."""
    plots: dict[str, Any] = {}
    choosers: dict[str, Any] = {}
    for section in sections:
        for figure in section.figures:
            plots[figure.name] = figure.plot
        for chooser in section.choosers:
            choosers[chooser.name] = [
                {"text": option.text, "figures": {f.name: {"text": f.text, "plot": f.plot} for f in option.figures}}
                for option in chooser.options
            ]
    text = json.dumps({"plots": plots, "choosers": choosers}, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
