"""Training where plans correct the policy: curriculum, data, model and bundle of a small walking thing."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from numpy.random import Generator
from typer import Typer
from typer.testing import CliRunner

from demo_control.bundle import load_bundle
from demo_control.configuration import ConfigurationError, Scalar
from demo_control.corrections import LinearCorrection
from demo_control.policies import OnnxPolicy, linear_policy_model
from demo_control.tasks import Array, Namespace, Planning, Plants, Quantity, Score, Task, Transition
from demo_control.training_spec import DataPlants, ModelTraining, PolicyTraining

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from demo_control.cli import train as train_command  # noqa: E402
from demo_control.learning import exploration  # noqa: E402
from demo_control.learning.ars import SearchState  # noqa: E402
from demo_control.learning.dataset import Windows  # noqa: E402
from demo_control.learning.ensemble import NetworkSettings  # noqa: E402
from demo_control.learning.episodes import Episode  # noqa: E402
from demo_control.learning.exploration import ExplorationSettings, RandomCorrections, run_corrected  # noqa: E402
from demo_control.learning.export import PARITY_TOLERANCE, check_parity, dynamics_model  # noqa: E402
from demo_control.learning.fitting import FitSettings, fit  # noqa: E402
from demo_control.learning.linear_policy import LinearPolicies  # noqa: E402
from demo_control.learning.model_metrics import measure  # noqa: E402
from demo_control.learning.pipeline import Outcome, train  # noqa: E402
from demo_control.learning.settings import TrainingSettings  # noqa: E402
from demo_control.learning.transitions import learned_outputs, next_observations  # noqa: E402
from demo_control.learning.trials import CurriculumTrials  # noqa: E402
from demo_control.learning.workers import Workers  # noqa: E402
from demo_control.onnx_graph import make_session  # noqa: E402

PERIOD_S, DECISION_TICKS, PLANNING_TICKS, EPISODE_TICKS = 0.1, 5, 2, 40

TINY: dict[str, Scalar] = {
    "search.variant": "V1-t",
    "search.use_bias": False,
    "search.iterations": 4,
    "search.num_directions": 3,
    "search.num_top_directions": 2,
    "search.episode_s": 1.0,
    "search.evaluation_interval": 2,
    "exploration.episodes": 12,
    "exploration.unseen_episodes": 3,
    "exploration.episode_s": EPISODE_TICKS * PERIOD_S,
    "exploration.batch_episodes": 5,
    "exploration.held_out_fraction": 0.25,
    "network.num_members": 2,
    "network.num_elites": 2,
    "network.hidden_units": 8,
    "final_fit.steps": 30,
    "final_fit.evaluation_interval": 10,
    "final_fit.unroll_steps": 2,
    "acceptance.episodes": 0,
}


class TurningPlants:
    """Points that go forward and turn; what they know is their offset to a reference that goes as commanded."""

    def __init__(self, drags: Sequence[float], fail_beyond: float = np.inf) -> None:
        self._drags = np.array(drags)
        self._fail_beyond = fail_beyond
        self._states = np.zeros((len(drags), 4))
        self._failed = np.zeros(len(drags), dtype=bool)
        self.actions: list[Array] = []

    @property
    def num_plants(self) -> int:
        return len(self._drags)

    def reset(self, generators: Sequence[np.random.Generator]) -> Array:
        self._states = np.array([[0.0, 0.0, 0.5, generator.uniform(0.5, 1.0)] for generator in generators])
        self._failed[:] = False
        return self.true_observations()

    def step(self, actions: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
        self.actions.append(actions.copy())
        error, yaw, speed, command = self._states.T
        speed = speed + PERIOD_S * (actions[:, 0] - self._drags * speed)
        yaw = yaw + PERIOD_S * actions[:, 1]
        error = error + PERIOD_S * (speed * np.cos(yaw) - command)
        moved = np.stack([error, yaw, speed, command], axis=1)
        self._states = np.where(self._failed[:, None], self._states, moved)
        self._failed = self._failed | (np.abs(error) > self._fail_beyond)
        return self.true_observations(), self._failed.copy()

    def true_observations(self) -> Array:
        return self._states.copy()

    def close(self) -> None:
        """Nothing to release."""


def _targets(x: Array, x_next: Array, _u: Array) -> Array:
    forward = x_next[:, 0] - x[:, 0] + DECISION_TICKS * PERIOD_S * x[:, 3]
    return np.stack([x_next[:, 1] - x[:, 1], x_next[:, 2] - x[:, 2], forward / np.cos(x[:, 1])], axis=1)


def _apply(x: Mapping[str, Any], y: Mapping[str, Any], u: Mapping[str, Any], xp: Namespace) -> dict[str, Any]:
    way = DECISION_TICKS * PERIOD_S * x["command"]
    return {
        "error": x["error"] + y["way"] * xp.cos(x["yaw"]) - way,
        "yaw": x["yaw"] + y["turned"],
        "speed": xp.maximum(x["speed"] + y["sped_up"], -50.0),
        "command": x["command"],
        "push_before": u["push"],
    }


OBSERVATION = (
    Quantity("error", "m", -5.0, 5.0),
    Quantity("yaw", "rad", -1.0, 1.0),
    Quantity("speed", "m/s", -4.0, 4.0),
    Quantity("command", "m/s", 0.0, 2.0),
)
PLANNING = Planning(
    observation=tuple(quantity.name for quantity in OBSERVATION),
    correction=(Quantity("push", "1", -1.0, 1.0),),
    correct=LinearCorrection(np.array([[1.0], [0.5]])),
    decision_ticks=DECISION_TICKS,
    planning_ticks=PLANNING_TICKS,
    model_inputs=("yaw", "speed", "push_before"),
    transition=Transition(("turned", "sped_up", "way"), _targets, _apply),
)


def curriculum(_simulator: str, iteration: int, common: Generator, generators: Sequence[Generator]) -> Plants:
    drag = (0.5 if iteration < 2 else 1.0) + common.uniform(0.0, 0.1)
    return TurningPlants([drag + generator.uniform(0.0, 0.1) for generator in generators])


def data(_simulator: str, generators: Sequence[np.random.Generator], num_ticks: int) -> DataPlants:
    disturbed = np.zeros((num_ticks, len(generators)), dtype=bool)
    disturbed[20] = True
    return DataPlants(TurningPlants([generator.uniform(0.5, 1.5) for generator in generators]), disturbed)


def initial_weights(_simulator: str) -> Array:
    return np.array([[0.0, 0.0, -0.1, 0.0], [0.0, -0.5, 0.0, 0.0]])


class NoScore:
    def update(self, time_s: float, observation: Array, failed: bool) -> None:
        """Not judged."""

    def result(self) -> dict[str, float | bool]:
        return {"success": True}


def make_score() -> Score:
    return NoScore()


def turning_task() -> Task:
    return Task(
        name="turning",
        observation=OBSERVATION,
        action=(Quantity("push", "1", -2.0, 2.0), Quantity("turn", "1", -2.0, 2.0)),
        control_period_s=PERIOD_S,
        episode_s=2.0,
        cost_terms=(),
        model_inputs=(),
        simulators=("numpy",),
        make_plants=lambda _, count, __: TurningPlants([1.0] * count),
        make_score=make_score,
        reward_function=lambda x, u: -((x[..., 2] - 1.0) ** 2),
        planner={"num_samples": 8, "horizon": 3},
        training=TINY,
        planning=PLANNING,
        policy_training=PolicyTraining(
            inputs=("yaw", "speed"),
            initial_weights=initial_weights,
            plants=curriculum,
            evaluation_plants=lambda _: TurningPlants([0.5, 1.5]),
            evaluation_names=("light", "heavy"),
        ),
        model_training=ModelTraining(
            plants=data,
            unseen_plants=data,
            guide=lambda x: 0.2 * (x[:, 3:] - x[:, 2:3]),
            bias=np.array([0.8]),
            noise=np.array([0.2]),
        ),
    )


class Interrupter:
    """Counts what it is told and presses Ctrl-C at one of the calls."""

    def __init__(self, at: int | None = None) -> None:
        self.calls, self._at = 0, at

    def _count(self) -> None:
        self.calls += 1
        if self.calls == self._at:
            raise KeyboardInterrupt

    def start(self, stage: str, total: int) -> None:
        self._count()

    def advance(self, done: int, text: str) -> None:
        self._count()

    def finish(self, text: str) -> None:
        self._count()


def run(directory: Path, stage: str = "all", at: int | None = None) -> tuple[Outcome, int]:
    task, reporter = turning_task(), Interrupter(at)
    return train(task, TrainingSettings.for_task(task), 3, directory, reporter, stage), reporter.calls


@pytest.fixture(autouse=True, scope="module")
def _fixed_revision() -> Iterator[None]:
    """Somebody may be working on this very source tree."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("pipeline", "known_policy"):
            patch.setattr(f"demo_control.learning.{module}.git_revision", lambda: "0123abc")
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    directory = tmp_path_factory.mktemp("finished") / "run"
    return directory, run(directory)[1]


