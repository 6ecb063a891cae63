"""Stoch2 on slopes with pushes, payload and weak motors: the shipped bundle, planning corrections of its gait.

The closed loop is the layer's own, with the robot's timing: see :class:`demo_control.controllers.LayerController`.
"""

from __future__ import annotations

from demo_control.bundle import default_bundle, load_bundle
from demo_control.controllers import make_controller
from demo_control.evaluation import run_episodes
from demo_control.layer import LayerSettings
from demo_control.mpc import PlannerSettings
from demo_control.parallel_evaluation import make_scenario
from demo_control.scenarios import make_trials
from demo_control.tasks import load_task
from samples.closed_loop import Outcome

NAME = "stoch2"
SCENARIO = "robust"
SIMULATOR = "mujoco"
COST = "recovery_cost"


def run(settings: PlannerSettings | None, num_seeds: int, seed: int) -> Outcome:
    """Episodes of the scenario: its cost (posture, heading, path and speed; a fall costs 500) and whether none fell.

    Args:
        settings: The layer's, or None for the policy alone.
        num_seeds: Number of episodes.
        seed: Of everything random.
    """
    task, bundle = load_task(NAME), load_bundle(default_bundle(NAME))
    scenario = make_scenario(task, SCENARIO)
    if scenario is None:
        raise LookupError(f"task '{NAME}' has no scenarios")
    layer = LayerSettings.for_task(task, {} if settings is None else settings.as_mapping() | {"engine_threads": 1})
    controller = make_controller("policy" if settings is None else "demo", task, bundle, layer, num_seeds)
    plants = scenario.make_plants(SIMULATOR, seed, range(num_seeds))
    try:
        episodes = run_episodes(task, plants, controller, seed, num_steps=scenario.num_steps)
        trials = make_trials(plants, episodes, 0, task.control_period_s)
    finally:
        plants.close()
    figures = [scenario.judge(trial) for trial in trials]
    return Outcome(
        tuple(float(figure[COST]) for figure in figures), tuple(bool(figure["success"]) for figure in figures)
    )
