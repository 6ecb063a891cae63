"""Evaluation of a bundle over many episodes on all cores, with a result that does not depend on their number."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from demo_control.bundle import load_bundle
from demo_control.configuration import ConfigurationError, Scalar, UnknownSettingError
from demo_control.controllers import CONTROLLERS, Controller, LayerController, make_controller
from demo_control.evaluation import Episodes, episode_generators, run_episodes
from demo_control.layer import LayerSettings
from demo_control.scenarios import CONSTANT, ConstantController, Scenario, aggregate, aggregate_cells, make_trials
from demo_control.statistics import wilson_interval
from demo_control.tasks import Task, load_task
from demo_control.worker_pool import WorkerPool

EPISODES_PER_BATCH = 25
"""Episodes that are planned for in one call. Fixed, since float32 sums depend on the size of a batch."""

EPISODES_PER_SCENARIO_BATCH = 8
"""The same for scenarios, which have fewer and longer episodes: sixteen of them keep two cores busy."""

TIMED_TICKS = 500
"""Control periods during which plans are timed."""

DELAY_SETTING = "delay_ticks"
"""A plant setting that the layer knows of (a robot's delay is measured once); see :func:`split_settings`."""


@dataclass(frozen=True)
class EvaluationRequest:
    """One evaluation.

    Attributes:
        task: Name of the task.
        bundle: Directory of the bundle.
        controller: 'policy', 'demo' or, in a scenario, 'constant'.
        simulator: One of the task's simulators.
        episodes: Number of episodes.
        seed: Of everything random.
        plant: Settings of the plants or the scenario, by name.
        layer: Settings of the layer that differ from the task's, by name.
        scenario: One of the task's scenarios; '' for the first, or for a task without any.
        steps: Control periods of an episode of a scenario, or None for its own number.
    """

    task: str
    bundle: Path
    controller: str
    simulator: str
    episodes: int
    seed: int
    plant: Mapping[str, Scalar] = field(default_factory=dict)
    layer: Mapping[str, Scalar] = field(default_factory=dict)
    scenario: str = ""
    steps: int | None = None


@dataclass(frozen=True)
class BatchResult:
    """Verdicts, returns, roughness of the commands, and what their planner said, of the episodes from ``first`` on."""

    first: int
    results: tuple[Mapping[str, float | bool], ...]
    returns: tuple[float, ...]
    action_changes: tuple[float, ...]
    planning: tuple[Mapping[str, float | None], ...] = ()


def split_settings(settings: Mapping[str, Scalar]) -> tuple[dict[str, Scalar], dict[str, Scalar]]:
    """Tell plant settings from layer settings.

    The layer is told the plant's command delay unless the settings say otherwise, as a robot's delay is measured
    when it is set up.

    Args:
        settings: By name, mixed.

    Returns:
        (plant settings, layer settings).
    """
    layer_names = {entry.name for entry in LayerSettings.entries()}
    plant = {name: value for name, value in settings.items() if name not in layer_names}
    layer = {name: value for name, value in settings.items() if name in layer_names}
    if DELAY_SETTING in plant:
        layer.setdefault("command_delay_ticks", plant[DELAY_SETTING])
    return plant, layer


@contextmanager
def both_kinds_known() -> Iterator[None]:
    """Tell of an unknown name among settings that were split with the names of the layer's settings, too.

    Raises:
        UnknownSettingError: Neither plant or scenario nor the layer has a setting of that name.
    """
    try:
        yield
    except UnknownSettingError as error:
        layer_names = [entry.name for entry in LayerSettings.entries()]
        raise UnknownSettingError(error.name, [*error.known, *layer_names]) from None


def check_request(request: EvaluationRequest) -> Task:
    """Check everything that can be wrong before work starts.

    Raises:
        ConfigurationError: A field's value, with what is allowed.
        BundleError: The bundle.
    """
    task = load_task(request.task)
    for name, value, allowed in (
        ("controller", request.controller, (*CONTROLLERS, CONSTANT) if task.scenarios else CONTROLLERS),
        ("simulator", request.simulator, task.simulators),
    ):
        if value not in allowed:
            raise ConfigurationError(f"{name} = '{value}': must be one of {', '.join(allowed)}")
    if request.episodes < 1:
        raise ConfigurationError(f"episodes = {request.episodes}: must be at least 1")
    if request.seed < 0:
        raise ConfigurationError(f"seed = {request.seed}: must be at least 0")
    if request.controller != CONSTANT:
        LayerSettings.for_task(task, request.layer)
        load_bundle(request.bundle, task)
    scenario = make_scenario(task, request.scenario, request.plant, request.steps)
    if scenario is None:
        task.make_plants(request.simulator, 1, request.plant).close()
    else:
        scenario.make_plants(request.simulator, request.seed, [0]).close()
    return task


def make_scenario(
    task: Task, name: str, settings: Mapping[str, Scalar] | None = None, steps: int | None = None
) -> Scenario | None:
    """A scenario of a task, or None where the task has none.

    Args:
        task: The task.
        name: The scenario's name, '' for the task's first.
        settings: The scenario's settings by name.
        steps: Control periods of an episode, or None for the scenario's own number.

    Raises:
        ConfigurationError: An unknown scenario or setting, or a bad value.
    """
    if not task.scenarios:
        for option, value in (("scenario", name), ("steps", steps)):
            if value not in ("", None):
                raise ConfigurationError(f"{option} = {value!r}: task '{task.name}' has no scenarios")
        return None
    chosen = name or next(iter(task.scenarios))
    if chosen not in task.scenarios:
        raise ConfigurationError(f"scenario = '{chosen}': must be one of {', '.join(task.scenarios)}")
    if steps is not None and steps < 1:
        raise ConfigurationError(f"steps = {steps}: must be at least 1")
    return task.scenarios[chosen](settings or {}, steps)


def evaluate(
    request: EvaluationRequest, progress: Callable[[int], None] | None = None, jobs: int | None = None
) -> dict[str, object]:
    """Run the episodes and sum up.

    Args:
        request: What to evaluate.
        progress: Told the number of episodes each time some are done.
        jobs: Processes; as many as cores by default.

    Returns:
        Task, controller, simulator, episodes, successes, success_rate and its 95 % interval, return_mean, return_std,
        action_change_mean (root mean square change of the command per period, as a share of its range), settings,
        seed, and the mean of each further figure of the task's score. With a planner also planning: each episode's
        number of plans, path length, realised cost and regret (None for an infinite one) of
        :class:`~demo_control.mpc.regret.Regret`. In a scenario also: scenario, steps, falls, fall_rate, intervals of
        all figures, the figures of each of the scenario's cells and of each episode, and plan_ms, the wall time of
        one robot's plans.

    Raises:
        ConfigurationError: A request that cannot be met.
        BundleError: A bundle that must not be used.
    """
    check_request(request)
    starts = range(0, request.episodes, _batch_size(request))
    workers = min(jobs or len(os.sched_getaffinity(0)), len(starts))
    if workers == 1:
        batches = []
        for first in starts:
            batches.append(run_batch(request, first))
            if progress is not None:
                progress(len(batches[-1].returns))
        return summary(request, batches)
    with WorkerPool(workers) as pool:
        futures = [pool.submit(run_batch, request, first) for first in starts]
        for future in as_completed(futures):
            if progress is not None:
                progress(len(future.result().returns))
    return summary(request, [future.result() for future in futures])


def _batch_size(request: EvaluationRequest) -> int:
    return EPISODES_PER_SCENARIO_BATCH if load_task(request.task).scenarios else EPISODES_PER_BATCH


def run_batch(request: EvaluationRequest, first: int) -> BatchResult:
    """Run the batch of episodes that starts with number ``first``."""
    task = load_task(request.task)
    count = min(_batch_size(request), request.episodes - first)
    scenario = make_scenario(task, request.scenario, request.plant, request.steps)
    controller = _controller(request, task, scenario, count)
    if scenario is None:
        plants = task.make_plants(request.simulator, count, request.plant)
        try:
            episodes = run_episodes(task, plants, controller, request.seed, first_episode=first)
        finally:
            plants.close()
        return _batch_result(task, first, episodes, episodes.results, controller)
    recording = scenario.make_plants(request.simulator, request.seed, range(first, first + count))
    try:
        episodes = run_episodes(
            task, recording, controller, request.seed, first_episode=first, num_steps=scenario.num_steps
        )
        trials = make_trials(recording, episodes, first, task.control_period_s)
    finally:
        recording.close()
    return _batch_result(task, first, episodes, tuple(scenario.judge(trial) for trial in trials), controller)


def _controller(request: EvaluationRequest, task: Task, scenario: Scenario | None, count: int) -> Controller:
    """The controller of ``count`` plants."""
    if scenario is not None and request.controller == CONSTANT:
        return ConstantController(scenario.constant_action)
    # The processes share the cores already. Threads do not change results.
    settings = LayerSettings.for_task(task, {"engine_threads": 1, **request.layer})
    return make_controller(request.controller, task, load_bundle(request.bundle, task), settings, count)


def _batch_result(
    task: Task, first: int, episodes: Episodes, results: tuple[Mapping[str, float | bool], ...], controller: Controller
) -> BatchResult:
    changes = episodes.action_changes(task)
    # A robot's own figure that is no number means nothing, as one that is left out; JSON has no word for it either.
    results = tuple({name: value for name, value in one.items() if np.isfinite(value)} for one in results)
    planning: tuple[Mapping[str, float | None], ...] = ()
    if isinstance(controller, LayerController):
        planning = tuple(
            {
                "plans": counters.plans,
                "path_length": report.path_length,
                "regret": report.regret if np.isfinite(report.regret) else None,
                "realised_cost": report.realised_cost,
            }
            for report, counters in zip(controller.reports, controller.counters, strict=True)
        )
    return BatchResult(first, results, tuple(episodes.returns.tolist()), tuple(changes.tolist()), planning)


def summary(request: EvaluationRequest, batches: list[BatchResult]) -> dict[str, object]:
    """Sum up the episodes of an evaluation; what :func:`evaluate` returns."""
    results = [result for batch in batches for result in batch.results]
    returns = np.array([value for batch in batches for value in batch.returns])
    task = load_task(request.task)
    scenario = make_scenario(task, request.scenario, request.plant, request.steps)
    report: dict[str, object] = {
        "task": request.task,
        "controller": request.controller,
        "simulator": request.simulator,
        "episodes": request.episodes,
        **(_score_figures(results) if scenario is None else dict.fromkeys(scenario.reported) | aggregate(results)),
        "return_mean": float(returns.mean()),
        "return_std": float(returns.std()),
        "action_change_mean": float(np.mean([change for batch in batches for change in batch.action_changes])),
        "seed": request.seed,
        "bundle": str(request.bundle),
        "settings": {**request.plant, **request.layer},
        "failed_episodes": [index for index, result in enumerate(results) if not result["success"]],
    }
    planning = [plan for batch in batches for plan in batch.planning]
    if planning:
        report["planning"] = {name: [plan[name] for plan in planning] for name in planning[0]}
    if scenario is not None:
        report |= {
            "scenario": request.scenario or next(iter(task.scenarios)),
            "steps": scenario.num_steps,
            "settings": {**scenario.settings.as_mapping(), **request.layer},
            "cells": aggregate_cells(scenario, results),
            "episode_figures": [{"cell": scenario.cell(i), **result} for i, result in enumerate(results)],
            "plan_ms": _plan_times_ms(request, task, scenario),
        }
    return report


def _score_figures(results: Sequence[Mapping[str, float | bool]]) -> dict[str, object]:
    """Successes, and the means of the further figures of a task's score."""
    successes = sum(bool(result["success"]) for result in results)
    # A figure may be missing where it means nothing, for example when a pole came up that never did.
    names = dict.fromkeys(name for result in results for name in result if name != "success")
    return {
        "successes": successes,
        "success_rate": successes / len(results),
        "success_interval": list(wilson_interval(successes, len(results))),
        **{
            f"{name}_mean": float(np.mean([float(result[name]) for result in results if name in result]))
            for name in names
        },
    }


def _plan_times_ms(request: EvaluationRequest, task: Task, scenario: Scenario) -> dict[str, float] | None:
    """Median and 99th percentile of the wall time of one robot's plans; None without a planner.

    Plans of the evaluation are made for several robots in one call, so a robot of its own is asked here, in the
    process that has nothing else to do any more.
    """
    controller = None if request.controller == CONSTANT else _controller(request, task, scenario, 1)
    if not isinstance(controller, LayerController):
        return None
    plants = scenario.make_plants(request.simulator, request.seed, [0])
    try:
        observations = plants.reset(episode_generators(request.seed, 1))
        controller.reset([np.random.default_rng(request.seed)])
        seconds: dict[int, float] = {}
        for _ in range(TIMED_TICKS):
            observations, _failed = plants.step(controller.act(observations))
            seconds |= {report.observation_sequence: report.plan_time_s for report in controller.reports}
    finally:
        plants.close()
    if not seconds:
        return None
    p50, p99 = 1000.0 * np.percentile(list(seconds.values()), [50, 99])
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}
