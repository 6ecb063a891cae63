"""A bundle's model asked for many states at once: what each member says, and how far it expects to be wrong."""

from __future__ import annotations

import numpy as np

from demo_control.bundle import Bundle
from demo_control.onnx_graph import make_session
from demo_control.quantities import columns
from demo_control.tasks import Array, Task

_SMALLEST_NORM = 1e-6


class Model:
    """The dynamics of a bundle.

    Args:
        task: The planning problem.
        bundle: Must fit it.
    """

    def __init__(self, task: Task, bundle: Bundle) -> None:
        self._task = task
        self._session = make_session(bundle.dynamics)
        self.members = bundle.contract.members

    def predict(self, observations: Array, controls: Array) -> tuple[Array, Array]:
        """One step.

        Args:
            observations: Shape=(members, rows, observation_dim).
            controls: Shape=(members, rows, action_dim).

        Returns:
            The next observations, Shape=(members, rows, observation_dim), and the variances of what was learned,
            Shape=(members, rows, num_outputs).
        """
        feeds = {"observation": observations.astype(np.float32), "action": controls.astype(np.float32)}
        following, log_variance = self._session.run(["next_observation", "log_variance"], feeds)
        return following.astype(np.float64), np.exp(log_variance.astype(np.float64))

    def effect(self, observations: Array, following: Array, outputs: Array, controls: Array) -> Array:
        """What the next observation becomes where the learned quantities turn out otherwise by ``outputs``.

        Args:
            observations: Where the step began. Shape=(..., observation_dim).
            following: What was predicted. Shape=(..., observation_dim).
            outputs: Differences of the learned quantities. Shape=(..., num_outputs).
            controls: Shape=(..., action_dim).

        Returns:
            Shape=(..., observation_dim).
        """
        if self._task.transition is None:
            return self._on_circles(following + outputs)
        # Transitions are affine in what is learned: known parts of the dynamics around it.
        changed = self._applied(observations, outputs, controls) - self._applied(observations, 0.0 * outputs, controls)
        return np.asarray(following + changed)

    def variance(self, observations: Array, variances: Array, controls: Array) -> Array:
        """Variances of the next observation's entries that follow from those of what was learned.

        Args:
            observations: Shape=(..., observation_dim).
            variances: Shape=(..., num_outputs).
            controls: Shape=(..., action_dim).

        Returns:
            Shape=(..., observation_dim).
        """
        if self._task.transition is None:
            return variances
        total = np.zeros(observations.shape)
        rest = self._applied(observations, np.zeros_like(variances), controls)
        for index in range(variances.shape[-1]):
            one = np.zeros_like(variances)
            one[..., index] = 1.0
            total += np.square(self._applied(observations, one, controls) - rest) * variances[..., index : index + 1]
        return total

    def learned_entries(self) -> list[int]:
        """Observation entries that depend on what was learned; the others are known (clocks, commands)."""
        task = self._task
        if task.transition is None:
            return list(range(task.observation_dim))
        middle = np.array([[(q.minimum + q.maximum) / 2.0 for q in task.observation]])
        ones = np.ones((1, len(task.transition.outputs)))
        effects = self.variance(middle, ones, np.zeros((1, task.action_dim)))[0]
        return [int(index) for index in np.flatnonzero(effects)]

    def _applied(self, observations: Array, outputs: Array, controls: Array) -> Array:
        transition = self._task.transition
        assert transition is not None
        following = transition.apply(
            columns([q.name for q in self._task.observation], observations),
            columns(transition.outputs, outputs),
            columns([q.name for q in self._task.action], controls),
            np,
        )
        entries = [np.broadcast_to(following[q.name], observations.shape[:-1]) for q in self._task.observation]
        return np.stack(entries, axis=-1)

    def _on_circles(self, observations: Array) -> Array:
        """Each pair of cosine and sine divided by its length."""
        names = [quantity.name for quantity in self._task.observation]
        for pair in self._task.unit_circles:
            entries = [names.index(name) for name in pair]
            norm = np.linalg.norm(observations[..., entries], axis=-1, keepdims=True)
            observations[..., entries] /= np.maximum(norm, _SMALLEST_NORM)
        return observations
