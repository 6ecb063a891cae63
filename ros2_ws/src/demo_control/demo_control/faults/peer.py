"""A ROS node of the campaign's own: waits for conditions, calls services, takes nodes through their lifecycle."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.context import Context

from demo_control.nodes.control_loop import ControlLoop

_TIMEOUT_S = 30.0
_ASK_AGAIN_S = 1.0


class Peer:
    """The node, in a context of its own and in the thread that calls."""

    def open_peer(self, check: Callable[[], None]) -> None:
        """Join ROS.

        Args:
            check: Called while waiting; may raise.
        """
        self._look = check
        self._context = Context()
        rclpy.init(context=self._context, args=[])
        self.node = rclpy.create_node("fault_campaign", context=self._context)
        self._loop = ControlLoop(self.node, context=self._context)

    def close_peer(self) -> None:
        """Leave ROS, if it was joined."""
        if hasattr(self, "node"):
            self._loop.close()
            self.node.destroy_node()
            self._context.try_shutdown()

    def spin(self, timeout_s: float) -> None:
        """Handle what has come, waiting for it that long."""
        self._look()
        self._loop.spin_once(timeout_s)

    def spin_for(self, seconds: float) -> None:
        """Handle what comes for so long."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0.0:
            self.spin(min(left_s, 0.02))

    def wait_until(self, condition: Callable[[], Any], what: str, timeout_s: float = _TIMEOUT_S) -> None:
        """Handle what comes until a condition holds.

        Raises:
            TimeoutError: It did not in time.
        """
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"not within {timeout_s:g} s: {what}")
            self.spin(0.02)

    def call(self, kind: type, name: str, request: object, good: Callable[[Any], bool] = lambda _answer: True) -> Any:  # noqa: ANN401 - rclpy has no types
        """Call a service; asks again where a request went to a server that is dead.

        A killed process's endpoints live on in everybody's graph until their lease is over.

        Args:
            kind: Of the service.
            name: Its name.
            request: What is asked.
            good: Which answers count.

        Raises:
            TimeoutError: No answer in time that counts.
        """
        client = self.node.create_client(kind, name)
        try:
            self.wait_until(client.service_is_ready, f"service {name}")
            futures = [client.call_async(request)]
            asked_s = time.monotonic()

            def answered() -> bool:
                nonlocal asked_s
                if time.monotonic() - asked_s > _ASK_AGAIN_S:
                    asked_s = time.monotonic()
                    futures.append(client.call_async(request))
                return any(future.done() and good(future.result()) for future in futures)

            self.wait_until(answered, f"answer of {name}")
            return next(future.result() for future in futures if future.done() and good(future.result()))
        finally:
            self.node.destroy_client(client)

    def bring_up(self, node: str) -> None:
        """Configure and activate."""
        for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
            request = ChangeState.Request(transition=Transition(id=transition))
            self.call(ChangeState, f"/{node}/change_state", request, lambda answer: bool(answer.success))
