"""Joints on a bus of Dynamixel servos.

Each control period costs one sync read of current, velocity and position and one sync write of the goals. The servos'
own watchdog is armed while they are on: if this program falls silent, they stop by themselves.
"""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from demo_control.configuration import ConfigurationError, Settings, setting
from demo_control.hardware.bus import BusDescription, BusError, JointDescription, Reading
from demo_control.hardware.dynamixel.exchange import (
    BITS_PER_BYTE,
    Exchange,
    NoAnswerError,
    sync_read,
    sync_write,
)
from demo_control.hardware.dynamixel.frame import LARGEST_ID, Instruction, Packet, encode
from demo_control.hardware.dynamixel.table import (
    BAUD_RATES,
    CENTRE_UNITS,
    CURRENT_UNIT_A,
    MODELS,
    POSITION_UNIT_RAD,
    REGISTERS,
    VELOCITY_UNIT_RAD_S,
    VOLTAGE_UNIT_V,
    WATCHDOG_UNIT_S,
    Model,
    OperatingMode,
    hardware_error_text,
    model_of,
)
from demo_control.hardware.serial_port import SerialPort
from demo_control.hardware.wiring import BusKind, BusWiring, JointWiring
from demo_control.tasks import Array

_MODES = {
    "current_based_position": OperatingMode.CURRENT_BASED_POSITION,
    "current": OperatingMode.CURRENT,
    "sensor": OperatingMode.CURRENT,
}
_COMMANDS = {"current_based_position": "position", "current": "effort", "sensor": "none"}
_FIRST = REGISTERS["present_current"]
_ATTEMPTS = 5
# Of the time for the answers in a period; the rest is for asking again.
_FIRST_SHARE = 0.6
_STATE = struct.Struct("<hii")  # present current, velocity, position: neighbours in the table
_HEALTH_FIRST, _HEALTH_LAST = REGISTERS["torque_enable"], REGISTERS["present_temperature"]
_HEALTH_BYTES = _HEALTH_LAST.address + _HEALTH_LAST.size - _HEALTH_FIRST.address


@dataclass(frozen=True)
class DynamixelSettings(Settings):
    """How a bus of servos is driven."""

    port: str = setting("/dev/ttyUSB0", "Serial port")
    baud_rate: int = setting(1_000_000, "Bits per second; one of the servos' own", minimum=9600, maximum=4_500_000)
    mode: str = setting("current_based_position", "What the servos control", choices=_MODES)
    watchdog_ms: int = setting(
        100, "Silence after which the servos stop by themselves, in steps of 20; 0 never", minimum=0, maximum=2540
    )
    read_limit_ms: float = setting(
        2.5, "Longest time for the servos' answers in a control period, repeated questions included", minimum=0.2,
        maximum=100.0,
    )  # fmt: skip
    health_every_ticks: int = setting(
        20, "Readings between two looks at one servo's voltage, temperature and faults", minimum=1, maximum=10000
    )
    minimum_voltage_v: float = setting(10.0, "Less is a fault", minimum=3.0, maximum=30.0)
    maximum_temperature_c: float = setting(75.0, "More is a fault", minimum=30.0, maximum=100.0)

    def __post_init__(self) -> None:
        """Check what the servos have no number for."""
        super().__post_init__()
        if self.baud_rate not in BAUD_RATES:
            allowed = ", ".join(map(str, BAUD_RATES))
            raise ConfigurationError(f"DynamixelSettings.baud_rate = {self.baud_rate}: must be one of {allowed}")
        if self.watchdog_ms % round(1e3 * WATCHDOG_UNIT_S):
            raise ConfigurationError(f"DynamixelSettings.watchdog_ms = {self.watchdog_ms}: must be a multiple of 20")


