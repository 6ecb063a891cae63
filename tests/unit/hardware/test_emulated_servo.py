"""An emulated servo: what it takes, what it refuses, and when it stops by itself."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo_control.hardware.dynamixel.emulated import EmulatedServos
from demo_control.hardware.dynamixel.exchange import sync_read, sync_write
from demo_control.hardware.dynamixel.frame import (
    ALERT,
    BROADCAST_ID,
    Instruction,
    Packet,
    PacketError,
    Parser,
    encode,
)
from demo_control.hardware.dynamixel.servo import EmulatedServo
from demo_control.hardware.dynamixel.table import MODELS, REGISTERS, OperatingMode

MODEL = MODELS["xm540-w150"]


def servo(**values: int) -> EmulatedServo:
    one = EmulatedServo(5, MODEL)
    for name, value in values.items():
        one.set(name, value)
    return one


def write(one: EmulatedServo, name: str, value: int, now_s: float = 0.0) -> int:
    register = REGISTERS[name]
    one.hear(now_s)
    answer = one.do(
        Packet(5, Instruction.WRITE, 0, register.address.to_bytes(2, "little") + register.encode(value)), now_s
    )
    assert answer is not None
    return answer.error


def ask(bus: EmulatedServos, packet: Packet, now_s: float = 0.0) -> list[Packet]:
    return Parser().feed(b"".join(frame for _, frame in bus.receive(encode(packet), now_s)))


@pytest.mark.parametrize(
    ("state", "name", "value", "error"),
    [
        ({}, "present_position", 1, PacketError.ACCESS),
        ({"torque_enable": 1}, "operating_mode", 5, PacketError.ACCESS),
        ({}, "operating_mode", 99, PacketError.DATA_RANGE),
        ({}, "bus_watchdog", -1, PacketError.DATA_RANGE),
        ({"operating_mode": 5, "current_limit": 100}, "goal_current", 101, PacketError.DATA_LIMIT),
        ({"operating_mode": 3}, "goal_position", 4096, PacketError.DATA_LIMIT),
        ({"operating_mode": 5}, "goal_position", 4096, PacketError.NONE),
        ({"bus_watchdog": -1}, "goal_position", 0, PacketError.ACCESS),
        ({"hardware_error_status": 32}, "torque_enable", 1, PacketError.ACCESS | ALERT),
    ],
)
def test_what_it_refuses(state: dict[str, int], name: str, value: int, error: int) -> None:
    one = servo(**state)
    before = one.get(name)
    assert write(one, name, value) == error
    assert one.get(name) == (value if not error else before)


def test_switching_on_moves_nothing() -> None:
    one = servo(operating_mode=5, present_position=1000, goal_position=4000)
    assert write(one, "torque_enable", 1) == 0
    assert one.drive.kind == "position"
    assert one.get("goal_position") == 1000


@pytest.mark.parametrize(("mode", "kind"), [(OperatingMode.CURRENT, "effort"), (5, "position")])
def test_the_watchdog_stops_it_and_locks_its_goals(mode: int, kind: str) -> None:
    one = servo(operating_mode=mode, present_position=2100)
    write(one, "torque_enable", 1)
    write(one, "bus_watchdog", 5)
    write(one, "goal_current", 300)
    one.watch(0.0999)
    assert one.get("bus_watchdog") == 5
    one.watch(0.1001)
    assert one.get("bus_watchdog") == -1
    drive = one.drive
    assert drive.kind == kind
    held = 0.0 if kind == "effort" else (2100 - 2048) * 2.0 * math.pi / 4096
    assert drive.target == pytest.approx(held)
    assert write(one, "goal_current", 1, 0.2) == PacketError.ACCESS
    assert write(one, "bus_watchdog", 0, 0.2) == 0
    assert write(one, "goal_current", 1, 0.2) == 0


def test_a_talking_host_keeps_the_watchdog_quiet() -> None:
    one = servo(operating_mode=5)
    write(one, "torque_enable", 1)
    write(one, "bus_watchdog", 1)
    for tick in range(100):
        one.hear(0.015 * tick)
        one.watch(0.015 * tick + 0.01)
    assert one.get("bus_watchdog") == 1


def test_a_fault_switches_it_off_until_it_restarts() -> None:
    one = servo(operating_mode=5)
    write(one, "torque_enable", 1)
    one.fail(0x20)
    assert one.drive.kind == "off"
    assert write(one, "led", 1) == ALERT
    one.do(Packet(5, Instruction.REBOOT, 0, b""), 1.0)
    assert not one.hear(1.1)
    assert one.hear(1.4)
    assert write(one, "torque_enable", 1, 1.4) == 0


def test_torque_is_current_by_the_models_constant() -> None:
    one = servo(operating_mode=OperatingMode.CURRENT)
    write(one, "torque_enable", 1)
    write(one, "goal_current", 1000)
    assert one.drive.target == pytest.approx(1000 * 0.00269 * 7.3 / 4.4)


def test_several_answer_in_the_order_they_are_asked() -> None:
    bus = EmulatedServos([EmulatedServo(n, MODEL) for n in (1, 2, 3)])
    answers = ask(bus, sync_read([3, 1, 9, 2], 132, 4))
    assert [answer.id for answer in answers] == [3, 1, 2]
    assert [answer.id for answer in ask(bus, Packet(BROADCAST_ID, Instruction.PING, 0, b""))] == [1, 2, 3]
    bus.receive(encode(sync_write(REGISTERS["led"], [(1, 1), (3, 1)])), 0.0)
    assert [one.get("led") for one in bus.servos] == [1, 0, 1]


def test_a_broken_length_does_not_deafen_the_bus() -> None:
    bus = EmulatedServos([EmulatedServo(1, MODEL)])
    frame = bytearray(encode(Packet(1, Instruction.PING, 0, b"")))
    frame[5:7] = (900).to_bytes(2, "little")
    assert bus.receive(bytes(frame), 0.0) == []
    assert len(ask(bus, Packet(1, Instruction.PING, 0, b""), 0.005)) == 1


def test_an_unknown_instruction_is_refused_and_a_quiet_servo_is_quiet() -> None:
    bus = EmulatedServos([EmulatedServo(1, MODEL)])
    assert ask(bus, Packet(1, 0x77, 0, b""))[0].error == PacketError.INSTRUCTION
    bus.servos[0].set("status_return_level", 0)
    assert ask(bus, Packet(1, Instruction.READ, 0, b"\x00\x00\x02\x00")) == []
    assert len(ask(bus, Packet(1, Instruction.PING, 0, b""))) == 1


@given(st.integers(0, 255), st.sampled_from([1, BROADCAST_ID]), st.binary(max_size=40))
def test_no_instruction_breaks_it(instruction: int, identifier: int, parameters: bytes) -> None:
    bus = EmulatedServos([EmulatedServo(1, MODEL)])
    bus.receive(encode(Packet(identifier, instruction, 0, parameters)), 0.0)
    position = bus.servos[0].get("present_position")
    assert position == 0
