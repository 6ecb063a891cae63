"""The DeMo layer without middleware: what the ROS node, the evaluation and the training all run.

Two sides, meant for two threads. The control side, :class:`Corrector`, answers every nominal action at once from the
freshest plan. The planning side makes plans and hands each over in one assignment. So a late planner can never
delay a command.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from demo_control.bundle import Bundle
from demo_control.configuration import ConfigurationError, setting
from demo_control.mpc import Planner, PlannerSettings, PlanningResult, Situations
from demo_control.mpc.adaptation import ModelAdaptation
from demo_control.mpc.planner import PLANNING_TICKS
from demo_control.mpc.shift_models import Previous
from demo_control.rollout import OnnxEngine
from demo_control.tasks import Array, Task

SOURCE_POLICY = "policy"
SOURCE_LAYER = "demo_layer"
FALLBACK_REASONS = (
    "disabled",
    "no_plan",
    "plan_rejected",
    "stale_plan",
    "wrong_shape",
    "non_finite_nominal",
)
"""Why a nominal action passed through (or, for the last two, was not answered at all)."""


@dataclass(frozen=True)
class LayerSettings(PlannerSettings):
    """Settings of the layer: the planner's, and when a plan is made and trusted."""

    use_layer: bool = setting(True, "False passes nominal actions through unchanged.", in_flight=True)
    plan_period_ticks: int = setting(
        1, "Control periods between the starts of two plans.", minimum=1, maximum=1000, in_flight=True
    )
    maximum_plan_age_ticks: int = setting(
        10, "A plan older than this many control periods is stale.", minimum=1, maximum=1000, in_flight=True
    )
    minimum_gain: float = setting(
        0.0, "A plan is accepted if it is predicted to cost at least this much less than the policy.",
        minimum=-1e9, maximum=1e9, in_flight=True,
    )  # fmt: skip
    maximum_disagreement: float = setting(
        1.0, "A plan is rejected where the members' predictions spread wider, as a share of the range.",
        minimum=0.0, maximum=1e9, in_flight=True,
    )  # fmt: skip
    adapt_model: bool = setting(
        True, "Scale the model's predicted changes by what the robot is seen to do.", in_flight=True
    )
    adaptation_memory_ticks: float = setting(
        250.0, "Control periods after which an observation counts 1/e in the scale.", minimum=1.0, maximum=1e6
    )
    adaptation_prior_ticks: float = setting(
        10.0, "Control periods of typical change that outweigh the model as it was trained.", minimum=1e-3, maximum=1e6
    )
    adaptation_limit: float = setting(2.0, "The scale stays between 1 / this and this.", minimum=1.0, maximum=100.0)

    @classmethod
    def for_task(cls, task: Task, overrides: Mapping[str, object] | None = None) -> LayerSettings:
        """The task's own settings, with some replaced.

        Raises:
            ConfigurationError: An unknown name or a bad value.
        """
        base = cls.from_mapping(task.planner, source=f"task '{task.name}'")
        return cls.from_mapping(overrides or {}, base=base)


@dataclass(frozen=True)
class Correction:
    """Answer to a nominal action.

    Attributes:
        values: The command, or None: nothing must be sent. Shape=(action_dim,).
        source: 'demo_layer' where corrected, 'policy' where the nominal action passed through.
        reason: Why it was not corrected; '' where it was.
    """

    values: Array | None
    source: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """A plan in use.

    Attributes:
        first_sequence: Number of the observation that step 0 answers.
        controls: μ. Shape=(horizon, action_dim).
        policy_actions: The policy's predicted answers. Shape=(horizon, action_dim).
        rejection_reason: '' for an accepted plan.
    """

    first_sequence: int
    controls: Array
    policy_actions: Array
    rejection_reason: str = ""


@dataclass(frozen=True)
class PlanReport:
    """All that is published of one plan; units and shapes as in PlannerStatus."""

    observation_sequence: int
    num_samples: int
    horizon: int
    effective_sample_size: float
    cost_terms: tuple[str, ...]
    nominal_costs: tuple[float, ...]
    plan_costs: tuple[float, ...]
    nominal_cost: float
    plan_cost: float
    predicted_gain: float
    ensemble_disagreement: float
    accepted: bool
    rejection_reason: str
    plan_time_s: float = 0.0


@dataclass
class Counters:
    """What happened since the start.

    Attributes:
        commands: Nominal actions answered with a command.
        plans: Plans made.
        overruns: Plans not started in time because the one before was not done.
        fallbacks: Nominal actions that passed through or were not answered, by reason.
    """

    commands: int = 0
    plans: int = 0
    overruns: int = 0
    fallbacks: Counter[str] = field(default_factory=Counter)


