"""Looking at devices, finding zeros, trying joints, timing readings: on emulated servos."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from demo_control.cli.hardware import app
from demo_control.configuration import ConfigurationError
from demo_control.hardware import commissioning
from demo_control.hardware.bus import BusDescription, BusError, JointDescription, Reading
from demo_control.hardware.composite import CompositeBus, open_bus
from demo_control.hardware.wiring import Wiring, load_wiring
from demo_control.tasks import Array

from .conftest import TWO_SERVOS, Bench, MakeBench, heard
from .robot_benches import CartBus
from .robot_benches import wiring as cart_wiring

UNIT_RAD = 2.0 * np.pi / 4096


def with_other(bench: Bench, **elbow: object) -> Wiring:
    """The bench's wiring as somebody else wrote it: the devices are still those of the bench."""
    content: dict[str, Any] = copy.deepcopy(TWO_SERVOS)
    content["buses"]["arm"]["port"] = bench.port
    content["buses"]["arm"]["joints"]["elbow"] |= elbow
    path = bench.wiring.path.with_name("other.yaml")
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return load_wiring(path)


def patient(bench: Bench) -> Wiring:
    """The bench's wiring without the servos' watchdog, and a long silence: a test beside others may pause."""
    bus = bench.wiring.buses[0]
    settings = type(bus.settings).from_mapping({"watchdog_ms": 0}, base=bus.settings)
    safety = replace(bench.wiring.safety, silence_limit_ms=2000.0)
    return replace(bench.wiring, buses=(replace(bus, settings=settings),), safety=safety)


def test_all_devices_are_found_and_the_wrong_ones_named(bench: MakeBench) -> None:
    one = bench()
    good = commissioning.check(one.wiring)
    assert [(finding.joint, finding.problem) for finding in good] == [("shoulder", ""), ("elbow", "")]
    assert "xm430-w350, firmware 48, 12.0 V, 31 °C" in good[0].text
    found = {finding.device: finding.problem for finding in commissioning.check(with_other(one, id=8))}
    assert found == {"servo 3": "", "servo 8": "does not answer", "servo 4": "is not wired"}
    model = commissioning.check(with_other(one, model="xm430-w210"))
    assert model[1].problem == "the wiring says xm430-w210"


def test_faults_and_low_voltage_are_told_and_a_restart_clears_faults(bench: MakeBench) -> None:
    one = bench()
    servo = one.emulator.lines["arm"].device.servos[1]  # type: ignore[attr-defined]
    servo.fail(0x20)
    servo.set("present_input_voltage", 95)
    assert commissioning.check(one.wiring)[1].problem == "overload; --reboot clears it; less than 10 V"
    assert commissioning.check(one.wiring, reboot=True)[1].text == "restarted: overload"
    assert servo.get("hardware_error_status") == 0


def test_zeros_are_found_saved_and_used(bench: MakeBench) -> None:
    one = bench()
    # The bench's elbow is at -0.5 rad by its own wiring. Whoever holds it there says that this is +0.2.
    wiring = with_other(one, sign=-1)
    offsets = commissioning.measure_zeros(wiring, {"shoulder": 0.25, "elbow": 0.2}, seconds=0.2)
    commissioning.save_zeros(wiring, offsets, "2026-01-02")
    calibrated = load_wiring(wiring.path)
    assert calibrated.calibrated == "2026-01-02"
    bus = open_bus(calibrated)
    bus.connect()
    assert heard(bus).positions == pytest.approx([0.25, 0.2], abs=UNIT_RAD)
    bus.disconnect()
    # A joint that is calibrated alone leaves the others' zeros as they were.
    commissioning.save_zeros(calibrated, {"elbow": 1.0}, "2026-01-03")
    assert load_wiring(wiring.path).joints[0].offset_rad == pytest.approx(offsets["shoulder"], abs=1e-6)
    with pytest.raises(ConfigurationError, match="joint 'wrist' is not wired"):
        commissioning.measure_zeros(wiring, {"wrist": 0.0})


