"""Tables of numbers that grow while a recording is read: an hour of it takes some hundred megabytes, not gigabytes."""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Iterator
from typing import IO

import numpy as np

from demo_control.bags.errors import BagError
from demo_control.bags.stretches import Integers
from demo_control.tasks import Array

_BLOCK_ROWS = 1024
_IN_MEMORY_BYTES = 8 << 20
_MOST_ODD_ROWS = 1000
_BYTES = 8

OTHERS = "(others)"
MOST_NAMES = 1000
_MOST_SPREAD = 4


class Rows:
    """Vectors of one length, the first ones in a file without a name where they are many; read in any order.

    Args:
        what: Of what they are, for errors.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self.width: int | None = None
        """Length of the vectors, None before the first."""
        self._newest = array("d")
        self._file: IO[bytes] | None = None
        self._in_file = 0
        self._odd: dict[int, Array] = {}
        self._block: tuple[int, Array] = (-1, np.zeros((0, 0)))
        self._count = 0

    def __len__(self) -> int:
        """Number of vectors."""
        return self._count

    def append(self, values: Array) -> None:
        """Add one vector. Shape=(width,), or any: such rows are told apart by their shape.

        Raises:
            BagError: Too many have another length than the first.
        """
        if self.width is None:
            self.width = len(values)
        if len(values) != self.width:
            self._odd[self._count] = np.array(values, np.float64)
            if len(self._odd) > _MOST_ODD_ROWS:
                raise BagError(f"{self._what}: messages of {self.width} and of {len(values)} values in one recording")
            values = np.full(self.width, np.nan)
        self._newest.frombytes(np.ascontiguousarray(values, np.float64).tobytes())
        self._count += 1
        if len(self._newest) * _BYTES > _IN_MEMORY_BYTES:
            self._spill()

    def row(self, index: int) -> Array:
        """One vector; its shape is (width,) unless it was odd."""
        if index in self._odd:
            return self._odd[index]
        start = index - index % _BLOCK_ROWS
        if self._block[0] != start or index - start >= len(self._block[1]):
            self._block = start, self.read(start, min(start + _BLOCK_ROWS, self._count))
        row: Array = self._block[1][index - start].copy()
        return row

    def read(self, start: int, end: int) -> Array:
        """Some vectors one after the other, NaN for odd ones. Shape=(end - start, width)."""
        width = self.width or 0
        split = min(max(self._in_file, start), end)
        parts = []
        if split > start:
            assert self._file is not None
            content = os.pread(self._file.fileno(), (split - start) * width * _BYTES, start * width * _BYTES)
            parts.append(np.frombuffer(content, np.float64))
        if end > split:
            places = slice((split - self._in_file) * width, (end - self._in_file) * width)
            parts.append(np.array(self._newest[places], np.float64))
        return np.concatenate([*parts, np.zeros(0)]).reshape(-1, width) if width else np.zeros((end - start, 0))

    def take(self, indices: Integers) -> Array:
        """Some vectors, near one another at best; NaN for the index -1 and for odd ones. Shape=(count, width)."""
        found = np.full((len(indices), self.width or 0), np.nan)
        known = indices >= 0
        if known.any():
            first, last = int(indices[known].min()), int(indices[known].max())
            if last - first < _MOST_SPREAD * len(indices):
                found[known] = self.read(first, last + 1)[indices[known] - first]
            else:
                found[known] = [self.read(index, index + 1)[0] for index in indices[known].tolist()]
        return found

    def blocks(self) -> Iterator[tuple[int, Array]]:
        """All of them, piece by piece: where a piece starts, and its vectors."""
        for start in range(0, self._count, _BLOCK_ROWS):
            yield start, self.read(start, min(start + _BLOCK_ROWS, self._count))

    def odd(self) -> Iterator[Array]:
        """Those of another length."""
        return iter(self._odd.values())

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="demo_control-")  # noqa: SIM115 - lives as long as the rows
        self._file.write(self._newest.tobytes())
        self._file.flush()
        self._in_file = self._count
        self._newest = array("d")


class Integer:
    """A growing column of whole numbers."""

    def __init__(self) -> None:
        self._values = array("q")

    def append(self, value: int) -> None:
        """Add one."""
        self._values.append(value)

    def __len__(self) -> int:
        """How many."""
        return len(self._values)

    def __getitem__(self, index: int) -> int:
        """One of them."""
        return self._values[index]

    def numbers(self) -> Integers:
        """All of them, not to be written to; none can be added while they are in use. Shape=(count,)."""
        return np.frombuffer(self._values, np.int64)


class Names:
    """A growing column of texts, few of them different: what comes when there are many is all :data:`OTHERS`."""

    def __init__(self) -> None:
        self._codes = array("H")
        self._known: dict[str, int] = {}
        self.texts: list[str] = []
        """The different ones."""

    def append(self, text: str) -> None:
        """Add one."""
        if text not in self._known:
            # Someone who puts a number into every text must not fill the memory.
            text = text if len(self.texts) < MOST_NAMES else OTHERS
            if text not in self._known:
                self._known[text] = len(self.texts)
                self.texts.append(text)
        self._codes.append(self._known[text])

    def __getitem__(self, index: int) -> str:
        """One of them."""
        return self.texts[self._codes[index]]

    def codes(self) -> Integers:
        """Places in :attr:`texts` of all. Shape=(count,)."""
        return np.array(self._codes, np.int64)
