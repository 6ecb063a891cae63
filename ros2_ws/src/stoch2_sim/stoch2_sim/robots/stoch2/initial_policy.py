"""The guided initial policy: a linear policy made from three hand-tuned gaits, each for one slope of 11°.

Robots walk with the constant actions; the linear map without intercept that comes nearest to 'this observation, that
action' is where the search starts from. It walks already, and leans into a slope.
"""

from __future__ import annotations

import numpy as np

from stoch2_sim.robots.stoch2.episode import Episode
from stoch2_sim.robots.stoch2.gait import ACTION_GROUPS, NUM_ACTIONS
from stoch2_sim.robots.stoch2.geometry import NUM_LEGS
from stoch2_sim.robots.stoch2.observation import OBSERVATION, POLICY_DIM
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.plants import Stoch2Plants
from stoch2_sim.simulators.protocol import Array

SLOPE_DEG = 11.0
NUM_TICKS = 400

ASSUMED_NOISE_RAD = 0.01
"""Angles of three ticks are nearly the same, so plain least squares answers the smallest difference between them with
weights of a hundred. Those of the best answer to angles with an IMU's noise are below ten and walk as well."""

GUIDES = (
    (0.0, (0.5, 0.0, -1.0, -1.0, 0.0)),
    (60.0, (0.5, 0.0, -1.0, -0.5, 0.5)),
    (90.0, (0.5, 0.0, -1.0, 0.0, 1.0)),
)
"""Direction in which the ground rises, degrees, and one action for all legs: a long step, the feet shifted down the
slope (backward where it rises ahead, to the right where it rises on the left)."""


def initial_weights(simulator: str) -> Array:
    """Weights of the guided initial policy, in units of the normalised action.

    Args:
        simulator: Where the guides walk.

    Returns:
        Zero columns for what the policy does not see. Shape=(20, 25).
    """
    observations, actions = guided_walks(simulator)
    weights = np.zeros((NUM_ACTIONS, len(OBSERVATION)))
    weights[:, :POLICY_DIM] = fitted_weights(observations[:, :POLICY_DIM], actions)
    return weights


def fitted_weights(observations: Array, actions: Array, noise: float = ASSUMED_NOISE_RAD) -> Array:
    """The M that makes M (x + noise) come nearest to the actions, without an intercept.

    Args:
        observations: Shape=(num_pairs, n).
        actions: Shape=(num_pairs, m).
        noise: Deviation of the noise that every entry of an observation would have.

    Returns:
        Shape=(m, n).
    """
    n = observations.shape[1]
    gram = observations.T @ observations + len(observations) * noise**2 * np.eye(n)
    return np.asarray(np.linalg.solve(gram, observations.T @ actions).T)


def guided_walks(simulator: str) -> tuple[Array, Array]:
    """Walk with the guides' constant actions.

    Returns:
        What the robots observed, Shape=(num_pairs, 25), and did, Shape=(num_pairs, 20).
    """
    robots = [
        RobotParameters(terrain="slope", slope_deg=SLOPE_DEG, orientation_deg=orientation, friction=0.42)
        for orientation, _ in GUIDES
    ]
    action = np.array([np.repeat(groups, NUM_LEGS) for _, groups in GUIDES])
    assert action.shape == (len(GUIDES), len(ACTION_GROUPS) * NUM_LEGS)
    plants = Stoch2Plants(simulator, [Episode(robot) for robot in robots])
    try:
        observation = plants.reset([np.random.default_rng(index) for index in range(len(GUIDES))])
        pairs = []
        failed = np.zeros(len(GUIDES), dtype=bool)
        for _ in range(NUM_TICKS):
            pairs.append((observation[~failed], action[~failed]))
            observation, failed = plants.step(action)
    finally:
        plants.close()
    return np.concatenate([pair[0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs])
