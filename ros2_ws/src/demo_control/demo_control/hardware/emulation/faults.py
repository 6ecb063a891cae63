"""Faults of a serial line: frames that are lost, late, corrupt or repeated, drawn from a seeded generator."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from demo_control.configuration import Settings, setting

_LARGEST_BURST = 4


@dataclass(frozen=True)
class FaultSettings(Settings):
    """How often what happens to a frame, in each direction; each frame has at most one of the faults."""

    lost: float = setting(0.0, "Share of frames that never arrive", minimum=0.0, maximum=1.0)
    late: float = setting(0.0, "Share of frames that arrive late", minimum=0.0, maximum=1.0)
    corrupt: float = setting(0.0, "Share of frames with up to four wrong bytes", minimum=0.0, maximum=1.0)
    repeated: float = setting(0.0, "Share of frames that arrive twice", minimum=0.0, maximum=1.0)
    late_ms: float = setting(10.0, "By how much late frames are late", minimum=0.0, maximum=10000.0)


class FaultyLine:
    """Does to frames what the settings say.

    Args:
        generator: Draws the faults.
        settings: Their rates.
    """

    def __init__(self, generator: np.random.Generator, settings: FaultSettings) -> None:
        self._generator = generator
        self._settings = settings
        rates = [settings.lost, settings.late, settings.corrupt, settings.repeated]
        self._thresholds = np.cumsum(rates).tolist()
        self.counts: Counter[str] = Counter(dict.fromkeys(("frames", "lost", "late", "corrupt", "repeated"), 0))

    def carry(self, frame: bytes) -> list[tuple[float, bytes]]:
        """What arrives for a frame that is sent: pieces with their delays in s."""
        self.counts["frames"] += 1
        chance = self._generator.random()
        lost, late, corrupt, repeated = self._thresholds
        if chance < lost:
            self.counts["lost"] += 1
            return []
        if chance < late:
            self.counts["late"] += 1
            return [(1e-3 * self._settings.late_ms, frame)]
        if chance < corrupt:
            self.counts["corrupt"] += 1
            return [(0.0, self._broken(frame))]
        if chance < repeated:
            self.counts["repeated"] += 1
            return [(0.0, frame), (0.0, frame)]
        return [(0.0, frame)]

    def _broken(self, frame: bytes) -> bytes:
        """The frame with one to four bytes changed."""
        broken = bytearray(frame)
        count = min(int(self._generator.integers(1, _LARGEST_BURST + 1)), len(frame))
        for place in self._generator.choice(len(frame), count, replace=False):
            broken[place] ^= int(self._generator.integers(1, 256))
        return bytes(broken)
