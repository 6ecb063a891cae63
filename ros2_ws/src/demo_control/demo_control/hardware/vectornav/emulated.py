"""An emulated attitude unit: answers its registers and sends binary frames at its rate."""

from __future__ import annotations

from demo_control.hardware.bus import ImuReading
from demo_control.hardware.vectornav.frame import IMU_RATE_HZ, FrameParser, Sample, encode_line, encode_sample

_REGISTERS = {"01": "VN-100T-CR", "03": "0100012345", "04": "2.1.0.0"}
_BINARY_OUTPUT = "75"


class EmulatedVectorNav:
    """The unit, mounted along the robot's axes."""

    def __init__(self) -> None:
        self._parser = FrameParser()
        self._divisor = 0
        self._due_ns = 0

    def receive(self, data: bytes) -> list[bytes]:
        """Take in bytes; returns the answers."""
        self._parser.feed(data)
        return [encode_line(self._answer(line)) for line in self._parser.take_lines()]

    def _answer(self, line: str) -> str:
        """What the unit says to a command."""
        command, _, rest = line.partition(",")
        number = rest.partition(",")[0].zfill(2)
        if command == "VNRRG" and number in _REGISTERS:
            return f"VNRRG,{number},{_REGISTERS[number]}"
        if command != "VNWRG":
            return "VNERR,04"  # invalid command
        if number == _BINARY_OUTPUT:
            return self._set_output(line)
        return line

    def _set_output(self, line: str) -> str:
        """Binary output: port, divisor, groups, fields."""
        try:
            _, _, _, divisor, groups, fields = line.split(",")
            values = int(divisor), int(groups, 16), int(fields, 16)
        except ValueError:
            return "VNERR,05"  # not enough parameters
        if values[0] < 1 or values[1:] != (0x01, 0x0131):
            return "VNERR,07"  # invalid parameter: only this one frame is emulated
        self._divisor = values[0]
        return line

    def frames(self, imu: ImuReading, time_ns: int) -> list[bytes]:
        """The frames that are due at a time of the unit's.

        Args:
            imu: What it measures now.
            time_ns: Since its start.
        """
        if not self._divisor or time_ns < self._due_ns:
            return []
        period_ns = self._divisor * 1_000_000_000 // IMU_RATE_HZ
        self._due_ns = (time_ns // period_ns + 1) * period_ns
        w, x, y, z = imu.orientation.tolist()
        wx, wy, wz = imu.angular_velocity.tolist()
        ax, ay, az = imu.linear_acceleration.tolist()
        # Its own axes are forward, right, down, in a world of north, east, down.
        return [encode_sample(Sample(time_ns, (x, -y, -z, w), (wx, -wy, -wz), (ax, -ay, -az)))]
