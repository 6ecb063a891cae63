"""Stoch2's training: the guided initial policy, the curriculum, and the plants that data come from."""

from __future__ import annotations

import numpy as np
import pytest

from demo_control.learning.linear_policy import LinearPolicies
from demo_control.learning.seeding import Purpose, streams
from demo_control.learning.trials import CurriculumTrials
from demo_control.learning.workers import Workers
from demo_control.tasks import Array, load_task
from stoch2_sim.robots.stoch2.control import ControlSettings
from stoch2_sim.robots.stoch2.episode import Episode
from stoch2_sim.robots.stoch2.initial_policy import fitted_weights, initial_weights
from stoch2_sim.robots.stoch2.observation import INDEX, OBSERVATION, POLICY_DIM
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.planning import CORRECTION
from stoch2_sim.robots.stoch2.plants import Stoch2Plants
from stoch2_sim.robots.stoch2.training import (
    CURRICULUM_SWITCH,
    MODEL_TRAINING,
    POLICY_TRAINING,
    curriculum_plants,
    data_plants,
    evaluation_plants,
    guiding_corrections,
    unseen_plants,
)


def generators(seed: int, count: int) -> list[np.random.Generator]:
    return streams(seed, Purpose.DATA_PLANTS, count)


@pytest.fixture(scope="module")
def weights() -> Array:
    return initial_weights("mujoco")


def test_least_squares_finds_a_linear_map_and_noise_makes_it_smaller() -> None:
    generator = np.random.default_rng(0)
    true = generator.normal(size=(3, 4))
    observations = generator.normal(size=(50, 4))
    np.testing.assert_allclose(fitted_weights(observations, observations @ true.T, noise=0.0), true)
    # Two entries that are all but the same share the weight of one.
    observations[:, 1] = observations[:, 0] + 1e-9 * generator.normal(size=50)
    found = fitted_weights(observations, observations[:, :1], noise=0.01)
    np.testing.assert_allclose(found[0, :2], 0.5, atol=1e-3)


def test_initial_policy_sees_only_what_the_paper_has_it_see(weights: Array) -> None:
    assert weights.shape == (20, len(OBSERVATION))
    assert (weights[:, POLICY_DIM:] == 0.0).all()
    assert 0.5 < np.abs(weights).max() < 20.0
    # The steering of all guides is zero.
    np.testing.assert_allclose(weights[4:8], 0.0, atol=1e-12)
    np.testing.assert_array_equal(initial_weights("mujoco"), weights)


def test_initial_policy_walks_on_level_ground_and_up_a_slope(weights: Array) -> None:
    slope = RobotParameters(terrain="slope", slope_deg=11.0, orientation_deg=60.0, friction=0.42)
    plants = Stoch2Plants("mujoco", [Episode(RobotParameters()), Episode(slope)])
    observations = plants.reset(generators(0, 2))
    start = plants.truth.position
    failed = np.zeros(2, dtype=bool)
    for _ in range(400):
        observations, failed = plants.step(observations @ weights.T)
    assert not failed.any()
    assert (plants.truth.position - start)[:, 0].min() > 0.5
    plants.close()


def test_curriculum_gets_steeper_and_repeats_itself() -> None:
    easy, hard = set(), set()
    for iteration in range(60):
        plants = curriculum_plants("mujoco", iteration, np.random.default_rng(iteration), generators(iteration, 2))
        robots = [episode.robot for episode in plants.episodes]
        assert robots[0].slope_deg == robots[1].slope_deg
        assert robots[0].orientation_deg == robots[1].orientation_deg
        assert robots[0].friction != robots[1].friction or robots[0].payload_kg != robots[1].payload_kg
        (easy if iteration < CURRICULUM_SWITCH else hard).add(robots[0].slope_deg)
        again = curriculum_plants("mujoco", iteration, np.random.default_rng(iteration), generators(iteration, 2))
        assert again.episodes == plants.episodes
        plants.close()
        again.close()
    assert easy == {5.0, 7.0, 9.0}
    assert hard == {7.0, 9.0, 11.0}


