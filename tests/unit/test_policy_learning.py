"""Soft actor-critic on tasks: the evaluation's own simulation, stages that resume, bundles with policy and value."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from demo_control.bundle import load_bundle
from demo_control.configuration import ConfigurationError, Scalar
from demo_control.layer import LayerSettings
from demo_control.learning.episodes import run_episodes
from demo_control.onnx_graph import make_session
from demo_control.policies import OnnxPolicy
from demo_control.tasks import Task, load_task

from .interruption import Interrupter
from .test_training_pipeline import TINY, sliding_task

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.train, pytest.mark.usefixtures("fixed_revision")]

from demo_control.learning import policy_learning  # noqa: E402
from demo_control.learning.known_policy import found_network  # noqa: E402
from demo_control.learning.pipeline import Outcome, train  # noqa: E402
from demo_control.learning.progress import Reporter  # noqa: E402
from demo_control.learning.run_folder import RunFolder  # noqa: E402
from demo_control.learning.sac import LearningSettings, SacSettings  # noqa: E402
from demo_control.learning.sac.task_learner import TaskLearner, TaskProblem  # noqa: E402
from demo_control.learning.settings import TrainingSettings  # noqa: E402
from demo_control.learning.stages import Run  # noqa: E402
from demo_control.learning.task_environments import training_problem  # noqa: E402

LEARNING: dict[str, Scalar] = {
    **TINY,
    "sac.hidden_units": 8,
    "sac.batch_size": 16,
    "learning.steps": 200,
    "learning.plants": 3,
    "learning.episode_s": 1.0,
    "learning.initial_steps": 40,
    "learning.evaluation_interval": 2,
    "learning.evaluation_episodes": 2,
    "learning.reward_unit": 0.5,
    "learning.reward_offset": 0.25,
    "learning.decision_ticks": 3,
}


def settings_of(task: Task) -> TrainingSettings:
    return TrainingSettings.for_task(task, LEARNING)


def run(directory: Path, at: int | None = None, stage: str = "all") -> tuple[Outcome, int]:
    reporter = Interrupter(at)
    task = sliding_task()
    return train(task, settings_of(task), 3, directory, reporter, stage, "sac"), reporter.calls


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    directory = tmp_path_factory.mktemp("finished") / "run"
    return directory, run(directory)[1]


@pytest.fixture(scope="module")
def learner() -> TaskLearner:
    settings = settings_of(sliding_task())
    found = TaskLearner(TaskProblem(sliding_task(), "numpy", settings.sac, settings.learning), 3)
    found.run(lambda _: None)
    return found


def generators(count: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(count)]


def test_problem_of_a_task_is_the_simulation_of_its_evaluation() -> None:
    task = load_task("cartpole")
    forces = iter(np.random.default_rng(1).uniform(-10.0, 10.0, (200, 4, 1)))
    plants = task.make_plants("analytic", 4, {})
    recording = run_episodes(task, plants, lambda _: next(forces), generators(4), 200)
    problem = training_problem(task, "analytic", episode_s=4.0)
    environments = problem.make(4)
    np.testing.assert_array_equal(environments.reset(generators(4)), recording.observations[0])
    alive = np.arange(4)
    for index in range(len(recording.actions)):
        step = environments.step_some(alive, recording.actions[index, alive])
        np.testing.assert_array_equal(step.observations, recording.observations[index + 1, alive])
        np.testing.assert_array_equal(step.rewards, recording.rewards[index, alive])
        np.testing.assert_array_equal(step.terminated, recording.failed[index + 1, alive])
        np.testing.assert_array_equal(step.truncated, ~step.terminated & (index == 199))
        alive = alive[~step.ended]
    assert not len(alive)
    assert 0 < recording.failed[-1].sum() < 4, "some carts leave the rail, others do not"


def test_episodes_without_a_step_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"must last at least a control period, which is 0\.1 s"):
        training_problem(sliding_task(), "numpy", episode_s=0.01)


def test_environments_that_run_cannot_be_left_behind() -> None:
    environments = training_problem(sliding_task(), "numpy").make(2)
    environments.reset(generators(2))
    with pytest.raises(ValueError, match=r"environments \[1\] are running"):
        environments.step_some([0], np.zeros((1, 1)))


def test_exported_policy_and_value_are_the_learners(learner: TaskLearner, tmp_path: Path) -> None:
    task = sliding_task()
    folder, layer = RunFolder(tmp_path), LayerSettings.for_task(task)
    found = found_network(Run(task, settings_of(task), 3, folder, Interrupter(), layer, "sac"), learner)
    best = learner.best()
    x = np.random.default_rng(0).uniform(-5.0, 5.0, (40, 2))
    share = best.act(x / 5.0)
    np.testing.assert_allclose(OnnxPolicy(found.model).act(x), 2.0 * share, atol=1e-5)
    assert found.value is not None
    joined = torch.from_numpy(np.hstack([x / 5.0, share]).astype(np.float32))[None]
    learned = best.critics.forward(joined).sums[-1].amin(dim=0).numpy()
    (told,) = make_session(found.value).run(["value"], {"observation": x.astype(np.float32)})
    # A reward of 1 was 0.5 to the learner, and 0.25 of each of three control periods counted as nothing.
    np.testing.assert_allclose(told, learned / 0.5 + 0.25 * 3 / (1.0 - 0.99), rtol=1e-5, atol=1e-4)


def test_offset_of_the_rewards_changes_no_return() -> None:
    """Σ γ^k (r_k − r₀), and −r₀ for ever behind a failure, is Σ γ^k r_k less a constant."""
    task = load_task("cartpole")
    sac, discount = SacSettings(hidden_units=4, discount=0.9), 0.9
    returns, lengths = {}, {}
    for offset in (0.0, 0.7):
        learning = LearningSettings(steps=1, plants=1, initial_steps=10_000, decision_ticks=5, reward_offset=offset)
        one = TaskLearner(TaskProblem(task, "analytic", sac, learning), 2)
        one.run(lambda _: None)
        rows = one.buffer.rows
        assert rows[-1, one.learner.layout.terminated], "random forces drive the cart off its rail"
        rewards = rows[:, one.learner.layout.reward].astype(float)
        returns[offset] = float((discount ** np.arange(len(rewards)) * rewards).sum()) + one.offset_value
        lengths[offset] = float(one.curve[0, 2])
    # The last decision may be cut short by the failure: behind it, the missing control periods are worth nothing.
    assert lengths[0.0] == lengths[0.7] < 1000
    assert returns[0.0] == pytest.approx(returns[0.7], abs=0.9 ** (lengths[0.0] // 5) * 0.7 * 5 + 1e-4)


def test_writes_a_bundle_with_policy_model_and_value(finished: tuple[Path, int]) -> None:
    directory, _ = finished
    bundle = load_bundle(directory, sliding_task())
    assert set(bundle.models()) == {"policy.onnx", "dynamics.onnx", "value.onnx"}
    provenance = bundle.contract.provenance
    assert provenance["command"].startswith("democtl train sliding --seed 3 --policy sac --set")
    assert provenance["policy"]["method"] == "soft actor-critic"
    assert provenance["policy"]["steps"] >= 200
    assert not [name for name in provenance["settings"] if name.startswith("search.")]
    card = (directory / "README.md").read_text()
    assert "Soft actor-critic, " in card
    assert "value.onnx" in card
    assert (directory / "curves" / "policy_return.csv").read_text().startswith("step,return_mean")


def test_interrupted_anywhere_the_result_is_the_same(
    finished: tuple[Path, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_learning, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr("demo_control.learning.pipeline.plots", Mock())  # drawing takes most of the time
    directory, calls = finished
    for at in range(2, calls, 7):
        # A resumed run reports less, so the last interrupts come too late to happen.
        with contextlib.suppress(KeyboardInterrupt):
            run(tmp_path, at)
    run(tmp_path)
    assert load_bundle(tmp_path).sha256 == load_bundle(directory).sha256


@pytest.mark.parametrize("name", ["policy-sac.pt", "model-00.pt"])
@pytest.mark.parametrize("content", [b"", b"no checkpoint" * 9], ids=["empty", "garbage"])
def test_a_damaged_checkpoint_is_named(
    finished: tuple[Path, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes
) -> None:
    monkeypatch.setattr("demo_control.learning.pipeline.plots", Mock())
    shutil.copytree(finished[0] / "checkpoints", tmp_path / "checkpoints")
    (tmp_path / "checkpoints" / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=rf"{name}' cannot be read \(.+\); delete it to redo") as caught:
        run(tmp_path)
    assert "\n" not in str(caught.value)


def test_model_needs_a_policy_that_is_learned_to_the_end(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds no policy that is learned to the end"):
        run(tmp_path, stage="model")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"learning.initial_steps": 200}, "learning.steps = 200: must be more than learning.initial_steps = 200"),
        ({"sac.discount": 1.0}, "sac.discount = 1: must be less with learning.reward_offset = 0.25"),
    ],
)
def test_settings_that_make_no_sense_together_are_refused(
    tmp_path: Path, changed: dict[str, Scalar], message: str
) -> None:
    """Before the folder is claimed for them."""
    settings = TrainingSettings.for_task(sliding_task(), {**LEARNING, **changed})
    with pytest.raises(ConfigurationError, match=message):
        train(sliding_task(), settings, 3, tmp_path / "run", Interrupter(), policy="sac")
    assert not (tmp_path / "run").exists()


def test_a_learner_that_diverges_says_so(tmp_path: Path) -> None:
    settings = TrainingSettings.for_task(sliding_task(), {**LEARNING, "sac.learning_rate": 1e30})
    with pytest.raises(ConfigurationError, match=r"diverged within \d+ steps; sac.learning_rate = 1e\+30 must"):
        train(sliding_task(), settings, 3, tmp_path / "run", Interrupter(), policy="sac")


def test_unknown_kinds_of_policies_are_refused(tmp_path: Path) -> None:
    task = sliding_task()
    reporter: Reporter = Interrupter()
    with pytest.raises(ConfigurationError, match="policy = 'cubic': must be one of linear, sac"):
        train(task, settings_of(task), 3, tmp_path, reporter, policy="cubic")
