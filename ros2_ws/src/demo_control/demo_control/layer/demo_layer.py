"""The layer of one robot, and what its planning side needs."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from demo_control.bundle import Bundle
from demo_control.configuration import ConfigurationError
from demo_control.layer.corrector import Corrector
from demo_control.layer.records import Correction, Counters, LayerState, Plan, PlanReport
from demo_control.layer.settings import LayerSettings
from demo_control.mpc import Planner, PlannerSettings, Situations
from demo_control.rollout import choose_engine
from demo_control.tasks import Array, Task


@dataclass(frozen=True)
class PlanBegun:
    """What a plan is made from, as it was when the plan was begun."""

    sequence: int
    situations: Situations


class DemoLayer:
    """The DeMo layer of one robot.

    Args:
        task: The robot and its job.
        bundle: Policy and model.
        settings: See :class:`LayerSettings`.
        seed: Of the noise.

    Raises:
        ConfigurationError: Settings that do not fit the bundle.
        BundleError: A bundle that does not fit the task.
    """

    def __init__(self, task: Task, bundle: Bundle, settings: LayerSettings, seed: int) -> None:
        self._task = task
        self._seed = seed
        self._generator = np.random.default_rng(seed)
        self._planning = threading.Lock()
        self._planner = make_planner(task, bundle, settings)
        self._corrector = self._new_corrector(settings)
        self.bundle = bundle

    @property
    def settings(self) -> LayerSettings:
        """The settings in force."""
        return self._corrector.settings

    @property
    def counters(self) -> Counters:
        """What happened since the start or the last :meth:`reset`."""
        return self._corrector.counters

    @property
    def newest_plan(self) -> Plan | None:
        """As it was taken, accepted or not; None before the first."""
        return self._corrector.plan

    @property
    def cost_weights(self) -> dict[str, float]:
        """Weights of the cost terms by name."""
        names = [term.name for term in self._task.cost_terms]
        return dict(zip(names, self._planner.cost_weights.tolist(), strict=True))

    @property
    def engine(self) -> str:
        """Which engine makes the rollouts, and why; for logs."""
        return self._planner.engine

    def update_cost_weights(self, weights: Mapping[str, float]) -> LayerState:
        """Change the weights of some cost terms, between two plans.

        Returns:
            What is in force now.

        Raises:
            ConfigurationError: An unknown term, or a weight that is negative or not finite.
        """
        merged = self.cost_weights
        for name, weight in weights.items():
            if name not in merged:
                raise ConfigurationError(f"cost weight '{name}': unknown; known: {', '.join(merged)}")
            if not (np.isfinite(weight) and weight >= 0.0):
                raise ConfigurationError(f"cost weight '{name}' = {weight}: must be finite and at least 0")
            merged[name] = float(weight)
        with self._planning:
            self._planner.cost_weights = np.array(list(merged.values()))
            return self._state()

    def update_settings(self, settings: LayerSettings) -> LayerState:
        """Change settings between two plans.

        Returns:
            What is in force now.

        Raises:
            ConfigurationError: A setting that cannot change in flight differs.
        """
        for entry in LayerSettings.entries():
            old, new = getattr(self.settings, entry.name), getattr(settings, entry.name)
            if old != new and not entry.description.in_flight:
                raise ConfigurationError(f"{entry.name}: cannot change while the layer runs ({old} -> {new})")
        with self._planning:
            self._planner.settings = settings
            self._corrector.settings = settings
            return self._state()

    def swap_bundle(self, bundle: Bundle) -> LayerState:
        """Put another policy and model in place, between two plans; prepared beside the running one.

        Returns:
            What is in force now.

        Raises:
            ConfigurationError: Settings that do not fit the bundle.
            BundleError: A bundle that does not fit the task.
        """
        planner = make_planner(self._task, bundle, self.settings)
        with self._planning:
            planner.cost_weights = self._planner.cost_weights
            planner.settings = self.settings
            self._planner = planner
            self.bundle = bundle
            return self._state()

    def reset(self) -> LayerState:
        """Forget plan, command history and counters, and start the noise anew; returns what is in force."""
        with self._planning:
            self._generator = np.random.default_rng(self._seed)
            self._corrector = self._new_corrector(self.settings)
            return self._state()

    def _state(self) -> LayerState:
        """What is in force; no plan may be under way."""
        counters = self.counters
        return LayerState(
            commands=counters.commands,
            plans=counters.plans,
            bundle_sha256=self.bundle.sha256,
            seed=self._seed,
            engine=self.engine,
            settings=self.settings.as_mapping(),
            cost_weights=self.cost_weights,
        )

    def _new_corrector(self, settings: LayerSettings) -> Corrector:
        return Corrector(self._task, settings, history_length(self._task, settings, self._planner))

    def correct(self, sequence: int, nominal: Array) -> Correction:
        """Answer a nominal action; see :meth:`Corrector.correct`."""
        return self._corrector.correct(sequence, nominal)

    def plan(self, sequence: int, observation: Array) -> PlanReport:
        """Make a plan from an observation and put it in use; for the planning thread.

        Args:
            sequence: The observation's number; its nominal action has been answered.
            observation: Finite. Shape=(observation_dim,).
        """
        started = time.perf_counter()
        with self._planning:
            report = self.finish_plan(self.begin_plan(sequence, observation))
        return replace(report, plan_time_s=time.perf_counter() - started)

    def begin_plan(self, sequence: int, observation: Array) -> PlanBegun:
        """The first half of :meth:`plan`, for who answers a recording: not safe beside another thread.

        Args:
            sequence: See :meth:`plan`.
            observation: See :meth:`plan`.
        """
        seen = np.asarray(observation, np.float64)[None]
        return PlanBegun(sequence, situations(sequence, seen, [self._corrector], self._planner))

    def finish_plan(self, begun: PlanBegun) -> PlanReport:
        """The second half: commands may have been answered between the two, settings must not have changed.

        Args:
            begun: What :meth:`begin_plan` returned.
        """
        result = self._planner.plan(begun.situations, [self._generator])
        return self._corrector.take(begun.sequence, begun.situations, result, 0, self._planner)


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
