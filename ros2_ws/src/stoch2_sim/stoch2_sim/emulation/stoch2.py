"""Stoch2 behind emulated devices: twelve servos and an attitude unit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from demo_control.configuration import ConfigurationError, Scalar
from demo_control.hardware.bus import ImuReading
from demo_control.hardware.emulation.plant import Drive, PlantState
from demo_control.tasks import Array
from stoch2_sim.robots.stoch2.attitude import euler_angles
from stoch2_sim.robots.stoch2.episode import SensingParameters
from stoch2_sim.robots.stoch2.geometry import CONTROL_PERIOD_S, JOINT_NAMES, NUM_JOINTS, NUM_LEGS
from stoch2_sim.robots.stoch2.ground import Ground
from stoch2_sim.robots.stoch2.mujoco_simulation import MujocoSimulation
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.placement import sitting_stance
from stoch2_sim.robots.stoch2.sensing import NoisySensors

_SHAPE = (1, NUM_LEGS, NUM_JOINTS)
_FALL_RAD = math.radians(30.0)


class EmulatedStoch2:
    """A Stoch2 that sits; see :class:`~demo_control.hardware.emulation.plant.EmulatedPlant`.

    A servo's position controller is the simulation's; its own gains are not emulated.

    Args:
        seed: Of the sensors' noise.
        settings: Of :class:`RobotParameters` and :class:`SensingParameters`, by name.

    Raises:
        ConfigurationError: A bad setting.
    """

    joints = JOINT_NAMES
    step_s = CONTROL_PERIOD_S

    def __init__(self, seed: int, settings: Mapping[str, Scalar]) -> None:
        robot, sensing = _split(settings)
        self._simulation = MujocoSimulation([robot])
        self._ground = Ground([robot])
        self._noise = NoisySensors([sensing])
        self._noise.reset([np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])])
        self._simulation.reset(np.zeros(1), sitting_stance()[None])
        self._targets = sitting_stance().ravel()
        self._limits = np.zeros(len(JOINT_NAMES))
        self._push = np.zeros((1, 3))
        self._start = self._simulation.truth().position[0, :2].copy()
        self._largest_tilt = 0.0
        self._highest = 0.0
        self._sensors = self._noise.read(self._simulation.sensors())

    def state(self) -> PlantState:
        """What is measured now."""
        sensors = self._sensors
        imu = ImuReading(sensors.orientation[0], sensors.angular_velocity[0], sensors.linear_acceleration[0], 0.0)
        torques = self._simulation.truth().joint_torques[0].ravel()
        return PlantState(sensors.joint_positions[0].ravel(), sensors.joint_velocities[0].ravel(), torques, imu)

    def advance(self, drives: Sequence[Drive]) -> None:
        """A control period."""
        for column, drive in enumerate(drives):
            if drive.kind == "position":
                self._targets[column] = drive.target
            self._limits[column] = drive.effort_limit if drive.kind == "position" else 0.0
        self._simulation.limit_torques(self._limits[None])
        self._simulation.advance(self._targets.reshape(_SHAPE), self._push)
        self._sensors = self._noise.read(self._simulation.sensors())
        self._judge()

    def _judge(self) -> None:
        """Find out how it stands, really."""
        truth = self._simulation.truth()
        roll, pitch, _ = euler_angles(truth.orientation)[0].tolist()
        height = float(self._ground.state(truth).height[0])
        self._largest_tilt = max(self._largest_tilt, abs(roll), abs(pitch))
        self._highest = max(self._highest, height)

    def verdict(self) -> Mapping[str, object]:
        """How far it went and how it stood, really."""
        truth = self._simulation.truth()
        way: Array = truth.position[0, :2] - self._start
        return {
            "distance_m": float(np.hypot(*way)),
            "largest_tilt_deg": math.degrees(self._largest_tilt),
            "largest_height_m": self._highest,
            "height_at_the_end_m": float(self._ground.state(truth).height[0]),
            "fell": self._largest_tilt > _FALL_RAD,
            "torque_at_the_end_nm": float(np.abs(truth.joint_torques).max()),
        }


def _split(settings: Mapping[str, Scalar]) -> tuple[RobotParameters, SensingParameters]:
    """The two kinds of settings.

    Raises:
        ConfigurationError: A name that is of neither kind, or a bad value.
    """
    kinds = (RobotParameters, SensingParameters)
    known = [{entry.name for entry in kind.entries()} for kind in kinds]
    for name in settings:
        if not any(name in names for names in known):
            raise ConfigurationError(f"Stoch2 has no setting '{name}'; known: {', '.join(sorted(set().union(*known)))}")
    parts = [{name: value for name, value in settings.items() if name in names} for names in known]
    return RobotParameters.from_mapping(parts[0]), SensingParameters.from_mapping(parts[1])
