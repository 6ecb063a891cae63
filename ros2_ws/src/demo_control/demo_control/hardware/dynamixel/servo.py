"""An emulated Dynamixel servo: its control table, what it answers, its watchdog. Knows neither ports nor physics.

Source: as for :mod:`~demo_control.hardware.dynamixel.table`. What the servo does when its watchdog trips is told there
as "will stop": here it stays where it is in the position modes, and gives no torque in current mode.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from demo_control.hardware.dynamixel.frame import ALERT, Instruction, Packet, PacketError
from demo_control.hardware.dynamixel.table import (
    CENTRE_UNITS,
    CURRENT_UNIT_A,
    GOALS,
    POSITION_UNIT_RAD,
    REGISTERS,
    TABLE_SIZE,
    VELOCITY_UNIT_RAD_S,
    WATCHDOG_UNIT_S,
    Access,
    Model,
    OperatingMode,
    Register,
)

_POSITION_MODES = (
    OperatingMode.POSITION,
    OperatingMode.EXTENDED_POSITION,
    OperatingMode.CURRENT_BASED_POSITION,
)
_BY_ADDRESS = {register.address: register for register in REGISTERS.values()}
_REBOOT_S = 0.3
_ROOM_TEMPERATURE_C = 31
_SUPPLY_UNITS = 120


@dataclass(frozen=True)
class ServoDrive:
    """What a servo's motor does: 'off', 'effort' (torque in N m) or 'position' (angle in rad)."""

    kind: str
    target: float
    torque_limit_nm: float


