"""A recording under way: messages are taken in at once and written by a thread of their own.

Whoever takes messages in never waits for the disk. What comes while the queue is full is dropped, and what comes after
the disk is full is not written: both are counted by topic, told at the end and written into the bag.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from demo_control.bags.metadata import END_RECORD, START_RECORD
from demo_control.bags.writer import BagWriter

QUEUE_FULL = "dropped as the queue was full"
NOT_WRITTEN = "not written after the disk failed"

_METADATA_PERIOD_S = 10.0


class _Message(NamedTuple):
    topic: int
    log_time_ns: int
    data: bytes
    publish_time_ns: int
    sequence: int


class Recording:
    """Writes one bag beside whatever else runs.

    Args:
        folder: See :class:`~demo_control.bags.writer.BagWriter`.
        about: Written at the start: what is recorded, where, by what.
        queue_bytes: What may wait for the disk.
        flush_period_s: What was heard longer ago is on the disk.

    Raises:
        BagError: The folder holds something.
        OSError: It cannot be made.
    """

    def __init__(
        self, folder: Path, about: Mapping[str, str], queue_bytes: int = 64 << 20, flush_period_s: float = 1.0
    ) -> None:
        self._writer = BagWriter(folder)
        self._queue_bytes, self._flush_period_s = queue_bytes, flush_period_s
        self._wake = threading.Condition()
        self._waiting: deque[_Message | Callable[[], None]] = deque()
        self._waiting_bytes = 0
        self._ending = False
        self._names: dict[int, str] = {}
        self._missing: Counter[str] = Counter()
        self.failure = ""
        """Why nothing is written any more, '' while it is."""
        self._writer.custom = {"demo_control": "see the MCAP metadata records"}
        self._writer.add_record(START_RECORD, about)
        self._writer.flush()
        self._writer.write_metadata()
        self._thread = threading.Thread(target=self._run, name="bag writer")
        self._thread.start()

    @property
    def folder(self) -> Path:
        """Of the bag."""
        return self._writer.folder

    @property
    def message_count(self) -> int:
        """Messages written so far."""
        return self._writer.message_count

    @property
    def missing(self) -> dict[str, int]:
        """Messages that were heard and are not in the bag, by reason and topic."""
        with self._wake:
            return dict(self._missing)

    def add_topic(self, name: str, type_name: str, definition: str, type_hash: str, offered_qos: str) -> int:
        """Begin a topic; returns its number; see :meth:`BagWriter.add_topic`. For one thread only, as :meth:`put`."""
        number = len(self._names) + 1
        self._names[number] = name

        def add() -> None:
            if not self.failure:
                self._writer.add_topic(name, type_name, definition, type_hash=type_hash, offered_qos=offered_qos)

        self._append(add, 0)
        return number

    def add_record(self, name: str, texts: Mapping[str, str]) -> None:
        """Add a metadata record; the last one of a name counts."""
        kept = dict(texts)

        def add() -> None:
            if not self.failure:
                self._writer.add_record(name, kept)

        self._append(add, 0)

    def put(self, topic: int, log_time_ns: int, data: bytes, publish_time_ns: int, sequence: int) -> None:
        """Take in one message, or count it as dropped; arguments as of :meth:`BagWriter.write`."""
        if self._waiting_bytes + len(data) > self._queue_bytes:
            with self._wake:
                self._missing[f"{QUEUE_FULL}: {self._names[topic]}"] += 1
            return
        self._append(_Message(topic, log_time_ns, data, publish_time_ns, sequence), len(data))

    def settle(self) -> None:
        """Wait until all that was taken in is on the disk, or cannot be."""
        settled = threading.Event()

        def flush() -> None:
            self._attempt(self._writer.flush)

        self._append(flush, 0)
        self._append(settled.set, 0)
        settled.wait()

    def close(self) -> None:
        """Write what waits, then the end: what is missing, index and metadata.yaml. Never raises for the disk."""
        with self._wake:
            self._ending = True
            self._wake.notify()
        self._thread.join()

    def _append(self, entry: _Message | Callable[[], None], size: int) -> None:
        with self._wake:
            self._waiting.append(entry)
            self._waiting_bytes += size
            self._wake.notify()

    def _run(self) -> None:
        """The writer's thread."""
        flushed_s = told_s = time.monotonic()
        while True:
            with self._wake:
                if not self._waiting and not self._ending:
                    self._wake.wait(self._flush_period_s)
                entries, ending = list(self._waiting), self._ending
                self._waiting.clear()
            for entry in entries:
                self._take(entry)
            now_s = time.monotonic()
            if now_s - flushed_s >= self._flush_period_s or ending:
                flushed_s = now_s
                self._attempt(self._writer.flush)
            if now_s - told_s >= _METADATA_PERIOD_S:
                told_s = now_s
                self._attempt(self._writer.write_metadata)
            if ending and not self._waiting:
                break
            # Bunches compress better, and a thread that wakes for each message steals time from who takes them.
            if not ending:
                time.sleep(0.02)
        self._finish()

    def _take(self, entry: _Message | Callable[[], None]) -> None:
        """Write one entry of the queue."""
        if not isinstance(entry, _Message):
            entry()
            return
        with self._wake:
            self._waiting_bytes -= len(entry.data)
            if self.failure:
                self._missing[f"{NOT_WRITTEN}: {self._names[entry.topic]}"] += 1
        self._attempt(lambda: self._writer.write(*entry))

    def _attempt(self, write: Callable[[], None]) -> None:
        """Write, and stop writing once that fails."""
        if self.failure:
            return
        try:
            write()
        except Exception as error:  # whatever it is, it must be told, and what comes must be counted
            strerror = getattr(error, "strerror", None)
            self.failure = strerror or f"{type(error).__name__}: {error}"
            with self._wake:
                self._missing[f"{NOT_WRITTEN}: of all topics, gathered for the disk"] += self._writer.unflushed
            self._writer.abandon()

    def _finish(self) -> None:
        missing = {f"missing {what}": str(count) for what, count in self.missing.items()}
        if not self.failure:
            self._writer.add_record(END_RECORD, missing)
            self._writer.custom = {**self._writer.custom, **missing}
            self._attempt(self._writer.close)
