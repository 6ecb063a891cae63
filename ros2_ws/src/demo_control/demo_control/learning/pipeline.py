"""From a seed to an accepted bundle: all stages in order.

policy (augmented random search, or soft actor-critic) → first data → model → rounds (the layer collects, the model is
fitted anew) → final model → measurement and closed-loop acceptance → bundle. Where plans correct the policy, the model
is that of the policy with corrections: data with random corrections → model → measurement → the same end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import onnx
import torch

from demo_control.bundle import make_bundle, save_bundle
from demo_control.configuration import ConfigurationError, Scalar
from demo_control.files import check_folder
from demo_control.layer import LayerSettings
from demo_control.learning import plots
from demo_control.learning.card import UNSEEN_EPISODES, UNSEEN_SETTINGS, card_text
from demo_control.learning.correction_model import learn_correction_model
from demo_control.learning.dataset import Dataset, Windows
from demo_control.learning.ensemble import Ensemble
from demo_control.learning.export import check_parity, dynamics_model
from demo_control.learning.fitting import FitReport
from demo_control.learning.known_policy import (
    FoundPolicy,
    claim_folder,
    found_network,
    found_policy,
    known_policy,
)
from demo_control.learning.model_metrics import ModelMetrics, measure
from demo_control.learning.policy_learning import learn_policy
from demo_control.learning.progress import Reporter
from demo_control.learning.provenance import git_revision, training_command, versions
from demo_control.learning.run_folder import RunFolder
from demo_control.learning.seeding import Purpose, stream
from demo_control.learning.settings import POLICIES, TrainingSettings
from demo_control.learning.stages import (
    Acceptance,
    Run,
    check_closed_loop,
    first_data,
    fit_model,
    run_round,
    search_policy,
)
from demo_control.rollout.cost_graph import check_drawable
from demo_control.tasks import Planning, Task

STAGES = ("policy", "model", "all")


@dataclass(frozen=True)
class Outcome:
    """How a training run ended.

    Attributes:
        accepted: Whether the closed-loop check was passed; True where there was none.
        directory: Where the bundle lies, or the folder of the run if it was for the policy only.
        search_return: Mean return of the policy that was found, or None if no search was run.
        policy: The closed-loop check of the policy alone, or None if there was none.
        demo: That of policy and layer, or None.
        needed: Successes needed for acceptance.
    """

    accepted: bool
    directory: Path
    search_return: float | None = None
    policy: Acceptance | None = None
    demo: Acceptance | None = None
    needed: int = 0


def train(
    task: Task,
    settings: TrainingSettings,
    seed: int,
    directory: Path,
    reporter: Reporter,
    stage: str = "all",
    policy: str = "linear",
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
        stage: 'policy', 'model' (of the policy that this run has found; where plans correct the policy, else of the
            shipped one) or 'all'.
        policy: Kind of the policy: 'linear' or 'sac'.

    Raises:
        ConfigurationError: A bad setting, seed, stage or kind, a cost or transition that cannot be drawn, or a
            folder that holds something else.
        OSError: The folder cannot be written to.
        ParityError: The exported model is not the trained one.
    """
    if seed < 0:
        raise ConfigurationError(f"seed = {seed}: must be at least 0")
    if stage not in STAGES:
        raise ConfigurationError(f"stage = '{stage}': must be one of {', '.join(STAGES)}")
    if policy not in POLICIES:
        raise ConfigurationError(f"policy = '{policy}': must be one of {', '.join(POLICIES)}")
    if policy == "sac":
        settings.check_learning()
    layer = LayerSettings.for_task(task)
    check_drawable(task)
    if layer.num_samples % settings.network.num_elites:
        raise ConfigurationError(
            f"network.num_elites = {settings.network.num_elites}: "
            f"must divide the layer's num_samples = {layer.num_samples}"
        )
    _check_simulators(task, settings)
    check_folder(directory)
    folder = RunFolder(directory)
    folder.begin(task.name, seed, _request(task, settings, layer, policy))
    # The sums of several threads depend on their number; these networks gain nothing from more.
    torch.set_num_threads(1)
    run = Run(task, settings, seed, folder, reporter, layer, policy)
    found = known_policy(run) if stage == "model" else _new_policy(run)
    if stage == "policy":
        return Outcome(True, directory, found.mean_return)
    claim_folder(run, found)
    learned = _learn_model(run, found) if task.planning is None else _learn_corrections(run, found)
    return _finish(run, found, learned)


def _check_simulators(task: Task, settings: TrainingSettings) -> None:
    """Find out before long work whether there are plants of each simulator: one is asked for in the last stage only.

    Raises:
        ConfigurationError: There is none of that name, or it is not installed.
    """
    names = [task.simulator_or_first(settings.collection.simulator)]
    if settings.acceptance.episodes:
        names.append(task.simulator_or_first(settings.acceptance.simulator))
    for name in dict.fromkeys(names):
        task.make_plants(name, 1, {}).close()


def _new_policy(run: Run) -> FoundPolicy:
    """The stage 'policy', with its curve."""
    if run.policy == "sac":
        learner = learn_policy(run)
        plots.plot_learning(run.folder.curves, learner)
        return found_network(run, learner)
    state = search_policy(run)
    plots.plot_search(run.folder.curves, state)
    return found_policy(run, state)


