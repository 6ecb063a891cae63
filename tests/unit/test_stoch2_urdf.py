"""Stoch2's URDF: made from the geometry, and the robot of the kinematics and of MuJoCo."""

from pathlib import Path
from xml.etree import ElementTree

import mujoco
import numpy as np
import numpy.typing as npt
import pytest

from stoch2_sim.robots.stoch2 import urdf_generation
from stoch2_sim.robots.stoch2.gait import joint_targets
from stoch2_sim.robots.stoch2.geometry import JOINT_NAMES, LEGS, SHANK_BEND_RAD, SHANK_PIN_M, TOTAL_MASS_KG
from stoch2_sim.robots.stoch2.kinematics import feet_in_body
from stoch2_sim.robots.stoch2.mjcf import HINGES, robot_mjcf
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.pybullet_description import simulation_description
from stoch2_sim.robots.stoch2.urdf import MOVABLE_JOINT_NAMES, description, passive_joint_positions

Array = npt.NDArray[np.float64]
POSES = joint_targets(np.random.default_rng(1).uniform(-1.0, 1.0, (6, 20)), np.linspace(0.0, 0.9, 6))


def vector(element: ElementTree.Element | None, name: str) -> Array:
    return np.array([float(word) for word in (element.get(name, "0 0 0") if element is not None else "0 0 0").split()])


def rotation(axis: Array, angle: float) -> Array:
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross


def pose(origin: ElementTree.Element | None) -> Array:
    """A homogeneous transformation of an <origin>."""
    roll, pitch, yaw = vector(origin, "rpy")
    matrix = np.eye(4)
    x_axis, y_axis, z_axis = np.eye(3)
    matrix[:3, :3] = rotation(z_axis, yaw) @ rotation(y_axis, pitch) @ rotation(x_axis, roll)
    matrix[:3, 3] = vector(origin, "xyz")
    return matrix


def link_frames(text: str, angles: dict[str, float]) -> dict[str, Array]:
    """Frames of all links in the frame of base_link, as robot_state_publisher works them out."""
    robot = ElementTree.fromstring(text)
    frames = {"base_link": np.eye(4)}
    joints = robot.findall("joint")
    while joints:
        ready = [joint for joint in joints if joint.find("parent").get("link") in frames]
        assert ready, "links that hang from nothing"
        for joint in ready:
            turn = np.eye(4)
            if joint.get("type") != "fixed":
                turn[:3, :3] = rotation(vector(joint.find("axis"), "xyz"), angles[joint.get("name")])
            parent = frames[joint.find("parent").get("link")]
            frames[joint.find("child").get("link")] = parent @ pose(joint.find("origin")) @ turn
            joints.remove(joint)
    return frames


def all_angles(motors: Array) -> dict[str, float]:
    values = np.concatenate([motors.ravel(), passive_joint_positions(motors).ravel()])
    return dict(zip(MOVABLE_JOINT_NAMES, values.tolist(), strict=True))


def mass_properties(text: str, frames: dict[str, Array]) -> tuple[float, Array, Array]:
    """Mass, centre and inertia about the centre of all links together."""
    parts = []
    for inertial in ElementTree.fromstring(text).findall("link[inertial]"):
        element = inertial.find("inertial")
        mass = float(element.find("mass").get("value"))
        tensor = element.find("inertia")
        inertia = np.array([[float(tensor.get("i" + "".join(sorted(a + b)))) for b in "xyz"] for a in "xyz"])
        frame = frames[inertial.get("name")] @ pose(element.find("origin"))
        parts.append((mass, frame[:3, 3], frame[:3, :3] @ inertia @ frame[:3, :3].T))
    return composed(parts)


def composed(parts: list[tuple[float, Array, Array]]) -> tuple[float, Array, Array]:
    mass = sum(part[0] for part in parts)
    centre = sum(part[0] * part[1] for part in parts) / mass
    total = np.zeros((3, 3))
    for part_mass, place, inertia in parts:
        arm = place - centre
        total += inertia + part_mass * (arm @ arm * np.eye(3) - np.outer(arm, arm))
    return mass, centre, total


def mujoco_mass_properties(parameters: RobotParameters, motors: Array) -> tuple[float, Array, Array]:
    model = mujoco.MjModel.from_xml_string(robot_mjcf(parameters))
    data = mujoco.MjData(model)
    angles = all_angles(motors)
    data.qpos[:7] = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    for leg in LEGS:
        for hinge in HINGES:
            data.joint(f"{leg}_{hinge}").qpos[0] = angles[f"{leg}_{hinge}"]
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    parts = []
    for body in range(1, model.nbody):
        axes = data.ximat[body].reshape(3, 3)
        parts.append(
            (model.body_mass[body], data.xipos[body].copy(), axes @ np.diag(model.body_inertia[body]) @ axes.T)
        )
    return composed(parts)


