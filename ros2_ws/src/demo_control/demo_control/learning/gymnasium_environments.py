"""The thesis's benchmark problems: Gymnasium's robots, with what is known of their rewards and terminations.

Observations, rewards, terminations and the law of the starts are those of Gymnasium's version 5 environments (a test
compares them step by step); what is not there is the work around each step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import mujoco
import numpy as np

from demo_control.learning.environments import Booleans, ColumnMargin, Problem, RewardFunction, TerminationFunction
from demo_control.learning.gymnasium_adapter import adapted_problem
from demo_control.learning.mujoco_environments import Motion, MujocoEnvironments, Robot
from demo_control.learning.pendulum_environments import PENDULUM
from demo_control.tasks import Array

_TIME_LIMIT = 1000
_STEEP = 1e6
"""Makes a step of a slope: planners know no comparison."""


def _half_cheetah() -> Problem:
    """Runs; never terminates. The reward takes the mean velocity of a step, the observation has that at its end."""

    def observe(motion: Motion) -> Array:
        return np.concatenate([motion.positions[:, 1:], motion.velocities], axis=-1)

    def judge(before: Motion, after: Motion, actions: Array, period_s: float) -> tuple[Array, Booleans]:
        velocity = (after.positions[:, 0] - before.positions[:, 0]) / period_s
        return velocity - 0.1 * np.square(actions).sum(axis=-1), np.zeros(len(actions), dtype=bool)

    robot = Robot("half_cheetah.xml", 5, 0.1, True, observe, judge)
    joints = ("z", "pitch", "back_thigh", "back_shin", "back_foot", "front_thigh", "front_shin", "front_foot")
    return _problem("HalfCheetah-v5", robot, (*joints, *_velocities("x", *joints)), 6)


def _hopper() -> Problem:
    """Hops until it falls. The reward's velocity is the cheetah's case."""
    lowest, largest_angle, largest = 0.7, 0.2, 100.0

    def observe(motion: Motion) -> Array:
        return np.concatenate([motion.positions[:, 1:], motion.velocities.clip(-10, 10)], axis=-1)

    def healthy(height_and_angle: Array, others: Array) -> Booleans:
        height, angle = height_and_angle[..., 0], height_and_angle[..., 1]
        within = (np.abs(others) < largest).all(axis=-1)
        return np.asarray(within & (height > lowest) & (height < np.inf) & (np.abs(angle) < largest_angle))

    def judge(before: Motion, after: Motion, actions: Array, period_s: float) -> tuple[Array, Booleans]:
        velocity = (after.positions[:, 0] - before.positions[:, 0]) / period_s
        alive = healthy(after.positions[:, 1:3], np.concatenate([after.positions[:, 2:], after.velocities], axis=-1))
        return velocity + alive - 1e-3 * np.square(actions).sum(axis=-1), ~alive

    def terminated(observations: Array) -> Booleans:
        """Exact as long as no velocity exceeds 100: there Gymnasium ends, and the observation shows 10."""
        return np.asarray(~healthy(observations[..., :2], observations[..., 1:]))

    def margin(x: Sequence[Any], xp: Any) -> Any:  # noqa: ANN401 - columns of any kind
        """Height and angle only: nothing else gets out of its range before them."""
        return xp.minimum(x[0] - lowest, largest_angle - xp.abs(x[1]))

    robot = Robot("hopper.xml", 4, 5e-3, False, observe, judge)
    joints = ("z", "pitch", "thigh", "leg", "foot")
    return _problem("Hopper-v5", robot, (*joints, *_velocities("x", *joints)), 3, terminated=terminated, margin=margin)


def _inverted_double_pendulum() -> Problem:
    """Balances two poles on a cart."""
    length, fallen = 0.6, 1.0

    def observe(motion: Motion) -> Array:
        angles = motion.positions[:, 1:]
        force = motion.derived[:, 2:].clip(-10, 10)
        velocities = motion.velocities.clip(-10, 10)
        return np.concatenate([motion.positions[:, :1], np.sin(angles), np.cos(angles), velocities, force], axis=-1)

    def rewarded(x: Array, y: Array, velocities: Array) -> Array:
        distance = 0.01 * x**2 + (y - 2) ** 2
        motion = 1e-3 * velocities[..., 0] ** 2 + 5e-3 * velocities[..., 1] ** 2
        return np.asarray(10.0 * (y > fallen) - distance - motion)

    def judge(_: Motion, after: Motion, __: Array, ___: float) -> tuple[Array, Booleans]:
        x, y = after.derived[:, 0], after.derived[:, 1]
        return rewarded(x, y, after.velocities[:, 1:]), ~(y > fallen)

    def tip(observations: Array) -> tuple[Array, Array]:
        cart, sine_1, sine_2, cosine_1, cosine_2 = (observations[..., i] for i in range(5))
        sine, cosine = sine_1 * cosine_2 + cosine_1 * sine_2, cosine_1 * cosine_2 - sine_1 * sine_2
        return cart + length * (sine_1 + sine), length * (cosine_1 + cosine)

    def terminated(observations: Array) -> Booleans:
        """Gymnasium takes the tip of the simulator's last inner evaluation, which is less than 1 mm away."""
        return np.asarray(~(tip(observations)[1] > fallen))

    def reward(_: Array, __: Array, next_observations: Array) -> Array:
        """As exact as :func:`terminated`; velocities beyond 10 appear as 10."""
        return rewarded(*tip(next_observations), next_observations[..., 6:8])

    def column_tip(x: Sequence[Any]) -> tuple[Any, Any]:
        sine, cosine = x[1] * x[4] + x[3] * x[2], x[3] * x[4] - x[1] * x[2]
        return x[0] + length * (x[1] + sine), length * (x[3] + cosine)

    def column_reward(_: Sequence[Any], __: Sequence[Any], following: Sequence[Any], xp: Any) -> Any:  # noqa: ANN401
        x, y = column_tip(following)
        standing = xp.minimum(xp.maximum((y - fallen) * _STEEP, 0.0), 1.0)
        return 10.0 * standing - 0.01 * x**2 - (y - 2.0) ** 2 - 1e-3 * following[6] ** 2 - 5e-3 * following[7] ** 2

    def margin(x: Sequence[Any], _: Any) -> Any:  # noqa: ANN401 - columns of any kind
        return column_tip(x)[1] - fallen

    def derived(data: mujoco.MjData) -> list[Array]:
        return [data.site_xpos[0, ::2], data.qfrc_constraint[:1]]

    robot = Robot("inverted_double_pendulum.xml", 5, 0.1, True, observe, judge, derived)
    names = ("x", "sine_1", "sine_2", "cosine_1", "cosine_2", *_velocities("x", "angle_1", "angle_2"), "rail_force")
    # The rail's force is 0 until the cart hits the end of the rail, then beyond its limit of 10: nothing to learn from,
    # but standardised by its tiny deviation it would swamp all else.
    return replace(
        _problem("InvertedDoublePendulum-v5", robot, names, 1, ("rail_force",), reward, terminated, margin),
        column_reward=column_reward,
    )


