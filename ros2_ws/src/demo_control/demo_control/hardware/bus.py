"""What the driver asks of whatever connects it with a robot's joints and sensors, simulated or real.

Joints are in joint units throughout: radians and newton metres, for prismatic joints metres and newtons; signs,
offsets and gears are the bus's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from demo_control.tasks import Array

_LARGEST_RATE_RAD_S = 60.0
_LARGEST_ACCELERATION_M_S2 = 400.0
_UNIT_TOLERANCE = 0.01


class BusError(RuntimeError):
    """A bus that cannot do what it is asked for; the text is one line that names port, device and what is wrong."""


@dataclass(frozen=True)
class JointDescription:
    """A joint as its bus sees it.

    Attributes:
        name: Of the joint.
        command: What :meth:`Bus.write` takes for it: 'position', 'effort', or 'none' for a joint that is only measured.
        unit: Of its position: 'rad' or 'm'.
        device: What moves or measures it, for people.
    """

    name: str
    command: str
    unit: str
    device: str


@dataclass(frozen=True)
class BusDescription:
    """What is on a bus.

    Attributes:
        joints: In the order of all arrays.
        has_imu: Whether :attr:`Reading.imu` is filled.
        notes: Lines for people: ports, rates, how full the bus is.
    """

    joints: tuple[JointDescription, ...]
    has_imu: bool
    notes: tuple[str, ...] = ()

    @property
    def commanded(self) -> tuple[JointDescription, ...]:
        """The joints that are commanded, in order."""
        return tuple(joint for joint in self.joints if joint.command != "none")


@dataclass(frozen=True)
class ImuReading:
    """What an inertial measurement unit says, in body axes x forward, y left, z up.

    Attributes:
        orientation: Unit quaternion (w, x, y, z), body to a world whose z is up. Shape=(4,).
        angular_velocity: Radians per second. Shape=(3,).
        linear_acceleration: Specific force, m/s²; at rest it points up with 9.81. Shape=(3,).
        age_s: Since it arrived.
    """

    orientation: Array
    angular_velocity: Array
    linear_acceleration: Array
    age_s: float


def is_plausible(
    orientation: Iterable[float], angular_velocity: Iterable[float], linear_acceleration: Iterable[float]
) -> bool:
    """Whether numbers can be an inertial measurement unit's: a checksum lets one broken frame in 65 536 pass.

    Args:
        orientation: Quaternion.
        angular_velocity: Radians per second.
        linear_acceleration: m/s².
    """
    norm = sum(value * value for value in orientation)
    # Written so that what is not a number fails.
    return (
        abs(norm - 1.0) < _UNIT_TOLERANCE
        and all(abs(rate) < _LARGEST_RATE_RAD_S for rate in angular_velocity)
        and all(abs(value) < _LARGEST_ACCELERATION_M_S2 for value in linear_acceleration)
    )


@dataclass(frozen=True)
class Reading:
    """The newest that a bus knows.

    Attributes:
        positions: Shape=(num_joints,).
        velocities: Shape=(num_joints,).
        efforts: Measured or commanded; 0 where unknown. Shape=(num_joints,).
        ages_s: Since each joint's values arrived; infinite before the first. Shape=(num_joints,).
        imu: None without one, or before its first word.
        contact_forces: Of the ground on each foot, newtons; None without such sensors.
        problems: What the devices complain of, one line each: overload, overheating, a watchdog that tripped.
    """

    positions: Array
    velocities: Array
    efforts: Array
    ages_s: Array
    imu: ImuReading | None = None
    contact_forces: Array | None = None
    problems: tuple[str, ...] = ()


class PartialReadingError(BusError):
    """A connection of several that is lost: what the others say is not.

    Args:
        text: See :class:`BusError`.
        reading: Of all joints; what is behind the lost connection is as old as its age says.
    """

    def __init__(self, text: str, reading: Reading) -> None:
        super().__init__(text)
        self.reading = reading


class Bus(Protocol):
    """A connection with a robot.

    No call takes longer than its share of a control period, whatever the devices do; what did not come in time is
    old in the next reading. :meth:`connect` and :meth:`stop` may take longer.
    """

    def describe(self) -> BusDescription:
        """What is connected; needs no connection."""
        ...

    def connect(self) -> None:
        """Find and configure the devices; actuators stay off.

        Raises:
            BusError: A device is missing, is another one than the wiring says, or has a fault.
        """
        ...

    def read(self) -> Reading:
        """Ask the devices.

        Raises:
            BusError: The connection is lost (a silent device only shows by the age of its values).
        """
        ...

    def write(self, values: Array) -> Array:
        """Command the joints; the first call after :meth:`connect` or :meth:`stop` switches their actuators on.

        Args:
            values: Positions or efforts of the commanded joints, finite. Shape=(num_commanded,).

        Returns:
            What was really sent, after the devices' resolution and range. Shape=(num_commanded,).

        Raises:
            BusError: The connection is lost, or an actuator cannot be switched on.
        """
        ...

    def stop(self) -> None:
        """Switch all actuators off; never raises."""
        ...

    def disconnect(self) -> None:
        """Stop, and let go of the ports; never raises."""
        ...

    def counters(self) -> Mapping[str, object]:
        """Counts since :meth:`connect`: frames lost, corrupt, repeated, and what the devices measure of themselves."""
        ...
