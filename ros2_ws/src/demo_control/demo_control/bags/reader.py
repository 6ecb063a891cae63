"""A recording as a whole: its files, topics, messages, and what is wrong with it."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from demo_control.bags import unpacking
from demo_control.bags.definitions import known_definition
from demo_control.bags.errors import BagError
from demo_control.bags.folder import Told, open_files
from demo_control.bags.metadata import END_RECORD, METADATA_FILE, REPAIR_RECORD, START_RECORD, unsealed
from demo_control.bags.storage import Channel, Storage

REPAIRED = "repaired: "
"""What a line begins with that tells of damage before a repair."""
UNCHECKED = "without checksums: wrong bits would go unnoticed"
"""What is told of files that have none; nothing is known to be wrong with them."""

_DISORDER = 256
"""Messages that rosbag2's compressing threads may be ahead of each other, and more."""


class Heard(NamedTuple):
    """One message of a bag.

    Attributes:
        topic: With the leading slash.
        type: Of the message.
        sequence: The publisher's count of its messages, 0 where it is not known.
        log_time_ns: When it was heard, since 1970.
        publish_time_ns: When it was sent, since 1970.
        data: Serialised.
    """

    topic: str
    type: str
    sequence: int
    log_time_ns: int
    publish_time_ns: int
    data: bytes


_ItemT = TypeVar("_ItemT")


def in_order(messages: Iterable[_ItemT], time_ns: Callable[[_ItemT], int], most: int) -> Iterator[_ItemT]:
    """Messages in the order of their times, where none is further from its place than some others.

    Args:
        messages: In the order of being written.
        time_ns: Of a message.
        most: How many are held back at once.
    """
    waiting: list[tuple[int, int, _ItemT]] = []
    for number, message in enumerate(messages):
        entry = (time_ns(message), number, message)
        if len(waiting) < most:
            heapq.heappush(waiting, entry)
        else:
            yield heapq.heappushpop(waiting, entry)[-1]
    while waiting:
        yield heapq.heappop(waiting)[-1]


@dataclass
class Bag:
    """A recording.

    Attributes:
        path: Folder, or file.
        containers: Its files.
        notes: What is wrong with the folder.
        told: What its metadata.yaml says.
        records: Metadata records by name, the damaged ones left out.
    """

    path: Path
    containers: list[Storage]
    notes: list[str]
    told: Told = field(default_factory=Told)
    records: dict[str, dict[str, str]] = field(default_factory=dict)
    _count: int | None = None
    _unreadable: int = 0

    @classmethod
    def open(cls, path: Path) -> Bag:
        """Open a bag's folder, with or without metadata.yaml, or one of its files.

        Raises:
            BagError: No recording, or none that can be read here.
        """
        notes: list[str] = []
        try:
            containers, told = open_files(path, notes)
        except OSError as error:
            raise BagError(f"{error.filename or path}: cannot be read ({error.strerror or error})") from None
        bag = cls(path, containers, notes, told)
        for container in containers:
            for name, record in container.metadata.items():
                if not name.startswith(START_RECORD):
                    continue
                content = unsealed(record)
                if content is None:
                    notes.append(f"{container.path.name}: metadata record '{name}' is damaged, and not used")
                else:
                    bag.records[name] = content
        return bag

    @property
    def channels(self) -> list[Channel]:
        """All topics known so far; complete after :meth:`messages`.

        Where the bag has no definition of a type (rosbag2 wrote none into SQLite files before Iron), the one that is
        known here stands in for it.
        """
        return [self._defined(channel) for container in self.containers for channel in container.channels.values()]

    def messages(self, topics: Collection[str] | None = None) -> Iterator[Heard]:
        """All whole messages of some topics, or of all; file by file, in each as they were written."""
        self._unreadable = count = 0
        for container in self.containers:
            channels = container.channels
            messages = container.messages()
            if self.told.compression_mode == "message":
                # Several threads of rosbag2 compress them, and write what is ready.
                messages = in_order(messages, lambda message: message.log_time_ns, _DISORDER)
            for message in messages:
                count += 1
                channel = channels[message.channel]
                if topics is None or channel.topic in topics:
                    data = message.data
                    if data.startswith(unpacking.MAGIC):
                        unpacked = unpacking.unpack_message(data)
                        if unpacked is None:
                            self._unreadable += 1
                            continue
                        data = unpacked
                    yield Heard(channel.topic, channel.type, *message[1:4], data)
        self._count = count

    def undefined(self) -> list[str]:
        """Types that the bag has no definition of."""
        channels = (channel for container in self.containers for channel in container.channels.values())
        return sorted({channel.type for channel in channels if not channel.definition})

    def _defined(self, channel: Channel) -> Channel:
        if channel.definition:
            return channel
        definition = known_definition(channel.type, self.told.distribution)
        return replace(channel, definition_encoding="ros2msg", definition=definition)

    def damage(self) -> list[str]:
        """What is wrong, one line each; complete after :meth:`messages`."""
        several = len(self.containers) > 1
        lines = list(self.notes)
        for container in self.containers:
            prefix = f"{container.path.name}: " if several else ""
            lines += [prefix + line for line in container.damage]
            if not container.checked:
                lines.append(prefix + UNCHECKED)
        if self._count is not None and self.told.messages is not None and self._count < self.told.messages:
            lines.append(f"{METADATA_FILE} tells of {self.told.messages} messages, {self._count} are here")
        if self._unreadable:
            lines.append(f"{self._unreadable} compressed messages cannot be unpacked")
        repaired = self.records.get(REPAIR_RECORD, {})
        return lines + [REPAIRED + text for text in repaired.get("lost", "").splitlines()]

    def missing(self) -> dict[str, int]:
        """Messages that the recorder told it could not write, by reason and topic."""
        end = self.records.get(END_RECORD, {})
        counts = {}
        for name, text in end.items():
            if name.startswith("missing ") and text.isdecimal():
                counts[name.removeprefix("missing ")] = int(text)
        return counts
