"""A page of plots of walks beside each other: what was asked, what was done, what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from demo_control.files import write_atomically
from demo_control.report.run_plot import COLOURS
from demo_control.scenarios import ShownRun
from stoch2_sim.robots.stoch2.episode import Push
from stoch2_sim.robots.stoch2.geometry import CONTROL_PERIOD_S
from stoch2_sim.robots.stoch2.recorded_plants import walk_of
from stoch2_sim.robots.stoch2.walk_metrics import CYCLE_TICKS, Walk
from stoch2_sim.simulators.protocol import Array

COMMAND_COLOUR = "#111111"
PUSH_COLOUR = "#b3261e"
_REJECTED = "plan_rejected"
_MILLISECONDS = 1000.0


def write_walk_plot(path: Path, runs: Sequence[ShownRun], pushes: Sequence[Push], title: str) -> None:
    """Draw the page.

    Args:
        path: PNG file, written beside and renamed.
        runs: At least one; the last is the one whose planner is shown.
        pushes: That all runs got.
        title: Of the page.
    """
    figure = Figure(figsize=(15.0, 12.5), layout="constrained")
    figure.suptitle(title, fontsize=13, fontweight="bold")
    grid = figure.add_gridspec(5, 3)
    left = [figure.add_subplot(grid[row, :2]) for row in range(5)]
    for axis in left[1:]:
        axis.sharex(left[0])
    walks = [walk_of(run.trial) for run in runs]
    pushes = [push for push in pushes if push.start_tick < len(runs[0].trial.actions)]
    _speed(left[0], runs, walks)
    _heading(left[1], walks)
    _angle(left[2], walks, 0, "roll to the ground [°]")
    _angle(left[3], walks, 1, "pitch to the ground [°]")
    _costs(left[4], walks)
    for axis in left:
        _mark(axis, pushes, walks)
    left[0].legend(loc="lower left", fontsize=9, ncols=3)
    left[-1].set_xlabel("time [s]")
    left[-1].set_xlim(0.0, CONTROL_PERIOD_S * len(runs[0].trial.actions))
    _map(figure.add_subplot(grid[:2, 2]), walks, pushes)
    _predictions(figure.add_subplot(grid[2, 2]), runs[-1], pushes)
    _fallbacks(figure.add_subplot(grid[3, 2]), runs[-1])
    _plan_times(figure.add_subplot(grid[4, 2]), runs[-1])
    write_atomically(path, lambda beside: figure.savefig(beside, dpi=110))


def _times(values: Array) -> Array:
    return CONTROL_PERIOD_S * np.arange(len(values), dtype=np.float64)


def over_a_cycle(values: Array) -> Array:
    """Means over the gait cycle around each tick, shorter at the ends. Shape=(num_ticks,)."""
    sums: Array = np.concatenate([[0.0], np.cumsum(values)])
    ticks = np.arange(len(values))
    first, last = np.maximum(0, ticks - CYCLE_TICKS // 2), np.minimum(len(values), ticks + CYCLE_TICKS // 2)
    return np.asarray((sums[last] - sums[first]) / (last - first))


def _upright(walk: Walk, values: Array) -> Array:
    """The part of a series before the fall."""
    return values[: walk.end + 1]


def _speed(axis: Axes, runs: Sequence[ShownRun], walks: Sequence[Walk]) -> None:
    """Forward speed over a gait cycle, and what was asked."""
    for run, walk, colour in zip(runs, walks, COLOURS, strict=False):
        speed = over_a_cycle(_upright(walk, walk.body_velocity[:, 0]))
        axis.plot(_times(speed), speed, color=colour, linewidth=1.8, label=run.label)
    command = walks[-1].commands[:, 0]
    axis.plot(_times(command), command, color=COMMAND_COLOUR, linewidth=1.2, linestyle="--", label="command")
    axis.set_ylabel("forward speed [m/s]\n(mean over a gait cycle)")


def _heading(axis: Axes, walks: Sequence[Walk]) -> None:
    """Heading, and that of the commanded path."""
    for walk, colour in zip(walks, COLOURS, strict=False):
        heading = np.degrees(_upright(walk, walk.yaw))
        axis.plot(_times(heading), heading, color=colour, linewidth=1.8)
    path = np.degrees(walks[-1].path_yaw)
    axis.plot(_times(path), path, color=COMMAND_COLOUR, linewidth=1.2, linestyle="--")
    axis.set_ylabel("heading [°]")


def _angle(axis: Axes, walks: Sequence[Walk], index: int, label: str) -> None:
    for walk, colour in zip(walks, COLOURS, strict=False):
        angle = np.degrees(_upright(walk, walk.posture_error[:, index]))
        axis.plot(_times(angle), angle, color=colour, linewidth=1.0)
    axis.set_ylabel(label)


def _costs(axis: Axes, walks: Sequence[Walk]) -> None:
    """Cost of each tick over a gait cycle; a fall ends the line."""
    for walk, colour in zip(walks, COLOURS, strict=False):
        cost = over_a_cycle(_upright(walk, walk.cost))
        axis.plot(_times(cost), np.maximum(cost, 1e-4), color=colour, linewidth=1.8)
    axis.set_yscale("log")
    axis.set_ylabel("cost per tick\n(mean over a gait cycle)")


def _mark(axis: Axes, pushes: Sequence[Push], walks: Sequence[Walk]) -> None:
    """Pushes as lines with their force, falls as crosses."""
    axis.grid(alpha=0.3)
    for push in pushes:
        time_s = CONTROL_PERIOD_S * push.start_tick
        axis.axvline(time_s, color=PUSH_COLOUR, linewidth=1.2, alpha=0.7)
        if axis.get_subplotspec() is not None and axis.get_subplotspec().is_first_row():  # type: ignore[union-attr]
            force = f"push {np.hypot(*push.force_n[:2]):.0f} N"
            axis.annotate(force, (time_s, 1.0), (0, 2), xycoords=("data", "axes fraction"), va="bottom", ha="center",
                          textcoords="offset points", fontsize=9, color=PUSH_COLOUR)  # fmt: skip
    for number, (walk, colour) in enumerate(zip(walks, COLOURS, strict=False)):
        if walk.fall_tick is not None:
            time_s = CONTROL_PERIOD_S * walk.fall_tick
            axis.axvline(time_s, color=colour, linewidth=1.2, linestyle=":")
            # One above the other, should they fall at the same time.
            axis.annotate("falls", (time_s, 0.0), (3, 3 + 11 * number), xycoords=("data", "axes fraction"), va="bottom",
                          textcoords="offset points", fontsize=9, color=colour)  # fmt: skip


def _map(axis: Axes, walks: Sequence[Walk], pushes: Sequence[Push]) -> None:
    """The ways from above, and the commanded one."""
    path = commanded_path(walks[-1])
    axis.plot(*path.T, color=COMMAND_COLOUR, linewidth=1.2, linestyle="--")
    for walk, colour in zip(walks, COLOURS, strict=False):
        way = _upright(walk, walk.position[:, :2])
        axis.plot(*way.T, color=colour, linewidth=1.8)
        axis.plot(*way[-1], marker="o" if walk.fall_tick is None else "X", markersize=8, color=colour)
        for push in pushes:
            if push.start_tick < len(way):
                axis.plot(*way[push.start_tick], marker="o", markersize=5, color=PUSH_COLOUR)
    axis.set_aspect("equal", adjustable="datalim")
    axis.set_title("from above [m]; dots: pushes", fontsize=10)
    axis.grid(alpha=0.3)


def commanded_path(walk: Walk) -> Array:
    """Where a robot would be that had followed every command at once. Shape=(num_ticks + 1, 2)."""
    middle = 0.5 * (walk.path_yaw[1:] + walk.path_yaw[:-1])
    forward, left = (0.5 * CONTROL_PERIOD_S * (walk.commands[1:, :2] + walk.commands[:-1, :2])).T
    cosine, sine = np.cos(middle), np.sin(middle)
    steps = np.stack([cosine * forward - sine * left, sine * forward + cosine * left], axis=1)
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)]) + walk.position[0, :2]


def _predictions(axis: Axes, run: ShownRun, pushes: Sequence[Push]) -> None:
    """What the planner expects of the policy and of its plan, while the robot is on its feet."""
    end_s = CONTROL_PERIOD_S * (run.trial.failed_step or len(run.trial.actions))
    shown = [index for index, time_s in enumerate(run.plan_times_s) if time_s <= end_s]
    for name, colour, label in (
        ("nominal_cost", COLOURS[0], "following the policy"),
        ("plan_cost", COLOURS[1], "following the plan"),
    ):
        costs = np.array([getattr(run.reports[index], name) for index in shown])
        axis.plot(run.plan_times_s[shown], np.maximum(costs, 1e-3), color=colour, linewidth=1.2, label=label)
    if shown:
        axis.set_yscale("log")
        axis.margins(y=0.2)
        axis.legend(loc="upper right", fontsize=8)
    axis.set_xlim(0.0, CONTROL_PERIOD_S * len(run.trial.actions))
    for push in pushes:
        axis.axvline(CONTROL_PERIOD_S * push.start_tick, color=PUSH_COLOUR, linewidth=1.2, alpha=0.7)
    axis.set_ylabel("predicted cost")
    axis.set_xlabel("time [s]")
    axis.grid(alpha=0.3)


def _fallbacks(axis: Axes, run: ShownRun) -> None:
    """When the policy's action passed through, and why."""
    reasons = list(run.fallbacks)
    for row, reason in enumerate(reasons):
        colour = COLOURS[0] if reason == _REJECTED else COLOURS[2]
        axis.plot(run.fallbacks[reason], np.full(len(run.fallbacks[reason]), row), "|", markersize=10, color=colour)
    axis.set_yticks(range(len(reasons)), [reason.replace("_", " ") for reason in reasons])
    axis.set_ylim(-0.6, max(1, len(reasons)) - 0.4)
    # The marks at the very start are to be seen, too.
    axis.set_xlim(-0.3, CONTROL_PERIOD_S * len(run.trial.actions))
    axis.set_title("the policy's action passes through", fontsize=10)
    axis.set_xlabel("time [s]")
    axis.grid(alpha=0.3)


def _plan_times(axis: Axes, run: ShownRun) -> None:
    """Wall time of planning."""
    times = _MILLISECONDS * np.array([report.plan_time_s for report in run.reports])
    if len(times):
        axis.hist(times, bins=50, range=(0.0, 1.2 * float(np.percentile(times, 99.5))), color=COLOURS[1], alpha=0.7)
        axis.axvline(float(np.percentile(times, 99)), color=COLOURS[1], linestyle="--", linewidth=1.2)
    axis.set_xlabel("plan time [ms] (dashed: 99th percentile)")
    axis.set_ylabel("plans")
    axis.grid(alpha=0.3)
