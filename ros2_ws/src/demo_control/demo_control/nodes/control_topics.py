"""Publishing and hearing the control path's topics, with deadline, liveliness and lifespan.

A subscriber's deadline, lease and lifespan: DDS says at once when a message is missing or its publisher is gone, and
drops what has become too old, even unread. The events are told and counted; what acts is the driver's own timeout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.duration import Duration
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import LivelinessPolicy, QoSProfile, qos_policy_name_from_kind

from demo_control.nodes.control_loop import ControlGroup
from demo_control.nodes.control_topic_settings import ControlTopicSettings
from demo_control.nodes.direct import TOPICS
from demo_control.nodes.quality import CONTROL_PUBLISHER, CONTROL_SUBSCRIBER

LIVELINESS_LEASE_S = 0.2
"""A process that does not move for so long counts as gone."""


@dataclass(frozen=True)
class ControlPath:
    """How a node's control topics behave.

    Attributes:
        node: Whose topics they are.
        period_s: Control period.
        settings: See :class:`ControlTopicSettings`.
        real_time: Whether messages come as fast as the robot; in simulated time, periods and ages of wall time mean
            nothing.
        tell: Called when a publisher is lost, back or refused, for the diagnostics.
    """

    node: Node
    period_s: float
    settings: ControlTopicSettings
    real_time: bool = True
    tell: Callable[[], None] = lambda: None

    def publisher(self, kind: type, topic: str) -> Publisher:
        """A publisher that offers its period as a deadline, and its process's life."""
        quality = _copy(CONTROL_PUBLISHER)
        if self.real_time:
            quality.deadline = Duration(seconds=self.period_s)
            _set_liveliness(quality)
        # None watches for events: see WITHOUT_EVENTS.
        events = PublisherEventCallbacks(use_default_callbacks=False)
        publisher = self.node.create_publisher(kind, topic, quality, event_callbacks=events)
        return TOPICS.publisher(self.node, topic, publisher)

    def remove(self, publisher: Publisher) -> None:
        """Destroy a publisher that :meth:`publisher` made."""
        self.node.destroy_publisher(getattr(publisher, "original", publisher))

    def input(self, kind: type, topic: str, callback: Callable[..., None], depth: int = 1) -> ControlInput:
        """A subscription that a :class:`~demo_control.nodes.control_loop.ControlLoop` waits for.

        Args:
            kind: Of the messages.
            topic: Their topic.
            callback: Called with each message; takes it alone, or with what is known of it, as with rclpy.
            depth: How many may wait; of more, the oldest are dropped.
        """
        return ControlInput(self, kind, topic, callback, depth)


class ControlInput:
    """One control topic as its subscriber sees it.

    A publisher that offers no deadline, as those of other packages, would not be heard at all. As long as there is no
    other, deadline and liveliness are given up for it, which is told. One that comes later does not get through.

    Attributes:
        deadlines_missed: How often the next message did not come in time.
        lost: How often the publisher's process was found gone, or standing still.
        refused: Publishers that offer too little, and were not heard for it.
    """

    def __init__(self, path: ControlPath, kind: type, topic: str, callback: Callable[..., None], depth: int) -> None:
        self.topic = topic
        self.deadlines_missed = 0
        self.lost = 0
        self.refused = 0
        self.is_alive = True
        self._path = path
        self._kind = kind
        self._callback = callback
        self._quality = _copy(CONTROL_SUBSCRIBER)
        self._quality.depth = depth
        if path.real_time:
            self._ask(path)
        self._group = ControlGroup(waited_for=path.real_time)
        self._is_direct = TOPICS.listen(path.node, topic, callback)
        if not self._is_direct:
            self._create()

    def close(self) -> None:
        """Stop listening."""
        if self._is_direct:
            TOPICS.forget(self._path.node, self._callback)
        else:
            self._path.node.destroy_subscription(self._subscription)

    @property
    def problem(self) -> str:
        """What is wrong now, in words, or ''."""
        return "" if self.is_alive else f"the publisher of '{self.topic}' is gone or stands still"

    def values(self) -> dict[str, object]:
        """Counters for the diagnostics."""
        return {
            f"{self.topic}.deadlines_missed": self.deadlines_missed,
            f"{self.topic}.publisher_lost": self.lost,
            f"{self.topic}.publishers_refused": self.refused,
        }

    def _ask(self, path: ControlPath) -> None:
        settings = path.settings
        if settings.deadline_periods:
            # Below one period, no publisher could be heard.
            self._quality.deadline = Duration(seconds=path.period_s * max(1.0, settings.deadline_periods))
            _set_liveliness(self._quality)
        if settings.lifespan_s:
            self._quality.lifespan = Duration(seconds=settings.lifespan_s)

    def _create(self) -> None:
        watched = self._path.real_time and self._path.settings.deadline_periods > 0.0
        events = SubscriptionEventCallbacks(
            deadline=self._on_deadline_missed if watched else None,
            liveliness=self._on_liveliness if watched else None,
            incompatible_qos=self._on_refused if watched else None,
            use_default_callbacks=not watched,
        )
        self._subscription = self._path.node.create_subscription(
            self._kind, self.topic, self._callback, self._quality, callback_group=self._group, event_callbacks=events
        )

    def _on_deadline_missed(self, event: Any) -> None:  # noqa: ANN401 - rclpy has no types
        self.deadlines_missed += event.total_count_change

    def _on_liveliness(self, event: Any) -> None:  # noqa: ANN401 - rclpy has no types
        self.is_alive = event.alive_count > 0
        logger = self._path.node.get_logger()
        if event.not_alive_count_change > 0:
            self.lost += event.not_alive_count_change
            logger.warning(f"publisher of '{self.topic}' is gone, or has stood still for {LIVELINESS_LEASE_S:g} s")
            self._path.tell()
        elif event.alive_count_change > 0 and self.lost:
            logger.info(f"publisher of '{self.topic}' is back")
            self._path.tell()

    def _on_refused(self, event: Any) -> None:  # noqa: ANN401 - rclpy has no types
        self.refused += event.total_count_change
        policy = qos_policy_name_from_kind(event.last_policy_kind).lower()
        node = self._path.node
        if self._subscription.get_publisher_count():
            node.get_logger().error(f"another publisher of '{self.topic}' is not heard: it offers no {policy}")
            self._path.tell()
            return
        node.get_logger().warning(
            f"the publisher of '{self.topic}' offers no {policy}: it is heard, but not watched for deadline and life"
        )
        self.is_alive = True  # as far as is known from now on
        infinite = QoSProfile(depth=1)
        self._quality.deadline = infinite.deadline
        self._quality.liveliness = infinite.liveliness
        self._quality.liveliness_lease_duration = infinite.liveliness_lease_duration
        self.close()
        self._create()
        self._path.tell()


def _set_liveliness(quality: QoSProfile) -> None:
    quality.liveliness = LivelinessPolicy.AUTOMATIC
    quality.liveliness_lease_duration = Duration(seconds=LIVELINESS_LEASE_S)


def _copy(quality: QoSProfile) -> QoSProfile:
    return QoSProfile(
        history=quality.history, depth=quality.depth, reliability=quality.reliability, durability=quality.durability
    )
