"""Closed loops around the planner: many plants at once, the first control of each plan applied."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from demo_control.controllers import Controller
from demo_control.evaluation import run_episodes
from demo_control.mpc import Planner, PlannerSettings, Previous, Situations
from demo_control.mpc.planner import EngineFactory
from demo_control.rollout import NumpyEngine, RolloutEngine, RolloutShape
from demo_control.rollout.numpy_engine import Dynamics, Policy
from demo_control.tasks import Array, Plants, Task

_TOLERANCE_S = 1e-6


@dataclass(frozen=True)
class Outcome:
    """What came of one episode per seed.

    Attributes:
        costs: The task's stage costs, summed; see :func:`run_closed_loop`.
        successes: Whether the problem's criterion was met.
    """

    costs: tuple[float, ...]
    successes: tuple[bool, ...]


class HeldScore:
    """Success: a condition held at every instant of the last while, and the plant never failed.

    Args:
        holds: The condition on a true observation, Shape=(observation_dim,).
        episode_s: How long an episode must have lasted.
        hold_s: How long the condition must have held at its end.
    """

    def __init__(self, holds: Callable[[Array], bool], episode_s: float, hold_s: float) -> None:
        self._holds = holds
        self._episode_s = episode_s
        self._hold_s = hold_s
        self._recent: deque[tuple[float, bool]] = deque()
        self._failed = False

    def update(self, time_s: float, observation: Array, failed: bool) -> None:
        """See :class:`demo_control.tasks.Score`."""
        self._failed = self._failed or failed
        self._recent.append((time_s, self._holds(observation)))
        while self._recent[0][0] < time_s - self._hold_s - _TOLERANCE_S:
            self._recent.popleft()

    def result(self) -> dict[str, float | bool]:
        """``success`` alone."""
        finished = bool(self._recent) and self._recent[-1][0] >= self._episode_s - _TOLERANCE_S
        held = all(held for _, held in self._recent)
        return {"success": finished and held and not self._failed}


class PlanningController:
    """Applies the first control of a plan made at every period; implements ``demo_control.controllers.Controller``.

    The task must have ``unmodelled_ticks = 0``: nothing happens between an observation and the answer to it.

    Args:
        planner: Makes the plans.
        action_dim: Of the task.
    """

    def __init__(self, planner: Planner, action_dim: int) -> None:
        self._planner = planner
        self._action_dim = action_dim
        self._generators: Sequence[np.random.Generator] = ()
        self._previous: list[Previous | None] = []

    def reset(self, generators: Sequence[np.random.Generator]) -> None:
        """See :class:`demo_control.controllers.Controller`."""
        self._generators = generators
        self._previous = [None] * len(generators)

    def act(self, observations: Array) -> Array:
        """See :class:`demo_control.controllers.Controller`."""
        situations = Situations(
            observations=observations,
            pending=np.zeros((len(observations), 0, self._action_dim)),
            previous=self._previous,
            change_scale=np.ones_like(observations),
            change_offset=np.zeros_like(observations),
        )
        result = self._planner.plan(situations, self._generators)
        self._previous = [result.previous(robot, 1) for robot in range(len(observations))]
        return result.controls[:, 0]


class PolicyAlone:
    """The policy without a planner; implements ``demo_control.controllers.Controller``.

    Args:
        task: Gives the limits.
        policy: Answers observations.
    """

    def __init__(self, task: Task, policy: Policy) -> None:
        self._task = task
        self._policy = policy

    def reset(self, generators: Sequence[np.random.Generator]) -> None:
        """Nothing to forget."""

    def act(self, observations: Array) -> Array:
        """See :class:`demo_control.controllers.Controller`."""
        return np.clip(self._policy(observations), self._task.action_minimum, self._task.action_maximum)


def true_model(task: Task, dynamics: Dynamics, policy: Policy) -> EngineFactory:
    """Builds engines that roll out a known model."""

    def make(shape: RolloutShape) -> RolloutEngine:
        return NumpyEngine(task, dynamics, policy, shape)

    return make


def run_closed_loop(
    task: Task, plants: Plants, policy: Policy, make_engine: EngineFactory, settings: PlannerSettings | None, seed: int
) -> Outcome:
    """Run one episode per plant; episode i is the same whatever is run beside it, for every way of planning.

    The cost of an episode is the sum of the task's stage costs; each period after a failure costs
    ``task.alive_reward``.

    Args:
        task: The problem.
        plants: One per seed.
        policy: π_θ.
        make_engine: Builds the planner's engines.
        settings: The planner's, or None for the policy alone.
        seed: Of starts and noise.
    """
    controller: Controller = PolicyAlone(task, policy)
    if settings is not None:
        controller = PlanningController(Planner(task, settings, make_engine), task.action_dim)
    steps = round(task.episode_s / task.control_period_s)
    episodes = run_episodes(task, plants, controller, seed, num_steps=steps)
    costs = steps * task.alive_reward - episodes.returns
    return Outcome(tuple(costs.tolist()), tuple(bool(result["success"]) for result in episodes.results))
