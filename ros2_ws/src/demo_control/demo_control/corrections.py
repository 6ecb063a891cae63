"""Plans of corrections: what a task says where its plans do not decide on the action itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from demo_control.configuration import ConfigurationError
from demo_control.plugins import in_one_line
from demo_control.quantities import Array, Quantity

BEFORE = "_before"
"""Suffix of the planning observation's entries that hold the correction in force until the plan takes effect."""

_UNCHANGED = 1e-6
"""Of an action's range: what is nearer than that is the same action, rounded."""

_ROBOTS = 3
"""Actions that a map is tried with: several, as it is asked for those of many robots in one call."""


class CorrectionMap(Protocol):
    """How a correction changes an action; a correction of zero must leave every action as it is."""

    @property
    def name(self) -> str:
        """Stands in the bundle: a model belongs to one map, and equal names mean equal maps."""
        ...

    def __call__(self, actions: Array, corrections: Array) -> Array:
        """Corrected actions, before they are clipped to the limits.

        Args:
            actions: The policy's, within the limits. Shape=(batch, action_dim).
            corrections: Shape=(batch, correction_dim).

        Returns:
            Shape=(batch, action_dim).
        """
        ...


@dataclass(frozen=True)
class LinearCorrection:
    """u + B c.

    Attributes:
        basis: B, the action that each entry of c adds. Shape=(action_dim, correction_dim).
    """

    basis: Array

    @property
    def name(self) -> str:
        """See :class:`CorrectionMap`."""
        return f"linear {json.dumps(self.basis.tolist())}"

    def __call__(self, actions: Array, corrections: Array) -> Array:
        """See :class:`CorrectionMap`."""
        corrected: Array = actions + corrections @ self.basis.T
        return corrected


@dataclass(frozen=True)
class Transition:
    """How what the model learns makes the next observation, where it is not simply the change of each entry.

    Known parts of the dynamics (a clock's phase, a command that stays, an error that integrates a velocity) need no
    learning: they are written down here once, for NumPy and for the ONNX graph alike.

    Attributes:
        outputs: Names of the learned quantities y.
        targets: What y would have been, from two observations that follow one another: maps (x, x_next, u),
            each Shape=(batch, ·), to Shape=(batch, num_outputs). NumPy.
        apply: Maps (columns of x, columns of y, columns of u, namespace) to the columns of the next observation,
            all by name; see :data:`CostFunction` for what it may use.
    """

    outputs: tuple[str, ...]
    targets: Callable[[Array, Array, Array], Array]
    apply: Callable[[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any], Any], Mapping[str, Any]]


@dataclass(frozen=True)
class Planning:
    """What plans decide on where it is not the action itself: a correction of the policy, held over several ticks.

    The policy acts at every tick; the layer changes its action by the correction c, chosen every ``decision_ticks``.
    The model is then that of the closed loop with the policy inside: (x, c before, c) → x after ``decision_ticks``.

    Attributes:
        observation: Names of the observation entries that the model works on.
        correction: The correction vector c; its ranges are hard limits and contain zero, which is the policy alone.
        correct: How a correction changes an action.
        decision_ticks: Control periods that one correction is held, and that one step of the model spans.
        planning_ticks: Control periods from the observation that a plan is made from to the tick at which it takes
            effect, less than ``decision_ticks``. Until then the correction before stays; the model knows of it.
        model_inputs: Names of the planning problem's observation entries that the network sees (besides c).
        transition: How what the network learns makes the next observation.
        offset_entries: Names of the observation entries whose prediction is corrected by an estimated offset.
    """

    observation: tuple[str, ...]
    correction: tuple[Quantity, ...]
    correct: CorrectionMap
    decision_ticks: int
    planning_ticks: int
    model_inputs: tuple[str, ...]
    transition: Transition
    offset_entries: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check times and limits."""
        if not 1 <= self.planning_ticks < self.decision_ticks:
            raise ConfigurationError(
                f"planning: planning_ticks = {self.planning_ticks}, must be in [1, {self.decision_ticks - 1}]"
            )
        for quantity in self.correction:
            if not quantity.minimum <= 0.0 <= quantity.maximum:
                raise ConfigurationError(f"planning: the range of '{quantity.name}' must contain 0, the policy alone")

    def check(self, observation: Sequence[str], minimum: Array, maximum: Array) -> None:
        """Check what needs the task: names, and that a correction of zero is the policy alone.

        Args:
            observation: Names of the task's observation entries.
            minimum: Lower limits of the action. Shape=(action_dim,).
            maximum: Upper limits of the action. Shape=(action_dim,).

        Raises:
            ConfigurationError: An unknown name, or a map that does not do what :class:`CorrectionMap` says.
        """
        for name in self.observation:
            if name not in observation:
                raise ConfigurationError(
                    f"planning: observation names '{name}', must be of the task's: {', '.join(observation)}"
                )
        # The middle alone: at an end of its range an action may mean the same as another one.
        actions = np.tile((minimum + maximum) / 2.0, (_ROBOTS, 1))
        with in_one_line("planning: correct"):
            corrected = self.correct(actions, np.zeros((len(actions), len(self.correction))))
        if corrected.shape != actions.shape:
            raise ConfigurationError(
                f"planning: correct: actions of the shape {actions.shape} become {corrected.shape}, must stay"
            )
        if not np.allclose(corrected, actions, rtol=0.0, atol=_UNCHANGED * (maximum - minimum)):
            raise ConfigurationError("planning: correct: a correction of zero must leave every action as it is")
