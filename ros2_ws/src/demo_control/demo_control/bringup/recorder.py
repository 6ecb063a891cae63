"""Keeps every message of some topics, at a small price: several robots' worth of topics at 200 Hz.

Messages are taken in bunches, past the executor, which would build a wait set for each; and they stay serialised until
somebody asks for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rclpy.context import Context
from rclpy.node import Node
from rclpy.serialization import deserialize_message

from demo_control.nodes.quality import RECORDING


class Recorder:
    """Hears some topics.

    Args:
        context: Of the ROS node, which no executor may have.
        topics: Message types by topic.
        keeps_all: False for runs of hours: only the first and the newest message of each topic.
    """

    def __init__(self, context: Context, topics: Mapping[str, type], *, keeps_all: bool = True) -> None:
        self._node = Node("democtl_recorder", context=context, start_parameter_services=False, enable_rosout=False)
        self._topics = dict(topics)
        self._keeps_all = keeps_all
        self._heard: dict[str, list[bytes]] = {topic: [] for topic in topics}
        self._subscriptions = {
            topic: self._node.create_subscription(kind, topic, _never, RECORDING, raw=True)
            for topic, kind in topics.items()
        }

    def take(self) -> None:
        """Take what has come since the last call; call it often enough that no queue overflows."""
        for topic, subscription in self._subscriptions.items():
            heard = self._heard[topic]
            with subscription.handle:
                while (taken := subscription.handle.take_message(self._topics[topic], True)) is not None:
                    if not self._keeps_all:
                        del heard[1:]
                    heard.append(taken[0])

    def publishers(self, topic: str) -> int:
        """How many publishers of a topic have been found."""
        return int(self._subscriptions[topic].get_publisher_count())

    def count(self, topic: str) -> int:
        """Messages kept so far; none of a topic that is not recorded."""
        return len(self._heard.get(topic, ()))

    def message(self, topic: str, index: int) -> Any:  # noqa: ANN401 - of the topic's type
        """One message of a topic."""
        return deserialize_message(self._heard[topic][index], self._topics[topic])

    def messages(self, topic: str) -> list[Any]:
        """All messages of a topic so far, in the order of their arrival; none of a topic that is not recorded."""
        return [deserialize_message(data, self._topics[topic]) for data in self._heard.get(topic, ())]

    def close(self) -> None:
        """Leave the ROS graph."""
        self._node.destroy_node()


def _never(_message: bytes) -> None:
    """No executor calls back."""