def trials(seed: int = 1) -> CurriculumTrials:
    task = turning_task()
    return CurriculumTrials(Workers(task), task, simulator="numpy", seed=seed, episode_s=1.0, normalises=True)


def alike(count: int) -> LinearPolicies:
    parameters = np.hstack([initial_weights(""), np.zeros((2, 1))])
    return LinearPolicies(np.tile(parameters, (2 * count, 1, 1)), np.zeros(4), np.ones(4))


def test_curriculum_gives_both_signs_the_same_plants_and_every_direction_another() -> None:
    count = 13  # more than one batch
    tried = trials().search(1, alike(count))
    up, down = np.split(tried.returns, 2)
    np.testing.assert_array_equal(up, down)
    assert len(set(up)) == count
    assert tried.observations.shape == (2 * count * 10, 4)
    np.testing.assert_array_equal(trials().search(1, alike(count)).returns, tried.returns)
    harder = trials().search(2, alike(count)).returns
    assert harder.mean() < tried.returns.mean() - 0.05, "more drag from iteration 2 on"
    assert not np.array_equal(trials(seed=2).search(1, alike(count)).returns, tried.returns)


def test_search_starts_from_the_initial_policy_and_changes_only_what_the_policy_sees(tmp_path: Path) -> None:
    outcome, _ = run(tmp_path, "policy")
    state = SearchState.load(tmp_path / "checkpoints" / "policy.npz")
    assert list(state.evaluations[:, 0]) == [0, 2, 4]
    start = trials(seed=3).evaluate(replace(alike(1), parameters=alike(1).parameters[:1]))
    assert state.evaluations[0, 1] == pytest.approx(start.mean())
    assert outcome.search_return == state.evaluations[:, 1].max() == pytest.approx(state.best_returns.mean())
    assert (state.parameters[:, [0, 3, 4]] == 0.0).all()
    assert (state.parameters[:, 1:3] != initial_weights("")[:, 1:3]).all()


