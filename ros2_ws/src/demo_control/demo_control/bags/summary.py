"""Many recordings summed up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from demo_control.bags.figures import Figure, by_recording, known_figures

SLIM = (
    "bag", "task", "bundle_sha256", "recorded_s", "actions", "identical_actions", "bit_exact", "complete", "blocks",
    "task_metrics", "warnings",
)  # fmt: skip
"""What is kept in memory of each recording: enough to sum up and to compare."""


def slim(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result without what is looked at one by one."""
    kept = {name: result[name] for name in SLIM}
    kept["task_metrics"] = {"success": result["task_metrics"]["success"]}
    kept["model_error"] = {"relative": result["model_error"]["relative"], "count": result["model_error"]["count"]}
    return kept


def summed_up(results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Sums of each robot's recordings, and how the figures vary among them; ready for JSON.

    Args:
        results: Evaluations, slim or whole.
    """
    robots = {}
    for robot in sorted({str(result["task"]) for result in results}):
        own = [result for result in results if result["task"] == robot]
        robots[robot] = {
            "bags": len(own),
            "recorded_s": sum(result["recorded_s"] for result in own),
            "actions": sum(result["actions"] for result in own),
            "identical_actions": sum(result["identical_actions"] for result in own),
            "bit_exact": sum(result["bit_exact"] for result in own),
            "incomplete": sum(not result["complete"] for result in own),
            "figures": [_figure(own, figure) for figure in known_figures(own)],
        }
    return robots


def _figure(results: Sequence[Mapping[str, Any]], figure: Figure) -> dict[str, object]:
    """One figure over all recordings, its spread among them, and which is the worst."""
    sums = by_recording(results, figure)
    each = figure.of(sums.numerators, sums.denominators)
    known = np.flatnonzero(np.isfinite(each))
    total = figure.of(sums.numerators.sum(), sums.denominators.sum())
    low, middle, high = np.percentile(each[known], [5, 50, 95]) if len(known) else (np.nan,) * 3
    worst = known[np.argmax(figure.sign * each[known])] if len(known) else None
    return {
        "figure": figure.name,
        "text": figure.text,
        "all": _finite(float(total)),
        "p5": _finite(float(low)),
        "p50": _finite(float(middle)),
        "p95": _finite(float(high)),
        "worst": None if worst is None else results[int(worst)]["bag"],
    }


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
