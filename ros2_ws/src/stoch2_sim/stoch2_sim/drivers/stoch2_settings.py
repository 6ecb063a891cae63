"""Settings of stoch2_driver; what the robot and its ground are like is in RobotParameters."""

from __future__ import annotations

import math
from dataclasses import dataclass

from demo_control.configuration import ConfigurationError, setting
from demo_control.drivers.settings import DriverSettings
from stoch2_sim.robots.stoch2.simulation import SIMULATORS


@dataclass(frozen=True)
class Stoch2DriverSettings(DriverSettings):
    """How the simulated Stoch2 is driven.

    Raises:
        ConfigurationError: See the base; or ``command`` is not two numbers.
    """

    simulator: str = setting("mujoco", "Physics engine", choices=SIMULATORS)
    autonomous: bool = setting(
        True,
        "Stand up and walk as soon as commands arrive, follow the script, stop before the end of the run. A call of "
        "one of the services ends the script, a message on cmd_vel its speeds",
    )
    command: str = setting(
        "", "The script's forward speed in m/s and yaw rate in rad/s, as VX,WZ; empty for changing ones"
    )
    push_n: float = setting(
        0.0, "Force of the script's pushes on the walking robot's side, alternating, N", minimum=0.0, maximum=2000.0
    )
    push_s: float = setting(0.03, "Duration of every push, s", minimum=0.005, maximum=1.0)
    push_every_s: float = setting(6.0, "Time between two of the script's pushes, s", minimum=1.0, maximum=1000.0)
    patience_s: float = setting(
        1.0,
        "Without actions the robot treads on the spot for this long, then it stops walking",
        minimum=0.0,
        maximum=60.0,
    )
    action_rate_limit_per_s: float = setting(
        200.0,
        "Largest change of every entry of the action per second; its whole range is 2",
        minimum=1.0,
        maximum=10000.0,
    )
    sensor_every_ticks: int = setting(
        4,
        "joint_states, imu, odom, contacts and the transform are published at every so many ticks of 5 ms",
        minimum=1,
        maximum=200,
    )

    def __post_init__(self) -> None:
        """Check that the command can be read."""
        super().__post_init__()
        self.constant_command()

    def constant_command(self) -> tuple[float, float] | None:
        """Forward speed and yaw rate of ``command``, or None where it is empty.

        Raises:
            ConfigurationError: Not two finite numbers.
        """
        if not self.command.strip():
            return None
        try:
            forward, turn = (float(part) for part in self.command.split(","))
        except ValueError:
            forward = turn = math.nan
        if not (math.isfinite(forward) and math.isfinite(turn)):
            raise ConfigurationError(
                f"{type(self).__name__}.command = {self.command!r}: expected VX,WZ, for example 0.3,0.2"
            )
        return forward, turn
