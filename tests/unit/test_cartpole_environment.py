"""The Gymnasium environment is a correct one, and is the same plant as everywhere else."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from demo_control.configuration import ConfigurationError
from stoch2_sim.cartpole import task
from stoch2_sim.envs.cartpole_swingup import CartpoleSwingUpEnv
from stoch2_sim.envs.registration import CARTPOLE_IDS
from stoch2_sim.robots.cartpole.plants import make_plants


@pytest.fixture
def environment() -> Iterator[gymnasium.Env]:  # type: ignore[type-arg]
    """The registered environment."""
    made = gymnasium.make(CARTPOLE_IDS[0])
    yield made
    made.close()


@pytest.mark.parametrize("identifier", CARTPOLE_IDS)
def test_check_env_passes_with_one_intended_warning(identifier: str) -> None:
    """Actions are newtons here as everywhere, so the advice to scale them to ±1 is not taken."""
    environment = gymnasium.make(identifier, render_mode="rgb_array", simulator="analytic")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(environment.unwrapped)
    environment.close()
    texts = [str(w.message) for w in caught if "normalized space" not in str(w.message)]
    assert texts == []


def test_rewards_and_observations_are_those_of_task_and_plants(
    environment: gymnasium.Env,  # type: ignore[type-arg]
) -> None:
    observation, info = environment.reset(seed=5)
    plants = make_plants("mujoco", 1, {})
    np.testing.assert_array_equal(plants.reset([np.random.default_rng(5)])[0], observation)
    for force in (10.0, -4.0, 0.0):
        expected = task().reward(info["true_observation"], np.array([force]))
        observation, reward, terminated, truncated, info = environment.step(np.array([force]))
        assert reward == pytest.approx(float(expected))
        np.testing.assert_array_equal(plants.step(np.array([[force]]))[0][0], observation)
        assert not terminated
        assert not truncated
    plants.close()


def test_leaving_the_rail_terminates(
    environment: gymnasium.Env,  # type: ignore[type-arg]
) -> None:
    environment.reset(seed=0)
    for _ in range(200):
        _, _, terminated, _, info = environment.step(np.array([10.0]))
        if terminated:
            break
    assert terminated
    assert info["score"]["rail_left"]


def test_a_force_that_is_no_number_ends_the_episode_and_earns_nothing(
    environment: gymnasium.Env,  # type: ignore[type-arg]
) -> None:
    environment.reset(seed=1)
    _, reward, terminated, _, _ = environment.step(np.array([np.nan]))
    assert (reward, terminated) == (0.0, True)


def test_an_episode_is_truncated_after_twenty_seconds(
    environment: gymnasium.Env,  # type: ignore[type-arg]
) -> None:
    environment.reset(seed=0)
    for step in range(1000):
        *_, truncated, info = environment.step(np.zeros(1))
        assert truncated == (step == 999)
    assert info["score"]["duration_s"] == pytest.approx(20.0)
    assert info["score"]["success"] is False


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ConfigurationError, match="pole_length"):
        gymnasium.make(CARTPOLE_IDS[0], pole_lenght=1.2)
    with pytest.raises(ConfigurationError, match="render_mode"):
        CartpoleSwingUpEnv(render_mode="human")
