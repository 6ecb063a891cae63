"""Topics whose publisher and subscribers share a process: a message is handed on by a call, then published.

What the others hear is the same, only later than those who must act on it. Nothing here is used unless a process is
composed of several nodes (:mod:`demo_control.nodes.composed`).
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher

Guard = Callable[[Node, Callable[[], object]], None]
"""Calls a callback of a node, and deals with what it raises."""


def unguarded(_node: Node, call: Callable[[], object]) -> None:
    """Let through whatever a callback raises."""
    call()


class DirectTopics:
    """The control topics that are published inside this process, and who listens to them here."""

    def __init__(self) -> None:
        self._listeners: dict[str, list[tuple[Node, Callable[..., None], bool]]] = {}
        self._published: Counter[str] = Counter()
        self._guard: Guard = unguarded

    def offer(self, topics: set[str], guard: Guard) -> None:
        """Say which topics are published in this process, by their full names, before any of them is created."""
        self._listeners = {topic: [] for topic in topics}
        self._guard = guard
        self._published.clear()

    def listen(self, node: Node, topic: str, callback: Callable[..., None]) -> bool:
        """Hear a topic by calls, if it is published here; those that listened first are called first.

        Args:
            node: Who listens.
            topic: Its name for the node.
            callback: Takes a message or, as with rclpy, a message and what is known of it.
        """
        listeners = self._listeners.get(node.resolve_topic_name(topic))
        if listeners is not None:
            listeners.append((node, callback, takes_information(callback)))
        return listeners is not None

    def forget(self, node: Node, callback: Callable[..., None] | None = None) -> None:
        """End what a node, or one callback of it, listens to."""
        for topic, listeners in self._listeners.items():
            kept = [entry for entry in listeners if entry[0] is not node or callback not in (None, entry[1])]
            self._listeners[topic] = kept

    def publisher(self, node: Node, topic: str, publisher: Publisher) -> Publisher:
        """The publisher itself, or one that calls the listeners of this process first."""
        full = node.resolve_topic_name(topic)
        return _DirectPublisher(self, full, publisher) if full in self._listeners else publisher

    def hand_on(self, topic: str, message: Any) -> None:  # noqa: ANN401 - a message of any type
        """Call the listeners of a topic."""
        self._published[topic] += 1
        information = {"publication_sequence_number": self._published[topic]}
        for node, callback, informed in self._listeners[topic]:
            arguments = (message, information) if informed else (message,)
            self._guard(node, lambda callback=callback, arguments=arguments: callback(*arguments))  # type: ignore[misc]


def takes_information(callback: Callable[..., None]) -> bool:
    """Whether a callback wants to know of a message, too, by rclpy's rule: it cannot be called with one argument."""
    try:
        inspect.signature(callback).bind(object())
    except TypeError:
        return True
    return False


class _DirectPublisher:
    """Looks like the publisher that it stands before."""

    def __init__(self, topics: DirectTopics, topic: str, publisher: Publisher) -> None:
        self.original = publisher
        self._topics = topics
        self._topic = topic

    def publish(self, message: Any) -> None:  # noqa: ANN401 - a message of the topic's type
        self._topics.hand_on(self._topic, message)
        self.original.publish(message)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever rclpy's publisher has
        return getattr(self.original, name)


TOPICS = DirectTopics()
"""Those of this process."""
