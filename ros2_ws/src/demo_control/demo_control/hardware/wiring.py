"""The wiring of one very robot: which device is which joint, its sign, zero and limits; one YAML file, read strictly.

docs/hardware.md explains every entry. Zeros that ``democtl hardware calibrate`` found lie beside the file, in
``NAME.calibration.yaml``, and replace its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path

from demo_control.configuration import ConfigurationError, Settings, setting
from demo_control.hardware.bus import Bus
from demo_control.plugins import load_plugin
from demo_control.yaml_reader import Section, read_yaml

BUS_GROUP = "demo_control.buses"
STOPS = ("robot", "hold", "damp", "release")
_TOP = ("robot", "task", "buses", "safety")
_OF_BUS = ("kind", "joints")
_LARGEST_ANGLE_RAD = 4.0 * math.pi


@dataclass(frozen=True)
class SafetySettings(Settings):
    """When the driver gives up, and what it does then."""

    engage_s: float = setting(
        2.0,
        "Time from the measured pose to the commanded one when actuators are switched on",
        minimum=0.1,
        maximum=30.0,
    )
    stop: str = setting(
        "robot",
        "How it stops when it is asked to or the driver ends: the robot's own way (a legged one sits down), hold where "
        "it is, damp (the joints only brake), or release at once",
        choices=STOPS,
    )
    emergency: str = setting(
        "damp", "What an emergency stop or a fault does before the actuators are released", choices=STOPS[1:]
    )
    stop_s: float = setting(
        1.0, "How long it is held or damped before the actuators are released", minimum=0.0, maximum=30.0
    )
    tilt_limit_deg: float = setting(45.0, "Largest inclination of the trunk", minimum=1.0, maximum=180.0)
    silence_limit_ms: float = setting(
        50.0, "A joint or an IMU that is silent for longer is a fault", minimum=1.0, maximum=5000.0
    )

    @property
    def silence_limit_s(self) -> float:
        """``silence_limit_ms`` in seconds, as ages are told."""
        return 1e-3 * self.silence_limit_ms

    def rest_limit_s(self, own_way_s: float) -> float:
        """How long a driver tries to bring its robot to rest before it lets go.

        Args:
            own_way_s: What the robot's own way of stopping takes at most.
        """
        # A robot that is being engaged may have to end that first, and there may be an emergency stop at the very end.
        longest_s = max(own_way_s, self.engage_s, self.stop_s) + self.stop_s
        # On a busy machine a period takes longer than it should.
        return 1.0 + 2.0 * longest_s


@dataclass(frozen=True)
class _JointSettings(Settings):
    """What every joint on any bus can be told."""

    id: int = setting(-1, "The device's number on its bus; -1 is none", minimum=-1, maximum=65535)
    model: str = setting("", "The device's model")
    remote_name: str = setting("", "The joint's name on the bus, where it has names there and this is another")
    sign: int = setting(1, "1, or -1 where the device turns against the joint", minimum=-1, maximum=1)
    offset_rad: float = setting(
        0.0, "The device's own angle where the joint is at zero", minimum=-1000.0, maximum=1000.0
    )


@dataclass(frozen=True)
class RevoluteSettings(_JointSettings):
    """A joint that turns as its device does."""

    minimum_rad: float = setting(-3.1, "Smallest angle", minimum=-_LARGEST_ANGLE_RAD, maximum=_LARGEST_ANGLE_RAD)
    maximum_rad: float = setting(3.1, "Largest angle", minimum=-_LARGEST_ANGLE_RAD, maximum=_LARGEST_ANGLE_RAD)
    rate_rad_s: float = setting(5.0, "Fastest change of the command", minimum=0.01, maximum=100.0)
    torque_nm: float = setting(1.0, "Largest torque", minimum=0.001, maximum=1000.0)


@dataclass(frozen=True)
class PrismaticSettings(_JointSettings):
    """A joint that a turning device moves in a line, by a pulley or a rack."""

    pulley_radius_m: float = setting(0.05, "Way by the device's angle", minimum=1e-4, maximum=10.0)
    minimum_m: float = setting(-1.0, "Smallest position", minimum=-100.0, maximum=100.0)
    maximum_m: float = setting(1.0, "Largest position", minimum=-100.0, maximum=100.0)
    rate_m_s: float = setting(1.0, "Fastest change of a commanded position", minimum=0.001, maximum=100.0)
    force_n: float = setting(10.0, "Largest force", minimum=0.001, maximum=1e5)
    force_rate_n_s: float = setting(1000.0, "Fastest change of a commanded force", minimum=0.01, maximum=1e7)


@dataclass(frozen=True)
class JointWiring:
    """A joint and its device; radians and newton metres, for a prismatic joint metres and newtons.

    Attributes:
        name: Of the joint.
        id: Of the device on its bus.
        model: Of the device.
        sign: 1 or -1.
        offset_rad: The device's angle at the joint's zero.
        factor: Joint position by device angle: 1, or a pulley's radius.
        unit: 'rad' or 'm'.
        minimum: Of the position.
        maximum: Of the position.
        rate: Fastest change of a commanded position, per second.
        effort: Largest torque or force.
        effort_rate: Fastest change of a commanded effort, per second.
        remote_name: Its name on the bus.
    """

    name: str
    id: int
    model: str
    sign: int
    offset_rad: float
    factor: float
    unit: str
    minimum: float
    maximum: float
    rate: float
    effort: float
    effort_rate: float
    remote_name: str = ""

    def position(self, angle_rad: float) -> float:
        """The joint's position at an angle of its device."""
        return self.sign * self.factor * (angle_rad - self.offset_rad)

    def angle(self, position: float) -> float:
        """The device's angle at a position of the joint."""
        return self.offset_rad + self.sign * position / self.factor