class Corrector:
    """The control side: answers nominal actions from the freshest plan, in microseconds.

    Args:
        task: Gives the action's dimension and limits.
        settings: The layer's settings.
        history_length: Commands to remember for :meth:`pending`.
    """

    def __init__(self, task: Task, settings: LayerSettings, history_length: int) -> None:
        self._minimum, self._maximum = task.action_minimum, task.action_maximum
        self.settings = settings
        self.plan: Plan | None = None
        self.counters = Counters()
        self._history: deque[tuple[int, Array]] = deque(maxlen=history_length)
        limits = (1.0 / settings.adaptation_limit, settings.adaptation_limit)
        self._adaptation = ModelAdaptation(
            task, settings.adaptation_memory_ticks, settings.adaptation_prior_ticks, limits
        )

    def correct(self, sequence: int, nominal: Array) -> Correction:
        """Answer nominal + (μ_h − π_θ(x̂_h)), with h the periods since the plan's first step.

        At the state the plan predicted this is the plan itself (the thesis's convex combination); elsewhere the
        policy's reaction to the difference is kept.

        Args:
            sequence: Number of the observation that the nominal action answers.
            nominal: Physical units. Shape=(action_dim,).
        """
        if nominal.shape != self._minimum.shape:
            return self._unanswered("wrong_shape")
        if not np.isfinite(nominal).all():
            return self._unanswered("non_finite_nominal")
        plan, settings = self.plan, self.settings
        reason = ""
        step = 0
        if not settings.use_layer:
            reason = "disabled"
        elif plan is None:
            reason = "no_plan"
        elif plan.rejection_reason:
            reason = "plan_rejected"
        else:
            step = sequence - plan.first_sequence
            if not 0 <= step < min(len(plan.controls), settings.maximum_plan_age_ticks):
                reason = "stale_plan"
        values = np.asarray(nominal, np.float64)
        if not reason and plan is not None:
            corrected = values + plan.controls[step] - plan.policy_actions[step]
            values = np.minimum(np.maximum(corrected, self._minimum), self._maximum)
        else:
            self.counters.fallbacks[reason] += 1
        self._history.append((sequence, values))
        self.counters.commands += 1
        return Correction(values, SOURCE_POLICY if reason else SOURCE_LAYER, reason)

    def _unanswered(self, reason: str) -> Correction:
        self.counters.fallbacks[reason] += 1
        return Correction(None, SOURCE_POLICY, reason)

    def pending(self, sequence: int, ticks: int) -> Array:
        """The last ``ticks`` commands up to the one that answered ``sequence``, the oldest first.

        A command that was never sent leaves the one before in force, as on the robot; before the first command it
        is the action nearest to zero.
        """
        rest = np.minimum(np.maximum(0.0, self._minimum), self._maximum)
        # The control thread may append meanwhile; one call copies the queue under the interpreter's lock.
        sent = [entry for entry in tuple(self._history) if entry[0] <= sequence]
        commands = []
        for number in range(sequence - ticks + 1, sequence + 1):
            in_force = [values for sent_number, values in sent if sent_number <= number]
            commands.append(in_force[-1] if in_force else rest)
        return np.array(commands)

    def previous(self, first_sequence: int) -> Previous | None:
        """The plan in use, as the shift models take it; a rejected or outlived one is forgotten."""
        plan = self.plan
        if plan is None or plan.rejection_reason:
            return None
        elapsed = first_sequence - plan.first_sequence
        return Previous(plan.controls, elapsed) if 0 <= elapsed < len(plan.controls) else None

    def change_scale(self, sequence: int, observation: Array) -> Array:
        """Factor on the model's predicted changes, with what an observation teaches. Shape=(observation_dim,)."""
        self._adaptation.observe(sequence, observation)
        factor = self._adaptation.change_scale
        return factor if self.settings.adapt_model else np.ones_like(factor)

    def take(
        self, sequence: int, observation: Array, result: PlanningResult, index: int, term_names: Sequence[str]
    ) -> PlanReport:
        """Validate one robot's new plan and put it in use.

        Args:
            sequence: Number of the observation it was made from.
            observation: That observation. Shape=(observation_dim,).
            result: Plans of several robots.
            index: Which of them.
            term_names: Names of the cost terms.
        """
        self._adaptation.expect(sequence, observation, result.expected_changes[index])
        nominal, planned = result.nominal_costs[index], result.plan_costs[index]
        gain = float(nominal.sum() - planned.sum())
        disagreement = float(result.disagreement[index])
        reason = self._rejection(result.controls[index], result.policy_actions[index], planned, gain, disagreement)
        self.plan = Plan(sequence + PLANNING_TICKS, result.controls[index], result.policy_actions[index], reason)
        self.counters.plans += 1
        return PlanReport(
            observation_sequence=sequence,
            num_samples=self.settings.num_samples,
            horizon=self.settings.horizon,
            effective_sample_size=float(result.effective_sample_size[index]),
            cost_terms=tuple(term_names),
            nominal_costs=tuple(nominal.tolist()),
            plan_costs=tuple(planned.tolist()),
            nominal_cost=float(nominal.sum()),
            plan_cost=float(planned.sum()),
            predicted_gain=gain,
            ensemble_disagreement=disagreement,
            accepted=not reason,
            rejection_reason=reason,
        )

    def _rejection(self, controls: Array, policy_actions: Array, costs: Array, gain: float, disagreement: float) -> str:
        """Why a plan must not be used, or ''."""
        if not (np.isfinite(controls).all() and np.isfinite(policy_actions).all()):
            return "not_finite"
        if not np.isfinite(costs).all():
            return "cost_not_finite"
        if (controls < self._minimum - 1e-6).any() or (controls > self._maximum + 1e-6).any():
            return "out_of_bounds"
        if not disagreement <= self.settings.maximum_disagreement:
            return "disagreement"
        # A policy that diverges on the model has an infinite cost: any finite plan is then a gain.
        if not gain >= self.settings.minimum_gain and np.isfinite(gain):
            return "no_gain"
        return ""


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
        self._corrector = Corrector(task, settings, self._planner.pending_ticks + settings.horizon)
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
    def cost_weights(self) -> dict[str, float]:
        """Weights of the cost terms by name."""
        names = [term.name for term in self._task.cost_terms]
        return dict(zip(names, self._planner.cost_weights.tolist(), strict=True))

    def update_cost_weights(self, weights: Mapping[str, float]) -> None:
        """Change the weights of some cost terms, between two plans.

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

    def update_settings(self, settings: LayerSettings) -> None:
        """Change settings between two plans.

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

    def swap_bundle(self, bundle: Bundle) -> None:
        """Put another policy and model in place, between two plans; prepared beside the running one.

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

    def reset(self) -> None:
        """Forget plan, command history and counters, and start the noise anew."""
        with self._planning:
            self._generator = np.random.default_rng(self._seed)
            self._corrector = Corrector(self._task, self.settings, self._planner.pending_ticks + self.settings.horizon)

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
        observation = np.asarray(observation, np.float64)
        with self._planning:
            planner, corrector = self._planner, self._corrector
            result = planner.plan(situations(sequence, observation[None], [corrector], planner), [self._generator])
            report = corrector.take(sequence, observation, result, 0, planner.term_names)
        return replace(report, plan_time_s=time.perf_counter() - started)


def situations(sequence: int, observations: Array, correctors: Sequence[Corrector], planner: Planner) -> Situations:
    """What the robots of some correctors plan from.

    Args:
        sequence: Number of the observations; their nominal actions have been answered.
        observations: Shape=(num_robots, observation_dim).
        correctors: One per robot.
        planner: Says how many commands are on their way.
    """
    pairs = list(zip(correctors, observations, strict=True))
    return Situations(
        observations=observations,
        pending=np.array([corrector.pending(sequence, planner.pending_ticks) for corrector in correctors]),
        previous=[corrector.previous(sequence + PLANNING_TICKS) for corrector in correctors],
        change_scale=np.array([corrector.change_scale(sequence, observation) for corrector, observation in pairs]),
    )


def make_planner(task: Task, bundle: Bundle, settings: PlannerSettings) -> Planner:
    """A planner on a bundle's models, warmed up.

    Raises:
        ConfigurationError: Settings that do not fit the bundle.
        BundleError: A bundle that does not fit the task.
    """
    bundle.contract.check_task(task)
    planner = Planner(task, settings, lambda shape: OnnxEngine(task, bundle, shape))
    middle = np.array([(q.minimum + q.maximum) / 2.0 for q in task.observation])
    pending = np.tile((task.action_minimum + task.action_maximum) / 2.0, (planner.pending_ticks, 1))
    # The first call allocates; it must not happen while a robot waits.
    resting = Situations(middle[None], pending[None], [None], np.ones((1, task.observation_dim)))
    planner.plan(resting, [np.random.default_rng(0)])
    return planner
