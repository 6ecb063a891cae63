"""What may be set of Stoch2's scenarios."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from demo_control.configuration import ConfigurationError, Scalar, setting
from stoch2_sim.robots.stoch2.episode import SensingParameters
from stoch2_sim.robots.stoch2.parameters import RobotParameters, inclined

POLICY_SPEED_M_S = 0.33
"""What the policy walks on level ground when nobody asks for anything."""


@dataclass(frozen=True)
class RealisticSensing(SensingParameters):
    """The sensing that all scenarios have unless told otherwise: what a real robot would have."""

    imu_noise_rad: float = setting(
        0.02, "White noise on each angle of the IMU's attitude, standard deviation per tick", minimum=0.0, maximum=0.5
    )
    gyroscope_noise_rad_s: float = setting(
        0.05, "White noise on each body rate, standard deviation per tick", minimum=0.0, maximum=5.0
    )
    accelerometer_noise_m_s2: float = setting(
        0.1, "White noise on each acceleration, standard deviation per tick", minimum=0.0, maximum=50.0
    )
    latency_ms: float = setting(
        20.0, "Age of observations when they are handed out, whole control periods of 5 ms", minimum=0.0, maximum=200.0
    )
    foot_sensors: bool = setting(
        False, "Whether the feet have force sensors; without, contacts come from the joints' tracking errors"
    )
    ideal_sensing: bool = setting(
        False, "The true state instead of the estimates; then noise and latency are 0 unless they are set"
    )
    step_length: float = setting(0.0, "Step length of the controller 'constant'", minimum=-1.0, maximum=1.0)

    @property
    def sensing(self) -> SensingParameters:
        """The sensing of the episodes."""
        names = (entry.name for entry in SensingParameters.entries())
        return SensingParameters.from_mapping({name: getattr(self, name) for name in names})

    def _check_order(self, *names: str) -> None:
        """Check that each 'x_minimum' of the names is no larger than its 'x_maximum'.

        Raises:
            ConfigurationError: It is larger.
        """
        for name in names:
            other = name.replace("_minimum", "_maximum")
            low, high = getattr(self, name), getattr(self, other)
            if low > high:
                raise ConfigurationError(f"{type(self).__name__}.{name} = {low:g}: must be at most {other} = {high:g}")


def with_ideal_sensing(values: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Settings by name in which ideal sensing is without noise and latency, unless these are among them."""
    ideal: dict[str, Scalar] = {}
    if values.get("ideal_sensing") is True:
        ideal = {entry.name: entry.default for entry in SensingParameters.entries()}
    return {**ideal, **values}


@dataclass(frozen=True)
class OneRobot(RobotParameters, RealisticSensing):
    """Settings of scenarios in which all episodes have the same robot and ground."""

    @property
    def robot(self) -> RobotParameters:
        """The robot of the episodes; an inclination makes flat ground a slope.

        Raises:
            ConfigurationError: An inclination of stairs or rough ground.
        """
        names = (entry.name for entry in RobotParameters.entries())
        return inclined(RobotParameters.from_mapping({name: getattr(self, name) for name in names}))


@dataclass(frozen=True)
class WalkSettings(OneRobot):
    """Walking straight on."""

    forward_m_s: float = setting(
        POLICY_SPEED_M_S, "Forward speed that is asked for; by default the policy's own", minimum=-0.6, maximum=0.6
    )


@dataclass(frozen=True)
class PushSettings(OneRobot):
    """One push from the side."""

    push_n: float = setting(120.0, "Force of the push", minimum=0.0, maximum=2000.0)
    push_s: float = setting(0.03, "Duration of the push, rounded to control periods", minimum=0.005, maximum=1.0)
    forward_m_s: float = setting(0.3, "Forward speed that is asked for", minimum=-0.6, maximum=0.6)


