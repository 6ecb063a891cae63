"""Evaluation of a bundle over many episodes on all cores, with a result that does not depend on their number."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from demo_control.bundle import load_bundle
from demo_control.configuration import ConfigurationError, Scalar
from demo_control.controllers import CONTROLLERS, make_controller
from demo_control.evaluation import run_episodes
from demo_control.layer import LayerSettings
from demo_control.processes import end_with_parent
from demo_control.statistics import wilson_interval
from demo_control.tasks import Task, load_task

EPISODES_PER_BATCH = 25
"""Episodes that are planned for in one call. Fixed, since float32 sums depend on the size of a batch."""

DELAY_SETTING = "delay_ticks"
"""A plant setting that the layer knows of (a robot's delay is measured once); see :func:`split_settings`."""


@dataclass(frozen=True)
class EvaluationRequest:
    """One evaluation.

    Attributes:
        task: Name of the task.
        bundle: Directory of the bundle.
        controller: 'policy' or 'demo'.
        simulator: One of the task's simulators.
        episodes: Number of episodes.
        seed: Of everything random.
        plant: Settings of the plants, by name.
        layer: Settings of the layer that differ from the task's, by name.
    """

    task: str
    bundle: Path
    controller: str
    simulator: str
    episodes: int
    seed: int
    plant: Mapping[str, Scalar] = field(default_factory=dict)
    layer: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True)
class BatchResult:
    """Verdicts, returns and roughness of the commands of the episodes from number ``first`` on."""

    first: int
    results: tuple[Mapping[str, float | bool], ...]
    returns: tuple[float, ...]
    action_changes: tuple[float, ...]


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


def check_request(request: EvaluationRequest) -> Task:
    """Check everything that can be wrong before work starts.

    Raises:
        ConfigurationError: A field's value, with what is allowed.
        BundleError: The bundle.
    """
    task = load_task(request.task)
    for name, value, allowed in (
        ("controller", request.controller, CONTROLLERS),
        ("simulator", request.simulator, task.simulators),
    ):
        if value not in allowed:
            raise ConfigurationError(f"{name} = '{value}': must be one of {', '.join(allowed)}")
    if request.episodes < 1:
        raise ConfigurationError(f"episodes = {request.episodes}: must be at least 1")
    if request.seed < 0:
        raise ConfigurationError(f"seed = {request.seed}: must be at least 0")
    LayerSettings.for_task(task, request.layer)
    load_bundle(request.bundle, task)
    task.make_plants(request.simulator, 1, request.plant).close()
    return task


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
        seed, and the mean of each further figure of the task's score.

    Raises:
        ConfigurationError: A request that cannot be met.
        BundleError: A bundle that must not be used.
    """
    check_request(request)
    starts = range(0, request.episodes, EPISODES_PER_BATCH)
    workers = min(jobs or len(os.sched_getaffinity(0)), len(starts))
    if workers == 1:
        batches = []
        for first in starts:
            batches.append(run_batch(request, first))
            if progress is not None:
                progress(len(batches[-1].returns))
        return summary(request, batches)
    # 'spawn': a forked child would inherit the threads of ONNX Runtime and PyBullet in an unknown state.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, end_with_parent, (os.getpid(),)) as pool:
        futures = [pool.submit(run_batch, request, first) for first in starts]
        try:
            for future in as_completed(futures):
                if progress is not None:
                    progress(len(future.result().returns))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return summary(request, [future.result() for future in futures])


def run_batch(request: EvaluationRequest, first: int) -> BatchResult:
    """Run the batch of episodes that starts with number ``first``."""
    task = load_task(request.task)
    count = min(EPISODES_PER_BATCH, request.episodes - first)
    plants = task.make_plants(request.simulator, count, request.plant)
    try:
        controller = make_controller(
            request.controller,
            task,
            load_bundle(request.bundle, task),
            LayerSettings.for_task(task, request.layer),
            count,
        )
        episodes = run_episodes(task, plants, controller, request.seed, first_episode=first)
    finally:
        plants.close()
    changes = episodes.action_changes(task)
    return BatchResult(first, episodes.results, tuple(episodes.returns.tolist()), tuple(changes.tolist()))


def summary(request: EvaluationRequest, batches: list[BatchResult]) -> dict[str, object]:
    """Sum up the episodes of an evaluation; what :func:`evaluate` returns."""
    results = [result for batch in batches for result in batch.results]
    returns = np.array([value for batch in batches for value in batch.returns])
    successes = sum(bool(result["success"]) for result in results)
    # A figure may be missing where it means nothing, for example when a pole came up that never did.
    names = dict.fromkeys(name for result in results for name in result if name != "success")
    figures = {
        f"{name}_mean": float(np.mean([float(result[name]) for result in results if name in result])) for name in names
    }
    return {
        "task": request.task,
        "controller": request.controller,
        "simulator": request.simulator,
        "episodes": request.episodes,
        "successes": successes,
        "success_rate": successes / request.episodes,
        "success_interval": list(wilson_interval(successes, request.episodes)),
        "return_mean": float(returns.mean()),
        "return_std": float(returns.std()),
        "action_change_mean": float(np.mean([change for batch in batches for change in batch.action_changes])),
        **figures,
        "seed": request.seed,
        "bundle": str(request.bundle),
        "settings": {**request.plant, **request.layer},
        "failed_episodes": [index for index, result in enumerate(results) if not result["success"]],
    }
