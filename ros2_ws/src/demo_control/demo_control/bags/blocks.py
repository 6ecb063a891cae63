"""Figures of a recording by stretches of time: what intervals are made from where there is but one recording."""

from __future__ import annotations

import numpy as np

from demo_control.bags.stretches import Integers
from demo_control.tasks import Array

_LEAST_S = 2.0
_MOST = 60


class Blocks:
    """Sums of numerators and denominators by block; a figure is the ratio of their sums.

    Args:
        start_ns: Of the recording, by the stamps of its observations.
        end_ns: See ``start_ns``.
    """

    def __init__(self, start_ns: int, end_ns: int) -> None:
        self._start_ns, length_ns = start_ns, max(end_ns - start_ns, 1)
        self.count = int(np.clip(length_ns / (_LEAST_S * 1e9), 1, _MOST))
        self._block_ns = length_ns / self.count
        self._pieces = max(int(length_ns / (_LEAST_S * 1e9)), 1)
        self._piece_ns = length_ns / self._pieces
        self._sums: dict[str, tuple[Array, Array]] = {}

    def add(self, name: str, times_ns: Integers, numerators: Array, denominators: Array | float = 1.0) -> None:
        """Add to a figure.

        Args:
            name: Of the figure.
            times_ns: When. Shape=(count,).
            numerators: What is not finite is left out. Shape=(count,).
            denominators: The same. Shape=(count,), or one number for all.
        """
        below = np.broadcast_to(denominators, numerators.shape)
        good = np.isfinite(numerators) & np.isfinite(below)
        places = self._places(times_ns[good])
        above, beneath = self._sums.setdefault(name, (np.zeros(self.count), np.zeros(self.count)))
        above += np.bincount(places, numerators[good], self.count)
        beneath += np.bincount(places, below[good], self.count)

    def add_percentile(self, name: str, times_ns: Integers, values: Array, percentile: float) -> None:
        """Set a figure to the mean of the percentiles of short pieces of time, in each block and over all.

        The pieces are as long in every recording: a percentile of many values is another than that of few.
        """
        pieces = np.minimum((times_ns - self._start_ns) / self._piece_ns, self._pieces - 1.0)
        pieces = np.clip(pieces, 0, self._pieces - 1).astype(np.int64)
        good = np.isfinite(values)
        values, pieces = values[good], pieces[good]
        above, beneath = self._sums.setdefault(name, (np.zeros(self.count), np.zeros(self.count)))
        if not len(values):
            return
        order = np.argsort(pieces, kind="stable")
        starts = np.flatnonzero(np.diff(pieces[order], prepend=-1))
        for place, here in zip(pieces[order][starts], np.split(values[order], starts[1:]), strict=True):
            block = self.count * int(place) // self._pieces
            above[block] += np.percentile(here, percentile)
            beneath[block] += 1.0

    def to_json(self) -> dict[str, object]:
        """Ready for JSON; figures that nothing is known of are left out."""
        return {
            "block_s": self._block_ns / 1e9,
            "figures": {
                name: {"numerators": above.tolist(), "denominators": below.tolist()}
                for name, (above, below) in sorted(self._sums.items())
                if below.any()
            },
        }

    def _places(self, times_ns: Integers) -> Integers:
        places = ((times_ns - self._start_ns) / self._block_ns).astype(np.int64)
        return np.clip(places, 0, self.count - 1)
