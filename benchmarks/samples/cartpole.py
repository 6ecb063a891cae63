"""The cart-pole's swing-up, planned on its own equations of motion or on the shipped model.

The plant is the analytic simulator in both cases: what differs is only what the planner knows.
"""

from __future__ import annotations

from dataclasses import replace

from demo_control.bundle import default_bundle, load_bundle
from demo_control.mpc import PlannerSettings
from demo_control.policies import OnnxPolicy
from demo_control.rollout import choose_engine
from demo_control.tasks import Array, Task, load_task
from samples.closed_loop import HeldScore, Outcome, run_closed_loop, true_model
from stoch2_sim.robots.cartpole.parameters import PlantParameters, PlantSettings
from stoch2_sim.robots.cartpole.plants import CartpolePlants
from stoch2_sim.robots.cartpole.score import is_upright
from stoch2_sim.robots.cartpole.simulation import from_observation, make_simulator, to_observation

NAME = "cartpole"
EPISODE_S = 5.0
HOLD_S = 1.0
TRUE_PERIOD_S = 0.04
"""With the true model; the shipped one knows the task's own period only."""
FAILURE_COST = 2.0
"""Of each period after leaving the rail: about twice that of hanging."""


def task(period_s: float) -> Task:
    """The shipped task with shorter episodes and another control period, answered without delay."""
    return replace(
        load_task(NAME),
        control_period_s=period_s,
        episode_s=EPISODE_S,
        alive_reward=FAILURE_COST,
        make_score=lambda: HeldScore(is_upright, EPISODE_S, HOLD_S),
        unmodelled_ticks=0,
    )


def step(observations: Array, forces: Array) -> Array:
    """One control period of the true model. Shape=(batch, 5), (batch, 1) → Shape=(batch, 5)."""
    simulator = make_simulator("analytic", PlantParameters(), len(observations), 1, TRUE_PERIOD_S)
    simulator.reset(*from_observation(observations))
    simulator.advance(forces, 1)
    return to_observation(simulator.positions(), simulator.velocities())


def make_plants(period_s: float, num_plants: int) -> CartpolePlants:
    """Nominal cart-poles."""
    simulator = make_simulator("analytic", PlantParameters(), num_plants, 1, period_s)
    return CartpolePlants(simulator, PlantSettings())


def run_true(settings: PlannerSettings | None, num_seeds: int, seed: int) -> Outcome:
    """Planned on the plant's own equations; see :func:`samples.closed_loop.run_closed_loop`."""
    problem, bundle = task(TRUE_PERIOD_S), load_bundle(default_bundle(NAME))
    policy = OnnxPolicy(bundle.policy).act
    model = true_model(problem, step, policy)
    return run_closed_loop(problem, make_plants(TRUE_PERIOD_S, num_seeds), policy, model, settings, seed)


def run_learned(settings: PlannerSettings | None, num_seeds: int, seed: int) -> Outcome:
    """Planned on the shipped model; see :func:`samples.closed_loop.run_closed_loop`."""
    bundle = load_bundle(default_bundle(NAME))
    problem = task(load_task(NAME).control_period_s)
    # The processes of the study share the cores already.
    model = choose_engine(problem, bundle, "auto", threads=1).make
    plants = make_plants(problem.control_period_s, num_seeds)
    return run_closed_loop(problem, plants, OnnxPolicy(bundle.policy).act, model, settings, seed)
