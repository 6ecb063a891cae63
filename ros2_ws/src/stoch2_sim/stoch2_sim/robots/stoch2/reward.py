"""The paper's reward of one control period: upright on the ground, straight ahead, at the right height, and forward."""

from __future__ import annotations

import numpy as np

from stoch2_sim.robots.stoch2.geometry import CONTROL_PERIOD_S
from stoch2_sim.robots.stoch2.observation import INDEX
from stoch2_sim.simulators.protocol import Array

WALKING_HEIGHT_M = 0.243
_ANGLE_SHARPNESS, _YAW_SHARPNESS, _HEIGHT_SHARPNESS, _PROGRESS_WEIGHT = 45.0, 35.0, 800.0, 100.0


def paper_reward(angle_errors: Array, yaw: Array, height_error: Array, progress: Array) -> Array:
    """Source: StochLab/SlopedTerrainLinearPolicy, the environment's reward.

    Args:
        angle_errors: Roll and pitch minus those of the ground, rad. Shape=(..., 2).
        yaw: Rad. Shape=(...).
        height_error: Vertical, m. Shape=(...).
        progress: Way made in the control period along the direction to walk in, m. Shape=(...).

    Returns:
        Shape=(...).
    """
    posture: Array = np.exp(-_ANGLE_SHARPNESS * angle_errors**2).sum(axis=-1)
    heading = np.exp(-_YAW_SHARPNESS * yaw**2)
    return posture + heading + np.exp(-_HEIGHT_SHARPNESS * height_error**2) + _PROGRESS_WEIGHT * progress


def observation_reward(observations: Array, _actions: Array) -> Array:
    """The reward of true observations; see :attr:`demo_control.tasks.Task.reward_function`.

    Args:
        observations: Shape=(..., 25).
        _actions: Not rewarded. Shape=(..., 20).

    Returns:
        Shape=(...).
    """
    x = {name: observations[..., index] for name, index in INDEX.items()}
    angle_errors = np.stack([x["roll"] - x["support_roll"], x["pitch"] - x["support_pitch"]], axis=-1)
    # The paper measures the height along the vertical, the observation across the ground.
    upright = np.cos(x["support_roll"]) * np.cos(x["support_pitch"])
    height_error = (x["height"] - WALKING_HEIGHT_M) / upright
    yaw = x["yaw_error"]
    speed = x["forward_velocity"] * np.cos(yaw) - x["lateral_velocity"] * np.sin(yaw)
    return paper_reward(angle_errors, yaw, height_error, speed * CONTROL_PERIOD_S)
