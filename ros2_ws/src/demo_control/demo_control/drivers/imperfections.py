"""What is between a simulated robot and those who command it: a wire and a sensor that are not perfect."""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

import numpy as np

from demo_control.tasks import Array

ItemT = TypeVar("ItemT")


class Wire(Generic[ItemT]):
    """Carries items from a sender to a receiver, late, out of order, twice or not at all.

    Args:
        generator: Draws what happens to each item; its draws do not depend on the settings, so that a run with a
            longer delay loses the same items.
        delay_s: Shortest time an item travels.
        jitter_s: Mean of an exponentially distributed time on top.
        loss: Probability that an item is lost.
        duplication: Probability that an item arrives twice.
    """

    def __init__(
        self, generator: np.random.Generator, delay_s: float, jitter_s: float, loss: float, duplication: float
    ) -> None:
        self._generator = generator
        self._delay_s = delay_s
        self._jitter_s = jitter_s
        self._loss = loss
        self._duplication = duplication
        self._queue: list[tuple[int, int, ItemT]] = []
        self._sent = 0
        self.lost = 0
        self.duplicated = 0

    def send(self, item: ItemT, now_ns: int) -> None:
        """Put an item on the wire."""
        late = self._generator.standard_exponential(2)
        chances = self._generator.random(2)
        if chances[0] < self._loss:
            self.lost += 1
            return
        self._enqueue(item, now_ns, float(late[0]))
        if chances[1] < self._duplication:
            self.duplicated += 1
            self._enqueue(item, now_ns, float(late[1]))

    def _enqueue(self, item: ItemT, now_ns: int, late: float) -> None:
        """Let an item arrive; items that arrive together keep the order in which they were sent."""
        arrival_ns = now_ns + round((self._delay_s + self._jitter_s * late) * 1e9)
        heapq.heappush(self._queue, (arrival_ns, self._sent, item))
        self._sent += 1

    def receive(self, before_ns: int) -> list[tuple[int, ItemT]]:
        """Take what arrives before a time, with the times of arrival, in that order."""
        arrived = []
        while self._queue and self._queue[0][0] < before_ns:
            arrival_ns, _, item = heapq.heappop(self._queue)
            arrived.append((arrival_ns, item))
        return arrived


class NoisySensor:
    """Adds white noise to observations.

    Args:
        generator: Draws the noise.
        deviation: Standard deviation on each entry, in the entry's unit.
    """

    def __init__(self, generator: np.random.Generator, deviation: float) -> None:
        self._generator = generator
        self._deviation = deviation

    def read(self, true: Array) -> Array:
        """What the sensor says of a true observation; the same shape."""
        return true + self._deviation * self._generator.standard_normal(true.shape)