def test_processes_find_what_one_finds(weights: Array) -> None:
    task, directions = load_task("stoch2"), 12  # more than one batch
    parameters = np.tile(np.column_stack([weights, np.zeros(20)]), (2 * directions, 1, 1))
    parameters[:directions] *= np.linspace(0.5, 1.5, directions)[:, None, None]
    policies = LinearPolicies(parameters, np.zeros(len(OBSERVATION)), np.ones(len(OBSERVATION)))
    found = []
    for jobs in (1, 2):
        with Workers(task, jobs) as workers:
            trials = CurriculumTrials(workers, task, simulator="mujoco", seed=1, episode_s=0.05, normalises=False)
            found.append(
                (
                    trials.search(3, policies).returns,
                    trials.evaluate(LinearPolicies(parameters[-1:], policies.mean, policies.scale)),
                )
            )
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)
    assert len(set(found[0][0])) == 2 * directions


def test_evaluation_is_the_papers_grid() -> None:
    plants = evaluation_plants("mujoco")
    grid = [(episode.robot.slope_deg, episode.robot.orientation_deg) for episode in plants.episodes]
    assert grid == [(9.0, 0.0), (9.0, 60.0), (9.0, 90.0), (11.0, 0.0), (11.0, 60.0), (11.0, 90.0)]
    assert len(POLICY_TRAINING.evaluation_names) == 6
    assert all(episode.sensing.ideal_sensing and not episode.pushes for episode in plants.episodes)
    plants.close()


def test_data_plants_say_when_they_are_pushed_and_let_the_reference_go() -> None:
    ticks = 1400
    data = data_plants("mujoco", generators(1, 30), ticks)
    assert isinstance(data.plants, Stoch2Plants)
    assert data.disturbed.shape == (ticks, 30)
    for index, episode in enumerate(data.plants.episodes):
        assert 0.0 <= episode.robot.slope_deg <= 11.0
        pushed = np.zeros(ticks, dtype=bool)
        for push in episode.pushes:
            assert np.linalg.norm(push.force_n) <= 170.0
            pushed[push.start_tick : push.start_tick + push.duration_ticks] = True
        assert (data.disturbed[:, index] >= pushed).all(), "at least while it is pushed"
        assert data.disturbed[:, index].sum() <= len(episode.pushes) * (6 + 4 + 2)
    assert 0.0 < data.disturbed.mean() < 0.1
    latencies = [episode.sensing.latency_ms for episode in data.plants.episodes]
    assert set(latencies) <= {0.0, 5.0, 10.0, 15.0, 20.0}
    assert len(set(latencies)) >= 3
    assert latencies.count(20.0) > len(latencies) / 2, "mostly as late as the layer gets them"
    observations = data.plants.reset(generators(2, 30))
    for _ in range(200):
        observations, _ = data.plants.step(np.tile(np.repeat([-1.0, 0.0, 0.0, 0.0, 0.0], 4), (30, 1)))
    # Nobody walks, so the reference runs away: further than any leash.
    assert observations[:, INDEX["forward_error"]].min() < -2.0 * ControlSettings().leash.forward_leash_m
    data.plants.close()


def test_unseen_plants_lie_outside_the_training_data() -> None:
    unseen = unseen_plants("mujoco", generators(3, 20), 100)
    assert isinstance(unseen.plants, Stoch2Plants)
    for robot in (episode.robot for episode in unseen.plants.episodes):
        assert robot.terrain == "rough" or robot.slope_deg > 11.0 or robot.payload_kg > 1.0
    unseen.plants.close()


def test_guiding_corrections_follow_the_commands() -> None:
    observations = np.zeros((3, len(OBSERVATION)))
    observations[:, INDEX["forward_command"]] = [0.0, 0.31, 0.6]
    observations[:, INDEX["yaw_rate_command"]] = [0.0, 0.5, 0.0]
    corrections = guiding_corrections(observations)
    names = [quantity.name for quantity in CORRECTION]
    speed, turn = corrections[:, names.index("forward_step")], corrections[:, names.index("turning_step")]
    assert speed[0] < speed[1] == 0.0 < speed[2]
    assert turn[0] == turn[2] == 0.0 < turn[1]
    assert corrections.shape == (3, len(MODEL_TRAINING.bias)) == (3, len(MODEL_TRAINING.noise))


def test_task_is_trained_with_these() -> None:
    task = load_task("stoch2")
    assert task.policy_training is POLICY_TRAINING
    assert task.model_training is MODEL_TRAINING
    limits = np.array([quantity.maximum for quantity in CORRECTION])
    assert (MODEL_TRAINING.bias <= limits).all()
