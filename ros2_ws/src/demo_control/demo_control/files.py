"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

ResultT = TypeVar("ResultT")

_OWN_STREAMS = ("/proc/self/fd/1", "/proc/self/fd/2")


def write_atomically(path: Path, write: Callable[[Path], ResultT]) -> ResultT:
    """Let ``write`` fill a file beside ``path`` and then rename it into place.

    A symbolic link stays: what it points to is replaced. What no other file can take the place of (a device, a pipe,
    what standard output goes to) is not replaced, but gets the content written to it.

    Args:
        path: Where the file belongs; its folder is made if missing.
        write: Gets the path to write to, which has the same suffix.

    Returns:
        What ``write`` returns.

    Raises:
        OSError: It could not be written; names ``path``, which is then as it was before.
    """
    is_stream = _is_stream(path)
    target = path if is_stream else Path(os.path.realpath(path))
    if not is_stream:
        target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.stem}-"
    try:
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=path.suffix, dir=None if is_stream else target.parent)
        os.close(handle)
        beside = Path(name)
        try:
            result = write(beside)
            if is_stream:
                _append(beside, target)
            else:
                # mkstemp makes files private; what we write is meant to be read.
                beside.chmod(0o644)
                beside.replace(target)
            return result
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        # A full disk names no file, the others one that people do not know.
        is_ours = error.filename is None or Path(os.fsdecode(error.filename)).name.startswith(prefix)
        if error.errno is None or not is_ours:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_text_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text; see :func:`write_atomically`."""
    write_atomically(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Write bytes; see :func:`write_atomically`."""
    write_atomically(path, lambda beside: beside.write_bytes(content))


def check_file(path: Path) -> None:
    """Find out before long work whether a file could be written afterwards; nothing is made.

    Raises:
        OSError: It could not: a folder is there, or what would hold it is no folder or must not be written to.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if _is_stream(path):
        _check_access(path, os.W_OK)
    else:
        check_folder(Path(os.path.realpath(path)).parent)


def check_folder(path: Path) -> None:
    """Find out before long work whether a folder could be written to, or be made; nothing is made.

    Raises:
        OSError: It could not.
    """
    while not path.exists():
        path = path.parent
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    _check_access(path, os.W_OK | os.X_OK)


def _check_access(path: Path, mode: int) -> None:
    if not os.access(path, mode):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def _is_stream(path: Path) -> bool:
    """Whether no file may take the place of what is there: no regular file, or one that our own output goes to."""
    if not path.exists():
        return False
    return not path.is_file() or any(Path(own).exists() and path.samefile(own) for own in _OWN_STREAMS)


def _append(source: Path, stream: Path) -> None:
    """Write a file's content to the end of what is there; only a regular file has something before it."""
    with source.open("rb") as content, stream.open("ab") as opened:
        shutil.copyfileobj(content, opened)