def test_interrupted_anywhere_the_result_is_the_same(finished: tuple[Path, int], tmp_path: Path) -> None:
    directory, calls = finished
    for at in range(3, calls, 5):
        # A resumed run reports less, so the last interrupts come too late to happen.
        with contextlib.suppress(KeyboardInterrupt):
            run(tmp_path, at=at)
    run(tmp_path)
    assert load_bundle(tmp_path).sha256 == load_bundle(directory).sha256
    np.testing.assert_array_equal(
        SearchState.load(tmp_path / "checkpoints" / "policy.npz").parameters,
        SearchState.load(directory / "checkpoints" / "policy.npz").parameters,
    )


def test_bundle_card_and_curves(finished: tuple[Path, int]) -> None:
    directory, _ = finished
    contract = load_bundle(directory, turning_task()).contract
    assert contract.provenance["policy"]["returns"].keys() == {"light", "heavy"}
    assert contract.provenance["policy"]["command"] == "democtl train turning --seed 3 --stage policy"
    assert contract.metrics["model"]["one_step_error"].keys() == {"error", "yaw", "speed"}
    assert contract.metrics["model_unseen_settings"]["within_1_sigma"].keys() == {"turned", "sped_up", "way"}
    card = (directory / "README.md").read_text()
    assert "policy with random corrections" in card
    for name in ("policy_return", "model_loss", "horizon_error", "horizon_error_unseen"):
        assert f"curves/{name}.png" in card
        assert (directory / "curves" / f"{name}.png").exists()


