"""Reads rosbag2's SQLite files, of all distributions, as far as they can be read.

SQLite has no checksums: a page that makes no sense is noticed and stepped over, a wrong bit in a message is not.
Tables: rosbag2_storage_sqlite3, versions 1 to 4.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import struct
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from demo_control.bags.errors import BagError
from demo_control.bags.storage import Channel, Message
from demo_control.bags.unpacking import Unpacked, scratch_folder

MAGIC = b"SQLite format 3\0"

_TABLES = ("topics", "messages")
_HEADER_BYTES = 100
_FURTHEST = 1 << 48
_PIECE_BYTES = 1 << 20
_QUERY = "SELECT id, topic_id, timestamp, data FROM messages WHERE id > ?"
_UNREADABLE = (sqlite3.Error, MemoryError, OverflowError)

_Row: TypeAlias = tuple[int, Any, Any, Any]


@dataclass
class Database:
    """One SQLite file; attributes as of :class:`~demo_control.bags.storage.Storage`."""

    path: Path
    unpacked: Unpacked | None = None
    channels: dict[int, Channel] = field(default_factory=dict)
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)
    checked: bool = False
    _notes: list[str] = field(default_factory=list)
    _kept: sqlite3.Connection | None = None

    @classmethod
    def open(cls, path: Path, unpacked: Unpacked | None = None) -> Database:
        """Read the topics.

        Args:
            path: The file. Nothing is written to it, or beside it.
            unpacked: Its content, where the file itself is compressed.

        Raises:
            BagError: No SQLite file, or not one of rosbag2's, or its topics cannot be read.
            OSError: It cannot be read.
        """
        database = cls(path, unpacked)
        if unpacked is None:
            database._merge_log()
        with database._file() as file:
            part_bytes = database._check_length(file.read(_HEADER_BYTES), file.seek(0, 2))
        if part_bytes:
            # SQLite would take what is missing of the last page for zeros.
            database._leave_out_end(part_bytes)
        try:
            with database._connected() as connection:
                database._learn(connection)
        except _UNREADABLE as error:
            raise BagError(f"{path}: its topics cannot be read ({_why(error)})") from None
        return database

    def messages(self) -> Iterator[Message]:
        """All messages that can be read, in the order of being written."""
        self.damage[:] = self._notes
        lost_topics = odd = missing = 0
        last = 0
        with self._connected() as connection:
            for number, topic, time_ns, data in self._rows(connection):
                missing += number - last - 1
                last = number
                if not (isinstance(time_ns, int) and isinstance(data, bytes) and time_ns >= 0):
                    odd += 1
                elif topic not in self.channels:
                    lost_topics += 1
                else:
                    yield Message(topic, 0, time_ns, time_ns, data)
        if missing:
            self.damage.append(f"{missing} messages are missing (their numbers are)")
        if odd:
            self.damage.append(f"{odd} messages are no messages")
        if lost_topics:
            self.damage.append(f"{lost_topics} messages of topics whose names are lost")

    def _rows(self, connection: sqlite3.Connection) -> Iterator[_Row]:
        """Rows with rising numbers; what cannot be read is stepped over and told of."""
        last = 0
        while True:
            try:
                for row in connection.execute(f"{_QUERY} ORDER BY id", (last,)):
                    if not isinstance(row[0], int) or row[0] <= last:
                        raise sqlite3.DatabaseError("numbers of messages do not rise")
                    last = row[0]
                    yield row
                return
            except _UNREADABLE as error:
                found = _next_readable(connection, last)
                # Python reads ahead: the last row that can be read may be lost with the error, and is read again here.
                if found is None or found[0] > last + 1:
                    onward = "" if found is None else f", and again from message {found[0]} on"
                    self.damage.append(f"unreadable after message {last} ({_why(error)}){onward}")
                if found is None:
                    return
                last = found[0]
                yield found

    def _learn(self, connection: sqlite3.Connection) -> None:
        """Topics, and the definitions of their types where there are some."""
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        missing = [name for name in _TABLES if name not in tables]
        if missing:
            raise BagError(f"{self.path}: no recording of rosbag2 (no table '{missing[0]}')")
        definitions = self._definitions(connection) if "message_definitions" in tables else {}
        columns = {row[1] for row in connection.execute("PRAGMA table_info(topics)")}
        quality = "offered_qos_profiles" if "offered_qos_profiles" in columns else "''"
        for row in connection.execute(f"SELECT id, name, type, serialization_format, {quality} FROM topics"):
            number, *texts = row
            if not (isinstance(number, int) and all(isinstance(text, str) for text in texts)):
                self._notes.append("a topic's entry cannot be understood")
                continue
            topic, kind, encoding, offered = texts
            definition_encoding, definition = definitions.get(kind, ("", ""))
            self.channels[number] = Channel(topic, kind, encoding, definition_encoding, definition, offered)

    def _definitions(self, connection: sqlite3.Connection) -> dict[str, tuple[str, str]]:
        """Encoding and text of types' definitions, by the type."""
        query = "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
        found = {}
        try:
            for kind, encoding, text in connection.execute(query):
                if isinstance(kind, str) and isinstance(encoding, str) and isinstance(text, str):
                    found[kind] = encoding, text
        except _UNREADABLE as error:
            self._notes.append(f"definitions of types cannot be read ({_why(error)})")
        return found

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """A connection that reads and never writes, not even a file beside."""
        if self.unpacked is None:
            with contextlib.closing(_connect(str(self.path.absolute()))) as connection:
                yield connection
            return
        if self._kept is None:
            # The name is for this once.
            with self.unpacked.named() as name:
                self._kept = _connect(name)
            weakref.finalize(self, self._kept.close)
        # What is read of damaged pages depends on which of them SQLite remembers: each pass begins without any.
        self._kept.execute("PRAGMA shrink_memory")
        yield self._kept

    def _file(self) -> BinaryIO:
        return self.unpacked.open() if self.unpacked else self.path.open("rb")

    def _check_length(self, header: bytes, size: int) -> int:
        """Refuse what is no database; note one that is cut short.

        Returns:
            Bytes at its end that are only a part of a page.
        """
        if not header.startswith(MAGIC) or len(header) < _HEADER_BYTES:
            raise BagError(f"{self.path}: not an SQLite file (it does not begin with {MAGIC!r})")
        (page_bytes,) = struct.unpack_from(">H", header, 16)
        changed, pages, valid_for = (struct.unpack_from(">I", header, place)[0] for place in (24, 28, 92))
        page_bytes = page_bytes if page_bytes > 1 else 1 << 16
        if changed == valid_for and size < pages * page_bytes:
            self._notes.append(f"the file is cut short: {size} of {pages * page_bytes} bytes")
        return int(size % page_bytes)

    def _leave_out_end(self, part_bytes: int) -> None:
        """Read without the last bytes of the file."""
        if self.unpacked is None:
            whole = Unpacked()
            with self.path.open("rb") as file:
                while piece := file.read(_PIECE_BYTES):
                    whole.write(piece)
            self.unpacked = whole
        self.unpacked.shorten(part_bytes)

    def _merge_log(self) -> None:
        """Take in what a recorder that was killed left in files beside this one."""
        log, journal = (self.path.with_name(self.path.name + ending) for ending in ("-wal", "-journal"))
        if journal.is_file() and journal.stat().st_size:
            self._notes.append(f"{journal.name} lies beside: the recorder did not end in order")
        if not (log.is_file() and log.stat().st_size):
            return
        self._notes.append(f"{log.name} lies beside and was read, too: the recorder did not end in order")
        merged = Unpacked()
        with scratch_folder() as folder:
            copy = Path(shutil.copyfile(self.path, folder / "bag"))
            shutil.copyfile(log, folder / "bag-wal")
            try:
                with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as connection:
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except _UNREADABLE as error:
                self._notes.append(f"{log.name} cannot be read ({_why(error)})")
                return
            with copy.open("rb") as file:
                while piece := file.read(_PIECE_BYTES):
                    merged.write(piece)
        self.unpacked = merged


