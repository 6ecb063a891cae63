"""Makes a whole bag of a damaged one."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from demo_control.bags.definitions import type_hash
from demo_control.bags.errors import BagError
from demo_control.bags.metadata import METADATA_FILE, REPAIR_RECORD
from demo_control.bags.reader import REPAIRED, UNCHECKED, Bag
from demo_control.bags.writer import BagWriter

DAMAGED_SUFFIX = ".damaged"
_GATHERED_BYTES = 8 << 20
"""In memory at once, of a bag that may be larger than that."""


@dataclass(frozen=True)
class Repair:
    """What was done.

    Attributes:
        messages: That the bag holds now.
        lost: What was wrong before, one line each; empty if nothing was.
    """

    messages: int
    lost: list[str]


def repair(path: Path) -> Repair:
    """Write index and metadata.yaml of a bag anew, with all messages that are whole.

    A bag that is in order is left as it is. The damaged files stay beside the new one, with '.damaged' after their
    names, and a number where a repair before has left such a file.

    Args:
        path: The bag's folder.

    Raises:
        BagError: No bag, or not a folder.
        OSError: The new file cannot be written; the bag is as it was.
    """
    if not path.is_dir():
        raise BagError(f"{path}: expected the folder of a bag")
    bag = Bag.open(path)
    count = sum(1 for _ in bag.messages())
    lost = [line for line in bag.damage() if not line.startswith(REPAIRED) and not line.endswith(UNCHECKED)]
    if not lost:
        return Repair(count, [])
    with tempfile.TemporaryDirectory(prefix=f".{path.absolute().name}-", dir=path.absolute().parent) as beside:
        writer = BagWriter(Path(beside) / path.absolute().name)
        _copy(bag, writer, lost)
        writer.close()
        new = path / writer.path.name
        # A file that could not be read at all may have the new one's name.
        for old in {*(container.path for container in bag.containers), *([new] if new.exists() else [])}:
            os.replace(old, _beside(old))
        os.replace(writer.path, new)
        shutil.move(str(writer.folder / METADATA_FILE), str(path / METADATA_FILE))
    return Repair(writer.message_count, lost)


def _beside(path: Path) -> Path:
    """Where a damaged file may stay; what is there already may be all that is left of another one."""
    wanted, number = path.with_name(path.name + DAMAGED_SUFFIX), 1
    while wanted.exists():
        number += 1
        wanted = path.with_name(f"{path.name}{DAMAGED_SUFFIX}{number}")
    return wanted


def _copy(bag: Bag, writer: BagWriter, lost: list[str]) -> None:
    """Write everything that is whole."""
    before = bag.records.get(REPAIR_RECORD, {}).get("lost", "").splitlines()
    for name, record in bag.records.items():
        if name != REPAIR_RECORD:
            writer.add_record(name, record)
    writer.add_record(REPAIR_RECORD, {"lost": "\n".join([*before, *lost])})
    numbers: dict[tuple[str, str], int] = {}

    def add_topics() -> None:
        for channel in bag.channels:
            key = (channel.topic, channel.type)
            if key not in numbers:
                numbers[key] = writer.add_topic(
                    channel.topic,
                    channel.type,
                    channel.definition,
                    encoding=channel.encoding,
                    definition_encoding=channel.definition_encoding,
                    type_hash=type_hash(channel.type, channel.definition),
                    offered_qos=channel.offered_qos,
                )

    gathered = 0
    for heard in bag.messages():
        if (heard.topic, heard.type) not in numbers:
            # A damaged file may name its topics differently from place to place.
            add_topics()
        number = numbers[heard.topic, heard.type]
        writer.write(number, heard.log_time_ns, heard.data, heard.publish_time_ns, heard.sequence)
        gathered += len(heard.data)
        if gathered > _GATHERED_BYTES:
            writer.flush()
            gathered = 0
    add_topics()
