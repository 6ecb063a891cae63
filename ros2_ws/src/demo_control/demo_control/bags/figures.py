"""Figures by which recordings are summed up and compared: what is better, and what difference matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from demo_control.tasks import Array


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        name: In a recording's blocks; a ratio of sums.
        text: For people, with the unit.
        sign: 1 where more is worse, -1 where more is better.
        least_relative: Smallest change that matters, as a share of the baseline.
        least_absolute: The same in the figure's unit; both must be exceeded.
        root: Whether it is the root of the ratio.
        decides: Whether recordings are worse where it is; else it is only told.
    """

    name: str
    text: str
    sign: int
    least_relative: float
    least_absolute: float = 0.0
    root: bool = False
    decides: bool = True

    def of(self, numerators: Array, denominators: Array) -> Array:
        """The figure from sums; NaN where nothing is known. Any shape."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(denominators > 0.0, numerators / denominators, np.nan)
            return np.asarray(np.sqrt(np.maximum(ratio, 0.0)) if self.root else ratio)

    def matters(self, baseline: float, difference: float) -> bool:
        """Whether a difference is large enough to matter, in either direction."""
        return abs(difference) > max(self.least_relative * abs(baseline), self.least_absolute)


_KNOWN = (
    Figure("failures", "failed runs, share", 1, 0.05, 0.02),
    Figure("cost_per_second", "cost, 1/s", 1, 0.03),
    Figure("model_error_horizon", "model error over the horizon, relative to no change", 1, 0.05, root=True),
    Figure("correction_gain", "realised gain of a followed plan", -1, 0.05),
    Figure("command_age_p99_ms", "age of commands, 99 %, ms", 1, 0.1, 0.2),
    Figure("plan_age_p99_ms", "age of plans, 99 %, ms", 1, 0.1, 0.5),
    Figure("overruns", "overruns per plan", 1, 0.1, 0.002),
    Figure("fallbacks", "commands without a plan in time, share", 1, 0.1, 0.002),
    Figure("observations_lost", "observations lost, share", 1, 0.1, 0.001),
    Figure("at_limit", "command entries at a limit, share", 1, 0.1, 0.005),
    Figure("beyond_range", "observations beyond their range, share", 1, 0.1, 0.005),
)
_COST_TERM = "cost_per_second."


def figure_of(name: str) -> Figure | None:
    """The figure of a name, None for one that is not compared."""
    if name.startswith(_COST_TERM):
        # What is gained in one term may be paid in another: the sum decides.
        return Figure(name, f"cost of {name.removeprefix(_COST_TERM)}, 1/s", 1, 0.05, decides=False)
    return next((figure for figure in _KNOWN if figure.name == name), None)


@dataclass(frozen=True)
class Sums:
    """Numerators and denominators of one figure by unit: recordings, or blocks of one. Shape=(units,) each."""

    numerators: Array
    denominators: Array


def known_figures(results: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """Figures that some recordings have, in a fixed order."""
    names = {name for result in results for name in result["blocks"]["figures"]}
    if any(result["task_metrics"]["success"] is not None for result in results):
        names.add("failures")
    order = [figure.name for figure in _KNOWN]
    known = [figure for name in names if (figure := figure_of(name)) is not None]
    # Where terms are few of the whole, the whole comes first.
    return sorted(known, key=lambda f: (order.index(f.name) if f.name in order else len(order), f.name))


def by_recording(results: Sequence[Mapping[str, Any]], figure: Figure) -> Sums:
    """Sums of each recording."""
    pairs = [_total(result, figure) for result in results]
    return Sums(np.array([above for above, _ in pairs]), np.array([below for _, below in pairs]))


def by_block(result: Mapping[str, Any], figure: Figure) -> Sums:
    """Sums of each block of one recording."""
    sums = result["blocks"]["figures"].get(figure.name)
    if sums is None:
        above, below = _total(result, figure)
        return Sums(np.array([above]), np.array([below]))
    return Sums(np.array(sums["numerators"], float), np.array(sums["denominators"], float))


def _total(result: Mapping[str, Any], figure: Figure) -> tuple[float, float]:
    if figure.name == "failures":
        success = result["task_metrics"]["success"]
        return (0.0, 0.0) if success is None else (float(not success), 1.0)
    sums = result["blocks"]["figures"].get(figure.name, {"numerators": [], "denominators": []})
    return float(sum(sums["numerators"])), float(sum(sums["denominators"]))
