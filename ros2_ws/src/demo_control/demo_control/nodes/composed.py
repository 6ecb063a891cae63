"""Several nodes in one process and one thread: the hops between them are calls (``democtl launch --composed``).

    python -m demo_control.nodes.composed [--autostart] MODULE… --ros-args --params-file FILE

Each module names its node class as ``COMPONENT``. A driver among them gives the loop its ticks; its module is the one
whose class has ``run_composed``. A node whose callback raises is taken out, which is told; the others go on for as
long as the driver needs to notice, then the process ends with code 1.
"""

from __future__ import annotations

import importlib
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node

from demo_control.configuration import ConfigurationError
from demo_control.nodes.control_loop import ControlLoop
from demo_control.nodes.direct import TOPICS
from demo_control.nodes.running import USAGE_ERROR, RosError, first_line, run_nodes

_GRACE_S = 1.0
"""From a node's failure to the end of the process: several command timeouts, so that the robot has stopped."""


class Composition:
    """Nodes of one process.

    Args:
        classes: Of the nodes that answer, each before those that it listens to.
        is_started: Whether to configure and activate them here; otherwise someone asks them to.
    """

    def __init__(self, classes: Sequence[type[Node]], *, is_started: bool = False) -> None:
        self._classes = classes
        self._is_started = is_started
        self._loop: ControlLoop | None = None
        self._ends_s: float | None = None
        self.nodes: list[Node] = []

    @property
    def exit_code(self) -> int:
        """1 once a node has failed."""
        return 0 if self._ends_s is None else 1

    def make(self, topics: Sequence[str] = ()) -> list[Node]:
        """Construct the nodes.

        Args:
            topics: Further topics that are published in this process.

        Raises:
            ConfigurationError: Of a node.
        """
        self.nodes = [make() for make in self._classes]
        if not self.nodes:
            return []
        names = [(node, name) for node in self.nodes for name in node.control_outputs]
        names += [(self.nodes[0], name) for name in topics]
        TOPICS.offer({node.resolve_topic_name(name) for node, name in names}, self.guard)
        return self.nodes

    def loop(self, *more: Node) -> ControlLoop:
        """The loop of these nodes and more of them."""
        # Bring-ups name who listens before who speaks; here the one who is listened to shall hear a message first.
        is_paced = bool(self.nodes and more)
        self._loop = ControlLoop(*reversed(self.nodes), *more, guard=self.guard, is_paced=is_paced)
        if self._is_started:
            self.start()
        return self._loop

    def start(self) -> None:
        """Configure and activate the nodes, where nobody else does; if one cannot be, the process ends."""
        succeeded = TransitionCallbackReturn.SUCCESS
        steps = [node.trigger_configure for node in self.nodes] + [node.trigger_activate for node in self.nodes]
        if any(step() != succeeded for step in steps):
            # The node has said why.
            self._ends_s = time.monotonic()

    def guard(self, node: Node, call: Callable[[], object]) -> None:
        """Call a callback of a node; if it raises, the node is out of the composition."""
        try:
            call()
        except Exception as error:
            # A driver's own errors end the process, as without a composition.
            if node not in self.nodes or isinstance(error, ExternalShutdownException):
                raise
            if isinstance(error, RosError):
                node.get_logger().warning(f"ignored: {first_line(error)}")  # for instance a client that is gone
            else:
                self._fail(node)

    def is_over(self) -> bool:
        """Whether the process shall end, because a node failed a while ago."""
        return self._ends_s is not None and time.monotonic() > self._ends_s

    def close(self) -> None:
        """Destroy the nodes."""
        for node in self.nodes:
            node.destroy_node()

    def _fail(self, node: Node) -> None:
        print(f"node {node.get_name()} of this process failed, the others go on:", file=sys.stderr)
        traceback.print_exc()
        sys.stderr.flush()
        node.active = False
        TOPICS.forget(node)
        if self._loop is not None:
            self._loop.remove(node)
        self._ends_s = self._ends_s or time.monotonic() + _GRACE_S


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a composition; returns its exit code."""
    given = list(sys.argv if arguments is None else arguments)
    end = given.index("--ros-args") if "--ros-args" in given else len(given)
    words, ros_arguments = given[1:end], [given[0], *given[end:]]
    try:
        classes = [_component(module) for module in words if module != "--autostart"]
    except ConfigurationError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE_ERROR
    drivers = [kind for kind in classes if hasattr(kind, "run_composed")]
    composition = Composition([k for k in classes if k not in drivers], is_started="--autostart" in words)
    if drivers:
        # rclpy reads the arguments of the process.
        sys.argv = ros_arguments
        return int(drivers[0].run_composed(composition))
    code = run_nodes(composition.make, ros_arguments, composition.loop, composition.is_over)
    return code or composition.exit_code


def _component(module: str) -> Any:  # noqa: ANN401 - a node class
    try:
        return importlib.import_module(module).COMPONENT
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"'{module}' cannot be composed: {error}") from None


if __name__ == "__main__":
    sys.exit(main())
