"""The cart-pole swing-up as a Gymnasium environment, on the plants of training and evaluation."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from demo_control.configuration import ConfigurationError, Scalar
from stoch2_sim.cartpole import task
from stoch2_sim.pictures.painting import Frame
from stoch2_sim.robots.cartpole.parameters import CONTROL_PERIOD_S
from stoch2_sim.robots.cartpole.pictures import Pictures
from stoch2_sim.robots.cartpole.plants import make_plants
from stoch2_sim.robots.cartpole.score import SwingUpScore
from stoch2_sim.robots.cartpole.simulation import from_observation
from stoch2_sim.simulators.protocol import Array

# Far beyond what 10 N can reach between the rail's ends, and within what a policy can be scaled by.
OBSERVATION_BOUND = np.array([10.0, 100.0, 10.0, 10.0, 1000.0])


class CartpoleSwingUpEnv(gymnasium.Env[Array, Array]):
    """Swing a hanging pole up and keep it there, on a rail of ±2.4 m.

    Observation: cart position (m), cart velocity (m/s), cosine and sine of the pole's angle (upright is 0), pole
    velocity (rad/s), as the sensor reports them. Action: force on the cart in newtons, ±10. Reward: the task's, from
    the true state before the step and the force. The episode terminates when the cart leaves the rail;
    ``gymnasium.make`` truncates it after 20 s. ``info`` has the true observation and the score so far.

    Args:
        simulator: 'mujoco', 'pybullet' or 'analytic'.
        render_mode: None or 'rgb_array' (headless).
        width: Width of rendered pictures in pixels.
        height: Height of rendered pictures in pixels.
        **settings: Settings of the plant, for example ``pole_length=1.2``.

    Raises:
        ConfigurationError: An unknown simulator, render mode or setting, or a bad value.
    """

    metadata = {  # noqa: RUF012 - Gymnasium declares it so
        "render_modes": ["rgb_array"],
        "render_fps": round(1.0 / CONTROL_PERIOD_S),
    }

    def __init__(
        self,
        simulator: str = "mujoco",
        render_mode: str | None = None,
        width: int = 640,
        height: int = 368,
        **settings: Scalar,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ConfigurationError(f"render_mode = {render_mode!r}: must be None or 'rgb_array'")
        self.render_mode = render_mode
        self._task = task()
        self._plants = make_plants(simulator, 1, settings)
        self._pole_length = float(settings.get("pole_length", 1.0))
        self._size = width, height
        self._pictures: Pictures | None = None
        self._score = SwingUpScore()
        self._steps = 0
        self.observation_space = spaces.Box(-OBSERVATION_BOUND, OBSERVATION_BOUND, dtype=np.float64)
        self.action_space = spaces.Box(self._task.action_minimum, self._task.action_maximum, dtype=np.float64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start an episode: hanging at rest, with noise.

        Args:
            seed: Starts the environment's random numbers anew.
            options: None are known.

        Returns:
            The observation, Shape=(5,), and the info.
        """
        super().reset(seed=seed, options=options)
        observation = self._plants.reset([self.np_random])[0]
        self._score = SwingUpScore()
        self._steps = 0
        return observation, self._info(failed=False)

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Apply a force for one control period.

        Args:
            action: Newtons, clipped to ±10. Shape=(1,).

        Returns:
            Observation, Shape=(5,); reward; terminated; truncated (always False); info.
        """
        force = np.clip(
            np.asarray(action, dtype=float).reshape(1), self._task.action_minimum, self._task.action_maximum
        )
        # A force that is no number ends the episode, and earns nothing.
        reward = float(self._task.reward(self._plants.true_observations()[0], force)) if np.isfinite(force[0]) else 0.0
        observations, failed = self._plants.step(force[None])
        self._steps += 1
        terminated = bool(failed[0])
        return observations[0], reward, terminated, False, self._info(terminated)

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
            self._pictures = Pictures(*self._size, self._pole_length)
        position, angle = from_observation(self._plants.true_observations()[0])[0]
        return self._pictures.draw(float(position), float(angle))

    def close(self) -> None:
        """Release the simulator and the renderer."""
        self._plants.close()
        if self._pictures is not None:
            self._pictures.close()
            self._pictures = None
