"""Reads MCAP files that may be truncated or damaged: all that is whole, and word of what is not.

The official reader gives up at the first wrong byte. Here each chunk stands for itself: it is used if its checksum is
right, and told of if not; after a wrong length the next chunk is searched for. Format: https://mcap.dev/spec.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeAlias

import lz4.frame
import zstandard

from demo_control.bags.errors import BagError
from demo_control.bags.storage import Channel, Message
from demo_control.bags.unpacking import Unpacked

MAGIC = b"\x89MCAP0\r\n"

_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 2, 3, 4, 5, 6
_CHUNK_INDEX, _STATISTICS, _METADATA, _DATA_END = 8, 11, 12, 15
_LAST_OPCODE = 15
_FRAME = struct.Struct("<BQ")
_MESSAGE_HEAD = struct.Struct("<HIQQ")
_CHUNK_HEAD = struct.Struct("<QQQI")
_CHUNK_INDEX_HEAD = struct.Struct("<QQQ")
_STATISTICS_HEAD = struct.Struct("<Q")
_FOOTER_BODY = struct.Struct("<QQI")
_CHECKSUM_BYTES = 4
_LARGEST_CHUNK = 1 << 30
_LATEST_NS = 2**63 - 1
"""MCAP's times reach twice as far as those of ROS, and of metadata.yaml."""
_MARKS = tuple(struct.pack("<I", len(name)) + name for name in (b"zstd", b"lz4"))
_BEFORE_MARK = _FRAME.size + _CHUNK_HEAD.size

_Buffer: TypeAlias = bytes | memoryview