@dataclass(frozen=True)
class ShowSettings(OneRobot):
    """A walk with changing commands and two pushes, for being looked at."""

    first_push_n: float = setting(120.0, "Push to the left while walking straight on", minimum=0.0, maximum=2000.0)
    second_push_n: float = setting(150.0, "Push to the right while turning", minimum=0.0, maximum=2000.0)


@dataclass(frozen=True)
class TrackSettings(RealisticSensing):
    """Following commands."""

    terrain: str = setting("both", "On which ground", choices=("both", "flat", "slope"))
    slope_minimum_deg: float = setting(5.0, "Smallest inclination of slopes", minimum=-30.0, maximum=30.0)
    slope_maximum_deg: float = setting(9.0, "Largest inclination of slopes", minimum=-30.0, maximum=30.0)
    orientation_maximum_deg: float = setting(
        90.0, "Slopes rise in a direction between 0 and this, left of the first heading", minimum=0.0, maximum=180.0
    )
    friction_minimum: float = setting(0.5, "Smallest effective friction", minimum=0.05, maximum=3.0)
    friction_maximum: float = setting(0.8, "Largest effective friction", minimum=0.05, maximum=3.0)

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        self._check_order("slope_minimum_deg", "friction_minimum")


@dataclass(frozen=True)
class SlopeSettings(RealisticSensing):
    """A grid of slopes."""

    slope_minimum_deg: float = setting(5.0, "Smallest inclination", minimum=-30.0, maximum=30.0)
    slope_maximum_deg: float = setting(11.0, "Largest inclination", minimum=-30.0, maximum=30.0)
    slope_step_deg: float = setting(2.0, "From one inclination to the next", minimum=0.1, maximum=60.0)
    orientation_minimum_deg: float = setting(0.0, "First direction in which slopes rise", minimum=-180.0, maximum=180.0)
    orientation_maximum_deg: float = setting(90.0, "Last direction", minimum=-180.0, maximum=180.0)
    orientation_step_deg: float = setting(30.0, "From one direction to the next", minimum=1.0, maximum=360.0)
    friction: float = setting(0.6, "Effective friction", minimum=0.05, maximum=3.0)
    forward_m_s: float = setting(POLICY_SPEED_M_S, "Forward speed that is asked for", minimum=-0.6, maximum=0.6)

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        self._check_order("slope_minimum_deg", "orientation_minimum_deg")


@dataclass(frozen=True)
class RobustSettings(RealisticSensing):
    """Everything at once, drawn anew for each episode."""

    slope_maximum_deg: float = setting(11.0, "Inclinations are between 0 and this", minimum=0.0, maximum=30.0)
    orientation_maximum_deg: float = setting(
        0.0, "Slopes rise in a direction between 0 and this, left of the heading", minimum=0.0, maximum=180.0
    )
    friction_minimum: float = setting(0.42, "Smallest effective friction", minimum=0.05, maximum=3.0)
    friction_maximum: float = setting(0.8, "Largest effective friction", minimum=0.05, maximum=3.0)
    payload_maximum_kg: float = setting(1.0, "Extra masses are between 0 and this", minimum=0.0, maximum=5.0)
    torque_limit_minimum_nm: float = setting(5.0, "Smallest torque limit", minimum=0.5, maximum=50.0)
    torque_limit_maximum_nm: float = setting(8.0, "Largest torque limit", minimum=0.5, maximum=50.0)
    push_minimum_n: float = setting(50.0, "Weakest push", minimum=0.0, maximum=2000.0)
    push_maximum_n: float = setting(150.0, "Strongest push", minimum=0.0, maximum=2000.0)
    push_s: float = setting(0.03, "Duration of a push, rounded to control periods", minimum=0.005, maximum=1.0)
    num_pushes: int = setting(3, "Pushes in each episode", minimum=0, maximum=20)
    forward_m_s: float = setting(0.3, "Forward speed that is asked for", minimum=-0.6, maximum=0.6)

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        self._check_order("friction_minimum", "torque_limit_minimum_nm", "push_minimum_n")
