"""Environments of reinforcement learning: what a learner asks of a batch of them, and what is known about one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from demo_control.tasks import Array

Booleans = npt.NDArray[np.bool_]
Indices = Sequence[int] | npt.NDArray[np.intp]

RewardFunction = Callable[[Array, Array, Array], Array]
"""Maps (observations, actions, next observations), Shape=(..., dim) each, to rewards, Shape=(...)."""

ColumnReward = Callable[[Sequence[Any], Sequence[Any], Sequence[Any], Any], Any]
"""Maps columns of (observation, action, next observation) and a namespace to a column of rewards; see
:class:`demo_control.tasks.Namespace` for what it may use. Planners draw their graph with it."""

ColumnMargin = Callable[[Sequence[Any], Any], Any]
"""Maps columns of the observation and a namespace to a column that is positive while the episode goes on."""

TerminationFunction = Callable[[Array], Booleans]
"""Maps the observations after a step, Shape=(..., observation_dim), to whether the episode ended there, Shape=(...)."""


@dataclass(frozen=True)
class Step:
    """What came of one step of k environments.

    Attributes:
        observations: After the step, also of an episode that just ended. Shape=(k, observation_dim).
        rewards: Shape=(k,).
        terminated: The episode ended for good: nothing follows, the value of the state is 0. Shape=(k,).
        truncated: The time limit is reached. Shape=(k,).
    """

    observations: Array
    rewards: Array
    terminated: Booleans
    truncated: Booleans

    @property
    def ended(self) -> Booleans:
        """Whether the episode is over, for either reason. Shape=(k,)."""
        return np.asarray(self.terminated | self.truncated)


class SteppedEnvironments(Protocol):
    """Independent environments of one kind in one process, stepped together. Nothing is reset by itself."""

    @property
    def num_environments(self) -> int:
        """How many there are."""
        ...

    def reset(self, generators: Sequence[np.random.Generator]) -> Array:
        """Start every environment anew, each with its own generator; first observations. Shape=(B, n)."""
        ...

    def step(self, actions: Array) -> Step:
        """One action for each environment. Shape=(B, m), physical units.

        Actions are taken as they are; keep them within the problem's range, as a Gymnasium environment asks, too.
        """
        ...

    def step_some(self, indices: Indices, actions: Array) -> Step:
        """The same for the environments numbered so; the others stay where they are. Shape=(k, m)."""
        ...

    def close(self) -> None:
        """Release what the simulator holds."""
        ...


class Environments(SteppedEnvironments, Protocol):
    """Environments that can also be started one by one, and be put back to where they were."""

    def reset_some(self, indices: Indices, generators: Sequence[np.random.Generator]) -> Array:
        """As :meth:`reset` for the environments numbered so, which come in that order. Shape=(k, n)."""
        ...

    def observations(self) -> Array:
        """Of the states they are in. Shape=(B, n)."""
        ...

    def states(self) -> Array:
        """All that decides what follows, and how much of the time is over. Shape=(B, problem-dependent)."""
        ...

    def set_states(self, states: Array) -> None:
        """Go on from :meth:`states` of any environments of this kind, bit for bit. Shape=(B, as there)."""
        ...


class History(Protocol):
    """The states at the beginning of each of the steps that one environment has taken, first to last."""

    def __len__(self) -> int:
        """Steps that are remembered."""
        ...

    def add(self, action: Array) -> None:
        """Remember the state that the environment is in, before it takes this action. Shape=(action_dim,)."""
        ...

    def states(self, indices: Indices) -> Array:
        """What :meth:`Environments.states` was at the beginning of these steps. Shape=(k, as there)."""
        ...

    def rows(self) -> Array:
        """All that is remembered, for a checkpoint. Shape=(len(self), problem-dependent)."""
        ...

    def restore(self, rows: Array) -> None:
        """Go on from :meth:`rows`.

        Raises:
            ValueError: They are of another problem.
        """
        ...


class StateRows:
    """A :class:`History` that keeps every state as it is.

    Args:
        environments: One environment.
    """

    def __init__(self, environments: Environments) -> None:
        self._environments, self._rows = environments, list[Array]()

    def __len__(self) -> int:
        """See the protocol."""
        return len(self._rows)

    def add(self, action: Array) -> None:
        """See the protocol."""
        self._rows.append(self._environments.states()[0])

    def states(self, indices: Indices) -> Array:
        """See the protocol."""
        return np.stack([self._rows[index] for index in indices])

    def rows(self) -> Array:
        """See the protocol."""
        return np.array(self._rows)

    def restore(self, rows: Array) -> None:
        """See the protocol."""
        width = self._environments.states().shape[1]
        if len(rows) and rows.shape[1:] != (width,):
            raise ValueError(f"states of shape {rows.shape[1:]} where {(width,)} is expected")
        self._rows = list(rows)


@dataclass(frozen=True)
class EpisodicProblem:
    """What a learner must know that learns from episodes alone.

    Attributes:
        name: Gymnasium's, or the task's.
        observation_names: Of the observation's entries.
        action_minimum: Shape=(action_dim,).
        action_maximum: Shape=(action_dim,).
        time_limit: Steps after which an episode is truncated.
        make: Builds this many environments.
    """

    name: str
    observation_names: tuple[str, ...]
    action_minimum: Array
    action_maximum: Array
    time_limit: int
    make: Callable[[int], SteppedEnvironments]

    @property
    def observation_dim(self) -> int:
        """Length of an observation, n."""
        return len(self.observation_names)

    @property
    def action_dim(self) -> int:
        """Length of an action, m."""
        return len(self.action_minimum)

    def actions(self, shares: npt.NDArray[np.floating]) -> Array:
        """Physical units of what a policy says between -1 and 1. Shape=(..., action_dim)."""
        half, middle = self._half_range_and_middle()
        return np.asarray(middle + half * shares)

    def shares(self, actions: Array) -> Array:
        """The inverse of :meth:`actions`."""
        half, middle = self._half_range_and_middle()
        return np.asarray((actions - middle) / half)

    def _half_range_and_middle(self) -> tuple[Array, Array]:
        low, high = self.action_minimum, self.action_maximum
        return (high - low) / 2.0, (high + low) / 2.0


@dataclass(frozen=True)
class Problem(EpisodicProblem):
    """A reinforcement learning problem of which is known what learners with a model need.

    Attributes:
        make: Builds this many environments.
        model_inputs: Whether a learned model sees (and predicts) the entry; others are hidden from it. Shape=(n,).
        reward: The reward where it is a function of what is observed, else None: it must be learned. Where the function
            is not exact its documentation says so.
        terminated: Whether an episode ends; None: never.
        column_reward: :attr:`reward` in the form that planners need; None: it must be learned.
        column_margin: :attr:`terminated` in that form, not positive where an episode ends; None: it never does.
        history: Makes the memory of the states of one of its environments.
    """

    make: Callable[[int], Environments]
    model_inputs: Booleans
    reward: RewardFunction | None = None
    terminated: TerminationFunction | None = None
    column_reward: ColumnReward | None = None
    column_margin: ColumnMargin | None = None
    history: Callable[[Any], History] = StateRows

    @property
    def reward_known(self) -> bool:
        """Whether :attr:`reward` need not be learned."""
        return self.reward is not None

    def is_terminated(self, observations: Array) -> Booleans:
        """Whether episodes end with these observations, Shape=(..., observation_dim). Shape=(...)."""
        if self.terminated is None:
            return np.zeros(observations.shape[:-1], dtype=bool)
        return self.terminated(observations)
