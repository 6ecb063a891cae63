"""Stoch2 and its ground as MuJoCo descriptions, written from the geometry.

The joints of a leg are hinges whose zero is that of the motors, also those without a motor; four
`connect` constraints close the five-bar linkages. The settings of steps, contacts, loops and rotors
are those with which the linkages stay closed and standing feet do not creep. Steps of 1.25 ms keep
the pins together within half a millimetre while walking; with 2.5 ms it is two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from stoch2_sim.robots.stoch2 import geometry as g
from stoch2_sim.robots.stoch2.kinematics import link_directions
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.terrain import Plane, Rough, Stairs, Terrain, make_terrain
from stoch2_sim.simulators.protocol import Array

PHYSICS_STEP_S = 0.00125
# Per leg in the order of the coordinates; the last two have no motor.
HINGES = ("abduction", "hip", "elbow", "knee", "coupler")

# Directions of shank and coupler when both motors are at zero.
_SHANK_ZERO_RAD, _COUPLER_ZERO_RAD = (float(angle) for angle in link_directions(np.zeros(3)))

# Looks, RGBA.
_DARK = "0.16 0.18 0.21 1"
_PLATE = "0.93 0.69 0.13 1"
_MOTOR = "0.27 0.30 0.34 1"
_ALUMINIUM = "0.74 0.77 0.80 1"
_LINKAGE = "0.85 0.33 0.10 1"
_RUBBER = "0.07 0.07 0.08 1"
_COLLIDES = {"contype": "0", "conaffinity": "1"}
_LOOKS = {"contype": "0", "conaffinity": "0", "group": "1"}


def robot_mjcf(parameters: RobotParameters) -> str:
    """The MuJoCo description of one robot on its ground.

    Args:
        parameters: Of robot and ground.

    Returns:
        The text of the file.
    """
    root = Element("mujoco", model="stoch2")
    _settings(root)
    world = SubElement(root, "worldbody")
    terrain = make_terrain(parameters)
    _ground(root, world, terrain)
    trunk = _trunk(world, parameters)
    # Straight down on the ground: at its edges, a slanting light's shadow map has specks.
    SubElement(trunk, "light", mode="trackcom", pos="0 0 2", dir=_numbers(-terrain.normal), directional="true")
    _loops(root)
    _actuators(root, parameters)
    _sensors(root)
    return ElementTree.tostring(root, encoding="unicode")


def coordinates(position: Array, orientation: Array, joints: Array) -> Array:
    """MuJoCo's coordinates of robots whose linkages are closed.

    Args:
        position: Of the trunk's origin, metres. Shape=(..., 3).
        orientation: Unit quaternions (w, x, y, z). Shape=(..., 4).
        joints: Radians. Shape=(..., 4, 3).

    Returns:
        Shape=(..., 27).
    """
    shank, coupler = link_directions(joints)
    abduction, hip, knee = (joints[..., index] for index in range(g.NUM_JOINTS))
    hinges = {"abduction": abduction, "hip": hip, "knee": knee}
    hinges["elbow"] = shank - _SHANK_ZERO_RAD - hip
    hinges["coupler"] = coupler - _COUPLER_ZERO_RAD - knee
    angles = np.stack([hinges[name] for name in HINGES], axis=-1)
    return np.concatenate([position, orientation, angles.reshape(*angles.shape[:-2], -1)], axis=-1)


def joints_of(qpos: Array) -> Array:
    """The motors' angles among MuJoCo's coordinates.

    Args:
        qpos: Shape=(..., 27).

    Returns:
        Radians. Shape=(..., 4, 3).
    """
    hinges = qpos[..., 7:].reshape(*qpos.shape[:-1], g.NUM_LEGS, len(HINGES))
    return np.asarray(hinges[..., [HINGES.index(name) for name in g.JOINTS]])


def _numbers(values: Sequence[float] | Array | float) -> str:
    """An attribute's text, with all digits."""
    return " ".join(repr(float(value)) for value in np.atleast_1d(np.asarray(values, dtype=np.float64)))


def _along(direction_rad: float, length_m: float, side_m: float = 0.0) -> tuple[float, float, float]:
    """A point of the leg plane in body axes."""
    return (length_m * math.cos(direction_rad), side_m, length_m * math.sin(direction_rad))


