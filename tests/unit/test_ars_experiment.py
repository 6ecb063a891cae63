"""Augmented random search as a trainer of experiments, and its accelerated update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from demo_control.configuration import ConfigurationError, Scalar
from demo_control.experiments.training import EvaluationSettings, Record, RunRequest
from demo_control.learning.ars import SearchState
from demo_control.learning.ars_experiment import CHECKPOINT, train
from demo_control.learning.ars_settings import UpdateSettings
from demo_control.learning.ars_update import Iterate
from demo_control.learning.run_folder import RunFolder
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
    assert figures(told) == whole[0][2:]  # each is told once
    assert np.array_equal(SearchState.load(tmp_path / CHECKPOINT).parameters, whole[1])
    assert figures(train(REQUEST, tmp_path, told.append)) == whole[0]  # finished: nothing more to do
    with pytest.raises(ConfigurationError, match="another request"):
        train(replace(REQUEST, seed=4), tmp_path, ignore)


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
