"""Data with random corrections, what is learned from them, and the model's graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from demo_control.configuration import ConfigurationError
from demo_control.policies import OnnxPolicy, linear_policy_model
from demo_control.tasks import Plants, Task, Transition
from demo_control.training_spec import DataPlants

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from demo_control.learning import exploration  # noqa: E402
from demo_control.learning.dataset import Windows  # noqa: E402
from demo_control.learning.ensemble import NetworkSettings  # noqa: E402
from demo_control.learning.episodes import Episode  # noqa: E402
from demo_control.learning.exploration import ExplorationSettings, RandomCorrections, run_corrected  # noqa: E402
from demo_control.learning.export import PARITY_TOLERANCE, check_parity, dynamics_model  # noqa: E402
from demo_control.learning.fitting import FitSettings, fit  # noqa: E402
from demo_control.learning.model_metrics import measure  # noqa: E402
from demo_control.onnx_graph import make_session  # noqa: E402
from demo_control.transitions import learned_outputs, next_observations  # noqa: E402

TICKS = 40
PlantsOfDrags = Callable[..., Plants]


def zero_policy(task: Task) -> OnnxPolicy:
    model = linear_policy_model(
        np.zeros((2, 4)), np.zeros(2), np.zeros(4), np.ones(4), task.action_minimum, task.action_maximum
    )
    return OnnxPolicy(model)


def explored(
    task: Task, plants: Plants, offsets: Sequence[int], disturbed: Sequence[int] = (), ticks: int = TICKS
) -> list[list[Episode]]:
    spec, planning = task.model_training, task.planning
    assert spec is not None
    assert planning is not None
    count = plants.num_plants
    generators = [np.random.default_rng(i) for i in range(count)]
    settings = ExplorationSettings(bias_decisions=2)
    mask = np.zeros((ticks, count), dtype=bool)
    mask[list(disturbed)] = True
    corrections = RandomCorrections(planning, spec, settings, generators)
    starts = [np.random.default_rng(100 + i) for i in range(count)]
    where = np.array(offsets)
    return run_corrected(task, DataPlants(plants, mask), zero_policy(task), corrections, where, starts, ticks)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"guide": lambda x: x[0, :1]}, r"guide of 3 robots: shape \(1,\), must be \(3, 1\)"),
        ({"guide": lambda x: x @ np.ones(99)}, "guide: ValueError: matmul"),
        ({"bias": np.ones(2)}, r"bias: shape \(2,\), must be \(1,\)"),
        ({"noise": 0.1}, r"noise: shape \(\), must be \(1,\)"),
    ],
)
def test_data_that_do_not_fit_the_correction_are_refused_with_the_task(
    task: Task, wrong: dict[str, object], message: str
) -> None:
    assert task.model_training is not None
    with pytest.raises(ConfigurationError, match=f"model_training: {message}"):
        replace(task, model_training=replace(task.model_training, **wrong))  # type: ignore[arg-type]


def test_a_correction_takes_effect_planning_ticks_after_its_observation_and_is_held(
    task: Task, turning_plants: PlantsOfDrags
) -> None:
    plants = turning_plants([1.0, 1.0])
    offsets = (0, 3)
    episodes = explored(task, plants, offsets)
    done = np.array(plants.actions)
    for plant, offset in enumerate(offsets):
        (episode,) = episodes[plant]
        assert len(set(episode.actions[:, 0])) == len(episode), "random"
        np.testing.assert_array_equal(episode.observations[0, 4:], 0.0)
        np.testing.assert_array_equal(episode.observations[1:, 4:], episode.actions)
        expected = np.zeros(TICKS)
        for decision, correction in enumerate(episode.actions[:, 0]):
            start = offset + decision * task.decision_ticks + task.planning_problem.planning_ticks
            expected[start : start + task.decision_ticks] = correction
        known = offset + len(episode) * task.decision_ticks
        np.testing.assert_allclose(done[:known, plant, 0], expected[:known])
        np.testing.assert_allclose(done[:known, plant, 1], 0.5 * expected[:known])


def test_observations_are_those_of_the_decisions(task: Task, turning_plants: PlantsOfDrags) -> None:
    plants = turning_plants([1.0])
    ((episode,),) = explored(task, plants, [2])
    # The same again by hand.
    again = turning_plants([1.0])
    states = [again.reset([np.random.default_rng(100)])]
    states += [again.step(action)[0] for action in plants.actions]
    decisions = np.array(states)[2 :: task.decision_ticks, 0][: len(episode) + 1]
    np.testing.assert_array_equal(episode.observations[:, :4], decisions)


def test_disturbed_failed_and_foreign_transitions_are_cut_out(task: Task, turning_plants: PlantsOfDrags) -> None:
    whole = explored(task, turning_plants([1.0]), [0])[0]
    assert [len(episode) for episode in whole] == [7]
    first, second = explored(task, turning_plants([1.0]), [0], disturbed=[17])[0]
    assert (len(first), len(second)) == (3, 3), "the fourth decision holds from tick 15 to 19"
    np.testing.assert_array_equal(second.observations, whole[0].observations[4:])
    failing = explored(task, turning_plants([1.0], fail_beyond=1.0), [0])[0]
    np.testing.assert_array_equal(failing[0].observations, whole[0].observations[: len(failing[0]) + 1])
    assert len(failing[0]) < 7
    assert np.abs(failing[0].observations[:, 0]).max() <= 1.0
    turned = replace(task.observation[1], minimum=-1e-3, maximum=1e-3)
    narrow = replace(task, observation=(task.observation[0], turned, *task.observation[2:]))
    kept = explored(narrow, turning_plants([1.0]), [0])[0]
    assert sum(map(len, kept)) < 7
    for episode in kept:
        assert np.abs(episode.observations[:-1, 1]).max() <= 1e-3


def test_data_depend_on_seed_and_number_only(task: Task) -> None:
    settings = ExplorationSettings(episode_s=TICKS * task.control_period_s)
    weights = (
        np.array([[0.0, 0.0, -0.1, 0.0], [0.0, -0.5, 0.0, 0.0]]),
        np.zeros(2),
        np.zeros(4),
        np.ones(4),
        task.action_minimum,
        task.action_maximum,
    )
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


def test_what_is_learned_makes_the_next_observation(task: Task) -> None:
    problem, generator = task.planning_problem, np.random.default_rng(0)
    x = generator.uniform(-1.0, 1.0, (20, 5))
    u = generator.uniform(-1.0, 1.0, (20, 1))
    x_next = np.column_stack([generator.uniform(-1.0, 1.0, (20, 3)), x[:, 3], u])
    y = learned_outputs(problem, x, x_next, u)
    assert y.shape == (20, 3)
    np.testing.assert_allclose(next_observations(problem, x, y, u), x_next, atol=1e-12)


def test_a_transition_that_forgets_an_entry_is_named(task: Task) -> None:
    problem = task.planning_problem
    assert problem.transition is not None
    forgetful = Transition(
        problem.transition.outputs, problem.transition.targets, lambda x, y, u, xp: {"error": x["error"]}
    )
    with pytest.raises(ConfigurationError, match="says nothing of yaw, speed, command, push_before"):
        next_observations(replace(problem, transition=forgetful), np.zeros((1, 5)), np.zeros((1, 3)), np.zeros((1, 1)))


def test_targets_that_are_not_those_of_the_outputs_are_refused(task: Task) -> None:
    problem = task.planning_problem
    assert problem.transition is not None
    short = replace(problem.transition, targets=lambda x, x_next, u: x_next[:, :2])
    with pytest.raises(ConfigurationError, match=r"targets of the shape \(6, 2\), must be \(6, 3\)"):
        learned_outputs(replace(problem, transition=short), np.zeros((2, 3, 5)), np.ones((2, 3, 5)), np.ones((2, 3, 1)))


@pytest.mark.parametrize("unroll_steps", [1, 3])
def test_the_model_learns_and_its_graph_computes_the_same(
    task: Task, turning_plants: PlantsOfDrags, unroll_steps: int
) -> None:
    problem = task.planning_problem
    groups = explored(task, turning_plants(np.full(60, 1.0)), np.arange(60) % task.decision_ticks, ticks=60)
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
