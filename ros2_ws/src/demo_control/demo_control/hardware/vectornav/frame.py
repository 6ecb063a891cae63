"""Frames of a VectorNav VN-100: the binary output that is used here, and the ASCII registers.

Source: VectorNav "VN-100 User Manual" (UM001), chapters "User Configurable Binary Output Messages" and "System
Module". One binary frame is

    0xFA, 0x01 (common group), 0x0131 (its fields), uint64 time since start in ns, float quaternion x y z w,
    float angular rate x y z in rad/s, float acceleration x y z in m/s², CRC-16 of all after 0xFA, high byte first,

all else little endian: 54 bytes. Axes are x forward, y right, z down, the world's are north, east, down. Frames have
no number; their time says which are missing and which came twice.
"""

from __future__ import annotations

import binascii
import struct
from dataclasses import dataclass

SYNC = b"\xfa"
_HEADER = bytes([0xFA, 0x01, 0x31, 0x01])
_PAYLOAD = struct.Struct("<Q10f")
FIELDS = 0x0131
"""Of the common group: time since start, quaternion, angular rate, acceleration."""
FRAME_BYTES = len(_HEADER) + _PAYLOAD.size + 2
_LONGEST_LINE = 256
_LETTERS = range(0x20, 0x7F)
IMU_RATE_HZ = 800
"""The rate that the register of the binary output divides."""


@dataclass(frozen=True)
class Sample:
    """What one frame says, in the unit's own axes.

    Attributes:
        time_ns: Since the unit's start.
        quaternion: x, y, z, w.
        angular_rate: rad/s.
        acceleration: m/s².
    """

    time_ns: int
    quaternion: tuple[float, float, float, float]
    angular_rate: tuple[float, float, float]
    acceleration: tuple[float, float, float]


def encode_sample(sample: Sample) -> bytes:
    """The binary frame of a sample."""
    body = _PAYLOAD.pack(sample.time_ns, *sample.quaternion, *sample.angular_rate, *sample.acceleration)
    frame = _HEADER + body
    return frame + crc(frame[1:]).to_bytes(2, "big")


def crc(data: bytes) -> int:
    """CRC-16 of polynomial 0x1021, start 0 (CCITT, XMODEM)."""
    return binascii.crc_hqx(data, 0)


def encode_line(text: str) -> bytes:
    """An ASCII message: $TEXT*XX with the exclusive or of its characters."""
    return f"${text}*{_line_checksum(text.encode()):02X}\r\n".encode()


def _line_checksum(text: bytes) -> int:
    checksum = 0
    for byte in text:
        checksum ^= byte
    return checksum


class FrameParser:
    """Finds binary frames and ASCII lines in a stream of bytes, whatever else is in it."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.frames = 0
        self.corrupt = 0
        """Frames and lines whose checksum was wrong."""
        self.skipped_bytes = 0
        self.lines: list[str] = []
        """ASCII messages since they were last taken, without frame and checksum."""

    def feed(self, data: bytes) -> list[Sample]:
        """Take in bytes; returns the samples that are complete."""
        self._buffer += data
        samples = []
        buffer = self._buffer
        while buffer:
            size = self._message_size()
            if size is None:
                break
            if size == 0:
                self.skipped_bytes += 1
                del buffer[:1]
                continue
            message = bytes(buffer[:size])
            sample = _sample(message) if message.startswith(SYNC) else self._line(message)
            if sample is False:
                # Only the first byte is given up: a good frame may begin within the broken one.
                self.corrupt += 1
                self.skipped_bytes += 1
                del buffer[:1]
                continue
            del buffer[:size]
            if isinstance(sample, Sample):
                self.frames += 1
                samples.append(sample)
        return samples

    def take_lines(self) -> list[str]:
        """The ASCII messages that have come."""
        lines, self.lines = self.lines, []
        return lines

    def _message_size(self) -> int | None:
        """Size of the message at the buffer's start; 0 if none begins there, None if it is not complete."""
        buffer = self._buffer
        if buffer[:1] == SYNC:
            if buffer[: len(_HEADER)] != _HEADER[: len(buffer)]:
                return 0
            return FRAME_BYTES if len(buffer) >= FRAME_BYTES else None
        if buffer[:1] == b"$":
            end = next((i for i, byte in enumerate(buffer[:_LONGEST_LINE]) if byte not in _LETTERS), -1)
            # A carriage return is the last but one; any other byte that is no letter is none of a line.
            if end >= 0 and buffer[end : end + 1] == b"\r":
                end += 1
            if end >= 0 and end < len(buffer):
                return end + 1 if buffer[end : end + 1] == b"\n" else 0
            return 0 if len(buffer) >= _LONGEST_LINE else None
        return 0

    def _line(self, message: bytes) -> bool:
        """Keep an ASCII message; False if its checksum is wrong."""
        text, _, checksum = message.strip()[1:].partition(b"*")
        try:
            told = int(checksum, 16)
        except ValueError:
            return False
        if told != _line_checksum(text):
            return False
        self.lines.append(text.decode("ascii", errors="replace"))
        return True


def _sample(message: bytes) -> Sample | bool:
    """The sample of a binary frame; False if its checksum is wrong."""
    if crc(message[1:-2]) != int.from_bytes(message[-2:], "big"):
        return False
    time_ns, *numbers = _PAYLOAD.unpack(message[len(_HEADER) : -2])
    x, y, z, w = numbers[:4]
    return Sample(time_ns, (x, y, z, w), tuple(numbers[4:7]), tuple(numbers[7:10]))
