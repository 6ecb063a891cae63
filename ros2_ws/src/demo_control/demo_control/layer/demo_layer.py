"""The layer of one robot, and what its planning side needs."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from demo_control.bundle import Bundle
from demo_control.configuration import ConfigurationError
from demo_control.layer.corrector import Corrector, between
from demo_control.layer.model_step import ModelStep
from demo_control.layer.planning import history_length, make_planner, situations
from demo_control.layer.prediction_monitor import PredictionMonitor, SwapTrial
from demo_control.layer.records import Correction, Counters, LayerState, Plan, PlanReport, TrialEnd
from demo_control.layer.settings import LayerSettings
from demo_control.mpc import Planner, PlanningResult, Situations
from demo_control.tasks import Array, Task

_OBSERVATIONS_REMEMBERED = 128
"""More than pass between a plan and the observation that it predicted, while the plan after it is made."""


@dataclass(frozen=True)
class _OnTrial:
    """A swap that may be taken back.

    Attributes:
        trial: Compares the two models.
        steps: Predict with the model in use, and with the one before.
        planner: The one before.
        bundle: The one before.
    """

    trial: SwapTrial
    steps: tuple[ModelStep, ModelStep]
    planner: Planner
    bundle: Bundle


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
        ConfigurationError: Settings that do not fit the task or the bundle.
        BundleError: A bundle that does not fit the task.
    """

    def __init__(self, task: Task, bundle: Bundle, settings: LayerSettings, seed: int) -> None:
        settings.check_task(task)
        self._task = task
        self._seed = seed
        self._generator = np.random.default_rng(seed)
        # Held while a plan is made: not by the control thread, which would wait for its rest.
        self._planning = threading.Lock()
        # Held for microseconds: what is in force, and from which command and plan on, must go together.
        self._state_lock = threading.Lock()
        self._plans_begun = 0
        self._planner = make_planner(task, bundle, settings)
        self._cost_weights = self._planner.cost_weights
        self._corrector = self._new_corrector(settings)
        self._monitor = PredictionMonitor(task.planning_problem, task.decision_ticks)
        self._on_trial: _OnTrial | None = None
        self._observed: deque[tuple[int, Sequence[float]]] = deque(maxlen=_OBSERVATIONS_REMEMBERED)
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
        """Weights of the cost terms by name, for the next plan."""
        names = [term.name for term in self._task.cost_terms]
        return dict(zip(names, self._cost_weights.tolist(), strict=True))

    @property
    def engine(self) -> str:
        """Which engine makes the rollouts, and why; for logs."""
        return self._planner.engine

    def update_cost_weights(self, weights: Mapping[str, float]) -> LayerState:
        """Change the weights of some cost terms, from the next plan on; one that is being made keeps its own.

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
        with self._state_lock:
            self._cost_weights = np.array(list(merged.values()))
            return self._state()

    def update_settings(self, settings: LayerSettings) -> LayerState:
        """Change settings, from the next command and the next plan on; one that is being made keeps its own.

        Returns:
            What is in force now.

        Raises:
            ConfigurationError: A setting that cannot change in flight differs, or one that does not fit the task.
        """
        settings.check_task(self._task)
        for entry in LayerSettings.entries():
            old, new = getattr(self.settings, entry.name), getattr(settings, entry.name)
            if old != new and not entry.description.in_flight:
                raise ConfigurationError(f"{entry.name}: cannot change while the layer runs ({old} -> {new})")
        with self._state_lock:
            self._corrector.settings = settings
            return self._state()

    @property
    def prediction_error(self) -> float | None:
        """One-step error of the model in use of late, of that of predicting no change; None where it is not known."""
        return self._monitor.relative_error

    @property
    def trial(self) -> str:
        """How the bundle on trial compares so far, '' where none is."""
        on_trial = self._on_trial
        return "" if on_trial is None else on_trial.trial.text()

    def swap_bundle(self, bundle: Bundle, *, on_trial: bool = False) -> LayerState:
        """Put another policy and model in place, between two plans; prepared beside the running one.

        Args:
            bundle: The new one.
            on_trial: Whether its predictions are to be compared with those of the one before, which
                :meth:`end_trial` may then bring back. No bundle is compared with one that is itself on trial.

        Returns:
            What is in force now.

        Raises:
            ConfigurationError: Settings that do not fit the bundle.
            BundleError: A bundle that does not fit the task.
        """
        settings = self.settings
        planner = make_planner(self._task, bundle, settings)
        while True:
            proven, trial_steps = self._proven, None
            if on_trial and settings.swap_trial_plans and bundle.sha256 != proven.sha256:
                problem = self._task.planning_problem
                trial_steps = ModelStep(problem, bundle, settings), ModelStep(problem, proven, settings)
            with self._planning:
                if self._proven is proven:
                    return self._swap(planner, bundle, trial_steps)
            # The trial of the bundle in use has ended meanwhile, and it stays: the new one is to be compared with it.

    @property
    def _proven(self) -> Bundle:
        """The bundle in use or, where that is on trial, the one before."""
        on_trial = self._on_trial
        return self.bundle if on_trial is None else on_trial.bundle

    def _swap(self, planner: Planner, bundle: Bundle, trial_steps: tuple[ModelStep, ModelStep] | None) -> LayerState:
        """Put what has been prepared in place; no plan may be under way."""
        before, proven, settings, trial = self._on_trial, self._proven, self.settings, None
        if trial_steps is not None:
            compared = SwapTrial(
                self._monitor.unit, settings.swap_margin, settings.swap_false_alarm, settings.swap_trial_plans
            )
            trial = _OnTrial(compared, trial_steps, self._planner if before is None else before.planner, proven)
        self._on_trial = trial
        return self._put_in_place(planner, bundle)

    def end_trial(self) -> TrialEnd | None:
        """End a trial that is decided: the new bundle stays, or the one before comes back; None where none is."""
        on_trial = self._on_trial
        if on_trial is None or not on_trial.trial.over:
            return None
        with self._planning:
            if self._on_trial is not on_trial:
                return None
            self._on_trial, tried = None, self.bundle.sha256
            if not on_trial.trial.worse:
                return TrialEnd(tried, on_trial.trial.text(), None)
            return TrialEnd(tried, on_trial.trial.text(), self._put_in_place(on_trial.planner, on_trial.bundle))

    def _put_in_place(self, planner: Planner, bundle: Bundle) -> LayerState:
        """Use another planner and bundle; no plan may be under way. Returns what is in force."""
        with self._state_lock:
            self._planner, self.bundle = planner, bundle
            self._take_over()
            self._corrector.forget_adaptation()
            self._monitor.start_anew()
            return self._state()

    def _take_over(self) -> None:
        """Plan with what has changed since the last plan; none may be under way."""
        planner, settings = self._planner, self._corrector.settings
        if planner.settings is not settings:
            planner.settings = settings
        if planner.cost_weights is not self._cost_weights:
            planner.cost_weights = self._cost_weights
        self._corrector.planning_settings = settings

    def reset(self) -> LayerState:
        """Forget plan, command history and counters, and start the noise anew; returns what is in force."""
        with self._planning, self._state_lock:
            self._generator = np.random.default_rng(self._seed)
            self._corrector = self._new_corrector(self.settings)
            self._plans_begun = 0
            self._monitor.forget_expected()
            return self._state()

    def _state(self) -> LayerState:
        """What is in force; for who holds the state's lock."""
        return LayerState(
            commands=self.counters.commands,
            plans=self._plans_begun,
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

    def observed(self, sequence: int, values: Sequence[float]) -> None:
        """Note an observation, whether a plan is made from it or not: predictions are compared with it.

        Args:
            sequence: Its number.
            values: As they came, right or not. Not copied.
        """
        self._observed.append((sequence, values))

    def plan(self, sequence: int, observation: Array) -> PlanReport:
        """Make a plan from an observation and put it in use; for the planning thread.

        Args:
            sequence: The observation's number; its nominal action has been answered.
            observation: One that the task finds usable. Shape=(observation_dim,).
        """
        started = time.perf_counter()
        with self._planning:
            try:
                report = self.finish_plan(self.begin_plan(sequence, observation))
            finally:
                # One that was begun and failed is none.
                self._plans_begun = self.counters.plans
        return replace(report, plan_time_s=time.perf_counter() - started)

    def begin_plan(self, sequence: int, observation: Array) -> PlanBegun:
        """The first half of :meth:`plan`, for who answers a recording: not safe beside another thread.

        Args:
            sequence: See :meth:`plan`.
            observation: See :meth:`plan`.
        """
        with self._state_lock:
            self._plans_begun = self.counters.plans + 1
            self._take_over()
        seen = np.asarray(observation, np.float64)[None]
        return PlanBegun(sequence, situations(sequence, seen, [self._corrector], self._planner))

    def finish_plan(self, begun: PlanBegun) -> PlanReport:
        """The second half: commands may have been answered and settings changed between the two.

        Args:
            begun: What :meth:`begin_plan` returned.
        """
        result = self._planner.plan(begun.situations, [self._generator])
        report = self._corrector.take(begun.sequence, begun.situations, result, 0, self._planner)
        self._watch(begun, result, report)
        return report

    def _watch(self, begun: PlanBegun, result: PlanningResult, report: PlanReport) -> None:
        """Compare the observation with what was predicted for it, and note what is predicted from it."""
        sequence, observation, on_trial = begun.sequence, begun.situations.observations[0], self._on_trial
        while (due := self._monitor.due(sequence)) is not None:
            errors = self._monitor.observe(self._observation(due))
            if errors is not None and on_trial is not None:
                on_trial.trial.add(errors)
        if on_trial is None:
            change = between(result.nominal_changes[0], result.expected_changes[0], report.followed_share)
            self._monitor.expect(sequence, observation, change[None])
            return
        pending, plan = begun.situations.pending[0], self._corrector.plan
        assert plan is not None
        # What the robot does until then: the command that is on its way longest, or the plan's first decision.
        control = pending[0] if len(pending) else plan.controls[0]
        self._monitor.expect(
            sequence, observation, np.array([step.change(observation, control) for step in on_trial.steps])
        )

    def _observation(self, sequence: int) -> Array | None:
        """An observation of late in the planning problem's terms, or None. Shape=(planning_dim,)."""
        # The control thread may append meanwhile; one call copies the queue under the interpreter's lock.
        values = next((values for number, values in reversed(tuple(self._observed)) if number == sequence), None)
        if values is None:
            return None
        observation = np.array(values, np.float64)
        if self._task.unusable_observation(observation):
            return None
        return self._corrector.planning_observation(sequence, observation)
