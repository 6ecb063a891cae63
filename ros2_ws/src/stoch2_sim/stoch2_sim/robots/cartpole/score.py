"""What counts as a successful swing-up."""

from __future__ import annotations

import math
from collections import deque

from stoch2_sim.robots.cartpole.parameters import EPISODE_S, RAIL_LIMIT_M
from stoch2_sim.simulators.protocol import Array

UPRIGHT_DEGREES = 12.0
UPRIGHT_COSINE = math.cos(math.radians(UPRIGHT_DEGREES))
HOLD_S = 10.0
_TOLERANCE_S = 1e-6


def is_upright(observation: Array) -> bool:
    """Whether the pole is within 12° of upright; cosine and sine need not be normalised."""
    cosine, sine = float(observation[2]), float(observation[3])
    return cosine >= UPRIGHT_COSINE * math.hypot(cosine, sine) and cosine > 0.0


class SwingUpScore:
    """Judges one episode from the true states; implements :class:`demo_control.tasks.Score`.

    Success: at least an episode's 20 s have passed, the pole was upright at every instant of the last 10 s, and the
    cart never left the rail.
    """

    def __init__(self) -> None:
        self._recent: deque[tuple[float, bool]] = deque()
        self._time_s = 0.0
        self._upright_s = 0.0
        self._upright_since_s: float | None = None
        self._failed = False
        self._farthest_m = 0.0

    def update(self, time_s: float, observation: Array, failed: bool) -> None:
        """Take in the true observation at ``time_s`` after the episode's start; times must rise.

        Args:
            time_s: Time since the start.
            observation: Shape=(5,).
            failed: Whether the plant has failed.
        """
        upright = is_upright(observation) and not failed
        if upright and self._upright_since_s is not None:
            self._upright_s += time_s - self._time_s
        if not upright:
            self._upright_since_s = None
        elif self._upright_since_s is None:
            self._upright_since_s = time_s
        self._time_s = time_s
        self._farthest_m = max(self._farthest_m, abs(float(observation[0])))
        self._failed = self._failed or failed or self._farthest_m > RAIL_LIMIT_M
        self._recent.append((time_s, upright))
        while self._recent[0][0] < time_s - HOLD_S - _TOLERANCE_S:
            self._recent.popleft()

    def result(self) -> dict[str, float | bool]:
        """The verdict so far.

        Returns:
            ``success``; ``upright_fraction_last_10s``; ``upright_s``, the time spent upright in
            all; ``time_upright_s``, when the pole last became upright (absent unless it is upright
            now); ``duration_s``; ``farthest_m``, the greatest distance from the rail's centre;
            ``rail_left``.
        """
        uprights = [upright for _, upright in self._recent]
        long_enough = self._time_s >= EPISODE_S - _TOLERANCE_S
        figures: dict[str, float | bool] = {
            "success": long_enough and all(uprights) and not self._failed,
            "upright_fraction_last_10s": sum(uprights) / max(1, len(uprights)),
            "upright_s": self._upright_s,
            "duration_s": self._time_s,
            "farthest_m": self._farthest_m,
            "rail_left": self._failed,
        }
        if self._upright_since_s is not None:
            figures["time_upright_s"] = self._upright_since_s
        return figures
