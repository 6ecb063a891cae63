"""Walking plants: determinism, truth, failure, latency, noise, schedules, settings."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from demo_control.configuration import ConfigurationError, Scalar
from demo_control.tasks import load_task
from stoch2_sim.robots.stoch2.episode import CommandChange, Episode, Push, SensingParameters
from stoch2_sim.robots.stoch2.gait import NUM_ACTIONS
from stoch2_sim.robots.stoch2.geometry import TOTAL_MASS_KG
from stoch2_sim.robots.stoch2.observation import INDEX
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.plants import PlantSettings, Stoch2Plants, make_plants
from stoch2_sim.robots.stoch2.randomisation import ORIENTATIONS_DEG, SLOPES_DEG, randomised
from stoch2_sim.robots.stoch2.reward import WALKING_HEIGHT_M, observation_terms
from stoch2_sim.robots.stoch2.score import WalkScore
from stoch2_sim.simulators.protocol import Array, Mask

EXACT = SensingParameters(ideal_sensing=False)
REALISTIC = SensingParameters(
    imu_noise_rad=0.02, gyroscope_noise_rad_s=0.05, accelerometer_noise_m_s2=0.2, latency_ms=20.0, ideal_sensing=False
)


def walked(
    episodes: Sequence[Episode], ticks: int, seeds: Sequence[int] | None = None, simulator: str = "mujoco"
) -> tuple[Array, Array, Mask, Stoch2Plants]:
    """Observations and true observations of every tick under the neutral action; the plants are still open."""
    plants = Stoch2Plants(simulator, episodes)
    seeds = seeds or list(range(len(episodes)))
    seen = [plants.reset([np.random.default_rng(seed) for seed in seeds])]
    true = [plants.true_observations()]
    failed = plants.failed
    for _ in range(ticks):
        observations, failed = plants.step(np.zeros((len(episodes), NUM_ACTIONS)))
        seen.append(observations)
        true.append(plants.true_observations())
    return np.array(seen), np.array(true), failed, plants


def test_the_neutral_gait_walks_and_the_robot_knows_it() -> None:
    """Exact sensors: what estimation makes of them is close to the truth in every entry."""
    seen, true, failed, plants = walked([Episode(sensing=EXACT, commands=(CommandChange(0, 0.3),))], 480)
    assert not failed.any()
    assert plants.truth.position[0, 0] == pytest.approx(0.7, abs=0.12)
    np.testing.assert_allclose(plants.simulation.times_s, [2.4], atol=1e-9)
    difference = np.abs(seen - true)[160:, 0]
    tolerance = dict.fromkeys(INDEX, 0.002)
    tolerance |= {"forward_velocity": 0.03, "lateral_velocity": 0.02, "vertical_velocity": 0.03, "height": 0.002}
    tolerance |= {"forward_error": 0.02, "lateral_error": 0.01}
    for name, index in INDEX.items():
        assert difference[:, index].max() < tolerance[name], name
    plants.close()


def test_ideal_sensing_is_the_truth_but_for_the_leash() -> None:
    seen, true, _, plants = walked([Episode(), Episode(RobotParameters(terrain="slope", slope_deg=7.0))], 120)
    others = [index for name, index in INDEX.items() if "error" not in name]
    np.testing.assert_array_equal(seen[..., others], true[..., others])
    assert np.abs(seen[..., INDEX["forward_error"]]).max() <= 0.04 + 1e-12
    assert true[-1, 0, INDEX["forward_error"]] > 0.1  # nothing was asked for, so walking is an error
    np.testing.assert_allclose(true[-1, 1, INDEX["support_pitch"]], -math.radians(7.0), atol=0.002)
    plants.close()


def test_a_robot_walks_the_same_alone_and_in_a_batch_and_again() -> None:
    episodes = [
        Episode(sensing=REALISTIC, yaw_noise_rad=0.1),
        Episode(RobotParameters(friction=0.8), REALISTIC, pushes=(Push(40, 6, (0.0, 80.0, 0.0)),), yaw_noise_rad=0.1),
    ]
    together, _, _, plants = walked(episodes, 80)
    again = [plants.reset([np.random.default_rng(seed) for seed in (0, 1)])]
    again += [plants.step(np.zeros((2, NUM_ACTIONS)))[0] for _ in range(80)]
    plants.close()
    np.testing.assert_array_equal(again, together)
    alone, _, _, single = walked(episodes[1:], 80, [1])
    single.close()
    np.testing.assert_allclose(alone[:, 0], together[:, 1], atol=1e-9)


def test_latency_hands_out_what_was_observed_before() -> None:
    late = SensingParameters(ideal_sensing=False, latency_ms=20.0)
    seen, _, _, plants = walked([Episode(sensing=EXACT), Episode(sensing=late)], 40, [0, 0])
    plants.close()
    np.testing.assert_allclose(seen[4:, 1], seen[:-4, 0], atol=1e-12)
    np.testing.assert_allclose(seen[:5, 1], np.tile(seen[0, 0], (5, 1)), atol=1e-12)


def test_noise_reaches_the_sensors_and_is_filtered() -> None:
    noisy = SensingParameters(imu_noise_rad=0.03, gyroscope_noise_rad_s=0.05, ideal_sensing=False)
    seen, true, _, plants = walked([Episode(sensing=noisy)], 400)
    plants.close()
    errors = (seen - true)[160:, 0]
    assert 0.0005 < errors[:, INDEX["roll"]].std() < 0.006
    assert errors[:, INDEX["pitch_rate"]].std() == pytest.approx(0.05, rel=0.15)


def test_a_push_gives_its_impulse_in_the_direction_of_the_initial_heading() -> None:
    """3.6 N s, most of it soon in the body: turned by the heading, to the robot's left."""
    quiet = Episode(initial_yaw_rad=0.5 * math.pi)
    pushed = Episode(initial_yaw_rad=0.5 * math.pi, pushes=(Push(10, 6, (0.0, 120.0, 0.0)),))
    _, _, _, plants = walked([quiet, pushed], 16)
    change = plants.truth.linear_velocity[1] - plants.truth.linear_velocity[0]
    plants.close()
    speed = 120.0 * 6 * 0.005 / TOTAL_MASS_KG
    assert -1.3 * speed < change[0] < -0.5 * speed
    assert abs(change[1]) < 0.2 * speed


