"""The loop of a process: control messages at once, everything else when nobody waits.

rclpy's executors build a wait set from all entities of a node, in Python, for each message: a quarter of a
millisecond, on every hop. Here the subscriptions of the control path are waited for on their own, in a small wait set
that is kept. Timers, services, parameters and the other topics are looked at right after the last control message of a
period has been handled, when the next one is most of a period away, or after a while without one. One thread runs all
of it.
"""

from __future__ import annotations

import math
import time
from typing import Any

import rclpy
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.context import Context
from rclpy.event_handler import EventHandler
from rclpy.executors import SingleThreadedExecutor, TimeoutException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.subscription import Subscription

from demo_control.nodes.direct import Guard, takes_information, unguarded
from demo_control.real_time import Tidier

HOUSEKEEPING_PERIOD_S = 0.02
"""The rest is looked at in the first good moment after so long; a service is answered by so much later than at once."""

# Where a control message is still to come, or there is no time to wait.
_LONGEST_PERIOD_S = 0.1
# Without any control message for so long, the look at the rest does not wait for one. Longer than the periods of 20 ms
# that there are: the end of a period in which a message came is no good moment, as the next tick is due.
_QUIET_S = 0.03
_HOUSEKEEPING_LIMIT_S = 0.002
# More than a look takes that finds nothing.
_SHORTEST_WAIT_S = 0.0005
_LARGEST_BUNCH = 50
"""Messages of one topic that are handled in a row: who floods a topic must not keep the loop from its other work."""


class ControlGroup(MutuallyExclusiveCallbackGroup):  # type: ignore[misc] # rclpy has no types
    """Callback group of subscriptions on the control path.

    Args:
        waited_for: False leaves them to the executor: in simulated time, each message must find /clock up to date.
    """

    def __init__(self, *, waited_for: bool = True) -> None:
        super().__init__()
        self.waited_for = waited_for
        self.has_loop = False

    def can_execute(self, entity: Any) -> bool:  # noqa: ANN401 - any rclpy entity
        """Whether the executor may: not where a loop waits for the group."""
        return not (self.has_loop and self.waited_for) and bool(super().can_execute(entity))


