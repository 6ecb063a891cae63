"""The largest size that keeps to a deadline, from few measurements."""

from __future__ import annotations

from dataclasses import dataclass, field

from demo_control.tuning.records import Measurement

AIM = 0.95
"""Share of the deadline that the search aims at: the verification has more plans, and with them later ones."""
CLOSE = 0.9
"""Share of the deadline, or of a size, that is near enough."""
LARGEST_STEP = 8.0
"""Factor by which the next size may exceed the ones that held."""


@dataclass
class Bracket:
    """The largest size that keeps to a deadline, between sizes that were measured.

    Attributes:
        lowest: Smallest size.
        highest: Largest size.
        step: All sizes are multiples of it.
        deadline_s: What they must keep to.
        measured: By size.
    """

    lowest: int
    highest: int
    step: int
    deadline_s: float
    measured: dict[int, Measurement] = field(default_factory=dict)

    @property
    def holds(self) -> int | None:
        """The largest size that held."""
        return max((size for size in self.measured if not self._late(size)), default=None)

    @property
    def fails(self) -> int | None:
        """The smallest size above it that did not. Below it, something disturbed the measurement."""
        return min((size for size in self.measured if self._late(size) and size > (self.holds or 0)), default=None)

    def following(self) -> int | None:
        """The size to measure next, or None where the answer is known closely enough.

        Raises:
            ValueError: Nothing was measured: the first size is the caller's choice.
        """
        holds, fails = self.holds, self.fails
        if fails is None:
            if holds is None:
                raise ValueError("a bracket must be told a first size")
            if holds >= self.highest or self.measured[holds].quantile_s >= CLOSE * self.deadline_s:
                return None
            return self._multiple(min(self._guess(holds), LARGEST_STEP * holds), holds + self.step, self.highest)
        if holds is None:
            if fails <= self.lowest:
                return None
            # Where a first reduction did not help there is a part that samples do not change: is anything possible?
            guess = self._guess(fails) if len(self.measured) == 1 else self.lowest
            return self._multiple(guess, self.lowest, fails - self.step)
        gap = fails - holds
        if gap <= max(self.step, (1.0 - CLOSE) * holds):
            return None
        # Not right beside a size that is known: a disturbed measurement would hold up the search.
        guess = min(max(self._guess(holds), holds + 0.1 * gap), holds + 0.9 * gap)
        return self._multiple(guess, holds + self.step, fails - self.step)

    def _guess(self, size: int) -> float:
        """Where the deadline would be reached: medians grow in proportion or along a line, what is above them stays."""
        known = self.measured[size]
        slope = known.median_s / size
        for other in (self.fails, max((one for one in self.measured if one < size), default=None)):
            if other is not None and other != size:
                rise = (self.measured[other].median_s - known.median_s) / (other - size)
                slope = rise if rise > 0.0 else slope
                break
        return size + (AIM * self.deadline_s - known.quantile_s) / slope

    def _late(self, size: int) -> bool:
        return self.measured[size].quantile_s > self.deadline_s

    def _multiple(self, size: float, lowest: int, highest: int) -> int:
        """A multiple of the step, at most ``size``, within the limits."""
        return min(max(int(size) // self.step * self.step, lowest), highest)