def _settings(root: Element) -> None:
    """How the physics is computed and what the ground looks like."""
    SubElement(root, "compiler", angle="radian", autolimits="true", fusestatic="true")
    option = SubElement(root, "option", timestep=_numbers(PHYSICS_STEP_S), gravity=_numbers((0, 0, -g.GRAVITY_MPS2)))
    option.attrib.update(integrator="implicitfast", cone="elliptic", impratio="10", jacobian="sparse")
    # A state that is no longer finite is to be seen, not replaced by MuJoCo with the initial one.
    SubElement(option, "flag", autoreset="disable")
    visual = SubElement(root, "visual")
    SubElement(visual, "global", offwidth="1280", offheight="720")
    # Pictures are drawn without a graphics card, too: smoothed edges would take half of the time.
    SubElement(visual, "quality", shadowsize="1024", offsamples="0")
    SubElement(visual, "map", shadowclip="0.7")
    # The size of the scene for shadows, whatever the size of the ground.
    SubElement(root, "statistic", extent="1", center="0 0 0.2")
    SubElement(visual, "headlight", ambient="0.45 0.45 0.45", diffuse="0.35 0.35 0.35", specular="0.1 0.1 0.1")
    assets = SubElement(root, "asset")
    SubElement(
        assets, "texture", type="skybox", builtin="gradient", rgb1="0.86 0.90 0.94", rgb2="0.52 0.60 0.70", width="64",
        height="384",
    )  # fmt: skip
    SubElement(
        assets, "texture", name="checks", type="2d", builtin="checker", mark="edge", rgb1="0.62 0.66 0.64",
        rgb2="0.51 0.56 0.55", markrgb="0.40 0.44 0.44", width="256", height="256",
    )  # fmt: skip
    # A square is 0.1 m: two squares to a repetition of the texture.
    SubElement(assets, "material", name="ground", texture="checks", texuniform="true", texrepeat="5 5")


def _ground(root: Element, world: Element, terrain: Terrain) -> None:
    """The terrain's shapes; friction is the feet's affair."""
    looks = {"material": "ground", "contype": "1", "conaffinity": "0"}
    if isinstance(terrain, Plane):
        half = 0.5 * terrain.slope_rad
        axis = (math.sin(terrain.direction_rad), -math.cos(terrain.direction_rad))
        tilt = (math.cos(half), math.sin(half) * axis[0], math.sin(half) * axis[1], 0.0)
        SubElement(world, "geom", looks, name="ground", type="plane", size="0 0 0.1", quat=_numbers(tilt))
    elif isinstance(terrain, Stairs):
        for index, box in enumerate(terrain.boxes()):
            turn = (math.cos(0.5 * box.yaw_rad), 0.0, 0.0, math.sin(0.5 * box.yaw_rad))
            SubElement(
                world, "geom", looks, name=f"ground_{index}", type="box", pos=_numbers(box.centre_m),
                size=_numbers(box.half_sizes_m), quat=_numbers(turn),
            )  # fmt: skip
    else:
        _height_field(root, world, terrain, looks)


def _height_field(root: Element, world: Element, terrain: Rough, looks: dict[str, str]) -> None:
    """A rough terrain. MuJoCo wants the highest y first, and scales the lowest to 0, the highest to 1."""
    heights = terrain.heights_m
    lowest, span = float(heights.min()), max(float(np.ptp(heights)), 1e-6)
    rows, columns = heights.shape
    assets = root.find("asset")
    assert assets is not None  # written by _settings
    SubElement(
        assets, "hfield", name="ground", nrow=str(rows), ncol=str(columns),
        size=_numbers((terrain.half_extent_m, terrain.half_extent_m, span, 0.1)),
        elevation=" ".join(f"{value:.6g}" for value in ((heights[::-1] - lowest) / span).ravel()),
    )  # fmt: skip
    SubElement(world, "geom", looks, name="ground", type="hfield", hfield="ground", pos=_numbers((0.0, 0.0, lowest)))
    beyond = _numbers((0.0, 0.0, terrain.beyond_m))
    SubElement(world, "geom", looks, name="ground_beyond", type="plane", size="0 0 0.1", pos=beyond)


