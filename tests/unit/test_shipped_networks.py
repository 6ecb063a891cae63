"""The shipped bundles of soft actor-critic, as a robot uses them: without PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from demo_control.bundle import Bundle, default_bundle, load_bundle, make_bundle
from demo_control.controllers import make_controller
from demo_control.evaluation import run_episodes
from demo_control.layer import LayerSettings, make_planner
from demo_control.mpc.situations import Situations
from demo_control.onnx_graph import make_session
from demo_control.policies import OnnxPolicy
from demo_control.tasks import Task, load_task


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("cartpole")


@pytest.fixture(scope="module")
def bundle(task: Task) -> Bundle:
    return load_bundle(default_bundle("cartpole_sac"), task)


def test_cartpole_swings_up_and_balances_without_the_layer(task: Task, bundle: Bundle) -> None:
    plants = task.make_plants("analytic", 10, {})
    episodes = run_episodes(task, plants, make_controller("policy", task, bundle, None, 10), seed=0)
    assert episodes.successes == 10
    assert episodes.returns.min() > 880.0


@pytest.mark.parametrize("engine", ["native", "onnx"])
def test_value_is_the_planners_terminal_cost(task: Task, bundle: Bundle, engine: str) -> None:
    weight, discount, horizon = 2.0, 0.9, 5
    settings = LayerSettings.for_task(
        task, {"value_weight": weight, "discount": discount, "horizon": horizon, "engine": engine}
    )
    planner = make_planner(task, bundle, settings)
    assert planner.term_names[-1] == "terminal_value"
    starts = np.array([[0.1, 0.5, -0.6, 0.8, 2.0], [-0.5, 0.0, 1.0, 0.0, 0.1], [1.0, -1.0, 0.0, -1.0, 4.0]])
    situations = Situations(
        observations=starts,
        pending=np.full((3, planner.pending_ticks, 1), 3.0),
        previous=[None] * 3,
        change_scale=np.ones_like(starts),
        change_offset=np.zeros_like(starts),
    )
    told = planner.plan(situations, [np.random.default_rng(i) for i in range(3)]).nominal_costs[:, -1]

    dynamics, policy, x = make_session(bundle.dynamics), OnnxPolicy(bundle.policy), starts
    for step in range(planner.pending_ticks + horizon):
        u = np.full((3, 1), 3.0) if step < planner.pending_ticks else policy.act(x)
        feeds = {"observation": np.tile(x, (4, 1, 1)), "action": np.tile(u, (4, 1, 1))}
        (following,) = dynamics.run(["next_observation"], {n: v.astype(np.float32) for n, v in feeds.items()})
        x = following.mean(axis=0).astype(float)
        x[:, 2:4] /= np.hypot(x[:, 2], x[:, 3])[:, None]
    (values,) = make_session(bundle.value).run(["value"], {"observation": x.astype(np.float32)})
    np.testing.assert_allclose(told, -weight * discount**horizon * values[:, 0], rtol=1e-3)

    without = make_planner(task, make_bundle(task, policy=bundle.policy, dynamics=bundle.dynamics), settings)
    assert "terminal_value" not in without.term_names
