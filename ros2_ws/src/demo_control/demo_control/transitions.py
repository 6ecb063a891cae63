"""What the networks learn of a task, and how it makes the next observation; see :class:`tasks.Transition`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from demo_control.configuration import ConfigurationError
from demo_control.plugins import in_one_line
from demo_control.tasks import Array, Namespace, Task

_STEP = 1e-4


def num_outputs(task: Task) -> int:
    """Number of quantities that the networks learn."""
    return task.observation_dim if task.transition is None else len(task.transition.outputs)


def learned_outputs(task: Task, x: Array, x_next: Array, u: Array) -> Array:
    """What the networks should say; without a transition, the change of the observation.

    Args:
        task: The planning problem.
        x: Shape=(..., observation_dim).
        x_next: Shape=(..., observation_dim).
        u: Shape=(..., action_dim).

    Returns:
        Shape=(..., num_outputs).

    Raises:
        ConfigurationError: The transition's targets are not one for each of its outputs.
    """
    if task.transition is None:
        return np.asarray(x_next - x)
    flat = [values.reshape(-1, values.shape[-1]) for values in (x, x_next, u)]
    targets, expected = np.asarray(task.transition.targets(*flat)), (len(flat[0]), num_outputs(task))
    if targets.shape != expected:
        raise ConfigurationError(f"task '{task.name}': targets of the shape {targets.shape}, must be {expected}")
    return targets.reshape(*x.shape[:-1], num_outputs(task))


def next_columns(task: Task, x: Sequence[Any], y: Sequence[Any], u: Sequence[Any], xp: Namespace) -> list[Any]:
    """The columns of the next observation, in order.

    Args:
        task: The planning problem; has a transition.
        x: One column per observation entry, of any kind that ``xp`` knows.
        y: One column per learned quantity.
        u: One column per action entry.
        xp: The functions for these columns.

    Raises:
        ConfigurationError: The transition raises an error, or leaves an entry out.
    """
    assert task.transition is not None
    with in_one_line(f"task '{task.name}': its transition"):
        result = task.transition.apply(
            {quantity.name: column for quantity, column in zip(task.observation, x, strict=True)},
            dict(zip(task.transition.outputs, y, strict=True)),
            {quantity.name: column for quantity, column in zip(task.action, u, strict=True)},
            xp,
        )
    missing = [quantity.name for quantity in task.observation if quantity.name not in result]
    if missing:
        raise ConfigurationError(f"task '{task.name}': its transition says nothing of {', '.join(missing)}")
    return [result[quantity.name] for quantity in task.observation]


def next_observations(task: Task, x: Array, y: Array, u: Array) -> Array:
    """The next observations, with NumPy. Shape=(..., observation_dim)."""
    columns = next_columns(task, _columns(x), _columns(y), _columns(u), np)
    return np.stack([np.broadcast_to(column, x.shape[:-1]) for column in columns], axis=-1)


def sensitivities(task: Task) -> Array:
    """How the next observation depends on the learned quantities, in the middle of the observation's ranges.

    Returns:
        ∂x_next/∂y. Shape=(num_outputs, observation_dim).
    """
    count = num_outputs(task)
    if task.transition is None:
        return np.eye(count)
    middle = np.array([(quantity.minimum + quantity.maximum) / 2.0 for quantity in task.observation])
    x, u = np.tile(middle, (count, 1)), np.zeros((count, task.action_dim))
    steps = _STEP * np.eye(count)
    return (next_observations(task, x, steps, u) - next_observations(task, x, -steps, u)) / (2.0 * _STEP)


def learned_entries(task: Task) -> list[int]:
    """Indices of the observation entries that depend on what the networks say."""
    return [int(index) for index in np.flatnonzero(np.abs(sensitivities(task)).max(axis=0))]


def _columns(values: Array) -> list[Array]:
    return [values[..., index] for index in range(values.shape[-1])]
