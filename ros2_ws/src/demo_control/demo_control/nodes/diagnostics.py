"""/diagnostics, once a second, for any node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from demo_control.nodes.quality import DIAGNOSTICS, WITHOUT_EVENTS

_PERIOD_S = 1.0
_LEVELS = {
    "ok": DiagnosticStatus.OK,
    "warn": DiagnosticStatus.WARN,
    "error": DiagnosticStatus.ERROR,
}


@dataclass(frozen=True)
class Health:
    """How a node fares.

    Attributes:
        level: 'ok', 'warn' or 'error'.
        message: One line for people.
        values: Counters and figures by name.
    """

    level: str
    message: str
    values: Mapping[str, object] = field(default_factory=dict)


class Diagnostics:
    """Publishes a node's health once a second of wall time, also while simulated time stands still.

    Args:
        node: Its name appears in the message.
        health: Asked each time.
    """

    def __init__(self, node: Node, health: Callable[[], Health]) -> None:
        self._node = node
        self._health = health
        self._publisher = node.create_publisher(
            DiagnosticArray, "/diagnostics", DIAGNOSTICS, event_callbacks=WITHOUT_EVENTS
        )
        self._timer = node.create_timer(_PERIOD_S, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def publish(self) -> None:
        """Publish now."""
        health = self._health()
        status = DiagnosticStatus(
            level=_LEVELS[health.level],
            name=self._node.get_fully_qualified_name(),
            message=health.message,
            hardware_id="",
            values=[KeyValue(key=k, value=str(v)) for k, v in health.values.items()],
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)