def _why(error: BaseException) -> str:
    """In words; a wrong length may ask for more memory than there is, of which SQLite says nothing."""
    return str(error) or "a length beyond all memory"


def _connect(name: str) -> sqlite3.Connection:
    address = f"{Path(name).as_uri()}?mode=ro&immutable=1"
    connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
    try:
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        # Lets SQLite read files that are cut short, and believe less of what stands in them.
        for pragma in ("writable_schema = ON", "cell_size_check = ON", "trusted_schema = OFF"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("SELECT name FROM sqlite_master LIMIT 1").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def _next_readable(connection: sqlite3.Connection, last: int) -> _Row | None:
    """The first message after number ``last`` that can be read where those between cannot, or None."""

    def after(number: int) -> _Row | None:
        row = connection.execute(f"{_QUERY} ORDER BY id LIMIT 1", (number,)).fetchone()
        if row is not None and not (isinstance(row[0], int) and row[0] > number):
            raise sqlite3.DatabaseError("numbers of messages do not rise")
        found: _Row | None = row
        return found

    def is_readable(step: int) -> bool:
        try:
            after(last + step)
        except _UNREADABLE:
            return False
        return True

    # Pages that cannot be read are followed by such that can: try further and further, then narrow it down.
    unreadable, readable = -1, 0
    while not is_readable(readable):
        unreadable, readable = readable, 2 * readable + 1
        if readable > _FURTHEST:
            return None
    while readable - unreadable > 1:
        middle = (unreadable + readable) // 2
        unreadable, readable = (unreadable, middle) if is_readable(middle) else (middle, readable)
    return after(last + readable)
