"""The control table of the X series, as far as it is used here, and the models' numbers.

Source: ROBOTIS e-Manual, pages "XM430-W210", "XM430-W350", "XM540-W150" and "XM540-W270"
(https://emanual.robotis.com/docs/en/dxl/x/xm540-w150/): the four share their addresses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum


class Access(IntEnum):
    """Who may write a register when."""

    READ_ONLY = 0
    EEPROM = 1
    """Only with the torque off; survives a reboot."""
    RAM = 2


@dataclass(frozen=True)
class Register:
    """An entry of the control table.

    Attributes:
        name: As in the e-Manual, in lower case.
        address: Of its first byte.
        size: In bytes; little endian.
        access: Who may write it when.
        initial: Its value as delivered.
        minimum: Smallest value that is accepted; negative makes it a signed one.
        maximum: Largest.
    """

    name: str
    address: int
    size: int
    access: Access
    initial: int = 0
    minimum: int = 0
    maximum: int = 2**32 - 1

    @property
    def is_signed(self) -> bool:
        """Whether it is in two's complement."""
        return self.minimum < 0

    def decode(self, data: bytes) -> int:
        """The value in its bytes."""
        return int.from_bytes(data[: self.size], "little", signed=self.is_signed)

    def encode(self, value: int) -> bytes:
        """The bytes of a value; the bits that fit, as the servo keeps them."""
        return (value & ((1 << 8 * self.size) - 1)).to_bytes(self.size, "little")


_READ, _EEPROM, _RAM = Access.READ_ONLY, Access.EEPROM, Access.RAM
_INT16, _INT32 = 2**15, 2**31

REGISTERS = {
    register.name: register
    for register in (
        Register("model_number", 0, 2, _READ),
        Register("firmware_version", 6, 1, _READ, 48),
        Register("id", 7, 1, _EEPROM, 1, 0, 252),
        Register("baud_rate", 8, 1, _EEPROM, 1, 0, 7),
        Register("return_delay_time", 9, 1, _EEPROM, 250, 0, 254),
        Register("drive_mode", 10, 1, _EEPROM, 0, 0, 13),
        Register("operating_mode", 11, 1, _EEPROM, 3, 0, 16),
        Register("homing_offset", 20, 4, _EEPROM, 0, -1044479, 1044479),
        Register("temperature_limit", 31, 1, _EEPROM, 80, 0, 100),
        Register("max_voltage_limit", 32, 2, _EEPROM, 160, 95, 160),
        Register("min_voltage_limit", 34, 2, _EEPROM, 95, 95, 160),
        Register("pwm_limit", 36, 2, _EEPROM, 885, 0, 885),
        Register("current_limit", 38, 2, _EEPROM, 1193, 0, 2047),
        Register("velocity_limit", 44, 4, _EEPROM, 230, 0, 1023),
        Register("max_position_limit", 48, 4, _EEPROM, 4095, 0, 4095),
        Register("min_position_limit", 52, 4, _EEPROM, 0, 0, 4095),
        Register("shutdown", 63, 1, _EEPROM, 52, 0, 255),
        Register("torque_enable", 64, 1, _RAM, 0, 0, 1),
        Register("led", 65, 1, _RAM, 0, 0, 1),
        Register("status_return_level", 68, 1, _RAM, 2, 0, 2),
        Register("hardware_error_status", 70, 1, _READ),
        Register("position_d_gain", 80, 2, _RAM, 0, 0, 16383),
        Register("position_i_gain", 82, 2, _RAM, 0, 0, 16383),
        Register("position_p_gain", 84, 2, _RAM, 800, 0, 16383),
        Register("bus_watchdog", 98, 1, _RAM, 0, -1, 127),
        Register("goal_pwm", 100, 2, _RAM, 885, -_INT16, _INT16 - 1),
        Register("goal_current", 102, 2, _RAM, 0, -_INT16, _INT16 - 1),
        Register("goal_velocity", 104, 4, _RAM, 0, -_INT32, _INT32 - 1),
        Register("profile_acceleration", 108, 4, _RAM, 0, 0, 32767),
        Register("profile_velocity", 112, 4, _RAM, 0, 0, 32767),
        Register("goal_position", 116, 4, _RAM, 0, -_INT32, _INT32 - 1),
        Register("realtime_tick", 120, 2, _READ),
        Register("moving", 122, 1, _READ),
        Register("present_pwm", 124, 2, _READ, 0, -_INT16, _INT16 - 1),
        Register("present_current", 126, 2, _READ, 0, -_INT16, _INT16 - 1),
        Register("present_velocity", 128, 4, _READ, 0, -_INT32, _INT32 - 1),
        Register("present_position", 132, 4, _READ, 0, -_INT32, _INT32 - 1),
        Register("present_input_voltage", 144, 2, _READ),
        Register("present_temperature", 146, 1, _READ),
    )
}

TABLE_SIZE = 147
GOALS = ("goal_pwm", "goal_current", "goal_velocity", "goal_position")


class OperatingMode(IntEnum):
    """What a servo controls."""

    CURRENT = 0
    VELOCITY = 1
    POSITION = 3
    EXTENDED_POSITION = 4
    CURRENT_BASED_POSITION = 5
    PWM = 16


HARDWARE_ERRORS = {
    0x01: "input voltage out of range",
    0x04: "overheating",
    0x08: "encoder fault",
    0x10: "electrical shock",
    0x20: "overload",
}
"""Bits of the hardware error status."""


def hardware_error_text(status: int) -> str:
    """A hardware error status in words."""
    return ", ".join(text for bit, text in HARDWARE_ERRORS.items() if status & bit) or f"status {status:#04x}"


BAUD_RATES = (9600, 57_600, 115_200, 1_000_000, 2_000_000, 3_000_000, 4_000_000, 4_500_000)
"""By the value of the register baud_rate."""

UNITS_PER_TURN = 4096
CENTRE_UNITS = 2048
"""Position in the middle of a turn; this is where a motor's angle is 0 here."""
POSITION_UNIT_RAD = 2.0 * math.pi / UNITS_PER_TURN
VELOCITY_UNIT_RAD_S = 0.229 * 2.0 * math.pi / 60.0
CURRENT_UNIT_A = 0.00269
VOLTAGE_UNIT_V = 0.1
WATCHDOG_UNIT_S = 0.02
RETURN_DELAY_UNIT_S = 2e-6


@dataclass(frozen=True)
class Model:
    """A servo model.

    Attributes:
        name: As in the wiring.
        number: In the register model_number.
        torque_constant_nm_a: Stall torque by stall current at 12 V.
        stall_torque_nm: At 12 V.
        current_limit_units: Largest and initial current limit.
    """

    name: str
    number: int
    torque_constant_nm_a: float
    stall_torque_nm: float
    current_limit_units: int


MODELS = {
    model.name: model
    for model in (
        Model("xm430-w210", 1030, 3.0 / 2.3, 3.0, 1193),
        Model("xm430-w350", 1020, 4.1 / 2.3, 4.1, 1193),
        Model("xm540-w150", 1130, 7.3 / 4.4, 7.3, 2047),
        Model("xm540-w270", 1120, 10.6 / 4.4, 10.6, 2047),
    )
}


def model_of(number: int) -> str:
    """Name of a model by its number, or the number itself."""
    return next((model.name for model in MODELS.values() if model.number == number), f"model number {number}")
