"""Removes what processes that died leave of Fast DDS in /dev/shm, and nothing else.

Fast DDS names a shared-memory segment ``fastrtps_<name>``, its owner's lock ``fastrtps_<name>_el`` (held by
flock as long as the owner lives) and its mutex ``sem.fastrtps_<name>_mutex``. A killed process cannot remove
them, and a segment that it had opened also outlives its owner, because Fast DDS counts the openers.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path("/dev/shm")

_SEGMENT = re.compile(r"(?:^|/)(fastrtps_(?:port\d+|[0-9a-f]{16}))(?:_el)?(?: \(deleted\))?$")


def segments_of(process_id: int | str) -> set[str]:
    """Names of the segments that a running process maps or owns; empty if it is gone or not ours to see."""
    process = Path("/proc") / str(process_id)
    paths = []
    with contextlib.suppress(OSError):
        lines = (process / "maps").read_text().splitlines()
        paths += [line.split(maxsplit=5)[5] for line in lines if "fastrtps_" in line]
    with contextlib.suppress(OSError):
        for entry in os.listdir(process / "fd"):
            # Files come and go while we look; our own list of files is one of them.
            with contextlib.suppress(OSError):
                paths.append(os.readlink(process / "fd" / entry))
    return {match[1] for path in paths if (match := _SEGMENT.search(path))}


def remove_leftovers(segments: Iterable[str], folder: Path = FOLDER) -> list[str]:
    """Remove segments that no living process uses.

    Args:
        segments: Names seen in processes of ours; no other is touched.
        folder: Where they lie.

    Returns:
        Names of the segments that were removed.
    """
    left = [name for name in segments if (folder / name).exists() or (folder / f"{name}_el").exists()]
    if not left:
        return []
    used = segments_in_use()
    return [name for name in sorted(left) if name not in used and _remove(folder, name)]


def segments_in_use() -> set[str]:
    """Segments of all other processes that we may look into.

    Fast DDS keeps segments of dead peers mapped until the process ends, so our own list means nothing; what we still
    own is protected by its lock.
    """
    others = {entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()} - {str(os.getpid())}
    return set().union(*(segments_of(process) for process in others))


def _remove(folder: Path, name: str) -> bool:
    """Remove one segment with its lock and mutex, unless somebody owns it."""
    lock = folder / f"{name}_el"
    try:
        # Take the owner's lock first, as Fast DDS itself does: whoever holds it may do what it likes with the segment.
        descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for path in (folder / name, folder / f"sem.{name}_mutex", lock):
            path.unlink(missing_ok=True)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
