"""What is done with a robot before it moves by itself: look at its devices, find its zeros, try its joints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import yaml

from demo_control.configuration import ConfigurationError
from demo_control.files import write_text_atomically
from demo_control.hardware.bus import Bus, BusError, Reading
from demo_control.hardware.composite import open_bus
from demo_control.hardware.dynamixel.bus import DynamixelSettings
from demo_control.hardware.dynamixel.exchange import Exchange, NoAnswerError
from demo_control.hardware.dynamixel.table import VOLTAGE_UNIT_V, hardware_error_text, model_of
from demo_control.hardware.reading_problem import reading_problem
from demo_control.hardware.serial_port import SerialPort
from demo_control.hardware.vectornav.bus import VectorNavBus
from demo_control.hardware.wiring import BusWiring, JointWiring, Wiring
from demo_control.tasks import Array
from demo_control.yaml_reader import read_yaml

_READING_PERIOD_S = 0.005
# A joint that is held still moves by less than this while its zero is measured.
_STILL = 0.02
_TRIAL_S = 1.0
_FIRST_READINGS = 100


@dataclass(frozen=True)
class Finding:
    """What was found of one device.

    Attributes:
        bus: Name of its bus.
        device: Which one.
        joint: Its joint, '' for none.
        text: What it says.
        problem: What is wrong with it, '' if nothing is.
    """

    bus: str
    device: str
    joint: str
    text: str
    problem: str = ""


def check(wiring: Wiring, *, reboot: bool = False) -> list[Finding]:
    """Look at all devices; nothing moves.

    Args:
        wiring: Of the robot.
        reboot: Restart servos that have a fault, which clears it.
    """
    findings = []
    for bus in wiring.buses:
        try:
            if bus.kind == "dynamixel":
                findings += _check_servos(bus, reboot)
            else:
                findings += _check_bus(wiring, bus)
        except BusError as error:
            findings.append(Finding(bus.name, bus.kind, "", "", str(error)))
    return findings


def _check_servos(wiring: BusWiring, reboot: bool) -> list[Finding]:
    """All servos on a bus, the wired ones first."""
    settings = wiring.settings
    assert isinstance(settings, DynamixelSettings)
    port = SerialPort(settings.port, settings.baud_rate)
    try:
        exchange = Exchange(port)
        found = exchange.ping()
        found |= exchange.ping([joint.id for joint in wiring.joints if joint.id not in found])
        findings = [_servo(wiring, exchange, joint, found, reboot) for joint in wiring.joints]
        wired = {joint.id for joint in wiring.joints}
        findings += [
            Finding(wiring.name, f"servo {one}", "", f"{model_of(number)}, firmware {firmware}", "is not wired")
            for one, (number, firmware) in found.items()
            if one not in wired
        ]
        return findings
    finally:
        port.close()


def _servo(
    wiring: BusWiring, exchange: Exchange, joint: JointWiring, found: Mapping[int, tuple[int, int]], reboot: bool
) -> Finding:
    """One wired servo."""
    assert isinstance(wiring.settings, DynamixelSettings)
    base = Finding(wiring.name, f"servo {joint.id}", joint.name, "")
    if joint.id not in found:
        return replace(base, problem="does not answer")
    number, firmware = found[joint.id]
    try:
        voltage_v = exchange.read(joint.id, "present_input_voltage") * VOLTAGE_UNIT_V
        temperature_c = exchange.read(joint.id, "present_temperature")
        status = exchange.read(joint.id, "hardware_error_status")
        if status and reboot:
            exchange.reboot(joint.id)
            return replace(base, text=f"restarted: {hardware_error_text(status)}")
    except NoAnswerError as error:
        return replace(base, problem=str(error))
    text = f"{model_of(number)}, firmware {firmware}, {voltage_v:.1f} V, {temperature_c} °C"
    problems = []
    if model_of(number) != joint.model:
        problems.append(f"the wiring says {joint.model}")
    if status:
        problems.append(f"{hardware_error_text(status)}; --reboot clears it")
    if voltage_v < wiring.settings.minimum_voltage_v:
        problems.append(f"less than {wiring.settings.minimum_voltage_v:g} V")
    return replace(base, text=text, problem="; ".join(problems))


def _check_bus(wiring: Wiring, bus: BusWiring) -> list[Finding]:
    """A bus that tells of itself by its readings."""
    connected = open_bus(replace(wiring, buses=(bus,)))
    connected.connect()
    try:
        identity = ""
        inner = connected.buses[0]
        if isinstance(inner, VectorNavBus):
            identity = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in inner.identify().items())
        time.sleep(0.2)
        limit_s = wiring.safety.silence_limit_s
        reading = _fresh(connected, limit_s)
        told = zip(bus.joints, reading.positions.tolist(), reading.ages_s.tolist(), strict=True)
        findings = [
            Finding(bus.name, bus.kind, joint.name, f"at {value:+.3f} {joint.unit}", _silence(age_s, limit_s))
            for joint, value, age_s in told
        ]
        findings += [Finding(bus.name, bus.kind, "", "", problem) for problem in reading.problems]
        if reading.imu is None and connected.describe().has_imu:
            findings.append(Finding(bus.name, bus.kind, "", identity, "tells nothing of the attitude"))
        if reading.imu is not None:
            gravity = np.round(reading.imu.linear_acceleration, 2).tolist()
            text = f"{identity}; acceleration {gravity} m/s² (level and at rest: 0, 0, 9.81)"
            problem = _silence(reading.imu.age_s, limit_s)
            findings.append(Finding(bus.name, bus.kind, "", text.lstrip("; "), problem))
        return findings
    finally:
        connected.disconnect()


def _fresh(bus: Bus, limit_s: float) -> Reading:
    """A reading in which nothing is silent; the newest one if that does not come: one answer may be lost."""
    for _ in range(_FIRST_READINGS):
        reading = bus.read()
        knows_attitude = reading.imu is not None or not bus.describe().has_imu
        if knows_attitude and (reading.ages_s <= limit_s).all():
            break
        time.sleep(_READING_PERIOD_S)
    return reading


def _silence(age_s: float, limit_s: float) -> str:
    """What is wrong with values of some age."""
    return f"silent for {1e3 * age_s:.0f} ms" if age_s > limit_s else ""


def measure_zeros(wiring: Wiring, at: Mapping[str, float], seconds: float = 1.0) -> dict[str, float]:
    """Where the devices are while the robot is held in a known pose, as offsets for the wiring.

    Args:
        wiring: Of the robot.
        at: Positions of joints in that pose, joint units; 0 where none is given.
        seconds: How long it is measured.

    Returns:
        Offsets in rad by joint.

    Raises:
        ConfigurationError: A joint that is not wired, or none is.
        BusError: A device does not answer, or the robot was not held still.
    """
    names = [joint.name for joint in wiring.joints]
    if not names:
        raise ConfigurationError(f"{wiring.path}: no joint is wired")
    for name in at:
        if name not in names:
            raise ConfigurationError(f"joint '{name}' is not wired; wired: {', '.join(names)}")
    raw = replace(wiring, buses=tuple(replace(bus, joints=tuple(map(_bare, bus.joints))) for bus in wiring.buses))
    bus = open_bus(raw)
    bus.connect()
    try:
        samples = []
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            reading = bus.read()
            if np.isfinite(reading.ages_s).all():
                samples.append(reading.positions)
            time.sleep(_READING_PERIOD_S)
    finally:
        bus.disconnect()
    if not samples:
        raise BusError(f"{wiring.path}: not all joints tell their positions")
    moved = np.ptp(samples, axis=0)
    if moved.max() > _STILL:
        raise BusError(f"joint {names[int(moved.argmax())]} moved by {moved.max():.3f} rad: hold the robot still")
    angles = np.mean(samples, axis=0)
    return {
        joint.name: float(angle - joint.sign * at.get(joint.name, 0.0) / joint.factor)
        for joint, angle in zip(wiring.joints, angles, strict=True)
    }


def _bare(joint: JointWiring) -> JointWiring:
    """The joint as its device sees it."""
    return replace(joint, sign=1, offset_rad=0.0, factor=1.0)


def save_zeros(wiring: Wiring, offsets: Mapping[str, float], date: str) -> None:
    """Write the calibration file beside the wiring; zeros of other joints that it has stay."""
    path = wiring.calibration_path
    # Not the wiring's: what stands there alone must still be what counts when somebody changes it there.
    kept = read_yaml(path).scalars("offsets_rad") if path.exists() else {}
    rounded = {name: round(value, 6) for name, value in offsets.items()}
    content = {"robot": wiring.robot, "date": date, "offsets_rad": {**kept, **rounded}}
    write_text_atomically(path, yaml.safe_dump(content, sort_keys=False))


def try_joint(wiring: Wiring, name: str, step: float, wait: Callable[[float], None] = time.sleep) -> float:
    """Move one position-controlled joint a little in its positive direction and back, all others staying off.

    Args:
        wiring: Of the robot.
        name: Of the joint.
        step: How far, joint units.
        wait: Waits for seconds.

    Returns:
        How far it went by its own measurement.

    Raises:
        BusError: It cannot be moved, or the step leads out of its range.
        ConfigurationError: It takes no positions, or there is none.
    """
    alone = _only(wiring, name)
    (joint,) = alone.joints
    bus = open_bus(alone)
    description = bus.describe().joints[0]
    if description.command != "position":
        raise ConfigurationError(f"joint '{name}' takes no positions: turn it by hand and look at `check`")
    bus.connect()
    try:
        start = _heard(bus)
        farthest, goal = start[0], start[0] + step
        if not joint.minimum <= goal <= joint.maximum:
            raise BusError(
                f"joint {name} is at {start[0]:+.3f} {joint.unit}: {goal:+.3f} is outside of its range, "
                f"{joint.minimum:g} to {joint.maximum:g}; turn it by hand, or calibrate it first"
            )
        count = math.ceil(max(_TRIAL_S, abs(step) / joint.rate) / _READING_PERIOD_S)
        for index in range(2 * count):
            share = 1.0 - abs(1.0 - index / count)
            bus.write(start + step * share)
            wait(_READING_PERIOD_S)
            reading = bus.read()
            if problem := reading_problem(reading, (name,), wiring.safety):
                raise BusError(problem)
            position = reading.positions[0]
            farthest = position if abs(position - start[0]) > abs(farthest - start[0]) else farthest
        return float(farthest - start[0])
    finally:
        bus.disconnect()


def _heard(bus: Bus) -> Array:
    """The joints' positions, once all of them have told theirs.

    Raises:
        BusError: That does not come.
    """
    for _ in range(_FIRST_READINGS):
        reading = bus.read()
        if np.isfinite(reading.ages_s).all():
            return reading.positions
        time.sleep(_READING_PERIOD_S)
    raise BusError("not all joints tell their positions")


def _only(wiring: Wiring, name: str) -> Wiring:
    """The wiring of one joint alone."""
    for bus in wiring.buses:
        for joint in bus.joints:
            if joint.name == name:
                return replace(wiring, buses=(replace(bus, joints=(joint,)),))
    names = ", ".join(joint.name for joint in wiring.joints)
    raise ConfigurationError(f"joint '{name}' is not wired; wired: {names}")


@dataclass(frozen=True)
class BusTimes:
    """How the readings of a robot went.

    Attributes:
        readings: How many.
        read_ms: Median, 99th percentile and largest time of a reading.
        oldest_ms: The same of the oldest joint's age.
        late: Readings that were not over when the next one was due.
        counters: What the buses counted.
    """

    readings: int
    read_ms: tuple[float, float, float]
    oldest_ms: tuple[float, float, float]
    late: int
    counters: Mapping[str, object]


def time_readings(bus: Bus, rate_hz: float, seconds: float) -> BusTimes:
    """Read a connected robot at its control rate; nothing is sent to its actuators.

    Args:
        bus: Connected.
        rate_hz: Readings per second.
        seconds: How long.

    Raises:
        BusError: The connection is lost.
    """
    times, ages, late = [], [], 0
    due_s = time.monotonic()
    for _ in range(max(1, round(rate_hz * seconds))):
        began_s = time.monotonic()
        reading = bus.read()
        times.append(1e3 * (time.monotonic() - began_s))
        if len(reading.ages_s):
            ages.append(1e3 * float(reading.ages_s.max()))
        due_s += 1.0 / rate_hz
        left_s = due_s - time.monotonic()
        late += left_s < 0.0
        time.sleep(max(0.0, left_s))
    return BusTimes(len(times), _spread(times), _spread(ages or [0.0]), late, bus.counters())


def _spread(values: list[float]) -> tuple[float, float, float]:
    middle, high, most = np.percentile(values, [50, 99, 100]).round(3).tolist()
    return middle, high, most
