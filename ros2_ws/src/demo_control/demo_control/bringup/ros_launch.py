"""Turns a bring-up into a LaunchDescription for `ros2 launch`; the only module that imports launch."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from launch.actions import DeclareLaunchArgument, EmitEvent, OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown, matches_action
from launch.logging import get_logger
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from lifecycle_msgs.msg import Transition

from demo_control.bringup.description import BringUp, NodeDescription, load_recipe
from demo_control.bringup.process import component_remappings
from demo_control.bringup.supervisor import write_parameters
from demo_control.configuration import Entry, parse_assignments
from demo_control.security.environment import check, requested_keystore
from demo_control.security.roles import MONITOR
from demo_control.security.variables import OVERRIDE, enclave_path, variables
from launch import LaunchDescription

_GRACE_S = 5.0
"""Time that a node has after SIGINT, besides that which its robot may take to come to rest: launch's own default."""


def launch_description(name: str) -> LaunchDescription:
    """The launch description of an installed bring-up.

    Nodes are configured and activated one after the other, in the bring-up's order. The end of the node that ends the
    run ends all; the unexpected end of any node, or a refused transition, ends all and fails the launch.

    Args:
        name: Of the bring-up.

    Raises:
        ConfigurationError: No such bring-up.
    """
    recipe = load_recipe(name)
    entries = list(recipe.arguments.entries())

    def start(context: Any) -> list[Any]:  # noqa: ANN401 - launch has no types
        texts = {entry.name: LaunchConfiguration(entry.name).perform(context) for entry in entries}
        values = {entry.name: _value(entry, texts[entry.name]) for entry in entries}
        bringup = recipe.make(recipe.arguments.from_mapping(values, source=name))
        return _actions(bringup.processes, _secure(bringup))

    declarations = [_declaration(entry) for entry in entries]
    return LaunchDescription([*declarations, OpaqueFunction(function=start)])


def _secure(bringup: BringUp) -> bool:
    """Check and switch on security where it is asked for; returns whether it is."""
    keystore = requested_keystore(bringup.arguments.security, os.environ)
    if keystore is None:
        return False
    enclaves = [process.enclave for process in bringup.processes]
    for warning in check(keystore, [MONITOR, *enclaves], os.environ):
        get_logger("security").warning(warning)
    # launch's own node, which takes the others through their lifecycle, knows no other way to its enclave.
    os.environ.update({**variables(keystore), OVERRIDE: enclave_path(MONITOR)})
    return True


def _declaration(entry: Entry) -> DeclareLaunchArgument:
    """One launch argument, with what `ros2 launch --show-args` says of it."""
    return DeclareLaunchArgument(
        entry.name,
        default_value=_text(entry.default),
        description=f"{entry.description.text} ({entry.description.allowed()})",
        choices=list(entry.description.choices) or None,
    )


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(entry: Entry, text: str) -> object:
    """The value of a launch argument's text; its type is checked by the arguments' class."""
    return text if entry.type is str else parse_assignments([f"{entry.name}={text}"])[entry.name]


def _actions(descriptions: tuple[NodeDescription, ...], is_secured: bool) -> list[Any]:
    """Start all nodes, then take the lifecycle nodes to active, one after the other."""
    nodes = {description.name: _node(description, is_secured) for description in descriptions}
    managed = [nodes[description.name] for description in descriptions if description.lifecycle]
    handlers: list[Any] = [_on_exit(nodes[description.name], description) for description in descriptions]
    for node, following in zip(managed, [*managed, None][1:], strict=True):
        then = [] if following is None else [_change(following, Transition.TRANSITION_CONFIGURE)]
        handlers += [
            _on_transition(node, "configuring", "inactive", [_change(node, Transition.TRANSITION_ACTIVATE)]),
            _on_transition(node, "activating", "active", then),
            _on_transition(node, "configuring", "unconfigured", [OpaqueFunction(function=_refused, args=[node])]),
            _on_transition(node, "activating", "inactive", [OpaqueFunction(function=_refused, args=[node])]),
        ]
    first = [_change(managed[0], Transition.TRANSITION_CONFIGURE)] if managed else []
    return [*handlers, *nodes.values(), *first]


def _node(description: NodeDescription, is_secured: bool) -> Node:
    """The action that starts one process."""
    common: dict[str, Any] = {"ros_arguments": []}
    if description.rest_s:
        common["sigterm_timeout"] = str(_GRACE_S + description.rest_s)
    if is_secured:
        common |= {
            "ros_arguments": ["--enclave", enclave_path(description.enclave)],
            "additional_env": {OVERRIDE: ""},
        }
    if description.components:
        return _composition(description, common)
    options = {
        **common,
        "package": description.package,
        "executable": description.executable,
        "name": description.name,
        "namespace": "",
        "parameters": [dict(description.parameters)],
        "remappings": list(description.remappings.items()),
        "output": "screen",
    }
    return LifecycleNode(**options) if description.lifecycle else Node(**options)


def _composition(description: NodeDescription, common: dict[str, Any]) -> Node:
    """The action that starts several nodes in one process, which takes them to active by itself."""
    # launch_ros would give the same parameters to all of them.
    folder = Path(tempfile.mkdtemp(prefix="demo_control-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Node(
        package=description.package,
        executable=description.executable,
        parameters=[str(write_parameters(description, folder))],
        arguments=["--autostart", *(node.module for node in description.components)],
        output="screen",
        **{**common, "ros_arguments": [*component_remappings(description.components), *common["ros_arguments"]]},
    )


def _change(node: LifecycleNode, transition: int) -> EmitEvent:
    return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition))


def _on_transition(node: LifecycleNode, start: str, goal: str, entities: list[Any]) -> RegisterEventHandler:
    handler = OnStateTransition(target_lifecycle_node=node, start_state=start, goal_state=goal, entities=entities)
    return RegisterEventHandler(handler)


def _refused(_context: Any, node: LifecycleNode) -> None:  # noqa: ANN401 - launch has no types
    """Fail the launch: launch ends with exit code 1 when a handler raises."""
    raise RuntimeError(f"node '{node.node_name.lstrip('/')}' refused a transition; its output above says why")


def _on_exit(node: Node, description: NodeDescription) -> RegisterEventHandler:
    """What the end of a node means."""

    def ended(event: Any, context: Any) -> list[Any] | None:  # noqa: ANN401 - launch has no types
        if context.is_shutdown or not description.controls:
            return None
        if description.ends_run and event.returncode == 0:
            return [EmitEvent(event=Shutdown(reason="the run is over"))]
        raise RuntimeError(f"node '{description.name}' ended unexpectedly (exit code {event.returncode})")

    return RegisterEventHandler(OnProcessExit(target_action=node, on_exit=ended))