@dataclass(frozen=True)
class BusKind:
    """A kind of bus, as the entry-point group :data:`BUS_GROUP` names it.

    Attributes:
        settings: What stands in the wiring besides ``kind`` and ``joints``; has ``port`` and ``baud_rate`` if it is a
            serial one.
        make: Makes the bus; raises ConfigurationError.
        models: Allowed models of its joints' devices; empty where joints need none.
        largest_id: Of a device; None where joints have no ids.
        has_joints: False for a bus of an IMU alone.
    """

    settings: type[Settings]
    make: Callable[[BusWiring], Bus]
    models: tuple[str, ...] = ()
    largest_id: int | None = None
    has_joints: bool = True


@dataclass(frozen=True)
class BusWiring:
    """One bus of a robot."""

    name: str
    kind: str
    settings: Settings
    joints: tuple[JointWiring, ...]


@dataclass(frozen=True)
class Wiring:
    """A robot's wiring.

    Attributes:
        path: Of the file.
        robot: Name of this very robot; its calibration carries it, too.
        task: Name of the task it does.
        buses: In the file's order, and so are the joints.
        safety: Limits that no command passes.
        calibrated: When its zeros were measured; '' if they stand in the file itself.
    """

    path: Path
    robot: str
    task: str
    buses: tuple[BusWiring, ...]
    safety: SafetySettings
    calibrated: str = ""

    @property
    def joints(self) -> tuple[JointWiring, ...]:
        """All joints, bus by bus."""
        return tuple(joint for bus in self.buses for joint in bus.joints)

    @property
    def calibration_path(self) -> Path:
        """Where the zeros are kept."""
        return calibration_path(self.path)


def calibration_path(path: Path) -> Path:
    """Where the zeros of a wiring file are kept."""
    return path.with_suffix(".calibration.yaml")


class InstalledKinds(Mapping[str, BusKind]):
    """The installed kinds of buses by name; one that is not used need not have what it needs."""

    def __init__(self) -> None:
        self._points = {point.name: point for point in entry_points(group=BUS_GROUP)}

    def __getitem__(self, name: str) -> BusKind:
        return load_plugin(self._points[name], BusKind)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._points))

    def __len__(self) -> int:
        return len(self._points)


def load_wiring(path: Path, kinds: Mapping[str, BusKind] | None = None) -> Wiring:
    """Read and check a wiring, and its calibration if there is one.

    Args:
        path: Of the YAML file.
        kinds: Of buses; None for the installed ones.

    Raises:
        ConfigurationError: One line: file, field, value, what is allowed.
    """
    try:
        section = read_yaml(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from None
    section.check_names(_TOP)
    known = InstalledKinds() if kinds is None else kinds
    buses = tuple(_bus(one, name, known) for name, one in section.sections("buses"))
    if not buses:
        raise ConfigurationError(f"{path}: buses: at least one is needed")
    wiring = Wiring(
        path, _word(section, "robot"), _word(section, "task"), buses, section.settings("safety", SafetySettings())
    )
    _check_unique(path, [joint.name for joint in wiring.joints], "joint")
    ports = [str(port) for bus in buses if (port := getattr(bus.settings, "port", ""))]
    _check_unique(path, ports, "port")
    return _calibrated(wiring)


def _word(section: Section, name: str) -> str:
    """A word that must be there."""
    value = section.word(name, "")
    if not value:
        raise ConfigurationError(f"{section.file}: {section.path}{name} is missing")
    return value


def _check_unique(path: Path, names: list[str], what: str) -> None:
    """Refuse a name that occurs twice."""
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"{path}: {what} '{name}' occurs twice")


