"""What the figures claim, and what the pages say of it: each reason is read from the runs, and no page says more than was measured."""

from __future__ import annotations

import re
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

from rankless import dynamics as dyn
from rankless.figures import depth_and_rank, optimizer, twin, two_by_two
from rankless.figures.planted import planted

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_nuclear_norm_of_the_completion_is_least_at_zero_alone():
    x = np.array([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0])
    measured = [np.linalg.svd([[v, 1.0], [1.0, 0.0]], compute_uv=False).sum() for v in x]
    np.testing.assert_allclose(two_by_two.nuclear(x), measured, rtol=1e-12)
    assert np.argmin(measured) == 3 and sorted(measured)[1] > measured[3] + 0.05


def _ends(errors_by_depth, energies, statuses):
    n = len(next(iter(errors_by_depth.values())))
    return {
        "k": np.repeat(list(errors_by_depth), n),
        "seed": np.tile(np.arange(n), len(errors_by_depth)),
        "test_rmse": np.concatenate(list(errors_by_depth.values())),
        "least_energy": np.concatenate(energies),
        "ran_away": np.concatenate(energies) < 0.02,
        "status": np.concatenate(statuses),
        "train_rmse": np.full(n * len(errors_by_depth), 0.71),
    }


def test_the_reason_of_a_failing_claim_is_read_from_the_run_behind_its_median():
    noise, spent = np.full(3, "reached stop_loss"), np.array(["spent max_steps", "reached stop_loss", "reached stop_loss"])
    errors = {0: [0.2, 0.2, 0.2], 3: [0.4, 0.1, 9.0]}
    ran = depth_and_rank._generalization(_ends(errors, [np.full(3, 0.2), np.array([0.001, 0.2, 0.001])], [noise, spent]), 0.2, "")
    honest = depth_and_rank._generalization(_ends(errors, [np.full(3, 0.2), np.full(3, 0.2)], [noise, noise]), 0.2, "")
    assert not ran.holds and "means 0.2, 3.17" in ran.measured and "ran away 0, 2" in ran.measured
    assert "was at training error 0.71 when it stopped, had run away (0.10%" in ran.measured
    assert not honest.holds and "reached the noise, had not run away (20.00%" in honest.measured
    better = depth_and_rank._generalization(_ends({0: [0.2] * 3, 3: [0.1] * 3}, [np.full(3, 0.2)] * 2, [noise, noise]), 0.2, "")
    assert better.holds and "median of" not in better.measured


def test_a_run_records_its_status_and_the_energy_of_its_components():
    run = depth_and_rank.one(0.5, 1, 0, 3000)
    assert run["status"][-1] == "reached stop_loss"
    assert 0.3 < run["least_energy"][-1] < 0.7 and not run["ran_away"][-1]


@pytest.fixture(scope="module")
def ends():
    """The end of plain steps, and of group RMSprop with one moment for all and one a component, at one training error."""
    data = planted((6, 6, 6), 2, observed=120, seed=0)
    start = dyn.DeepCP.balanced((6, 6, 6), components=8, depth=1, scale=0.05, key=0)
    rules = {
        "plain": (optax.sgd, 1e-2),
        "together": (dyn.rules.group_rmsprop, 1e-2),
        "component": (lambda rate: dyn.rules.group_rmsprop(rate, group=dyn.rules.by_component), 1e-2),
    }
    out = {}
    for name, (rule, rate) in rules.items():
        flow = dyn.GradientDescent(rate, rule=rule, stop_loss=0.5 * 120 * 0.1**2)
        run = dyn.solve(dyn.Problem(data.seen), start, flow, ts=[rate * 20_000], probes={"rank": dyn.probes.effective_rank})
        assert run.status == "reached stop_loss"
        out[name] = float(run.probes["rank"][-1]), run.steps
    return out


def test_one_moment_for_all_keeps_the_bias_and_one_a_component_loses_it(ends):
    plain, together, component = (ends[name][0] for name in ("plain", "together", "component"))
    assert abs(together - plain) < 0.5, "of a rank of three"
    assert component > plain + 2


def test_steps_of_group_rmsprop_are_along_the_gradient_and_of_even_length():
    rule = dyn.rules.group_rmsprop(0.1)
    gradient = {"a": np.array([3.0, 0.0]), "b": np.array([[4.0]])}
    state = rule.init(gradient)
    for size in (1.0, 1.0, 1.0):
        step, state = rule.update({name: size * g for name, g in gradient.items()}, state)
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(step)])
    np.testing.assert_allclose(flat, [-0.06, 0, -0.08], rtol=1e-4)


def test_bias_lost_is_nothing_for_plain_steps_and_all_for_components_alike():
    assert optimizer.bias_lost(3.4, 3.4) == 0 and optimizer.bias_lost(optimizer.COMPONENTS, 3.4) == 1


def _ran_away() -> dict[str, int]:
    """Share observed -> seeds that ran away at any depth, from the page of claims."""
    rows = [line for line in (DOCS / "reproduce" / "claims.md").read_text().splitlines() if "depth lowers the generalization error" in line]
    counts = [re.findall(r"seeds ran away ([\d, ]+),|at each k: ([\d, ]+)", row)[0] for row in rows]
    shares = [re.findall(r"(\d+)% observed", row)[0] for row in rows]
    return {share: sum(map(int, re.findall(r"\d+", "".join(count)))) for share, count in zip(shares, counts, strict=True)}


@pytest.mark.parametrize("page", ["theory.md", "reproduce/README.md"])
def test_pages_name_every_share_at_which_a_run_ran_away(page):
    text = (DOCS / page).read_text()
    ran = _ran_away()
    assert ran and any(ran.values())
    for share, seeds in ran.items():
        if seeds:
            assert f"{share} %" in text, f"{page} does not say that runs ran away with {share} % observed"
    assert "none was seen" not in re.sub(r"Under weight decay none was seen", "", text)


def test_no_page_gives_the_figures_a_time_of_its_own():
    assert not re.search(r"\b(minutes?|hours?)\b", (DOCS / "reproduce" / "README.md").read_text())


def test_the_theory_says_which_norm_grows_polynomially_and_what_decay_does_to_balance():
    text = " ".join((DOCS / "theory.md").read_text().split())
    assert "is that of `||(x) w||`" in text and "`2 - 2/(N(k+1))` (section 5): below 2 at every depth" in text
    assert "falls to nothing as `exp(-2 p t)`" in text and "interpolates between" in text


def test_a_width_counts_the_penalties_that_serve():
    errors = {0.1: 1.3, 0.3: 1.1, 1.0: 1.0, 3.0: 1.14, 10.0: 2.0}
    assert twin.width(errors, 1.0) == pytest.approx(10.0)
    assert twin.width(errors, 0.5) == 0.0
