"""The staircase of hierarchical factorization: local components switch on one by one, at every node of the tree [razin2022].

A local component is a product of as many vectors as its node has children and one more, and grows as a component of that order does.
So from a small start few of them live at each node: the hierarchical rank is low.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from rankless import dynamics as dyn
from rankless.dynamics import laws
from rankless.figures.look import COLORS, DASHES, panels, plain_ticks
from rankless.figures.outcome import Claim, Outcome, Progress, Table, listed, where
from rankless.figures.paths import until
from rankless.tensors.observations import Observations

SHAPE, WIDTH, RANK, SHARE, SEED = (6, 6, 6, 6), 5, 2, 0.4, 0
SCALES = {False: (1.0, 0.5, 0.25), True: (1.0, 0.3)}  # largest singular value of every matrix at the start
STOP_RMSE = 0.02
RECORDS = 200
# components of a small start rise at the end of a long wait, and one upon another
CROWDED = np.concatenate([1 - np.geomspace(1, 1e-6, RECORDS), [1.0]])
LIVE = 0.03  # share of a node's largest local component above which one counts
LATEST = 1e4


def truth() -> np.ndarray:
    """A tensor of hierarchical rank `RANK` under the tree of halves, unit root mean square."""
    rng = np.random.default_rng(SEED)
    leaves = [rng.normal(size=(d, RANK)) for d in SHAPE]
    left, right = (np.einsum("ir,jr,rs->ijs", a, b, rng.normal(size=(RANK, RANK))) for a, b in (leaves[:2], leaves[2:]))
    whole = np.einsum("ijs,kls,s->ijkl", left, right, rng.normal(size=RANK))
    return whole / np.sqrt(np.mean(whole**2))


def local_norms(problem: dyn.Problem, factorization: dyn.Hierarchical):
    return factorization.component_norms()


def sides(problem: dyn.Problem, factorization: dyn.Hierarchical):
    """The growth of the local components by forward differentiation, and by the law."""
    return laws.growth(problem, factorization, lambda f: f.component_norms()), laws.local_component_law(problem, factorization)


def one(scale: float, whole: np.ndarray, seen: np.ndarray) -> tuple[Table, float]:
    """One run to the training error asked for, and the residual of the law along it."""
    obs = Observations.from_array(np.where(seen, whole, np.nan))
    problem = dyn.Problem(obs)
    start = dyn.Hierarchical.balanced(SHAPE, rank=WIDTH, scale=scale, key=SEED)
    flow = dyn.GradientFlow(rtol=1e-6, max_steps=30_000)
    probes = {"norms": local_norms, "error": dyn.probes.TensorError(whole), "loss": dyn.probes.loss, "law": sides}
    stop = 0.5 * obs.size * STOP_RMSE**2
    path = until(problem, start, flow, loss=stop, latest=LATEST, times=lambda end: end * CROWDED, probes=probes)
    left, right = path.probes["law"]
    norms, n = path.probes["norms"], len(path.ts)
    columns = {"scale": np.full(n, scale), "t": path.ts, "error": path.probes["error"]}
    columns |= {"train_rmse": np.sqrt(2 * path.probes["loss"] / obs.size), "last": np.arange(n) == n - 1}
    columns |= {f"node{r // WIDTH + 1}_{r % WIDTH + 1}": norms[:, r] for r in range(norms.shape[1])}
    return columns, float(np.max(np.abs(left - right)) / np.max(np.abs(left)))


def alive(part: Table, node: int) -> int:
    """Local components of a node that live at the end."""
    last = np.array([part[f"node{node}_{r + 1}"][-1] for r in range(WIDTH)])
    return int(np.sum(last > LIVE * last.max()))


def run(quick: bool, progress: Progress) -> Outcome:
    whole = truth()
    seen = np.random.default_rng(SEED + 1).random(SHAPE) < SHARE
    parts, residuals = [], []
    for scale in SCALES[quick]:
        progress(f"start {scale:g}")
        part, residual = one(scale, whole, seen)
        parts.append(part)
        residuals.append(residual)
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    ranks = [[alive(part, node) for node in (1, 2, 3)] for part in parts]
    errors = [float(part["error"][-1]) for part in parts]
    settings = (
        f"6^4, tree of halves, hierarchical rank {RANK} in matrices of width {WIDTH}, {SHARE:.0%} observed, balanced starts "
        f"{listed(SCALES[quick])}, to training error {STOP_RMSE:g}"
    )
    return Outcome(
        {"trajectories": columns},
        [
            Claim(
                "from a small start as many local components live at each node as the truth has",
                "[razin2022]",
                f"{settings}; live: above {LIVE:.0%} of the node's largest",
                f"{RANK} at each of the three nodes at the smallest start, more at the largest",
                "; ".join(listed(rank, "d") for rank in ranks) + " (starts from large to small)",
                bool(ranks[-1] == [RANK] * 3 and sum(ranks[0]) > 3 * RANK),
            ),
            Claim(
                "the smaller the start, the smaller the error at the same fit",
                "[razin2022]",
                settings,
                "relative errors ordered by the start",
                listed(errors),
                bool(np.all(np.diff(errors) < 0)),
            ),
            Claim(
                "local components grow by L delta sigma^(2 - 2/L), L = children + 1",
                "[razin2022]",
                f"{settings}; all runs, every record",
                "relative residual <= 1e-6",
                f"{max(residuals):.1e}",
                max(residuals) <= 1e-6,
            ),
        ],
    )


def draw(tables: dict[str, Table]) -> Figure:
    columns = tables["trajectories"]
    scales = sorted(np.unique(columns["scale"]), reverse=True)
    figure, (row,) = panels(1, len(scales) + 1, height=2.5)
    for axes, scale in zip(row, scales, strict=False):
        part = where(columns, scale=scale)
        for node in (1, 2, 3):
            for r in range(WIDTH):
                axes.semilogx(
                    part["train_rmse"],
                    part[f"node{node}_{r + 1}"],
                    color=COLORS[node - 1],
                    linewidth=1.0,
                    label="_" if r else ("left", "right", "root")[node - 1],
                )
        axes.invert_xaxis()
        axes.set(xlabel="training error", title=f"start {scale:g}")
        plain_ticks(axes.xaxis)
    row[0].set_ylabel("norm of a local component")
    for at, scale in enumerate(scales):
        part = where(columns, scale=scale)
        row[-1].loglog(part["train_rmse"], part["error"], color=COLORS[at + 3], linestyle=DASHES[at], label=f"start {scale:g}")
    row[-1].invert_xaxis()
    row[-1].set(xlabel="training error", ylabel="relative error", title="generalization")
    for axis in (row[-1].xaxis, row[-1].yaxis):
        plain_ticks(axis)
    row[-1].legend()
    figure.legend(*row[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, title="node", title_fontsize=7)
    return figure
