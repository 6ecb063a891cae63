"""Several emulated servos on one bus: bytes in, answers out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from demo_control.hardware.dynamixel.frame import (
    BROADCAST_ID,
    HEADER,
    Instruction,
    Packet,
    PacketError,
    Parser,
    crc16,
    encode,
)
from demo_control.hardware.dynamixel.servo import EmulatedServo
from demo_control.hardware.dynamixel.table import RETURN_DELAY_UNIT_S

_WORDS = 4  # address and length
_SILENCE_S = 0.001


class EmulatedServos:
    """The servos of one bus.

    Args:
        servos: With different ids.
    """

    def __init__(self, servos: Sequence[EmulatedServo]) -> None:
        self.servos = tuple(servos)
        self._parser = Parser()
        self._heard_s = -math.inf

    @property
    def corrupt(self) -> int:
        """Instruction frames that were broken."""
        return self._parser.corrupt

    def receive(self, data: bytes, now_s: float) -> list[tuple[float, bytes]]:
        """Take in bytes.

        Returns:
            Status frames in the order of sending, with the servos' return delay in s.
        """
        if now_s - self._heard_s > _SILENCE_S:
            # A frame that was begun before is not going on: otherwise one broken length would deafen all servos.
            self._parser.finish()
        self._heard_s = now_s
        return [answer for packet in self._parser.feed(data) for answer in self._answers(packet, now_s)]

    def watch(self, now_s: float) -> None:
        """Let the servos' watchdogs look at the time."""
        for servo in self.servos:
            servo.watch(now_s)

    def _answers(self, packet: Packet, now_s: float) -> list[tuple[float, bytes]]:
        if packet.instruction == Instruction.STATUS:
            return []
        by_id = {servo.id: servo for servo in self.servos if servo.hear(now_s)}
        if packet.id != BROADCAST_ID:
            servo = by_id.get(packet.id)
            return [] if servo is None else _frames(servo, servo.do(packet, now_s))
        if packet.instruction == Instruction.FAST_SYNC_READ:
            return self._fast_sync_read(packet.parameters, by_id)
        questions = _questions(packet)
        if questions is not None:
            return [
                frame
                for servo_id, address, size in questions
                if (servo := by_id.get(servo_id)) is not None
                for frame in _frames(servo, _read(servo, address, size))
            ]
        for servo_id, address, data in _goals(packet):
            if servo_id in by_id:
                by_id[servo_id].write(address, data)
        return self._to_all(packet, by_id, now_s)

    def _to_all(self, packet: Packet, by_id: dict[int, EmulatedServo], now_s: float) -> list[tuple[float, bytes]]:
        """What everybody shall do; only a ping is answered."""
        everybody = (Instruction.PING, Instruction.WRITE, Instruction.REG_WRITE, Instruction.ACTION, Instruction.REBOOT)
        if packet.instruction not in everybody:
            return []
        answers = [(servo, servo.do(packet, now_s)) for servo in by_id.values()]
        if packet.instruction != Instruction.PING:
            return []
        return [frame for servo, answer in answers for frame in _frames(servo, answer)]

    def _fast_sync_read(self, parameters: bytes, by_id: dict[int, EmulatedServo]) -> list[tuple[float, bytes]]:
        """One frame in which all servos follow one another, each with the checksum of all before it."""
        if len(parameters) <= _WORDS:
            return []
        address, size = _address_and_size(parameters)
        blocks = []
        for servo_id in parameters[_WORDS:]:
            data = by_id[servo_id].bytes_at(address, size) if servo_id in by_id else None
            if data is None:
                return []  # one that is missing breaks the frame
            blocks.append(bytes([by_id[servo_id].status(0, b"").error, servo_id]) + data)
        length = 1 + sum(len(block) + 2 for block in blocks)
        frame = HEADER + bytes([BROADCAST_ID]) + length.to_bytes(2, "little") + bytes([Instruction.STATUS])
        for block in blocks:
            frame += block
            frame += crc16(frame).to_bytes(2, "little")
        return [(0.0, frame)]


def _frames(servo: EmulatedServo, answer: Packet | None) -> list[tuple[float, bytes]]:
    """An answer as bytes."""
    return [] if answer is None else [(servo.get("return_delay_time") * RETURN_DELAY_UNIT_S, encode(answer))]


def _read(servo: EmulatedServo, address: int, size: int) -> Packet:
    data = servo.bytes_at(address, size)
    return servo.status(PacketError.ACCESS, b"") if data is None else servo.status(0, data)


def _address_and_size(parameters: bytes) -> tuple[int, int]:
    return int.from_bytes(parameters[:2], "little"), int.from_bytes(parameters[2:4], "little")


def _questions(packet: Packet) -> list[tuple[int, int, int]] | None:
    """(id, address, size) of a sync or bulk read; None for other instructions."""
    parameters = packet.parameters
    if packet.instruction == Instruction.SYNC_READ:
        address, size = _address_and_size(parameters) if len(parameters) >= _WORDS else (0, 0)
        return [(servo_id, address, size) for servo_id in parameters[_WORDS:]]
    if packet.instruction == Instruction.BULK_READ:
        step = 1 + _WORDS
        whole = [parameters[i : i + step] for i in range(0, len(parameters) - step + 1, step)]
        return [(one[0], *_address_and_size(one[1:])) for one in whole]
    return None


def _goals(packet: Packet) -> list[tuple[int, int, bytes]]:
    """(id, address, data) of a sync or bulk write."""
    parameters = packet.parameters
    goals = []
    if packet.instruction == Instruction.SYNC_WRITE and len(parameters) >= _WORDS:
        address, size = _address_and_size(parameters)
        for start in range(_WORDS, len(parameters) - size, size + 1):
            goals.append((parameters[start], address, parameters[start + 1 : start + 1 + size]))
    elif packet.instruction == Instruction.BULK_WRITE:
        while len(parameters) > 1 + _WORDS:
            address, size = _address_and_size(parameters[1:])
            data = parameters[1 + _WORDS : 1 + _WORDS + size]
            if len(data) < size:
                break
            goals.append((parameters[0], address, data))
            parameters = parameters[1 + _WORDS + size :]
    return goals
