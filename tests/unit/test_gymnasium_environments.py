"""Our batches against Gymnasium's own environments, step by step."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest

from demo_control.configuration import ConfigurationError
from demo_control.learning.environments import Problem, Step
from demo_control.learning.gymnasium_adapter import adapted_problem
from demo_control.learning.gymnasium_environments import GYMNASIUM_PROBLEMS, gymnasium_problem

NAMES = tuple(GYMNASIUM_PROBLEMS)
STOCH2 = "stoch2_sim.envs:Stoch2Walk-v0"


def _gymnasium(name: str) -> gymnasium.Env:
    """Gymnasium's own, as it is; its actions pass through unchanged in double precision."""
    options = {"include_cfrc_ext_in_observation": False} if name == "Ant-v5" else {}
    return gymnasium.make(name, disable_env_checker=True, **options)


def _generators(seeds: range) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in seeds]


def _actions(problem: Problem, num_steps: int, num_environments: int, seed: int = 0) -> np.ndarray:
    """Random, from gentle to full."""
    generator = np.random.default_rng(seed)
    share = np.geomspace(0.02, 1, num_environments)[:, np.newaxis]
    shape = (num_steps, num_environments, problem.action_dim)
    return generator.uniform(problem.action_minimum, problem.action_maximum, shape) * share


def _same(one: Step, other: Step) -> bool:
    names = ("observations", "rewards", "terminated", "truncated")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


@pytest.mark.parametrize("name", NAMES)
def test_episodes_are_gymnasiums(name: str) -> None:
    """The gentlest to the time limit, if it gets there; wilder ones see all there is to see in less time."""
    problem, num = GYMNASIUM_PROBLEMS[name], 4
    environments, reference = problem.make(num), _gymnasium(name)
    assert reference.observation_space.shape == (problem.observation_dim,)
    assert np.array_equal(reference.action_space.low, problem.action_minimum)
    assert np.array_equal(reference.action_space.high, problem.action_maximum)
    assert reference.spec is not None
    assert reference.spec.max_episode_steps == problem.time_limit
    first = environments.reset(_generators(range(num)))
    together, longest = 100, 300 if name == "Ant-v5" else problem.time_limit  # it takes longest and is like the others
    actions = _actions(problem, longest, num)
    steps = [environments.step(action) for action in actions[:together]]
    steps += [environments.step_some([0], action[:1]) for action in actions[together:]]
    lengths = []
    for i in range(num):
        # Gymnasium's generator of a seed is NumPy's default one, and our draws come in its order.
        observation, _ = reference.reset(seed=i)
        assert np.array_equal(observation, first[i])
        for t in range(longest if i == 0 else together):
            observation, reward, terminated, truncated, _ = reference.step(actions[t, i])
            # Plainly and not by NumPy's tests, which take longer than the steps.
            assert np.abs(steps[t].observations[i] - observation).max() <= 1e-12
            assert abs(steps[t].rewards[i] - reward) <= 1e-12
            assert (steps[t].terminated[i], steps[t].truncated[i]) == (terminated, truncated)
            if terminated or truncated:
                break
        lengths.append(t + 1)
    if name in {"Hopper-v5", "InvertedDoublePendulum-v5"}:
        assert max(lengths) < problem.time_limit  # all terminate
    else:
        assert lengths[0] == longest


def test_ant_terminates_as_gymnasiums() -> None:
    """From a height above the limit, where random actions do not bring it."""
    problem = GYMNASIUM_PROBLEMS["Ant-v5"]
    environments, reference = problem.make(1), _gymnasium("Ant-v5")
    environments.reset(_generators(range(1)))
    reference.reset(seed=0)
    data = reference.unwrapped.data
    data.qvel[2] = 6.0
    states = environments.states()
    states[0, 1 + 15 + 2] = 6.0  # time, 15 positions, velocity 2
    environments.set_states(states)
    terminations = []
    for action in _actions(problem, 20, 1):
        ours, (observation, reward, terminated, _, _) = environments.step(action), reference.step(action[0])
        assert np.array_equal(ours.observations[0], observation)
        assert ours.rewards[0] == pytest.approx(reward, abs=1e-12)
        assert ours.terminated[0] == terminated
        terminations.append(terminated)
    assert any(terminations)
    assert not all(terminations)


