"""The main function of every node's process: start, spin, end without a traceback."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from demo_control.configuration import ConfigurationError
from demo_control.network import prepare_network
from demo_control.nodes.control_loop import ControlLoop

RosError = rclpy_implementation.RCLError
"""What rclpy raises when the layer below refuses something; rclpy itself has no public name for it."""

USAGE_ERROR = 2
"""Exit code of a process that cannot start with what it was given."""

_STARTING_ERRORS = (ConfigurationError, RosError)
"""What ends a process before it has begun; ROS refuses, for instance, what the process's enclave does not permit."""

_SWITCH_INTERVAL_S = 0.0001
_LONGEST_WAIT_S = 0.1
"""The end of the context is noticed after at most this long."""

_Made = TypeVar("_Made")


def run(make_node: Callable[[], Node], arguments: Sequence[str] | None = None) -> int:
    """Run one node until SIGINT or SIGTERM.

    Args:
        make_node: Builds the node; it is destroyed here.
        arguments: Of the process, the program's name first; sys.argv if None.

    Returns:
        The exit code: 0 after a signal, 2 for arguments or parameter files that ROS cannot read.
    """
    return run_nodes(lambda: [make_node()], arguments)


def run_nodes(
    make_nodes: Callable[[], Sequence[Node]],
    arguments: Sequence[str] | None = None,
    make_loop: Callable[[], ControlLoop] | None = None,
    is_over: Callable[[], bool] = lambda: False,
) -> int:
    """Run nodes in one thread until SIGINT or SIGTERM.

    Args:
        make_nodes: Builds the nodes; they are destroyed here.
        arguments: Of the process, the program's name first; sys.argv if None.
        make_loop: Makes their loop; a plain one if None.
        is_over: Ends it, too.

    Returns:
        The exit code: 0 after its end, 2 for arguments or parameter files that ROS cannot read.
    """
    # rclpy's handlers end the context; without this, Python would also raise KeyboardInterrupt anywhere.
    signal.signal(signal.SIGINT, lambda _signal, _frame: None)
    try:
        nodes = started(make_nodes, arguments)
        if nodes is None:
            return USAGE_ERROR
        _spin(nodes, ControlLoop(*nodes) if make_loop is None else make_loop(), is_over)
        return 0
    finally:
        rclpy.try_shutdown()


def started(
    make: Callable[[], _Made], arguments: Sequence[str] | None = None, handlers: SignalHandlerOptions | None = None
) -> _Made | None:
    """Start ROS in this process, and make its nodes.

    Args:
        make: Makes them.
        arguments: Of the process, the program's name first; sys.argv if None.
        handlers: Which signals end the context; those that rclpy chooses if None.

    Returns:
        What was made; None where ROS or a node refuses to start, which is said in one line on standard error.
    """
    # A thread that wants the interpreter waits for up to this long while another computes in Python. The default of
    # 5 ms would let the planner's thread hold up an answer for a quarter of a 50 Hz period.
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    try:
        prepare_network()
        rclpy.init(args=None if arguments is None else list(arguments), signal_handler_options=handlers)
        return make()
    except _STARTING_ERRORS as error:
        print(f"error: {first_line(error)}", file=sys.stderr)
        return None


def _spin(nodes: Sequence[Node], loop: ControlLoop, is_over: Callable[[], bool]) -> None:
    """Execute callbacks until the context ends, then destroy the nodes."""
    try:
        while rclpy.ok() and not is_over():
            try:
                loop.spin_once(_LONGEST_WAIT_S)
            except RosError as error:
                # For instance a client that is gone before its answer; or the context ended inside a callback.
                if rclpy.ok():
                    nodes[0].get_logger().warning(f"ignored: {first_line(error)}")
    except ExternalShutdownException:
        pass
    finally:
        loop.close()
        for node in nodes:
            node.destroy_node()


def first_line(error: Exception) -> str:
    """What happened, in words; of an rcl error's text the part before that which says where in C."""
    if not isinstance(error, RosError):
        return str(error)
    return str(error).split(", at ", maxsplit=1)[0].strip()