def test_committed_properties_are_up_to_date() -> None:
    committed = (urdf_generation.FOLDER / urdf_generation.PROPERTIES).read_text()
    assert committed == urdf_generation.properties_text(), "run python -m stoch2_sim.robots.stoch2.urdf_generation"


def test_committed_urdf_is_up_to_date() -> None:
    pytest.importorskip("xacro")
    committed = (urdf_generation.FOLDER / urdf_generation.URDF).read_text()
    assert committed == urdf_generation.urdf_text(), "run python -m stoch2_sim.robots.stoch2.urdf_generation"
    assert str(Path.home()) not in committed


def test_movable_joints_are_those_that_the_driver_publishes() -> None:
    joints = ElementTree.fromstring(description()).findall("joint")
    movable = {joint.get("name") for joint in joints if joint.get("type") != "fixed"}
    assert movable == set(MOVABLE_JOINT_NAMES)
    limited = {joint.get("name") for joint in joints if joint.find("limit") is not None}
    assert limited == set(JOINT_NAMES), "the motors have limits, the others follow"


def test_root_link_has_no_mass_and_shapes_need_no_meshes() -> None:
    robot = ElementTree.fromstring(description())
    children = {child.get("link") for child in robot.findall("joint/child")}
    roots = [link for link in robot.findall("link") if link.get("name") not in children]
    assert [root.get("name") for root in roots] == ["base_link"]
    assert roots[0].find("inertial") is None
    assert not robot.findall(".//mesh")


def test_passive_joints_are_zero_with_the_motors() -> None:
    assert passive_joint_positions(np.zeros((3, 4, 3))) == pytest.approx(np.zeros((3, 4, 2)), abs=1e-12)


@pytest.mark.parametrize("motors", POSES)
def test_feet_and_pins_are_where_the_kinematics_say(motors: Array) -> None:
    frames = link_frames(description(), all_angles(motors))
    feet = np.array([frames[f"{leg}_foot"][:3, 3] for leg in LEGS])
    assert feet == pytest.approx(feet_in_body(motors), abs=1e-8)
    coupler_end = np.array([0.0, 0.0, -urdf_generation.properties()["coupler_length"], 1.0])
    pin = np.array([-SHANK_PIN_M * np.sin(SHANK_BEND_RAD), 0.0, -SHANK_PIN_M * np.cos(SHANK_BEND_RAD), 1.0])
    for leg in LEGS:
        assert frames[f"{leg}_coupler_link"] @ coupler_end == pytest.approx(frames[f"{leg}_shank"] @ pin, abs=1e-8)


@pytest.mark.parametrize("motors", POSES[:2])
def test_masses_and_inertias_are_those_of_mujoco(motors: Array) -> None:
    frames = link_frames(description(), all_angles(motors))
    mass, centre, inertia = mass_properties(description(), frames)
    expected_mass, expected_centre, expected_inertia = mujoco_mass_properties(RobotParameters(), motors)
    assert mass == pytest.approx(TOTAL_MASS_KG, abs=1e-9)
    assert mass == pytest.approx(expected_mass, abs=1e-9)
    assert centre == pytest.approx(expected_centre, abs=1e-7)
    assert inertia == pytest.approx(expected_inertia, abs=1e-7)


def test_description_for_pybullet_weighs_the_same_with_payload_and_scaled_masses() -> None:
    parameters = RobotParameters(payload_kg=0.8, payload_x_m=0.1, payload_y_m=-0.05, mass_scale=1.3)
    text = simulation_description(parameters)
    frames = link_frames(text, all_angles(POSES[0]))
    mass, centre, inertia = mass_properties(text, frames)
    expected_mass, expected_centre, expected_inertia = mujoco_mass_properties(parameters, POSES[0])
    assert mass == pytest.approx(expected_mass, abs=1e-9)
    assert centre == pytest.approx(expected_centre, abs=1e-7)
    assert inertia == pytest.approx(expected_inertia, abs=1e-7)


def test_description_for_pybullet_has_moving_links_only() -> None:
    robot = ElementTree.fromstring(simulation_description(RobotParameters()))
    assert {joint.get("name") for joint in robot.findall("joint")} == set(MOVABLE_JOINT_NAMES)
    assert all(link.find("inertial") is not None for link in robot.findall("link"))
    feet = [robot.find(f"link[@name='{leg}_shank']/collision/geometry/sphere") for leg in LEGS]
    assert None not in feet, "the feet became part of the shanks"