class ControlLoop:
    """Runs the callbacks of some nodes in the calling thread.

    Args:
        nodes: All of one context. Their subscriptions in a :class:`ControlGroup` may come and go; the last that was
            created is the one whose message comes last in a period, and is answered.
        context: The default one if None.
        guard: Calls a callback of a node and deals with what it raises; lets it through by default.
        is_paced: Whether the caller knows best when there is nothing to do, because it brings the control messages
            itself: then the rest is looked at where the caller waits for long, and less often where it does not.
    """

    def __init__(
        self,
        *nodes: Node,
        context: Context | None = None,
        guard: Guard = unguarded,
        is_paced: bool = False,
    ) -> None:
        self._context = context or rclpy.get_default_context()
        self._executor = SingleThreadedExecutor(context=self._context)
        self._nodes = list(nodes)
        self._guard = guard
        self._is_paced = is_paced
        for node in nodes:
            self._executor.add_node(node)
        self._inputs: list[tuple[Node, Subscription, bool]] = []
        self._events: list[tuple[Node, EventHandler]] = []
        self._wait_set: Any = None
        self._last_housekeeping_s = 0.0
        self._last_input_s = -math.inf
        self.tidier = Tidier()
        self._gather()

    def spin_once(self, timeout_s: float) -> None:
        """Handle what has come; wait for at most ``timeout_s`` for a control message.

        Raises:
            ExternalShutdownException: The context has ended.
            Exception: Whatever a callback raises and the guard lets through.
        """
        if self._inputs:
            is_good_moment = self._handle_inputs(timeout_s) or time.monotonic() - self._last_input_s >= _QUIET_S
            # Who does not wait has work that is due: the rest can wait for longer then.
            if self._is_due(HOUSEKEEPING_PERIOD_S if is_good_moment and timeout_s > 0.0 else _LONGEST_PERIOD_S):
                self._housekeeping(0.0)
        elif not self._is_paced:
            self._housekeeping(timeout_s, limit_s=0.0)
        elif self._is_due(HOUSEKEEPING_PERIOD_S if timeout_s >= _SHORTEST_WAIT_S else _LONGEST_PERIOD_S):
            # In short waits, too: a driver of a real robot may have no others, and must hear the emergency stop.
            self._housekeeping(0.0, limit_s=min(timeout_s, _HOUSEKEEPING_LIMIT_S))
        else:
            time.sleep(min(timeout_s, HOUSEKEEPING_PERIOD_S))

    def remove(self, node: Node) -> None:
        """No longer run a node's callbacks; the node is not destroyed."""
        self._nodes = [kept for kept in self._nodes if kept is not node]
        self._executor.remove_node(node)
        self._gather()

    def close(self) -> None:
        """Let go of the nodes."""
        self._inputs.clear()
        self._wait_set = None
        self._executor.shutdown()

    def _is_due(self, period_s: float) -> bool:
        """Whether the last look at the rest was a period ago."""
        return time.monotonic() - self._last_housekeeping_s >= period_s

    def _gather(self) -> None:
        """Find the control path's subscriptions that there are now, in the order of their creation."""
        found = []
        for node in self._nodes:
            for subscription in node.subscriptions:
                group = subscription.callback_group
                if isinstance(group, ControlGroup) and group.waited_for:
                    group.has_loop = True
                    found.append((node, subscription))
        if found != [(node, subscription) for node, subscription, _ in self._inputs]:
            self._inputs = [(*entry, takes_information(entry[1].callback)) for entry in found]
            self._events = [(node, event) for node, subscription in found for event in subscription.event_handlers]
            make = rclpy_implementation.WaitSet
            self._wait_set = make(len(found), 0, 0, 0, 0, len(self._events), self._context.handle) if found else None

    def _handle_inputs(self, timeout_s: float) -> bool:
        """Wait for control messages and handle those that have come; whether the last of a period was among them."""
        wait_set, inputs = self._wait_set, self._inputs
        wait_set.clear_entities()
        for _, subscription, _ in inputs:
            wait_set.add_subscription(subscription.handle)
        for _, event in self._events:
            event.add_to_wait_set(wait_set)
        wait_set.wait(max(0, int(timeout_s * 1e9)))
        is_ready = False
        for index, (node, subscription, informed) in enumerate(inputs):
            is_ready = wait_set.is_ready("subscription", index)
            if is_ready:
                self._last_input_s = time.monotonic()
                self._handle(node, subscription, informed)
        # All are asked: an event remembers that it was ready.
        if sum(event.is_ready(wait_set) for _, event in self._events):
            self._handle_events()
        return bool(is_ready)

    def _handle(self, node: Node, subscription: Subscription, informed: bool) -> None:
        handle, kind = subscription.handle, subscription.msg_type
        for _ in range(_LARGEST_BUNCH):
            taken = handle.take_message(kind, subscription.raw)
            if taken is None:
                return
            arguments = taken if informed else taken[:1]
            self._guard(node, lambda arguments=arguments: subscription.callback(*arguments))  # type: ignore[misc]

    def _handle_events(self) -> None:
        """Tell the subscribers of missed deadlines and lost publishers; they may replace their subscriptions."""
        # All are taken before the first is told: telling it may end its subscription, and the others with that.
        taken = [(node, event.callback, event.take_data()) for node, event in self._events]
        for node, callback, data in taken:
            if data is not None:
                self._guard(node, lambda callback=callback, data=data: callback(data))  # type: ignore[misc]
        self._gather()

    def _housekeeping(self, timeout_s: float, limit_s: float = _HOUSEKEEPING_LIMIT_S) -> None:
        """Run what is ready besides the control messages: one callback at least, more for a limited time.

        Args:
            timeout_s: To wait for the first.
            limit_s: After so long, no other is begun.
        """
        deadline_s = time.monotonic() + limit_s
        try:
            while True:
                handler, _, node = self._executor.wait_for_ready_callbacks(timeout_sec=timeout_s)
                self._guard(node, lambda handler=handler: _run(handler))  # type: ignore[misc]
                timeout_s = 0.0
                if time.monotonic() > deadline_s:
                    break
        except TimeoutException:
            pass
        self._gather()
        self.tidier.tidy()
        self._last_housekeeping_s = time.monotonic()


def _run(handler: Any) -> None:  # noqa: ANN401 - rclpy's Task
    """Run one of the executor's handlers; raises what the callback raised."""
    handler()
    if (error := handler.exception()) is not None:
        raise error
