"""Augmented random search as a trainer of experiments, and its accelerated update."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from demo_control.configuration import ConfigurationError, Scalar
from demo_control.experiments.journal import Journal, read_journal
from demo_control.experiments.stopping import stop_now
from demo_control.experiments.training import EvaluationSettings, Record, RunRequest
from demo_control.learning import ars_experiment
from demo_control.learning.ars import RandomSearch, SearchState
from demo_control.learning.ars_experiment import CHECKPOINT, train
from demo_control.learning.ars_settings import UpdateSettings
from demo_control.learning.ars_update import Iterate
from demo_control.learning.environment_trials import evaluate_policy
from demo_control.learning.gymnasium_environments import gymnasium_problem
from demo_control.learning.linear_policy import LinearPolicies
from demo_control.learning.model_based.evaluation import evaluate
from demo_control.learning.run_folder import RunFolder
from demo_control.learning.storage import load_arrays, save_arrays
from demo_control.learning.trials import Tried
from demo_control.tasks import Array

from .interruption import Interrupter

SETTINGS: dict[str, Scalar] = {
    "ars.num_directions": 10,  # more than a batch of one process
    "ars.num_top_directions": 4,
    "ars.survival_bonus": 1.0,
    "ars.acceleration": "two_step_sizes",
}
REQUEST = RunRequest("InvertedDoublePendulum-v5", 3, 1500, SETTINGS, EvaluationSettings(every_steps=300, episodes=3))


def figures(records: Sequence[Record]) -> list[tuple[int, dict[str, float]]]:
    """What must not depend on the machine."""
    return [(record.step, dict(record.values)) for record in records]


def request(**settings: Scalar) -> RunRequest:
    return replace(REQUEST, settings={**SETTINGS, **{f"ars.{name}": value for name, value in settings.items()}})


def ignore(_: Record) -> None:
    """Not told."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[tuple[int, dict[str, float]]], Array]:
    """A run without interruption, in this process: its records and final parameters."""
    folder = tmp_path_factory.mktemp("whole")
    records = train(REQUEST, folder, ignore)
    return figures(records), SearchState.load(folder / CHECKPOINT).parameters


def test_evaluates_when_due_and_ends_at_the_steps(whole: tuple[list[tuple[int, dict[str, float]]], Array]) -> None:
    steps = [step for step, _ in whole[0]]
    assert steps == sorted(set(steps))
    assert steps[-1] == REQUEST.steps
    assert len(steps) == 5
    assert all(step >= 300 * (i + 1) for i, step in enumerate(steps))


def test_is_judged_from_the_starts_of_other_trainers() -> None:
    idle = LinearPolicies(np.zeros((1, 1, 4)), np.zeros(3), np.ones(3))
    found = evaluate_policy("Pendulum-v1", 7, 5, idle).returns
    other = Mock(act=lambda observations: np.zeros((len(observations), 1)))
    np.testing.assert_allclose(found, evaluate(gymnasium_problem("Pendulum-v1"), other, 5, seed=7), rtol=1e-12)


@pytest.mark.parametrize("processes", [1, 2])
def test_resumes_bit_for_bit_with_any_number_of_processes(
    whole: tuple[list[tuple[int, dict[str, float]]], Array], tmp_path: Path, processes: int
) -> None:
    interrupter = Interrupter(at=2)
    with pytest.raises(KeyboardInterrupt):
        train(request(processes=processes), tmp_path, lambda record: interrupter.advance(record.step, record.kind))
    told: list[Record] = []
    records = train(request(processes=3 - processes), tmp_path, told.append)
    assert figures(records) == whole[0]
    assert figures(told) == whole[0][1:]  # from the one on that no checkpoint held
    assert np.array_equal(SearchState.load(tmp_path / CHECKPOINT).parameters, whole[1])
    assert figures(train(REQUEST, tmp_path, told.append)) == whole[0]  # finished: nothing more to do
    with pytest.raises(ConfigurationError, match="another request"):
        train(replace(REQUEST, seed=4), tmp_path, ignore)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_that_is_asked_to_stop_saves_what_it_has_done(
    whole: tuple[list[tuple[int, dict[str, float]]], Array],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    processes: int,
) -> None:
    """Within an update, before an evaluation or a checkpoint is due: the update is ended, none is made twice."""
    update, updates = RandomSearch.update, 0

    def asked(self: RandomSearch) -> Tried:
        nonlocal updates
        updates += 1
        if updates == 2:
            signal.raise_signal(signal.SIGTERM)
        return update(self)

    before = signal.signal(signal.SIGTERM, stop_now)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(RandomSearch, "update", asked)
            with pytest.raises(KeyboardInterrupt):
                train(request(processes=processes), tmp_path, ignore)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert SearchState.load(tmp_path / CHECKPOINT).iteration == 2
    assert figures(train(REQUEST, tmp_path, ignore)) == whole[0]


