"""Wirings: the shipped ones load, and whatever is wrong is told in one line."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from demo_control.configuration import ConfigurationError
from demo_control.hardware.composite import open_bus
from demo_control.hardware.wiring import load_wiring
from stoch2_sim.robots.stoch2.geometry import JOINT_MAXIMUM_RAD, JOINT_MINIMUM_RAD, JOINT_NAMES

from .conftest import TWO_SERVOS


def write(folder: Path, content: object) -> Path:
    path = folder / "robot.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    content: dict[str, Any] = copy.deepcopy(TWO_SERVOS)
    change(content)
    return content


def elbow(content: dict[str, Any]) -> dict[str, Any]:
    joint: dict[str, Any] = content["buses"]["arm"]["joints"]["elbow"]
    return joint


@pytest.mark.parametrize("name", ["stoch2", "cartpole", "stoch2_ros2_control", "cartpole_ros2_control"])
def test_the_shipped_examples_are_good(name: str) -> None:
    if "ros2" in name:
        pytest.importorskip("rclpy")
    wiring = load_wiring(Path(str(files("stoch2_sim").joinpath("wiring", f"{name}.yaml"))))
    assert wiring.task == name.partition("_")[0]
    assert open_bus(wiring).describe().joints


def test_stoch2s_limits_are_those_of_its_gait() -> None:
    wiring = load_wiring(Path(str(files("stoch2_sim").joinpath("wiring", "stoch2.yaml"))))
    assert tuple(joint.name for joint in wiring.joints) == JOINT_NAMES
    assert [joint.minimum for joint in wiring.joints] == JOINT_MINIMUM_RAD.tolist() * 4
    assert [joint.maximum for joint in wiring.joints] == JOINT_MAXIMUM_RAD.tolist() * 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(robott=1), "unknown field 'robott'; did you mean 'robot'?"),
        (lambda c: c.pop("robot"), "robot is missing"),
        (lambda c: c.update(buses={}), "buses: at least one is needed"),
        (lambda c: c["buses"]["arm"].pop("kind"), "buses.arm.kind is missing"),
        (lambda c: c["buses"]["arm"].update(kind="dynamixl"), "kind = 'dynamixl': must be one of .*did you mean"),
        (
            lambda c: c["buses"]["arm"].update(baudrate=1),
            "unknown field 'buses.arm.baudrate'; did you mean 'baud_rate'",
        ),
        (lambda c: c["buses"]["arm"].update(baud_rate=123456), "baud_rate = 123456: must be one of 9600, 57600"),
        (lambda c: c["buses"]["arm"].update(watchdog_ms=50), "watchdog_ms = 50: must be a multiple of 20"),
        (lambda c: c["buses"]["arm"].pop("joints"), "a bus of kind 'dynamixel' needs joints"),
        (lambda c: elbow(c).update(id=3), "joints.elbow.id = 3: is shoulder's already"),
        (lambda c: elbow(c).pop("id"), "elbow.id = 'missing': must be a whole number between 0 and 252"),
        (lambda c: elbow(c).update(id=253), "elbow.id = 253: must be a whole number between 0 and 252"),
        (lambda c: elbow(c).update(id="4"), "id = '4'|id = 4.0: expected int"),
        (lambda c: elbow(c).update(model="xm540"), "elbow.model = 'xm540': must be one of xm430-w210"),
        (lambda c: elbow(c).update(sign=0), "elbow.sign = 0: must be 1 or -1"),
        (
            lambda c: elbow(c).update(offset_deg=5),
            "unknown field 'buses.arm.joints.elbow.offset_deg'; did you mean 'off",
        ),
        (lambda c: elbow(c).update(minimum_rad=-57.3), "minimum_rad = -57.3: must be between"),
        (lambda c: elbow(c).update(minimum_rad=2.0), "minimum_rad = 2.0: must be less than maximum_rad"),
        (lambda c: elbow(c).update(minimum_m=0.1), "unknown field 'buses.arm.joints.elbow.minimum_m'"),
        (lambda c: elbow(c).update(torque_nm=float("nan")), "torque_nm = nan: must be finite"),
        (lambda c: c.update(safety={"stop": "sit"}), "stop = 'sit': must be one of robot, hold, damp, release"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path: Path, change: Callable[[Any], object], message: str) -> None:
    path = write(tmp_path, changed(change))
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_wiring(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_buses_cannot_share_a_port_or_a_joint(tmp_path: Path) -> None:
    def twice(content: dict[str, Any]) -> None:
        content["buses"]["leg"] = copy.deepcopy(content["buses"]["arm"])

    with pytest.raises(ConfigurationError, match="joint 'shoulder' occurs twice"):
        load_wiring(write(tmp_path, changed(twice)))

    def port(content: dict[str, Any]) -> None:
        content["buses"]["imu"] = {"kind": "vectornav", "port": content["buses"]["arm"]["port"]}

    with pytest.raises(ConfigurationError, match="port '/dev/null' occurs twice"):
        load_wiring(write(tmp_path, changed(port)))


def test_a_name_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text("robot: a\nrobot: b\n")
    with pytest.raises(ConfigurationError, match="'robot' occurs twice"):
        load_wiring(path)


def test_the_calibration_replaces_the_zeros_of_its_own_robot_only(tmp_path: Path) -> None:
    path = write(tmp_path, TWO_SERVOS)
    calibration = path.with_suffix(".calibration.yaml")
    calibration.write_text("robot: bench-01\ndate: '2026-01-02T03:04:05'\noffsets_rad: {elbow: 0.25}\n")
    wiring = load_wiring(path)
    assert [joint.offset_rad for joint in wiring.joints] == [0.5, 0.25]
    assert wiring.calibrated == "2026-01-02T03:04:05"
    calibration.write_text("robot: bench-02\noffsets_rad: {elbow: 0.25}\n")
    with pytest.raises(ConfigurationError, match=r"robot = 'bench-02': .* is of the robot 'bench-01'"):
        load_wiring(path)
    calibration.write_text("robot: bench-01\noffsets_rad: {wrist: 0.25}\n")
    with pytest.raises(ConfigurationError, match=r"unknown field 'offsets_rad.wrist'"):
        load_wiring(path)


@pytest.mark.parametrize("content", ["", "[1, 2]", "a: [", "\x00", "robot: {a: b}", "buses: 5\nrobot: a\ntask: b"])
def test_files_that_are_no_wiring_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text(content)
    with pytest.raises(ConfigurationError):
        load_wiring(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_wiring(tmp_path / "none.yaml")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
# Where a value goes: the whole file, its bus, or a joint.
PLACES = st.sampled_from(
    [(0, name) for name in ("robot", "task", "buses", "safety")]
    + [(1, name) for name in ("kind", "port", "baud_rate", "joints")]
    + [(2, name) for name in ("id", "model", "sign", "offset_rad", "maximum_rad")]
)


@settings(max_examples=60)
@given(PLACES, VALUES)
def test_any_value_anywhere_is_taken_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: tuple[int, str], value: object
) -> None:
    content: dict[str, Any] = copy.deepcopy(TWO_SERVOS)
    (content, content["buses"]["arm"], elbow(content))[place[0]][place[1]] = value
    path = write(tmp_path_factory.mktemp("wiring"), content)
    with contextlib.suppress(ConfigurationError):
        load_wiring(path)
