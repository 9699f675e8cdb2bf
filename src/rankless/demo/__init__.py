"""The demo: a year of New York's weather, a fifth of it hidden, filled in with nothing chosen.

3 airports x 365 days x 24 hours x 7 variables. Each variable is standardised by what was left
visible; the hidden entries are then found again and scored against two simple ways.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rankless import evaluation
from rankless.completion import Completion, complete
from rankless.demo import words
from rankless.demo.weather import load, names
from rankless.kinds.given import Dense
from rankless.kinds.standard import Standard
from rankless.runtime.progress import Callback, Tracker
from rankless.tensors.observations import Observations

HIDE = 0.2
SHOWN_AIRPORT, SHOWN_VARIABLE, SHOWN_FROM, SHOWN_DAYS = "LGA", "temp", "2013-04-11", 10
SHOWN_COMPONENTS = 10


@dataclass(frozen=True)
class Result:
    """What the demo found and where it wrote it; each score is the NRMSE of all variables, then of each."""

    completion: Completion
    variables: list[str]
    scores: dict[str, list[float]]
    components: list[tuple[float, str]]
    table: Path
    picture: Path
    page: Path


def run(folder: Path, *, seed: int = 0, callback: Callback | None = None) -> Result:
    """Hide, fill, score; write the filled table (original units), the picture and the page into `folder`."""
    recorded = load()
    train, hidden = recorded.split(HIDE, seed=seed)
    units = Standard.of(train)
    visible, truth = units.apply(train), units.apply(hidden)
    completion = complete(visible, random_state=seed, callback=callback)

    guesses = {
        "mean": evaluation.mean(visible)(hidden.indices),
        "main effects": evaluation.main_effects(visible)(hidden.indices),
        "straight line": evaluation.straight_line(visible)(hidden.indices),
        "rankless": completion.predict(hidden.indices),
    }
    scores = {name: _by_variable(truth, guess) for name, guess in guesses.items()}
    airports, days, _, variables = names(recorded)
    months = np.array(days, dtype="datetime64[M]").astype(int) % 12 + 1
    components = words.describe(completion.best, airports, months, variables)

    folder.mkdir(parents=True, exist_ok=True)
    Tracker(callback).stage("writing the filled table, the picture and the page")
    table, picture, page = folder / "weather_filled.csv", folder / "weather.png", folder / "report.html"
    write_table(table, completion, units, variables)
    draw(picture, recorded, hidden, completion, units)
    in_own_units = Completion(completion.estimator, Dense(train, units=units))
    in_own_units.report(page, title="A year of New York's weather, a fifth of it hidden and filled in")
    return Result(completion, variables, scores, components, table, picture, page)


def _by_variable(truth: Observations, guess: np.ndarray) -> list[float]:
    variable = truth.coords[-1]
    parts = [variable == v for v in range(truth.shape[-1])]
    return [evaluation.nrmse(truth.values[part], guess[part]) for part in [slice(None), *parts]]


def write_table(path: Path, completion: Completion, units: Standard, variables: list[str]) -> None:
    """The filled long table in the units of the source."""
    from rankless.io import tables

    table = completion.table(coverage=None)
    values = units.undo(table["value"].to_numpy(), table["variable"].map(variables.index).to_numpy())
    table["value"] = values.round(3)
    tables.write(path, table)


def draw(path: Path, recorded: Observations, hidden: Observations, completion: Completion, units: Standard) -> None:
    """A few days of one variable at one airport, and the spectrum."""
    from rankless.demo import picture

    airports, dates, _, variables = names(recorded)
    airport, first, variable = airports.index(SHOWN_AIRPORT), dates.index(SHOWN_FROM), variables.index(SHOWN_VARIABLE)
    days, hours = np.divmod(np.arange(SHOWN_DAYS * 24), 24)
    cells = np.column_stack([np.full(len(days), airport), first + days, hours, np.full(len(days), variable)])
    picture.draw(
        path,
        hours=np.datetime64(SHOWN_FROM, "h") + np.arange(len(cells)),
        truth=_lookup(recorded, cells),
        hidden=~np.isnan(_lookup(hidden, cells)),
        filled=units.undo(completion.predict(cells), cells[:, 3]),
        title="Temperature at LaGuardia, a fifth of all entries hidden",
        unit="degrees Fahrenheit",
        norms=completion.best.component_norms(),
    )


def _lookup(obs: Observations, cells: np.ndarray) -> np.ndarray:
    """Values at `cells`, NaN where not observed."""
    return obs.to_array()[tuple(cells.T)]


def show(result: Result) -> None:
    """Print the scores, the rank and the components in words."""
    from rich.console import Console
    from rich.table import Table

    print(f"NRMSE on the {HIDE:.0%} that was hidden (1 is no better than the mean)")
    table = Table()
    table.add_column("variable")
    for method in result.scores:
        table.add_column(method, justify="right")
    for name, *row in zip(["all", *result.variables], *result.scores.values(), strict=True):
        table.add_row(name, *(f"{score:.3f}" for score in row))
    Console().print(table)
    print(result.completion.summary())
    print("\nThe largest components of the best fit in words, with their shares of all its components' squares:")
    for share, text in result.components[:SHOWN_COMPONENTS]:
        print(f"  {share:4.0%}  {text}")
    rest = result.components[SHOWN_COMPONENTS:]
    if rest:
        print(f"  {sum(share for share, _ in rest):4.0%}  in {len(rest)} smaller ones")
    print(f"\nwrote {result.table}\nwrote {result.picture}\nwrote {result.page}")
