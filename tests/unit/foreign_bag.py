"""Bags as rosbag2 records them: SQLite and MCAP, compressed and split, of old versions, with our own messages."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import yaml
import zstandard
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from demo_control.bags.reader import Bag, Heard

from .recorded_bag import messages


def heard_in(bag: Path) -> list[Heard]:
    return list(Bag.open(bag).messages())


def write_with_rosbags(folder: Path, heard: Iterable[Heard], storage: str, compression: str = "none") -> Path:
    """Another writer's bag, with definitions; ``compression``: none, file, message, or storage."""
    writer = Writer(folder, version=9, storage_plugin=StoragePlugin[storage.upper()])
    writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    store, connections = messages(), {}
    with writer:
        for message in heard:
            if message.topic not in connections:
                connections[message.topic] = writer.add_connection(message.topic, message.type, typestore=store)
            writer.write(connections[message.topic], message.log_time_ns, message.data)
    return folder


def write_old(
    folder: Path, heard: Iterable[Heard], version: int, compression: str = "", files: int = 1, distribution: str = ""
) -> Path:
    """A bag of SQLite files without definitions, as distributions before Iron wrote them.

    Args:
        folder: Made.
        heard: The messages.
        version: Of metadata.yaml.
        compression: '', 'FILE' or 'MESSAGE'.
        files: How many the bag is split into.
        distribution: What metadata.yaml says of it, from version 8 on.
    """
    folder.mkdir()
    everything = list(heard)
    share = -(-len(everything) // files)
    names = []
    for number in range(files):
        path = folder / f"{folder.name}_{number}.db3"
        write_tables(path, everything[number * share : (number + 1) * share], version, compression == "MESSAGE")
        if compression == "FILE":
            packed = path.with_name(path.name + ".zstd")
            packed.write_bytes(zstandard.ZstdCompressor().compress(path.read_bytes()))
            path.unlink()
            path = packed
        # Versions 2 and 3 told the folder, too.
        names.append(f"{folder.name}/{path.name}" if version in (2, 3) else path.name)
    start_ns, end_ns = (choose(message.log_time_ns for message in everything) for choose in (min, max))
    times = {
        "duration": {"nanoseconds": end_ns - start_ns},
        "starting_time": {"nanoseconds_since_epoch": start_ns},
    }
    information = {
        "version": version, "storage_identifier": "sqlite3", "relative_file_paths": names, **times,
        "message_count": len(everything), "topics_with_message_count": [],
    }  # fmt: skip
    if version >= 3:
        information |= {"compression_format": "zstd" if compression else "", "compression_mode": compression}
    if version >= 8:
        information["ros_distro"] = distribution
    (folder / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": information}))
    return folder


def write_tables(path: Path, heard: list[Heard], version: int = 4, packed: bool = False) -> Path:
    """One SQLite file; the publishers' quality of service came with version 4."""
    connection = sqlite3.connect(path)
    quality = ", offered_qos_profiles TEXT NOT NULL" if version >= 4 else ""
    connection.execute(
        "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, "
        f"serialization_format TEXT NOT NULL{quality})"
    )
    connection.execute(
        "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL, "
        "data BLOB NOT NULL)"
    )
    connection.execute("CREATE INDEX timestamp_idx ON messages (timestamp ASC)")
    numbers: dict[str, int] = {}
    for message in heard:
        if message.topic not in numbers:
            numbers[message.topic] = len(numbers) + 1
            row = (numbers[message.topic], message.topic, message.type, "cdr", *([""] if version >= 4 else []))
            connection.execute(f"INSERT INTO topics VALUES ({', '.join('?' * len(row))})", row)
        data = zstandard.ZstdCompressor().compress(message.data) if packed else message.data
        connection.execute(
            "INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)",
            (numbers[message.topic], message.log_time_ns, data),
        )
    connection.commit()
    connection.close()
    return path