def _request(task: Task, settings: TrainingSettings, layer: LayerSettings, policy: str) -> dict[str, Scalar]:
    """Everything but the seed that decides the result, to tell one run from another."""
    variations = "; ".join(str(dict(variation)) for variation in task.training_plants)
    values = {**settings.used_for(policy), "training_plants": variations}
    if task.planning is not None:
        return {**values, "planning": _planning_text(task.planning)}
    # Only here does the layer take part in the training itself.
    return {**values, **{f"layer.{name}": value for name, value in layer.as_mapping().items()}}


def _planning_text(planning: Planning) -> str:
    """What data of corrections depend on, in one line."""
    entries = ", ".join((*planning.observation, *(quantity.name for quantity in planning.correction)))
    return f"{planning.correct.name}: {entries}; {planning.decision_ticks}, {planning.planning_ticks} ticks"


@dataclass(frozen=True)
class _Learned:
    """The final model, what it was made from, and how good it is by name of the data."""

    ensemble: Ensemble
    dataset: Dataset
    model: onnx.ModelProto
    measured: Mapping[str, ModelMetrics]


def _learn_model(run: Run, found: FoundPolicy) -> _Learned:
    """First data, then rounds of fitting and collecting, then the final fit."""
    settings, curves, policy = run.settings, run.folder.curves, found.model
    assert found.law is not None, "a shipped policy is taken only where plans correct it"
    dataset = first_data(run, found.law)
    reports: list[FitReport] = []
    rounds: list[Mapping[str, float]] = []
    for index in range(settings.collection.rounds):
        ensemble, report = fit_model(run, index, dataset, settings.fit)
        reports.append(report)
        plots.plot_fits(curves, reports)
        model = dynamics_model(ensemble)
        result = run_round(run, index, policy, model, dataset.num_transitions, found.value)
        rounds.append(result.figures)
        plots.plot_rounds(curves, rounds)
        dataset += result.data
    ensemble, report = fit_model(run, settings.collection.rounds, dataset, settings.final_fit)
    plots.plot_fits(curves, [*reports, report])
    model = dynamics_model(ensemble)
    return _Learned(ensemble, dataset, model, {UNSEEN_EPISODES: _measure(run, found, dataset, model)})


def _learn_corrections(run: Run, found: FoundPolicy) -> _Learned:
    """Data with random corrections, and one fit."""
    learned = learn_correction_model(run, found.model)
    measured = {UNSEEN_EPISODES: learned.held_out, UNSEEN_SETTINGS: learned.unseen}
    return _Learned(learned.ensemble, learned.dataset, learned.model, measured)


def _finish(run: Run, found: FoundPolicy, learned: _Learned) -> Outcome:
    """Check in the closed loop, and save."""
    settings, model = run.settings, learned.model
    windows = Windows.of(learned.dataset.training, 1)
    parity = check_parity(learned.ensemble, model, windows, stream(run.seed, Purpose.PARITY))
    changed = settings.changed(run.task, run.policy)
    stage = "all" if found.law is not None else "model"
    provenance = {
        "command": training_command(run.task.name, run.seed, changed, stage, run.policy),
        "seed": run.seed,
        "settings": settings.used_for(run.policy),
        "training_plants": [dict(variation) for variation in run.task.training_plants],
        "git_revision": git_revision(),
        "versions": versions(),
        "policy": dict(found.provenance),
        "transitions": learned.dataset.num_transitions,
        "data_sha256": learned.dataset.sha256(),
        "parity": parity,
    }
    candidate = make_bundle(run.task, policy=found.model, dynamics=model, value=found.value)
    policy = demo = None
    needed, accepted = settings.acceptance.needed, True
    if settings.acceptance.episodes:
        policy = check_closed_loop(run, "policy", candidate)
        demo = check_closed_loop(run, "demo", candidate)
        accepted = demo.successes >= needed
    checks = [check for check in (policy, demo) if check is not None]
    metrics = {
        "accepted": accepted,
        **{check.controller: asdict(check) for check in checks},
        "search_return": found.provenance["return"],
        **{name: measured.as_mapping() for name, measured in learned.measured.items()},
    }
    bundle = make_bundle(
        run.task,
        policy=found.model,
        dynamics=model,
        value=found.value,
        provenance=provenance,
        metrics=metrics,
    )
    card = card_text(run.task, provenance, checks, learned.measured, changed, found.value is not None)
    target = run.folder.directory if accepted else run.folder.rejected
    save_bundle(bundle, target, card)
    return Outcome(accepted, target, found.mean_return, policy, demo, needed)


def _measure(run: Run, found: FoundPolicy, dataset: Dataset, model: onnx.ModelProto) -> ModelMetrics:
    """Errors of the final model on one more round, which nothing was fitted to."""
    index = run.settings.collection.rounds
    unseen = run_round(run, index, found.model, model, dataset.num_transitions, found.value)
    episodes = (*unseen.data.training, *unseen.data.held_out)
    measured = measure(run.task, model, episodes, run.layer.horizon, stream(run.seed, Purpose.PARITY, 1))
    plots.plot_horizon(run.folder.curves, measured, run.task.control_period_s)
    return measured