def _inertial(
    body: Element,
    parameters: RobotParameters,
    mass_kg: float,
    centre_m: Sequence[float],
    inertia_kgm2: Sequence[float],
    turn_rad: float = 0.0,
) -> None:
    """Mass and inertia of a link; the axes are turned from the body's by an angle in the leg plane."""
    scale = parameters.mass_scale
    SubElement(
        body, "inertial", mass=_numbers(scale * mass_kg), pos=_numbers(centre_m),
        diaginertia=_numbers(scale * np.asarray(inertia_kgm2)),
        quat=_numbers((math.cos(0.5 * turn_rad), 0.0, -math.sin(0.5 * turn_rad), 0.0)),
    )  # fmt: skip


def _trunk(world: Element, parameters: RobotParameters) -> Element:
    """The trunk with its legs: base, front and back half, payload, and the place of the IMU."""
    trunk = SubElement(world, "body", name="trunk", pos="0 0 0.25")
    SubElement(trunk, "freejoint", name="trunk")
    SubElement(trunk, "site", name="imu", size="0.005")
    _inertial(trunk, parameters, g.BASE_MASS_KG, g.BASE_CENTRE_M, g.BASE_INERTIA_KGM2)
    _box(trunk, (0.0, 0.0, 0.012), (0.20, 0.075, 0.03), _DARK)
    for name, centre, end in (
        ("front_half", g.TRUNK_FRONT_CENTRE_M, 1.0),
        ("back_half", g.TRUNK_BACK_CENTRE_M, -1.0),
    ):
        half = SubElement(trunk, "body", name=name)
        _inertial(half, parameters, g.TRUNK_HALF_MASS_KG, centre, g.TRUNK_HALF_INERTIA_KGM2)
        middle = (centre[0] - 0.02 * end, 0.0, centre[2])
        half_sizes = _numbers(0.5 * np.array(g.TRUNK_BOX_M))
        SubElement(half, "geom", _COLLIDES, type="box", pos=_numbers(middle), size=half_sizes, rgba=_DARK, mass="0")
        _box(half, (middle[0], 0.0, middle[2] + 0.042), (0.105, 0.165, 0.006), _PLATE)
        _box(half, (middle[0] + 0.061 * end, 0.0, middle[2]), (0.004, 0.13, 0.05), _PLATE if end > 0 else _MOTOR)
    if parameters.payload_kg > 0.0:
        place = (parameters.payload_x_m, parameters.payload_y_m, parameters.payload_z_m)
        load = SubElement(trunk, "body", name="payload", pos=_numbers(place))
        edge = 0.05 + 0.03 * parameters.payload_kg
        inertia = parameters.payload_kg * edge**2 / 6.0
        SubElement(
            load, "inertial", mass=_numbers(parameters.payload_kg), pos="0 0 0", diaginertia=_numbers([inertia] * 3)
        )
        _box(load, (0.0, 0.0, 0.0), (edge, edge, edge), "0.36 0.20 0.55 1")
    for index in range(g.NUM_LEGS):
        _leg(trunk, parameters, index)
    return trunk


def _box(body: Element, centre: Sequence[float], edges: Sequence[float], colour: str) -> None:
    """A block that is only looked at."""
    half_sizes = _numbers(0.5 * np.asarray(edges))
    SubElement(body, "geom", _LOOKS, type="box", pos=_numbers(centre), size=half_sizes, rgba=colour, mass="0")


def _rod(body: Element, start: Sequence[float], end: Sequence[float], width_m: float, colour: str) -> None:
    """A bar that is only looked at."""
    ends = _numbers([*start, *end])
    SubElement(body, "geom", _LOOKS, type="capsule", fromto=ends, size=_numbers(0.5 * width_m), rgba=colour, mass="0")


def _pivot(body: Element, centre: Sequence[float], radius_m: float, length_m: float, colour: str) -> None:
    """A motor or bearing about the leg plane's normal, only looked at."""
    SubElement(
        body, "geom", _LOOKS, type="cylinder", pos=_numbers(centre), size=_numbers((radius_m, 0.5 * length_m)),
        quat=_numbers((math.sqrt(0.5), math.sqrt(0.5), 0.0, 0.0)), rgba=colour, mass="0",
    )  # fmt: skip


def _hinge(body: Element, leg: str, name: str, axis: Sequence[float]) -> None:
    """A joint; where it has a motor, the inertia of the rotor adds to that of the links."""
    rotor = g.ROTOR_INERTIA_KGM2 if name in g.JOINTS else 0.0
    SubElement(body, "joint", name=f"{leg}_{name}", type="hinge", axis=_numbers(axis), armature=_numbers(rotor))