class DynamixelBus:
    """Joints on a bus of Dynamixel servos; see :class:`~demo_control.hardware.bus.Bus`.

    Args:
        wiring: Of the bus.
    """

    def __init__(self, wiring: BusWiring) -> None:
        assert isinstance(wiring.settings, DynamixelSettings)
        self._settings = wiring.settings
        self._name = wiring.name
        self._joints = wiring.joints
        self._ids = tuple(joint.id for joint in wiring.joints)
        self._models = [MODELS[joint.model] for joint in wiring.joints]
        self._command = _COMMANDS[self._settings.mode]
        self._scale = _Scale(wiring.joints, self._models)
        self._question = sync_read(self._ids, _FIRST.address, _STATE.size)
        self._port: SerialPort | None = None
        self._exchange: Exchange | None = None
        self._raw = np.full((len(self._ids), 3), math.nan)
        self._heard_s = np.full(len(self._ids), -math.inf)
        self._is_on = False
        self._readings = 0
        self._problems: dict[int, str] = {}
        self._voltages = np.full(len(self._ids), math.nan)
        self._temperatures = np.full(len(self._ids), math.nan)
        self._repeated_questions = 0

    def describe(self) -> BusDescription:
        """The joints, and how full the bus is."""
        joints = tuple(
            JointDescription(joint.name, self._command, joint.unit, f"{joint.model} {joint.id}")
            for joint in self._joints
        )
        settings, bytes_ = self._settings, self.bytes_per_period()
        busy_ms = 1e3 * bytes_ * BITS_PER_BYTE / settings.baud_rate
        note = (
            f"{self._name}: {settings.port}, {settings.baud_rate} bit/s, {bytes_} bytes = {busy_ms:.2f} ms a period, "
            f"watchdog {settings.watchdog_ms} ms"
        )
        return BusDescription(joints, has_imu=False, notes=(note,))

    def bytes_per_period(self) -> int:
        """Bytes on the wire in a control period without faults, both ways."""
        answer = len(encode(Packet(1, Instruction.STATUS, 0, bytes(_STATE.size))))
        goal = REGISTERS["goal_position" if self._command == "position" else "goal_current"]
        write = 0 if self._command == "none" else len(encode(sync_write(goal, [(one, 0) for one in self._ids])))
        return len(encode(self._question)) + len(self._ids) * answer + write

    def connect(self) -> None:
        """Open the port, find the servos, and configure them with their torque off.

        Raises:
            BusError: The port, a servo or its model is not as wired, or a servo has a fault.
        """
        self._port = SerialPort(self._settings.port, self._settings.baud_rate)
        self._exchange = Exchange(self._port)
        try:
            for joint, model in zip(self._joints, self._models, strict=True):
                self._prepare(self._exchange, joint, model)
        except NoAnswerError as error:
            self.disconnect()
            raise BusError(f"{self._name}: {error}") from None
        except BusError:
            self.disconnect()
            raise

    def _prepare(self, exchange: Exchange, joint: JointWiring, model: Model) -> None:
        """Bring one servo into a known state."""
        where = f"{self._name}: joint {joint.name}, servo {joint.id}"
        number = exchange.read(joint.id, "model_number")
        if number != model.number:
            raise BusError(f"{where} is a {model_of(number)}, the wiring says {joint.model}")
        status = exchange.read(joint.id, "hardware_error_status")
        if status:
            raise BusError(f"{where}: {hardware_error_text(status)}; `democtl hardware check --reboot` clears it")
        voltage_v = exchange.read(joint.id, "present_input_voltage") * VOLTAGE_UNIT_V
        if voltage_v < self._settings.minimum_voltage_v:
            raise BusError(f"{where}: {voltage_v:.1f} V, at least {self._settings.minimum_voltage_v:g} V are needed")
        # A watchdog that has tripped keeps the goals locked until it is set to 0.
        for name, value in (
            ("bus_watchdog", 0),
            ("torque_enable", 0),
            ("operating_mode", _MODES[self._settings.mode]),
            ("return_delay_time", 0),
            ("current_limit", self._largest_current(joint, model)),
        ):
            exchange.write(joint.id, name, value)

    def _largest_current(self, joint: JointWiring, model: Model) -> int:
        """The current for a joint's largest effort, in the servo's units."""
        current_a = joint.effort * joint.factor / model.torque_constant_nm_a
        return min(round(current_a / CURRENT_UNIT_A), model.current_limit_units)

    def read(self) -> Reading:
        """Ask all servos at once, and those whose answers were broken once more if there is time.

        Raises:
            BusError: The port is lost.
        """
        exchange = self._connected()
        limit_s = 1e-3 * self._settings.read_limit_ms
        end_s = time.monotonic() + limit_s
        answers = exchange.ask(self._question, self._ids, _STATE.size, _FIRST_SHARE * limit_s)
        missing = [one for one in self._ids if one not in answers]
        left_s = end_s - time.monotonic()
        if missing and left_s > 0.0:
            self._repeated_questions += 1
            question = sync_read(missing, _FIRST.address, _STATE.size)
            answers |= exchange.ask(question, missing, _STATE.size, left_s)
        now_s = time.monotonic()
        for index, one in enumerate(self._ids):
            if one in answers and len(answers[one].parameters) == _STATE.size:
                self._raw[index] = _STATE.unpack(answers[one].parameters)
                self._heard_s[index] = now_s
        self._readings += 1
        if self._readings % self._settings.health_every_ticks == 0:
            self._look_at(exchange, (self._readings // self._settings.health_every_ticks) % len(self._ids))
        positions, velocities, efforts = self._scale.joints(self._raw)
        return Reading(positions, velocities, efforts, now_s - self._heard_s, problems=self._told())

    def _look_at(self, exchange: Exchange, index: int) -> None:
        """One servo's voltage, temperature, fault and watchdog; no answer is no news."""
        servo = self._ids[index]
        question = sync_read((servo,), _HEALTH_FIRST.address, _HEALTH_BYTES)
        answer = exchange.ask(question, (servo,), _HEALTH_BYTES, 1e-3 * self._settings.read_limit_ms).get(servo)
        if answer is None or len(answer.parameters) != _HEALTH_BYTES:
            return

        def value(name: str) -> int:
            register = REGISTERS[name]
            return register.decode(answer.parameters[register.address - _HEALTH_FIRST.address :])

        self._voltages[index] = value("present_input_voltage") * VOLTAGE_UNIT_V
        self._temperatures[index] = value("present_temperature")
        problems = []
        if value("hardware_error_status"):
            problems.append(hardware_error_text(value("hardware_error_status")))
        if self._is_on and not value("torque_enable"):
            # For instance after it lost its supply for a moment.
            problems.append("its torque is off")
        if value("bus_watchdog") < 0:
            problems.append("its bus watchdog tripped")
        if self._voltages[index] < self._settings.minimum_voltage_v:
            problems.append(f"{self._voltages[index]:.1f} V")
        if self._temperatures[index] > self._settings.maximum_temperature_c:
            problems.append(f"{self._temperatures[index]:.0f} °C")
        self._problems[servo] = ", ".join(problems)

    def _told(self) -> tuple[str, ...]:
        """What the servos complain of, one line per servo."""
        alerts = self._connected().alerts
        lines = []
        for joint in self._joints:
            text = self._problems.get(joint.id, "")
            if joint.id in alerts and not text:
                text = "hardware alert"
            if text:
                lines.append(f"{joint.name} (servo {joint.id}): {text}")
        return tuple(lines)

    def write(self, values: Array) -> Array:
        """Send goals; the first time, switch the servos on where they are.

        Raises:
            BusError: The port is lost, or a servo cannot be switched on.
        """
        exchange = self._connected()
        if self._command == "none":
            return np.zeros(0)
        if not self._is_on:
            self._switch_on(exchange)
        name, units = self._scale.goals(values, self._command)
        exchange.send(sync_write(REGISTERS[name], zip(self._ids, units.tolist(), strict=True)))
        return self._scale.sent(units, self._command)

    def _switch_on(self, exchange: Exchange) -> None:
        """Torque on, with goals that move nothing, and the watchdog armed."""
        if not np.isfinite(self._heard_s).all():
            raise BusError(f"{self._name}: not all servos have told their position")
        count, watchdog = len(self._ids), round(1e-3 * self._settings.watchdog_ms / WATCHDOG_UNIT_S)
        positions = self._raw[:, 2].astype(int).tolist()
        largest = [self._largest_current(joint, model) for joint, model in zip(self._joints, self._models, strict=True)]
        is_position = self._command == "position"
        steps = {
            "bus_watchdog": [0] * count,
            "goal_current": largest if is_position else [0] * count,
            "torque_enable": [1] * count,
            **({"goal_position": positions} if is_position else {}),
        }
        for _ in range(_ATTEMPTS):
            for name, values in steps.items():
                exchange.send(sync_write(REGISTERS[name], zip(self._ids, values, strict=True)))
            exchange.send(sync_write(REGISTERS["bus_watchdog"], [(one, watchdog) for one in self._ids]))
            off = self._not_on(exchange, watchdog)
            if not off:
                self._is_on = True
                return
        self.stop()
        raise BusError(f"{self._name}: cannot be switched on: servo {', '.join(map(str, off))}")

    def _not_on(self, exchange: Exchange, watchdog: int) -> list[int]:
        """The servos that do not say that their torque is on and their watchdog armed."""
        first, last = REGISTERS["torque_enable"], REGISTERS["bus_watchdog"]
        size = last.address + last.size - first.address
        question = sync_read(self._ids, first.address, size)
        answers = exchange.ask(question, self._ids, size, 2e-3 * self._settings.read_limit_ms)
        on = {
            one
            for one, answer in answers.items()
            if len(answer.parameters) == size and answer.parameters[0] == 1 and answer.parameters[-1] == watchdog
        }
        return [one for one in self._ids if one not in on]

    def stop(self) -> None:
        """Torque off on all servos, told three times over: a broadcast has no answer."""
        self._is_on = False
        if self._exchange is None:
            return
        off = [(one, 0) for one in self._ids]
        try:
            for _ in range(3):
                # The watchdog first: what is off needs none, and one that tripped would stay so.
                self._exchange.send(sync_write(REGISTERS["bus_watchdog"], off))
                self._exchange.send(sync_write(REGISTERS["torque_enable"], off))
        except BusError:
            # The port is gone; the servos' watchdog does it.
            return

    def disconnect(self) -> None:
        """Switch off and close the port."""
        self.stop()
        if self._port is not None:
            self._port.close()
        self._port = self._exchange = None

    def counters(self) -> Mapping[str, object]:
        """Frames by fate, and the servos' lowest voltage and highest temperature."""
        counts = {} if self._exchange is None else self._exchange.counts
        names = ("answers", "missing", "corrupt", "repeated", "unexpected", "late_bytes")
        figures: dict[str, object] = {f"{self._name}.{name}": counts.get(name, 0) for name in names}
        figures[f"{self._name}.repeated_questions"] = self._repeated_questions
        if np.isfinite(self._voltages).any():
            figures[f"{self._name}.lowest_voltage_v"] = round(float(np.nanmin(self._voltages)), 1)
            figures[f"{self._name}.highest_temperature_c"] = float(np.nanmax(self._temperatures))
        return figures

    def _connected(self) -> Exchange:
        if self._exchange is None:
            raise BusError(f"{self._name}: not connected")
        return self._exchange


class _Scale:
    """Between the servos' units and the joints'.

    Args:
        joints: Their wiring.
        models: Their servos.
    """

    def __init__(self, joints: tuple[JointWiring, ...], models: list[Model]) -> None:
        self._signed_factor = np.array([joint.sign * joint.factor for joint in joints])
        self._offset_rad = np.array([joint.offset_rad for joint in joints])
        torque = np.array([model.torque_constant_nm_a for model in models]) * CURRENT_UNIT_A
        # Power in is power out: a force is the torque by the radius.
        self._effort_by_unit = torque / self._signed_factor
        self._largest_units = np.array([model.current_limit_units for model in models])

    def joints(self, raw: Array) -> tuple[Array, Array, Array]:
        """Positions, velocities and efforts of raw (current, velocity, position). Shape=(num_joints,) each."""
        angles = (raw[:, 2] - CENTRE_UNITS) * POSITION_UNIT_RAD
        positions = self._signed_factor * (angles - self._offset_rad)
        return positions, self._signed_factor * (raw[:, 1] * VELOCITY_UNIT_RAD_S), raw[:, 0] * self._effort_by_unit

    def goals(self, values: Array, command: str) -> tuple[str, Array]:
        """The register, and the whole numbers for it."""
        if command == "effort":
            units = np.rint(values / self._effort_by_unit)
            return "goal_current", np.clip(units, -self._largest_units, self._largest_units).astype(int)
        angles = self._offset_rad + values / self._signed_factor
        return "goal_position", np.rint(angles / POSITION_UNIT_RAD + CENTRE_UNITS).astype(int)

    def sent(self, units: Array, command: str) -> Array:
        """What the joints are told by these numbers."""
        if command == "effort":
            return np.asarray(units * self._effort_by_unit)
        angles = (units - CENTRE_UNITS) * POSITION_UNIT_RAD
        return np.asarray(self._signed_factor * (angles - self._offset_rad))


KIND = BusKind(DynamixelSettings, DynamixelBus, models=tuple(MODELS), largest_id=LARGEST_ID)
