"""Fewer points for long series, so that a page stays small and no spike is lost."""

from __future__ import annotations

import numpy as np

from demo_control.tasks import Array

_GAP_PERIODS = 5.0


def with_gaps(times_s: Array, values: Array) -> tuple[Array, Array]:
    """A series with a hole (NaN) where samples stayed away for more than five usual periods.

    Args:
        times_s: Rising. Shape=(length,).
        values: Shape=(length,).
    """
    steps = np.diff(times_s)
    if not len(steps):
        return times_s, values
    holes = np.flatnonzero(steps > _GAP_PERIODS * float(np.median(steps)) + 1e-9) + 1
    return np.insert(times_s, holes, times_s[holes - 1]), np.insert(values, holes, np.nan)


def envelope(times_s: Array, values: Array, points: int) -> tuple[Array, Array]:
    """The smallest and the largest value of each of ``points`` / 2 equal stretches of time, in their order.

    Args:
        times_s: Rising. Shape=(length,).
        values: Shape=(length,); NaN is a hole, and stays one.
        points: About so many are left; a series that is not longer stays as it is.

    Returns:
        Times and values that were in the series; both Shape=(at most points + the holes,).
    """
    if len(times_s) <= points:
        return times_s, values
    bins = max(points // 2, 1)
    first, last = float(times_s[0]), float(times_s[-1])
    places = np.minimum((times_s - first) / max(last - first, 1e-300) * bins, bins - 1).astype(np.int64)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.lexsort((values[known], places[known]))]
    ends = np.flatnonzero(np.diff(places[order])) if len(order) else np.zeros(0, np.int64)
    smallest = order[np.concatenate([[0], ends + 1])] if len(order) else order
    largest = order[np.concatenate([ends, [len(order) - 1]])] if len(order) else order
    # One of each run of holes says as much as all.
    holes = np.flatnonzero(~np.isfinite(values))
    holes = holes[np.concatenate([[True], np.diff(holes) > 1])] if len(holes) else holes
    kept = np.unique(np.concatenate([smallest, largest, holes]))
    return times_s[kept], values[kept]
