"""What a robot brings along: a :class:`Task` says all that the method must know of it.

Tasks are plug-ins: a package declares an entry point of the group ``demo_control.tasks`` whose name is the
task's and whose value is a function without arguments that returns the :class:`Task`. Nothing in
demo_control names a robot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from demo_control.configuration import ConfigurationError, Scalar
from demo_control.corrections import BEFORE, Planning, Transition
from demo_control.plugins import load_plugin
from demo_control.quantities import Array, Quantity, columns, unusable
from demo_control.recorded_run import Motion, RecordedRun
from demo_control.training_spec import ModelTraining, PolicyTraining

if TYPE_CHECKING:
    from demo_control.scenarios import ScenarioFactory

__all__ = [
    "BEFORE", "COST_COUNTS", "TASK_GROUP", "Array", "CostFunction", "CostTerm", "Motion", "Namespace", "Planning",
    "PlantFactory", "Plants", "Quantity", "RecordedRun", "Score", "Task", "Transition", "VideoRenderer", "load_task",
    "task_names",
]  # fmt: skip

TASK_GROUP = "demo_control.tasks"


class Namespace(Protocol):
    """The functions a cost term may use; NumPy is one, the ONNX graph builder another."""

    def abs(self, x: Any, /) -> Any: ...  # noqa: ANN401, D102
    def cos(self, x: Any, /) -> Any: ...  # noqa: ANN401, D102
    def exp(self, x: Any, /) -> Any: ...  # noqa: ANN401, D102
    def maximum(self, x: Any, y: Any, /) -> Any: ...  # noqa: ANN401, D102
    def minimum(self, x: Any, y: Any, /) -> Any: ...  # noqa: ANN401, D102
    def sin(self, x: Any, /) -> Any: ...  # noqa: ANN401, D102
    def sqrt(self, x: Any, /) -> Any: ...  # noqa: ANN401, D102


COST_COUNTS = ("always", "stages", "end")

CostFunction = Callable[[Mapping[str, Any], Mapping[str, Any], Any], Any]
"""Maps (observation columns by name, action columns by name, namespace) to a column of costs."""


_PLAUSIBLE = 10.0
"""How far from the middle of its range a value can be, in halves of the range."""


@dataclass(frozen=True)
class CostTerm:
    """One named, weighted term of the stage cost, written once for ONNX, NumPy and replay.

    Attributes:
        name: Unique within the task.
        weight: Factor in the total; may be changed while the planner runs.
        function: Uses only arithmetic operators and the functions of :class:`Namespace`.
        text: One sentence for people.
        counts: Where along a plan it counts: 'always', at the 'stages' but not at the last state, or only at
            the last state, the 'end'. No action follows the last state: there it is zero.
    """

    name: str
    weight: float
    function: CostFunction
    text: str
    counts: str = "always"

    def __post_init__(self) -> None:
        """Check ``counts``."""
        if self.counts not in COST_COUNTS:
            raise ConfigurationError(
                f"cost term '{self.name}': counts = '{self.counts}', must be one of {', '.join(COST_COUNTS)}"
            )


class Plants(Protocol):
    """Independent plants of one task, stepped together: what training and evaluation act on."""

    @property
    def num_plants(self) -> int:
        """Number of plants."""
        ...

    def reset(self, generators: Sequence[np.random.Generator]) -> Array:
        """Start every plant anew, each with its own generator.

        Returns:
            The first observations. Shape=(num_plants, observation_dim).
        """
        ...

    def step(self, actions: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
        """Apply one action per plant for one control period; failed plants stay where they are.

        Args:
            actions: Physical units. Shape=(num_plants, action_dim).

        Returns:
            Observations as a sensor reports them, Shape=(num_plants, observation_dim), and whether each plant
            has failed (its episode is over), Shape=(num_plants,).
        """
        ...

    def true_observations(self) -> Array:
        """The true states in the observation's coordinates. Shape=(num_plants, observation_dim)."""
        ...

    def close(self) -> None:
        """Release what the simulator holds."""
        ...


class Score(Protocol):
    """Judges one episode from the true states."""

    def update(self, time_s: float, observation: Array, failed: bool) -> None:
        """Take in the true observation at ``time_s`` after the episode's start."""
        ...

    def result(self) -> dict[str, float | bool]:
        """The verdict so far: ``success`` and the task's own figures."""
        ...


VideoRenderer = Callable[[Path, Sequence[RecordedRun], Callable[[float], None]], str]
"""Draws runs side by side into a video file, telling the finished share; returns what drew the pictures.

Raises ValueError where a run lacks what it needs, RuntimeError where nothing draws here."""

PlantFactory = Callable[[str, int, Mapping[str, Scalar]], Plants]
"""Maps (simulator's name, number of plants, settings by name) to plants."""


