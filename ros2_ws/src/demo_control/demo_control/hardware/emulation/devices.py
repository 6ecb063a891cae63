"""The devices of a wiring, emulated: what stands between a line's bytes and the plant's joints."""

from __future__ import annotations

from abc import ABC, abstractmethod

from demo_control.configuration import ConfigurationError
from demo_control.hardware.amt21 import EmulatedAmt21
from demo_control.hardware.dynamixel.emulated import EmulatedServos
from demo_control.hardware.dynamixel.servo import EmulatedServo
from demo_control.hardware.dynamixel.table import MODELS
from demo_control.hardware.emulation.plant import Drive, PlantState
from demo_control.hardware.vectornav.emulated import EmulatedVectorNav
from demo_control.hardware.wiring import BusWiring, JointWiring

_BITS_PER_BYTE = 10


class Device(ABC):
    """Everything on one line.

    Args:
        wiring: Of the line.
        columns: The plant's column of each joint.
        baud_rate: For the time that bytes need.
    """

    def __init__(self, wiring: BusWiring, columns: tuple[int, ...], baud_rate: int) -> None:
        self.wired: tuple[tuple[int, JointWiring], ...] = tuple(zip(columns, wiring.joints, strict=True))
        self._byte_s = _BITS_PER_BYTE / baud_rate

    @abstractmethod
    def receive(self, data: bytes, now_s: float) -> list[tuple[float, bytes]]:
        """Take in bytes; returns frames with their delays."""

    @abstractmethod
    def step(self, state: PlantState, now_s: float) -> list[tuple[float, bytes]]:
        """The plant has moved; returns frames that are sent unasked."""

    def drives(self) -> dict[int, Drive]:
        """What the devices do to the plant's joints, by column."""
        return {}

    def _timed(self, frames: list[tuple[float, bytes]], question_bytes: int) -> list[tuple[float, bytes]]:
        """Frames with the delay until their last bit, one after the other; they arrive together, with the last."""
        delay_s = question_bytes * self._byte_s + sum(delay + len(frame) * self._byte_s for delay, frame in frames)
        return [(delay_s, frame) for _, frame in frames]


class DynamixelDevice(Device):
    """A bus of servos."""

    def __init__(self, wiring: BusWiring, columns: tuple[int, ...], baud_rate: int) -> None:
        super().__init__(wiring, columns, baud_rate)
        self.servos = [EmulatedServo(joint.id, MODELS[joint.model]) for joint in wiring.joints]
        self._bus = EmulatedServos(self.servos)

    def receive(self, data: bytes, now_s: float) -> list[tuple[float, bytes]]:
        """Instructions."""
        return self._timed(self._bus.receive(data, now_s), len(data))

    def step(self, state: PlantState, now_s: float) -> list[tuple[float, bytes]]:
        """Shafts and watchdogs."""
        for servo, (column, joint) in zip(self.servos, self.wired, strict=True):
            factor = joint.sign * joint.factor
            angle = joint.angle(float(state.positions[column]))
            servo.measure(angle, float(state.velocities[column]) / factor, float(state.efforts[column]) * factor)
        self._bus.watch(now_s)
        return []

    def drives(self) -> dict[int, Drive]:
        """Of the servos' motors."""
        drives = {}
        for servo, (column, joint) in zip(self.servos, self.wired, strict=True):
            drive, factor = servo.drive, joint.sign * joint.factor
            limit = drive.torque_limit_nm / joint.factor
            target = joint.position(drive.target) if drive.kind == "position" else drive.target / factor
            drives[column] = Drive(drive.kind, target, limit)
        return drives


class Amt21Device(Device):
    """A line of encoders."""

    def __init__(self, wiring: BusWiring, columns: tuple[int, ...], baud_rate: int) -> None:
        super().__init__(wiring, columns, baud_rate)
        self._encoders = EmulatedAmt21(tuple(joint.id for joint in wiring.joints))

    def receive(self, data: bytes, now_s: float) -> list[tuple[float, bytes]]:
        """Questions."""
        return self._timed([(0.0, answer) for answer in self._encoders.receive(data)], len(data))

    def step(self, state: PlantState, now_s: float) -> list[tuple[float, bytes]]:
        """Shafts."""
        for column, joint in self.wired:
            self._encoders.measure(joint.id, joint.angle(float(state.positions[column])))
        return []


class VectorNavDevice(Device):
    """An attitude unit."""

    def __init__(self, wiring: BusWiring, columns: tuple[int, ...], baud_rate: int) -> None:
        super().__init__(wiring, columns, baud_rate)
        self._unit = EmulatedVectorNav()
        self._start_s: float | None = None

    def receive(self, data: bytes, now_s: float) -> list[tuple[float, bytes]]:
        """Commands."""
        return self._timed([(0.0, answer) for answer in self._unit.receive(data)], len(data))

    def step(self, state: PlantState, now_s: float) -> list[tuple[float, bytes]]:
        """A frame, if one is due."""
        if state.imu is None:
            return []
        self._start_s = now_s if self._start_s is None else self._start_s
        frames = self._unit.frames(state.imu, round((now_s - self._start_s) * 1e9))
        return self._timed([(0.0, frame) for frame in frames], 0)


_DEVICES: dict[str, type[DynamixelDevice | Amt21Device | VectorNavDevice]] = {
    "dynamixel": DynamixelDevice,
    "amt21": Amt21Device,
    "vectornav": VectorNavDevice,
}


def columns_of(wiring: BusWiring, joints: tuple[str, ...]) -> tuple[int, ...]:
    """The plant's columns of a bus's joints.

    Raises:
        ConfigurationError: A joint that the plant does not have.
    """
    for joint in wiring.joints:
        if joint.name not in joints:
            raise ConfigurationError(f"joint '{joint.name}' is not the plant's: {', '.join(joints)}")
    return tuple(joints.index(joint.name) for joint in wiring.joints)


def make_device(wiring: BusWiring, joints: tuple[str, ...]) -> Device:
    """The device of a line.

    Args:
        wiring: Of the line.
        joints: Of the plant.

    Raises:
        ConfigurationError: A kind that is not emulated, or a joint that the plant does not have.
    """
    if wiring.kind not in _DEVICES:
        known = ", ".join((*_DEVICES, "ros2_control"))
        raise ConfigurationError(f"bus {wiring.name}: kind '{wiring.kind}' is not emulated: {known}")
    columns = columns_of(wiring, joints)
    baud_rate: int = getattr(wiring.settings, "baud_rate")  # noqa: B009 - of the kinds above, which all have it
    return _DEVICES[wiring.kind](wiring, columns, baud_rate)
