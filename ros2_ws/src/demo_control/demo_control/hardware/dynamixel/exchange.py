"""Questions and answers on a Dynamixel bus, each within a deadline."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from demo_control.hardware.dynamixel.frame import (
    ALERT,
    BROADCAST_ID,
    Instruction,
    Packet,
    PacketError,
    Parser,
    encode,
)
from demo_control.hardware.dynamixel.table import REGISTERS, Register
from demo_control.hardware.serial_port import SerialPort

BITS_PER_BYTE = 10
"""On the wire: a start bit, eight bits, a stop bit."""
_LONGEST_ANSWER = 128
_ATTEMPTS, _ATTEMPT_S = 10, 0.05
"""For one register of one servo, which is only asked for before and after a robot moves. Half a second: while the nodes
of a robot start, its computer may leave an adapter's data where they are for as long."""


class NoAnswerError(RuntimeError):
    """A servo did not answer, or refused; the text says which and why."""


class Exchange:
    """Instructions and their answers over one port.

    Args:
        port: Opened.
    """

    def __init__(self, port: SerialPort) -> None:
        self._port = port
        self._parser = Parser(_LONGEST_ANSWER)
        self.counts: Counter[str] = Counter()
        self.alerts: set[int] = set()
        """Servos whose last answer said that their hardware error status is not 0."""

    def send(self, packet: Packet) -> None:
        """Send without expecting an answer; what came late from before is dropped first."""
        stale = self._port.drain()
        self.counts["late_bytes"] += len(stale)
        self._parser.clear()
        self._port.write(encode(packet))

    def ask(self, packet: Packet, answering: Collection[int], answer_bytes: int, limit_s: float) -> dict[int, Packet]:
        """Send an instruction and gather the answers.

        Args:
            packet: The instruction.
            answering: Ids that answer it.
            answer_bytes: Parameters of each answer; answers of another size are no answers.
            limit_s: Longest time to wait.

        Returns:
            Status packets by id, as far as they came; an answer with an error in it counts.
        """
        self.send(packet)
        deadline_s = time.monotonic() + limit_s
        answers: dict[int, Packet] = {}
        last = next(reversed(list(answering)), None)
        while len(answers) < len(answering):
            data = self._port.read(deadline_s)
            arrived = self._parser.feed(data) if data else self._parser.finish()
            self._sort(arrived, answering, answer_bytes, answers)
            # Servos answer in the order of their ids in the question: after the last one, nothing more comes.
            if not data or last in answers or time.monotonic() > deadline_s:
                break
        self._count(len(answering) - len(answers))
        return answers

    def _sort(
        self, packets: Iterable[Packet], answering: Collection[int], answer_bytes: int, answers: dict[int, Packet]
    ) -> None:
        """Take the packets that answer the question, each once."""
        for packet in packets:
            is_refused = bool(packet.error & ~ALERT)
            fits = len(packet.parameters) == answer_bytes or is_refused
            if packet.instruction != Instruction.STATUS or packet.id not in answering or not fits:
                self.counts["unexpected"] += 1
            elif packet.id in answers:
                self.counts["repeated"] += 1
            else:
                answers[packet.id] = packet
                (self.alerts.add if packet.error & ALERT else self.alerts.discard)(packet.id)

    def _count(self, missing: int) -> None:
        self.counts["missing"] += missing
        self.counts["corrupt"] = self._parser.corrupt
        self.counts["answers"] = self._parser.packets

    def ping(self, ids: Collection[int] | None = None, limit_s: float = 0.05) -> dict[int, tuple[int, int]]:
        """Who is there; model number and firmware version by id.

        Args:
            ids: Whom to ask, one after the other; None asks everybody at once and waits for 3 ms for each possible id.
            limit_s: Longest time to wait for each.
        """
        found: dict[int, Packet] = {}
        if ids is None:
            self.send(Packet(BROADCAST_ID, Instruction.PING, 0, b""))
            found = self._gather(253 * 0.003)
        else:
            for one in ids:
                found |= self.ask(Packet(one, Instruction.PING, 0, b""), (one,), 3, limit_s)
        return {one: (int.from_bytes(p.parameters[:2], "little"), p.parameters[2]) for one, p in sorted(found.items())}

    def _gather(self, limit_s: float) -> dict[int, Packet]:
        """Answers to a broadcast ping."""
        deadline_s = time.monotonic() + limit_s
        answers = {}
        while data := self._port.read(deadline_s):
            for packet in self._parser.feed(data):
                if packet.instruction == Instruction.STATUS and len(packet.parameters) == 3:  # noqa: PLR2004 - ping's
                    answers[packet.id] = packet
        return answers

    def read(self, servo: int, name: str) -> int:
        """Read a register.

        Raises:
            NoAnswerError: No answer, or a refusal.
        """
        register = REGISTERS[name]
        parameters = _words(register.address, register.size)
        answer = self._insist(Packet(servo, Instruction.READ, 0, parameters), register.size, name)
        return register.decode(answer.parameters)

    def write(self, servo: int, name: str, value: int) -> None:
        """Write a register.

        Raises:
            NoAnswerError: No answer, or a refusal.
        """
        register = REGISTERS[name]
        parameters = _words(register.address) + register.encode(value)
        self._insist(Packet(servo, Instruction.WRITE, 0, parameters), 0, f"{name} = {value}")

    def reboot(self, servo: int) -> None:
        """Restart a servo, which clears its hardware error.

        Raises:
            NoAnswerError: No answer, or a refusal.
        """
        self._insist(Packet(servo, Instruction.REBOOT, 0, b""), 0, "reboot")

    def _insist(self, packet: Packet, answer_bytes: int, what: str) -> Packet:
        """Ask until there is an answer."""
        for _ in range(_ATTEMPTS):
            answer = self.ask(packet, (packet.id,), answer_bytes, _ATTEMPT_S).get(packet.id)
            if answer is None:
                continue
            error = answer.error & ~ALERT
            if error:
                name = PacketError(error).name.lower().replace("_", " ") if error in set(PacketError) else str(error)
                raise NoAnswerError(f"servo {packet.id} refuses {what}: {name} error")
            return answer
        raise NoAnswerError(f"servo {packet.id} does not answer ({what})")


def sync_read(ids: Sequence[int], address: int, size: int) -> Packet:
    """The instruction that asks several servos for the same bytes."""
    return Packet(BROADCAST_ID, Instruction.SYNC_READ, 0, _words(address, size) + bytes(ids))


def sync_write(register: Register, values: Iterable[tuple[int, int]]) -> Packet:
    """The instruction that writes one register of several servos; values by id."""
    parameters = b"".join(bytes([servo]) + register.encode(value) for servo, value in values)
    return Packet(BROADCAST_ID, Instruction.SYNC_WRITE, 0, _words(register.address, register.size) + parameters)


def _words(*values: int) -> bytes:
    return b"".join(value.to_bytes(2, "little") for value in values)