@pytest.mark.parametrize("name", NAMES)
def test_known_functions(name: str) -> None:
    """What is known of an environment says what the environment does."""
    problem, num = GYMNASIUM_PROBLEMS[name], 12
    environments = problem.make(num)
    before = environments.reset(_generators(range(num)))
    rewards_seen = 0
    for action in _actions(problem, 100, num):
        step = environments.step(action)
        near = _near_the_limit(problem, step.observations)
        np.testing.assert_array_equal(problem.is_terminated(step.observations)[~near], step.terminated[~near])
        if problem.reward is not None:
            within = ~near & (np.abs(step.observations) < 9.99).all(axis=1)  # no velocity is clipped
            known = problem.reward(before, action, step.observations)
            np.testing.assert_allclose(known[within], step.rewards[within], atol=1e-3)
            rewards_seen += np.sum(within)
        before = step.observations
    assert problem.reward_known == (rewards_seen > 0) == (name in {"InvertedDoublePendulum-v5", "Pendulum-v1"})


@pytest.mark.parametrize("name", ["InvertedDoublePendulum-v5", "Hopper-v5", "Ant-v5"])
def test_column_forms_agree(name: str) -> None:
    """What planners draw their graph with says what the functions say, on episode and on random states."""
    problem, num = GYMNASIUM_PROBLEMS[name], 12
    environments = problem.make(num)
    states = [environments.reset(_generators(range(num)))]
    actions = _actions(problem, 100, num)
    states += [environments.step(action).observations for action in actions]
    # Near the limits of termination, heights and angles of all sizes.
    drawn = np.random.default_rng(0).normal(0.6, 0.6, (500, problem.observation_dim))
    if name == "InvertedDoublePendulum-v5":
        angles = np.random.default_rng(1).normal(0.0, 0.7, (500, 2))
        drawn[:, 1:5] = np.hstack([np.sin(angles), np.cos(angles)])
    if name == "Hopper-v5":
        drawn[:, 1] = np.random.default_rng(1).normal(0.0, 0.2, 500)
    x = np.vstack([*states, drawn])
    assert problem.column_margin is not None
    ends = problem.is_terminated(x)
    assert 10 < ends.sum() < len(x) - 10
    np.testing.assert_array_equal(problem.column_margin(list(x.T), np) <= 0.0, ends)
    assert (problem.column_reward is None) == (problem.reward is None)
    if problem.column_reward is None or problem.reward is None:
        return
    u = np.random.default_rng(2).uniform(-1, 1, (len(x) - 1, problem.action_dim))
    rewards = problem.column_reward(list(x[:-1].T), list(u.T), list(x[1:].T), np)
    np.testing.assert_allclose(rewards, problem.reward(x[:-1], u, x[1:]), rtol=1e-12, atol=1e-12)


def _near_the_limit(problem: Problem, observations: np.ndarray) -> np.ndarray:
    """Where the double pendulum's tip is so near the height of termination that the difference of 1 mm decides."""
    if problem.name != "InvertedDoublePendulum-v5":
        return np.zeros(len(observations), dtype=bool)
    angles = np.arctan2(observations[:, 1:3], observations[:, 3:5]).cumsum(axis=1)
    return np.asarray(np.abs(0.6 * np.cos(angles).sum(axis=1) - 1.0) < 1e-3)


def test_the_force_of_the_rail_is_hidden_from_models() -> None:
    problem = GYMNASIUM_PROBLEMS["InvertedDoublePendulum-v5"]
    assert np.flatnonzero(~problem.model_inputs).tolist() == [8]
    assert problem.observation_names[8] == "rail_force"


@pytest.mark.parametrize("name", NAMES)
def test_states_resume_bit_for_bit(name: str) -> None:
    """Also in the middle of contacts, in another batch, and with other environments reset between."""
    problem, num = GYMNASIUM_PROBLEMS[name], 3
    environments, other = problem.make(num), problem.make(2)
    environments.reset(_generators(range(num)))
    actions = _actions(problem, 60, num)
    for action in actions[:30]:
        environments.step(action)
    states, observations = environments.states(), environments.observations()
    expected = [environments.step(action) for action in actions[30:]]
    environments.reset(_generators(range(10, 10 + num)))
    environments.set_states(states)
    assert np.array_equal(environments.observations(), observations)
    assert all(_same(environments.step(action), step) for action, step in zip(actions[30:], expected, strict=True))
    other.set_states(states[1:])
    for action, step in zip(actions[30:], expected, strict=True):
        ours = other.step(action[1:])
        assert np.array_equal(ours.observations, step.observations[1:])
        assert np.array_equal(ours.rewards, step.rewards[1:])


