"""On which robots, grounds and disturbances Stoch2's policy and model are trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from demo_control.configuration import Scalar
from demo_control.training_spec import DataPlants, ModelTraining, PolicyTraining
from stoch2_sim.robots.stoch2.control import ControlSettings
from stoch2_sim.robots.stoch2.episode import CommandChange, Episode, Push, SensingParameters
from stoch2_sim.robots.stoch2.gait_correction import CORRECTION
from stoch2_sim.robots.stoch2.initial_policy import initial_weights
from stoch2_sim.robots.stoch2.observation import INDEX, OBSERVATION, POLICY_DIM
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.plants import Stoch2Plants
from stoch2_sim.robots.stoch2.reference import WITHOUT_LEASH
from stoch2_sim.simulators.protocol import Array, Mask

CURRICULUM_SWITCH = 20
"""Iteration from which on the search meets the steepest slopes."""

EASY_SLOPES_DEG = (5.0, 7.0, 9.0)
ALL_SLOPES_DEG = (7.0, 9.0, 11.0, 11.0)
ORIENTATIONS_DEG = tuple(15.0 * step for step in range(7))
EVALUATION_GRID = tuple((slope, orientation) for slope in (9.0, 11.0) for orientation in (0.0, 60.0, 90.0))
EVALUATION_FRICTION = 0.42
"""The reference's: 0.6 of the foot times 0.7 of its wedge."""

_PUSH_TICKS = 6
_PUSH_TICK = 150
_FILTER_TICKS = 2
"""The estimates tell of a push a little late."""


def curriculum_plants(
    simulator: str, iteration: int, common: np.random.Generator, generators: Sequence[np.random.Generator]
) -> Stoch2Plants:
    """See :attr:`demo_control.training_spec.PolicyTraining.plants`: one slope for all, as in the paper."""
    slopes = EASY_SLOPES_DEG if iteration < CURRICULUM_SWITCH else ALL_SLOPES_DEG
    slope, orientation = float(common.choice(slopes)), float(common.choice(ORIENTATIONS_DEG))
    return Stoch2Plants(simulator, [_curriculum_episode(slope, orientation, each) for each in generators])


def _curriculum_episode(slope: float, orientation: float, generator: np.random.Generator) -> Episode:
    """One robot of the search: the paper's randomisation; half of the robots only know what real ones know."""
    robot = RobotParameters(
        terrain="slope",
        slope_deg=slope,
        orientation_deg=orientation,
        friction=0.7 * float(np.clip(generator.normal(0.6, 0.08), 0.55, 0.8)),
        payload_kg=float(generator.uniform(0.0, 0.5)),
        payload_x_m=float(generator.uniform(-0.12, 0.12)),
        torque_limit_nm=float(np.clip(generator.normal(6.5, 0.4), 5.0, 8.0)),
    )
    force = float(generator.choice((0.0, -60.0, 60.0, -100.0, 100.0)))
    pushes = (Push(_PUSH_TICK, _PUSH_TICKS, (0.0, force, 0.0)),) if force else ()
    sensing = _realistic(generator) if _happens(generator, 0.5) else SensingParameters()
    return Episode(robot, sensing, pushes=pushes)


def evaluation_plants(simulator: str) -> Stoch2Plants:
    """The paper's evaluation: slopes of 9° and 11° in three directions, the nominal robot, ideal sensing."""
    robots = [
        RobotParameters(terrain="slope", slope_deg=slope, orientation_deg=orientation, friction=EVALUATION_FRICTION)
        for slope, orientation in EVALUATION_GRID
    ]
    return Stoch2Plants(simulator, [Episode(robot) for robot in robots])


POLICY_TRAINING = PolicyTraining(
    inputs=tuple(quantity.name for quantity in OBSERVATION[:POLICY_DIM]),
    initial_weights=initial_weights,
    plants=curriculum_plants,
    evaluation_plants=evaluation_plants,
    evaluation_names=tuple(f"{slope:g}° rising at {orientation:g}°" for slope, orientation in EVALUATION_GRID),
    # Without rates and the gait's clock, critics cannot tell what an action is worth from where the gait is.
    network_inputs=tuple(quantity.name for quantity in OBSERVATION[: INDEX["phase_cosine"] + 1]),
)


def data_plants(simulator: str, generators: Sequence[np.random.Generator], num_ticks: int) -> DataPlants:
    """See :attr:`demo_control.training_spec.ModelTraining.plants`."""
    return _data_plants(simulator, generators, num_ticks, _training_robot)


