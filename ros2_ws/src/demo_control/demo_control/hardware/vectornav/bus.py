"""An attitude unit as a bus without joints: its newest good frame, checked, in the robot's axes."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from demo_control.configuration import ConfigurationError, Settings, setting
from demo_control.hardware.bus import BusDescription, BusError, ImuReading, Reading, is_plausible
from demo_control.hardware.serial_port import SerialPort, SerialSensor
from demo_control.hardware.vectornav.frame import (
    FIELDS,
    FRAME_BYTES,
    IMU_RATE_HZ,
    FrameParser,
    Sample,
    encode_line,
)
from demo_control.hardware.wiring import BusKind, BusWiring
from demo_control.tasks import Array

_ANSWER_LIMIT_S = 0.3
_ATTEMPTS = 5
_BITS_PER_BYTE = 10
# A unit whose time falls back by more has started anew.
_RESTART_NS = 1_000_000_000


@dataclass(frozen=True)
class VectorNavSettings(Settings):
    """How the unit is connected and mounted."""

    port: str = setting("/dev/ttyUSB1", "Serial port")
    baud_rate: int = setting(921_600, "Bits per second", minimum=9600, maximum=921_600)
    rate_hz: int = setting(200, f"Frames per second; divides {IMU_RATE_HZ}", minimum=1, maximum=IMU_RATE_HZ)
    mounting_roll_deg: float = setting(0.0, "Turn from the robot's axes to the unit's", minimum=-180.0, maximum=180.0)
    mounting_pitch_deg: float = setting(0.0, "The same, about y", minimum=-180.0, maximum=180.0)
    mounting_yaw_deg: float = setting(0.0, "The same, about z, first of the three", minimum=-180.0, maximum=180.0)

    def __post_init__(self) -> None:
        """Check the rate."""
        super().__post_init__()
        if IMU_RATE_HZ % self.rate_hz:
            raise ConfigurationError(f"VectorNavSettings.rate_hz = {self.rate_hz}: must divide {IMU_RATE_HZ}")


class VectorNavBus(SerialSensor):
    """An attitude unit; see :class:`~demo_control.hardware.bus.Bus`.

    Args:
        wiring: Of the bus.
    """

    def __init__(self, wiring: BusWiring) -> None:
        assert isinstance(wiring.settings, VectorNavSettings)
        self._settings = wiring.settings
        super().__init__(wiring.name)
        self._mounting = _rotation(self._settings)
        self._period_ns = round(1e9 / self._settings.rate_hz)
        self._parser = FrameParser()
        self._newest: Sample | None = None
        self._heard_s = -math.inf
        self._imu: tuple[Array, Array, Array] | None = None
        self._counts: Counter[str] = Counter()

    def describe(self) -> BusDescription:
        """No joints, and how full the line is."""
        settings = self._settings
        share = FRAME_BYTES * _BITS_PER_BYTE * settings.rate_hz / settings.baud_rate
        note = (
            f"{self._name}: {settings.port}, {settings.baud_rate} bit/s, {settings.rate_hz} frames of {FRAME_BYTES} "
            f"bytes a second = {share:.0%} of the line"
        )
        return BusDescription((), has_imu=True, notes=(note,))

    def connect(self) -> None:
        """Open the port, ask who is there, and set its output.

        Raises:
            BusError: The port cannot be opened, or nothing answers.
        """
        self._port = SerialPort(self._settings.port, self._settings.baud_rate)
        try:
            self.model = self._register(1)
            # Binary frames only, on the port that is asked; nothing else in between.
            self._ask("VNWRG,06,0")
            self._ask(f"VNWRG,75,1,{IMU_RATE_HZ // self._settings.rate_hz},01,{FIELDS:04X}")
        except BusError:
            self.disconnect()
            raise

    def _register(self, number: int) -> str:
        """The content of a register as text."""
        return self._ask(f"VNRRG,{number:02d}").partition(f"VNRRG,{number:02d},")[2]

    def identify(self) -> dict[str, str]:
        """Model, serial number and firmware.

        Raises:
            BusError: No answer.
        """
        names = {"model": 1, "serial_number": 3, "firmware": 4}
        return {name: self._register(number) for name, number in names.items()}

    def _ask(self, text: str) -> str:
        """Send a command until it is answered; other messages may come in between."""
        port = self._connected()
        kind, number = text.split(",")[:2]
        for _ in range(_ATTEMPTS):
            port.write(encode_line(text))
            deadline_s = time.monotonic() + _ANSWER_LIMIT_S
            while data := port.read(deadline_s):
                self._parser.feed(data)
                for line in self._parser.take_lines():
                    if line.startswith(f"{kind},{number}"):
                        return line
                    if line.startswith("VNERR"):
                        raise BusError(f"{self._name}: the unit refuses '{text}' ({line})")
                if time.monotonic() > deadline_s:
                    break
        raise BusError(f"{self._name}: no VectorNav unit answers on {self._settings.port}")

    def read(self) -> Reading:
        """Take all frames that have come; the newest good one counts.

        Raises:
            BusError: The port is lost.
        """
        data = self._connected().drain()
        now_s = time.monotonic()
        for sample in self._parser.feed(data):
            self._take(sample, now_s)
        self._parser.take_lines()
        imu = None if self._imu is None else ImuReading(*self._imu, now_s - self._heard_s)
        nothing = np.zeros(0)
        return Reading(nothing, nothing, nothing, nothing, imu)

    def _take(self, sample: Sample, now_s: float) -> None:
        """Accept a sample that is plausible and newer than the last."""
        last = self._newest
        if last is not None:
            periods = round((sample.time_ns - last.time_ns) / self._period_ns)
            if sample.time_ns <= last.time_ns and last.time_ns - sample.time_ns < _RESTART_NS:
                self._counts["repeated"] += 1
                return
            self._counts["missing"] += max(0, periods - 1)
        if not is_plausible(sample.quaternion, sample.angular_rate, sample.acceleration):
            self._counts["implausible"] += 1
            return
        self._newest, self._heard_s = sample, now_s
        self._imu = self._in_robot_axes(sample)

    def _in_robot_axes(self, sample: Sample) -> tuple[Array, Array, Array]:
        """Orientation (w, x, y, z), angular velocity and acceleration, body axes forward, left, up."""
        x, y, z, w = sample.quaternion
        # From north-east-down to north-west-up, for world and body alike: y and z change their signs.
        unit = np.array([w, x, -y, -z]) / math.sqrt(w * w + x * x + y * y + z * z)
        turn = self._mounting
        rate = _turned(turn, np.array(sample.angular_rate) * _FLIP)
        acceleration = _turned(turn, np.array(sample.acceleration) * _FLIP)
        return _product(unit, _conjugate(turn)), rate, acceleration

    def counters(self) -> Mapping[str, object]:
        """Frames by fate."""
        counts = {"frames": self._parser.frames, "corrupt": self._parser.corrupt}
        counts |= {name: self._counts[name] for name in ("missing", "repeated", "implausible")}
        return {f"{self._name}.{name}": count for name, count in counts.items()}


_FLIP = np.array([1.0, -1.0, -1.0])


def _rotation(settings: VectorNavSettings) -> Array:
    """The unit's mounting as a quaternion: yaw, then pitch, then roll."""
    angles = settings.mounting_yaw_deg, settings.mounting_pitch_deg, settings.mounting_roll_deg
    result = np.array([1.0, 0.0, 0.0, 0.0])
    for axis, angle_deg in zip((3, 2, 1), angles, strict=True):
        half = 0.5 * math.radians(angle_deg)
        turn = np.zeros(4)
        turn[0], turn[axis] = math.cos(half), math.sin(half)
        result = _product(result, turn)
    return result


def _product(one: Array, other: Array) -> Array:
    """The product of two quaternions (w, x, y, z)."""
    w, x, y, z = one.tolist()
    a, b, c, d = other.tolist()
    return np.array(
        [
            w * a - x * b - y * c - z * d,
            w * b + x * a + y * d - z * c,
            w * c - x * d + y * a + z * b,
            w * d + x * c - y * b + z * a,
        ]
    )


def _conjugate(quaternion: Array) -> Array:
    conjugate: Array = quaternion * np.array([1.0, -1.0, -1.0, -1.0])
    return conjugate


def _turned(turn: Array, vector: Array) -> Array:
    """A vector of the unit's axes in the robot's."""
    turned: Array = _product(_product(turn, np.concatenate([[0.0], vector])), _conjugate(turn))[1:]
    return turned


KIND = BusKind(VectorNavSettings, VectorNavBus, has_joints=False)