def _leg(trunk: Element, parameters: RobotParameters, index: int) -> None:
    """One five-bar leg, still open at the pin between shank and coupler."""
    leg, outward = g.LEGS[index], float(g.OUTWARD_SIGNS[index])
    forward_sign = 1.0 if leg.startswith("front") else -1.0
    block = SubElement(trunk, "body", name=f"{leg}_abduction", pos=_numbers(g.ABDUCTION_ORIGINS_M[index]))
    _hinge(block, leg, "abduction", (outward, 0.0, 0.0))
    centre = (0.0, -outward * g.ABDUCTION_CENTRE_INWARD_M, -g.ABDUCTION_CENTRE_DROP_M)
    _inertial(block, parameters, g.ABDUCTION_MASS_KG, centre, g.ABDUCTION_INERTIA_KGM2)
    half_sizes = 0.5 * np.array(g.ABDUCTION_BOX_M)
    place = (0.0, -outward * g.ABDUCTION_BOX_INWARD_M, -g.ABDUCTION_BOX_DROP_M)
    SubElement(
        block, "geom", _COLLIDES, type="box", pos=_numbers(place), size=_numbers(half_sizes), rgba=_MOTOR, mass="0"
    )
    _rod(block, (-0.03 * forward_sign, 0, 0), (0.045 * forward_sign, 0, 0), 0.034, _DARK)
    for x, colour in ((g.HIP_MOTOR_X_M, _ALUMINIUM), (g.CRANK_MOTOR_X_M, _LINKAGE)):
        _pivot(block, (x, -outward * 0.012, -g.MOTOR_DROP_M), 0.0155, 0.03, _DARK)
        _pivot(block, (x, outward * 0.006, -g.MOTOR_DROP_M), 0.009, 0.022, colour)
    _thigh_and_shank(block, parameters, leg, outward)
    _crank_and_coupler(block, parameters, leg, outward)


def _thigh_and_shank(block: Element, parameters: RobotParameters, leg: str, outward: float) -> None:
    """From the hip motor to the foot."""
    thigh = SubElement(block, "body", name=f"{leg}_thigh", pos=_numbers((g.HIP_MOTOR_X_M, 0.0, -g.MOTOR_DROP_M)))
    _hinge(thigh, leg, "hip", (0.0, -1.0, 0.0))
    # The bars' last principal axis is along them: a quarter turn ahead of the first in the leg plane.
    along = g.THIGH_ZERO_RAD - 0.5 * math.pi
    _inertial(
        thigh, parameters, g.THIGH_MASS_KG, _along(g.THIGH_ZERO_RAD, g.THIGH_CENTRE_M), g.THIGH_INERTIA_KGM2, along
    )
    elbow = _along(g.THIGH_ZERO_RAD, g.THIGH_M)
    _rod(thigh, (0.0, 0.0, 0.0), elbow, g.THIGH_WIDTH_M, _ALUMINIUM)
    SubElement(thigh, "geom", _COLLIDES, type="sphere", size="0.0125", pos=_numbers(elbow), rgba=_DARK, mass="0")
    shank = SubElement(thigh, "body", name=f"{leg}_shank", pos=_numbers(elbow))
    _hinge(shank, leg, "elbow", (0.0, -1.0, 0.0))
    # The published centre of mass is in axes of its own; they are turned by this much.
    turn = _SHANK_ZERO_RAD - math.atan2(g.SHANK_FOOT_M[1], g.SHANK_FOOT_M[0])
    centre_direction = math.atan2(g.SHANK_CENTRE_M[1], g.SHANK_CENTRE_M[0]) + turn
    centre = _along(centre_direction, math.hypot(*g.SHANK_CENTRE_M))
    _inertial(shank, parameters, g.LINK_MASS_KG, centre, g.SHANK_INERTIA_KGM2, turn)
    foot = _along(_SHANK_ZERO_RAD, g.SHANK_M)
    pin = _along(_SHANK_ZERO_RAD - g.SHANK_BEND_RAD, g.SHANK_PIN_M)
    _rod(shank, (0.0, 0.0, 0.0), pin, g.SHANK_WIDTH_M, _ALUMINIUM)
    _rod(shank, pin, foot, g.SHANK_WIDTH_M * 0.8, _ALUMINIUM)
    _pivot(shank, (pin[0], outward * 0.006, pin[2]), 0.007, 0.022, _LINKAGE)
    SubElement(shank, "site", name=f"{leg}_shank_pin", pos=_numbers(pin), size="0.003", group="4")
    SubElement(
        shank, "geom", _COLLIDES, name=f"{leg}_foot", type="sphere", size=_numbers(g.FOOT_RADIUS_M),
        pos=_numbers(foot), rgba=_RUBBER, mass="0", priority="1", condim="3", solref="0.004 1",
        friction=_numbers((parameters.friction, 0.005, 0.0001)),
    )  # fmt: skip
    SubElement(shank, "site", name=f"{leg}_foot", pos=_numbers(foot), size=_numbers(1.5 * g.FOOT_RADIUS_M), group="4")


