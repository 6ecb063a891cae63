"""Writes a recording: a rosbag2 folder with one MCAP file, whole up to the last flush whatever happens."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mcap.writer import CompressionType, Writer

from demo_control.bags.errors import BagError
from demo_control.bags.metadata import BagEntry, TopicEntry, sealed, write_metadata

_CHUNK_BYTES = 1 << 20
_LIBRARY = "demo_control"


@dataclass
class _Topic:
    """A topic that is written."""

    name: str
    type: str
    type_hash: str
    offered_qos: str
    message_count: int = 0


class BagWriter:
    """Writes one bag.

    Nothing is in the file before :meth:`flush`, and then only whole chunks: a process that is killed leaves all that
    was flushed, readable. Whatever cannot be written raises OSError once, is cut off, and ends the file there.

    Args:
        folder: Made; must not exist, or be empty.

    Raises:
        BagError: The folder holds something.
        OSError: It cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise BagError(f"{folder}: exists and is not an empty folder")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.path = folder / f"{folder.absolute().name}_0.mcap"
        self._file = _WholeChunks(self.path)
        self._writer = Writer(self._file, _CHUNK_BYTES, CompressionType.ZSTD, enable_data_crcs=True)  # type: ignore[arg-type] # duck typing
        self._writer.start("ros2", _LIBRARY)
        self._schemas: dict[tuple[str, str], int] = {}
        self._topics: dict[int, _Topic] = {}
        self._start_ns, self._end_ns = 2**63 - 1, 0
        self.unflushed = 0
        """Messages taken in since the last :meth:`flush`."""
        self.custom: dict[str, str] = {}
        """What goes into metadata.yaml besides."""

    @property
    def message_count(self) -> int:
        """Messages written so far."""
        return sum(topic.message_count for topic in self._topics.values())

    def add_topic(
        self,
        name: str,
        type_name: str,
        definition: str,
        *,
        encoding: str = "cdr",
        definition_encoding: str = "ros2msg",
        type_hash: str = "",
        offered_qos: str = "",
    ) -> int:
        """Begin a topic; returns its number.

        Args:
            name: With the leading slash.
            type_name: For example 'std_msgs/msg/String'.
            definition: Of the type, with those that it contains.
            encoding: Of the messages.
            definition_encoding: 'ros2msg' or 'ros2idl'.
            type_hash: As REP 2011 has it, '' if unknown.
            offered_qos: YAML list, as rosbag2 has it.
        """
        key = (type_name, definition)
        if key not in self._schemas:
            self._schemas[key] = self._writer.register_schema(type_name, definition_encoding, definition.encode())
        about = {"offered_qos_profiles": offered_qos, "topic_type_hash": type_hash}
        number = self._writer.register_channel(name, encoding, self._schemas[key], about)
        self._topics[number] = _Topic(name, type_name, type_hash, offered_qos)
        return number

    def add_record(self, name: str, texts: Mapping[str, str]) -> None:
        """Add a metadata record, with a checksum of its own."""
        self._writer.add_metadata(name, sealed(texts))

    def write(self, topic: int, log_time_ns: int, data: bytes, publish_time_ns: int, sequence: int = 0) -> None:
        """Take in one message.

        Args:
            topic: Its number, from :meth:`add_topic`.
            log_time_ns: When it was heard.
            data: Serialised.
            publish_time_ns: When it was sent.
            sequence: The publisher's count of its messages, 0 if unknown.
        """
        self._writer.add_message(topic, log_time_ns, data, publish_time_ns, sequence)
        self._topics[topic].message_count += 1
        self.unflushed += 1
        self._start_ns, self._end_ns = min(self._start_ns, log_time_ns), max(self._end_ns, log_time_ns)

    def flush(self) -> None:
        """Write what was taken in since the last call, as whole chunks.

        Raises:
            OSError: The disk is full, or broken.
        """
        self._writer.flush()  # type: ignore[no-untyped-call] # mcap's
        self.unflushed = 0

    def write_metadata(self) -> None:
        """Write metadata.yaml for what there is by now.

        Raises:
            OSError: The disk is full, or broken.
        """
        topics = [
            TopicEntry(t.name, t.type, t.type_hash, t.offered_qos, t.message_count) for t in self._topics.values()
        ]
        start_ns = min(self._start_ns, self._end_ns)
        write_metadata(self.folder, BagEntry(self.path.name, topics, start_ns, self._end_ns, self.custom))

    def close(self) -> None:
        """Write the index and metadata.yaml.

        Raises:
            OSError: The disk is full, or broken.
        """
        try:
            self._writer.finish()  # type: ignore[no-untyped-call] # mcap's
            self._file.flush()
            self.write_metadata()
        finally:
            self._file.close()

    def abandon(self) -> None:
        """End without an index, where nothing more can be written."""
        self._file.close()


class _WholeChunks:
    """A file that takes in what was gathered at a flush, or nothing of it.

    Args:
        path: Written anew.
    """

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self._gathered = bytearray()
        self._written = 0
        self._closed = False

    def write(self, data: bytes) -> int:
        """Gather."""
        self._gathered += data
        return len(data)

    def tell(self) -> int:
        """The place in the file where the next byte will stand."""
        return self._written + len(self._gathered)

    def flush(self) -> None:
        """Write what was gathered; see the class.

        Raises:
            OSError: It cannot be written; the file ends where it ended before.
        """
        if self._closed or not self._gathered:
            return
        left = memoryview(bytes(self._gathered))
        try:
            while left:
                left = left[os.write(self._handle, left) :]
        except OSError:
            os.ftruncate(self._handle, self._written)
            raise
        self._written += len(self._gathered)
        self._gathered.clear()

    def close(self) -> None:
        """Close the file, without what was not flushed."""
        if not self._closed:
            self._closed = True
            self._gathered.clear()
            os.close(self._handle)
