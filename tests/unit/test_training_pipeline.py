"""The whole training run on a small plant: result, resuming, refusal, and what people see."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import numpy.typing as npt
import pytest
from rich.console import Console
from typer import Typer
from typer.testing import CliRunner

from demo_control.bundle import default_bundle, load_bundle
from demo_control.configuration import ConfigurationError, Scalar
from demo_control.learning.progress import ConsoleReporter
from demo_control.tasks import Array, CostTerm, Plants, Quantity, Score, Task

from .interruption import Interrupter

pytest.importorskip("torch")
pytestmark = [pytest.mark.train, pytest.mark.usefixtures("fixed_revision")]

from demo_control.cli import train as train_command  # noqa: E402
from demo_control.learning.export import PARITY_TOLERANCE  # noqa: E402
from demo_control.learning.pipeline import Outcome, train  # noqa: E402
from demo_control.learning.settings import AcceptanceSettings, TrainingSettings  # noqa: E402

TINY: dict[str, Scalar] = {
    "search.iterations": 4,
    "search.num_directions": 2,
    "search.num_top_directions": 1,
    "search.evaluation_interval": 2,
    "search.episode_s": 1.0,
    "collection.random_episodes": 4,
    "collection.random_episode_s": 1.0,
    "collection.policy_episodes": 4,
    "collection.policy_episode_s": 1.0,
    "collection.rounds": 2,
    "collection.round_episodes": 2,
    "network.num_members": 3,
    "network.num_elites": 2,
    "network.hidden_units": 8,
    "fit.steps": 20,
    "fit.evaluation_interval": 10,
    "final_fit.steps": 30,
    "final_fit.evaluation_interval": 10,
    "acceptance.episodes": 2,
    "acceptance.success_rate": 0.0,
}


class SlidingPlants:
    """A mass on a line, pushed by a force."""

    def __init__(self, num_plants: int) -> None:
        self.num_plants = num_plants
        self._states = np.zeros((num_plants, 2))

    def reset(self, generators: Sequence[np.random.Generator]) -> Array:
        self._states = np.stack([generator.standard_normal(2) for generator in generators])
        return self.true_observations()

    def step(self, actions: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
        velocity = self._states[:, 1] + 0.1 * actions[:, 0]
        self._states = np.column_stack([self._states[:, 0] + 0.1 * velocity, velocity])
        return self.true_observations(), np.zeros(self.num_plants, dtype=bool)

    def true_observations(self) -> Array:
        return self._states.copy()

    def close(self) -> None:
        """Nothing to release."""


class Still:
    """Success: still near the origin at the end."""

    def __init__(self) -> None:
        self._last = np.full(2, np.inf)

    def update(self, time_s: float, observation: Array, failed: bool) -> None:
        self._last = observation

    def result(self) -> dict[str, float | bool]:
        return {"success": bool(np.abs(self._last).max() < 0.5)}


def make_plants(simulator: str, num_plants: int, settings: Mapping[str, Scalar]) -> Plants:
    if simulator != "numpy":
        raise ConfigurationError(f"simulator '{simulator}': must be one of numpy")
    return SlidingPlants(num_plants)


def make_score() -> Score:
    return Still()


def sliding_task() -> Task:
    return Task(
        name="sliding",
        observation=(Quantity("position", "m", -5.0, 5.0), Quantity("velocity", "m/s", -5.0, 5.0)),
        action=(Quantity("force", "N", -2.0, 2.0),),
        control_period_s=0.1,
        episode_s=2.0,
        cost_terms=(
            CostTerm("position", 1.0, lambda x, u, _: x["position"] * x["position"], "Off."),
            CostTerm("effort", 0.1, lambda x, u, _: u["force"] * u["force"], "Effort."),
        ),
        model_inputs=("velocity",),
        simulators=("numpy",),
        make_plants=make_plants,
        make_score=make_score,
        planner={"num_samples": 8, "horizon": 5},
        training=TINY,
    )


def run(directory: Path, at: int | None = None, stage: str = "all", **changed: Scalar) -> tuple[Outcome, int]:
    task = sliding_task()
    dotted = {name.replace("__", "."): value for name, value in changed.items()}
    settings = TrainingSettings.for_task(task, dotted)
    reporter = Interrupter(at)
    return train(task, settings, 3, directory, reporter, stage), reporter.calls


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    directory = tmp_path_factory.mktemp("finished") / "run"
    outcome, calls = run(directory)
    assert outcome.accepted
    assert outcome.directory == directory
    return directory, calls


def test_writes_a_valid_bundle_with_card_and_curves(finished: tuple[Path, int]) -> None:
    directory, _ = finished
    bundle = load_bundle(directory, sliding_task())
    provenance, metrics = bundle.contract.provenance, bundle.contract.metrics
    assert provenance["command"] == "democtl train sliding --seed 3"
    assert provenance["parity"] <= PARITY_TOLERANCE
    assert metrics["accepted"] is True
    assert metrics["demo"]["episodes"] == 2
    assert bundle.contract.members == 2
    card = (directory / "README.md").read_text()
    for name in ("policy_return", "model_loss", "rounds", "horizon_error"):
        assert f"curves/{name}.png" in card
        assert (directory / "curves" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        table = (directory / "curves" / f"{name}.csv").read_text().splitlines()
        assert len(table) >= 2
    assert not list(directory.rglob(".*")), "nothing half-written is left"


def test_interrupted_anywhere_the_result_is_the_same(
    finished: tuple[Path, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("demo_control.learning.pipeline.plots", Mock())  # drawing takes most of the time
    directory, calls = finished
    expected = load_bundle(directory).sha256
    interrupted = tmp_path / "run"
    for at in range(2, calls, 7):
        # A resumed run reports less, so the last interrupts come too late to happen.
        with contextlib.suppress(KeyboardInterrupt):
            run(interrupted, at)
    run(interrupted)
    assert load_bundle(interrupted).sha256 == expected


def test_a_finished_run_only_reports_again(finished: tuple[Path, int]) -> None:
    directory, calls = finished
    before = load_bundle(directory).sha256
    tables = {path: path.read_text() for path in (directory / "curves").glob("*.csv")}
    assert len(tables) == 4
    _, again = run(directory)
    assert again < calls
    assert load_bundle(directory).sha256 == before
    assert {path: path.read_text() for path in tables} == tables


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError) as caught:
        run(tmp_path / "file" / "run")
    assert caught.value.filename == str(tmp_path / "file")


def test_a_model_without_a_policy_is_refused_and_the_advice_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("demo_control.learning.pipeline.plots", Mock())  # drawing takes most of the time
    shipped = tmp_path / "shipped" / "sliding"
    shutil.copytree(default_bundle("cartpole"), shipped)
    monkeypatch.setenv("DEMO_MODELS", str(shipped.parent))
    folder = tmp_path / "run"

    with pytest.raises(ConfigurationError, match="holds no policy; run the stage 'policy'"):
        run(folder, stage="model")
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["run.json"]
    run(folder, stage="policy")
    outcome, _ = run(folder, stage="model")

    assert outcome.accepted


def test_another_request_in_the_same_folder_is_refused(finished: tuple[Path, int]) -> None:
    with pytest.raises(ConfigurationError, match=r"fit\.steps = 20, asked for 25"):
        run(finished[0], fit__steps=25)


def test_a_folder_with_a_foreign_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "contract.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="holds a bundle already"):
        run(tmp_path)


def test_a_folder_of_other_folders_is_refused(tmp_path: Path) -> None:
    """At the end the whole folder is replaced: what is recorded into it meanwhile would be lost."""
    (tmp_path / "bags").mkdir()
    with pytest.raises(ConfigurationError, match=r"holds other folders \(bags\), .* choose another folder with --out"):
        run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["bags"]
    (tmp_path / "bags").rmdir()
    (tmp_path / "train.log").touch()
    run(tmp_path, stage="policy")


@pytest.mark.parametrize("name", ["policy.npz", "model-policy.json"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, at=12)
    (tmp_path / "checkpoints" / name).write_bytes(b'{"sha2')
    with pytest.raises(ConfigurationError, match=f"{name}' cannot be read"):
        run(tmp_path)


def test_a_model_that_fails_is_not_exported(tmp_path: Path) -> None:
    # Untrained for all purposes, and every episode would have to succeed.
    outcome, _ = run(tmp_path, acceptance__success_rate=1.0, final_fit__steps=1, fit__steps=1)
    assert not outcome.accepted
    assert not (tmp_path / "contract.json").exists()
    rejected = load_bundle(tmp_path / "rejected")
    assert rejected.contract.metrics["accepted"] is False


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("fit.stepps", 3, "did you mean 'steps'"),
        ("steps", 3, "unknown setting 'steps'; names are group.name"),
        ("fitt.steps", 3, "unknown setting 'fitt.steps'"),
        ("fit.steps", 0, "must be at least 1"),
        ("network.num_elites", 9, "must be at most num_members"),
    ],
)
def test_wrong_settings_are_named(name: str, value: Scalar, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        TrainingSettings.for_task(sliding_task(), {name: value})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"collection__random_episodes": 1, "collection__policy_episodes": 1}, "no episode that is held out has the 4"),
        ({"collection__random_episode_s": 0.2, "collection__policy_episode_s": 0.2}, "no episode to fit to has the 4"),
        ({"search__episode_s": 0.01}, "must last at least a control period, which is 0.1 s"),
        ({"collection__policy_episode_s": 0.01}, "must last at least a control period, which is 0.1 s"),
    ],
)
def test_too_few_or_too_short_episodes_are_told(tmp_path: Path, changed: dict[str, Scalar], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        run(tmp_path, **changed)


@pytest.mark.parametrize("name", ["acceptance__simulator", "collection__simulator"])
def test_a_simulator_that_there_is_not_is_refused_before_the_training(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="simulator 'moon': must be one of numpy"):
        run(tmp_path, **{name: "moon"})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("rate", "episodes", "needed"), [(0.96, 50, 48), (0.55, 100, 55), (0.97, 50, 49), (0.5, 0, 0)])
def test_successes_needed_are_the_share_and_no_more(rate: float, episodes: int, needed: int) -> None:
    assert AcceptanceSettings(episodes=episodes, success_rate=rate).needed == needed


def test_elites_must_divide_the_samples(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="must divide the layer's num_samples = 8"):
        run(tmp_path, network__num_elites=3)


def test_plain_lines_where_there_is_no_terminal() -> None:
    times = iter([0.0, 11.0, 12.0, 30.0])
    text = io.StringIO()
    reporter = ConsoleReporter(Console(file=text), clock=lambda: next(times))
    reporter.start("stage", 10)
    reporter.advance(1, "loss 3")
    reporter.advance(2, "loss 2")
    reporter.finish("loss 1")
    assert text.getvalue().splitlines() == [
        "  1/10  loss 3  about 99 s left",
        "stage: loss 1  (30 s)",
    ]


def test_time_left_of_a_stage_that_goes_on_counts_what_was_done_since() -> None:
    times = iter([0.0, 11.0])
    text = io.StringIO()
    reporter = ConsoleReporter(Console(file=text), clock=lambda: next(times))
    reporter.start("stage", 10, 7)
    reporter.advance(8, "loss 3")
    assert text.getvalue().splitlines() == ["  8/10  loss 3  about 22 s left"]


@pytest.mark.parametrize("policy", ["linear", "sac"])
def test_a_search_that_goes_on_says_what_is_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    monkeypatch.setattr("demo_control.learning.pipeline.plots", Mock())
    monkeypatch.setattr("demo_control.learning.policy_learning.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    learning = {"learning.steps": 200, "learning.plants": 2, "learning.initial_steps": 40, "sac.batch_size": 8}
    settings = TrainingSettings.for_task(sliding_task(), learning)
    with pytest.raises(KeyboardInterrupt):
        train(sliding_task(), settings, 3, tmp_path, Interrupter(at=4), "policy", policy)
    reporter = Mock()
    train(sliding_task(), settings, 3, tmp_path, reporter, "policy", policy)
    (_, _, behind), told = reporter.start.call_args.args, [call.args[0] for call in reporter.advance.call_args_list]
    assert 0 < behind < told[0]


def command_line(monkeypatch: pytest.MonkeyPatch, task: Task) -> Typer:
    monkeypatch.setattr(train_command, "load_task", lambda _: task)
    app = Typer()
    app.command()(train_command.command)
    return app


def test_command_line_accepts_rejects_and_resumes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    app = command_line(monkeypatch, sliding_task())
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["sliding", "--seed", "1"])
    assert result.exit_code == 0, result.output
    assert "Accepted: " in result.output
    contract = json.loads((tmp_path / "out/train-sliding-1/contract.json").read_text())
    assert contract["provenance"]["seed"] == 1

    impossible = replace(sliding_task(), make_score=NeverGood)
    app = command_line(monkeypatch, impossible)
    arguments = ["sliding", "--out", "other", "--set", "acceptance.success_rate=1.0"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "Rejected: 0 of 2 episodes succeed, 2 are needed" in result.output

    result = CliRunner().invoke(app, ["sliding", "--set", "fit.steps=many"])
    assert result.exit_code == 2
    assert "expected int" in result.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: signal.Signals) -> None:
    app = command_line(monkeypatch, sliding_task())
    monkeypatch.setattr("demo_control.learning.pipeline.search_policy", lambda _: signal.raise_signal(number))
    monkeypatch.setattr("sys.argv", ["democtl", "train", "sliding", "--out", "a b"])
    result = CliRunner().invoke(app, ["sliding", "--out", str(tmp_path / "run")])
    assert result.exit_code == 130
    assert "To go on: democtl train sliding --out 'a b'" in result.output


def test_without_torch_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    app = command_line(monkeypatch, sliding_task())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["sliding"])
    assert result.exit_code == 2
    assert "make train-setup" in result.output
    assert "pip install 'demo-stack[train]'" in result.output, "who has no source tree has no Makefile"
    assert len(result.output.strip().splitlines()) == 1


class NeverGood:
    def update(self, time_s: float, observation: Array, failed: bool) -> None:
        """Not even looked at."""

    def result(self) -> dict[str, float | bool]:
        return {"success": False}
