"""Training where plans correct the policy: curriculum, stages, bundle."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner

from demo_control.bundle import load_bundle
from demo_control.configuration import ConfigurationError
from demo_control.tasks import Array, CostTerm, Task

from ..interruption import Interrupter

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.train, pytest.mark.usefixtures("fixed_revision")]

from demo_control.cli import train as train_command  # noqa: E402
from demo_control.learning import correction_model  # noqa: E402
from demo_control.learning.ars import SearchState  # noqa: E402
from demo_control.learning.episodes import Episode  # noqa: E402
from demo_control.learning.exploration import explore  # noqa: E402
from demo_control.learning.linear_policy import LinearPolicies  # noqa: E402
from demo_control.learning.pipeline import Outcome, train  # noqa: E402
from demo_control.learning.settings import TrainingSettings  # noqa: E402
from demo_control.learning.trials import CurriculumTrials  # noqa: E402
from demo_control.learning.workers import Workers  # noqa: E402


def run(task: Task, directory: Path, stage: str = "all", at: int | None = None) -> tuple[Outcome, int]:
    reporter = Interrupter(at)
    return train(task, TrainingSettings.for_task(task), 3, directory, reporter, stage), reporter.calls


@pytest.fixture(scope="module")
def finished(task: Task, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    directory = tmp_path_factory.mktemp("finished") / "run"
    return directory, run(task, directory)[1]


def initial_weights(task: Task) -> Array:
    assert task.policy_training is not None
    return task.policy_training.initial_weights("numpy")


def trials(task: Task, seed: int = 1) -> CurriculumTrials:
    return CurriculumTrials(Workers(task), task, simulator="numpy", seed=seed, episode_s=1.0, normalises=True)


def alike(task: Task, count: int) -> LinearPolicies:
    parameters = np.hstack([initial_weights(task), np.zeros((2, 1))])
    return LinearPolicies(np.tile(parameters, (2 * count, 1, 1)), np.zeros(4), np.ones(4))


def test_curriculum_gives_both_signs_the_same_plants_and_every_direction_another(task: Task) -> None:
    count = 13  # more than one batch
    tried = trials(task).search(1, alike(task, count))
    up, down = np.split(tried.returns, 2)
    np.testing.assert_array_equal(up, down)
    assert len(set(up)) == count
    assert tried.observations.shape == (2 * count * 10, 4)
    np.testing.assert_array_equal(trials(task).search(1, alike(task, count)).returns, tried.returns)
    harder = trials(task).search(2, alike(task, count)).returns
    assert harder.mean() < tried.returns.mean() - 0.05, "more drag from iteration 2 on"
    assert not np.array_equal(trials(task, seed=2).search(1, alike(task, count)).returns, tried.returns)


def test_search_starts_from_the_initial_policy_and_changes_only_what_the_policy_sees(
    task: Task, tmp_path: Path
) -> None:
    outcome, _ = run(task, tmp_path, "policy")
    state = SearchState.load(tmp_path / "checkpoints" / "policy.npz")
    assert list(state.evaluations[:, 0]) == [0, 2, 4]
    start = trials(task, seed=3).evaluate(replace(alike(task, 1), parameters=alike(task, 1).parameters[:1]))
    assert state.evaluations[0, 1] == pytest.approx(start.mean())
    assert outcome.search_return == state.evaluations[:, 1].max() == pytest.approx(state.best_returns.mean())
    assert (state.parameters[:, [0, 3, 4]] == 0.0).all()
    assert (state.parameters[:, 1:3] != initial_weights(task)[:, 1:3]).all()


def test_interrupted_anywhere_the_result_is_the_same(task: Task, finished: tuple[Path, int], tmp_path: Path) -> None:
    directory, calls = finished
    for at in range(3, calls, 5):
        # A resumed run reports less, so the last interrupts come too late to happen.
        with contextlib.suppress(KeyboardInterrupt):
            run(task, tmp_path, at=at)
    run(task, tmp_path)
    assert load_bundle(tmp_path).sha256 == load_bundle(directory).sha256
    np.testing.assert_array_equal(
        SearchState.load(tmp_path / "checkpoints" / "policy.npz").parameters,
        SearchState.load(directory / "checkpoints" / "policy.npz").parameters,
    )


def test_bundle_card_and_curves(task: Task, finished: tuple[Path, int]) -> None:
    directory, _ = finished
    contract = load_bundle(directory, task).contract
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
    task: Task, finished: tuple[Path, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEMO_MODELS", str(tmp_path / "models"))
    with pytest.raises(ConfigurationError, match="run the stage 'policy' first"):
        run(task, tmp_path / "run", "model")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "turning").symlink_to(finished[0])
    run(task, tmp_path / "run", "model")
    made, shipped = load_bundle(tmp_path / "run"), load_bundle(finished[0])
    assert made.contract.files == shipped.contract.files, "the same policy gives the same data and the same model"
    assert made.contract.provenance["policy"] == shipped.contract.provenance["policy"]
    assert made.contract.provenance["command"].endswith("--stage model")
    assert (tmp_path / "run" / "curves" / "policy_return.csv").exists()


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        (("training", "unseen"), "no episode to fit to has the 2 transitions"),
        (("unseen",), "no episode that it was not fitted to has a transition"),
    ],
)
def test_episodes_without_a_transition_are_told(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds: tuple[str, ...], message: str
) -> None:
    """Every robot may fall at once, on unseen ground more than elsewhere."""

    def fallen(*arguments: Any) -> list[list[Episode]]:  # noqa: ANN401 - those of explore
        kind, count = arguments[2], arguments[5]
        return [[]] * count if kind in kinds else explore(*arguments)

    monkeypatch.setattr(correction_model, "explore", fallen)
    for _ in range(2):  # the second time from the checkpoints
        with pytest.raises(ConfigurationError, match=message):
            run(task, tmp_path / "run")


def test_model_stage_waits_for_a_finished_search_and_refuses_data_of_another_policy(
    task: Task, finished: tuple[Path, int], tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(task, tmp_path, "policy", at=4)
    with pytest.raises(ConfigurationError, match="is at iteration 2 of 4"):
        run(task, tmp_path, "model")
    run(task, tmp_path, "policy")
    (tmp_path / "checkpoints" / "model-policy.json").write_text(json.dumps({"sha256": "another"}))
    with pytest.raises(ConfigurationError, match="holds data of another policy"):
        run(task, tmp_path, "model")
    with pytest.raises(ConfigurationError, match="stage = 'modle'"):
        run(task, tmp_path, "modle")


def test_what_the_layer_could_not_plan_with_is_refused_before_anything_is_trained(task: Task, tmp_path: Path) -> None:
    assert task.planning is not None

    def hyperbolic(x: Any, y: Any, u: Any, xp: Any) -> Any:  # noqa: ANN401
        return {name: xp.tanh(x[name]) for name in x}

    odd = replace(task.planning, transition=replace(task.planning.transition, apply=hyperbolic))
    term = CostTerm("odd", 1.0, lambda x, u, xp: xp.tanh(x["error"]), "NumPy has it, the graph has not.")
    for wrong, words in (
        (replace(task, planning=odd), "task 'turning': its transition: AttributeError: .*'tanh'"),
        (replace(task, cost_terms=(term,)), "cost term 'odd': AttributeError: .*'tanh'"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            run(wrong, tmp_path / "run", "policy")
    assert not (tmp_path / "run").exists()


def test_command_line_runs_single_stages(task: Task, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(train_command, "load_task", lambda _: task)
    app = Typer()
    app.command()(train_command.command)
    for stage, text in (("policy", "Policy found: return"), ("model", "Bundle and card")):
        result = CliRunner().invoke(app, ["turning", "--stage", stage, "--out", str(tmp_path / "run")])
        assert result.exit_code == 0, result.output
        assert text in result.output
    assert load_bundle(tmp_path / "run", task).contract.members == 2