@pytest.mark.parametrize("name", NAMES)
def test_environments_are_independent(name: str) -> None:
    """Some stepped or reset alone: as in a batch of their own; the others do not move."""
    problem = GYMNASIUM_PROBLEMS[name]
    environments, alone = problem.make(3), problem.make(2)
    environments.reset(_generators(range(3)))
    alone.reset(_generators(range(1, 3)))
    for action in _actions(problem, 20, 2):
        assert _same(environments.step_some([1, 2], action), alone.step(action))
    first = problem.make(1).reset(_generators(range(1)))
    assert np.array_equal(environments.observations()[:1], first)
    assert np.array_equal(environments.reset_some([2], _generators(range(1))), first)
    assert np.array_equal(environments.observations()[1], alone.observations()[0])


@pytest.mark.parametrize("name", ["Pendulum-v1", STOCH2])
def test_any_environment_of_gymnasiums(name: str) -> None:
    problem, num = adapted_problem(name), 2
    assert not problem.reward_known
    environments = problem.make(num)
    environments.reset(_generators(range(num)))
    actions = _actions(problem, 12, num)
    for action in actions[:6]:
        step = environments.step(action)
    assert step.observations.shape == (num, problem.observation_dim)
    assert not problem.is_terminated(step.observations).any()
    states = environments.states()
    expected = [environments.step(action) for action in actions[6:]]
    environments.reset(_generators(range(5, 7)))
    environments.set_states(states)
    assert np.array_equal(environments.states(), states)
    assert all(_same(environments.step(action), step) for action, step in zip(actions[6:], expected, strict=True))
    environments.close()


@pytest.mark.parametrize("name", ["Pendulum-v1", STOCH2])
def test_visited_states_of_any_environment_cost_a_step_each(name: str) -> None:
    """Over three episodes: what comes back is what the states were, from memory of a few numbers per step."""
    problem = adapted_problem(name)
    environment = problem.make(1)
    visited, expected = problem.history(environment), []
    for action in _actions(problem, 25, 1):
        if len(visited) in {0, 7, 8}:
            environment.reset(_generators(range(len(visited), len(visited) + 1)))
        expected.append(environment.states()[0])
        visited.add(action[0])
        environment.step(action)
    assert len(visited) == 25
    assert visited.rows().shape == (25, 2 + problem.action_dim)
    assert np.array_equal(visited.states(range(25)), expected)
    again = problem.history(environment)
    again.restore(visited.rows())
    assert np.array_equal(again.states([24, 3, 7]), [expected[index] for index in (24, 3, 7)])
    with pytest.raises(ValueError, match=f"where \\({2 + problem.action_dim},\\) is expected"):
        again.restore(np.array(expected))
    environment.close()


def test_visited_states_of_a_simulator_are_its_states() -> None:
    problem = GYMNASIUM_PROBLEMS["Hopper-v5"]
    environment = problem.make(1)
    environment.reset(_generators(range(1)))
    visited, expected = problem.history(environment), []
    for action in _actions(problem, 5, 1):
        expected.append(environment.states()[0])
        visited.add(action[0])
        environment.step(action)
    assert np.array_equal(visited.rows(), expected)
    assert np.array_equal(visited.states([3, 1]), [expected[3], expected[1]])
    with pytest.raises(ValueError, match="is expected"):
        visited.restore(visited.rows()[:, 1:])


def test_adapter_truncates_as_gymnasium() -> None:
    problem = adapted_problem("Pendulum-v1")
    environments = problem.make(1)
    environments.reset(_generators(range(1)))
    truncated = [environments.step(np.zeros((1, 1))).truncated[0] for _ in range(200)]
    assert problem.time_limit == 200
    assert truncated == [False] * 199 + [True]


def test_unknown_environments() -> None:
    with pytest.raises(ConfigurationError, match="NoSuch"):
        gymnasium_problem("NoSuch-v0")
    with pytest.raises(ConfigurationError, match="no vector"):
        gymnasium_problem("CartPole-v1")  # its actions are choices
    assert gymnasium_problem("Hopper-v5") is GYMNASIUM_PROBLEMS["Hopper-v5"]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_written_where_somebody_trains(
    name: str, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MuJoCo warns of what Gymnasium's descriptions still have, on the terminal and in a file of its own."""
    monkeypatch.chdir(tmp_path)
    gymnasium_problem(name).make(1).close()

    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())
    assert mujoco.get_mju_user_warning() is None
