"""The stages that make the model of a policy with corrections: data, ensemble, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
import onnx

from demo_control.learning import plots
from demo_control.learning.dataset import Dataset, Indices, arrays_of, episodes_of
from demo_control.learning.ensemble import Ensemble
from demo_control.learning.episodes import Episode
from demo_control.learning.exploration import explore, split_groups
from demo_control.learning.export import dynamics_model
from demo_control.learning.model_metrics import ModelMetrics, measure
from demo_control.learning.seeding import Purpose, stream
from demo_control.learning.stages import Run, fit_model
from demo_control.learning.storage import load_arrays, save_arrays
from demo_control.learning.workers import Workers


@dataclass(frozen=True)
class CorrectionModel:
    """The model and what it was made from.

    Attributes:
        ensemble: The trained members.
        model: dynamics.onnx.
        dataset: What they were fitted to and judged by.
        held_out: Errors on the held-out episodes.
        unseen: Errors on terrains and settings that occur in no training data.
    """

    ensemble: Ensemble
    model: onnx.ModelProto
    dataset: Dataset
    held_out: ModelMetrics
    unseen: ModelMetrics


def learn_correction_model(run: Run, policy: onnx.ModelProto) -> CorrectionModel:
    """Collect, fit, export and measure.

    Args:
        run: The run; its task has ``planning`` and ``model_training``.
        policy: policy.onnx.
    """
    settings = run.settings
    groups = collect(run, policy, "training", settings.exploration.episodes)
    dataset = split_groups(groups, settings.exploration.held_out_fraction)
    unseen = [e for group in collect(run, policy, "unseen", settings.exploration.unseen_episodes) for e in group]
    problem_run = replace(run, task=run.task.planning_problem)
    ensemble, report = fit_model(problem_run, 0, dataset, settings.final_fit)
    plots.plot_fits(run.folder.curves, [report])
    model = dynamics_model(ensemble)
    measured = [_measure(problem_run, model, episodes, index) for index, episodes in
                enumerate((dataset.held_out, unseen))]  # fmt: skip
    for metrics, name in zip(measured, ("horizon_error", "horizon_error_unseen"), strict=True):
        plots.plot_horizon(run.folder.curves, metrics, problem_run.task.control_period_s, name)
    return CorrectionModel(ensemble, model, dataset, *measured)


def collect(run: Run, policy: onnx.ModelProto, kind: str, count: int) -> list[list[Episode]]:
    """The stage 'data': episodes with random corrections, each batch of them a checkpoint.

    Args:
        run: The run.
        policy: policy.onnx.
        kind: 'training' or 'unseen'.
        count: Number of episodes.

    Returns:
        For each episode its stretches.
    """
    settings = run.settings.exploration
    simulator = run.task.simulator_or_first(run.settings.collection.simulator)
    firsts = list(range(0, count, settings.batch_episodes))
    files = {first: f"data-{kind}-{first:05d}.npz" for first in firsts}
    missing = [first for first in firsts if not run.folder.file(files[first]).exists()]
    sizes = {first: min(settings.batch_episodes, count - first) for first in firsts}
    done = count - sum(sizes[first] for first in missing)
    run.reporter.start(f"data: {count} {kind} episodes with random corrections", count, done)
    with Workers(run.task) as workers:
        arguments = [(simulator, kind, run.seed, first, sizes[first], policy, settings) for first in missing]
        made = workers.map(explore, arguments)
        groups: list[list[Episode]] = []
        for first in firsts:
            batch: list[list[Episode]] = run.folder.checkpoint(files[first], partial(next, made), _save, load_groups)
            groups += batch
            run.reporter.advance(len(groups), f"{_transitions(groups)} transitions")
    run.reporter.finish(f"{_transitions(groups)} transitions")
    return groups


def _save(groups: list[list[Episode]], path: Path) -> None:
    episodes = [episode for group in groups for episode in group]
    save_arrays(
        path,
        {
            "group_sizes": np.array([len(group) for group in groups], dtype=np.int64),
            **arrays_of(episodes),
        },
    )


def load_groups(path: Path) -> list[list[Episode]]:
    """Read what a batch of the stage 'data' has saved: for each episode its stretches.

    Raises:
        OSError, ValueError, KeyError: The file is missing or is not such a file.
    """
    arrays = load_arrays(path)
    episodes = iter(episodes_of(arrays))
    return [list(islice(episodes, int(size))) for size in cast(Indices, arrays["group_sizes"])]


def _transitions(groups: Sequence[Sequence[Episode]]) -> int:
    return sum(len(episode) for group in groups for episode in group)


def _measure(run: Run, model: onnx.ModelProto, episodes: Sequence[Episode], index: int) -> ModelMetrics:
    return measure(run.task, model, episodes, run.layer.horizon, stream(run.seed, Purpose.PARITY, 1 + index))