def test_zeros_that_are_saved_are_those_of_the_calibration_and_no_others(bench: MakeBench) -> None:
    wiring = bench().wiring
    # As somebody may have written it by hand: without a date.
    wiring.calibration_path.write_text(f"robot: {wiring.robot}\noffsets_rad: {{shoulder: 0.5}}\n")
    for shoulder, elbow in ((0.5, 1.0), (0.5, 2.0)):
        commissioning.save_zeros(load_wiring(wiring.path), {"elbow": elbow}, "2026-01-02")
        assert [joint.offset_rad for joint in load_wiring(wiring.path).joints] == [shoulder, elbow]
    wiring.calibration_path.unlink()
    for elbow in (1.0, 2.0):
        commissioning.save_zeros(load_wiring(wiring.path), {"elbow": elbow}, "2026-01-02")
    assert "shoulder" not in wiring.calibration_path.read_text()


class QuietBus(CartBus):
    """A cart whose pole has fallen silent, and an attitude unit that answers and sends nothing."""

    def describe(self) -> BusDescription:
        return BusDescription(super().describe().joints, has_imu=True)

    def read(self) -> Reading:
        return replace(super().read(), ages_s=np.array([0.0, 0.2]), problems=("cart: overload",))


def test_devices_that_answer_and_then_tell_nothing_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    wired = cart_wiring("cartpole_ros2_control")
    joints = tuple(joint for bus in wired.buses for joint in bus.joints)
    wired = replace(wired, buses=(replace(wired.buses[0], joints=joints),))
    monkeypatch.setattr(commissioning, "open_bus", lambda _wiring: CompositeBus([QuietBus()]))
    problems = [(finding.joint, finding.problem) for finding in commissioning.check(wired)]
    assert problems == [
        ("cart", ""), ("pole", "silent for 200 ms"), ("", "cart: overload"), ("", "tells nothing of the attitude"),
    ]  # fmt: skip


def test_a_wiring_without_joints_is_not_calibrated(tmp_path: Path) -> None:
    path = tmp_path / "wiring.yaml"
    path.write_text("robot: one\ntask: stoch2\nbuses: {imu: {kind: vectornav}}\n")
    with pytest.raises(ConfigurationError, match=r"wiring\.yaml: no joint is wired"):
        commissioning.measure_zeros(load_wiring(path), {})


@pytest.mark.parametrize("value", ["straight", "true", "nan", "inf"])
def test_a_position_that_is_no_number_calibrates_nothing(bench: MakeBench, value: str) -> None:
    wiring = bench().wiring
    done = CliRunner().invoke(app, ["calibrate", str(wiring.path), "--at", f"elbow={value}"])
    assert done.exit_code == 2
    assert re.fullmatch(r"democtl: --at elbow=\w+: expected a position, rad or m\n", done.stderr)
    assert not wiring.calibration_path.exists()


def test_a_robot_that_moves_is_not_calibrated(bench: MakeBench) -> None:
    one = bench()
    advance = one.plant.advance

    def drift(drives: Any) -> None:  # noqa: ANN401 - as of the plant
        advance(drives)
        one.plant.positions[0] += 0.002

    one.plant.advance = drift  # type: ignore[method-assign]
    with pytest.raises(BusError, match=r"joint shoulder moved by .* rad: hold the robot still"):
        commissioning.measure_zeros(one.wiring, {}, seconds=0.3)


def test_one_joint_is_tried_alone(bench: MakeBench) -> None:
    one = bench()
    others: set[str] = set()
    advance = one.plant.advance

    def watch(drives: Any) -> None:  # noqa: ANN401 - as of the plant
        others.add(drives[0].kind)
        advance(drives)

    one.plant.advance = watch  # type: ignore[method-assign]
    went = commissioning.try_joint(patient(one), "elbow", 0.05, wait=lambda _seconds: None)
    # Near its goal at the turning point: the emulated servo looks at its goal every 2 ms.
    assert went == pytest.approx(0.05, abs=0.01)
    assert others == {"off"}
    with pytest.raises(ConfigurationError, match="joint 'wrist' is not wired"):
        commissioning.try_joint(one.wiring, "wrist", 0.05)


def no_wait(_seconds: float) -> None:
    """Does not wait."""


