"""Stoch2s that remember how they walked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from demo_control.scenarios import Trial
from stoch2_sim.robots.stoch2.episode import Episode
from stoch2_sim.robots.stoch2.plants import Stoch2Plants
from stoch2_sim.robots.stoch2.terrain import make_terrain
from stoch2_sim.robots.stoch2.walk_metrics import Walk
from stoch2_sim.simulators.protocol import Array, Mask

FALLING_TICKS = 300
"""For so long a fall is watched."""


class RecordedPlants(Stoch2Plants):
    """Stoch2s whose true states are kept; implements :class:`demo_control.scenarios.RecordingPlants`.

    Args:
        simulator: 'mujoco' or 'pybullet'.
        episodes: One for each robot.
        configurations: Whether to keep what pictures are drawn from, too. A robot that has failed is then seen to fall
            to the ground.
    """

    def __init__(self, simulator: str, episodes: Sequence[Episode], *, configurations: bool = False) -> None:
        super().__init__(simulator, episodes)
        self._configurations = configurations
        self._kept: list[dict[str, Array]] = []
        self._failed_ticks = np.zeros(self.num_plants, dtype=int)

    def reset(self, generators: Sequence[np.random.Generator]) -> Array:
        """See :class:`Stoch2Plants`."""
        observations = super().reset(generators)
        self._kept = []
        self._failed_ticks[:] = 0
        self._keep()
        return observations

    def step(self, actions: Array) -> tuple[Array, Mask]:
        """See :class:`Stoch2Plants`."""
        result = super().step(actions)
        if self._configurations:
            self._fall_on()
        self._keep()
        return result

    def _fall_on(self) -> None:
        """Let the robots that have failed lately move on, their motors without force but damped."""
        self._failed_ticks += self.failed
        falling = self.failed & (self._failed_ticks <= FALLING_TICKS)
        if falling.any():
            joint_positions = self.simulation.sensors().joint_positions
            self.simulation.advance(joint_positions, np.zeros((self.num_plants, 3)), falling)

    def _keep(self) -> None:
        truth = self.truth
        kept = {
            "position": truth.position,
            "angles": self.state.angles,
            "velocity": truth.linear_velocity,
            "commands": self.commands,
            "failed": self.failed.astype(float),
        }
        if self._configurations:
            kept["qpos"] = np.array([self.qpos(index) for index in range(self.num_plants)])
        self._kept.append(kept)

    def records(self) -> Mapping[str, Array]:
        """Position, angles, velocity, commands, gradient, failed and, if kept, qpos.

        Shape=(num_steps + 1, num_plants, ...).
        """
        records = {name: np.array([kept[name] for kept in self._kept]) for name in self._kept[0]}
        normals = np.array([make_terrain(episode.robot).normal for episode in self.episodes])
        gradients = -normals[:, :2] / normals[:, 2:]
        records["gradient"] = np.broadcast_to(gradients, (len(self._kept), *gradients.shape))
        return records


def walk_of(trial: Trial) -> Walk:
    """A recorded trial as a walk."""
    records = trial.records
    return Walk(
        position=records["position"],
        angles=records["angles"],
        velocity=records["velocity"],
        commands=records["commands"],
        gradient=records["gradient"][0],
        fall_tick=trial.failed_step,
    )
