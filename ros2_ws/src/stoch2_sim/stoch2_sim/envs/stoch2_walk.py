"""Walking Stoch2 as Gymnasium environments, on the plants of training and evaluation."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from demo_control.configuration import ConfigurationError, Scalar
from stoch2_sim.pictures.painting import Frame
from stoch2_sim.robots.stoch2.gait import NUM_ACTIONS
from stoch2_sim.robots.stoch2.geometry import CONTROL_PERIOD_S
from stoch2_sim.robots.stoch2.observation import OBSERVATION, POLICY_DIM
from stoch2_sim.robots.stoch2.pictures import Pictures
from stoch2_sim.robots.stoch2.plants import PlantSettings, Stoch2Plants
from stoch2_sim.robots.stoch2.randomisation import randomised
from stoch2_sim.robots.stoch2.reward import observation_terms
from stoch2_sim.robots.stoch2.score import WalkScore
from stoch2_sim.simulators.protocol import Array

# Far beyond the range that the robot works in, and within what a policy can be scaled by.
_BOUND = np.array([10.0 * max(abs(quantity.minimum), abs(quantity.maximum)) for quantity in OBSERVATION])
_REWARD_DECIMALS = 4


class Stoch2WalkEnv(gymnasium.Env[Array, Array]):
    """The paper's task: walk forward over sloped ground, upright on it and straight ahead.

    Observation (11): roll, pitch and yaw relative to the commanded heading (two ticks ago, one tick ago, now), roll and
    pitch of the ground, rad. Action (20): the normalised gait of the paper, ±1: step length, steer, y-, x- and z-shift
    of four legs each. Reward: the paper's, with the true ground; 0 for the step that ends the episode by a fall. The
    episode terminates beyond 30° of roll, 35° of pitch or 0.7 m of height, and when the trunk is on the ground;
    ``gymnasium.make`` truncates it after 400 steps of 5 ms. ``info`` has the true observation (25) and the score.

    Args:
        simulator: 'mujoco' or 'pybullet'.
        randomise: Whether every episode draws robot, slope and push from the paper's ranges.
        render_mode: None or 'rgb_array' (headless).
        width: Width of rendered pictures in pixels.
        height: Height of rendered pictures in pixels.
        **settings: Settings of the plant, for example ``terrain='slope'``, ``slope_deg=9.0``, ``orientation_deg=60.0``,
            ``push_n=100.0``; see :class:`~stoch2_sim.robots.stoch2.plants.PlantSettings`.

    Raises:
        ConfigurationError: An unknown simulator, render mode or setting, or a bad value.
    """

    metadata = {  # noqa: RUF012 - Gymnasium declares it so
        "render_modes": ["rgb_array"],
        "render_fps": round(1.0 / CONTROL_PERIOD_S),
    }
    observation_dim = POLICY_DIM

    def __init__(
        self,
        simulator: str = "mujoco",
        randomise: bool = False,
        render_mode: str | None = None,
        width: int = 640,
        height: int = 368,
        **settings: Scalar,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ConfigurationError(f"render_mode = {render_mode!r}: must be None or 'rgb_array'")
        self.render_mode = render_mode
        self._simulator = simulator
        self._randomises = randomise
        self._settings = PlantSettings.from_mapping(settings, source="plant settings")
        self._plants = Stoch2Plants(simulator, [self._settings.episode()], self._settings.control())
        self._size = width, height
        self._pictures: Pictures | None = None
        self._score = WalkScore()
        self._steps = 0
        bound = _BOUND[: self.observation_dim]
        self.observation_space = spaces.Box(-bound, bound, dtype=np.float64)
        self.action_space = spaces.Box(-1.0, 1.0, (NUM_ACTIONS,), dtype=np.float64)

    @property
    def plants(self) -> Stoch2Plants:
        """The one robot of the episode, to look into."""
        return self._plants

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start an episode: the robot stands.

        Args:
            seed: Starts the environment's random numbers anew.
            options: None are known.

        Returns:
            The observation, Shape=(11,), and the info.
        """
        super().reset(seed=seed, options=options)
        if self._randomises:
            self._plants.close()
            self._close_pictures()
            episode = randomised(self._settings.episode(), self.np_random)
            self._plants = Stoch2Plants(self._simulator, [episode], self._settings.control())
        observation = self._plants.reset([self.np_random])[0]
        self._score = WalkScore()
        self._steps = 0
        return self._seen(observation), self._info(failed=False)

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Apply an action for one control period.

        Args:
            action: Clipped to ±1. Shape=(20,).

        Returns:
            Observation, Shape=(11,); reward; terminated; truncated (always False); info.
        """
        before = self._plants.state.position[0]
        observations, failed = self._plants.step(np.asarray(action, dtype=float).reshape(1, NUM_ACTIONS))
        self._steps += 1
        terminated = bool(failed[0])
        progress = self._progress(self._plants.state.position[0] - before)
        terms = observation_terms(self._plants.true_observations()[0], progress)
        reward = 0.0 if terminated else float(np.round(terms, _REWARD_DECIMALS).sum())
        return self._seen(observations[0]), reward, terminated, False, self._info(terminated)

    def _progress(self, displacement: Array) -> Array:
        """Way made along the heading at the start, the paper's x."""
        yaw = math.radians(self._settings.initial_yaw_deg)
        return np.asarray(displacement @ np.array([math.cos(yaw), math.sin(yaw)]))

    def _seen(self, observation: Array) -> Array:
        """The part of an observation that this environment shows."""
        return np.clip(observation, -_BOUND, _BOUND)[: self.observation_dim]

    def _info(self, failed: bool) -> dict[str, Any]:
        """The true observation and the score so far."""
        true = self._plants.true_observations()[0]
        self._score.update(self._steps * CONTROL_PERIOD_S, true, failed)
        return {"true_observation": true, "score": self._score.result()}

    def render(self) -> Frame | None:
        """A picture of the true state in mode 'rgb_array', else None. Shape=(height, width, 3)."""
        if self.render_mode is None:
            return None
        if self._pictures is None:
            self._pictures = Pictures(*self._size, self._plants.episodes[0].robot)
        qpos = self._plants.qpos(0)
        return self._pictures.draw(*qpos, *qpos[:3], 0.0, 0.0, 0.0)

    def close(self) -> None:
        """Release the simulator and the renderer."""
        self._plants.close()
        self._close_pictures()

    def _close_pictures(self) -> None:
        if self._pictures is not None:
            self._pictures.close()
            self._pictures = None


class Stoch2WalkPlanningEnv(Stoch2WalkEnv):
    """The same with the whole observation (25), from which the DeMo layer plans.

    Besides the eleven entries of :class:`Stoch2WalkEnv`: body rates, velocity, height, the gait's clock, distance from
    the moving reference, and commands; see :mod:`stoch2_sim.robots.stoch2.observation`.
    """

    observation_dim = len(OBSERVATION)
