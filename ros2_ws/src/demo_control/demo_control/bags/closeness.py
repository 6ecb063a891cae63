"""How near a robot was to what it must not exceed: commands to their limits, observations to the contract's ranges."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from demo_control.bags.blocks import Blocks
from demo_control.bags.layer_runs import LayerLog
from demo_control.bags.layer_tables import CommandTable
from demo_control.bags.stretches import Integers
from demo_control.tasks import Array, Quantity, Task

_BINS = 1000
_AT_LIMIT = 0.999
_PERCENTILES = (50.0, 95.0, 99.0)
_MOST_NAMED = 5


class _Distribution:
    """Shares of several entries in [0, 1] and beyond, kept as counts: an hour takes no more room than a minute."""

    def __init__(self, entries: int) -> None:
        # The last bin holds all that is above 1.
        self._counts = np.zeros((entries, _BINS + 2), np.int64)
        self._largest = np.zeros(entries)

    def add(self, shares: Array) -> None:
        """Take in shares, finite ones. Shape=(count, entries)."""
        bins = np.minimum(np.floor(shares * _BINS), _BINS + 1).astype(np.int64)
        flat = bins + (_BINS + 2) * np.arange(bins.shape[1])
        self._counts += np.bincount(flat.ravel(), minlength=self._counts.size).reshape(self._counts.shape)
        if len(shares):
            self._largest = np.maximum(self._largest, shares.max(axis=0))

    def percentiles(self, entry: int) -> dict[str, float | None]:
        """Percentiles to a thousandth, and the largest."""
        counts = self._counts[entry]
        if not counts.sum():
            return {**{f"p{int(p)}": None for p in _PERCENTILES}, "max": None}
        below = np.cumsum(counts) / counts.sum()
        found = {f"p{int(p)}": float(np.searchsorted(below, p / 100.0) / _BINS) for p in _PERCENTILES}
        return {**found, "max": float(self._largest[entry])}


def closeness(task: Task, log: LayerLog, blocks: Blocks) -> dict[str, object]:
    """Figures of commands and observations.

    A command's share is its distance from the middle of its range as a share of half the range: 1 is at the limit. A
    change's share is that of one command to the next, of the whole range; what change a driver allows is its own
    affair, but where it told what it sent, it is said how often that was not what it was asked for.

    Args:
        task: Gives limits and ranges.
        log: The recording.
        blocks: Told of commands at a limit and of observations beyond their ranges.

    Returns:
        Ready for JSON.
    """
    table = log.runs[0].commands.table
    sent = log.carried_out(task.action_dim) or table
    names = [quantity.name for quantity in task.action]
    sizes, changes = _Distribution(len(names)), _Distribution(len(names))
    at_limit, count = np.zeros(len(names)), 0
    low, high = task.action_minimum, task.action_maximum
    before: Array | None = None
    for times, values in _pieces(sent):
        shares = np.abs(values - (low + high) / 2.0) / ((high - low) / 2.0)
        sizes.add(shares)
        following = values if before is None else np.vstack([before, values])
        changes.add(np.abs(np.diff(following, axis=0)) / (high - low))
        before = values[-1:]
        limited = shares >= _AT_LIMIT
        at_limit += limited.sum(axis=0)
        count += len(values)
        blocks.add("at_limit", times, limited.mean(axis=1))
    return {
        "of": "applied_action" if sent is log.applied else "action",
        "commands": count,
        "at_limit": float(at_limit.sum() / (count * len(names))) if count else None,
        "changed_by_driver": _changed_by_driver(task, log, table),
        "actions": [
            {
                "name": name,
                "at_limit": float(at_limit[index] / count) if count else None,
                "share_of_limit": sizes.percentiles(index),
                "change_share_of_range": changes.percentiles(index),
            }
            for index, name in enumerate(names)
        ],
        "observations": _observations(task, log, blocks),
    }


def _pieces(table: CommandTable) -> Iterator[tuple[Integers, Array]]:
    """Stamps and finite values of commands, piece by piece."""
    stamps = table.stamps_ns.numbers()
    for start, values in table.values.rows.blocks():
        good = np.isfinite(values).all(axis=1)
        if good.any():
            yield stamps[start : start + len(values)][good], values[good]


def _changed_by_driver(task: Task, log: LayerLog, table: CommandTable) -> float | None:
    """Share of the commands carried out whose values are not those that were commanded."""
    applied = log.carried_out(task.action_dim)
    if applied is None:
        return None
    keys, compared, changed = applied.values, 0, 0
    sequences, stamps = keys.sequences.numbers(), keys.stamps_ns.numbers()
    for start, values in keys.rows.blocks():
        rows = slice(start, start + len(values))
        commanded = table.values.rows.take(table.values.indices(sequences[rows], stamps[rows]))
        known = np.isfinite(commanded).all(axis=1) & np.isfinite(values).all(axis=1)
        compared += int(known.sum())
        changed += int((values[known] != commanded[known]).any(axis=1).sum())
    return changed / compared if compared else None


def _observations(task: Task, log: LayerLog, blocks: Blocks) -> dict[str, object]:
    """How often observations were beyond the ranges that the robot works in, and which entries most."""
    rows, stamps = log.observations.rows, log.observations.stamps_ns.numbers()
    if rows.width != task.observation_dim:
        return {"beyond_range": None, "worst": []}
    low, high = _ends(task.observation)
    beyond, anywhere, count = np.zeros(len(low)), 0, 0
    farthest = np.zeros(len(low))
    for start, values in rows.blocks():
        good = np.isfinite(values).all(axis=1)
        excess = np.maximum(low - values[good], values[good] - high) / (high - low)
        outside: npt.NDArray[np.bool_] = excess > 0.0
        beyond += outside.sum(axis=0)
        anywhere += int(outside.any(axis=1).sum())
        count += len(excess)
        farthest = np.maximum(farthest, excess.max(axis=0, initial=0.0))
        blocks.add("beyond_range", stamps[start : start + len(values)][good], outside.any(axis=1).astype(float))
    worst = [index for index in np.argsort(-beyond, kind="stable")[:_MOST_NAMED] if beyond[index]]
    return {
        "beyond_range": anywhere / count if count else None,
        "worst": [
            {
                "name": task.observation[index].name,
                "share": float(beyond[index] / count),
                "farthest_share_of_range": float(farthest[index]),
            }
            for index in worst
        ],
    }


def _ends(quantities: tuple[Quantity, ...]) -> tuple[Array, Array]:
    return np.array([q.minimum for q in quantities]), np.array([q.maximum for q in quantities])
