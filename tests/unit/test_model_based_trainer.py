"""Runs of the loop: the same from one seed, resumed after any interruption, and refused where they cannot go on."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from demo_control.configuration import ConfigurationError
from demo_control.experiments.spec import read_experiment
from demo_control.experiments.stopping import stop_now
from demo_control.experiments.training import EvaluationSettings, Record, RunRequest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from demo_control.learning.ars_experiment import ExperimentSettings  # noqa: E402
from demo_control.learning.gymnasium_adapter import adapted_problem  # noqa: E402
from demo_control.learning.gymnasium_environments import gymnasium_problem  # noqa: E402
from demo_control.learning.model_based import trainer  # noqa: E402
from demo_control.learning.model_based.settings import TrainerSettings  # noqa: E402
from demo_control.learning.pendulum_environments import PendulumEnvironments  # noqa: E402

SETTINGS = {
    "loop.initial_steps": 20, "loop.updates_per_step": 1, "loop.model_interval": 10, "loop.start_states": 4,
    "loop.trust_starts": 2, "loop.trust_steps": 3,
    "sac.hidden_units": 8, "sac.batch_size": 8,
    "model.num_members": 2, "model.num_elites": 2, "model.hidden_layers": 1, "model.hidden_units": 8,
    "model.first_steps": 5, "model.steps": 3, "model.look_interval": 2, "model.batch_size": 8,
    "planner.horizon": 2, "planner.num_samples": 8,
}  # fmt: skip
REQUEST = RunRequest("Pendulum-v1", 3, 45, SETTINGS, EvaluationSettings(every_steps=15, episodes=2))


class Stop(Exception):  # noqa: N818 - no error
    """Ends a run as Ctrl-C would."""


def without_seconds(records: list[Record]) -> list[Record]:
    return [replace(record, seconds=0.0) for record in records]


def weights(folder: Path) -> dict[str, object]:
    content = torch.load(folder / trainer.CHECKPOINT, weights_only=True)
    return {**content["learner"], **{f"fitter.{name}": value for name, value in content["fitter"].items()}}


def assert_same(one: Path, other: Path) -> None:
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


def nothing(_: Record) -> None:
    """Nobody listens."""


def stopping(at: int) -> Callable[[Record], None]:
    heard: list[Record] = []

    def hear(record: Record) -> None:
        heard.append(record)
        if len(heard) == at:
            raise Stop

    return hear


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record]]:
    folder = tmp_path_factory.mktemp("whole")
    told: list[Record] = []
    records = trainer.train(REQUEST, folder, told.append)
    assert told == records
    return folder, records


def test_what_is_recorded(whole: tuple[Path, list[Record]]) -> None:
    _, records = whole
    assert [(r.kind, r.step) for r in records] == [
        ("evaluation", 15), ("model", 20), ("plan", 20),
        ("evaluation", 30), ("learner", 30), ("model", 30), ("plan", 30), ("model", 40), ("plan", 40),
        ("evaluation", 45), ("learner", 45),
    ]  # fmt: skip
    assert all(np.isfinite(list(record.values.values())).all() for record in records)
    assert set(records[0].values) == {"return_mean", "return_deviation"}


def test_same_seed_same_run(whole: tuple[Path, list[Record]], tmp_path: Path) -> None:
    folder, records = whole
    again = trainer.train(REQUEST, tmp_path, nothing)
    assert without_seconds(again) == without_seconds(records)
    assert_same(folder, tmp_path)


def test_another_seed_another_run(whole: tuple[Path, list[Record]], tmp_path: Path) -> None:
    other = trainer.train(replace(REQUEST, seed=4), tmp_path, nothing)
    assert without_seconds(other) != without_seconds(whole[1])


@pytest.mark.parametrize("at", [1, 3, 6, 9, 11])
def test_goes_on_after_any_interruption(
    whole: tuple[Path, list[Record]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """With a checkpoint after every step; what was told after the last one is told again."""
    run = trainer.TrainingRun.run
    monkeypatch.setattr(trainer.TrainingRun, "run", lambda self, path: run(self, path, interval_s=0.0))
    folder, records = whole
    with pytest.raises(Stop):
        trainer.train(REQUEST, tmp_path, stopping(at))
    resumed = trainer.train(REQUEST, tmp_path, nothing)
    assert without_seconds(resumed) == without_seconds(records)
    assert [r.seconds for r in resumed] == sorted(r.seconds for r in resumed)
    assert_same(folder, tmp_path)


@pytest.mark.parametrize(("number", "times"), [(signal.SIGTERM, 1), (signal.SIGTERM, 2), (signal.SIGINT, 1)])
@pytest.mark.parametrize("at", [1, 7])
def test_a_run_that_is_asked_to_stop_saves_what_it_has_done(
    whole: tuple[Path, list[Record]], tmp_path: Path, number: signal.Signals, times: int, at: int
) -> None:
    """Long before the first checkpoint is due, and also where the parent passes on what the whole group has heard."""
    folder, records = whole
    heard: list[Record] = []

    def ask(record: Record) -> None:
        heard.append(record)
        if len(heard) == at:
            for _ in range(times):
                signal.raise_signal(number)

    before = signal.signal(number, stop_now)
    try:
        with pytest.raises(KeyboardInterrupt):
            trainer.train(REQUEST, tmp_path, ask)
        assert signal.getsignal(number) is stop_now
    finally:
        signal.signal(number, before)
    # Whole steps: nothing is told again.
    resumed = trainer.train(REQUEST, tmp_path, heard.append)
    assert without_seconds(resumed) == without_seconds(records) == without_seconds(heard)
    assert_same(folder, tmp_path)


def test_a_run_that_is_asked_twice_stops_at_once(tmp_path: Path) -> None:
    def ask(_: Record) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trainer.train(REQUEST, tmp_path, ask)
    assert not (tmp_path / trainer.CHECKPOINT).exists()


def test_a_run_that_is_over_is_only_read(whole: tuple[Path, list[Record]], tmp_path: Path) -> None:
    folder, records = whole
    (tmp_path / trainer.CHECKPOINT).write_bytes((folder / trainer.CHECKPOINT).read_bytes())
    told: list[Record] = []
    assert trainer.train(REQUEST, tmp_path, told.append) == records
    assert not told


def test_an_adapted_environment_goes_on_too_and_its_states_take_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "gymnasium_problem", adapted_problem)
    records = trainer.train(REQUEST, tmp_path / "whole", nothing)
    assert "truly_better" in records[2].values
    run = trainer.TrainingRun.run
    monkeypatch.setattr(trainer.TrainingRun, "run", lambda self, path: run(self, path, interval_s=0.0))
    with pytest.raises(Stop):
        trainer.train(REQUEST, tmp_path / "parts", stopping(6))
    assert without_seconds(trainer.train(REQUEST, tmp_path / "parts", nothing)) == without_seconds(records)
    assert_same(tmp_path / "whole", tmp_path / "parts")
    content = torch.load(tmp_path / "whole" / trainer.CHECKPOINT, weights_only=True)
    assert content["states"].shape == (45, 2 + 1)  # and not all 200 actions of an episode, for each step


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, seed=4),
        replace(REQUEST, steps=46),
        replace(REQUEST, evaluation=replace(REQUEST.evaluation, episodes=3)),
        replace(REQUEST, settings={**SETTINGS, "loop.method": "mopac"}),
    ],
)
def test_a_checkpoint_of_another_request_is_refused(whole: tuple[Path, list[Record]], other: RunRequest) -> None:
    with pytest.raises(ConfigurationError, match="is of another request; choose another folder"):
        trainer.train(other, whole[0], nothing)


@pytest.mark.parametrize("damage", ["empty", "garbage", "truncated", "something else", "half"])
def test_a_file_that_is_no_checkpoint_is_refused(whole: tuple[Path, list[Record]], tmp_path: Path, damage: str) -> None:
    path, content = tmp_path / trainer.CHECKPOINT, (whole[0] / trainer.CHECKPOINT).read_bytes()
    if damage == "something else":
        torch.save([1, 2, 3], path)
    elif damage == "half":
        found = torch.load(whole[0] / trainer.CHECKPOINT, weights_only=True)
        torch.save({"request": found["request"]}, path)
    else:
        path.write_bytes({"empty": b"", "garbage": b"no checkpoint" * 9, "truncated": content[:-500]}[damage])
    with pytest.raises(ConfigurationError, match=r"cannot be read .*; delete it to start anew") as caught:
        trainer.train(REQUEST, tmp_path, nothing)
    assert "\n" not in str(caught.value)


def test_stops_when_the_last_evaluations_are_good_enough(tmp_path: Path) -> None:
    evaluation = EvaluationSettings(every_steps=5, episodes=1, stop_return=-1e9, stop_in_a_row=2)
    records = trainer.train(replace(REQUEST, evaluation=evaluation), tmp_path, nothing)
    assert [r.step for r in records if r.kind == "evaluation"] == [5, 10]
    never = replace(evaluation, stop_return=1e9)
    records = trainer.train(replace(REQUEST, evaluation=never, steps=12), tmp_path / "other", nothing)
    assert [r.step for r in records] == [5, 10, 12]


def test_soft_actor_critic_alone_needs_no_model(tmp_path: Path) -> None:
    request = replace(REQUEST, settings={**SETTINGS, "loop.method": "sac"})
    records = trainer.train(request, tmp_path, nothing)
    assert {record.kind for record in records} == {"evaluation", "learner"}


SPECIFICATIONS = sorted((Path(__file__).parents[2] / "benchmarks" / "learning").glob("*.yaml"))


@pytest.mark.parametrize("path", SPECIFICATIONS, ids=lambda path: path.stem)
def test_shipped_specifications_ask_for_what_there_is(path: Path) -> None:
    cells = read_experiment(path).cells()
    assert cells
    for cell in cells:
        if cell.trainer == "ars":
            ars = {name.removeprefix("ars."): value for name, value in cell.request.settings.items()}
            ExperimentSettings.from_mapping(ars, source=path.stem)
        else:
            TrainerSettings.from_mapping(cell.request.settings)
    for name in {cell.request.environment for cell in cells}:
        assert gymnasium_problem(name).name == name


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loops.method": "sac"}, "setting 'loops.method': its group must be one of loop, sac, model, planner"),
        ({"loop.method": "ppo"}, "method.*'ppo'.*sac, mbpo, mopac, demo_rl"),
        ({"loop.stored": "all"}, "stored.*plan, policy_along_plan"),
        ({"loop.gate": "all"}, "gate.*none, members, votes, disagreement"),
        ({"loop.nothing": 1}, "nothing"),
        ({"sac.discount": 1.5}, "discount.*1.5"),
        ({"model.activation": "relu"}, "activation.*tanh, silu"),
        ({"model.num_elites": 9}, "num_elites = 9: must be at most num_members = 5"),
        ({"planner.num_samples": 9}, "planner.num_samples = 9: must be a multiple of model.num_elites = 4"),
        ({"loop.start_states": 3}, "loop.start_states = 3: must be at least model.num_elites = 4"),
        ({"loop.initial_steps": 1}, "initial_steps.*1"),
        ({"loop.real_share_last": 2.0}, "real_share_last.*2.0"),
        ({"loop.real_share_last": -0.5}, "real_share_last = -0.5: must be a share of 0 to 1, or -1"),
        ({"loop.real_share_last": -1e-9}, "real_share_last = -1e-09: must be a share of 0 to 1, or -1"),
    ],
)
def test_wrong_settings_say_what_is_allowed(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        TrainerSettings.from_mapping(values)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-1.0, 0.0, 0.5, 1.0])
def test_last_shares_that_are_allowed(value: float) -> None:
    assert TrainerSettings.from_mapping({"loop.real_share_last": value}).loop.real_share_last == value


@pytest.mark.parametrize("ends", ["done", "stopped", "refused"])
def test_the_environments_of_a_run_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str) -> None:
    made, closed = [], []

    class Counted(PendulumEnvironments):
        def __init__(self, num_environments: int) -> None:
            super().__init__(num_environments)
            made.append(self)

        def close(self) -> None:
            super().close()
            closed.append(self)

    problem = replace(gymnasium_problem("Pendulum-v1"), make=Counted)
    monkeypatch.setattr(trainer, "gymnasium_problem", lambda _: problem)
    if ends == "done":
        trainer.train(replace(REQUEST, steps=21), tmp_path, nothing)
    elif ends == "stopped":
        with pytest.raises(Stop):
            trainer.train(REQUEST, tmp_path, stopping(1))
    else:
        (tmp_path / trainer.CHECKPOINT).write_bytes(b"")
        with pytest.raises(ConfigurationError):
            trainer.train(REQUEST, tmp_path, nothing)
    assert made
    assert sorted(map(id, made)) == sorted(map(id, closed))  # each once


def test_settings_survive_their_mapping() -> None:
    settings = TrainerSettings.from_mapping(SETTINGS)
    assert TrainerSettings.from_mapping(json.loads(json.dumps(settings.as_mapping()))) == settings


def test_the_precision_of_matrix_products_is_the_run_s_own(tmp_path: Path) -> None:
    """Rounded factors give the same weights from the same seed, too; whoever trains afterwards has the usual ones."""
    settings = {**SETTINGS, "loop.matrix_products": "bfloat16"}
    request = replace(REQUEST, steps=30, settings=settings)
    seen = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        trainer.train(request, tmp_path / name, lambda _: seen.append(torch.get_float32_matmul_precision()))
    assert_same(tmp_path / "one", tmp_path / "other")
    assert set(seen) == {"medium"}
    assert torch.get_float32_matmul_precision() == "highest"