class EmulatedServo:
    """One servo.

    Args:
        servo_id: Its id.
        model: Its model.
    """

    def __init__(self, servo_id: int, model: Model) -> None:
        self.model = model
        self._memory = bytearray(TABLE_SIZE)
        for register in REGISTERS.values():
            self.set(register.name, register.initial)
        self.set("model_number", model.number)
        self.set("id", servo_id)
        self.set("current_limit", model.current_limit_units)
        self.set("present_input_voltage", _SUPPLY_UNITS)
        self.set("present_temperature", _ROOM_TEMPERATURE_C)
        self._registered: tuple[int, bytes] | None = None
        self._heard_s = -math.inf
        self._silent_until_s = -math.inf

    @property
    def id(self) -> int:
        """Its id."""
        return self.get("id")

    def get(self, name: str) -> int:
        """A register's value."""
        register = REGISTERS[name]
        return register.decode(bytes(self._memory[register.address : register.address + register.size]))

    def set(self, name: str, value: int) -> None:
        """Change a register from inside."""
        register = REGISTERS[name]
        self._memory[register.address : register.address + register.size] = register.encode(value)

    @property
    def drive(self) -> ServoDrive:
        """What the motor does now."""
        constant = self.model.torque_constant_nm_a * CURRENT_UNIT_A
        if not self.get("torque_enable") or self.get("hardware_error_status"):
            return ServoDrive("off", 0.0, 0.0)
        mode = self.get("operating_mode")
        if mode == OperatingMode.CURRENT:
            return ServoDrive("effort", self.get("goal_current") * constant, self.get("current_limit") * constant)
        if mode not in _POSITION_MODES:
            return ServoDrive("off", 0.0, 0.0)
        limit = self.get("goal_current") if mode == OperatingMode.CURRENT_BASED_POSITION else self.get("current_limit")
        angle = (self.get("goal_position") - CENTRE_UNITS) * POSITION_UNIT_RAD
        return ServoDrive("position", angle, limit * constant)

    def measure(self, angle_rad: float, velocity_rad_s: float, torque_nm: float) -> None:
        """Take over where the shaft is."""
        current = round(torque_nm / (self.model.torque_constant_nm_a * CURRENT_UNIT_A))
        self.set("present_current", current)
        self.set("present_velocity", round(velocity_rad_s / VELOCITY_UNIT_RAD_S))
        self.set("present_position", round(angle_rad / POSITION_UNIT_RAD) + CENTRE_UNITS)

    def watch(self, now_s: float) -> None:
        """Let the bus watchdog look at the time."""
        limit = self.get("bus_watchdog")
        if limit > 0 and self.get("torque_enable") and now_s - self._heard_s > limit * WATCHDOG_UNIT_S:
            self.set("bus_watchdog", -1)
            self.set(
                "goal_current", 0 if self.get("operating_mode") == OperatingMode.CURRENT else self.get("goal_current")
            )
            self.set("goal_position", self.get("present_position"))

    def fail(self, status: int) -> None:
        """A hardware error occurs; what the register shutdown names switches the torque off."""
        self.set("hardware_error_status", self.get("hardware_error_status") | status)
        if status & self.get("shutdown"):
            self.set("torque_enable", 0)

    def hear(self, now_s: float) -> bool:
        """An instruction packet, to whomever, is on the bus; returns whether this servo listens (it may restart)."""
        if now_s < self._silent_until_s:
            return False
        self.watch(now_s)
        self._heard_s = now_s
        return True

    def do(self, packet: Packet, now_s: float) -> Packet | None:
        """Carry out an instruction that is meant for this servo alone; the answer, if its settings allow one."""
        handler = {
            Instruction.PING: self._ping,
            Instruction.READ: self._read,
            Instruction.WRITE: self._write,
            Instruction.REG_WRITE: self._reg_write,
            Instruction.ACTION: self._action,
            Instruction.REBOOT: self._reboot,
        }.get(Instruction(packet.instruction) if packet.instruction in set(Instruction) else Instruction.STATUS)
        unknown = (int(PacketError.INSTRUCTION), b"")
        error, parameters = unknown if handler is None else handler(packet.parameters)
        if packet.instruction == Instruction.REBOOT:
            self._silent_until_s = now_s + _REBOOT_S
        level = self.get("status_return_level")
        wanted = 0 if packet.instruction == Instruction.PING else 1 if packet.instruction == Instruction.READ else 2
        return self.status(error, parameters) if level >= wanted else None

    def status(self, error: int, parameters: bytes) -> Packet:
        """A status packet of this servo."""
        alert = ALERT if self.get("hardware_error_status") else 0
        return Packet(self.id, Instruction.STATUS, error | alert, parameters)

    def bytes_at(self, address: int, size: int) -> bytes | None:
        """What stands in the table, or None outside of it."""
        return bytes(self._memory[address : address + size]) if size and address + size <= TABLE_SIZE else None

    def _ping(self, _parameters: bytes) -> tuple[int, bytes]:
        return 0, REGISTERS["model_number"].encode(self.get("model_number")) + bytes([self.get("firmware_version")])

    def _read(self, parameters: bytes) -> tuple[int, bytes]:
        if len(parameters) != 4:  # noqa: PLR2004 - address and length
            return PacketError.DATA_LENGTH, b""
        data = self.bytes_at(int.from_bytes(parameters[:2], "little"), int.from_bytes(parameters[2:], "little"))
        return (PacketError.ACCESS, b"") if data is None else (0, data)

    def _write(self, parameters: bytes) -> tuple[int, bytes]:
        if len(parameters) < 3:  # noqa: PLR2004 - address and something to write
            return PacketError.DATA_LENGTH, b""
        return self.write(int.from_bytes(parameters[:2], "little"), parameters[2:]), b""

    def _reg_write(self, parameters: bytes) -> tuple[int, bytes]:
        if len(parameters) < 3:  # noqa: PLR2004 - see above
            return PacketError.DATA_LENGTH, b""
        self._registered = int.from_bytes(parameters[:2], "little"), parameters[2:]
        return 0, b""

    def _action(self, _parameters: bytes) -> tuple[int, bytes]:
        if self._registered is None:
            return PacketError.RESULT_FAIL, b""
        error = self.write(*self._registered)
        self._registered = None
        return error, b""

    def _reboot(self, _parameters: bytes) -> tuple[int, bytes]:
        """Forget what is not kept without power, faults among it."""
        for register in REGISTERS.values():
            if register.access is Access.RAM:
                self.set(register.name, register.initial)
        self.set("hardware_error_status", 0)
        return 0, b""

    def write(self, address: int, data: bytes) -> int:
        """Write whole registers that lie one after another.

        Returns:
            A :class:`PacketError`; nothing is written unless all of it can be.
        """
        changes = []
        place = address
        while place < address + len(data):
            register = _BY_ADDRESS.get(place)
            if register is None:
                # Gaps of the table that are not emulated take anything; beyond it is nothing.
                if place >= TABLE_SIZE:
                    return PacketError.ACCESS
                place += 1
                continue
            chunk = data[place - address : place - address + register.size]
            if len(chunk) < register.size:
                return PacketError.DATA_LENGTH
            error = self._refusal(register, register.decode(chunk))
            if error:
                return error
            changes.append((register, register.decode(chunk)))
            place += register.size
        for register, value in changes:
            self._change(register, value)
        return PacketError.NONE

    def _refusal(self, register: Register, value: int) -> int:
        """Why a register cannot be written with a value, or 0."""
        locked = (
            register.access is Access.READ_ONLY,
            register.access is Access.EEPROM and self.get("torque_enable"),
            register.name in GOALS and self.get("bus_watchdog") < 0,
            register.name == "torque_enable" and value and self.get("hardware_error_status"),
        )
        if any(locked):
            return PacketError.ACCESS
        # -1 is what the watchdog says, not what it is told.
        if not register.minimum <= value <= register.maximum or (register.name == "bus_watchdog" and value < 0):
            return PacketError.DATA_RANGE
        if register.name == "goal_current" and abs(value) > self.get("current_limit"):
            return PacketError.DATA_LIMIT
        outside = not self.get("min_position_limit") <= value <= self.get("max_position_limit")
        if register.name == "goal_position" and self.get("operating_mode") == OperatingMode.POSITION and outside:
            return PacketError.DATA_LIMIT
        return PacketError.NONE

    def _change(self, register: Register, value: int) -> None:
        """Write a register, with what follows from it."""
        if register.name == "torque_enable" and value and not self.get("torque_enable"):
            self.set("goal_position", self.get("present_position"))
        self.set(register.name, value)
        if register.name == "operating_mode":
            self.set("goal_current", 0 if value == OperatingMode.CURRENT else self.get("current_limit"))
