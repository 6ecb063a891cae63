"""What happens in one episode: robot and ground, sensing, commands and pushes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from demo_control.configuration import ConfigurationError, Settings, setting
from stoch2_sim.robots.stoch2.estimation import Instruments
from stoch2_sim.robots.stoch2.geometry import CONTROL_PERIOD_S
from stoch2_sim.robots.stoch2.parameters import RobotParameters


@dataclass(frozen=True)
class SensingParameters(Settings):
    """How well the robot knows its own motion, and how late."""

    imu_noise_rad: float = setting(
        0.0, "White noise on each angle of the IMU's attitude, standard deviation per tick", minimum=0.0, maximum=0.5
    )
    gyroscope_noise_rad_s: float = setting(
        0.0, "White noise on each body rate, standard deviation per tick", minimum=0.0, maximum=5.0
    )
    accelerometer_noise_m_s2: float = setting(
        0.0, "White noise on each acceleration, standard deviation per tick", minimum=0.0, maximum=50.0
    )
    latency_ms: float = setting(
        0.0,
        "Age of observations when they are handed out, in whole control periods of 5 ms",
        minimum=0.0,
        maximum=200.0,
    )
    foot_sensors: bool = setting(
        True, "Whether the feet have force sensors; without, contacts come from the joints' tracking errors"
    )
    ideal_sensing: bool = setting(
        True, "Observations hold the true attitude, velocity, height, position and ground instead of the estimates"
    )

    def __post_init__(self) -> None:
        """Check that the latency is a whole number of ticks."""
        super().__post_init__()
        if not math.isclose(self.latency_ticks * CONTROL_PERIOD_S * 1000.0, self.latency_ms, abs_tol=1e-6):
            raise ConfigurationError(
                f"SensingParameters.latency_ms = {self.latency_ms}: must be a multiple of {CONTROL_PERIOD_S * 1000.0:g}"
            )

    @property
    def latency_ticks(self) -> int:
        """The latency in control periods."""
        return round(self.latency_ms / (CONTROL_PERIOD_S * 1000.0))

    @property
    def instruments(self) -> Instruments:
        """What the robot measures with, as data sheets would describe it."""
        return Instruments(self.imu_noise_rad, self.gyroscope_noise_rad_s, self.foot_sensors)


@dataclass(frozen=True)
class CommandChange:
    """From a tick on, something else is asked for.

    Attributes:
        tick: First control period, counted from 0.
        forward_m_s: Forward speed.
        lateral_m_s: Lateral speed, to the left.
        yaw_rate_rad_s: Yaw rate, counter-clockwise.
    """

    tick: int
    forward_m_s: float = 0.0
    lateral_m_s: float = 0.0
    yaw_rate_rad_s: float = 0.0

    def __post_init__(self) -> None:
        """Check that all is finite and that time does not run backwards."""
        if self.tick < 0:
            raise ConfigurationError(f"CommandChange.tick = {self.tick}: must be at least 0")
        if not all(map(math.isfinite, (self.forward_m_s, self.lateral_m_s, self.yaw_rate_rad_s))):
            raise ConfigurationError(f"{self}: commands must be finite")


@dataclass(frozen=True)
class Push:
    """A force on the trunk for some control periods.

    Attributes:
        start_tick: First control period, counted from 0.
        duration_ticks: Number of control periods.
        force_n: Forward, left and up in the heading that the robot started with, N.
    """

    start_tick: int
    duration_ticks: int
    force_n: tuple[float, float, float]

    def __post_init__(self) -> None:
        """Check times and force."""
        if self.start_tick < 0 or self.duration_ticks < 1:
            raise ConfigurationError(f"{self}: start_tick must be at least 0 and duration_ticks at least 1")
        if not all(map(math.isfinite, self.force_n)):
            raise ConfigurationError(f"{self}: the force must be finite")


@dataclass(frozen=True)
class Episode:
    """One robot's episode.

    Attributes:
        robot: Robot and ground.
        sensing: Of the robot.
        commands: What is asked for, by time; standstill before the first.
        pushes: May overlap.
        initial_yaw_rad: Heading at the start, counter-clockwise from the world's x axis.
        initial_phase: Of the gait at the start, cycles.
        yaw_noise_rad: Deviation of a random addition to the initial heading.
    """

    robot: RobotParameters = field(default_factory=RobotParameters)
    sensing: SensingParameters = field(default_factory=SensingParameters)
    commands: tuple[CommandChange, ...] = ()
    pushes: tuple[Push, ...] = ()
    initial_yaw_rad: float = 0.0
    initial_phase: float = 0.0
    yaw_noise_rad: float = 0.0
