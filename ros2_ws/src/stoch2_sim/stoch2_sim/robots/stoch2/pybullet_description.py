"""The URDF as PyBullet simulates it: one link for what does not move, payload and scaled masses.

Bullet can merge links itself, but adds their masses without regard to where they are, and it gives
links without mass one kilogram. So it is done here.
"""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.urdf import description
from stoch2_sim.simulators.protocol import Array


def simulation_description(parameters: RobotParameters) -> str:
    """The URDF of one robot, of moving links only, without looks and limits of the joints.

    Bullet's limits are walls; the motors' torque limit and the gait keep the joints within theirs,
    and MuJoCo's description has none either.

    Args:
        parameters: Masses and payload.

    Returns:
        The text of the file.
    """
    robot = ElementTree.fromstring(description())
    for tag in ("material", "link/visual", "joint/limit"):
        parents = robot.findall(tag.rpartition("/")[0] or ".")
        for parent in parents:
            for element in parent.findall(tag.rpartition("/")[2]):
                parent.remove(element)
    for joint in robot.findall("joint"):
        if joint.get("type") == "fixed":
            _merge(robot, joint)
        else:
            joint.set("type", "continuous")
    for inertial in robot.findall("link/inertial"):
        _scale(inertial, parameters.mass_scale)
    if parameters.payload_kg > 0.0:
        _load(_child(_named(robot, "link", "base_link"), "inertial"), parameters)
    return ElementTree.tostring(robot, encoding="unicode")


def _child(parent: Element, path: str) -> Element:
    """The one element at a path; that it is there is part of our own description."""
    element = parent.find(path)
    if element is None:
        raise LookupError(f"Stoch2's URDF has no {path} in {parent.tag} '{parent.get('name')}'")
    return element


def _named(robot: Element, tag: str, name: str | None) -> Element:
    """A link or joint."""
    return _child(robot, f"{tag}[@name='{name}']")


def _vector(element: Element | None, attribute: str = "xyz") -> Array:
    """Three numbers of an attribute; zeros without the element."""
    text = "0 0 0" if element is None else element.get(attribute, "0 0 0")
    return np.array([float(word) for word in text.split()])


def _text(values: Array) -> str:
    """An attribute with all digits."""
    return " ".join(repr(float(value)) for value in values)


def _merge(robot: Element, joint: Element) -> None:
    """Make a fixed link part of its parent; our fixed joints do not turn."""
    parent = _named(robot, "link", _child(joint, "parent").get("link"))
    child = _named(robot, "link", _child(joint, "child").get("link"))
    offset = _vector(joint.find("origin"))
    for element in list(child):
        origin = element.find("origin")
        if origin is None:
            origin = SubElement(element, "origin")
        origin.set("xyz", _text(_vector(origin) + offset))
        parent.append(element)
    robot.remove(child)
    robot.remove(joint)
    for other in robot.findall("joint/parent"):
        if other.get("link") == child.get("name"):
            other.set("link", str(parent.get("name")))


_AXES = ("x", "y", "z")


def _scale(inertial: Element, factor: float) -> None:
    """Make a link heavier or lighter at the same shape."""
    mass, inertia = _child(inertial, "mass"), _child(inertial, "inertia")
    mass.set("value", repr(factor * float(mass.get("value", "0"))))
    for name, value in inertia.attrib.items():
        inertia.set(name, repr(factor * float(value)))


def _load(inertial: Element, parameters: RobotParameters) -> None:
    """Add the payload, a cube, to the trunk's mass, centre and inertia."""
    mass, inertia = _child(inertial, "mass"), _child(inertial, "inertia")
    payload_kg, trunk_kg = parameters.payload_kg, float(mass.get("value", "0"))
    place = np.array([parameters.payload_x_m, parameters.payload_y_m, parameters.payload_z_m])
    trunk_centre = _vector(_child(inertial, "origin"))
    centre = (trunk_kg * trunk_centre + payload_kg * place) / (trunk_kg + payload_kg)
    names = [["i" + "".join(sorted(row + column)) for column in _AXES] for row in _AXES]
    total = np.array([[float(inertia.get(name, "0")) for name in row] for row in names])
    total += payload_kg * payload_edge_m(payload_kg) ** 2 / 6.0 * np.eye(3)
    for part_kg, part_centre in ((trunk_kg, trunk_centre), (payload_kg, place)):
        arm = part_centre - centre
        total += part_kg * (arm @ arm * np.eye(3) - np.outer(arm, arm))
    mass.set("value", repr(trunk_kg + payload_kg))
    _child(inertial, "origin").set("xyz", _text(centre))
    for row in range(3):
        for column in range(row, 3):
            inertia.set(names[row][column], repr(float(total[row, column])))


def payload_edge_m(payload_kg: float) -> float:
    """Edge of the payload's cube, as in the MuJoCo description."""
    return 0.05 + 0.03 * payload_kg