def test_commands_change_when_they_should() -> None:
    changes = (CommandChange(0, 0.2), CommandChange(100, 0.0, 0.0, 0.3))
    seen, _, _, plants = walked([Episode(commands=changes)], 200)
    plants.close()
    forward, turn = seen[:, 0, INDEX["forward_command"]], seen[:, 0, INDEX["yaw_rate_command"]]
    assert forward[99] == pytest.approx(0.2)
    assert forward[-1] == 0.0
    assert turn[99] == 0.0
    assert turn[-1] == pytest.approx(0.3)


def test_a_robot_that_is_knocked_over_fails_and_stays_where_it_is() -> None:
    _, _, failed, plants = walked([Episode(pushes=(Push(20, 6, (0.0, 900.0, 0.0)),)), Episode()], 160)
    assert failed.tolist() == [True, False]
    before = plants.truth.position
    plants.step(np.zeros((2, NUM_ACTIONS)))
    after = plants.truth.position
    plants.close()
    np.testing.assert_array_equal(after[0], before[0])
    assert (after[1] != before[1]).any()


def test_an_action_that_is_not_finite_is_a_failure() -> None:
    plants = make_plants("mujoco", 2, {})
    plants.reset([np.random.default_rng(seed) for seed in range(2)])
    actions = np.zeros((2, NUM_ACTIONS))
    actions[1, 7] = math.nan
    observations, failed = plants.step(actions)
    plants.close()
    assert failed.tolist() == [False, True]
    assert np.isfinite(observations).all()


def test_wrong_shapes_and_numbers_are_errors() -> None:
    plants = make_plants("mujoco", 2, {})
    with pytest.raises(ValueError, match="generators"):
        plants.reset([np.random.default_rng(0)])
    with pytest.raises(RuntimeError, match="reset"):
        _ = plants.truth
    with pytest.raises(ValueError, match="actions"):
        plants.step(np.zeros((2, 3)))
    plants.close()


@pytest.mark.parametrize("terrain", ["stairs", "rough"])
def test_uneven_ground_has_a_plane_below_the_feet(terrain: str) -> None:
    robot = RobotParameters(terrain=terrain, roughness_m=0.02)
    seen, true, failed, plants = walked([Episode(robot, EXACT)], 200)
    plants.close()
    assert not failed.any()
    assert np.isfinite(seen).all()
    np.testing.assert_allclose(true[0, 0, INDEX["height"]], 0.244 + 0.0115, atol=0.01)


