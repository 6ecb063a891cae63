"""Frames of Dynamixel protocol 2.0: header, byte stuffing, CRC-16, and a parser that finds its way back.

Source: ROBOTIS e-Manual, "DYNAMIXEL Protocol 2.0" (https://emanual.robotis.com/docs/en/dxl/protocol2/).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

HEADER = b"\xff\xff\xfd\x00"
_STUFFED = b"\xff\xff\xfd"
BROADCAST_ID = 0xFE
LARGEST_ID = 252
_POLYNOMIAL = 0x8005
_BEFORE_PAYLOAD = 7  # header, id, length
_CRC_BYTES = 2
_SMALLEST_LENGTH = 3
LARGEST_LENGTH = 1024
"""Of a frame's length field. Longer ones are legal but never occur here; taking a broken length at its word would
swallow all frames after it."""


class Instruction(IntEnum):
    """What an instruction packet asks for."""

    PING = 0x01
    READ = 0x02
    WRITE = 0x03
    REG_WRITE = 0x04
    ACTION = 0x05
    FACTORY_RESET = 0x06
    REBOOT = 0x08
    CLEAR = 0x10
    STATUS = 0x55
    SYNC_READ = 0x82
    SYNC_WRITE = 0x83
    FAST_SYNC_READ = 0x8A
    BULK_READ = 0x92
    BULK_WRITE = 0x93


class PacketError(IntEnum):
    """The lower seven bits of a status packet's error byte."""

    NONE = 0
    RESULT_FAIL = 1
    INSTRUCTION = 2
    CRC = 3
    DATA_RANGE = 4
    DATA_LENGTH = 5
    DATA_LIMIT = 6
    ACCESS = 7


ALERT = 0x80
"""Bit of the error byte: the servo's hardware error status is not 0."""


def _table() -> tuple[int, ...]:
    """CRC of every byte."""
    table = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ _POLYNOMIAL) & 0xFFFF if crc & 0x8000 else crc << 1
        table.append(crc)
    return tuple(table)


_CRC_TABLE = _table()


def crc16(data: bytes | bytearray | memoryview) -> int:
    """CRC-16 of polynomial 0x8005, not reflected, start 0 (also known as CRC-16/UMTS)."""
    crc = 0
    for byte in data:
        crc = ((crc << 8) & 0xFFFF) ^ _CRC_TABLE[(crc >> 8) ^ byte]
    return crc


@dataclass(frozen=True)
class Packet:
    """A frame without its wrapping.

    Attributes:
        id: Of the servo, or :data:`BROADCAST_ID`.
        instruction: One of :class:`Instruction`, or a number that is none.
        error: The error byte of a status packet, 0 in others.
        parameters: What follows.
    """

    id: int
    instruction: int
    error: int
    parameters: bytes


def encode(packet: Packet) -> bytes:
    """The bytes of a packet on the wire."""
    body = bytes([packet.instruction])
    if packet.instruction == Instruction.STATUS:
        body += bytes([packet.error])
    # Nothing inside a frame may look like a header.
    body = (body + packet.parameters).replace(_STUFFED, _STUFFED + b"\xfd")
    frame = HEADER + bytes([packet.id]) + (len(body) + _CRC_BYTES).to_bytes(2, "little") + body
    return frame + crc16(frame).to_bytes(2, "little")


def _decode(frame: bytes) -> Packet | None:
    """The packet of a whole frame, or None if its checksum is wrong or it has no room for what it says it is."""
    if crc16(memoryview(frame)[:-_CRC_BYTES]) != int.from_bytes(frame[-_CRC_BYTES:], "little"):
        return None
    stuffed = frame[_BEFORE_PAYLOAD:-_CRC_BYTES]
    if _STUFFED in stuffed.replace(_STUFFED + b"\xfd", b"\x00"):
        # No sender lets a header stand inside a frame: the checksum fits by chance, and another frame begins there.
        return None
    body = stuffed.replace(_STUFFED + b"\xfd", _STUFFED)
    if body[0] != Instruction.STATUS:
        return Packet(frame[4], body[0], 0, body[1:])
    return Packet(frame[4], body[0], body[1], body[2:]) if len(body) > 1 else None


class Parser:
    """Finds packets in a stream of bytes, whatever else is in it.

    Args:
        largest_length: Of a frame's length field; a frame that says it is longer is taken for noise.
    """

    def __init__(self, largest_length: int = LARGEST_LENGTH) -> None:
        self._largest_length = largest_length
        self._buffer = bytearray()
        self.packets = 0
        self.corrupt = 0
        """Frames whose header was right and whose checksum or length was not."""
        self.skipped_bytes = 0
        """Bytes that belonged to no good frame."""

    def feed(self, data: bytes) -> list[Packet]:
        """Take in bytes; returns the packets that are complete."""
        self._buffer += data
        return self._scan(is_complete=False)

    def finish(self) -> list[Packet]:
        """Nothing more comes: a frame that is not complete is broken, and what follows its header may be packets."""
        return self._scan(is_complete=True)

    def clear(self) -> None:
        """Forget what has come and is no packet yet."""
        self._buffer.clear()

    def _scan(self, *, is_complete: bool) -> list[Packet]:
        """Take all packets out of the buffer."""
        packets: list[Packet] = []
        buffer = self._buffer
        while True:
            start = buffer.find(HEADER)
            if start < 0:
                # The last bytes may be the beginning of a header.
                kept = 0 if is_complete else _header_beginning(buffer)
                self._skip(len(buffer) - kept)
                return packets
            self._skip(start)
            size = self._frame_size(is_complete=is_complete)
            if size is None:
                return packets
            packet = _decode(bytes(buffer[:size])) if size else None
            if packet is None:
                # Only the header is given up: a good frame may begin within the broken one.
                self.corrupt += 1
                self._skip(len(HEADER))
                continue
            self.packets += 1
            packets.append(packet)
            del buffer[:size]

    def _frame_size(self, *, is_complete: bool) -> int | None:
        """Size of the frame at the buffer's start: 0 if it is none, None if it is not complete yet."""
        buffer = self._buffer
        if len(buffer) < _BEFORE_PAYLOAD:
            return 0 if is_complete else None
        length = int.from_bytes(buffer[5:7], "little")
        if not _SMALLEST_LENGTH <= length <= self._largest_length:
            return 0
        size = _BEFORE_PAYLOAD + length
        if len(buffer) < size:
            return 0 if is_complete else None
        return size

    def _skip(self, count: int) -> None:
        self.skipped_bytes += count
        del self._buffer[:count]


def _header_beginning(buffer: bytearray) -> int:
    """How many bytes at the end of the buffer are the beginning of a header."""
    for count in range(min(len(HEADER) - 1, len(buffer)), 0, -1):
        if buffer.endswith(HEADER[:count]):
            return count
    return 0