@dataclass
class Container:
    """One MCAP file.

    Attributes:
        path: The file.
        unpacked: Its content, where the file itself is compressed.
        channels: By their number.
        metadata: Records of names and texts, by the record's name; the last of a name counts.
        damage: What is wrong, one line each; complete once all messages have been read.
        complete: Whether the file was ended in order, with an index that is whole.
        checked: Whether all messages read had a checksum: without, wrong bits go unnoticed.
    """

    path: Path
    unpacked: Unpacked | None = None
    channels: dict[int, Channel] = field(default_factory=dict)
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)
    complete: bool = False
    checked: bool = True
    _schemas: dict[int, tuple[str, str, str]] = field(default_factory=dict)
    _chunk_starts: list[int] = field(default_factory=list)
    _indexed: tuple[dict[int, Channel], dict[int, tuple[str, str, str]]] = field(default_factory=lambda: ({}, {}))
    _expected: int | None = None
    _lost: int = 0
    _undated: int = 0

    @classmethod
    def open(cls, path: Path, unpacked: Unpacked | None = None) -> Container:
        """Read what stands outside of chunks: the index at the end, if there is one, names every channel.

        Args:
            path: The file.
            unpacked: Its content, where the file itself is compressed.

        Raises:
            BagError: No MCAP file.
            OSError: It cannot be read.
        """
        container = cls(path, unpacked)
        with container._file() as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise BagError(f"{path}: not an MCAP file (it does not begin with {MAGIC!r})")
        with container._mapped() as data:
            container._read_index(data)
            for opcode, body in _records(data, container):
                if opcode == _METADATA:
                    container._learn_metadata(data[body])
                elif opcode == _DATA_END and not container.complete:
                    container._read_index(data, body.stop)
        container._indexed = dict(container.channels), dict(container._schemas)
        # What follows is told of once, by who reads the messages.
        container.damage.clear()
        return container

    def _read_index(self, data: mmap.mmap, start: int | None = None) -> None:
        """Read the index at the end, if there is one that is what was written.

        Args:
            data: The file's bytes.
            start: Where it begins, if not where the file says: bytes before it are lost, or too many.
        """
        footer = slice(len(data) - len(MAGIC) - _FOOTER_BODY.size, len(data) - len(MAGIC))
        position = _index_start(data, footer, start)
        if position is None:
            return
        self.complete = start is None
        while position + _FRAME.size <= footer.start:
            opcode, length = _FRAME.unpack_from(data, position)
            body = slice(position + _FRAME.size, position + _FRAME.size + length)
            if opcode in (_SCHEMA, _CHANNEL):
                self._learn(opcode, data[body])
            elif opcode == _STATISTICS and length >= _STATISTICS_HEAD.size and body.stop <= footer.start:
                (self._expected,) = _STATISTICS_HEAD.unpack_from(data, body.start)
            elif opcode == _CHUNK_INDEX and length > _CHUNK_INDEX_HEAD.size and self.complete:
                self._chunk_starts.append(_CHUNK_INDEX_HEAD.unpack_from(data, body.start)[-1])
            position = body.stop

    def messages(self) -> Iterator[Message]:
        """All whole messages, in the file's order; :attr:`damage` then tells of the others."""
        self.damage.clear()
        self._lost = self._undated = 0
        # Each reading begins with the same knowledge, and finds the same.
        self.channels.clear()
        self.channels.update(self._indexed[0])
        self._schemas = dict(self._indexed[1])
        count = 0
        in_index = False
        with self._mapped() as data:
            for opcode, body in _records(data, self):
                in_index = in_index or opcode == _DATA_END
                if opcode == _CHUNK:
                    chunk = self._unpacked(data, body)
                    for message in self._messages_of(chunk) if chunk is not None else ():
                        count += 1
                        yield message
                elif opcode in (_SCHEMA, _CHANNEL) and not in_index:
                    self._learn(opcode, data[body])
                elif opcode == _MESSAGE:
                    self.checked = False
                    if (alone := self._message(data[body])) is not None:
                        count += 1
                        yield alone
        if not self.complete:
            self.damage.append("the file has no whole index: it was not ended in order, or its end is damaged")
        if self._lost:
            self.damage.append(f"{self._lost} messages of topics whose names are lost")
        if self._undated:
            self.damage.append(f"{self._undated} messages with times that no clock of ROS has")
        here = count + self._lost + self._undated
        if self._expected not in (None, here):
            self.damage.append(f"the index tells of {self._expected} messages, {here} are here")

    def _file(self) -> BinaryIO:
        return self.unpacked.open() if self.unpacked else self.path.open("rb")

    def _mapped(self) -> mmap.mmap:
        """The file's bytes without reading all of them."""
        with self._file() as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def _messages_of(self, chunk: bytes) -> Iterator[Message]:
        """Messages of an unpacked chunk, whose checksum is right."""
        position, size, view = 0, len(chunk), memoryview(chunk)
        while position + _FRAME.size <= size:
            opcode, length = _FRAME.unpack_from(chunk, position)
            start, position = position + _FRAME.size, position + _FRAME.size + length
            if position > size:
                self.damage.append("a chunk ends within a record")
                return
            if opcode == _MESSAGE:
                if (message := self._message(view[start:position])) is not None:
                    yield message
            elif opcode in (_SCHEMA, _CHANNEL):
                self._learn(opcode, chunk[start:position])

    def _message(self, body: _Buffer) -> Message | None:
        """A message, or None for one that is none, which is counted."""
        if len(body) < _MESSAGE_HEAD.size:
            self.damage.append("a message without its head")
            return None
        channel, sequence, log_time, publish_time = _MESSAGE_HEAD.unpack_from(body)
        if log_time > _LATEST_NS:
            self._undated += 1
            return None
        if channel not in self.channels:
            self._lost += 1
            return None
        return Message(channel, sequence, log_time, publish_time, bytes(body[_MESSAGE_HEAD.size :]))

    def _unpacked(self, data: mmap.mmap, body: slice) -> bytes | None:
        """The records of a chunk, or None if they are not what was written."""
        try:
            chunk, checked = _unpack(data[body])
        except (ValueError, struct.error, zstandard.ZstdError, RuntimeError, EOFError, MemoryError) as error:
            self.damage.append(f"the chunk at byte {body.start - _FRAME.size} is unreadable ({_first_line(error)})")
            return None
        self.checked = self.checked and checked
        return chunk

    def _learn(self, opcode: int, body: _Buffer) -> None:
        """Take in a schema or channel; nothing follows from one that is damaged but what is told of its messages."""
        try:
            fields = _Fields(body)
            number = fields.number("<H")
            if opcode == _SCHEMA:
                self._schemas[number] = (fields.text(), fields.text(), fields.text())
                return
            name, encoding, definition = self._schemas.get(fields.number("<H"), ("", "", ""))
            topic, message_encoding, about = fields.text(), fields.text(), fields.texts()
            qos = about.get("offered_qos_profiles", "")
            self.channels[number] = Channel(topic, name, message_encoding, encoding, definition, qos)
        except (ValueError, struct.error):
            return

    def _learn_metadata(self, body: _Buffer) -> None:
        try:
            fields = _Fields(body)
            name = fields.text()
            self.metadata[name] = fields.texts()
        except (ValueError, struct.error):
            return