def _bus(section: Section, name: str, kinds: Mapping[str, BusKind]) -> BusWiring:
    """One bus."""
    kind = _word(section, "kind")
    section.word("kind", "", kinds)
    entries = {entry.name for entry in kinds[kind].settings.entries()}
    section.check_names([*_OF_BUS, *entries])
    own = Section(section.file, section.path, {k: v for k, v in section.values.items() if k in entries})
    settings = kinds[kind].settings.from_mapping(own.own_scalars(), source=f"{section.file}: {section.path[:-1]}")
    joints = tuple(_joint(one, joint, kinds[kind]) for joint, one in section.sections("joints"))
    if bool(joints) != kinds[kind].has_joints:
        need = "needs joints" if kinds[kind].has_joints else "has no joints"
        raise ConfigurationError(f"{section.file}: {section.path}joints: a bus of kind '{kind}' {need}")
    ids: dict[int, str] = {}
    for joint in joints:
        if kinds[kind].largest_id is not None and joint.id in ids:
            raise ConfigurationError(
                f"{section.file}: {section.path}joints.{joint.name}.id = {joint.id}: is {ids[joint.id]}'s already"
            )
        ids[joint.id] = joint.name
    return BusWiring(name, kind, settings, joints)


def _joint(section: Section, name: str, kind: BusKind) -> JointWiring:
    """One joint."""
    where = f"{section.file}: {section.path[:-1]}"
    is_prismatic = "pulley_radius_m" in section.values
    base = PrismaticSettings if is_prismatic else RevoluteSettings
    section.check_names([entry.name for entry in base.entries()])
    joint = base.from_mapping(section.own_scalars(), source=where)
    if joint.sign == 0:
        raise section.wrong("sign", joint.sign, "must be 1 or -1")
    if kind.largest_id is not None and not 0 <= joint.id <= kind.largest_id:
        value = section.values.get("id", "missing")
        raise section.wrong("id", value, f"must be a whole number between 0 and {kind.largest_id}")
    if kind.models and joint.model not in kind.models:
        raise section.wrong("model", joint.model, f"must be one of {', '.join(kind.models)}")
    if isinstance(joint, PrismaticSettings):
        factor, unit, low, high, rate = joint.pulley_radius_m, "m", joint.minimum_m, joint.maximum_m, joint.rate_m_s
        effort, effort_rate = joint.force_n, joint.force_rate_n_s
    else:
        assert isinstance(joint, RevoluteSettings)
        factor, unit, low, high, rate = 1.0, "rad", joint.minimum_rad, joint.maximum_rad, joint.rate_rad_s
        effort, effort_rate = joint.torque_nm, math.inf
    wired = JointWiring(
        name, joint.id, joint.model, joint.sign, joint.offset_rad, factor, unit, low, high, rate, effort, effort_rate,
        joint.remote_name or name,
    )  # fmt: skip
    if not wired.minimum < wired.maximum:
        raise section.wrong(f"minimum_{wired.unit}", wired.minimum, f"must be less than maximum_{wired.unit}")
    return wired


def _calibrated(wiring: Wiring) -> Wiring:
    """The wiring with the zeros of its calibration file, if there is one."""
    path = wiring.calibration_path
    if not path.exists():
        return wiring
    try:
        section = read_yaml(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from None
    section.check_names(("robot", "date", "offsets_rad"))
    if section.word("robot", "") != wiring.robot:
        raise section.wrong("robot", section.values.get("robot"), f"{wiring.path} is of the robot '{wiring.robot}'")
    offsets = section.scalars("offsets_rad")
    known = [joint.name for joint in wiring.joints]
    Section(section.file, "offsets_rad.", offsets).check_names(known)
    for name, value in offsets.items():
        if isinstance(value, (bool, str)):
            raise section.wrong(f"offsets_rad.{name}", value, "must be a number")
    buses = tuple(
        replace(
            bus,
            joints=tuple(
                replace(joint, offset_rad=float(offsets.get(joint.name, joint.offset_rad))) for joint in bus.joints
            ),
        )
        for bus in wiring.buses
    )
    return replace(wiring, buses=buses, calibrated=str(section.values.get("date", "")))
