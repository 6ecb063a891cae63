"""A topic of observations or actions, kept as columns: a message as an object takes several times as much."""

from __future__ import annotations

import sys
from array import array
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from demo_control.tasks import Array

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Columns:
    """See :meth:`VectorTopic.columns`.

    Attributes:
        stamps_ns: Rising. Shape=(length,).
        answers_ns: Stamps of the observations that they are or answer. Shape=(length,).
        numbers: Of these. Shape=(length,).
        sources: Who made each; '' for observations.
        values: Shape=(length, width).
        odd: How many vectors were of another size.
    """

    stamps_ns: Integers
    answers_ns: Integers
    numbers: npt.NDArray[np.uint64]
    sources: list[str]
    values: Array
    odd: int

    def __len__(self) -> int:
        """Number of vectors."""
        return len(self.stamps_ns)


class VectorTopic:
    """What was said on one topic; most vectors are of one size, and others are counted."""

    def __init__(self) -> None:
        self._tables: dict[int, _Table] = {}

    def append(self, stamp_ns: int, answers_ns: int, message: Any) -> None:  # noqa: ANN401 - a decoded message
        """Take in a message.

        Args:
            stamp_ns: Its stamp.
            answers_ns: Stamp of the observation that it is or answers.
            message: Observation or Action.
        """
        values = np.asarray(message.values, np.float64)
        number = message.sequence if hasattr(message, "sequence") else message.observation_sequence
        table = self._tables.setdefault(len(values), _Table())
        table.numbers.append(int(number))
        table.stamps_ns.append(stamp_ns)
        table.answers_ns.append(answers_ns)
        table.sources.append(sys.intern(str(getattr(message, "source", ""))))
        table.values.frombytes(values.tobytes())

    def columns(self) -> Columns:
        """All vectors of the size that most have, in the order of their stamps."""
        width, table = max(self._tables.items(), key=lambda item: len(item[1].stamps_ns), default=(0, _Table()))
        stamps = np.array(table.stamps_ns, np.int64)
        order = np.argsort(stamps, kind="stable")
        odd = sum(len(other.stamps_ns) for other in self._tables.values()) - len(stamps)
        return Columns(
            stamps[order],
            np.array(table.answers_ns, np.int64)[order],
            np.array(table.numbers, np.uint64)[order],
            [table.sources[place] for place in order],
            np.array(table.values).reshape(len(stamps), width)[order],
            odd,
        )


class _Table:
    """Vectors of one size."""

    def __init__(self) -> None:
        self.stamps_ns, self.answers_ns, self.numbers = array("q"), array("q"), array("Q")
        self.sources: list[str] = []
        self.values = array("d")
