"""Buses over the wire: what is read is what is, what is written arrives, whatever the line does."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo_control.hardware.amt21 import UNITS_PER_TURN, decode_position, encode_position
from demo_control.hardware.bus import BusError, ImuReading, is_plausible
from demo_control.hardware.composite import open_bus
from demo_control.hardware.dynamixel.bus import DynamixelBus
from demo_control.hardware.emulation.emulator import PseudoTerminal
from demo_control.hardware.serial_port import SerialPort
from demo_control.hardware.vectornav.bus import VectorNavBus, VectorNavSettings
from demo_control.hardware.vectornav.emulated import EmulatedVectorNav
from demo_control.hardware.vectornav.frame import FrameParser, Sample, encode_line, encode_sample
from demo_control.hardware.wiring import BusWiring

from .conftest import TWO_SERVOS, Bench, MakeBench, heard

UNIT_RAD = 2 * math.pi / 4096
FLOATS = st.floats(-50.0, 50.0, width=32)


def connected(bench: Bench) -> DynamixelBus:
    bus = DynamixelBus(bench.wiring.buses[0])
    bus.connect()
    return bus


def test_joints_are_read_and_commanded_in_their_own_units(bench: MakeBench) -> None:
    one = bench()
    bus = connected(one)
    reading = heard(bus)
    assert reading.positions == pytest.approx([0.25, -0.5], abs=UNIT_RAD)
    assert reading.ages_s.max() == 0.0
    # The motors' own torques, by their currents: the shoulder's turns against its joint.
    assert reading.efforts == pytest.approx([0.5, -0.25], abs=0.01)
    sent = bus.write(np.array([0.3, -0.25]))
    assert sent == pytest.approx([0.3, -0.25], abs=UNIT_RAD)
    assert wait_for(lambda: abs(bus.read().positions[1] + 0.25) < 2 * UNIT_RAD)
    assert [drive.kind for drive in one.plant.drives] == ["position", "position"]
    # The elbow's torque limit is the wiring's, by the current that it needs.
    assert one.plant.drives[1].effort_limit == pytest.approx(2.0, abs=0.01)
    bus.disconnect()
    assert wait_for(lambda: one.plant.drives[0].kind == "off")


def test_silence_stops_the_servos_by_themselves(bench: MakeBench) -> None:
    one = bench()
    bus = connected(one)
    heard(bus)
    bus.write(np.array([0.0, 0.0]))
    servo = one.emulator.lines["arm"].device.servos[0]  # type: ignore[attr-defined]
    assert servo.get("bus_watchdog") in (50, -1)
    assert wait_for(lambda: servo.get("bus_watchdog") == -1)
    # The next readings tell of it.
    assert wait_for(lambda: any("watchdog" in problem for problem in bus.read().problems))
    bus.disconnect()


@pytest.mark.parametrize("fault", ["corrupt", "lost", "repeated"])
def test_faults_on_the_line_are_counted_and_wrong_values_never_pass(bench: MakeBench, fault: str) -> None:
    one = bench(seed=3, **{fault: 0.1})
    bus = DynamixelBus(one.wiring.buses[0])
    bus.connect()
    fresh = 0
    for _ in range(40):
        reading = bus.read()
        fresh += int((reading.ages_s == 0.0).sum())
        heard = np.isfinite(reading.ages_s)
        assert reading.positions[heard] == pytest.approx(np.array([0.25, -0.5])[heard], abs=UNIT_RAD)
    counts = bus.counters()
    bus.disconnect()
    assert fresh > 0.5 * 80
    # What comes twice may come too late to be counted: then the next question drops it.
    name = {"corrupt": "arm.corrupt", "lost": "arm.missing", "repeated": "arm.answers"}[fault]
    assert int(str(counts[name])) > 0


def test_a_servo_that_fails_is_told_of(bench: MakeBench) -> None:
    one = bench()
    bus = connected(one)
    assert heard(bus).problems == ()
    one.emulator.lines["arm"].device.servos[1].fail(0x20)  # type: ignore[attr-defined]
    assert wait_for(lambda: any("elbow" in problem for problem in bus.read().problems))
    assert wait_for(lambda: any("overload" in problem for problem in bus.read().problems))
    bus.disconnect()
    with pytest.raises(BusError, match=r"joint elbow, servo 4: overload.*--reboot"):
        bus.connect()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": 7}, "servo 7 does not answer"),
        ({"model": "xm430-w210"}, "servo 4 is a xm540-w150, the wiring says xm430-w210"),
    ],
)
def test_what_is_not_as_wired_is_told_in_one_line(bench: MakeBench, change: dict[str, Any], message: str) -> None:
    one = bench()
    settings = one.wiring.buses[0]
    joints = tuple(
        type(joint)(**{**vars(joint), **change}) if joint.name == "elbow" else joint for joint in settings.joints
    )
    bus = DynamixelBus(BusWiring(settings.name, settings.kind, settings.settings, joints))
    with pytest.raises(BusError, match=message) as caught:
        bus.connect()
    assert "\n" not in str(caught.value)


def test_a_port_that_is_none_or_taken_is_told_in_one_line(bench: MakeBench, tmp_path: Path) -> None:
    one = bench()
    bus = connected(one)
    with pytest.raises(BusError, match=r"port /dev/pts/\d+: cannot be opened"):
        connected(one)
    bus.disconnect()
    settings = TWO_SERVOS["buses"]
    assert isinstance(settings, dict)
    missing = type(one.wiring.buses[0].settings).from_mapping({"port": str(tmp_path / "none")})
    with pytest.raises(BusError, match="cannot be opened"):
        DynamixelBus(BusWiring("arm", "dynamixel", missing, one.wiring.buses[0].joints)).connect()


def test_a_line_that_is_gone_is_an_error_not_a_hang(bench: MakeBench) -> None:
    one = bench()
    bus = open_bus(one.wiring)
    bus.connect()
    bus.read()
    assert bus.describe().commanded[0].device == "xm430-w350 3"
    bus.disconnect()
    with pytest.raises(BusError, match="not connected"):
        bus.read()
    bus.stop()


def test_a_port_whose_other_end_goes_away_is_an_error() -> None:
    terminal = PseudoTerminal()
    port = SerialPort(terminal.path, 1_000_000)
    assert port.drain() == b""
    terminal.close()
    with pytest.raises(BusError, match=rf"port {terminal.path}: (lost|closed)"):
        port.read(time.monotonic() + 5.0)
    with pytest.raises(BusError, match=rf"port {terminal.path}: (lost|takes no more)"):
        port.write(b"x" * 100_000)
    port.close()


def wait_for(condition: Any) -> bool:  # noqa: ANN401 - any function
    """Whether a condition comes to hold."""
    deadline = time.monotonic() + 10.0
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


# --- The attitude unit


@given(st.integers(0, 2**63), st.lists(FLOATS, min_size=10, max_size=10), st.integers(1, 60))
def test_samples_come_back_however_the_bytes_are_cut(time_ns: int, numbers: list[float], size: int) -> None:
    sample = Sample(time_ns, tuple(numbers[:4]), tuple(numbers[4:7]), tuple(numbers[7:]))  # type: ignore[arg-type]
    stream = b"\xfa\x01$" + encode_sample(sample) + encode_line("VNRRG,01,VN-100") + encode_sample(sample)
    parser = FrameParser()
    found = [one for start in range(0, len(stream), size) for one in parser.feed(stream[start : start + size])]
    assert found == [sample, sample]
    assert parser.take_lines() == ["VNRRG,01,VN-100"]


@given(st.binary(max_size=400))
def test_any_bytes_are_survived(noise: bytes) -> None:
    parser = FrameParser()
    parser.feed(noise)
    good = Sample(1, (0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0), (0.0, 0.0, -9.81))
    # After so many bytes that whatever was begun is over, everything is found again.
    found = [one for _ in range(12) for one in parser.feed(encode_sample(good))]
    assert found[-1].time_ns == 1


@given(st.integers(0, 53), st.integers(1, 255))
def test_a_wrong_byte_costs_one_sample(place: int, change: int) -> None:
    good = Sample(5, (0.0, 0.0, 0.0, 1.0), (0.25, 0.5, -0.75), (0.0, 0.0, -9.75))
    frame = bytearray(encode_sample(good))
    frame[place] ^= change
    parser = FrameParser()
    found = parser.feed(bytes(frame) + encode_sample(good) * 6)
    assert len(found) in (5, 6)
    assert set(found) == {good}


def imu_bus(**settings: float) -> VectorNavBus:
    return VectorNavBus(BusWiring("trunk", "vectornav", VectorNavSettings.from_mapping(settings), ()))


def test_axes_are_the_robots() -> None:
    tilted = np.array([math.cos(0.2), 0.0, math.sin(0.2), 0.0])  # nose down by 0.4 rad
    imu = ImuReading(tilted, np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 9.0]), 0.0)
    unit = EmulatedVectorNav()
    assert unit.receive(encode_line("VNWRG,75,1,4,01,0131")) == [encode_line("VNWRG,75,1,4,01,0131")]
    (sample,) = FrameParser().feed(unit.frames(imu, 10**9)[0])
    # In the unit's own axes, right and down are positive.
    assert sample.acceleration == pytest.approx((1.0, -2.0, -9.0))
    orientation, rate, acceleration = imu_bus()._in_robot_axes(sample)
    assert orientation == pytest.approx(tilted, abs=1e-6)
    assert rate == pytest.approx(imu.angular_velocity, abs=1e-6)
    assert acceleration == pytest.approx(imu.linear_acceleration, abs=1e-6)


def test_a_turned_unit_is_turned_back() -> None:
    # The unit is mounted a quarter turn to the left: what the robot calls forward is to the unit's right.
    sample = Sample(0, (0.0, 0.0, -math.sqrt(0.5), math.sqrt(0.5)), (0.0, 0.0, 0.0), (0.0, 3.0, -9.0))
    orientation, _, acceleration = imu_bus(mounting_yaw_deg=90.0)._in_robot_axes(sample)
    assert acceleration == pytest.approx([3.0, 0.0, 9.0], abs=1e-6)
    assert orientation == pytest.approx([1.0, 0.0, 0.0, 0.0], abs=1e-6)


def test_frames_that_are_missing_repeated_or_impossible_are_counted() -> None:
    bus = imu_bus()

    def sample(tick: int, quaternion: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)) -> Sample:
        return Sample(tick * 5_000_000, quaternion, (0.0, 0.0, 0.0), (0.0, 0.0, -9.81))

    for one in (sample(1), sample(2), sample(2), sample(6), sample(7, (0.0, 0.0, 0.0, 5.0)), sample(8)):
        bus._take(one, 0.0)
    nan = Sample(9 * 5_000_000, (math.nan, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0), (0.0, 0.0, -9.81))
    bus._take(nan, 0.0)
    counts = {name.partition(".")[2]: value for name, value in bus.counters().items()}
    # The impossible one was there, but as if it had not been.
    assert (counts["missing"], counts["repeated"], counts["implausible"]) == (4, 1, 2)


# --- The encoder


@given(st.integers(0, UNITS_PER_TURN - 1))
def test_positions_come_back_and_one_wrong_bit_is_seen(units: int) -> None:
    answer = encode_position(units)
    assert decode_position(answer) == units
    for bit in range(16):
        broken = int.from_bytes(answer, "little") ^ (1 << bit)
        assert decode_position(broken.to_bytes(2, "little")) is None


def test_the_data_sheets_example() -> None:
    # AMT21 data sheet: the answer 0x61AB says 0x21AB; both check bits fit.
    assert decode_position(bytes.fromhex("AB61")) == 0x21AB


@pytest.mark.parametrize(
    ("orientation", "rate", "acceleration", "expected"),
    [
        ([1.0, 0.0, 0.0, 0.0], [0.0, 1.0, -1.0], [0.0, 0.0, 9.81], True),
        ([0.9, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 9.81], False),
        ([math.nan, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 9.81], False),
        ([1.0, 0.0, 0.0, 0.0], [1e30, 0.0, 0.0], [0.0, 0.0, 9.81], False),
        ([1.0, 0.0, 0.0, 0.0], [0.0, math.nan, 0.0], [0.0, 0.0, 9.81], False),
        ([1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, -math.inf, 9.81], False),
    ],
)
def test_what_no_unit_measures_is_told_from_what_one_may(
    orientation: list[float], rate: list[float], acceleration: list[float], expected: bool
) -> None:
    assert is_plausible(orientation, rate, acceleration) is expected
