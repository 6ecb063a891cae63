"""From a seed to an accepted bundle: all stages in order.

policy (augmented random search) → first data → model → rounds (the layer collects, the model is fitted
anew) → final model → measurement and closed-loop acceptance → bundle.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import onnx
import torch

from demo_control.bundle import make_bundle, save_bundle
from demo_control.configuration import ConfigurationError, Scalar
from demo_control.layer import LayerSettings
from demo_control.learning import plots
from demo_control.learning.ars import SearchState
from demo_control.learning.card import card_text
from demo_control.learning.dataset import Dataset, Windows
from demo_control.learning.ensemble import Ensemble
from demo_control.learning.export import check_parity, dynamics_model
from demo_control.learning.fitting import FitReport
from demo_control.learning.model_metrics import ModelMetrics, measure
from demo_control.learning.progress import Reporter
from demo_control.learning.provenance import git_revision, versions
from demo_control.learning.run_folder import RunFolder
from demo_control.learning.seeding import Purpose, stream
from demo_control.learning.settings import TrainingSettings
from demo_control.learning.stages import (
    Acceptance,
    Run,
    check_closed_loop,
    first_data,
    fit_model,
    policy_model,
    run_round,
    search_policy,
)
from demo_control.tasks import Task


@dataclass(frozen=True)
class Outcome:
    """How a training run ended.

    Attributes:
        accepted: Whether the closed-loop check was passed.
        directory: Where the bundle lies.
        policy: The closed-loop check of the policy alone.
        demo: That of policy and layer.
        needed: Successes needed for acceptance.
    """

    accepted: bool
    directory: Path
    policy: Acceptance
    demo: Acceptance
    needed: int


def train(
    task: Task,
    settings: TrainingSettings,
    seed: int,
    directory: Path,
    reporter: Reporter,
) -> Outcome:
    """Run all stages that are not done yet, and write the bundle.

    The result depends on task, settings and seed only, however often the run was interrupted. An
    accepted bundle lies in ``directory``, one that failed in its sub-folder ``rejected``.

    Args:
        task: What to train for.
        settings: Of all stages.
        seed: At least 0.
        directory: Folder of the run; see :class:`RunFolder`.
        reporter: Told what goes on.

    Raises:
        ConfigurationError: A bad setting or seed, or a folder that holds something else.
        ParityError: The exported model is not the trained one.
    """
    if seed < 0:
        raise ConfigurationError(f"seed = {seed}: must be at least 0")
    layer = LayerSettings.for_task(task)
    if layer.num_samples % settings.network.num_elites:
        raise ConfigurationError(
            f"network.num_elites = {settings.network.num_elites}: "
            f"must divide the layer's num_samples = {layer.num_samples}"
        )
    folder = RunFolder(directory)
    folder.begin(task.name, seed, _request(task, settings, layer))
    # The sums of several threads depend on their number; these networks gain nothing from more.
    torch.set_num_threads(1)
    run = Run(task, settings, seed, folder, reporter, layer)
    state = search_policy(run)
    plots.plot_search(folder.curves, state)
    learned = _learn_model(run, state)
    return _finish(run, state, learned)


def _request(task: Task, settings: TrainingSettings, layer: LayerSettings) -> dict[str, Scalar]:
    """Everything but the seed that decides the result, to tell one run from another."""
    variations = "; ".join(str(dict(variation)) for variation in task.training_plants)
    planning = {f"layer.{name}": value for name, value in layer.as_mapping().items()}
    return {**settings.as_mapping(), **planning, "training_plants": variations}


@dataclass(frozen=True)
class _Learned:
    """The final model and what it was made from."""

    ensemble: Ensemble
    dataset: Dataset
    policy: onnx.ModelProto


def _learn_model(run: Run, state: SearchState) -> _Learned:
    """First data, then rounds of fitting and collecting, then the final fit."""
    settings, curves = run.settings, run.folder.curves
    policy = policy_model(run, state)
    dataset = first_data(run, state)
    reports: list[FitReport] = []
    rounds: list[Mapping[str, float]] = []
    for index in range(settings.collection.rounds):
        ensemble, report = fit_model(run, index, dataset, settings.fit)
        reports.append(report)
        plots.plot_fits(curves, reports)
        model = dynamics_model(ensemble)
        result = run_round(run, index, policy, model, dataset.num_transitions)
        rounds.append(result.figures)
        plots.plot_rounds(curves, rounds)
        dataset += result.data
    ensemble, report = fit_model(run, settings.collection.rounds, dataset, settings.final_fit)
    plots.plot_fits(curves, [*reports, report])
    return _Learned(ensemble, dataset, policy)


def _finish(run: Run, state: SearchState, learned: _Learned) -> Outcome:
    """Measure, check in the closed loop, and save."""
    settings = run.settings
    model = dynamics_model(learned.ensemble)
    windows = Windows.of(learned.dataset.training, 1)
    parity = check_parity(learned.ensemble, model, windows, stream(run.seed, Purpose.PARITY))
    measured = _measure(run, learned, model)
    provenance = {
        "command": _command(run),
        "seed": run.seed,
        "settings": settings.as_mapping(),
        "training_plants": [dict(variation) for variation in run.task.training_plants],
        "git_revision": git_revision(),
        "versions": versions(),
        "transitions": learned.dataset.num_transitions,
        "data_sha256": learned.dataset.sha256(),
        "parity": parity,
    }
    candidate = make_bundle(run.task, policy=learned.policy, dynamics=model)
    policy = check_closed_loop(run, "policy", candidate)
    demo = check_closed_loop(run, "demo", candidate)
    needed = settings.acceptance.success_rate * demo.episodes
    accepted = demo.successes >= needed
    metrics = {
        "accepted": accepted,
        "policy": asdict(policy),
        "demo": asdict(demo),
        "search_return": state.best_return,
        "model": measured.as_mapping(),
    }
    bundle = make_bundle(run.task, policy=learned.policy, dynamics=model, provenance=provenance, metrics=metrics)
    changed = _changed(run)
    card = card_text(run.task, provenance, (policy, demo), measured, changed)
    target = run.folder.directory if accepted else run.folder.rejected
    save_bundle(bundle, target, card)
    return Outcome(accepted, target, policy, demo, needed=-int(-needed // 1))


def _measure(run: Run, learned: _Learned, model: onnx.ModelProto) -> ModelMetrics:
    """Errors of the final model on one more round, which nothing was fitted to."""
    index = run.settings.collection.rounds
    unseen = run_round(run, index, learned.policy, model, learned.dataset.num_transitions)
    episodes = (*unseen.data.training, *unseen.data.held_out)
    longest = max(len(episode) for episode in episodes)
    horizon = min(run.layer.horizon, longest)
    generator = stream(run.seed, Purpose.PARITY, 1)
    measured = measure(run.task, model, episodes, horizon, generator)
    plots.plot_horizon(run.folder.curves, measured, run.task.control_period_s)
    return measured


def _changed(run: Run) -> dict[str, Scalar]:
    """Settings that differ from the task's own."""
    usual = TrainingSettings.for_task(run.task).as_mapping()
    return {name: value for name, value in run.settings.as_mapping().items() if value != usual[name]}


def _command(run: Run) -> str:
    """The command that makes this bundle again."""
    words = ["democtl", "train", run.task.name, "--seed", str(run.seed)]
    for name, value in _changed(run).items():
        words += ["--set", f"{name}={value}"]
    return shlex.join(words)
