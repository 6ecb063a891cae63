"""The Gymnasium environments are correct ones, and are the same plants as everywhere else."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from demo_control.configuration import ConfigurationError
from stoch2_sim.envs.registration import STOCH2_IDS, STOCH2_PLANNING_IDS
from stoch2_sim.envs.stoch2_walk import Stoch2WalkEnv
from stoch2_sim.robots.stoch2.observation import INDEX
from stoch2_sim.robots.stoch2.plants import make_plants
from stoch2_sim.robots.stoch2.reward import observation_terms

NEUTRAL = np.zeros(20)


@pytest.mark.parametrize("identifier", [*STOCH2_IDS[:1], *STOCH2_PLANNING_IDS[1:]])
def test_check_env_passes_without_a_warning(identifier: str) -> None:
    environment = gymnasium.make(identifier, render_mode="rgb_array", terrain="slope", slope_deg=7.0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(environment.unwrapped)
    environment.close()
    assert [str(w.message) for w in caught] == []


def test_observations_are_those_of_the_plants_and_rewards_the_papers() -> None:
    settings = {"terrain": "slope", "slope_deg": 9.0, "orientation_deg": 60.0}
    short, long = gymnasium.make(STOCH2_IDS[0], **settings), gymnasium.make(STOCH2_PLANNING_IDS[0], **settings)
    plants = make_plants("mujoco", 1, settings)
    expected = plants.reset([np.random.default_rng(5)])[0]
    np.testing.assert_array_equal(short.reset(seed=5)[0], expected[:11])
    np.testing.assert_array_equal(long.reset(seed=5)[0], expected)
    for _ in range(20):
        before = plants.state.position[0, 0]
        expected = plants.step(NEUTRAL[None])[0][0]
        observation, reward, terminated, _, info = short.step(NEUTRAL)
        np.testing.assert_array_equal(observation, expected[:11])
        np.testing.assert_array_equal(long.step(NEUTRAL)[0], expected)
        np.testing.assert_array_equal(info["true_observation"], plants.true_observations()[0])
        terms = observation_terms(info["true_observation"], plants.state.position[0, 0] - before)
        assert reward == pytest.approx(float(np.round(terms, 4).sum()), abs=1e-9)
        assert not terminated
    for one in (short, long, plants):
        one.close()


def test_an_episode_is_truncated_after_400_steps_that_are_two_seconds() -> None:
    environment = gymnasium.make(STOCH2_IDS[1])
    environment.reset(seed=0)
    total = 0.0
    for step in range(400):
        _, reward, terminated, truncated, info = environment.step(NEUTRAL)
        total += float(reward)
        assert truncated == (step == 399)
        assert not terminated
    walking = environment.unwrapped
    assert isinstance(walking, Stoch2WalkEnv)
    np.testing.assert_allclose(walking.plants.simulation.times_s, [2.0], atol=1e-9)
    assert info["score"]["success"] is True
    assert 1300.0 < total < 1640.0
    environment.close()


def test_a_fall_terminates_without_reward() -> None:
    environment = gymnasium.make(STOCH2_IDS[0], push_n=900.0, push_time_s=0.1)
    environment.reset(seed=0)
    for _ in range(200):
        _, reward, terminated, _, info = environment.step(NEUTRAL)
        if terminated:
            break
    environment.close()
    assert terminated
    assert reward == 0.0
    assert info["score"]["success"] is False


def test_random_episodes_differ_and_repeat_with_the_seed() -> None:
    environment = gymnasium.make(STOCH2_IDS[0], randomise=True)
    walking = environment.unwrapped
    assert isinstance(walking, Stoch2WalkEnv)
    robots = []
    for seed in (1, 2, 1):
        environment.reset(seed=seed)
        robots.append(walking.plants.episodes[0].robot)
    environment.close()
    assert robots[0] == robots[2] != robots[1]
    assert robots[0].terrain == "slope"


def test_the_planning_observation_names_its_entries() -> None:
    environment = gymnasium.make(STOCH2_PLANNING_IDS[0], forward_speed=0.3)
    observation, _ = environment.reset(seed=0)
    assert observation.shape == (len(INDEX),)
    for _ in range(100):
        observation, *_ = environment.step(NEUTRAL)
    environment.close()
    assert observation[INDEX["forward_command"]] == pytest.approx(0.3)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ConfigurationError, match="slope_deg"):
        gymnasium.make(STOCH2_IDS[0], slope=9.0)
    with pytest.raises(ConfigurationError, match="render_mode"):
        Stoch2WalkEnv(render_mode="human")
