"""A recording as a whole: its files, topics, messages, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from demo_control.bags.container import Channel, Container
from demo_control.bags.errors import BagError
from demo_control.bags.metadata import END_RECORD, METADATA_FILE, REPAIR_RECORD, START_RECORD, unsealed

REPAIRED = "repaired: "
"""What a line begins with that tells of damage before a repair."""


@dataclass(frozen=True)
class Heard:
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


@dataclass
class Bag:
    """A recording.

    Attributes:
        path: Folder, or file.
        containers: Its MCAP files.
        notes: What is wrong with the folder.
        records: Metadata records by name, the damaged ones left out.
    """

    path: Path
    containers: list[Container]
    notes: list[str]
    records: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> Bag:
        """Open a bag's folder, with or without metadata.yaml, or one of its files.

        Raises:
            BagError: No recording, or none that can be read here.
        """
        notes: list[str] = []
        try:
            files = _files(path, notes)
            containers = [Container.open(file) for file in files]
        except OSError as error:
            raise BagError(f"{error.filename or path}: cannot be read ({error.strerror or error})") from None
        bag = cls(path, containers, notes)
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
        """All topics known so far; complete after :meth:`messages`."""
        return [channel for container in self.containers for channel in container.channels.values()]

    def messages(self, topics: Collection[str] | None = None) -> Iterator[Heard]:
        """All whole messages of some topics, or of all; file by file, in each as they were written."""
        for container in self.containers:
            channels = container.channels
            for message in container.messages():
                channel = channels[message.channel]
                if topics is None or channel.topic in topics:
                    yield Heard(channel.topic, channel.type, *message[1:])

    def damage(self) -> list[str]:
        """What is wrong, one line each; complete after :meth:`messages`."""
        several = len(self.containers) > 1
        lines = list(self.notes)
        for container in self.containers:
            prefix = f"{container.path.name}: " if several else ""
            lines += [prefix + line for line in container.damage]
            if not container.checked:
                lines.append(f"{prefix}without checksums: wrong bits would go unnoticed")
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


def _files(path: Path, notes: list[str]) -> list[Path]:
    """The MCAP files of a bag, as metadata.yaml has them in order, or all in the folder."""
    if path.is_file():
        if path.name == METADATA_FILE:
            return _files(path.parent, notes)
        if path.suffix == ".db3":
            raise BagError(f"{path}: storage sqlite3; only mcap can be read (rosbags-convert makes one of it)")
        return [path]
    if not path.is_dir():
        raise BagError(f"{path}: no such bag")
    present = sorted(path.glob("*.mcap"))
    if not present:
        other = "; storage sqlite3 cannot be read" if any(path.glob("*.db3")) else ""
        raise BagError(f"{path}: no bag (no .mcap file in it{other})")
    named = _named_files(path / METADATA_FILE, notes)
    files = [path / name for name in named if (path / name) in present]
    missing = [name for name in named if (path / name) not in present]
    notes += [f"{METADATA_FILE} names {name}, which is not there" for name in missing]
    more = [file for file in present if file not in files]
    if named and more:
        notes.append(f"{METADATA_FILE} does not name {', '.join(file.name for file in more)}: not read")
    return files or present


def _named_files(path: Path, notes: list[str]) -> list[str]:
    """File names that metadata.yaml has, none if it is missing or not understood."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        names = content["rosbag2_bagfile_information"]["relative_file_paths"]
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return names
    except FileNotFoundError:
        notes.append(f"{METADATA_FILE} is missing")
        return []
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, KeyError, TypeError, RecursionError):
        pass
    notes.append(f"{METADATA_FILE} cannot be understood")
    return []
