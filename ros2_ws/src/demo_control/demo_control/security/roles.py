"""The roles: who runs beside a robot, and what each needs. Least of all: only the layer may command the driver.

A robot's package adds its drivers by an entry point of the group ``demo_control.enclaves`` whose name is the driver
node's and whose value is a :class:`Role` (see :func:`driver_role`). tests/ros/test_roles_of_nodes.py holds the roles
against the running nodes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points

from demo_control.configuration import ConfigurationError
from demo_control.drivers.safety import SafetyRequest
from demo_control.plugins import load_plugin
from demo_control.security.access import Access, union
from demo_control.teleop.driving import EMERGENCY, REQUESTS

ROLE_GROUP = "demo_control.enclaves"
OPERATOR, RECORDER, VIEWER, MONITOR = "operator", "recorder", "viewer", "monitor"
POLICY, POLICY_ALONE, LAYER = "policy", "policy_alone", "layer"

_AND = "_and_"
_DIAGNOSTICS = "diagnostics"
_CONTROL = ("observation", "nominal_action", "action", "applied_action", "planner_status")


@dataclass(frozen=True)
class Role:
    """A kind of process.

    Attributes:
        name: Of its enclave.
        text: One sentence for people.
        access: What it may do.
        task: The task whose robot it drives; '' for all others.
    """

    name: str
    text: str
    access: Access
    task: str = ""


def driver_role(
    name: str,
    task: str,
    *,
    publishes: tuple[str, ...] = (),
    subscribes: tuple[str, ...] = (),
    offers: tuple[str, ...] = (),
) -> Role:
    """The role of a driver node, simulated or real.

    Args:
        name: Of the node, and of its enclave.
        task: Name of the task that its robot does.
        publishes: Topics besides those of :class:`~demo_control.drivers.driver_node.DriverNode`.
        subscribes: The same.
        offers: Services, the same.
    """
    every = ("observation", "ground_truth", "applied_action", "run_result", "robot_description", "clock")
    real = ("safety_state", "joint_command")
    access = Access(
        nodes=(name,),
        publishes=(*every, *real, _DIAGNOSTICS, *publishes),
        subscribes=("action", EMERGENCY, *subscribes),
        offers=(*(request.value for request in SafetyRequest), *offers),
    )
    return Role(name, f"drives the robot of task '{task}'", access, task)


def _policy(name: str, text: str, topic: str) -> Role:
    access = Access(nodes=("policy_node",), publishes=(topic, _DIAGNOSTICS), subscribes=("observation",))
    return Role(name, text, access)


_ROLES = (
    _policy(POLICY, "answers observations with nominal actions", "nominal_action"),
    _policy(POLICY_ALONE, "commands the driver where there is no layer", "action"),
    Role(
        LAYER,
        "corrects nominal actions and commands the driver",
        Access(
            nodes=("demo_layer_node",),
            publishes=("action", "planner_status", "layer_state", _DIAGNOSTICS),
            subscribes=("observation", "nominal_action"),
        ),
    ),
    Role(
        OPERATOR,
        "democtl teleop: drives, arms, stops and resets the robot",
        Access(
            nodes=("teleop",),
            publishes=("cmd_vel", EMERGENCY),
            subscribes=("odom", "walking_state"),
            calls=(*REQUESTS.values(), EMERGENCY),
        ),
    ),
    Role(
        RECORDER,
        "records all topics, and asks nodes for their parameters",
        Access(
            nodes=("recorder_node", "recorder_node_ears"),
            publishes=(_DIAGNOSTICS,),
            subscribes=("*",),
            calls=("*/list_parameters", "*/get_parameters"),
        ),
    ),
    Role(
        VIEWER,
        "democtl view: listens",
        Access(
            nodes=("viewer_node", "viewer_node_ears"),
            subscribes=(
                *_CONTROL, "layer_state", "robot_description", "walking_state", "joint_states", "odom", "applied_push",
            ),
        ),
    ),
    Role(
        MONITOR,
        "democtl launch and ros2 launch: listen, configure and activate the nodes",
        Access(
            nodes=("democtl_monitor", "democtl_recorder", "launch_ros_*"),
            subscribes=(*_CONTROL, "ground_truth", "run_result", _DIAGNOSTICS, "*/transition_event"),
            calls=("*/change_state",),
        ),
    ),
)  # fmt: skip


def own_roles() -> tuple[Role, ...]:
    """The roles that every robot has."""
    return _ROLES


@functools.cache
def driver_roles() -> tuple[Role, ...]:
    """The installed drivers' roles, by name.

    Raises:
        ConfigurationError: An entry point that is no role, or not of its own name.
    """
    roles = []
    for point in sorted(entry_points(group=ROLE_GROUP), key=lambda point: point.name):
        role = load_plugin(point, Role)
        if role.name != point.name:
            raise ConfigurationError(f"entry point '{point.name}' of {ROLE_GROUP}: expected a Role of this name")
        if role not in roles:
            roles.append(role)
    return tuple(roles)


def shared_name(names: Iterable[str]) -> str:
    """The enclave of a process that nodes of several roles share."""
    return _AND.join(names)


def find_role(name: str) -> Role:
    """A role, or one that several roles share, by the name of its enclave.

    Raises:
        ConfigurationError: There is none.
    """
    known = {role.name: role for role in (*own_roles(), *driver_roles())}
    parts = name.split(_AND)
    for part in parts:
        if part not in known:
            raise ConfigurationError(f"role '{part}' is not known; known: {', '.join(known)}")
    if len(parts) == 1:
        return known[name]
    members = [known[part] for part in parts]
    tasks = {member.task for member in members} - {""}
    return Role(name, "share a process", union(member.access for member in members), "".join(tasks))


def roles_of(tasks: Iterable[str] = ()) -> tuple[Role, ...]:
    """All that run beside some tasks' robots: every role, and those that share a process with ``--composed``.

    Args:
        tasks: Names; none for all that are installed.

    Raises:
        ConfigurationError: A task that no installed driver drives.
    """
    drivers, wanted = driver_roles(), tuple(tasks)
    for task in wanted:
        if task not in {role.task for role in drivers}:
            known = ", ".join(sorted({role.task for role in drivers})) or "none"
            raise ConfigurationError(f"task '{task}': no installed driver drives its robot; known: {known}")
    chosen = tuple(role for role in drivers if not wanted or role.task in wanted)
    shared: list[tuple[str, ...]] = [(LAYER, POLICY)]
    for driver in chosen:
        shared += [(driver.name, LAYER, POLICY), (driver.name, POLICY_ALONE)]
    return (*own_roles(), *chosen, *(find_role(shared_name(names)) for names in shared))
