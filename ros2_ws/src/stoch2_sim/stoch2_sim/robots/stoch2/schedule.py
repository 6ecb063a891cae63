"""When several robots are asked for what, and when they are pushed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from stoch2_sim.robots.stoch2.attitude import turned
from stoch2_sim.robots.stoch2.episode import Episode
from stoch2_sim.simulators.protocol import Array


class Schedule:
    """Commands and pushes of several episodes, tick by tick.

    Args:
        episodes: One for each robot.
    """

    def __init__(self, episodes: Sequence[Episode]) -> None:
        self._commands: dict[int, list[tuple[int, Array]]] = defaultdict(list)
        self._forces: dict[int, list[tuple[int, Array]]] = defaultdict(list)
        for index, episode in enumerate(episodes):
            for change in episode.commands:
                values = np.array([change.forward_m_s, change.lateral_m_s, change.yaw_rate_rad_s])
                self._commands[change.tick].append((index, values))
            for push in episode.pushes:
                force = np.array(push.force_n)
                self._forces[push.start_tick].append((index, force))
                self._forces[push.start_tick + push.duration_ticks].append((index, -force))
        self._tick = 0
        self._requested = np.zeros((len(episodes), 3))
        self._pushing = np.zeros((len(episodes), 3))
        self._yaws = np.zeros(len(episodes))

    def reset(self, yaws: Array) -> None:
        """Go back to the start.

        Args:
            yaws: Headings at the start, rad: pushes are relative to them. Shape=(num_robots,).
        """
        self._tick = 0
        self._yaws = yaws
        self._requested[:] = 0.0
        self._pushing[:] = 0.0
        self._update()

    def advance(self) -> None:
        """Go on by one control period."""
        self._tick += 1
        self._update()

    def requests(self) -> Array:
        """Forward speed, lateral speed and yaw rate that are asked for now. Shape=(num_robots, 3)."""
        return np.array(self._requested)

    def forces(self) -> Array:
        """Pushes of this control period in world axes, N. Shape=(num_robots, 3)."""
        forces: Array = np.array(self._pushing)
        if forces.any():
            forces[:, :2] = turned(forces[:, :2], self._yaws)
        return forces

    def _update(self) -> None:
        """Take in what changes at this tick."""
        for index, values in self._commands.get(self._tick, ()):
            self._requested[index] = values
        for index, force in self._forces.get(self._tick, ()):
            self._pushing[index] += force
