"""What the planning side of the layer needs: planners, and what they plan from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from demo_control.bundle import Bundle
from demo_control.layer.corrector import Corrector
from demo_control.layer.settings import LayerSettings
from demo_control.mpc import Planner, PlannerSettings, Situations
from demo_control.rollout import choose_engine
from demo_control.tasks import Array, Task


def situations(sequence: int, observations: Array, correctors: Sequence[Corrector], planner: Planner) -> Situations:
    """What the robots of some correctors plan from.

    Args:
        sequence: Number of the observations; their nominal actions have been answered.
        observations: As the robots report them. Shape=(num_robots, observation_dim).
        correctors: One per robot.
        planner: Says how many commands are on their way.

    Returns:
        In the planning problem's terms.
    """
    pairs = zip(correctors, observations, strict=True)
    seen = np.array([corrector.planning_observation(sequence, observation) for corrector, observation in pairs])
    adapted = [
        corrector.adapted(sequence, observation) for corrector, observation in zip(correctors, seen, strict=True)
    ]
    pending = [corrector.pending(sequence, planner.pending_ticks) for corrector in correctors]
    return Situations(
        observations=seen,
        pending=np.array(pending),
        previous=[corrector.previous(sequence) for corrector in correctors],
        change_scale=np.array([factor for factor, _ in adapted]),
        change_offset=np.array([offset for _, offset in adapted]),
    )


def history_length(task: Task, settings: LayerSettings, planner: Planner) -> int:
    """How many control periods a :class:`Corrector` must remember."""
    return planner.pending_ticks + settings.horizon * task.decision_ticks


def make_planner(task: Task, bundle: Bundle, settings: PlannerSettings) -> Planner:
    """A planner on a bundle's models, warmed up.

    Raises:
        ConfigurationError: Settings that do not fit the bundle.
        BundleError: A bundle that does not fit the task.
    """
    bundle.contract.check_task(task)
    problem = task.planning_problem
    choice = choose_engine(problem, bundle, settings.engine, settings.engine_threads)
    planner = Planner(problem, settings, choice.make, str(choice))
    middle = np.array([(q.minimum + q.maximum) / 2.0 for q in problem.observation])
    pending = np.tile((problem.action_minimum + problem.action_maximum) / 2.0, (planner.pending_ticks, 1))
    # The first call allocates; it must not happen while a robot waits.
    ones = np.ones((1, problem.observation_dim))
    resting = Situations(middle[None], pending[None], [None], ones, 0.0 * ones)
    planner.plan(resting, [np.random.default_rng(0)])
    return planner
