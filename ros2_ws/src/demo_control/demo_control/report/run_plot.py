"""A page of plots that puts runs of one task beside each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from demo_control.bringup.recording import Recording
from demo_control.files import write_atomically
from demo_control.tasks import Array, Task

COLOURS = ("#8a8f98", "#1f6fb2", "#c2571a", "#3a8a4d")
"""By run: grey for what is compared with, then colours that differ for colour-blind people too."""

_NOMINAL_COLOUR = "#c9a227"
_MILLISECONDS = 1000.0


@dataclass(frozen=True)
class PlottedRun:
    """One run of the page.

    Attributes:
        label: Who was in control.
        recording: What was said on the topics.
        rewards: Per control period. Shape=(num_steps,).
    """

    label: str
    recording: Recording
    rewards: Array


def write_run_plot(path: Path, task: Task, runs: Sequence[PlottedRun], title: str) -> None:
    """Draw the page: states on the left, commands, costs and timing on the right.

    Args:
        path: PNG file, written beside and renamed.
        task: Gives names and units.
        runs: At least one; the last is the one whose planner is shown.
        title: Of the page.
    """
    rows = max(task.observation_dim, task.action_dim + 5)
    figure = Figure(figsize=(14.0, 1.9 * rows + 0.8), layout="constrained")
    figure.suptitle(title, fontsize=14, fontweight="bold")
    axes = figure.subplots(rows, 2, squeeze=False)
    for index, quantity in enumerate(task.observation):
        _states(axes[index][0], runs, index, f"{_words(quantity.name)} [{quantity.unit}]")
    for index, quantity in enumerate(task.action):
        _commands(axes[index][1], runs, index, f"{_words(quantity.name)} [{quantity.unit}]")
    below = task.action_dim
    _costs(axes[below][1], task, runs)
    _predictions(axes[below + 1][1], runs[-1])
    _regret(axes[below + 2][1], runs[-1])
    _histogram(axes[below + 3][1], runs[-1:], "plan time [ms]", lambda r: r.plans.plan_times_s)
    _histogram(axes[below + 4][1], runs, "command age [ms]", lambda r: r.command_ages_s)
    for used, column in ((task.observation_dim, 0), (below + 5, 1)):
        for row in range(used, rows):
            axes[row][column].set_axis_off()
    axes[0][0].legend(loc="upper right", fontsize=9)
    axes[task.observation_dim - 1][0].set_xlabel("time [s]")
    write_atomically(path, lambda beside: figure.savefig(beside, dpi=110))


def _words(name: str) -> str:
    return name.replace("_", " ")


def _states(axis: Axes, runs: Sequence[PlottedRun], index: int, label: str) -> None:
    """One entry of the true state over time."""
    for run, colour in zip(runs, COLOURS, strict=False):
        truth = run.recording.true_observations
        axis.plot(truth.times_s, truth.values[:, index], color=colour, linewidth=1.4, label=run.label)
    axis.set_ylabel(label)
    axis.grid(alpha=0.3)


def _commands(axis: Axes, runs: Sequence[PlottedRun], index: int, label: str) -> None:
    """One entry of the action over time: what was applied, and what the policy wanted in the last run."""
    for run, colour in zip(runs, COLOURS, strict=False):
        applied = run.recording.applied_actions
        axis.step(applied.times_s, applied.values[:, index], color=colour, linewidth=1.0, where="post",
                  label=f"applied, {run.label}")  # fmt: skip
    nominal = runs[-1].recording.nominal_actions
    axis.step(nominal.times_s, nominal.values[:, index], color=_NOMINAL_COLOUR, linewidth=0.8, alpha=0.8,
              where="post", label=f"nominal, {runs[-1].label}")  # fmt: skip
    axis.set_ylabel(label)
    axis.legend(loc="upper right", fontsize=7)
    axis.grid(alpha=0.3)


def _costs(axis: Axes, task: Task, runs: Sequence[PlottedRun]) -> None:
    """Stage cost over time."""
    for run, colour in zip(runs, COLOURS, strict=False):
        times = run.recording.true_observations.times_s[1 : len(run.rewards) + 1]
        axis.plot(times, task.alive_reward - run.rewards, color=colour, linewidth=1.4)
    axis.set_ylabel("cost per period")
    axis.grid(alpha=0.3)


def _predictions(axis: Axes, run: PlottedRun) -> None:
    """What the planner expects of the policy and of its plan."""
    plans = run.recording.plans
    # A policy that is predicted to leave the track costs orders of magnitude more: hence the logarithm.
    for costs, colour, label in (
        (plans.nominal_costs, _NOMINAL_COLOUR, "following the policy"),
        (plans.plan_costs, COLOURS[1], "following the plan"),
    ):
        axis.plot(plans.times_s, np.maximum(costs, 1e-3), color=colour, linewidth=1.2, label=label)
    if len(plans):
        axis.set_yscale("log")
        axis.legend(loc="upper right", fontsize=8)
    axis.set_ylabel("predicted cost")
    axis.grid(alpha=0.3)


def _regret(axis: Axes, run: PlottedRun) -> None:
    """How far the search has moved from what its shift model proposed, and the regret."""
    plans = run.recording.plans
    axis.plot(plans.times_s, plans.path_lengths, color=COLOURS[3], linewidth=1.2, label="path length")
    axis.set_ylabel("path length", color=COLOURS[3])
    axis.set_xlabel("time [s]")
    axis.grid(alpha=0.3)
    right = axis.twinx()
    right.plot(plans.times_s, plans.regrets, color=COLOURS[2], linewidth=1.2, label="regret")
    right.set_ylabel("regret", color=COLOURS[2])


def _histogram(axis: Axes, runs: Sequence[PlottedRun], label: str, seconds: Callable[[Recording], Array]) -> None:
    """A distribution of times, with its 99th percentile."""
    shown = [(run, seconds(run.recording) * _MILLISECONDS) for run in runs if len(seconds(run.recording))]
    if not shown:
        axis.text(0.5, 0.5, "no data", ha="center", va="center", transform=axis.transAxes)
    for run, times in shown:
        colour = COLOURS[1] if run is runs[-1] else COLOURS[0]
        widest = max(float(np.percentile(times, 99.8)) * 1.1, 1e-3)
        axis.hist(times, bins=60, range=(0.0, widest), color=colour, alpha=0.6, label=run.label)
        axis.axvline(float(np.percentile(times, 99)), color=colour, linestyle="--", linewidth=1.0)
    axis.set_xlabel(f"{label} (dashed: 99th percentile)")
    axis.set_ylabel("count")
    axis.grid(alpha=0.3)