def test_model_stage_takes_the_shipped_policy(
    finished: tuple[Path, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEMO_MODELS", str(tmp_path / "models"))
    with pytest.raises(ConfigurationError, match="run the stage 'policy' first"):
        run(tmp_path / "run", "model")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "turning").symlink_to(finished[0])
    run(tmp_path / "run", "model")
    made, shipped = load_bundle(tmp_path / "run"), load_bundle(finished[0])
    assert made.contract.files == shipped.contract.files, "the same policy gives the same data and the same model"
    assert made.contract.provenance["policy"] == shipped.contract.provenance["policy"]
    assert made.contract.provenance["command"].endswith("--stage model")
    assert (tmp_path / "run" / "curves" / "policy_return.csv").exists()


def test_model_stage_waits_for_a_finished_search_and_refuses_data_of_another_policy(
    finished: tuple[Path, int], tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "policy", at=4)
    with pytest.raises(ConfigurationError, match="is at iteration 2 of 4"):
        run(tmp_path, "model")
    run(tmp_path, "policy")
    (tmp_path / "checkpoints" / "model-policy.json").write_text(json.dumps({"sha256": "another"}))
    with pytest.raises(ConfigurationError, match="holds data of another policy"):
        run(tmp_path, "model")
    with pytest.raises(ConfigurationError, match="stage = 'modle'"):
        run(tmp_path, "modle")


def test_command_line_runs_single_stages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(train_command, "load_task", lambda _: turning_task())
    app = Typer()
    app.command()(train_command.command)
    for stage, text in (("policy", "Policy found: return"), ("model", "Bundle and card")):
        result = CliRunner().invoke(app, ["turning", "--stage", stage, "--out", str(tmp_path / "run")])
        assert result.exit_code == 0, result.output
        assert text in result.output
    assert load_bundle(tmp_path / "run", turning_task()).contract.members == 2


def zero_policy() -> OnnxPolicy:
    task = turning_task()
    model = linear_policy_model(
        np.zeros((2, 4)), np.zeros(2), np.zeros(4), np.ones(4), task.action_minimum, task.action_maximum
    )
    return OnnxPolicy(model)


def explored(
    plants: TurningPlants, offsets: Sequence[int], disturbed: Sequence[int] = (), ticks: int = EPISODE_TICKS
) -> list[list[Episode]]:
    task, count = turning_task(), plants.num_plants
    spec, planning = task.model_training, task.planning
    assert spec is not None
    assert planning is not None
    generators = [np.random.default_rng(i) for i in range(count)]
    settings = ExplorationSettings(bias_decisions=2)
    mask = np.zeros((ticks, count), dtype=bool)
    mask[list(disturbed)] = True
    corrections = RandomCorrections(planning, spec, settings, generators)
    starts = [np.random.default_rng(100 + i) for i in range(count)]
    where = np.array(offsets)
    return run_corrected(task, DataPlants(plants, mask), zero_policy(), corrections, where, starts, ticks)


def test_a_correction_takes_effect_planning_ticks_after_its_observation_and_is_held() -> None:
    plants = TurningPlants([1.0, 1.0])
    offsets = (0, 3)
    episodes = explored(plants, offsets)
    done = np.array(plants.actions)
    for plant, offset in enumerate(offsets):
        (episode,) = episodes[plant]
        assert len(set(episode.actions[:, 0])) == len(episode), "random"
        np.testing.assert_array_equal(episode.observations[0, 4:], 0.0)
        np.testing.assert_array_equal(episode.observations[1:, 4:], episode.actions)
        expected = np.zeros(EPISODE_TICKS)
        for decision, correction in enumerate(episode.actions[:, 0]):
            start = offset + decision * DECISION_TICKS + PLANNING_TICKS
            expected[start : start + DECISION_TICKS] = correction
        known = offset + len(episode) * DECISION_TICKS
        np.testing.assert_allclose(done[:known, plant, 0], expected[:known])
        np.testing.assert_allclose(done[:known, plant, 1], 0.5 * expected[:known])


def test_observations_are_those_of_the_decisions() -> None:
    plants = TurningPlants([1.0])
    ((episode,),) = explored(plants, [2])
    # The same again by hand.
    again = TurningPlants([1.0])
    states = [again.reset([np.random.default_rng(100)])]
    states += [again.step(action)[0] for action in plants.actions]
    decisions = np.array(states)[2::DECISION_TICKS, 0][: len(episode) + 1]
    np.testing.assert_array_equal(episode.observations[:, :4], decisions)


def test_disturbed_failed_and_foreign_transitions_are_cut_out() -> None:
    whole = explored(TurningPlants([1.0]), [0])[0]
    assert [len(episode) for episode in whole] == [7]
    first, second = explored(TurningPlants([1.0]), [0], disturbed=[17])[0]
    assert (len(first), len(second)) == (3, 3), "the fourth decision holds from tick 15 to 19"
    np.testing.assert_array_equal(second.observations, whole[0].observations[4:])
    failing = explored(TurningPlants([1.0], fail_beyond=1.0), [0])[0]
    np.testing.assert_array_equal(failing[0].observations, whole[0].observations[: len(failing[0]) + 1])
    assert len(failing[0]) < 7
    assert np.abs(failing[0].observations[:, 0]).max() <= 1.0
    turned = replace(OBSERVATION[1], minimum=-1e-3, maximum=1e-3)
    with pytest.MonkeyPatch.context() as patch:
        task = replace(turning_task(), observation=(OBSERVATION[0], turned, *OBSERVATION[2:]))
        patch.setitem(globals(), "turning_task", lambda: task)
        kept = explored(TurningPlants([1.0]), [0])[0]
    assert sum(map(len, kept)) < 7
    for episode in kept:
        assert np.abs(episode.observations[:-1, 1]).max() <= 1e-3


def test_data_depend_on_seed_and_number_only() -> None:
    task = turning_task()
    settings = ExplorationSettings(episode_s=EPISODE_TICKS * PERIOD_S)
    weights = (initial_weights(""), np.zeros(2), np.zeros(4), np.ones(4), task.action_minimum, task.action_maximum)
    policy = linear_policy_model(*weights)

    def explore(kind: str, seed: int, first: int, count: int) -> list[list[Episode]]:
        return exploration.explore(task, "numpy", kind, seed, first, count, policy, settings)

    whole = explore("training", 1, 0, 5)
    parts = explore("training", 1, 0, 2) + explore("training", 1, 2, 3)
    for one, other in zip(whole, parts, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a.observations, b.observations, atol=1e-6)  # batches of float32 products
            np.testing.assert_array_equal(a.actions, b.actions)
    for different in (explore("training", 2, 0, 5), explore("unseen", 1, 0, 5)):
        assert not np.array_equal(different[0][0].actions, whole[0][0].actions)


def test_what_is_learned_makes_the_next_observation() -> None:
    problem, generator = turning_task().planning_problem, np.random.default_rng(0)
    x = generator.uniform(-1.0, 1.0, (20, 5))
    u = generator.uniform(-1.0, 1.0, (20, 1))
    x_next = np.column_stack([generator.uniform(-1.0, 1.0, (20, 3)), x[:, 3], u])
    y = learned_outputs(problem, x, x_next, u)
    assert y.shape == (20, 3)
    np.testing.assert_allclose(next_observations(problem, x, y, u), x_next, atol=1e-12)


def test_a_transition_that_forgets_an_entry_is_named() -> None:
    problem = turning_task().planning_problem
    assert problem.transition is not None
    forgetful = Transition(problem.transition.outputs, _targets, lambda x, y, u, xp: {"error": x["error"]})
    with pytest.raises(ConfigurationError, match="says nothing of yaw, speed, command, push_before"):
        next_observations(replace(problem, transition=forgetful), np.zeros((1, 5)), np.zeros((1, 3)), np.zeros((1, 1)))


@pytest.mark.parametrize("unroll_steps", [1, 3])
def test_the_model_learns_and_its_graph_computes_the_same(unroll_steps: int) -> None:
    problem = turning_task().planning_problem
    groups = explored(TurningPlants(np.full(60, 1.0)), np.arange(60) % DECISION_TICKS, ticks=60)
    dataset = exploration.split_groups(groups, 0.2)
    assert len(dataset.held_out) == 12
    network = NetworkSettings(num_members=2, num_elites=2, hidden_units=32)
    settings = FitSettings(steps=300, unroll_steps=unroll_steps, evaluation_interval=100)
    ensemble, report = fit(problem, dataset, network=network, settings=settings, generator=np.random.default_rng(0))
    assert report.curve[-1][2] < 0.1
    model = dynamics_model(ensemble)
    windows = Windows.of(dataset.training, 1)
    assert check_parity(ensemble, model, windows, np.random.default_rng(1)) <= PARITY_TOLERANCE
    x, u = windows.take(windows.starts[:7])
    feeds = {
        "observation": np.broadcast_to(x[:, 0], (2, 7, 5)).astype(np.float32),
        "action": np.broadcast_to(u[:, 0], (2, 7, 1)).astype(np.float32),
    }
    following, log_variance = make_session(model).run(["next_observation", "log_variance"], feeds)
    assert log_variance.shape == (2, 7, 3)
    np.testing.assert_array_equal(following[..., 3], feeds["observation"][..., 3])
    np.testing.assert_array_equal(following[..., 4], feeds["action"][..., 0])
    metrics = measure(problem, model, dataset.held_out, 5, np.random.default_rng(2))
    assert metrics.names == ("error", "yaw", "speed")
    assert (metrics.errors[0] < 0.25 * metrics.no_change[0]).all()
    assert (metrics.errors[-1] < 0.35 * metrics.no_change[-1]).all()