def test_a_joint_is_not_tried_beyond_its_range(bench: MakeBench) -> None:
    one = bench()
    # The elbow is at -0.5 rad.
    wiring = patient(one)
    elbow = replace(wiring.joints[1], maximum=-0.4)
    wiring = replace(wiring, buses=(replace(wiring.buses[0], joints=(wiring.joints[0], elbow)),))
    with pytest.raises(BusError, match=r"joint elbow is at -0.500 rad: -0.300 is outside of its range, -1 to -0.4"):
        commissioning.try_joint(wiring, "elbow", 0.2, wait=no_wait)
    with pytest.raises(BusError, match=r"-1.100 is outside of its range"):
        commissioning.try_joint(wiring, "elbow", -0.6, wait=no_wait)
    servo = one.emulator.lines["arm"].device.servos[1]  # type: ignore[attr-defined]
    assert servo.get("torque_enable") == 0


class SilentBus:
    """A joint at zero that does what it is told, and falls silent after a while."""

    def __init__(self, silent_after: int) -> None:
        self._readings_left = silent_after
        self._position = np.zeros(1)
        self.goals: list[float] = []
        self.is_on = False

    def describe(self) -> BusDescription:
        return BusDescription((JointDescription("elbow", "position", "rad", ""),), has_imu=False)

    def connect(self) -> None:
        pass

    def read(self) -> Reading:
        self._readings_left -= 1
        age_s = 0.0 if self._readings_left > 0 else 0.06
        return Reading(self._position.copy(), np.zeros(1), np.zeros(1), np.array([age_s]))

    def write(self, values: Array) -> Array:
        self.is_on = True
        self._position = values
        self.goals.append(float(values[0]))
        return values

    def disconnect(self) -> None:
        self.is_on = False


def test_a_joint_that_falls_silent_is_let_go_at_once(bench: MakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    wiring, bus = bench().wiring, SilentBus(silent_after=50)
    monkeypatch.setattr(commissioning, "open_bus", lambda _wiring: bus)
    with pytest.raises(BusError, match="joint elbow has been silent for 60 ms"):
        commissioning.try_joint(wiring, "elbow", 0.05, wait=no_wait)
    assert (len(bus.goals), bus.is_on) == (49, False)


def test_a_joint_is_tried_no_faster_than_its_wiring_allows(bench: MakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    wiring, bus = bench().wiring, SilentBus(silent_after=100_000)
    monkeypatch.setattr(commissioning, "open_bus", lambda _wiring: bus)
    slow = replace(wiring.joints[1], rate=0.1)
    wiring = replace(wiring, buses=(replace(wiring.buses[0], joints=(slow,)),))
    waited: list[float] = []
    assert commissioning.try_joint(wiring, "elbow", 0.4, wait=waited.append) == pytest.approx(0.4)
    assert max(np.abs(np.diff([0.0, *bus.goals])) / waited) <= 0.1 + 1e-9


def test_readings_are_timed(bench: MakeBench) -> None:
    one = bench()
    bus = open_bus(one.wiring)
    bus.connect()
    times = commissioning.time_readings(bus, 100.0, 0.2)
    bus.disconnect()
    assert times.readings == 20
    assert 0.0 < times.read_ms[0] <= times.read_ms[1] <= times.read_ms[2]
    assert times.counters["arm.corrupt"] == 0


def test_the_commands_say_it_in_one_line_or_a_table(bench: MakeBench) -> None:
    one = bench()
    path = str(one.wiring.path)
    assert CliRunner().invoke(app, ["check", path]).exit_code == 0
    servo = one.emulator.lines["arm"].device.servos[1]  # type: ignore[attr-defined]
    servo.fail(0x20)
    done = CliRunner().invoke(app, ["check", path, "--json", "-"])
    assert done.exit_code == 1
    assert '"problem": "overload; --reboot clears it"' in done.stdout
    assert CliRunner().invoke(app, ["check", path, "--reboot"]).exit_code == 0
    refused = CliRunner().invoke(app, ["dry-run", path + "x"])
    assert refused.exit_code == 2
    assert CliRunner().invoke(app, ["emulate", path, "--into", "/nonexistent/x", "--fault", "corupt=1"]).exit_code == 2
