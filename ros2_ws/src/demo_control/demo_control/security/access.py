"""What a process may do on ROS's topics and services, and how that is called in DDS.

The names in DDS are those of rmw_fastrtps (https://design.ros2.org/articles/topic_and_service_names.html): a topic
``/action`` is ``rt/action``; a service ``/arm`` is two topics, ``rq/armRequest`` and ``rr/armReply``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from demo_control.configuration import ConfigurationError

_NAME = re.compile(r"/?[A-Za-z0-9_*]+(/[A-Za-z0-9_*]+)*")

_ANY_PUBLISHES = ("ros_discovery_info", "rt/rosout", "rt/parameter_events")
_ANY_SUBSCRIBES = ("ros_discovery_info", "rt/clock")


@dataclass(frozen=True)
class Access:
    """What the nodes of a process do, besides what every node does; all names in the root namespace.

    Every node offers services and publishes topics below its own name (parameters, lifecycle, ``~/load_bundle``),
    publishes ``/rosout`` and ``/parameter_events``, and may follow ``/clock``. In a name, ``*`` stands for anything.

    Attributes:
        nodes: Their names.
        publishes: Topics.
        subscribes: Topics.
        offers: Services that others call.
        calls: Services of others.
    """

    nodes: tuple[str, ...] = ()
    publishes: tuple[str, ...] = ()
    subscribes: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the names, and write them without the leading slash."""
        for field in ("nodes", "publishes", "subscribes", "offers", "calls"):
            names = getattr(self, field)
            for name in names:
                if not _NAME.fullmatch(name):
                    raise ConfigurationError(f"{field}: '{name}': expected a ROS name, in which * stands for anything")
            object.__setattr__(self, field, tuple(dict.fromkeys(name.lstrip("/") for name in names)))

    def __or__(self, other: Access) -> Access:
        """What both may do, for nodes that share a process."""
        return Access(
            self.nodes + other.nodes,
            self.publishes + other.publishes,
            self.subscribes + other.subscribes,
            self.offers + other.offers,
            self.calls + other.calls,
        )

    def topics(self) -> Topics:
        """The same, as DDS calls it."""
        own = tuple(f"{node}/*" for node in self.nodes)
        offers = self.offers + own
        return Topics(
            publish=(
                *_ANY_PUBLISHES,
                *(f"rt/{name}" for name in self.publishes + own),
                *(f"rr/{name}Reply" for name in offers),
                *(f"rq/{name}Request" for name in self.calls),
            ),
            subscribe=(
                *_ANY_SUBSCRIBES,
                *(f"rt/{name}" for name in self.subscribes),
                *(f"rq/{name}Request" for name in offers),
                *(f"rr/{name}Reply" for name in self.calls),
            ),
        )


@dataclass(frozen=True)
class Topics:
    """DDS topics, which may contain ``*``.

    Attributes:
        publish: That may be published.
        subscribe: That may be subscribed to.
    """

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]

    def may_publish(self, topic: str) -> bool:
        """Whether a DDS topic may be published."""
        return _matches(topic, self.publish)

    def may_subscribe(self, topic: str) -> bool:
        """Whether a DDS topic may be subscribed to."""
        return _matches(topic, self.subscribe)


def union(accesses: Iterable[Access]) -> Access:
    """What any of several may do."""
    result = Access()
    for access in accesses:
        result = result | access
    return result


def _matches(topic: str, patterns: Iterable[str]) -> bool:
    """As fnmatch of the C library, which Fast DDS uses: ``*`` also stands for slashes."""
    return any(fnmatchcase(topic, pattern) for pattern in patterns)
