"""A driver's process: start, ticks until the run is over or a signal comes, and the robot at rest at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import rclpy
from rclpy.signals import SignalHandlerOptions

from demo_control.drivers.running import Spin, StopRequest, run_in_lockstep, run_paced
from demo_control.nodes.composed import Composition
from demo_control.nodes.running import USAGE_ERROR, started

if TYPE_CHECKING:
    from demo_control.drivers.driver_node import DriverNode

_CONTROL_OUTPUTS = ("observation",)
"""What a driver publishes and the nodes of its process answer."""

_DELIVERY_LIMIT_S = 1.0
_DELIVERY_LIMIT_AFTER_SIGNAL_S = 0.3


def run_driver(make_node: Callable[[], DriverNode[Any]], composition: Composition | None = None) -> int:
    """Run a driver until its run is over, or SIGINT or SIGTERM.

    Args:
        make_node: Builds the node; it is destroyed here.
        composition: Nodes that share the driver's process.

    Returns:
        The exit code: 0 in both cases; 1 where another node of the process failed; 2 for arguments, parameter files or
        parameters that cannot work.
    """
    others = composition or Composition(())
    stop = StopRequest()

    def make() -> DriverNode[Any]:
        others.make(_CONTROL_OUTPUTS)
        return make_node()

    node = started(make, handlers=SignalHandlerOptions.NO)
    if node is None:
        rclpy.try_shutdown()
        return USAGE_ERROR
    loop = others.loop(node)

    def spin(timeout_s: float) -> None:
        loop.spin_once(timeout_s)
        if others.is_over():
            stop.request()

    node.real_time.enter(is_real=node.settings.real_time_factor == 1.0)
    try:
        try:
            _run(node, spin, stop)
        finally:
            # At once: a robot that gets no commands for a moment stops by itself, and not as gently.
            node.rest(spin)
        node.deliver(_DELIVERY_LIMIT_AFTER_SIGNAL_S if stop else _DELIVERY_LIMIT_S)
    finally:
        # Whatever happens, the robot is brought to rest.
        loop.close()
        others.close()
        node.close()
        rclpy.try_shutdown()
    return others.exit_code


def _run(node: DriverNode[Any], spin: Spin, stop: StopRequest) -> None:
    """Give the node its ticks until its run is over."""
    factor = node.settings.real_time_factor
    if factor == 0.0:
        run_in_lockstep(node, spin, stop, node.period_ns)
    else:
        run_paced(node, spin, stop, node.period_ns, factor)
