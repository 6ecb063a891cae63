"""What a robot brings along: a :class:`Task` says all that the method must know of it.

Tasks are plug-ins: a package declares an entry point of the group ``demo_control.tasks`` whose name is the
task's and whose value is a function without arguments that returns the :class:`Task`. Nothing in
demo_control names a robot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from demo_control.configuration import ConfigurationError, Scalar

Array = npt.NDArray[np.float64]

TASK_GROUP = "demo_control.tasks"


@dataclass(frozen=True)
class Quantity:
    """One scalar of an observation or action vector.

    Attributes:
        name: Unique within its vector.
        unit: SI unit, '1' for none.
        minimum: Lower end of the range the robot works in (actions: the hard limit), in ``unit``.
        maximum: Upper end, in ``unit``.
    """

    name: str
    unit: str
    minimum: float
    maximum: float

    def __post_init__(self) -> None:
        """Check the range."""
        if not (np.isfinite([self.minimum, self.maximum]).all() and self.minimum < self.maximum):
            raise ConfigurationError(
                f"quantity '{self.name}': range [{self.minimum}, {self.maximum}] must be finite and not empty"
            )


class Namespace(Protocol):
    """The functions a cost term may use; NumPy is one, the ONNX graph builder another."""

    def abs(self, x: Any, /) -> Any: ...  # noqa: ANN401, D102
    def cos(self, x: Any, /) -> Any: ...  # noqa: ANN401, D102
    def exp(self, x: Any, /) -> Any: ...  # noqa: ANN401, D102
    def maximum(self, x: Any, y: Any, /) -> Any: ...  # noqa: ANN401, D102
    def minimum(self, x: Any, y: Any, /) -> Any: ...  # noqa: ANN401, D102
    def sin(self, x: Any, /) -> Any: ...  # noqa: ANN401, D102
    def sqrt(self, x: Any, /) -> Any: ...  # noqa: ANN401, D102


CostFunction = Callable[[Mapping[str, Any], Mapping[str, Any], Any], Any]
"""Maps (observation columns by name, action columns by name, namespace) to a column of costs."""


@dataclass(frozen=True)
class CostTerm:
    """One named, weighted term of the stage cost, written once for ONNX, NumPy and replay.

    Attributes:
        name: Unique within the task.
        weight: Factor in the total; may be changed while the planner runs.
        function: Uses only arithmetic operators and the functions of :class:`Namespace`.
        text: One sentence for people.
    """

    name: str
    weight: float
    function: CostFunction
    text: str


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


@dataclass(frozen=True)
class RecordedRun:
    """True states of one run, for pictures.

    Attributes:
        label: Who was in control.
        times_s: Since the start, rising. Shape=(num_samples,).
        observations: Shape=(num_samples, observation_dim).
    """

    label: str
    times_s: Array
    observations: Array


VideoRenderer = Callable[[Path, Sequence[RecordedRun], Callable[[float], None]], str]
"""Draws runs side by side into a video file, telling the finished share; returns what drew the pictures."""

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
        unit_circles: Pairs of observation names (cosine, sine) that lie on the unit circle.
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
    unit_circles: tuple[tuple[str, str], ...] = ()

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

    def stage_costs(self, observations: Array, actions: Array) -> Array:
        """Unweighted cost terms of state-action pairs.

        Args:
            observations: Shape=(..., observation_dim).
            actions: Shape=(..., action_dim).

        Returns:
            Shape=(..., num_terms).
        """
        x = {q.name: observations[..., i] for i, q in enumerate(self.observation)}
        u = {q.name: actions[..., i] for i, q in enumerate(self.action)}
        columns = [np.broadcast_to(t.function(x, u, np), observations.shape[:-1]) for t in self.cost_terms]
        return np.stack(columns, axis=-1).astype(float)

    def reward(self, observations: Array, actions: Array) -> Array:
        """Reward of state-action pairs: ``alive_reward`` minus the stage cost. Shape=(...)."""
        return self.alive_reward - self.stage_costs(observations, actions) @ self.cost_weights


def task_names() -> list[str]:
    """Names of the installed tasks, sorted."""
    return sorted({point.name for point in entry_points(group=TASK_GROUP)})


def load_task(name: str) -> Task:
    """Load an installed task by name.

    Raises:
        ConfigurationError: No such task.
    """
    for point in entry_points(group=TASK_GROUP):
        if point.name == name:
            task: Task = point.load()()
            return task
    raise ConfigurationError(f"task '{name}' is not installed; installed: {', '.join(task_names()) or 'none'}")
