"""The cart-pole task, its plants and what counts as success."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from demo_control.configuration import ConfigurationError, Scalar
from demo_control.tasks import load_task
from stoch2_sim.cartpole import task
from stoch2_sim.robots.cartpole.disturbances import Pushes
from stoch2_sim.robots.cartpole.equations import AnalyticSimulator
from stoch2_sim.robots.cartpole.model import robot_model
from stoch2_sim.robots.cartpole.parameters import CONTROL_PERIOD_S, PlantParameters, PlantSettings
from stoch2_sim.robots.cartpole.plants import CartpolePlants, make_plants
from stoch2_sim.robots.cartpole.score import SwingUpScore
from stoch2_sim.robots.cartpole.simulation import from_observation, to_observation
from stoch2_sim.simulators.mujoco_simulator import MujocoSimulator
from stoch2_sim.simulators.protocol import Array

SWING_UP_GAINS = np.array([0.456, 0.395, -0.594, 7.255, 0.852])
SWING_UP_BIAS = 0.313


def generators(count: int, seed: int = 0) -> list[np.random.Generator]:
    """Independent generators from one seed."""
    return [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(count)]


def run(settings: dict[str, Scalar], actions: Sequence[float], seed: int = 0) -> Array:
    """Observations of one plant under given forces, the first one included."""
    plants = make_plants("analytic", 1, settings)
    observations = [plants.reset(generators(1, seed))]
    observations += [plants.step(np.array([[action]]))[0] for action in actions]
    return np.concatenate(observations)


def test_the_task_is_installed_and_complete() -> None:
    loaded = load_task("cartpole")
    assert [q.name for q in loaded.observation] == [
        "cart_position", "cart_velocity", "pole_cosine", "pole_sine", "pole_velocity"
    ]  # fmt: skip
    assert loaded.action_minimum == [-10.0]
    assert loaded.action_maximum == [10.0]
    assert "cart_position" not in loaded.model_inputs
    assert loaded.simulators[0] == "mujoco"


def test_stage_costs_by_hand() -> None:
    observation = np.array([2.0, 3.0, -1.0, 0.0, 4.0])
    costs = task().stage_costs(observation, np.array([5.0])) * task().cost_weights
    expected = [0.5 * 2, 0.05 * 4, 0.002 * 9, 0.002 * 16, 0.01 * 0.25, 20 * (2.0 - 1.92) ** 2]
    assert costs == pytest.approx(expected)
    assert task().reward(observation, np.array([5.0])) == pytest.approx(1 - sum(expected))


def test_observation_and_state_are_inverse() -> None:
    positions, velocities = np.array([[0.3, -2.0]]), np.array([[1.0, -4.0]])
    back = from_observation(to_observation(positions, velocities))
    np.testing.assert_allclose(back[0], positions)
    np.testing.assert_allclose(back[1], velocities)


def test_plants_start_hanging_with_noise_on_all_four_states() -> None:
    plants = make_plants("analytic", 2000, {})
    positions, velocities = from_observation(plants.reset(generators(2000)))
    angle = np.mod(positions[:, 1], 2 * np.pi) - np.pi
    for deviations in (positions[:, 0], angle, velocities[:, 0], velocities[:, 1]):
        assert np.std(deviations) == pytest.approx(0.05, rel=0.1)
        assert abs(np.mean(deviations)) < 0.005


def test_one_seed_gives_one_run_and_another_seed_another() -> None:
    settings: dict[str, Scalar] = {"observation_noise": 0.01, "push_n": 5.0}
    actions = np.sin(np.arange(300)).tolist()
    first, again = run(settings, actions), run(settings, actions)
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, run(settings, actions, seed=1))


def test_a_plant_does_not_depend_on_its_neighbours() -> None:
    settings: dict[str, Scalar] = {"observation_noise": 0.01, "push_n": 5.0}
    many, single = make_plants("analytic", 3, settings), make_plants("analytic", 1, settings)
    many.reset(generators(3))
    single.reset(generators(3)[1:2])
    for step in range(200):
        action = np.sin(0.1 * step)
        observations, _ = many.step(np.array([[3.0], [action], [-3.0]]))
        alone, _ = single.step(np.array([[action]]))
        np.testing.assert_array_equal(observations[1], alone[0])


def test_the_start_does_not_depend_on_the_settings() -> None:
    plain = make_plants("analytic", 1, {})
    other = make_plants("analytic", 1, {"push_n": 5.0, "delay_ticks": 2, "observation_noise": 0.1})
    plain.reset(generators(1))
    other.reset(generators(1))
    np.testing.assert_array_equal(plain.true_observations(), other.true_observations())


@pytest.mark.parametrize("delay", [1, 3, 10])
def test_a_delay_shifts_the_actions(delay: int) -> None:
    actions = np.sin(np.arange(40.0)).tolist()
    direct = run({}, [0.0] * delay + actions)
    delayed = run({"delay_ticks": delay}, [*actions, *[0.0] * delay])
    np.testing.assert_array_equal(direct, delayed)


def test_noise_is_only_in_what_the_sensor_says() -> None:
    plants = make_plants("analytic", 1, {"observation_noise": 0.02})
    clean = make_plants("analytic", 1, {})
    plants.reset(generators(1))
    clean.reset(generators(1))
    errors = []
    for _ in range(1000):
        observed, _ = plants.step(np.zeros((1, 1)))
        errors.append(observed - plants.true_observations())
        clean.step(np.zeros((1, 1)))
    np.testing.assert_array_equal(plants.true_observations(), clean.true_observations())
    assert np.std(errors, axis=0)[0] == pytest.approx([0.02] * 5, rel=0.1)


def test_pushes_keep_their_impulse_however_time_is_cut() -> None:
    for period_s in (0.02, 0.03, 0.5):
        pushes = Pushes(np.random.default_rng(1), 5.0, 0.1)
        edges = np.arange(0.0, 60.0, period_s)
        forces = [pushes.mean_force_n(a, b) for a, b in itertools.pairwise(edges)]
        count = np.sum(np.abs(forces)) * period_s / (5.0 * 0.1)
        assert 60 / 3 - 1.5 < count < 60 / 2
        assert count == pytest.approx(round(count), abs=1e-6)
        assert min(forces) < 0.0 < max(forces)


def test_pushes_reach_the_plant() -> None:
    still, pushed = run({}, [0.0] * 300), run({"push_n": 5.0}, [0.0] * 300)
    np.testing.assert_array_equal(still[:100], pushed[:100])
    assert np.abs(still[200:] - pushed[200:]).max() > 0.1


def test_factors_scale_the_plant_as_documented() -> None:
    scaled = PlantSettings(pole_mass=2.0, pole_length=3.0, cart_mass=4.0).parameters()
    assert scaled.cart_mass_kg == pytest.approx(4.0)
    assert scaled.pole_mass_kg == pytest.approx(0.2)
    assert scaled.pole_half_length_m == pytest.approx(1.5)
    assert scaled.pole_inertia_kgm2 == pytest.approx(0.2 * 1.5**2 / 3)


def test_leaving_the_rail_fails_the_plant_and_it_stays_there() -> None:
    plants = make_plants("mujoco", 2, {})
    plants.reset(generators(2))
    failed = np.zeros(2, dtype=bool)
    for _ in range(100):
        _, failed = plants.step(np.array([[10.0], [0.0]]))
    assert failed.tolist() == [True, False]
    resting = plants.true_observations()[0]
    assert 2.4 < resting[0] < 2.6
    plants.step(np.array([[-10.0], [0.0]]))
    np.testing.assert_array_equal(plants.true_observations()[0], resting)
    plants.reset(generators(2))
    assert not plants.step(np.zeros((2, 1)))[1].any()
    plants.close()


@pytest.mark.parametrize(
    ("simulator", "settings"),
    [
        ("mujoco", {"pole_damping": 1.0, "pole_length": 0.1}),
        ("analytic", {"damping": 100.0, "cart_mass": 0.05}),
        ("pybullet", {"pole_damping": 10.0, "pole_mass": 0.05}),  # before PyBullet is looked for
    ],
)
def test_more_friction_than_a_simulator_s_steps_allow_is_refused(simulator: str, settings: dict[str, Scalar]) -> None:
    with pytest.raises(ConfigurationError, match=r"damping.*friction than the steps"):
        make_plants(simulator, 1, settings)


@pytest.mark.parametrize("simulator", ["mujoco", "analytic"])
def test_friction_up_to_that_brings_the_plant_to_rest(simulator: str) -> None:
    plants = make_plants(simulator, 1, {"pole_damping": 6.0})
    plants.reset(generators(1))
    for _ in range(100):
        plants.step(np.zeros((1, 1)))
    assert np.abs(plants.true_observations()[0, [1, 4]]).max() < 0.1
    plants.close()


def test_physics_that_diverged_is_a_failure_and_no_pole_upright(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo writes a log
    parameters = PlantSettings(pole_damping=1.0, pole_length=0.1).parameters()
    for simulator in (
        MujocoSimulator(robot_model(parameters), 1, CONTROL_PERIOD_S, 4),
        AnalyticSimulator(parameters, 1, CONTROL_PERIOD_S, 2),
    ):
        plants = CartpolePlants(simulator, PlantSettings())
        plants.reset(generators(1))
        with np.errstate(all="ignore"):
            failed = [bool(plants.step(np.zeros((1, 1)))[1][0]) for _ in range(50)]
        assert failed[-1]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_action_that_is_not_finite_fails_its_plant_alone(bad: float) -> None:
    plants = make_plants("analytic", 2, {})
    plants.reset(generators(2))
    observations, failed = plants.step(np.array([[bad], [1.0]]))
    assert failed.tolist() == [True, False]
    assert np.isfinite(observations).all()


def test_forces_are_clipped() -> None:
    np.testing.assert_array_equal(run({}, [1e9, -1e9]), run({}, [10.0, -10.0]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pole_mas": 1.2}, "did you mean 'pole_mass'"),
        ({"delay_ticks": 11}, "between 0 and 10"),
        ({"delay_ticks": 1.5}, "expected int"),
        ({"pole_length": 0.0}, "between 0.1 and 10"),
        ({"observation_noise": float("nan")}, "must be finite"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Scalar], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make_plants("analytic", 1, settings)


def test_wrong_shapes_are_refused() -> None:
    plants = make_plants("analytic", 2, {})
    with pytest.raises(ValueError, match="1 generators for 2 plants"):
        plants.reset(generators(1))
    plants.reset(generators(2))
    with pytest.raises(ValueError, match="actions have shape"):
        plants.step(np.zeros(2))


def judged(cosines: Sequence[float], failed_at: int | None = None) -> dict[str, float | bool]:
    """The verdict on an episode given by the pole's cosines, one for each control period."""
    score = SwingUpScore()
    for tick, cosine in enumerate(cosines):
        sine = np.sqrt(1 - cosine**2)
        observation = np.array([0.0, 0.0, cosine, sine, 0.0])
        failed = failed_at is not None and tick >= failed_at
        score.update(tick * CONTROL_PERIOD_S, observation, failed)
    return score.result()


