"""recorder_node: writes all topics to a bag, in a process of its own; the control path does not know of it.

It hears every publisher reliably where that is offered, takes the serialised messages past the executor, and hands
them to :class:`~demo_control.bags.recording.Recording`. A full disk ends the recording and nothing else.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rcl_interfaces.srv import GetParameters, ListParameters
from rclpy.client import Client
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from demo_control.bags.definitions import installed_definition, type_hash
from demo_control.bags.errors import BagError
from demo_control.bags.metadata import PARAMETERS_RECORD, yaml_text
from demo_control.bags.provenance import about_here, contract_hash
from demo_control.bags.recording import Recording
from demo_control.configuration import ConfigurationError, Settings, setting
from demo_control.nodes.diagnostics import Diagnostics, Health
from demo_control.nodes.parameters import Parameters
from demo_control.nodes.running import RosError, run

EARS = "_ears"
"""Suffix of the name of the node that has the subscriptions."""

_TAKE_PERIOD_S = 0.02
_LOOK_PERIOD_S = 0.25
_DEPTH = 5000
_ENDLESS_NS = 2**63 - 1
_SHARED = ("/diagnostics", "/parameter_events", "/rosout", "/tf", "/tf_static")
"""Topics of many publishers, whose counts of messages cannot be told apart."""


@dataclass(frozen=True)
class RecorderSettings(Settings):
    """What the recorder must know."""

    directory: str = setting("", "Folder of the bag; must not exist, or be empty.")
    bringup: str = setting("", "Name of the bring-up that is recorded, for the bag.")
    arguments: str = setting("", "The bring-up's arguments as JSON, for the bag.")
    queue_mb: int = setting(64, "Megabytes that may wait for the disk; what comes then is dropped.", minimum=1)
    flush_period_s: float = setting(1.0, "What was heard longer ago is on the disk.", minimum=0.05, maximum=60.0)


@dataclass
class _Ear:
    """One topic that is heard."""

    number: int
    kind: type
    subscription: Subscription
    quality: QoSProfile
    counted: bool


class RecorderNode(Node):  # type: ignore[misc] # rclpy has no types
    """Records everything that is said.

    Args:
        **options: As of rclpy's Node.

    Raises:
        ConfigurationError: No folder to record to, or one that cannot be used.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - handed through to rclpy
        super().__init__("recorder_node", **options)
        parameters = Parameters(self)
        settings = parameters.declare(RecorderSettings()).value
        try:
            parameters.check()
            if not settings.directory:
                raise ConfigurationError("directory = '': must name a folder to record to")
            about = about_here(settings.bringup, settings.arguments)
            self._recording = Recording(
                Path(settings.directory), about, settings.queue_mb << 20, settings.flush_period_s
            )
        except (BagError, OSError, ConfigurationError) as error:
            super().destroy_node()
            raise ConfigurationError(f"cannot record: {error}") from None
        # A node of its own, which no executor has: it would build a wait set for each message.
        self._listener = Node(
            self.get_name() + EARS,
            context=self.context,
            start_parameter_services=False,
            enable_rosout=False,
            use_global_arguments=False,
        )
        self._ears: dict[tuple[str, str], _Ear] = {}
        self._deaf: set[tuple[str, str]] = set()
        self._parameter_clients: dict[str, tuple[Client, Client]] = {}
        self._asked: set[str] = set()
        self._told_failure = False
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_TAKE_PERIOD_S, self._take, clock=steady)
        self.create_timer(_LOOK_PERIOD_S, self._look, clock=steady)
        self._diagnostics = Diagnostics(self, self._health)
        self.get_logger().info(f"recording to {settings.directory}")

    def destroy_node(self) -> None:
        """Write what was heard, and the end of the bag."""
        self._take()
        self._recording.close()
        self._listener.destroy_node()
        super().destroy_node()
        recording, missing = self._recording, sum(self._recording.missing.values())
        # The context has ended, and ROS's log with it.
        print(f"recorded {recording.message_count} messages to {recording.folder}, {missing} are missing", flush=True)
        for what, count in recording.missing.items():
            print(f"missing: {count} {what}", flush=True)
        if recording.failure:
            print(f"recording stopped: {recording.failure}; 'democtl bag repair' writes its index", flush=True)

    def _health(self) -> Health:
        recording = self._recording
        values = {"messages": recording.message_count, **recording.missing}
        if recording.failure:
            text = f"recording stopped: {recording.failure}; {sum(recording.missing.values())} messages are not written"
            return Health("error", text, values)
        if recording.missing:
            return Health("warn", "messages were dropped", values)
        return Health("ok", "recording", values)

    def _take(self) -> None:
        """Take all that has come."""
        for ear in self._ears.values():
            handle, kind = ear.subscription.handle, ear.kind
            try:
                with handle:
                    while (taken := handle.take_message(kind, True)) is not None:
                        self._keep(ear, *taken)
            except RosError:
                return  # the context has ended
        if self._recording.failure and not self._told_failure:
            self._told_failure = True
            self.get_logger().error(f"recording stopped: {self._recording.failure}; control goes on")

    def _keep(self, ear: _Ear, data: bytes, about: dict[str, int]) -> None:
        now_ns = about.get("received_timestamp") or time.time_ns()
        sequence = (about.get("publication_sequence_number") or 0) if ear.counted else 0
        self._recording.put(ear.number, now_ns, data, about.get("source_timestamp") or now_ns, sequence & 0xFFFFFFFF)

    def _look(self) -> None:
        """Listen to topics and publishers that are new, and ask nodes that are new for their parameters."""
        for topic, kinds in self.get_topic_names_and_types():
            for kind in kinds:
                if (topic, kind) in self._ears:
                    self._listen_to_all(topic, kind, self._ears[topic, kind])
                elif (topic, kind) not in self._deaf:
                    self._listen(topic, kind)
        for name, namespace in self.get_node_names_and_namespaces():
            full = f"{namespace.rstrip('/')}/{name}"
            if full not in self._asked and not name.startswith(("democtl_", self.get_name())):
                self._ask(full)

    def _listen(self, topic: str, kind: str) -> None:
        """Subscribe as the publishers offer it."""
        offers = self._offers(topic, kind)
        if not offers:
            return
        try:
            definition = installed_definition(kind)
            package, _, name = kind.split("/")
            message_type = getattr(importlib.import_module(f"{package}.msg"), name)
        except (BagError, ImportError, AttributeError) as error:
            self._deaf.add((topic, kind))
            self.get_logger().warning(f"{topic} is not recorded: {error}")
            return
        quality = _quality_for(offers)
        number = self._recording.add_topic(topic, kind, definition, type_hash(kind, definition), _qos_text(offers))
        subscription = self._listener.create_subscription(message_type, topic, _never, quality, raw=True)
        self._ears[topic, kind] = _Ear(number, message_type, subscription, quality, topic not in _SHARED)

    def _listen_to_all(self, topic: str, kind: str, ear: _Ear) -> None:
        """Ask for less where a publisher has come that offers less: it would never be heard."""
        if self.count_publishers(topic) <= ear.subscription.get_publisher_count():
            return
        offers = self._offers(topic, kind)
        quality = _quality_for(offers)
        known = ear.quality.reliability, ear.quality.durability
        if not offers or (quality.reliability, quality.durability) == known:
            return
        self._take()
        self._listener.destroy_subscription(ear.subscription)
        ear.subscription = self._listener.create_subscription(ear.kind, topic, _never, quality, raw=True)
        ear.quality = quality
        self.get_logger().warning(
            f"{topic}: a publisher offers less than the others: heard {quality.reliability.name.lower()}, "
            f"{quality.durability.name.lower()} from now on"
        )

    def _offers(self, topic: str, kind: str) -> list[QoSProfile]:
        """What the publishers of a topic offer."""
        return [info.qos_profile for info in self.get_publishers_info_by_topic(topic) if info.topic_type == kind]

    def _ask(self, node: str) -> None:
        """Ask a node for all its parameters."""
        # Not rclpy's AsyncParameterClient: it could also set them, which a recorder's enclave does not permit.
        if node not in self._parameter_clients:
            kinds = ((ListParameters, "list_parameters"), (GetParameters, "get_parameters"))
            lister, getter = (self.create_client(kind, f"{node}/{name}") for kind, name in kinds)
            self._parameter_clients[node] = lister, getter
        lister, getter = self._parameter_clients[node]
        if not (lister.service_is_ready() and getter.service_is_ready()):
            return
        self._asked.add(node)

        def listed(future: Any) -> None:  # noqa: ANN401 - rclpy has no types
            names = list(future.result().result.names)
            answer = getter.call_async(GetParameters.Request(names=names))
            answer.add_done_callback(lambda future: told(names, future))

        def told(names: list[str], future: Any) -> None:  # noqa: ANN401 - rclpy has no types
            values = map(parameter_value_to_python, future.result().values)
            parameters = dict(zip(names, values, strict=False))
            digest = contract_hash(str(parameters.get("bundle_directory", "")))
            texts = {"parameters": json.dumps(parameters, default=list), "bundle_sha256": digest}
            self._recording.add_record(PARAMETERS_RECORD + node, texts)

        lister.call_async(ListParameters.Request()).add_done_callback(listed)


