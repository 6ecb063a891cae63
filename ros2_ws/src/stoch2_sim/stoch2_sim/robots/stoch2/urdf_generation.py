"""Writes Stoch2's URDF: ``python -m stoch2_sim.robots.stoch2.urdf_generation``.

The numbers come from :mod:`~stoch2_sim.robots.stoch2.geometry`, as those of the MuJoCo description
do, so that there is one robot. They are written as properties beside ``stoch2.urdf.xacro``, which
holds the structure; ``xacro`` makes ``stoch2.urdf`` of the two. All three are committed: whoever
builds a larger robot includes the xacro with ROS's own tools, and whoever only runs this one needs
no xacro. The package ``xacro`` of PyPI is ROS's program (extra ``test``).
"""

from __future__ import annotations

import importlib
import math
import re
from pathlib import Path

import numpy as np

from demo_control.configuration import ConfigurationError
from stoch2_sim.robots.stoch2 import geometry
from stoch2_sim.robots.stoch2.kinematics import link_directions
from stoch2_sim.simulators.protocol import Array

FOLDER = Path(__file__).parent
PROPERTIES = "stoch2_properties.xacro"
SOURCE = "stoch2.urdf.xacro"
URDF = "stoch2.urdf"

_NOTICE = "Written by python -m stoch2_sim.robots.stoch2.urdf_generation"


def properties() -> dict[str, float]:
    """Every number of the xacro file by name; SI units."""
    shank_zero, coupler_zero = (float(angle) for angle in link_directions(np.zeros(3)))
    numbers: dict[str, float] = {
        "abduction_front_x": geometry.ABDUCTION_FRONT_X_M,
        "abduction_back_x": geometry.ABDUCTION_BACK_X_M,
        "abduction_y": geometry.ABDUCTION_Y_M,
        "abduction_z": geometry.ABDUCTION_Z_M,
        "hip_motor_x": geometry.HIP_MOTOR_X_M,
        "crank_motor_x": geometry.CRANK_MOTOR_X_M,
        "motor_drop": geometry.MOTOR_DROP_M,
        "thigh_length": geometry.THIGH_M,
        "shank_length": geometry.SHANK_M,
        "shank_pin_length": geometry.SHANK_PIN_M,
        "shank_bend": geometry.SHANK_BEND_RAD,
        "crank_length": geometry.CRANK_M,
        "coupler_length": geometry.COUPLER_M,
        "foot_radius": geometry.FOOT_RADIUS_M,
        # A link points along -z of its frame: pitch turns it from straight down to its zero direction.
        "hip_pitch": -(geometry.THIGH_ZERO_RAD + 0.5 * math.pi),
        "elbow_pitch": -(shank_zero - geometry.THIGH_ZERO_RAD),
        "knee_pitch": -(geometry.CRANK_ZERO_RAD + 0.5 * math.pi),
        "coupler_pitch": -(coupler_zero - geometry.CRANK_ZERO_RAD),
        "torque_limit": geometry.TORQUE_LIMIT_NM,
        "bar_thickness": geometry.BAR_THICKNESS_M,
        "bar_side": geometry.CRANK_SIDE_M,
        "thigh_width": geometry.THIGH_WIDTH_M,
        "shank_width": geometry.SHANK_WIDTH_M,
        "crank_width": geometry.CRANK_WIDTH_M,
        "coupler_width": geometry.COUPLER_WIDTH_M,
        "abduction_centre_inward": geometry.ABDUCTION_CENTRE_INWARD_M,
        "abduction_centre_drop": geometry.ABDUCTION_CENTRE_DROP_M,
        "abduction_mass": geometry.ABDUCTION_MASS_KG,
        "thigh_mass": geometry.THIGH_MASS_KG,
        "link_mass": geometry.LINK_MASS_KG,
    }
    for index, joint in enumerate(geometry.JOINTS):
        numbers[f"{joint}_minimum"] = float(geometry.JOINT_MINIMUM_RAD[index])
        numbers[f"{joint}_maximum"] = float(geometry.JOINT_MAXIMUM_RAD[index])
    for part, box in (("trunk", geometry.TRUNK_BOX_M), ("abduction", geometry.ABDUCTION_BOX_M)):
        numbers |= {f"{part}_box_{axis}": edge for axis, edge in zip("xyz", box, strict=True)}
    numbers |= _link_inertias()
    return numbers | _trunk_inertia()