def _crank_and_coupler(block: Element, parameters: RobotParameters, leg: str, outward: float) -> None:
    """From the knee's motor to the pin, beside thigh and shank."""
    side = outward * 2.0 * g.CRANK_SIDE_M
    crank = SubElement(block, "body", name=f"{leg}_crank", pos=_numbers((g.CRANK_MOTOR_X_M, 0.0, -g.MOTOR_DROP_M)))
    _hinge(crank, leg, "knee", (0.0, -1.0, 0.0))
    along = g.CRANK_ZERO_RAD - 0.5 * math.pi
    centre = _along(g.CRANK_ZERO_RAD, g.CRANK_CENTRE_M)
    _inertial(crank, parameters, g.LINK_MASS_KG, centre, g.CRANK_INERTIA_KGM2, along)
    tip = _along(g.CRANK_ZERO_RAD, g.CRANK_M)
    _rod(crank, (0.0, side, 0.0), (tip[0], side, tip[2]), 0.8 * g.CRANK_WIDTH_M, _LINKAGE)
    coupler = SubElement(crank, "body", name=f"{leg}_coupler", pos=_numbers(tip))
    _hinge(coupler, leg, "coupler", (0.0, -1.0, 0.0))
    along = _COUPLER_ZERO_RAD - 0.5 * math.pi
    centre = _along(_COUPLER_ZERO_RAD, g.COUPLER_CENTRE_M)
    _inertial(coupler, parameters, g.LINK_MASS_KG, centre, g.COUPLER_INERTIA_KGM2, along)
    end = _along(_COUPLER_ZERO_RAD, g.COUPLER_M)
    _pivot(coupler, (0.0, outward * 0.008, 0.0), 0.006, 0.03, _DARK)
    _rod(coupler, (0.0, 0.8 * side, 0.0), (end[0], 0.8 * side, end[2]), g.COUPLER_WIDTH_M * 0.8, _LINKAGE)
    SubElement(coupler, "site", name=f"{leg}_coupler_pin", pos=_numbers(end), size="0.003", group="4")


def _loops(root: Element) -> None:
    """The pins that close the linkages, stiff as two physics steps allow."""
    equality = SubElement(root, "equality")
    for leg in g.LEGS:
        SubElement(
            equality, "connect", name=f"{leg}_pin", site1=f"{leg}_shank_pin", site2=f"{leg}_coupler_pin",
            solref=_numbers((2.0 * PHYSICS_STEP_S, 1.0)), solimp="0.99 0.999 0.0005",
        )  # fmt: skip


def _actuators(root: Element, parameters: RobotParameters) -> None:
    """Joint controllers: torque = strength * (200 (target - angle) - 10 rate), within the limit."""
    actuators = SubElement(root, "actuator")
    stiffness = parameters.motor_strength * g.POSITION_GAIN
    damping = parameters.motor_strength * g.VELOCITY_GAIN
    limit = parameters.torque_limit_nm
    for name in g.JOINT_NAMES:
        SubElement(
            actuators, "general", name=name, joint=name, biastype="affine", gainprm=_numbers(stiffness),
            biasprm=_numbers((0.0, -stiffness, -damping)), forcerange=_numbers((-limit, limit)),
        )  # fmt: skip


def _sensors(root: Element) -> None:
    """The ground's force on each foot."""
    sensors = SubElement(root, "sensor")
    for leg in g.LEGS:
        SubElement(sensors, "touch", name=f"{leg}_force", site=f"{leg}_foot")
