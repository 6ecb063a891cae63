"""What a file of a recording must offer, whatever its format: topics, messages, and word of what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol


class Message(NamedTuple):
    """One message as it was heard.

    Attributes:
        channel: Number of its :class:`Channel` in this file.
        sequence: The publisher's count of its messages; 0 where it is not known.
        log_time_ns: When it was heard, since 1970.
        publish_time_ns: When it was sent, since 1970; when it was heard, where that is not known.
        data: As in the file: serialised, and perhaps compressed.
    """

    channel: int
    sequence: int
    log_time_ns: int
    publish_time_ns: int
    data: bytes


@dataclass(frozen=True)
class Channel:
    """A topic in a file.

    Attributes:
        topic: Its name, with the leading slash.
        type: Of its messages, for example 'std_msgs/msg/String'.
        encoding: Of its messages; 'cdr' for ROS 2.
        definition_encoding: 'ros2msg' or 'ros2idl'.
        definition: Text of the type's definition and of those that it contains; '' where the file has none.
        offered_qos: The publishers' quality of service, YAML.
    """

    topic: str
    type: str
    encoding: str
    definition_encoding: str
    definition: str
    offered_qos: str


class Storage(Protocol):
    """One file of a recording.

    Attributes:
        path: The file.
        channels: By their number; complete once all messages have been read.
        metadata: Records of names and texts, by the record's name.
        damage: What is wrong, one line each; complete once all messages have been read.
        checked: Whether all messages read had a checksum: without, wrong bits go unnoticed.
    """

    @property
    def path(self) -> Path: ...  # noqa: D102 - see the class

    @property
    def channels(self) -> Mapping[int, Channel]: ...  # noqa: D102 - see the class

    @property
    def metadata(self) -> Mapping[str, dict[str, str]]: ...  # noqa: D102 - see the class

    @property
    def damage(self) -> list[str]: ...  # noqa: D102 - see the class

    @property
    def checked(self) -> bool: ...  # noqa: D102 - see the class

    def messages(self) -> Iterator[Message]:
        """All messages that can be read, in the file's order."""
        ...
