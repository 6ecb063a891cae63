"""The stages of a training run; each is computed from the seed alone and kept as a checkpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx

from demo_control.bundle import Bundle, make_bundle
from demo_control.controllers import make_controller
from demo_control.evaluation import Episodes, run_episodes
from demo_control.layer import LayerSettings
from demo_control.learning.ars import AugmentedRandomSearch, SearchState
from demo_control.learning.collection import (
    collect_first,
    collect_round,
    successes,
)
from demo_control.learning.dataset import Dataset
from demo_control.learning.ensemble import Ensemble
from demo_control.learning.episodes import ControlLaw
from demo_control.learning.fitting import FitReport, FitSettings, fit
from demo_control.learning.progress import Reporter
from demo_control.learning.run_folder import RunFolder
from demo_control.learning.seeding import Purpose, stream
from demo_control.learning.settings import TrainingSettings
from demo_control.learning.storage import load_json, save_json
from demo_control.learning.trials import CurriculumTrials, PlantTrials, Trials
from demo_control.learning.workers import Workers
from demo_control.tasks import Task

POLICY_CHECKPOINT = "policy.npz"

ACCEPTANCE_BATCH = 25
"""Episodes per call of the controller: the batch that ``democtl evaluate`` uses too."""


@dataclass(frozen=True)
class Run:
    """What every stage needs.

    Attributes:
        task: What is trained for.
        settings: Of all stages.
        seed: Of everything random.
        folder: Where checkpoints lie.
        reporter: Told what goes on.
        layer: Settings of the layer that collects data and is accepted.
        policy: Kind of the policy; see :data:`demo_control.learning.settings.POLICIES`.
    """

    task: Task
    settings: TrainingSettings
    seed: int
    folder: RunFolder
    reporter: Reporter
    layer: LayerSettings
    policy: str = "linear"


def search_policy(run: Run) -> SearchState:
    """The stage 'policy': augmented random search, saved at every evaluation."""
    settings, begun = run.settings.search, _start(run)
    run.reporter.start("policy: augmented random search", settings.iterations, begun.iteration)
    with contextlib.ExitStack() as stack:
        search = AugmentedRandomSearch(run.task, _trials(run, stack), settings, run.seed, begun)

        def after_iteration(state: SearchState) -> None:
            if state.iteration % settings.evaluation_interval == 0 or search.finished:
                state.save(run.folder.file(POLICY_CHECKPOINT))
            text = f"return {state.curve[-1, 1]:.1f}, best evaluated {state.best_return:.1f}"
            run.reporter.advance(state.iteration, text)

        if run.task.policy_training is not None and not len(search.state.evaluations):
            search.evaluate()  # the policy it starts from is the first that may be kept
        search.run(after_iteration)
    run.reporter.finish(f"return {search.state.best_return:.1f}")
    return search.state


def _start(run: Run) -> SearchState:
    """Where the search of this run stands."""
    state = run.folder.resumed(POLICY_CHECKPOINT, SearchState.load)
    if state is not None:
        return state
    spec = run.task.policy_training
    simulator = run.task.simulator_or_first(run.settings.collection.simulator)
    return SearchState.initial(run.task, None if spec is None else spec.initial_weights(simulator))


def _trials(run: Run, stack: contextlib.ExitStack) -> Trials:
    """How policies are tried; ``stack`` releases what that needs."""
    task, settings = run.task, run.settings.search
    simulator = task.simulator_or_first(run.settings.collection.simulator)
    if task.policy_training is None:
        plants = task.make_plants(simulator, 2 * settings.num_directions, {})
        stack.callback(plants.close)
        return PlantTrials(task, plants, settings.num_directions, run.seed, settings.episode_s)
    return CurriculumTrials(
        stack.enter_context(Workers(task)),
        task,
        simulator=simulator,
        seed=run.seed,
        episode_s=settings.episode_s,
        normalises=settings.normalises,
    )


def first_data(run: Run, law: ControlLaw) -> Dataset:
    """The stage 'data': random actions and the noisy policy, whose law is given."""
    run.reporter.start("data: random actions and noisy policy", 1)
    make = partial(collect_first, run.task, law, run.settings.collection, run.seed)
    dataset = run.folder.checkpoint("data-first.npz", make, Dataset.save, Dataset.load)
    run.reporter.finish(f"{dataset.num_transitions} transitions")
    return dataset


def fit_model(run: Run, index: int, dataset: Dataset, settings: FitSettings) -> tuple[Ensemble, FitReport]:
    """The stage 'model': a new ensemble on all data so far.

    Args:
        run: The run.
        index: Number of the fit.
        dataset: What to fit to.
        settings: How.
    """
    run.reporter.start(f"model {index}: {run.settings.network.num_members} members", settings.steps)

    def after_look(report: FitReport) -> None:
        step, loss, error = report.curve[-1]
        run.reporter.advance(step, f"loss {loss:.3f}, hold-out {error:.5f}")

    def make() -> tuple[Ensemble, FitReport]:
        generator = stream(run.seed, Purpose.FIT, index)
        return fit(
            run.task,
            dataset,
            network=run.settings.network,
            settings=settings,
            generator=generator,
            after_look=after_look,
        )

    def save(result: tuple[Ensemble, FitReport], path: Path) -> None:
        save_json(path.with_suffix(".json"), result[1].as_mapping())
        result[0].save(path)

    def load(path: Path) -> tuple[Ensemble, FitReport]:
        report = FitReport.from_mapping(load_json(path.with_suffix(".json")))
        return Ensemble.load(path, run.task, run.settings.network), report

    ensemble, report = run.folder.checkpoint(f"model-{index:02d}.pt", make, save, load)
    best = float(np.sort(report.held_out_errors)[0])
    run.reporter.finish(f"hold-out error {best:.5f} of the best member, {report.steps} steps")
    return ensemble, report


@dataclass(frozen=True)
class Round:
    """What the layer did in one round.

    Attributes:
        data: The new transitions.
        figures: transitions (before the round), episodes, successes, return_mean, return_deviation.
    """

    data: Dataset
    figures: Mapping[str, float]


def run_round(
    run: Run,
    index: int,
    policy: onnx.ModelProto,
    dynamics: onnx.ModelProto,
    transitions: int,
    value: onnx.ModelProto | None = None,
) -> Round:
    """The stage 'round': episodes of the layer itself with the model so far.

    Args:
        run: The run.
        index: Number of the round.
        policy: policy.onnx.
        dynamics: dynamics.onnx.
        transitions: How many it was fitted to, for the curve.
        value: value.onnx, or None.
    """
    settings = run.settings.collection
    run.reporter.start(f"round {index}: {settings.round_episodes} episodes of the layer", 1)

    def make() -> Round:
        bundle = make_bundle(run.task, policy=policy, dynamics=dynamics, value=value)
        data, recording = collect_round(run.task, bundle, run.layer, settings, run.seed, index)
        figures = {
            "transitions": transitions,
            "episodes": len(recording.returns),
            "successes": successes(run.task, recording),
            "return_mean": float(recording.returns.mean()),
            "return_deviation": float(recording.returns.std()),
        }
        return Round(data, figures)

    def save(result: Round, path: Path) -> None:
        save_json(path.with_suffix(".json"), dict(result.figures))
        result.data.save(path)

    def load(path: Path) -> Round:
        content = load_json(path.with_suffix(".json"))
        figures = {name: v if isinstance(v, int) else float(str(v)) for name, v in content.items()}
        return Round(Dataset.load(path), figures)

    result = run.folder.checkpoint(f"data-round-{index:02d}.npz", make, save, load)
    figures = result.figures
    run.reporter.finish(
        f"{figures['successes']:.0f} of {figures['episodes']:.0f} succeed under noise, "
        f"return {figures['return_mean']:.0f}"
    )
    return result


@dataclass(frozen=True)
class Acceptance:
    """A closed-loop check.

    Attributes:
        controller: 'policy' or 'demo'.
        simulator: Where.
        episodes: How many.
        successes: How many of them succeeded.
        return_mean: Of all episodes.
        return_deviation: Of all episodes.
    """

    controller: str
    simulator: str
    episodes: int
    successes: int
    return_mean: float
    return_deviation: float


def check_closed_loop(run: Run, controller: str, bundle: Bundle) -> Acceptance:
    """The stage 'acceptance': full episodes, judged as ``democtl evaluate`` judges them.

    Args:
        run: The run.
        controller: 'policy' (to compare with) or 'demo'.
        bundle: The finished bundle.
    """
    settings = run.settings.acceptance
    simulator = run.task.simulator_or_first(settings.simulator)
    seed = int(stream(run.seed, Purpose.ACCEPTANCE).integers(2**31))
    who = "layer" if controller == "demo" else "policy alone"
    steps = round(run.task.episode_s / run.task.control_period_s)
    starts = range(0, settings.episodes, ACCEPTANCE_BATCH)
    run.reporter.start(f"acceptance: {who} in {simulator}", steps * len(starts))

    def make() -> Acceptance:
        batches: list[Episodes] = []
        for first in starts:
            count = min(ACCEPTANCE_BATCH, settings.episodes - first)
            behind = steps * len(batches)
            done = sum(batch.successes for batch in batches)
            progress = partial(_advance, run.reporter, behind, f"{done} of {first} succeeded")
            act = make_controller(controller, run.task, bundle, run.layer, count)
            plants = run.task.make_plants(simulator, count, {})
            try:
                batches.append(run_episodes(run.task, plants, act, seed, first_episode=first, progress=progress))
            finally:
                plants.close()
        returns = np.concatenate([batch.returns for batch in batches])
        return Acceptance(
            controller=controller,
            simulator=simulator,
            episodes=settings.episodes,
            successes=sum(batch.successes for batch in batches),
            return_mean=float(returns.mean()),
            return_deviation=float(returns.std()),
        )

    result = run.folder.checkpoint(
        f"acceptance-{controller}.json",
        make,
        lambda result, path: save_json(path, asdict(result)),
        lambda path: Acceptance(**load_json(path)),  # type: ignore[arg-type]
    )
    run.reporter.finish(f"{result.successes} of {result.episodes} succeed, return {result.return_mean:.0f}")
    return result


def _advance(reporter: Reporter, behind: int, text: str, done: int, _total: int) -> None:
    """Progress of one batch of episodes, as progress of the stage."""
    reporter.advance(behind + done, text)