class Killer:
    """Ends a run as a kill would, at one of the moments at which something is on disk that was not before."""

    def __init__(self, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.moments, self._at, save = 0, at, ars_experiment._save

        def saved(path: Path, request: RunRequest, run: object) -> None:
            self.moment()
            save(path, request, run)
            self.moment()

        monkeypatch.setattr(ars_experiment, "_save", saved)

    def moment(self) -> None:
        self.moments += 1
        if self.moments == self._at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("at", range(1, 13))
def test_no_record_is_lost_or_doubled_wherever_it_is_killed(
    whole: tuple[list[tuple[int, dict[str, float]]], Array], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """In the journal, which is what a study's curves and progress are read from."""
    with monkeypatch.context() as patch:
        journal, killer = Journal(tmp_path, None), Killer(at, patch)

        def tell(record: Record) -> None:
            killer.moment()
            journal(record)
            killer.moment()

        with pytest.raises(KeyboardInterrupt):
            train(REQUEST, tmp_path, tell)
    records = train(REQUEST, tmp_path, Journal(tmp_path, None))
    assert figures(records) == whole[0]
    assert figures(read_journal(tmp_path)) == whole[0]


@pytest.mark.parametrize("damage", ["empty", "truncated", "bit", "garbage", "something else", "less"])
def test_a_file_that_is_no_checkpoint_gets_a_clear_message(
    whole: tuple[list[tuple[int, dict[str, float]]], Array], tmp_path: Path, damage: str
) -> None:
    path = tmp_path / CHECKPOINT
    train(replace(REQUEST, steps=300), tmp_path, ignore)
    _damage(path, damage)
    with pytest.raises(
        ConfigurationError, match=r"checkpoint '.*ars.npz' cannot be read \(.+\); delete it to start anew"
    ):
        train(replace(REQUEST, steps=300), tmp_path, ignore)


@pytest.mark.parametrize("damage", ["empty", "truncated", "bit", "garbage", "something else", "less"])
def test_a_damaged_stage_gets_a_clear_message(tmp_path: Path, damage: str) -> None:
    folder = RunFolder(tmp_path)
    _damage(_saved(folder.file("policy.npz")), damage)
    with pytest.raises(ConfigurationError, match=r"policy.npz' cannot be read \(.+\); delete it to redo its stage"):
        folder.resumed("policy.npz", SearchState.load)


def test_an_archive_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    """Any bit turned, any length: the same arrays, a refusal, or an array that is missing; never other numbers."""
    path, arrays = tmp_path / "arrays.npz", {"x": np.arange(12.0).reshape(3, 4), "run": np.array("text" * 9)}
    save_arrays(path, arrays)
    content = path.read_bytes()
    turned = [bytes([*content[:i], content[i] ^ (1 << i % 8), *content[i + 1 :]]) for i in range(len(content))]
    refused = 0
    for damaged in (*turned, *(content[:length] for length in range(len(content)))):
        path.write_bytes(damaged)
        try:
            found = load_arrays(path)
        except (OSError, ValueError):
            refused += 1
            continue
        assert all(np.array_equal(value, arrays[name]) for name, value in found.items())
    assert refused > 1.3 * len(content)


def _damage(path: Path, damage: str) -> None:
    content = path.read_bytes()
    if damage == "something else":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif damage == "less":
        arrays = load_arrays(path)
        del arrays["mean"]
        save_arrays(path, arrays)
    else:
        place = 100  # among the first array's numbers
        turned = bytes([*content[:place], content[place] ^ 16, *content[place + 1 :]])
        cut = content[: len(content) // 2]
        path.write_bytes({"empty": b"", "garbage": b"no archive" * 9, "truncated": cut, "bit": turned}[damage])


@pytest.mark.parametrize(
    ("name", "text"),
    [("sac.batch_size", "has the group 'ars' only"), ("ars.stepsize", "did you mean 'step_size'")],
)
def test_unknown_settings_are_refused(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        train(replace(REQUEST, settings={name: 1.0}), tmp_path, ignore)


def test_an_old_checkpoint_gets_a_clear_message(tmp_path: Path) -> None:
    """Of ``democtl train`` before searches had a leading sequence."""
    folder = RunFolder(tmp_path)
    arrays = SearchState.load(_saved(folder.file("policy.npz"))).arrays()
    del arrays["leading"]
    np.savez(folder.file("policy.npz"), **arrays)
    with pytest.raises(ConfigurationError, match=r"policy.npz' cannot be read \('leading.*delete it to redo its stage"):
        folder.resumed("policy.npz", SearchState.load)


def _saved(path: Path) -> Path:
    class Sizes:
        observation_dim, action_dim = 3, 1
        action_minimum, action_maximum = -np.ones(1), np.ones(1)

    path.parent.mkdir()
    SearchState.initial(Sizes()).save(path)
    return path


def tried(iterate: Iterate, settings: UpdateSettings, curvatures: Array, seed: int) -> Iterate:
    """An update on the returns −Σ h x² / 2."""
    directions = np.random.default_rng(seed).standard_normal((settings.num_directions, *iterate.parameters.shape))

    def returns(sign: float) -> Array:
        return -0.5 * (curvatures * (iterate.parameters + sign * settings.noise * directions) ** 2).sum(axis=(1, 2))

    return iterate.updated(settings, directions, returns(1.0), returns(-1.0))


def loss_after(settings: UpdateSettings, curvatures: Array, updates: int, seed: int) -> float:
    start = np.ones((1, len(curvatures)))
    iterate = Iterate(start, start)
    for update in range(updates):
        iterate = tried(iterate, settings, curvatures, seed * 100_000 + update)
    return float(0.5 * (curvatures * iterate.parameters**2).sum())


PLAIN = UpdateSettings(variant="V1", num_directions=8, num_top_directions=8, step_size=0.01, noise=0.01)
ACCELERATED = replace(PLAIN, acceleration="two_step_sizes")


def contracted(settings: UpdateSettings, curvatures: Array, step: float, updates: int) -> Array:
    """Distances after each update with the true gradient, from 1 along every axis. Shape=(updates, axes).

    Directions are the axes: differences of a quadratic are then its gradient exactly, and what the search divides by is
    put into the step size.
    """
    directions = np.eye(len(curvatures))[:, None, :]
    iterate, found = Iterate(*np.ones((2, 1, len(curvatures)))), []
    settings = replace(settings, num_directions=len(curvatures), num_top_directions=len(curvatures))
    for _ in range(updates):
        up, down = (
            -0.5 * (curvatures * (iterate.parameters + sign * settings.noise * directions) ** 2).sum(axis=(1, 2))
            for sign in (1.0, -1.0)
        )
        divided_by = float(len(curvatures) * np.concatenate([up, down]).std() / (2.0 * settings.noise))
        iterate = iterate.updated(replace(settings, step_size=step * divided_by), directions, up, down)
        found.append(iterate.parameters[0])
    return np.array(found)


def in_closed_form(settings: UpdateSettings, curvature: float, step: float) -> Array:
    """The update of (x, z) along an axis, as a matrix."""
    ratio, tau = settings.large_step_ratio, settings.coupling
    if settings.acceleration == "none":
        ratio = tau = 1.0
    d = (1.0 - tau) * (1.0 - step * curvature)
    return np.array([[d - tau * ratio * step * curvature, tau], [-ratio * step * curvature, 1.0]])


@pytest.mark.parametrize("settings", [PLAIN, ACCELERATED, replace(ACCELERATED, coupling=0.2)])
def test_updates_on_a_quadratic_are_those_of_the_closed_form(settings: UpdateSettings) -> None:
    curvatures = np.geomspace(1.0, 1e-2, 6)
    found = contracted(settings, curvatures, step=0.9, updates=30)
    for axis, curvature in enumerate(curvatures):
        matrix = in_closed_form(settings, curvature, step=0.9)
        for update in (1, 2, 30):
            expected = (np.linalg.matrix_power(matrix, update) @ np.ones(2))[0]
            assert found[update - 1, axis] == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("coupling", "limit"), [(None, 2.0), (0.1, 1.652), (0.2, 1.385)])
def test_the_largest_stable_step(coupling: float | None, limit: float) -> None:
    """What the module says: the default's is nearer to that of the plain search, whose steps are known."""
    settings = PLAIN if coupling is None else replace(ACCELERATED, coupling=coupling)
    if coupling is not None:
        assert limit == pytest.approx(2 * (2 - coupling) / (2 * (1 - coupling) + 5 * coupling), abs=1e-3)
    for factor, stable in ((0.99, True), (1.01, False)):
        radius = np.abs(np.linalg.eigvals(in_closed_form(settings, 1.0, factor * limit))).max()
        assert bool(radius < 1.0) is stable
    assert (settings.large_step_ratio, ACCELERATED.coupling) == (5.0, 0.1)  # the defaults


def updates_to_a_tenth(settings: UpdateSettings, ratio: float, step: float = 1.0) -> int:
    """Until no axis is further than a tenth of where it began; ``ratio`` is the largest curvature by the smallest."""
    states = np.ones((30, 2, 1))
    matrices = np.stack([in_closed_form(settings, h, step) for h in np.geomspace(1.0, 1.0 / ratio, 30)])
    for update in range(1, 5000):
        states = matrices @ states
        if np.abs(states[:, 0]).max() < 0.1:
            return update
    raise AssertionError("never")


@pytest.mark.parametrize(("ratio", "plain", "accelerated"), [(100.0, 230, 39), (1000.0, 2302, 450)])
def test_acceleration_saves_updates_with_the_same_step(ratio: float, plain: int, accelerated: int) -> None:
    """The table of docs/learning.md, and each with its own best step."""
    assert updates_to_a_tenth(PLAIN, ratio) == plain
    assert updates_to_a_tenth(ACCELERATED, ratio) == accelerated
    best_plain = min(updates_to_a_tenth(PLAIN, ratio, step) for step in (1.8, 1.9, 1.95))
    best_accelerated = min(updates_to_a_tenth(ACCELERATED, ratio, step) for step in (1.05, 1.6))
    assert best_accelerated < best_plain / 3.0


@pytest.mark.parametrize("variant", ["V1", "V1-t"])
def test_without_acceleration_it_is_the_papers_update(variant: str) -> None:
    settings = replace(PLAIN, variant=variant, num_top_directions=3)
    generator = np.random.default_rng(0)
    directions, up, down = generator.standard_normal((8, 2, 4)), *generator.standard_normal((2, 8))
    start = generator.standard_normal((2, 4))
    best = np.argsort(-np.maximum(up, down))[: 3 if variant == "V1-t" else 8]
    deviation = np.std([*up[best], *down[best]])
    step = sum((up[i] - down[i]) * directions[i] for i in best)
    expected = start + 0.01 / (len(best) * deviation) * step
    found = Iterate(start, start).updated(settings, directions, up, down)
    np.testing.assert_allclose(found.parameters, expected, rtol=1e-12)
    equal_steps = replace(settings, acceleration="two_step_sizes", large_step_ratio=1.0)
    np.testing.assert_allclose(
        Iterate(start, start).updated(equal_steps, directions, up, down).parameters, expected, rtol=1e-12
    )


def test_both_converge_and_acceleration_pays_where_curvatures_differ() -> None:
    even, uneven = np.ones(6), np.geomspace(1.0, 1e-2, 6)
    for curvatures in (even, uneven):
        start = 0.5 * curvatures.sum()
        for settings in (PLAIN, ACCELERATED):
            assert np.median([loss_after(settings, curvatures, 1500, seed) for seed in range(3)]) < 0.02 * start
    after = 150
    plain, accelerated = (
        np.median([loss_after(settings, uneven, after, seed) for seed in range(7)]) for settings in (PLAIN, ACCELERATED)
    )
    assert accelerated < 0.5 * plain