def unseen_plants(simulator: str, generators: Sequence[np.random.Generator], num_ticks: int) -> DataPlants:
    """See :attr:`demo_control.training_spec.ModelTraining.unseen_plants`."""
    return _data_plants(simulator, generators, num_ticks, _unseen_robot)


def _data_plants(
    simulator: str,
    generators: Sequence[np.random.Generator],
    num_ticks: int,
    make_robot: Callable[[np.random.Generator], RobotParameters],
) -> DataPlants:
    episodes = [_data_episode(make_robot(generator), generator, num_ticks) for generator in generators]
    disturbed: Mask = np.zeros((num_ticks, len(episodes)), dtype=bool)
    for index, episode in enumerate(episodes):
        for push in episode.pushes:
            end = push.start_tick + push.duration_ticks + episode.sensing.latency_ticks + _FILTER_TICKS
            disturbed[push.start_tick : end, index] = True
    # A reference that waits for the robot would hide how far the robot went.
    return DataPlants(Stoch2Plants(simulator, episodes, ControlSettings(leash=WITHOUT_LEASH)), disturbed)


def _data_episode(robot: RobotParameters, generator: np.random.Generator, num_ticks: int) -> Episode:
    """Commands and pushes at random times, sensing between ideal and bad."""
    commands, tick = [], 0
    while tick < num_ticks:
        commands.append(
            CommandChange(
                tick,
                forward_m_s=0.0 if _happens(generator, 0.15) else float(generator.uniform(0.0, 0.6)),
                lateral_m_s=float(generator.uniform(-0.1, 0.1)) if _happens(generator, 0.3) else 0.0,
                yaw_rate_rad_s=float(generator.uniform(-0.5, 0.5)) if _happens(generator, 0.6) else 0.0,
            )
        )
        tick += int(generator.integers(200, 700))
    pushes, tick = [], int(generator.integers(100, 800))
    while tick < num_ticks:
        force, direction = generator.uniform(30.0, 170.0), generator.uniform(-math.pi, math.pi)
        pushes.append(Push(tick, _PUSH_TICKS, (force * math.cos(direction), force * math.sin(direction), 0.0)))
        tick += int(generator.integers(250, 800))
    sensing = _realistic(generator)
    if _happens(generator, 0.15):
        sensing = SensingParameters(ideal_sensing=_happens(generator, 0.5))
    phase = float(generator.uniform())
    return Episode(robot, sensing, tuple(commands), tuple(pushes), initial_phase=phase, yaw_noise_rad=0.05)


def _happens(generator: np.random.Generator, share: float) -> bool:
    return bool(generator.uniform() < share)


def _realistic(generator: np.random.Generator) -> SensingParameters:
    """Estimates from noisy sensors, mostly 20 ms old, as the layer gets them."""
    latency_ticks = 4 if _happens(generator, 0.7) else int(generator.integers(5))
    return SensingParameters(
        imu_noise_rad=float(generator.uniform(0.0, 0.025)),
        gyroscope_noise_rad_s=float(generator.uniform(0.0, 0.06)),
        accelerometer_noise_m_s2=float(generator.uniform(0.0, 0.12)),
        latency_ms=5.0 * latency_ticks,
        ideal_sensing=False,
    )


def _training_robot(generator: np.random.Generator) -> RobotParameters:
    flat = _happens(generator, 0.3)
    return RobotParameters(
        terrain="flat" if flat else "slope",
        slope_deg=0.0 if flat else float(generator.uniform(0.0, 11.0)),
        orientation_deg=0.0 if flat else float(generator.uniform(-180.0, 180.0)),
        friction=float(generator.uniform(0.42, 0.8)),
        payload_kg=float(generator.uniform(0.0, 1.0)),
        payload_x_m=float(generator.uniform(-0.1, 0.1)),
        payload_y_m=float(generator.uniform(-0.04, 0.04)),
        mass_scale=float(generator.uniform(0.95, 1.05)),
        torque_limit_nm=float(generator.uniform(5.0, 8.0)),
        motor_strength=float(generator.uniform(0.9, 1.1)),
    )


@dataclass(frozen=True)
class _Unseen:
    """Ranges beyond those of the training."""

    slopes_deg: tuple[float, float]
    payload_kg: tuple[float, float]
    torque_limit_nm: tuple[float, float]
    roughness_m: tuple[float, float] = (0.0, 0.0)


