"""Controllers of many plants in lockstep: the policy alone, and policy + DeMo layer with the node's timing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from demo_control.bundle import Bundle
from demo_control.configuration import ConfigurationError
from demo_control.layer import Corrector, Counters, LayerSettings, PlanReport, history_length, make_planner, situations
from demo_control.policies import OnnxPolicy
from demo_control.tasks import Array, Task

CONTROLLERS = ("policy", "demo")


class Controller(Protocol):
    """Answers observations of many plants with actions."""

    def reset(self, generators: Sequence[np.random.Generator]) -> None:
        """Start new episodes, with one source of randomness per plant."""
        ...

    def act(self, observations: Array) -> Array:
        """Actions in physical units. Shape=(num_plants, n) → Shape=(num_plants, m)."""
        ...


class PolicyController:
    """The policy alone.

    Args:
        bundle: Holds the policy.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._policy = OnnxPolicy(bundle.policy)

    def reset(self, generators: Sequence[np.random.Generator]) -> None:
        """Nothing to forget."""

    def act(self, observations: Array) -> Array:
        """See :class:`Controller`."""
        return self._policy.act(observations)


class LayerController:
    """The policy corrected by the DeMo layer, with exactly the node's timing and code.

    Per plant one :class:`~demo_control.layer.Corrector`; one planner makes all plans in one call. As on the robot, the
    plan made from observation k is used from observation k + ``planning_ticks`` on.

    Args:
        task: The task.
        bundle: Policy and model.
        settings: The layer's settings.
        num_plants: How many plants.

    Raises:
        ConfigurationError: Settings that do not fit the task or the bundle.
        BundleError: A bundle that does not fit the task.
    """

    def __init__(self, task: Task, bundle: Bundle, settings: LayerSettings, num_plants: int) -> None:
        settings.check_task(task)
        self._task = task
        self._settings = settings
        self._num_plants = num_plants
        self._policy = OnnxPolicy(bundle.policy)
        self._planner = make_planner(task, bundle, settings)
        self._correctors: list[Corrector] = []
        self._generators: Sequence[np.random.Generator] = ()
        self._sequence = 0
        self.reports: list[PlanReport] = []
        """Of each plant's newest plan; the time is that of planning for all plants together."""

    @property
    def counters(self) -> list[Counters]:
        """Each plant's counters since the last reset."""
        return [corrector.counters for corrector in self._correctors]

    def reset(self, generators: Sequence[np.random.Generator]) -> None:
        """See :class:`Controller`."""
        length = history_length(self._task, self._settings, self._planner)
        self._correctors = [Corrector(self._task, self._settings, length) for _ in range(self._num_plants)]
        self._generators = generators
        self._sequence = 0
        self.reports = []

    def act(self, observations: Array) -> Array:
        """See :class:`Controller`."""
        sequence = self._sequence
        nominal = self._policy.act(observations)
        actions = np.empty_like(nominal)
        for index, corrector in enumerate(self._correctors):
            correction = corrector.correct(sequence, nominal[index])
            # A plant whose observation is not finite gets no command on the robot; here its driver's stop is zero.
            actions[index] = 0.0 if correction.values is None else correction.values
        if self._settings.use_layer and sequence % self._settings.plan_period_ticks == 0:
            self._plan(sequence, observations)
        self._sequence += 1
        return actions

    def _plan(self, sequence: int, observations: Array) -> None:
        """Make every plant's plan from its observation."""
        planner, correctors = self._planner, self._correctors
        situation = situations(sequence, observations, correctors, planner)
        began_s = time.perf_counter()
        result = planner.plan(situation, self._generators)
        reports = [
            corrector.take(sequence, situation, result, index, planner) for index, corrector in enumerate(correctors)
        ]
        plan_time_s = time.perf_counter() - began_s
        self.reports = [replace(report, plan_time_s=plan_time_s) for report in reports]


def make_controller(
    kind: str, task: Task, bundle: Bundle, settings: LayerSettings | None, num_plants: int
) -> Controller:
    """A controller by name.

    Args:
        kind: 'policy' or 'demo'.
        task: The task.
        bundle: Policy and model.
        settings: The layer's settings, or None for the task's own.
        num_plants: How many plants it serves.

    Raises:
        ConfigurationError: Unknown kind, or settings that do not fit the bundle.
    """
    if kind == "policy":
        return PolicyController(bundle)
    if kind == "demo":
        return LayerController(task, bundle, settings or LayerSettings.for_task(task), num_plants)
    raise ConfigurationError(f"controller = '{kind}': must be one of {', '.join(CONTROLLERS)}")