def _link_inertias() -> dict[str, float]:
    """Centres and inertias of the legs' links, in the axes of the links' frames."""
    numbers = {
        "thigh_centre_z": -geometry.THIGH_CENTRE_M,
        "crank_centre_z": -geometry.CRANK_CENTRE_M,
        "coupler_centre_z": -geometry.COUPLER_CENTRE_M,
    }
    for part, principal in (
        ("abduction", geometry.ABDUCTION_INERTIA_KGM2),
        ("thigh", geometry.THIGH_INERTIA_KGM2),
        ("crank", geometry.CRANK_INERTIA_KGM2),
        ("coupler", geometry.COUPLER_INERTIA_KGM2),
    ):
        numbers |= _named(part, np.diag(principal))
    # The shank's are published in other axes: turn them until the foot is straight below the elbow.
    angle = math.atan2(geometry.SHANK_FOOT_M[0], -geometry.SHANK_FOOT_M[1])
    turn = np.array(
        [[math.cos(angle), 0.0, math.sin(angle)], [0.0, 1.0, 0.0], [-math.sin(angle), 0.0, math.cos(angle)]]
    )
    centre = turn @ np.array([geometry.SHANK_CENTRE_M[0], 0.0, geometry.SHANK_CENTRE_M[1]])
    numbers |= {"shank_centre_x": float(centre[0]), "shank_centre_z": float(centre[2])}
    return numbers | _named("shank", turn @ np.diag(geometry.SHANK_INERTIA_KGM2) @ turn.T)


def _trunk_inertia() -> dict[str, float]:
    """Mass, centre and inertia of base, front and back half together."""
    half_kg, half_kgm2 = geometry.TRUNK_HALF_MASS_KG, geometry.TRUNK_HALF_INERTIA_KGM2
    parts = (
        (geometry.BASE_MASS_KG, np.array(geometry.BASE_CENTRE_M), geometry.BASE_INERTIA_KGM2),
        (half_kg, np.array(geometry.TRUNK_FRONT_CENTRE_M), half_kgm2),
        (half_kg, np.array(geometry.TRUNK_BACK_CENTRE_M), half_kgm2),
    )
    mass = sum(part[0] for part in parts)
    centre = sum((part[0] * part[1] for part in parts), np.zeros(3)) / mass
    inertia = np.zeros((3, 3))
    for part_mass, part_centre, principal in parts:
        arm = part_centre - centre
        inertia += np.diag(principal) + part_mass * (arm @ arm * np.eye(3) - np.outer(arm, arm))
    numbers = {"trunk_mass": mass, "trunk_front_x": geometry.TRUNK_FRONT_CENTRE_M[0]}
    numbers |= {"trunk_back_x": geometry.TRUNK_BACK_CENTRE_M[0]}
    numbers |= {"trunk_front_z": geometry.TRUNK_FRONT_CENTRE_M[2], "trunk_back_z": geometry.TRUNK_BACK_CENTRE_M[2]}
    numbers |= {f"trunk_centre_{axis}": float(value) for axis, value in zip("xyz", centre, strict=True)}
    return numbers | _named("trunk", inertia)


def _named(part: str, inertia: Array) -> dict[str, float]:
    """The entries of an inertia that are not zero as properties."""
    axes = "xyz"
    return {
        f"{part}_i{axes[row]}{axes[column]}": float(inertia[row, column])
        for row in range(3)
        for column in range(row, 3)
        if inertia[row, column] != 0.0
    }


def properties_text() -> str:
    """The text of the properties file."""
    lines = [
        '<?xml version="1.0"?>',
        f"<!-- {_NOTICE} from geometry.py; do not edit. -->",
        '<robot xmlns:xacro="http://www.ros.org/wiki/xacro">',
    ]
    lines += [f'  <xacro:property name="{name}" value="{_number(value)}"/>' for name, value in properties().items()]
    return "\n".join([*lines, "</robot>", ""])


def urdf_text() -> str:
    """The URDF as xacro makes it of the files in this folder.

    Raises:
        ConfigurationError: xacro is not installed.
    """
    try:
        xacro = importlib.import_module("xacro")
    except ImportError:
        raise ConfigurationError("the URDF is made by xacro, which is not installed: `pip install xacro`") from None
    document = xacro.process_file(str(FOLDER / SOURCE))
    # From the robot's element on: above it xacro names the path of its input.
    text: str = document.documentElement.toprettyxml(indent="  ")
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    # The last digits of xacro's sums are rounding.
    lines = [re.sub(r"-?\d+\.\d+(?:e-?\d+)?", lambda match: _number(float(match[0])), line) for line in lines]
    return "\n".join(['<?xml version="1.0"?>', f"<!-- {_NOTICE}; do not edit. -->", *lines, ""])


def _number(value: float) -> str:
    """Nine digits: more than matters, fewer than rounding reaches; adding zero turns -0 into 0."""
    return f"{round(value, 12) + 0.0:.9g}"


def main() -> None:
    """Write the properties, then the URDF."""
    (FOLDER / PROPERTIES).write_text(properties_text(), encoding="utf-8")
    (FOLDER / URDF).write_text(urdf_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