def _quality_for(offers: list[QoSProfile]) -> QoSProfile:
    """The most that can be asked for and is offered by all."""
    reliable = all(offer.reliability == ReliabilityPolicy.RELIABLE for offer in offers)
    latched = all(offer.durability == DurabilityPolicy.TRANSIENT_LOCAL for offer in offers)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=_DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def _qos_text(offers: list[QoSProfile]) -> str:
    """The publishers' quality of service as rosbag2 writes it."""
    profiles = []
    for offer in offers:
        # DDS does not tell others the history of a publisher.
        history = offer.history.name.lower() if offer.history.name != "UNKNOWN" else "keep_last"
        profiles.append(
            {
                "history": history,
                "depth": offer.depth or 10,
                "reliability": offer.reliability.name.lower(),
                "durability": offer.durability.name.lower(),
                # A player that offers less would not be heard by our nodes.
                "deadline": _qos_time(offer.deadline),
                "lifespan": _qos_time(offer.lifespan),
                "liveliness": "automatic",
                "liveliness_lease_duration": _qos_time(offer.liveliness_lease_duration),
                "avoid_ros_namespace_conventions": False,
            }
        )
    return yaml_text(profiles)


def _qos_time(duration: Duration) -> dict[str, int]:
    """A duration as rosbag2 writes it; none is the longest that there is."""
    seconds, nanoseconds = divmod(min(duration.nanoseconds or _ENDLESS_NS, _ENDLESS_NS), 1_000_000_000)
    return {"sec": seconds, "nsec": nanoseconds}


def _never(_message: bytes) -> None:
    """No executor calls back."""


def main() -> int:
    """Run the node."""
    return run(RecorderNode)


if __name__ == "__main__":
    sys.exit(main())
