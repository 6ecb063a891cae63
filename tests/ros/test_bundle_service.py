"""~/load_bundle where its node is cleaned up meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import rclpy
from demo_msgs.srv import LoadBundle
from rclpy.context import Context
from rclpy.node import Node
from rclpy.task import Future

from demo_control.nodes.bundle_service import BundleService
from demo_control.nodes.control_loop import ControlLoop

pytestmark = pytest.mark.ros

DEADLINE_S = 20.0
SWAP_S = 0.3


class Asked:
    """A node with the service, and a client of it, in one loop."""

    def __init__(self, context: Context) -> None:
        rclpy.init(context=context, args=[])
        self.node = Node("swaps", context=context)
        self.swapped: list[str] = []
        self.began = False
        self.service = self.offer()
        self.client = self.node.create_client(LoadBundle, "/swaps/load_bundle")
        self.loop = ControlLoop(self.node, context=context)
        self.spin_until(self.client.service_is_ready)

    def offer(self) -> BundleService:
        return BundleService(self.node, self._swap, lambda: "a hash")

    def _swap(self, directory: str) -> None:
        self.began = True
        time.sleep(SWAP_S)
        self.swapped.append(directory)

    def ask(self, directory: str) -> Future:
        return self.client.call_async(LoadBundle.Request(directory=directory))

    def spin_until(self, condition: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline_s
            self.loop.spin_once(0.02)


@pytest.fixture
def asked() -> Iterator[Asked]:
    context = Context()
    made = Asked(context)
    yield made
    made.loop.close()
    made.node.destroy_node()
    context.try_shutdown()


def test_a_clean_up_during_a_swap_waits_for_it_and_the_answer_is_sent(asked: Asked) -> None:
    answer = asked.ask("one")
    asked.spin_until(lambda: asked.began)
    asked.service.close()

    assert asked.swapped == ["one"]
    asked.spin_until(answer.done)
    assert answer.result().success
    asked.spin_until(lambda: not asked.client.service_is_ready())


def test_a_node_that_is_configured_again_offers_it_again(asked: Asked) -> None:
    first = asked.ask("one")
    asked.spin_until(lambda: asked.began)
    asked.service.close()
    asked.service = asked.offer()
    asked.spin_until(first.done)
    second = asked.ask("two")
    asked.spin_until(second.done)

    assert second.result().success
    assert asked.swapped == ["one", "two"]


def test_a_clean_up_without_a_swap_ends_the_service_at_once(asked: Asked) -> None:
    asked.service.close()
    asked.spin_until(lambda: not asked.client.service_is_ready())
