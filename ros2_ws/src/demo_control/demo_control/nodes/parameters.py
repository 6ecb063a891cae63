"""ROS parameters that are declared from settings classes and validated by them.

A node with a bad parameter file stays alive and unconfigured: what is wrong is collected while declaring, and told
when the node is asked to configure itself.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, Generic

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from demo_control.configuration import ConfigurationError, Entry, SettingsT

_LARGEST_INTEGER = 2**63 - 1
_ROS_OWN_PREFIX = "qos_overrides."


class Declared(Generic[SettingsT]):
    """The parameters of one settings class on one node.

    Attributes:
        settings: The class.
        value: The validated values now.
        on_change: Called with new, valid values before they are taken over; may still refuse them by raising
            ConfigurationError.
    """

    def __init__(self, value: SettingsT, on_change: Callable[[SettingsT], None] | None = None) -> None:
        self.settings = type(value)
        self.value = value
        self.on_change = on_change
        self.names = frozenset(entry.name for entry in self.settings.entries())

    def changed(self, values: Mapping[str, object]) -> SettingsT | None:
        """The settings with some values replaced, or None if none of them is ours.

        Raises:
            ConfigurationError: A bad value.
        """
        ours = {name: value for name, value in values.items() if name in self.names}
        return self.settings.from_mapping(ours, base=self.value) if ours else None


class Parameters:
    """All ROS parameters of one node.

    Args:
        node: Its parameters are declared here and nowhere else (besides ROS's own).
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        # rclpy has no public accessor for values given in files or arguments that no one has declared.
        self._overrides: Mapping[str, Parameter] = node._parameter_overrides
        self._declared: list[Declared[Any]] = []
        self._problems: list[str] = []
        node.add_pre_set_parameters_callback(self._widen)
        node.add_on_set_parameters_callback(self._validate)

    def declare(self, default: SettingsT, on_change: Callable[[SettingsT], None] | None = None) -> Declared[SettingsT]:
        """Declare one parameter per setting; bad values from files or arguments are kept for :meth:`check`.

        Args:
            default: Values where no file or argument gives one.
            on_change: See :class:`Declared`.
        """
        value = self._overridden(default)
        for entry in value.entries():
            self._node.declare_parameter(
                entry.name, getattr(value, entry.name), descriptor(entry), ignore_override=True
            )
        declared = Declared(value, on_change)
        self._declared.append(declared)
        return declared

    def check(self) -> None:
        """Report everything that was wrong with the node's parameter files and arguments.

        Raises:
            ConfigurationError: One line per problem.
        """
        problems = list(self._problems)
        known = sorted(name for declared in self._declared for name in declared.names)
        for name in self._overrides:
            if not self._node.has_parameter(name) and not name.startswith(_ROS_OWN_PREFIX):
                problems.append(f"unknown parameter '{name}'; known: {', '.join(known)}")
        if problems:
            raise ConfigurationError("\n".join(problems))

    def _overridden(self, default: SettingsT) -> SettingsT:
        """The defaults with all good overrides; the bad ones become problems."""
        names = {entry.name for entry in default.entries()}
        values = {n: p.value for n, p in self._overrides.items() if n in names}
        try:
            return default.from_mapping(values, base=default)
        except ConfigurationError as error:
            together = str(error)
        # At least one is bad: name each, and go on with the good ones, so that the node can be inspected.
        good, problems = default, []
        for name, value in values.items():
            try:
                good = default.from_mapping({name: value}, base=good)
            except ConfigurationError as error:
                problems.append(str(error))
        self._problems.extend(problems or [together])
        return good

    def _widen(self, parameters: list[Parameter]) -> list[Parameter]:
        """Let ``ros2 param set node name 1`` set a float, as YAML files and the command line may."""
        floats = {e.name for d in self._declared for e in d.settings.entries() if e.type is float}
        return [
            Parameter(p.name, Parameter.Type.DOUBLE, float(p.value))
            if p.name in floats and p.type_ == Parameter.Type.INTEGER
            else p
            for p in parameters
        ]

    def _validate(self, parameters: list[Parameter]) -> SetParametersResult:
        """Take over a set of changes as a whole, or refuse it with the reason."""
        values = {parameter.name: parameter.value for parameter in parameters}
        try:
            changes = [(declared, declared.changed(values)) for declared in self._declared]
            for declared, value in changes:
                if value is not None and declared.on_change is not None:
                    declared.on_change(value)
        except ConfigurationError as error:
            return SetParametersResult(successful=False, reason=str(error))
        for declared, value in changes:
            if value is not None:
                declared.value = value
        return SetParametersResult(successful=True)


def descriptor(entry: Entry) -> ParameterDescriptor:
    """The ROS descriptor of one setting: text, range, and read-only unless it may change in flight."""
    description = entry.description
    result = ParameterDescriptor(
        name=entry.name,
        description=description.text,
        additional_constraints=description.allowed() if description.choices else "",
        read_only=not description.in_flight,
    )
    minimum, maximum = description.minimum, description.maximum
    if minimum is None and maximum is None:
        return result
    if entry.type is int:
        lowest = -_LARGEST_INTEGER if minimum is None else math.ceil(minimum)
        highest = _LARGEST_INTEGER if maximum is None else math.floor(maximum)
        result.integer_range = [IntegerRange(from_value=lowest, to_value=highest)]
    elif entry.type is float:
        lowest_float = -sys.float_info.max if minimum is None else float(minimum)
        highest_float = sys.float_info.max if maximum is None else float(maximum)
        result.floating_point_range = [FloatingPointRange(from_value=lowest_float, to_value=highest_float)]
    return result
