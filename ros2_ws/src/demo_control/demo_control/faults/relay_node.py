"""fault_relay: stands between a driver and its controllers, and spoils what passes.

Subscribes ``observation`` and ``sent/action``, publishes ``seen/observation`` and ``action``. What it shall do comes on
``fault_relay/order`` as JSON (see :class:`Order`) and is confirmed on ``fault_relay/done`` by the order's number.
"""

from __future__ import annotations

import heapq
import json
import sys
import threading
import time
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from demo_msgs.msg import Action, Observation
from rclpy.node import Node
from rclpy.publisher import Publisher
from std_msgs.msg import Int64, String

from demo_control.configuration import Settings, setting
from demo_control.faults.distortion import Distorter, Distortion
from demo_control.nodes.control_topic_settings import ControlTopicSettings
from demo_control.nodes.control_topics import ControlPath
from demo_control.nodes.messages import nanoseconds, values_of
from demo_control.nodes.parameters import Parameters
from demo_control.nodes.quality import LATCHED
from demo_control.nodes.running import run
from demo_control.real_time import RealTimeSettings, apply

ORDER_TOPIC, DONE_TOPIC = "fault_relay/order", "fault_relay/done"
_SCHEDULING = RealTimeSettings(scheduling="fifo", scheduling_priority=42, lock_memory=False, reserve_mb=0)
"""Before the nodes: what stands between them may not be what is late."""
_SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class RelaySettings(Settings):
    """What the relay must know."""

    period_s: float = setting(0.02, "Control period of the robot.", minimum=0.0001, maximum=10.0)
    seed: int = setting(0, "Of what is random.", minimum=0)


@dataclass(frozen=True)
class Order:
    """What the relay shall do.

    Attributes:
        number: Confirmed when it is done.
        gate_open: Whether commands get through at all.
        distortions: By topic, ``observation`` and ``action``; settings of :class:`Distortion`.
    """

    number: int
    gate_open: bool = True
    distortions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def text(self) -> str:
        """As JSON."""
        return json.dumps(vars(self))


class FaultRelay(Node):  # type: ignore[misc] # rclpy has no types
    """The node."""

    def __init__(self) -> None:
        super().__init__("fault_relay")
        parameters = Parameters(self)
        settings = parameters.declare(RelaySettings()).value
        parameters.check()
        seeds = np.random.SeedSequence(settings.seed).spawn(2)
        self._distorters = {
            topic: Distorter(np.random.default_rng(seed))
            for topic, seed in zip(("observation", "action"), seeds, strict=True)
        }
        self._gate_open = False
        self._late = _Late()
        path = ControlPath(self, settings.period_s, ControlTopicSettings(deadline_periods=0.0))
        self._seen = path.publisher(Observation, "seen/observation")
        self._action = path.publisher(Action, "action")
        self._inputs = (
            path.input(Observation, "observation", self._on_observation),
            path.input(Action, "sent/action", self._on_action),
        )
        self._done = self.create_publisher(Int64, DONE_TOPIC, LATCHED)
        self.create_subscription(String, ORDER_TOPIC, self._on_order, LATCHED)
        # All threads: those in which DDS receives, too. Without the right to it, it is only slower.
        apply(_SCHEDULING)

    def _on_order(self, message: String) -> None:
        order = Order(**json.loads(message.data))
        for topic, distorter in self._distorters.items():
            distorter.begin(Distortion.from_mapping(order.distortions.get(topic, {})))
        self._gate_open = order.gate_open
        self._done.publish(Int64(data=order.number))

    def _on_observation(self, message: Observation) -> None:
        distorter = self._distorters["observation"]
        stamp_s = distorter.distortion.stamp_s
        if stamp_s:
            moved = nanoseconds(message.header.stamp) + round(stamp_s * _SECOND_NS)
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(moved, _SECOND_NS)
        self._hand_on(self._seen, message, distorter)

    def _on_action(self, message: Action) -> None:
        if self._gate_open:
            self._hand_on(self._action, message, self._distorters["action"])

    def _hand_on(self, publisher: Publisher, message: Any, distorter: Distorter) -> None:  # noqa: ANN401
        if distorter.distortion.values:
            message.values = array("d", distorter.values(values_of(message)).tobytes())
        for delay_s in distorter.delays():
            if delay_s > 0.0:
                self._late.add(delay_s, publisher, message)
            else:
                publisher.publish(message)


class _Late:
    """Publishes messages later, in a thread of its own."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, Publisher, Any]] = []
        self._count = 0
        self._changed = threading.Condition()
        threading.Thread(target=self._run, daemon=True, name="late messages").start()

    def add(self, delay_s: float, publisher: Publisher, message: Any) -> None:  # noqa: ANN401 - any message
        with self._changed:
            self._count += 1
            heapq.heappush(self._waiting, (time.monotonic() + delay_s, self._count, publisher, message))
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                wait_s = self._waiting[0][0] - time.monotonic() if self._waiting else None
                if wait_s is None or wait_s > 0.0:
                    self._changed.wait(wait_s)
                    continue
                _, _, publisher, message = heapq.heappop(self._waiting)
            publisher.publish(message)


def main() -> int:
    """Run the node."""
    return run(FaultRelay)


if __name__ == "__main__":
    sys.exit(main())
