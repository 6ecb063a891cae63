"""An absolute encoder CUI AMT21 on RS-485 as a joint that is only measured, and an emulated one.

Source: CUI Devices, "AMT21 Series" data sheet. The host sends the encoder's address (its lower two bits are the
command: 0 position, 1 turns); the encoder answers with two bytes, low byte first: 14 bits of position and, on top, an
odd parity of the odd and one of the even bits. These two bits find three of four broken answers at best, so a position
that is not near to where the last ones lead must be told twice.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from demo_control.configuration import Settings, setting
from demo_control.hardware.bus import BusDescription, BusError, JointDescription, Reading
from demo_control.hardware.serial_port import SerialPort, SerialSensor
from demo_control.hardware.wiring import BusKind, BusWiring

UNITS_PER_TURN = 1 << 14
UNIT_RAD = 2.0 * math.pi / UNITS_PER_TURN
_ODD, _EVEN = 0x2AAA, 0x1555
_ANSWER_BYTES = 2
_PAIRS = 3
_CONNECT_LIMIT_S = 0.5
_TREND_LIMIT_S = 0.03
_TOLERANCE_UNITS = 8


def encode_position(units: int) -> bytes:
    """The answer for a position."""
    odd = (units & _ODD).bit_count() & 1
    even = (units & _EVEN).bit_count() & 1
    return (units | (1 - odd) << 15 | (1 - even) << 14).to_bytes(2, "little")


def decode_position(answer: bytes) -> int | None:
    """The position of an answer, or None if it is broken."""
    if len(answer) != _ANSWER_BYTES:
        return None
    units = int.from_bytes(answer, "little") & (UNITS_PER_TURN - 1)
    return units if encode_position(units) == answer else None


@dataclass(frozen=True)
class Amt21Settings(Settings):
    """How the encoders are connected."""

    port: str = setting("/dev/ttyUSB1", "Serial port")
    baud_rate: int = setting(2_000_000, "Bits per second", minimum=9600, maximum=2_000_000)
    read_limit_ms: float = setting(2.0, "Longest time for a reading", minimum=0.2, maximum=100.0)
    largest_rate_rad_s: float = setting(
        60.0, "A position that would need a faster turn is taken for a broken answer", minimum=0.1, maximum=1000.0
    )
    largest_acceleration_rad_s2: float = setting(
        300.0, "A position that would need more must be told twice", minimum=1.0, maximum=1e6
    )


class Amt21Bus(SerialSensor):
    """Encoders on one line; see :class:`~demo_control.hardware.bus.Bus`.

    Args:
        wiring: Of the bus; a joint's id is its encoder's address.
    """

    def __init__(self, wiring: BusWiring) -> None:
        assert isinstance(wiring.settings, Amt21Settings)
        self._settings = wiring.settings
        super().__init__(wiring.name)
        self._joints = wiring.joints
        self._angles = np.zeros(len(wiring.joints))
        self._rates = np.zeros(len(wiring.joints))
        self._means = np.zeros(len(wiring.joints))
        self._heard_s = np.full(len(wiring.joints), -math.inf)
        self._counts: Counter[str] = Counter()

    def describe(self) -> BusDescription:
        """The joints."""
        joints = tuple(JointDescription(joint.name, "none", joint.unit, f"amt21 {joint.id}") for joint in self._joints)
        return BusDescription(joints, has_imu=False, notes=(f"{self._name}: {self._settings.port}",))

    def connect(self) -> None:
        """Open the port and wait for every encoder's first word.

        Raises:
            BusError: The port cannot be opened, or an encoder is silent.
        """
        self._port = SerialPort(self._settings.port, self._settings.baud_rate)
        deadline_s = time.monotonic() + _CONNECT_LIMIT_S
        while not np.isfinite(self._heard_s).all():
            self.read()
            if time.monotonic() > deadline_s:
                silent = [joint for joint, heard in zip(self._joints, self._heard_s, strict=True) if heard == -math.inf]
                self.disconnect()
                raise BusError(
                    f"{self._name}: joint {silent[0].name}: no encoder of address {silent[0].id} answers on "
                    f"{self._settings.port}"
                )

    def read(self) -> Reading:
        """Ask every encoder for its position.

        Raises:
            BusError: The port is lost.
        """
        port = self._connected()
        deadline_s = time.monotonic() + 1e-3 * self._settings.read_limit_ms
        for index in range(len(self._joints)):
            units = self._agreed(port, index, deadline_s)
            if units is not None:
                self._take(index, units, time.monotonic())
        now_s = time.monotonic()
        signs = np.array([joint.sign * joint.factor for joint in self._joints])
        offsets = np.array([joint.offset_rad for joint in self._joints])
        positions = signs * (self._angles - offsets)
        return Reading(positions, signs * self._rates, np.zeros(len(signs)), now_s - self._heard_s)

    def _agreed(self, port: SerialPort, index: int, deadline_s: float) -> int | None:
        """A position that is expected, or that two answers agree on: the shaft may turn a little between them."""
        address = self._joints[index].id
        largest = 2.0 + self._settings.largest_rate_rad_s * 1e-3 * self._settings.read_limit_ms / UNIT_RAD
        seen: list[int] = []
        for _ in range(2 * _PAIRS):
            port.drain()
            port.write(bytes([address]))
            patience_s = min(deadline_s, time.monotonic() + 1e-3 * self._settings.read_limit_ms / _PAIRS)
            answer = port.read_until(lambda data: len(data) >= _ANSWER_BYTES, patience_s)
            units = decode_position(answer)
            self._counts["answers"] += 1
            if units is None:
                self._counts["corrupt" if answer else "missing"] += 1
            elif self._is_expected(index, units) or any(abs(_nearest(units - other)) <= largest for other in seen):
                return units
            else:
                seen.append(units)
            if time.monotonic() >= deadline_s:
                break
        self._counts["unread"] += 1
        return None

    def _is_expected(self, index: int, units: int) -> bool:
        """Whether a position is where the last ones lead, as far as the acceleration allows."""
        since_s = time.monotonic() - self._heard_s[index]
        if since_s > _TREND_LIMIT_S:
            return False
        expected_rad = self._angles[index] + self._rates[index] * since_s
        reach_rad = 0.5 * self._settings.largest_acceleration_rad_s2 * since_s * since_s + _TOLERANCE_UNITS * UNIT_RAD
        return bool(abs(_nearest(units - round(expected_rad / UNIT_RAD))) * UNIT_RAD <= reach_rad)

    def _take(self, index: int, units: int, now_s: float) -> None:
        """Count on from the last angle, by the shorter way round."""
        moved = _nearest(units - round(self._angles[index] / UNIT_RAD)) * UNIT_RAD
        since_s = now_s - self._heard_s[index]
        if not math.isfinite(since_s):
            self._angles[index] = _nearest(units) * UNIT_RAD
            self._heard_s[index] = now_s
            return
        rate = moved / since_s
        if abs(rate) > self._settings.largest_rate_rad_s:
            self._counts["implausible"] += 1
            return
        self._angles[index] += moved
        # The mean rate since the last reading is that of half a period ago: carry its trend on.
        trend = 0.5 * (rate - self._means[index]) if since_s < _TREND_LIMIT_S else 0.0
        self._rates[index] = rate + trend
        self._means[index] = rate
        self._heard_s[index] = now_s

    def counters(self) -> Mapping[str, object]:
        """Answers by fate."""
        names = ("answers", "corrupt", "missing", "unread", "implausible")
        return {f"{self._name}.{name}": self._counts[name] for name in names}


class EmulatedAmt21:
    """Encoders of given addresses.

    Args:
        addresses: Multiples of 4.
    """

    def __init__(self, addresses: tuple[int, ...]) -> None:
        self._angles = dict.fromkeys(addresses, 0.0)

    def measure(self, address: int, angle_rad: float) -> None:
        """Take over where a shaft is."""
        self._angles[address] = angle_rad

    def receive(self, data: bytes) -> list[bytes]:
        """Take in bytes; returns the answers."""
        positions = (round(self._angles[byte] / UNIT_RAD) % UNITS_PER_TURN for byte in data if byte in self._angles)
        return [encode_position(units) for units in positions]


def _nearest(units: int) -> int:
    """A difference of positions by the shorter way round."""
    half = UNITS_PER_TURN // 2
    return (units + half) % UNITS_PER_TURN - half


KIND = BusKind(Amt21Settings, Amt21Bus, largest_id=252)
