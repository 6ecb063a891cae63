"""The rosbag2 file metadata.yaml, and records of names and texts that know when they are damaged."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from demo_control.files import write_text_atomically
from demo_control.texts import TextError, load_yaml

METADATA_FILE = "metadata.yaml"
START_RECORD = "demo_control"
"""MCAP metadata record at a recording's start: what made it and where."""
PARAMETERS_RECORD = "demo_control.parameters "
"""MCAP metadata record of a node's parameters, with the node's name after it: 'parameters', a JSON object, and the
'bundle_sha256' of its bundle."""
END_RECORD = "demo_control.end"
"""MCAP metadata record at a recording's end: what is missing in it."""
REPAIR_RECORD = "demo_control.repair"
"""MCAP metadata record of a mended file: what had been lost."""

_VERSION = 9
_CHECKSUM = "crc32"


@dataclass(frozen=True)
class TopicEntry:
    """What metadata.yaml says of a topic; ``offered_qos`` as YAML text."""

    name: str
    type: str
    type_hash: str
    offered_qos: str
    message_count: int


@dataclass(frozen=True)
class BagEntry:
    """What metadata.yaml says of a bag; times in nanoseconds, since 1970."""

    file: str
    topics: Sequence[TopicEntry]
    start_ns: int
    end_ns: int
    custom: Mapping[str, str] = field(default_factory=dict)


def metadata_text(entry: BagEntry) -> str:
    """metadata.yaml of a bag of one file, as ``ros2 bag`` of Jazzy reads it."""
    count = sum(topic.message_count for topic in entry.topics)
    times = {
        "starting_time": {"nanoseconds_since_epoch": entry.start_ns},
        "duration": {"nanoseconds": entry.end_ns - entry.start_ns},
    }
    information = {
        "version": _VERSION,
        "storage_identifier": "mcap",
        **times,
        "message_count": count,
        "topics_with_message_count": [
            {
                "topic_metadata": {
                    "name": topic.name,
                    "type": topic.type,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": _profiles(topic.offered_qos),
                    "type_description_hash": topic.type_hash,
                },
                "message_count": topic.message_count,
            }
            for topic in entry.topics
        ],
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": [entry.file],
        "files": [{"path": entry.file, **times, "message_count": count}],
        "custom_data": dict(entry.custom) or None,
        "ros_distro": "jazzy",
    }
    return yaml_text({"rosbag2_bagfile_information": information})


def _profiles(text: str) -> list[object]:
    """Quality of service as values; none where the text, which may be of a damaged bag, is not understood."""
    try:
        profiles = load_yaml(text)
    except TextError:
        return []
    return profiles if isinstance(profiles, list) else []


def yaml_text(value: object) -> str:
    """YAML without references from one part to another, which not every reader follows."""
    return str(yaml.dump(value, Dumper=_Plain, sort_keys=False))


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, _data: object) -> bool:
        return True


def write_metadata(folder: Path, entry: BagEntry) -> None:
    """Write metadata.yaml.

    Raises:
        OSError: It could not be written; the file before is still there.
    """
    write_text_atomically(folder / METADATA_FILE, metadata_text(entry))


def sealed(record: Mapping[str, str]) -> dict[str, str]:
    """A record with a checksum: MCAP has none for them."""
    return {**record, _CHECKSUM: _checksum(record)}


def unsealed(record: Mapping[str, str]) -> dict[str, str] | None:
    """The record without its checksum, or None if it is damaged."""
    content = {name: text for name, text in record.items() if name != _CHECKSUM}
    return content if record.get(_CHECKSUM) == _checksum(content) else None


def _checksum(record: Mapping[str, str]) -> str:
    return f"{zlib.crc32(json.dumps(dict(record), sort_keys=True).encode()):08x}"