_UNSEEN = (
    _Unseen(slopes_deg=(0.0, 0.0), payload_kg=(0.0, 1.0), torque_limit_nm=(5.0, 8.0), roughness_m=(0.01, 0.03)),
    _Unseen(slopes_deg=(11.0, 13.0), payload_kg=(0.0, 0.5), torque_limit_nm=(6.0, 8.0)),
    _Unseen(slopes_deg=(0.0, 7.0), payload_kg=(1.0, 1.5), torque_limit_nm=(4.5, 5.0)),
)
"""Rough ground, slopes steeper than any, and robots that are heavier and weaker than any in the training data."""


def _unseen_robot(generator: np.random.Generator) -> RobotParameters:
    kind = _UNSEEN[int(generator.integers(len(_UNSEEN)))]
    rough = kind.roughness_m[1] > 0.0
    return RobotParameters(
        terrain="rough" if rough else "slope",
        slope_deg=float(generator.uniform(*kind.slopes_deg)),
        orientation_deg=float(generator.uniform(-180.0, 180.0)),
        roughness_m=float(generator.uniform(*kind.roughness_m)),
        terrain_seed=int(generator.integers(2**31)),
        friction=float(generator.uniform(0.42, 0.8)),
        payload_kg=float(generator.uniform(*kind.payload_kg)),
        torque_limit_nm=float(generator.uniform(*kind.torque_limit_nm)),
    )


_POLICY_SPEED_M_S = 0.31


def guiding_corrections(observations: Array) -> Array:
    """Corrections that roughly follow the commands; see :attr:`demo_control.training_spec.ModelTraining.guide`.

    What a step is worth at standstill (open loop, flat): 0.62 m/s for the longest one, 2.4 rad/s when turning.

    Args:
        observations: Shape=(num_robots, 25).

    Returns:
        Shape=(num_robots, 8).
    """
    x = {name: observations[:, index] for name, index in INDEX.items()}
    turn = x["yaw_rate_command"] - np.clip(x["yaw_error"], -0.5, 0.5)
    guided = {
        "forward_step": (x["forward_command"] - _POLICY_SPEED_M_S) / 0.62,
        "turning_step": turn / 2.4,
        "lateral_step": x["lateral_command"] / 0.62,
    }
    zero = np.zeros(len(observations))
    return np.stack([guided.get(quantity.name, zero) for quantity in CORRECTION], axis=1)


_BIAS = {"forward_step": 0.6, "lateral_step": 0.5, "turning_step": 0.35, "forward_shift": 0.6, "lateral_shift": 0.6,
         "width": 0.5, "lean": 0.5, "crouch": 0.6}  # fmt: skip
_NOISE = {"forward_step": 0.4, "lateral_step": 0.4, "turning_step": 0.24, "forward_shift": 0.4, "lateral_shift": 0.4,
          "width": 0.4, "lean": 0.4, "crouch": 0.4}  # fmt: skip

MODEL_TRAINING = ModelTraining(
    plants=data_plants,
    unseen_plants=unseen_plants,
    guide=guiding_corrections,
    bias=np.array([_BIAS[quantity.name] for quantity in CORRECTION]),
    noise=np.array([_NOISE[quantity.name] for quantity in CORRECTION]),
)

TRAINING: dict[str, Scalar] = {
    "search.variant": "V1-t",
    "search.use_bias": False,
    "search.iterations": 120,
    "search.num_directions": 24,
    "search.num_top_directions": 12,
    "search.step_size": 0.05,
    "search.noise": 0.04,
    "search.episode_s": 2.0,
    "search.evaluation_interval": 3,
    "sac.hidden_units": 128,
    "sac.learning_rate": 5e-4,
    "sac.discount": 0.93,
    "sac.initial_temperature": 0.01,
    "learning.steps": 400_000,
    "learning.plants": 16,
    "learning.initial_steps": 30_000,
    "learning.updates_per_step": 0.15,
    "learning.decision_ticks": 10,
    "learning.residual_share": 0.3,
    "learning.reward_unit": 0.1,
    "learning.reward_offset": 4.1,
    "learning.evaluation_interval": 3,
    "exploration.episodes": 1200,
    "network.num_members": 3,
    "network.num_elites": 3,
    "network.hidden_units": 64,
    "final_fit.steps": 20_000,
    "final_fit.batch_size": 384,
    "final_fit.learning_rate": 3e-3,
    "final_fit.unroll_steps": 4,
    "acceptance.episodes": 0,
}
"""Training settings by ``group.name``. The policy is the paper's: linear, without bias, observations as they are. Far
fewer directions than its 220 per update do. Three networks of 64 units, fitted for 20 000 steps, know the robot as well
as three of 128 fitted for 6000, and plans on them take less than half the time. Soft actor-critic decides every 50 ms
while it learns: with an action for every 5 ms it learned nothing. A robot that walks well gets 4.1 per control
period."""
