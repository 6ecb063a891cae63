"""Named ways of trying a controller out: which plants, for how long, and what is measured.

A task offers its scenarios by name (:attr:`demo_control.tasks.Task.scenarios`). A scenario says what happens in episode
number i of a seed, so that controllers, simulators and numbers of processes can be compared episode by episode, and
turns what was recorded of an episode into figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from demo_control.configuration import Scalar, Settings
from demo_control.evaluation import Episodes
from demo_control.layer import PlanReport
from demo_control.statistics import bootstrap_interval, root_mean_square, wilson_interval
from demo_control.tasks import Array, Plants

CONSTANT = "constant"
"""Name of the controller that sends a scenario's constant action."""

SUCCESS = "success"
ROOT_MEAN_SQUARE = "_rms"
"""Figures whose name ends so are averaged as root mean squares, all others as means."""

Figures = Mapping[str, float | bool]


@dataclass(frozen=True)
class Trial:
    """What was recorded of one episode.

    Attributes:
        number: The episode's number.
        period_s: Time between two control periods.
        records: What the plants recorded, by name. Shape=(num_steps + 1, ...) each.
        actions: Shape=(num_steps, action_dim).
        failed_step: Control period in which the plant failed (the first is 1), or None.
    """

    number: int
    period_s: float
    records: Mapping[str, Array]
    actions: Array
    failed_step: int | None


class RecordingPlants(Plants, Protocol):
    """Plants that keep what a scenario judges."""

    def records(self) -> Mapping[str, Array]:
        """By name, since the last reset; 'failed' is one of them. Shape=(num_steps + 1, num_plants, ...) each."""
        ...


@dataclass(frozen=True)
class ShownRun:
    """One controller's run, to be shown beside others.

    Attributes:
        label: Who was in control.
        trial: What was recorded.
        figures: What the scenario makes of the trial.
        plan_times_s: When in the run plans were made. Shape=(num_plans,).
        reports: What was said of these plans; none without a planner.
        fallbacks: By reason, when the nominal action passed through. Shape=(num_commands,) each.
    """

    label: str
    trial: Trial
    figures: Figures
    plan_times_s: Array
    reports: tuple[PlanReport, ...]
    fallbacks: Mapping[str, Array]


class Scenario(Protocol):
    """One way of trying a controller out, with its settings."""

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        ...

    @property
    def num_episodes(self) -> int:
        """How many episodes the scenario has unless it is told otherwise."""
        ...

    @property
    def num_steps(self) -> int:
        """Control periods of an episode."""
        ...

    @property
    def constant_action(self) -> Array:
        """What the controller 'constant' sends. Shape=(action_dim,)."""
        ...

    def make_plants(self, simulator: str, seed: int, numbers: Sequence[int]) -> RecordingPlants:
        """Plants for some episodes; an episode depends on the seed and its number alone."""
        ...

    @property
    def reported(self) -> tuple[str, ...]:
        """Names of figures that the report always has, as in the report; None where no episode has them."""
        ...

    @property
    def cell_figures(self) -> tuple[str, ...]:
        """Names of the figures that are compared between cells, as in the report."""
        ...

    def cell(self, number: int) -> str:
        """What the episode shares with others that are summed up together, or '' for all."""
        ...

    def judge(self, trial: Trial) -> Figures:
        """``success`` and the scenario's own figures; one that means nothing for this trial is left out."""
        ...


@runtime_checkable
class ShowScenario(Scenario, Protocol):
    """A scenario made for being looked at."""

    @property
    def words(self) -> Mapping[str, str]:
        """How the figures that are shown are called, in their order."""
        ...

    def show(
        self, runs: Sequence[ShownRun], folder: Path, *, video: bool, progress: Callable[[str, float], None]
    ) -> Mapping[str, Path]:
        """Draw runs of episode 0 side by side.

        Args:
            runs: One per controller; the last is the one whose planner is shown.
            folder: Where the files go.
            video: Whether to draw a video.
            progress: Told the stage and its finished share.

        Returns:
            Files by kind, for example 'plot' and 'video'.

        Raises:
            RuntimeError: The video cannot be drawn here; it is then called again without.
        """
        ...


ScenarioFactory = Callable[[Mapping[str, Scalar], int | None], Scenario]
"""Maps (settings by name, control periods or None for the scenario's own) to a scenario.

Raises ConfigurationError for an unknown name or a bad value."""


class ConstantController:
    """Sends one action for ever; implements :class:`demo_control.controllers.Controller`.

    Args:
        action: Shape=(action_dim,).
    """

    def __init__(self, action: Array) -> None:
        self._action = action

    def reset(self, generators: Sequence[np.random.Generator]) -> None:
        """Nothing to forget."""

    def act(self, observations: Array) -> Array:
        """The constant action for every plant."""
        return np.tile(self._action, (len(observations), 1))


def make_trials(plants: RecordingPlants, episodes: Episodes, first: int, period_s: float) -> list[Trial]:
    """Each plant's part of what was recorded; plant 0 ran episode ``first``."""
    records = plants.records()
    trials = []
    for index in range(plants.num_plants):
        mine = {name: values[:, index] for name, values in records.items()}
        failed = np.flatnonzero(mine["failed"])
        failed_step = int(failed[0]) if failed.size else None
        trials.append(Trial(first + index, period_s, mine, episodes.actions[:, index], failed_step))
    return trials


def aggregate(results: Sequence[Figures]) -> dict[str, object]:
    """Sum up episodes: successes, and each figure's mean (or root mean square) with its 95 % interval.

    A figure is averaged over the episodes that have it.

    Args:
        results: At least one episode's figures, ``success`` among them.
    """
    successes = sum(bool(result[SUCCESS]) for result in results)
    count = len(results)
    report: dict[str, object] = {
        "successes": successes,
        "success_rate": successes / count,
        "success_interval": list(wilson_interval(successes, count)),
        "falls": count - successes,
        "fall_rate": (count - successes) / count,
    }
    for name in dict.fromkeys(name for result in results for name in result if name != SUCCESS):
        values = np.array([float(result[name]) for result in results if name in result])
        squares = name.endswith(ROOT_MEAN_SQUARE)
        statistic = root_mean_square if squares else np.mean
        report[name if squares else f"{name}_mean"] = float(statistic(values))
        report[f"{name}_interval"] = list(bootstrap_interval(values, root_mean_square if squares else None))
    return report


def aggregate_cells(scenario: Scenario, results: Sequence[Figures]) -> list[dict[str, object]]:
    """The same for each of the scenario's cells, in the order of their first episode; empty if there is one only.

    Args:
        scenario: Tells the cells.
        results: The figures of the episodes from number 0 on.
    """
    cells: dict[str, list[Figures]] = {}
    for number, result in enumerate(results):
        cells.setdefault(scenario.cell(number), []).append(result)
    if len(cells) == 1:
        return []
    return [{"cell": name, "episodes": len(mine), **aggregate(mine)} for name, mine in cells.items()]