def _ant() -> Problem:
    """Walks on four legs until it falls or jumps. Contact forces are left out of the observation, as MBPO has it."""
    lowest, highest = 0.2, 1.0

    def observe(motion: Motion) -> Array:
        return np.concatenate([motion.positions[:, 2:], motion.velocities], axis=-1)

    def healthy(height: Array, others: Array) -> Booleans:
        return np.asarray(np.isfinite(others).all(axis=-1) & (height >= lowest) & (height <= highest))

    def judge(before: Motion, after: Motion, actions: Array, period_s: float) -> tuple[Array, Booleans]:
        velocity = (after.derived[:, 0] - before.derived[:, 0]) / period_s
        alive = healthy(after.positions[:, 2], np.concatenate([after.positions, after.velocities], axis=-1))
        cost = 0.5 * np.square(actions).sum(axis=-1)
        contact_cost = 5e-4 * np.square(after.derived[:, 1:].clip(-1, 1)).sum(axis=-1)
        return velocity + alive - (cost + contact_cost), ~alive

    def terminated(observations: Array) -> Booleans:
        """Exact."""
        return np.asarray(~healthy(observations[..., 0], observations))

    def margin(x: Sequence[Any], xp: Any) -> Any:  # noqa: ANN401 - columns of any kind
        return xp.minimum(x[0] - lowest, highest - x[0])

    def derived(data: mujoco.MjData) -> list[Array]:
        return [data.xpos[1, :1], data.cfrc_ext]

    robot = Robot("ant.xml", 5, 0.1, True, observe, judge, derived, contact_forces=True)
    joints = tuple(f"{joint}_{leg}" for leg in range(1, 5) for joint in ("hip", "ankle"))
    velocities = _velocities("x", "y", "z", "roll", "pitch", "yaw", *joints)
    names = ("z", "quaternion_w", "quaternion_x", "quaternion_y", "quaternion_z", *joints, *velocities)
    return _problem("Ant-v5", robot, names, 8, terminated=terminated, margin=margin)


def _velocities(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}_velocity" for name in names)


def _problem(
    name: str,
    robot: Robot,
    observation_names: tuple[str, ...],
    action_dim: int,
    hidden: tuple[str, ...] = (),
    reward: RewardFunction | None = None,
    terminated: TerminationFunction | None = None,
    margin: ColumnMargin | None = None,
) -> Problem:
    return Problem(
        name=name,
        observation_names=observation_names,
        action_minimum=-np.ones(action_dim),
        action_maximum=np.ones(action_dim),
        time_limit=_TIME_LIMIT,
        make=lambda num_environments: MujocoEnvironments(robot, _TIME_LIMIT, num_environments),
        model_inputs=np.array([entry not in hidden for entry in observation_names]),
        reward=reward,
        terminated=terminated,
        column_margin=margin,
    )


GYMNASIUM_PROBLEMS = {
    problem.name: problem for problem in (_half_cheetah(), _hopper(), _inverted_double_pendulum(), _ant(), PENDULUM)
}
"""Problems by Gymnasium's name."""


def gymnasium_problem(name: str) -> Problem:
    """One of :data:`GYMNASIUM_PROBLEMS`, or any environment that ``gymnasium.make`` knows.

    Args:
        name: For example 'Hopper-v5', 'Walker2d-v5', or 'stoch2_sim.envs:Stoch2Walk-v0' (the module that registers it
            before the colon).

    Raises:
        ConfigurationError: There is none of that name, or its observations or actions are no vectors of numbers.
    """
    return GYMNASIUM_PROBLEMS.get(name) or adapted_problem(name)
