"""Which files a recording has, in which order, and what its metadata.yaml says of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from demo_control.bags import database, unpacking
from demo_control.bags.container import Container
from demo_control.bags.database import Database
from demo_control.bags.errors import BagError
from demo_control.bags.metadata import METADATA_FILE
from demo_control.bags.storage import Storage
from demo_control.texts import TextError, load_yaml

_PACKED = ".zstd"
_SUFFIXES = (".mcap", ".db3")
_NEWEST_VERSION = 9


@dataclass(frozen=True)
class Told:
    """What metadata.yaml says, as far as it is understood; versions 1 to 9 of rosbag2.

    Attributes:
        files: Names without folders, in their order; versions 1 to 3 put the bag's before them.
        messages: How many there are, or None.
        compression_mode: 'file', 'message' or '' (before version 3 always '').
        distribution: Of ROS 2, '' before version 8.
    """

    files: tuple[str, ...] = ()
    messages: int | None = None
    compression_mode: str = ""
    distribution: str = ""


def open_files(path: Path, notes: list[str]) -> tuple[list[Storage], Told]:
    """Open a bag's files.

    Args:
        path: Folder, with or without metadata.yaml, or one of its files.
        notes: Takes in what is wrong.

    Raises:
        BagError: No recording, or none that can be read here.
        OSError: A file cannot be read.
    """
    if path.is_file() and path.name != METADATA_FILE:
        return [open_file(path, notes)], Told()
    folder = path.parent if path.is_file() else path
    if not folder.is_dir():
        raise BagError(f"{folder}: no such bag")
    told = read_metadata(folder / METADATA_FILE, notes)
    files: list[Storage] = []
    first_error: BagError | None = None
    for file in _files(folder, told, notes):
        try:
            files.append(open_file(file, notes))
        except BagError as error:
            first_error = first_error or error
            notes.append(f"{str(error).removeprefix(f'{folder}/')}: not read")
    if first_error is not None and not files:
        raise first_error
    return files, told


def open_file(path: Path, notes: list[str]) -> Storage:
    """Open one file, by what it begins with, or where that is damaged, by its name.

    Raises:
        BagError: No file of a recording.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(len(database.MAGIC))
    name, unpacked = path.name, None
    if head.startswith(unpacking.MAGIC) or name.endswith(_PACKED):
        damage: list[str] = []
        unpacked = unpacking.unpack_file(path, damage)
        notes += [f"{name}: {line}" for line in damage]
        name = name.removesuffix(_PACKED)
        with unpacked.open() as content:
            head = content.read(len(database.MAGIC))
        if damage and not head:
            raise BagError(f"{path}: {damage[0]}, and nothing of it can be unpacked")
    if head == database.MAGIC or name.endswith(".db3"):
        return Database.open(path, unpacked)
    return Container.open(path, unpacked)


def is_recording_file(path: Path) -> bool:
    """Whether a path is a file that by its name has messages, compressed as a whole or not."""
    return path.name.removesuffix(_PACKED).endswith(_SUFFIXES) and path.is_file()


def _files(folder: Path, told: Told, notes: list[str]) -> list[Path]:
    """The files of a bag, as metadata.yaml has them in order, or all in the folder."""
    present = _present(folder, notes)
    if not present:
        raise BagError(f"{folder}: no bag (no {' or '.join(_SUFFIXES)} file in it)")
    files = []
    for name in told.files:
        # A recorder that was interrupted has compressed one file more, or one less, than metadata.yaml knows.
        file = present.get(name.removesuffix(_PACKED))
        if file is None:
            notes.append(f"{METADATA_FILE} names {name}, which is not there")
        elif file not in files:
            files.append(file)
    more = [file.name for file in present.values() if file not in files]
    if told.files and files and more:
        notes.append(f"{METADATA_FILE} does not name {', '.join(more)}: not read")
    return files or list(present.values())


def _present(folder: Path, notes: list[str]) -> dict[str, Path]:
    """The files there are, by their names without that of the compression, in the order of being written."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=_order):
        name = path.name.removesuffix(_PACKED)
        if not is_recording_file(path):
            continue
        if name in found:
            # The compressed one comes later in this order; it may be half written.
            notes.append(f"{path.name} is not read: {name} is there, too")
        else:
            found[name] = path
    return found


def _order(path: Path) -> list[tuple[int, str]]:
    """Sorts bag_2 before bag_10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", path.name)]


def read_metadata(path: Path, notes: list[str]) -> Told:
    """What metadata.yaml says; nothing if it is missing or not understood, which is noted."""
    try:
        content = cast("dict[str, dict[str, object]]", load_yaml(path.read_text(encoding="utf-8")))
        told, version = _understood(content["rosbag2_bagfile_information"])
    except FileNotFoundError:
        notes.append(f"{METADATA_FILE} is missing")
        return Told()
    except (OSError, TextError, ValueError, KeyError, TypeError):
        notes.append(f"{METADATA_FILE} cannot be understood")
        return Told()
    if version > _NEWEST_VERSION:
        notes.append(f"{METADATA_FILE} has version {version}, newer than {_NEWEST_VERSION}: read as far as known")
    return told


def _understood(information: dict[str, object]) -> tuple[Told, int]:
    """The entries that matter.

    Raises:
        ValueError: One of another type; KeyError and TypeError where there are none.
    """
    version, names, count = (information[name] for name in ("version", "relative_file_paths", "message_count"))
    mode, distribution = information.get("compression_mode") or "", information.get("ros_distro") or ""
    if not (isinstance(version, int) and isinstance(names, list) and isinstance(count, int)):
        raise ValueError("entries of other types")
    if not all(isinstance(text, str) for text in (*names, mode, distribution)):
        raise ValueError("entries of other types")
    return Told(tuple(Path(name).name for name in names), count, str(mode).lower(), str(distribution)), version
