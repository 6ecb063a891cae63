"""The paper's reward of one control period: upright on the ground, straight ahead, at the right height, and forward."""

from __future__ import annotations

import numpy as np

from stoch2_sim.robots.stoch2.geometry import CONTROL_PERIOD_S
from stoch2_sim.robots.stoch2.observation import INDEX
from stoch2_sim.simulators.protocol import Array

WALKING_HEIGHT_M = 0.243
_ANGLE_SHARPNESS, _YAW_SHARPNESS, _HEIGHT_SHARPNESS, _PROGRESS_WEIGHT = 45.0, 35.0, 800.0, 100.0


def paper_terms(angle_errors: Array, yaw: Array, height_error: Array, progress: Array) -> Array:
    """The five terms of the reward: roll, pitch, yaw, height and progress.

    Source: the environment of StochLab/SlopedTerrainLinearPolicy.

    Args:
        angle_errors: Roll and pitch minus those of the ground, rad. Shape=(..., 2).
        yaw: Rad. Shape=(...).
        height_error: Vertical, m. Shape=(...).
        progress: Way made in the control period along the direction to walk in, m. Shape=(...).

    Returns:
        Shape=(..., 5).
    """
    posture = np.exp(-_ANGLE_SHARPNESS * angle_errors**2)
    heading = np.exp(-_YAW_SHARPNESS * yaw**2)
    height = np.exp(-_HEIGHT_SHARPNESS * height_error**2)
    return np.stack([posture[..., 0], posture[..., 1], heading, height, _PROGRESS_WEIGHT * progress], axis=-1)


def observation_terms(observations: Array, progress: Array) -> Array:
    """The terms of true observations.

    Args:
        observations: Shape=(..., 25).
        progress: See :func:`paper_terms`. Shape=(...).

    Returns:
        Shape=(..., 5).
    """
    x = {name: observations[..., index] for name, index in INDEX.items()}
    angle_errors = np.stack([x["roll"] - x["support_roll"], x["pitch"] - x["support_pitch"]], axis=-1)
    # The paper measures the height along the vertical, the observation across the ground.
    upright = np.cos(x["support_roll"]) * np.cos(x["support_pitch"])
    return paper_terms(angle_errors, x["yaw_error"], (x["height"] - WALKING_HEIGHT_M) / upright, progress)


def observation_reward(observations: Array, _actions: Array) -> Array:
    """The reward of true observations; see :attr:`demo_control.tasks.Task.reward_function`.

    Args:
        observations: Shape=(..., 25).
        _actions: Not rewarded. Shape=(..., 20).

    Returns:
        Shape=(...).
    """
    x = {name: observations[..., index] for name, index in INDEX.items()}
    yaw = x["yaw_error"]
    speed = x["forward_velocity"] * np.cos(yaw) - x["lateral_velocity"] * np.sin(yaw)
    return np.asarray(observation_terms(observations, speed * CONTROL_PERIOD_S).sum(axis=-1))
