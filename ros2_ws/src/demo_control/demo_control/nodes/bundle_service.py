"""The service that swaps a model bundle while the node runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from demo_msgs.srv import LoadBundle
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.task import Future

from demo_control.bundle import BundleError
from demo_control.configuration import ConfigurationError


class _Outcome(NamedTuple):
    success: bool
    message: str


class BundleService:
    """``~/load_bundle``: the swap runs in a thread of its own, so that the control path goes on meanwhile.

    Args:
        node: Offers the service while this object is in use.
        swap: Loads, validates and takes over the bundle of a directory; called in the service's thread; raises
            BundleError or ConfigurationError if anything is wrong, and then leaves the old bundle in use.
        bundle_in_use: Returns the SHA-256 of the bundle in use.
    """

    def __init__(self, node: Node, swap: Callable[[str], None], bundle_in_use: Callable[[], str]) -> None:
        self._node = node
        self._swap = swap
        self._bundle_in_use = bundle_in_use
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="load_bundle")
        self._is_answering = False
        self._is_closed = False
        # A group of its own: while a request waits for its thread, the default group must not be blocked.
        self._service = node.create_service(
            LoadBundle,
            "~/load_bundle",
            self._answer,
            callback_group=MutuallyExclusiveCallbackGroup(),
        )

    def close(self) -> None:
        """Wait for a swap that is under way, and stop offering the service: at once, or when its answer is sent."""
        self._is_closed = True
        self._thread.shutdown(wait=True)
        # rclpy sends the answer when the executor has resumed; without the service it would raise, which ends the node.
        if not self._is_answering:
            self._stop()

    def _stop(self) -> None:
        self._node.destroy_service(self._service)

    async def _answer(self, request: LoadBundle.Request, response: LoadBundle.Response) -> LoadBundle.Response:
        """Answer a request; the executor resumes here when the work is done."""
        if self._is_closed:
            response.message = "refused: the node is being cleaned up"
            return response
        outcome = await self._outcome(request.directory)
        # Two lines for two severities: rclpy refuses one line of code that logs with both.
        if outcome.success:
            self._node.get_logger().info(f"load_bundle: {outcome.message}")
        else:
            self._node.get_logger().error(f"load_bundle: {outcome.message}")
        response.success = outcome.success
        response.message = outcome.message
        response.bundle_sha256 = self._bundle_in_use()
        return response

    async def _outcome(self, directory: str) -> _Outcome:
        """Hand the work to the thread; the service stays until the answer is sent, even if it is closed meanwhile."""
        self._is_answering = True
        finished = Future(executor=self._node.executor)
        # Done callbacks are executor tasks: they wake the executor, which then resumes this coroutine.
        finished.add_done_callback(lambda _future: None)
        work = self._thread.submit(self._attempt, directory)
        work.add_done_callback(lambda done: finished.set_result(done.result()))
        outcome: _Outcome = await finished
        self._is_answering = False
        if self._is_closed:
            # A task is executed after this one, at whose end rclpy sends the answer.
            self._node.executor.create_task(self._stop)
        return outcome

    def _attempt(self, directory: str) -> _Outcome:
        """Swap; every failure becomes an answer."""
        _step_back()
        try:
            self._swap(directory)
        except (BundleError, ConfigurationError) as error:
            return _Outcome(False, f"refused, the old bundle stays in use: {error}")
        except Exception as error:  # a client waits for an answer, whatever happens
            return _Outcome(False, f"failed, the old bundle stays in use: {type(error).__name__}: {error}")
        return _Outcome(True, f"bundle '{directory}' is in use")


def _step_back() -> None:
    """Let the real-time threads of all nodes come before this one, which computes for a tenth of a second.

    Not behind ordinary programs: it holds the interpreter now and then, and whoever waits for that waits for them.
    """
    policy = os.sched_getscheduler(0)
    if policy in {os.SCHED_FIFO, os.SCHED_RR}:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, policy, os.sched_param(os.sched_get_priority_min(policy)))