def test_score_of_a_perfect_episode() -> None:
    result = judged([-1.0] * 100 + [1.0] * 901)
    assert result["success"] is True
    assert result["upright_fraction_last_10s"] == 1.0
    assert result["time_upright_s"] == pytest.approx(2.0)
    assert result["upright_s"] == pytest.approx(18.0)


def test_score_is_strict_about_every_instant_of_the_last_ten_seconds() -> None:
    assert judged([-1.0] * 500 + [1.0] * 501)["success"] is True
    assert judged([-1.0] * 501 + [1.0] * 500)["success"] is False
    dip = [1.0] * 1001
    dip[800] = float(np.cos(np.radians(12.1)))
    assert judged(dip)["success"] is False
    dip[800] = float(np.cos(np.radians(11.9)))
    assert judged(dip)["success"] is True


def test_score_needs_the_whole_episode_and_the_rail() -> None:
    assert judged([1.0] * 1000)["success"] is False
    assert judged([1.0] * 1001)["success"] is True
    assert judged([1.0] * 1001, failed_at=1000)["success"] is False
    assert "time_upright_s" not in judged([-1.0] * 1001)


def test_a_known_linear_policy_swings_up() -> None:
    """Gains of the literature of this plant: evidence that plant and score are as described."""
    plants, count = make_plants("analytic", 40, {}), 40
    scores = [SwingUpScore() for _ in range(count)]
    observations = plants.reset(generators(count))
    for tick in range(1000):
        actions = 10.0 * np.clip(observations @ SWING_UP_GAINS + SWING_UP_BIAS, -1.0, 1.0)
        observations, failed = plants.step(actions[:, None])
        for plant, score in enumerate(scores):
            score.update((tick + 1) * CONTROL_PERIOD_S, observations[plant], bool(failed[plant]))
    assert sum(score.result()["success"] for score in scores) >= 30


def test_plants_are_built_for_thousands() -> None:
    simulator = AnalyticSimulator(PlantParameters(), 5000, CONTROL_PERIOD_S, 2)
    plants = CartpolePlants(simulator, PlantSettings())
    assert plants.reset(generators(5000)).shape == (5000, 5)
    assert plants.step(np.zeros((5000, 1)))[0].shape == (5000, 5)