@dataclass(frozen=True)
class Task:
    """A robot and its job, as the method sees them.

    Attributes:
        name: Entry-point name.
        observation: The observation vector.
        action: The action vector; its ranges are hard limits.
        control_period_s: Time between two actions.
        episode_s: Length of an episode.
        cost_terms: Stage cost, c(x, u) = sum of weight × term.
        alive_reward: Reward per control period is ``alive_reward`` minus the stage cost.
        model_inputs: Names of the observation entries the dynamics depend on (others, for example an absolute
            position, are hidden from the learned model, which then needs fewer data).
        simulators: Names of the simulators, the default first.
        make_plants: Builds plants; see :data:`PlantFactory`.
        make_score: Builds a judge for one episode.
        planner: Names and values of the planner settings that measured best for this task.
        training: The same of the training settings, by ``group.name``.
        training_plants: Plant settings among which the training data are shared out evenly, so that the
            model knows more than the nominal plant; empty for the nominal plant alone.
        bringup: Name of the bring-up that runs the task over ROS, or '' if there is none.
        render_video: Draws recorded runs, or None if the task has no pictures.
        planned_path: Where predicted states of :attr:`planning_problem` take the robot: points in metres relative to
            its base (x forward, y left, z up, the heading of the first state), or in the world where the base is fixed.
            Maps Shape=(num_plans, num_states, planning_dim) to Shape=(num_plans, num_states, 3); None where it has no
            picture of that.
        unit_circles: Pairs of observation names (cosine, sine) that lie on the unit circle.
        planning: What plans decide on where it is not the action itself, or None. Cost terms and ``planner``
            settings are then those of :attr:`planning_problem`.
        reward_function: Maps true observations, Shape=(..., observation_dim), and actions, Shape=(..., action_dim), to
            rewards per control period, Shape=(...), where the reward is not ``alive_reward`` minus the stage cost.
        transition: See :class:`Transition`; None where the model learns the change of each entry.
        planning_ticks: Control periods from an observation to the effect of the plan made from it.
        unmodelled_ticks: How many of these the model itself does not contain: commands on their way, which the
            planner rolls out first.
        offset_entries: See :class:`Planning`.
        scenarios: Named ways of trying a controller out, the default first; see :mod:`demo_control.scenarios`. Empty
            where there is one way only: plants of the chosen settings, judged by ``make_score``.
        policy_training: How the policy is trained where its search does not start from nothing on the nominal plant.
        model_training: How data for ``planning`` are collected, or None if the task has no such model.
    """

    name: str
    observation: tuple[Quantity, ...]
    action: tuple[Quantity, ...]
    control_period_s: float
    episode_s: float
    cost_terms: tuple[CostTerm, ...]
    model_inputs: tuple[str, ...]
    simulators: tuple[str, ...]
    make_plants: PlantFactory
    make_score: Callable[[], Score]
    alive_reward: float = 1.0
    planner: Mapping[str, Scalar] = field(default_factory=dict)
    training: Mapping[str, Scalar] = field(default_factory=dict)
    training_plants: tuple[Mapping[str, Scalar], ...] = ()
    bringup: str = ""
    render_video: VideoRenderer | None = None
    planned_path: Callable[[Array], Array] | None = None
    unit_circles: tuple[tuple[str, str], ...] = ()
    planning: Planning | None = None
    reward_function: Callable[[Array, Array], Array] | None = None
    transition: Transition | None = None
    planning_ticks: int = 1
    unmodelled_ticks: int = 1
    offset_entries: tuple[str, ...] = ()
    scenarios: Mapping[str, ScenarioFactory] = field(default_factory=dict)
    policy_training: PolicyTraining | None = None
    model_training: ModelTraining | None = None

    def __post_init__(self) -> None:
        """Check times, names (those looked up are there, and once), and what data and corrections are made by."""
        if not 0.0 < self.control_period_s <= self.episode_s:
            raise ConfigurationError(
                f"task '{self.name}': control_period_s = {self.control_period_s:g}, must be more than 0 and at most "
                f"episode_s = {self.episode_s:g}"
            )
        for what in ("observation", "action", "cost_terms"):
            names = [entry.name for entry in getattr(self, what)]
            for name in names:
                if names.count(name) > 1:
                    raise ConfigurationError(f"task '{self.name}': {what} has '{name}' twice, must be unique")
        known = [quantity.name for quantity in self.observation]
        circles = [name for pair in self.unit_circles for name in pair]
        looked_up = {"model_inputs": self.model_inputs, "offset_entries": self.offset_entries, "unit_circles": circles}
        for what, wanted in looked_up.items():
            for name in wanted:
                if name not in known:
                    raise ConfigurationError(
                        f"task '{self.name}': {what} names '{name}', must be of the observation: {', '.join(known)}"
                    )
        if self.planning is not None:
            self.planning.check(known, self.action_minimum, self.action_maximum)
            if self.model_training is not None:
                self.model_training.check(len(known), len(self.planning.correction))

    def simulator_or_first(self, name: str) -> str:
        """The simulator of this name; the task's first one where it is ''."""
        return name or self.simulators[0]

    @cached_property
    def planning_problem(self) -> Task:
        """The task as the planner sees it: this one, or the slower one over corrections.

        The observation is then that of ``planning``, followed by the correction that was in force before, and an
        action is a correction. Plants and scores are those of this task.
        """
        planning = self.planning
        if planning is None:
            return self
        by_name = {quantity.name: quantity for quantity in self.observation}
        before = tuple(replace(quantity, name=quantity.name + BEFORE) for quantity in planning.correction)
        return replace(
            self,
            observation=(*(by_name[name] for name in planning.observation), *before),
            action=planning.correction,
            control_period_s=planning.decision_ticks * self.control_period_s,
            model_inputs=planning.model_inputs,
            unit_circles=tuple(pair for pair in self.unit_circles if set(pair) <= set(planning.observation)),
            planning=None,
            reward_function=None,
            transition=planning.transition,
            planning_ticks=planning.planning_ticks,
            unmodelled_ticks=0,
            offset_entries=planning.offset_entries,
        )

    @cached_property
    def plausible_observations(self) -> tuple[Array, Array]:
        """Lowest and highest values that a robot can have been seen with; what lies outside is a broken sensor's.

        Ten times as far from the middle of the range as its ends. Shape=(observation_dim,) each.
        """
        minimum, maximum = (
            np.array([getattr(quantity, end) for quantity in self.observation]) for end in ("minimum", "maximum")
        )
        middle, reach = (minimum + maximum) / 2.0, _PLAUSIBLE * (maximum - minimum) / 2.0
        return middle - reach, middle + reach

    def unusable_observation(self, values: Array) -> str:
        """Why nothing may follow from an observation, or '' where it can be used.

        Args:
            values: As they came.

        Returns:
            'wrong_shape', 'non_finite', or 'implausible': a value that no robot has.
        """
        if reason := unusable(values, self.observation_dim):
            return reason
        lowest, highest = self.plausible_observations
        return "" if ((values >= lowest) & (values <= highest)).all() else "implausible"

    def told_implausible(self, values: Array) -> str:
        """The first entry that is implausible, for people: its name, its value, and what is plausible; or ''."""
        for quantity, value, lowest, highest in zip(
            self.observation, values, *self.plausible_observations, strict=True
        ):
            if not lowest <= value <= highest:
                return f"{quantity.name} = {value:g}, plausible are {lowest:g} to {highest:g} {quantity.unit}"
        return ""

    @property
    def decision_ticks(self) -> int:
        """Control periods between two decisions of a plan."""
        return 1 if self.planning is None else self.planning.decision_ticks

    @property
    def observation_dim(self) -> int:
        """Number of observation entries n."""
        return len(self.observation)

    @property
    def action_dim(self) -> int:
        """Number of action entries m."""
        return len(self.action)

    @property
    def action_minimum(self) -> Array:
        """Lower action limits. Shape=(action_dim,)."""
        return np.array([quantity.minimum for quantity in self.action])

    @property
    def action_maximum(self) -> Array:
        """Upper action limits. Shape=(action_dim,)."""
        return np.array([quantity.maximum for quantity in self.action])

    @property
    def cost_weights(self) -> Array:
        """Weights of the cost terms. Shape=(num_terms,)."""
        return np.array([term.weight for term in self.cost_terms])

    def cost_counts(self, num_states: int) -> Array:
        """1 where a cost term counts along a plan's states, 0 elsewhere. Shape=(num_states, num_terms)."""
        counts = np.ones((num_states, len(self.cost_terms)))
        for index, term in enumerate(self.cost_terms):
            if term.counts == "stages":
                counts[-1, index] = 0.0
            elif term.counts == "end":
                counts[:-1, index] = 0.0
        return counts

    def stage_costs(self, observations: Array, actions: Array) -> Array:
        """Unweighted cost terms of state-action pairs.

        Args:
            observations: Shape=(..., observation_dim).
            actions: Shape=(..., action_dim).

        Returns:
            Shape=(..., num_terms).
        """
        x = columns([q.name for q in self.observation], observations)
        u = columns([q.name for q in self.action], actions)
        terms = np.empty((*observations.shape[:-1], len(self.cost_terms)))
        for index, term in enumerate(self.cost_terms):
            terms[..., index] = term.function(x, u, np)
        return terms

    def reward(self, observations: Array, actions: Array) -> Array:
        """Reward of state-action pairs: ``reward_function``, or ``alive_reward`` minus the stage cost. Shape=(...)."""
        if self.reward_function is not None:
            return self.reward_function(observations, actions)
        return self.alive_reward - self.stage_costs(observations, actions) @ self.cost_weights


def task_names() -> list[str]:
    """Names of the installed tasks, sorted."""
    return sorted({point.name for point in entry_points(group=TASK_GROUP)})


def load_task(name: str) -> Task:
    """Load an installed task by name.

    Raises:
        ConfigurationError: No such task, one that cannot be loaded, or one that has another name itself.
    """
    for point in entry_points(group=TASK_GROUP):
        if point.name == name:
            task = load_plugin(point, Task, is_made=True)
            if task.name != name:
                # Bundles and recordings hold the task's own name, by which it would not be found again.
                raise ConfigurationError(f"task '{name}' ('{point.value}') calls itself '{task.name}': must be equal")
            if not task.simulators:
                raise ConfigurationError(f"task '{name}': simulators = (), at least one is needed")
            return task
    raise ConfigurationError(f"task '{name}' is not installed; installed: {', '.join(task_names()) or 'none'}")
