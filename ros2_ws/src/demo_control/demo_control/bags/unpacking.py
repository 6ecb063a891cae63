"""Undoes what rosbag2 compresses beside the storage's own compression: whole files, and single messages (zstd)."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import zstandard

from demo_control.bags.errors import BagError

MAGIC = b"\x28\xb5\x2f\xfd"
"""What a zstd frame begins with. No serialised message does: CDR begins with a zero."""

_PIECE_BYTES = 1 << 20
_LARGEST_MESSAGE = 1 << 30
_SPARE_BYTES = 256 << 20
"""What is left free on the disk that is unpacked to."""


class Unpacked:
    """A file without a name: it is gone when nobody has it open, however this process ends.

    It lies on a disk, not in memory: in the folder that TMPDIR names, or else in /var/tmp.
    """

    def __init__(self) -> None:
        folder = _folder()
        try:
            # tempfile's nameless files can never be given a name, which SQLite needs for a moment.
            self._descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
            self._name = ""
        except OSError:  # not every file system has nameless files
            self._descriptor, self._name = tempfile.mkstemp(prefix="demo_control-", dir=folder)
        self._free_bytes = shutil.disk_usage(folder).free - _SPARE_BYTES
        weakref.finalize(self, _release, self._descriptor, self._name)

    def write(self, data: bytes) -> None:
        """Append.

        Raises:
            OSError: The disk is full, or nearly.
        """
        self._free_bytes -= len(data)
        if self._free_bytes < 0:
            raise OSError(errno.ENOSPC, f"no space left to unpack it in {_folder()} (TMPDIR names another folder)")
        left = memoryview(data)
        while left:
            left = left[os.write(self._descriptor, left) :]

    def shorten(self, size: int) -> None:
        """Cut bytes off the end."""
        os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - size)

    def open(self) -> BinaryIO:
        """Open it for reading, at its begin."""
        file = os.fdopen(os.dup(self._descriptor), "rb")
        file.seek(0)
        return file

    @contextlib.contextmanager
    def named(self) -> Iterator[str]:
        """A name by which it can be opened, as long as the context lasts; Linux gives it one only once."""
        if self._name:
            yield self._name
            return
        with scratch_folder() as folder:
            here = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                # Only with a folder's descriptor the link is to the file, and not to the entry in /proc.
                os.link(f"/proc/self/fd/{self._descriptor}", folder / "unpacked", src_dir_fd=here)
            finally:
                os.close(here)
            yield str(folder / "unpacked")


def unpack_file(path: Path, damage: list[str]) -> Unpacked:
    """Unpack a compressed file; of one that is cut short or damaged, what comes before.

    Args:
        path: The file.
        damage: Takes in what is wrong.

    Raises:
        BagError: No zstd file.
        OSError: It cannot be read, or the disk is full.
    """
    unpacked = Unpacked()
    with path.open("rb") as file:
        head = file.read(len(MAGIC))
        if head != MAGIC:
            raise BagError(f"{path}: not a zstd file (it does not begin with {MAGIC!r})")
        file.seek(0)
        frame, left = zstandard.ZstdDecompressor().decompressobj(), b""
        try:
            while piece := left or file.read(_PIECE_BYTES):
                unpacked.write(frame.decompress(piece))
                left = frame.unused_data if frame.eof else b""
                if frame.eof:
                    frame = zstandard.ZstdDecompressor().decompressobj()
                    finished = True
                else:
                    finished = False
        except zstandard.ZstdError as error:
            damage.append(f"the compressed file is damaged: what follows is lost ({error})")
        else:
            if not finished:
                damage.append("the compressed file is cut short")
    return unpacked


def unpack_message(data: bytes) -> bytes | None:
    """A message that was compressed on its own, or None if it is not what was written."""
    try:
        size = zstandard.frame_content_size(data)
        if not 0 <= size <= _LARGEST_MESSAGE:
            return None
        return zstandard.ZstdDecompressor().decompress(data)
    except (zstandard.ZstdError, MemoryError):
        return None


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for files that need a name, removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="demo_control-", dir=_folder()) as folder:
        yield Path(folder)


def _folder() -> str:
    """Where a large file may lie for a while: /tmp is memory on many systems."""
    return tempfile.gettempdir() if "TMPDIR" in os.environ or not os.access("/var/tmp", os.W_OK) else "/var/tmp"


def _release(descriptor: int, name: str) -> None:
    os.close(descriptor)
    if name:
        Path(name).unlink(missing_ok=True)