class _Fields:
    """Reads a record's fields one after the other; ValueError or struct.error where it ends too early."""

    def __init__(self, body: _Buffer) -> None:
        self._body = bytes(body)
        self._position = 0

    def number(self, layout: str) -> int:
        value = int(struct.unpack_from(layout, self._body, self._position)[0])
        self._position += struct.calcsize(layout)
        return value

    def text(self) -> str:
        length = self.number("<I")
        start, self._position = self._position, self._position + length
        if self._position > len(self._body):
            raise ValueError("a text is longer than its record")
        return self._body[start : self._position].decode("utf-8")

    def texts(self) -> dict[str, str]:
        length = self.number("<I")
        end = self._position + length
        found = {}
        while self._position < end:
            name = self.text()
            found[name] = self.text()
        return found


def _records(data: mmap.mmap, container: Container) -> Iterator[tuple[int, slice]]:
    """Opcode and place of the body of every record outside of chunks."""
    position, size = len(MAGIC), len(data)
    while position + _FRAME.size <= size:
        opcode, length = _FRAME.unpack_from(data, position)
        end = position + _FRAME.size + length
        if 1 <= opcode <= _LAST_OPCODE and end <= size:
            yield opcode, slice(position + _FRAME.size, end)
            if opcode == _FOOTER:
                return
            position = end
            continue
        indexed = (start for start in container._chunk_starts if start > position)
        found = min((start for start in (_next_chunk(data, position + 1), *indexed) if start is not None), default=None)
        if found is None:
            container.damage.append(f"the last {size - position} bytes are no whole record")
            return
        container.damage.append(f"{found - position} bytes from byte {position} on are no record")
        position = found
    if position < size:
        container.damage.append(f"the last {size - position} bytes are no whole record")


def _index_start(data: mmap.mmap, footer: slice, elsewhere: int | None) -> int | None:
    """Where the index begins that a file ends with, if that is what was written."""
    start_of_record = footer.start - _FRAME.size
    if start_of_record < len(MAGIC) or data[footer.stop :] != MAGIC:
        return None
    if _FRAME.unpack_from(data, start_of_record) != (_FOOTER, _FOOTER_BODY.size):
        return None
    start, _, checksum = _FOOTER_BODY.unpack(data[footer])
    if elsewhere is not None and checksum:
        start = elsewhere
    if not start:
        return int(start_of_record)
    if start > start_of_record or (checksum and zlib.crc32(data[start : footer.stop - _CHECKSUM_BYTES]) != checksum):
        return None
    return int(start)


def _next_chunk(data: mmap.mmap, position: int) -> int | None:
    """Where the next chunk begins that is what was written, or None."""
    while True:
        places = [place for mark in _MARKS if (place := data.find(mark, position + _BEFORE_MARK)) >= 0]
        if not places:
            return None
        start = min(places) - _BEFORE_MARK
        opcode, length = _FRAME.unpack_from(data, start)
        end = start + _FRAME.size + length
        if opcode == _CHUNK and end <= len(data):
            try:
                _unpack(data[start + _FRAME.size : end])
            except (ValueError, struct.error, zstandard.ZstdError, RuntimeError, EOFError, MemoryError):
                pass
            else:
                return start
        position = start + 1


def _unpack(body: bytes) -> tuple[bytes, bool]:
    """The records of a chunk, and whether they had a checksum.

    Raises:
        ValueError: They are not what was written, or nothing that is known; other errors of the decompressors.
    """
    _, _, size, checksum = _CHUNK_HEAD.unpack_from(body)
    fields = _Fields(body)
    fields._position = _CHUNK_HEAD.size
    compression = fields.text()
    length = fields.number("<Q")
    packed = body[fields._position : fields._position + length]
    if len(packed) != length:
        raise ValueError("it is cut short")
    if size > _LARGEST_CHUNK:
        raise ValueError(f"it claims {size} bytes")
    if compression == "zstd":
        chunk = zstandard.ZstdDecompressor().decompress(packed, max_output_size=size)
    elif compression == "lz4":
        chunk = lz4.frame.decompress(packed)
    elif not compression:
        chunk = packed
    else:
        raise ValueError(f"compressed by '{compression}', known are zstd and lz4")
    if len(chunk) != size:
        raise ValueError(f"{len(chunk)} bytes instead of {size}")
    if checksum and zlib.crc32(chunk) != checksum:
        raise ValueError("wrong checksum")
    return bytes(chunk), bool(checksum)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
