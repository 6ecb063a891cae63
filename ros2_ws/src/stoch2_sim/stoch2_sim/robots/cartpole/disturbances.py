"""Random pushes on the cart, for plants and drivers alike."""

from __future__ import annotations

import numpy as np


class Pushes:
    """Pushes of one strength and random sign, each starting 2 to 3 s after the previous one did.

    Args:
        generator: Draws times and signs.
        force_n: Strength.
        duration_s: Length of a push, shorter than the gap between two.
    """

    def __init__(self, generator: np.random.Generator, force_n: float, duration_s: float) -> None:
        self._generator = generator
        self._force_n = force_n
        self._duration_s = duration_s
        self._start_s = 0.0
        self._sign = 1.0
        self._schedule_next()

    def _schedule_next(self) -> None:
        """Draw when the next push begins, and its sign."""
        self._start_s += self._generator.uniform(2.0, 3.0)
        self._sign = 1.0 if self._generator.random() < 0.5 else -1.0  # noqa: PLR2004 - a fair coin

    def mean_force_n(self, start_s: float, end_s: float) -> float:
        """Mean force over an interval; intervals must follow one another.

        A push that covers a part of the interval counts with that part, so that its impulse does
        not depend on how time is cut.
        """
        while self._start_s + self._duration_s <= start_s:
            self._schedule_next()
        overlap_s = min(end_s, self._start_s + self._duration_s) - max(start_s, self._start_s)
        return self._sign * self._force_n * max(0.0, overlap_s) / (end_s - start_s)
