"""The protocol behind which control sequences are evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class RolloutShape:
    """What kind of rollouts an engine makes.

    Attributes:
        horizon: Number of steps H.
        average_members: True: one trajectory per row that follows the mean of the ensemble's predictions.
            False: every row belongs to one member and follows it.
        with_policy: True: rows may follow the policy (``feedback``), and its actions are reported.
        with_trajectory: True: states and every member's predictions are reported.
        with_controls: True: what was applied is reported. Without policy that is what was asked for, clipped, and who
            has no use for it need not wait until it is written.
    """

    horizon: int
    average_members: bool
    with_policy: bool
    with_trajectory: bool
    with_controls: bool = True


@dataclass(frozen=True)
class Rollouts:
    """Results of rollouts; ``lanes`` is 1 where members are averaged and num_members elsewhere.

    Attributes:
        term_costs: Unweighted cost terms, summed over the steps with the step weights.
            Shape=(lanes, rows, num_terms).
        controls: What was applied, after clipping, or None. Shape=(horizon, lanes, rows, action_dim).
        policy_actions: π_θ(x_h) along the way, or None. Shape=(horizon, lanes, rows, action_dim).
        observations: x_0 … x_H, or None. Shape=(horizon + 1, lanes, rows, observation_dim).
        predictions: What each member predicted from x_h, or None.
            Shape=(horizon, num_members, rows, observation_dim).
    """

    term_costs: Floats
    controls: Floats | None = None
    policy_actions: Floats | None = None
    observations: Floats | None = None
    predictions: Floats | None = None


class RolloutEngine(Protocol):
    """Evaluates many control sequences on a model.

    Attributes:
        shape: What kind of rollouts this engine makes.
        num_members: Ensemble members K of the model.
        num_terms: Number of cost terms reported.
    """

    @property
    def shape(self) -> RolloutShape:
        """See the class."""
        ...

    @property
    def num_members(self) -> int:
        """See the class."""
        ...

    @property
    def num_terms(self) -> int:
        """See the class."""
        ...

    def roll_out(
        self,
        observations: Floats,
        controls: Floats,
        feedback: Floats | None,
        step_weights: Floats,
        change_scale: Floats,
        change_offset: Floats,
    ) -> Rollouts:
        """Apply u_h = clip(controls_h + feedback_h · π_θ(x_h)) and sum the costs.

        The model's step is x_{h+1} = x_h + change_scale · (f_φ(x_h, u_h) − x_h) + change_offset. Lanes and rows may be
        1 where they are the same for all, but for the rows of the controls, which say how many there are.

        Args:
            observations: Start of each row. Shape=(lanes, rows, observation_dim).
            controls: Physical units. Shape=(horizon, lanes, rows, action_dim).
            feedback: 1 where the policy is added, 0 elsewhere; None for an engine without policy.
                Shape=(horizon, lanes, rows, 1).
            step_weights: Weight of the stage cost of steps 0 … H; the last one is the terminal weight, where
                the action counts as zero. Shape=(horizon + 1,).
            change_scale: Factor on the change that the model predicts, 1 for the model as it was trained.
                Shape=(rows, observation_dim).
            change_offset: Added to that change, 0 for the model as it was trained. Shape=(rows, observation_dim).
        """
        ...