def test_settings_describe_the_episode() -> None:
    settings = PlantSettings.from_mapping(
        {"terrain": "slope", "slope_deg": 9.0, "latency_ms": 10.0, "push_n": -80.0, "push_time_s": 1.0,
         "forward_speed": 0.3, "yaw_rate": -0.2, "initial_yaw_deg": 90.0, "forward_leash_m": 0.5}
    )  # fmt: skip
    episode = settings.episode()
    assert episode.robot == RobotParameters(terrain="slope", slope_deg=9.0)
    assert episode.sensing.latency_ticks == 2
    assert episode.commands == (CommandChange(0, 0.3, 0.0, -0.2),)
    assert episode.pushes == (Push(200, 6, (0.0, -80.0, 0.0)),)
    assert episode.initial_yaw_rad == pytest.approx(0.5 * math.pi)
    assert settings.control().leash.forward_leash_m == 0.5
    assert PlantSettings(slope_deg=9.0).episode().robot == RobotParameters(terrain="slope", slope_deg=9.0)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"slope": 3.0}, "slope_deg"), ({"latency_ms": 7.0}, "latency_ms"), ({"friction": -1.0}, "friction"),
        ({"terrain": "stairs", "slope_deg": 5.0}, "slope_deg = 5: must be 0 on terrain 'stairs'"),
    ],
)  # fmt: skip
def test_bad_settings_are_named(settings: dict[str, Scalar], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        make_plants("mujoco", 1, settings)


def test_an_unknown_simulator_is_named() -> None:
    with pytest.raises(ConfigurationError, match="gazebo"):
        make_plants("gazebo", 1, {})


def test_bad_pushes_and_commands_are_named() -> None:
    with pytest.raises(ConfigurationError, match="duration_ticks"):
        Push(3, 0, (0.0, 1.0, 0.0))
    with pytest.raises(ConfigurationError, match="finite"):
        CommandChange(0, math.nan)


def test_the_reward_is_four_and_a_bit_for_a_perfect_tick() -> None:
    perfect = np.zeros(len(INDEX))
    perfect[INDEX["height"]] = WALKING_HEIGHT_M
    terms = observation_terms(perfect, np.array(0.0015))
    np.testing.assert_allclose(terms, [1.0, 1.0, 1.0, 1.0, 0.15])
    task = load_task("stoch2")
    perfect[INDEX["forward_velocity"]] = 0.3
    assert task.reward(perfect, np.zeros(NUM_ACTIONS)) == pytest.approx(4.15)
    perfect[INDEX["roll"]] = 0.1
    perfect[INDEX["support_roll"]] = 0.1
    terms = observation_terms(perfect, np.array(0.0))
    assert terms[0] == 1.0
    assert terms[3] == pytest.approx(math.exp(-800.0 * (WALKING_HEIGHT_M * (1.0 / math.cos(0.1) - 1.0)) ** 2), rel=0.1)


def test_the_score_tells_way_and_fall() -> None:
    score = WalkScore()
    observation = np.zeros(len(INDEX))
    observation[INDEX["forward_velocity"]] = 0.5
    for tick in range(201):
        score.update(0.005 * tick, observation, failed=False)
    assert score.result()["success"] is True
    assert score.result()["distance_m"] == pytest.approx(0.5, abs=0.01)
    score.update(1.01, observation, failed=True)
    assert score.result()["success"] is False


def test_random_episodes_keep_to_the_papers_ranges() -> None:
    generator = np.random.default_rng(0)
    drawn = [randomised(Episode(), generator) for _ in range(60)]
    robots = [episode.robot for episode in drawn]
    assert {robot.slope_deg for robot in robots} == set(SLOPES_DEG)
    assert {robot.orientation_deg for robot in robots} == set(ORIENTATIONS_DEG)
    assert all(0.38 < robot.friction < 0.57 and 5.0 <= robot.torque_limit_nm <= 8.0 for robot in robots)
    assert {abs(push.force_n[1]) for episode in drawn for push in episode.pushes} == {60.0, 100.0}


def test_pybullet_tells_the_same_story() -> None:
    pytest.importorskip("pybullet")
    seen, true, failed, plants = walked([Episode(sensing=EXACT)], 240, simulator="pybullet")
    plants.close()
    assert not failed.any()
    speed = INDEX["forward_velocity"]
    np.testing.assert_allclose(seen[160:, 0, speed].mean(), true[160:, 0, speed].mean(), rtol=0.03)


def test_a_batch_may_mix_robots_with_and_without_foot_sensors() -> None:
    blind = SensingParameters(foot_sensors=False, ideal_sensing=False)
    seen, true, _, plants = walked([Episode(sensing=EXACT), Episode(sensing=blind), Episode(sensing=EXACT)], 320)
    plants.close()
    np.testing.assert_array_equal(seen[:, 0], seen[:, 2])
    assert (seen[:, 1] != seen[:, 0]).any()
    errors = (seen - true)[160:, 1]
    assert abs(errors[:, INDEX["forward_velocity"]].mean()) < 0.008
