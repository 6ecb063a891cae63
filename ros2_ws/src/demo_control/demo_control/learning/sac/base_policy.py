"""What a network's actions are added to: the policy that a task's search starts from, where it has one.

A network that starts from nothing has to find a gait first; one that starts as a copy of a policy loses it as soon as
its critics, who have seen nothing else, are wrong about other actions. Added to the policy within bounds, random
actions cover from the beginning all that the network will ever do (residual policy learning: T. Silver et al.,
arXiv:1812.06298; T. Johannink et al., ICRA 2019).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from demo_control.tasks import Array, Task


@dataclass(frozen=True)
class BasePolicy:
    """u = clip(M x + share · v, −1, 1), v being the network's answer, −1 to 1.

    Attributes:
        weights: M, in units of the normalised action; None: nothing, and the network has the whole range.
            Shape=(action_dim, observation_dim).
        residual_share: Of half the action range, for the network.
    """

    weights: Array | None
    residual_share: float

    @classmethod
    def of_task(cls, task: Task, simulator: str, residual_share: float) -> BasePolicy:
        """The policy that the task's search starts from, or none.

        Args:
            task: The task.
            simulator: Name of the simulator.
            residual_share: For the network, if there is one.
        """
        spec = task.policy_training
        return cls(None, 1.0) if spec is None else cls(spec.initial_weights(simulator), residual_share)

    def share(self, observations: npt.NDArray[np.floating], answers: npt.NDArray[np.floating]) -> Array:
        """Actions between -1 and 1.

        Args:
            observations: Shape=(batch, observation_dim).
            answers: The network's. Shape=(batch, action_dim).

        Returns:
            Shape=(batch, action_dim).
        """
        if self.weights is None:
            return np.asarray(answers, dtype=float)
        return np.asarray(np.clip(observations @ self.weights.T + self.residual_share * answers, -1.0, 1.0))
