"""The cart-pole's MuJoCo and URDF descriptions for any physical parameters."""

from __future__ import annotations

from importlib.resources import files
from xml.etree import ElementTree

from stoch2_sim.robots.cartpole.parameters import PlantParameters
from stoch2_sim.simulators.protocol import RobotModel

JOINTS = ("cart", "pole")
ACTUATORS = ("cart",)


def robot_model(parameters: PlantParameters) -> RobotModel:
    """Both shipped descriptions with masses, inertias, lengths and damping as given."""
    return RobotModel(_mjcf(parameters), _urdf(parameters), JOINTS, ACTUATORS)


def _read(name: str) -> ElementTree.Element:
    """A description that lies beside this module."""
    text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    return ElementTree.fromstring(text)


def _find(root: ElementTree.Element, path: str) -> ElementTree.Element:
    """The one element at a path; that it is there is part of our own descriptions."""
    element = root.find(path)
    if element is None:
        raise LookupError(f"the cart-pole's description has no element '{path}'")
    return element


def _mjcf(parameters: PlantParameters) -> str:
    """The MuJoCo description."""
    root = _read("cartpole.xml")
    length = 2.0 * parameters.pole_half_length_m
    _find(root, ".//body[@name='cart']/inertial").set("mass", repr(parameters.cart_mass_kg))
    _find(root, ".//joint[@name='cart']").set("damping", repr(parameters.cart_damping))
    _find(root, ".//joint[@name='pole']").set("damping", repr(parameters.pole_damping))
    inertial = _find(root, ".//body[@name='pole']/inertial")
    inertial.set("mass", repr(parameters.pole_mass_kg))
    inertial.set("pos", f"0 0 {parameters.pole_half_length_m!r}")
    across, along = parameters.pole_inertia_kgm2, _axial_inertia(parameters)
    inertial.set("diaginertia", f"{across!r} {across!r} {along!r}")
    _find(root, ".//geom[@name='pole_rod']").set("fromto", f"0 0 0 0 0 {length!r}")
    _find(root, ".//geom[@name='pole_tip']").set("pos", f"0 0 {length!r}")
    return ElementTree.tostring(root, encoding="unicode")


def _urdf(parameters: PlantParameters) -> str:
    """The URDF description."""
    root = _read("cartpole.urdf")
    half, length = parameters.pole_half_length_m, 2.0 * parameters.pole_half_length_m
    _find(root, "./link[@name='cart']/inertial/mass").set("value", repr(parameters.cart_mass_kg))
    dynamics = "./joint[@name='{}']/dynamics"
    _find(root, dynamics.format("cart")).set("damping", repr(parameters.cart_damping))
    _find(root, dynamics.format("pole")).set("damping", repr(parameters.pole_damping))
    pole = _find(root, "./link[@name='pole']")
    _find(pole, "./inertial/origin").set("xyz", f"0 0 {half!r}")
    _find(pole, "./inertial/mass").set("value", repr(parameters.pole_mass_kg))
    inertia = _find(pole, "./inertial/inertia")
    inertia.set("ixx", repr(parameters.pole_inertia_kgm2))
    inertia.set("iyy", repr(parameters.pole_inertia_kgm2))
    inertia.set("izz", repr(_axial_inertia(parameters)))
    rod, tip = pole.findall("./visual")
    _find(rod, "./origin").set("xyz", f"0 0 {half!r}")
    _find(rod, "./geometry/cylinder").set("length", repr(length))
    _find(tip, "./origin").set("xyz", f"0 0 {length!r}")
    return ElementTree.tostring(root, encoding="unicode")


def _axial_inertia(parameters: PlantParameters) -> float:
    """Inertia of the pole about its own axis (a rod of 2 cm radius); it never turns about it."""
    radius_m = 0.02
    return min(parameters.pole_mass_kg * radius_m**2 / 2.0, parameters.pole_inertia_kgm2)
