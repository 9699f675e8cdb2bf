"""Norms must grow without bound as the loss falls: the 2 x 2 completion of [razin2020].

Observed: ``w_12 = w_21 = 1``, ``w_22 = 0``. From a start of positive determinant the product keeps it, and
``w_11 w_22 > w_12 w_21`` sends the hidden ``w_11`` to infinity as the fit improves, while the matrix comes
ever closer to rank one. Minimising a norm would leave ``w_11 = 0``: the nuclear norm of ``[[x, 1], [1, 0]]`` is ``sqrt(x^2 + 4)``,
the Frobenius norm ``sqrt(x^2 + 2)``, both least there alone.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from rankless import dynamics as dyn
from rankless.figures.look import COLORS, DASHES, panels
from rankless.figures.outcome import Claim, Outcome, Progress, Table, listed, where
from rankless.tensors.observations import Observations

SHAPE = (2, 2)
INDICES, VALUES = [[0, 1], [1, 0], [1, 1]], [1.0, 1.0, 0.0]
LAYERS = {False: (2, 3, 4), True: (3,)}
SCALE = 0.5
# at L = 2 the determinant falls exponentially: past t = 100 it is below rounding, and its sign is lost
LAST_TIME = {2: 1e2, 3: 1e6, 4: 1e5}
FLOW = dyn.GradientFlow(method="kvaerno5", rtol=1e-8, atol=1e-12)  # a valley ever narrower: stiff


def entries(problem: dyn.Problem, factorization: dyn.DeepMatrix):
    return factorization.full()


PROBES = {"loss": dyn.probes.loss, "w": entries, "norms": dyn.probes.singular_values, "rank": dyn.probes.effective_rank}


def lower_bound(loss: np.ndarray) -> np.ndarray:
    """``(1 - e)^2 / e`` with ``e = sqrt(2 loss)``: each observed entry is within ``e`` of its value."""
    slack = np.sqrt(2 * loss)
    return np.where(slack < 1, (1 - slack) ** 2 / slack, 0.0)


def nuclear(x: np.ndarray) -> np.ndarray:
    """Nuclear norm of ``[[x, 1], [1, 0]]``, a completion that fits: ``s_1 s_2 = 1`` and ``s_1^2 + s_2^2 = x^2 + 2``.

    >>> round(float(nuclear(np.array(0.0))), 12)
    2.0
    """
    return np.sqrt(x**2 + 4)


def run(quick: bool, progress: Progress) -> Outcome:
    problem = dyn.Problem(Observations.from_indices(INDICES, VALUES, shape=SHAPE))
    parts: list[Table] = []
    for layers in LAYERS[quick]:
        progress(f"L = {layers}")
        path = dyn.solve(
            problem,
            dyn.DeepMatrix.identity(SHAPE, layers=layers, scale=SCALE),
            FLOW,
            ts=np.geomspace(0.1, LAST_TIME[layers], 61),
            probes=PROBES,
        )
        loss = path.probes["loss"]
        parts.append(
            {
                "layers": np.full(len(path.ts), layers),
                "t": path.ts,
                "loss": loss,
                "hidden": path.probes["w"][:, 0, 0],
                "bound": lower_bound(loss),
                "largest_singular_value": path.probes["norms"][:, 0],
                "nuclear_norm": path.probes["norms"].sum(axis=1),
                "effective_rank": path.probes["rank"],
            }
        )
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    late = [where(columns, layers=layers) for layers in LAYERS[quick]]
    growth = [part["hidden"][-1] for part in late]
    fitted = [part["loss"] < 0.05 for part in late]
    margin = min(np.min(part["hidden"][near] / part["bound"][near]) for part, near in zip(late, fitted, strict=True))
    settings = (
        f"2 x 2, identity start {SCALE:g}, L = {listed(LAYERS[quick])}, to t = {listed(LAST_TIME[layers] for layers in LAYERS[quick])}"
    )
    return Outcome(
        {"trajectories": columns},
        [
            Claim(
                "the hidden entry grows without bound as the loss falls",
                "[razin2020]",
                settings,
                "above (1 - e)^2/e, e = sqrt(2 loss), at every record with loss < .05",
                f"ends at {listed(growth)}; smallest ratio to the bound {margin:.3f}",
                bool(margin >= 1 - 1e-6),
            ),
            Claim(
                "no norm is minimised: the nuclear norm grows away from the least that fits",
                "[razin2020]",
                settings,
                f"grows at every record with loss < .05, and ends at least twice the least, {nuclear(np.array(0.0)):g}",
                f"ends at {listed(part['nuclear_norm'][-1] for part in late)}",
                bool(
                    all(
                        np.all(np.diff(part["nuclear_norm"][near]) > 0) and part["nuclear_norm"][-1] >= 2 * nuclear(np.array(0.0))
                        for part, near in zip(late, fitted, strict=True)
                    )
                ),
            ),
            Claim(
                "meanwhile the effective rank falls towards its infimum, 1",
                "[razin2020]",
                settings,
                "falls, and ends below 1.2",
                f"ends at {listed((part['effective_rank'][-1] for part in late), '.4f')}",
                bool(all(part["effective_rank"][-1] < min(1.2, part["effective_rank"][0]) for part in late)),
            ),
        ],
    )


def draw(tables: dict[str, Table]) -> Figure:
    figure, ((left, right),) = panels(1, 2)
    for at, layers in enumerate(np.unique(tables["trajectories"]["layers"])):
        part = where(tables["trajectories"], layers=layers)
        style = {"color": COLORS[at], "linestyle": DASHES[at], "label": f"L = {layers}"}
        left.loglog(part["loss"], part["hidden"], **style)
        right.semilogx(part["loss"], part["effective_rank"], **style)
    losses = np.geomspace(tables["trajectories"]["loss"].min(), 0.1, 100)
    left.loglog(losses, lower_bound(losses), color="0.5", linewidth=0.8, label="lower bound")
    left.set(xlabel="loss", ylabel="hidden entry $w_{11}$", ylim=(0.05, None))
    right.set(xlabel="loss", ylabel="effective rank")
    for axes in (left, right):
        axes.invert_xaxis()
    left.legend()
    return figure
