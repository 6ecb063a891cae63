"""Tables of what was heard in a recording: vectors by observation, commands, plans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, overload

import numpy as np

from demo_control.bags.columns import Integer, Names, Rows
from demo_control.bags.stretches import Integers
from demo_control.tasks import Array

FIGURES = (
    "plan_time_s", "plan_age_s", "nominal_cost", "plan_cost", "predicted_gain", "effective_sample_size", "accepted",
    "overruns", "followed_share", "ensemble_disagreement",
)  # fmt: skip
"""Figures of a plan, as PlannerStatus has them; NaN where it has not."""


class Key(NamedTuple):
    """Which observation: the driver's number, and its stamp, as a driver that starts anew counts from 0."""

    sequence: int
    stamp_ns: int


class Command(NamedTuple):
    """A command of the layer.

    Attributes:
        key: Of the observation that it answers.
        stamp_ns: When it was made.
        log_time_ns: When it was heard.
        source: As in Action.
        values: Shape=(action_dim,).
        plans: Number of the newest plan there was.
    """

    key: Key
    stamp_ns: int
    log_time_ns: int
    source: str
    values: Array
    plans: int


@dataclass(frozen=True)
class PlanMade:
    """What the layer told of a plan: its number, the number of its observation, and figures as in PlannerStatus."""

    number: int
    sequence: int
    stamp_ns: int
    figures: Mapping[str, float]


class Keyed:
    """Vectors by the observation that they are, or answer; of two with one key the last one counts.

    Args:
        what: Of what they are, for errors.
    """

    def __init__(self, what: str) -> None:
        self.sequences, self.stamps_ns, self.rows = Integer(), Integer(), Rows(what)
        self._sorted: tuple[Integers | None, Integers, Integers] | None = None
        self._hint = 0

    def __len__(self) -> int:
        """How many."""
        return len(self.rows)

    def append(self, key: Key, values: Array) -> None:
        """Add one; not after the first was looked for."""
        self.sequences.append(key.sequence)
        self.stamps_ns.append(key.stamp_ns)
        self.rows.append(values)

    def get(self, key: Key) -> Array | None:
        """The vector of a key, or None."""
        index = self.index(key)
        return None if index < 0 else self.rows.row(index)

    def index(self, key: Key) -> int:
        """Where a key's vector is, -1 for nowhere."""
        order, sequences, stamps = self._in_order()
        # Whoever goes through a recording asks for one after the other.
        place = self._hint + 1
        if not self._is_last(place, key):
            start, end = np.searchsorted(sequences, [key.sequence, key.sequence + 1])
            place = int(start + np.searchsorted(stamps[start:end], key.stamp_ns, side="right")) - 1
            if not self._is_last(place, key):
                return -1
        self._hint = place
        return place if order is None else int(order[place])

    def indices(self, sequences: Integers, stamps_ns: Integers) -> Integers:
        """Where the vectors of many keys are, -1 for nowhere. Shape=(count,)."""
        order, known, known_stamps = self._in_order()
        if not len(known):
            return np.full(len(sequences), -1)
        places = np.searchsorted(known, sequences, side="right") - 1
        good = (known[places] == sequences) & (known_stamps[places] == stamps_ns)
        found: Integers = np.where(good, places if order is None else order[places], -1)
        # The last of a number is the right one, unless a driver counted that far twice.
        for row in np.flatnonzero(~good & (known[places] == sequences)):
            found[row] = self.index(Key(int(sequences[row]), int(stamps_ns[row])))
        return found

    def _in_order(self) -> tuple[Integers | None, Integers, Integers]:
        """(places, None for as they are; sequences; stamps), sorted by these."""
        if self._sorted is None:
            sequences, stamps = self.sequences.numbers(), self.stamps_ns.numbers()
            rising = (np.diff(sequences) > 0).all()
            order = None if rising else np.lexsort((stamps, sequences))
            self._sorted = order, *((sequences, stamps) if order is None else (sequences[order], stamps[order]))
        return self._sorted

    def _is_last(self, place: int, key: Key) -> bool:
        _, sequences, stamps = self._in_order()
        if not (0 <= place < len(sequences) and (sequences[place], stamps[place]) == key):
            return False
        return place + 1 == len(sequences) or (sequences[place + 1], stamps[place + 1]) != key


@dataclass
class CommandTable:
    """Commands of one topic, in the order of being heard; columns as in :class:`Command`."""

    values: Keyed
    stamps_ns: Integer = field(default_factory=Integer)
    log_times_ns: Integer = field(default_factory=Integer)
    sources: Names = field(default_factory=Names)
    plans: Integer = field(default_factory=Integer)

    def __len__(self) -> int:
        """How many."""
        return len(self.stamps_ns)

    def append(self, command: Command) -> None:
        """Add one."""
        self.values.append(command.key, command.values)
        self.stamps_ns.append(command.stamp_ns)
        self.log_times_ns.append(command.log_time_ns)
        self.sources.append(command.source)
        self.plans.append(command.plans)

    def at(self, index: int) -> Command:
        """One of them."""
        values = self.values
        return Command(
            Key(values.sequences[index], values.stamps_ns[index]), self.stamps_ns[index], self.log_times_ns[index],
            self.sources[index], values.rows.row(index), self.plans[index],
        )  # fmt: skip


class Commands(Sequence[Command]):
    """Some commands of a table; each is made when it is looked at.

    Args:
        table: Holds them.
        places: Which. Shape=(count,).
        plans: In the place of the table's, or None. Shape=(count,).
    """

    def __init__(self, table: CommandTable, places: Integers, plans: Integers | None = None) -> None:
        self.table, self.places, self._plans = table, places, plans

    def __len__(self) -> int:
        """How many."""
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> Command: ...

    @overload
    def __getitem__(self, index: slice) -> Commands: ...

    def __getitem__(self, index: int | slice) -> Command | Commands:
        """One of them, or some."""
        if isinstance(index, slice):
            return Commands(self.table, self.places[index], None if self._plans is None else self._plans[index])
        command = self.table.at(int(self.places[index]))
        return command if self._plans is None else command._replace(plans=int(self._plans[index]))

    @property
    def sequences(self) -> Integers:
        """Numbers of the observations that they answer. Shape=(count,)."""
        return self.table.values.sequences.numbers()[self.places]

    @property
    def observation_stamps_ns(self) -> Integers:
        """Stamps of these. Shape=(count,)."""
        return self.table.values.stamps_ns.numbers()[self.places]

    @property
    def stamps_ns(self) -> Integers:
        """When they were made. Shape=(count,)."""
        return self.table.stamps_ns.numbers()[self.places]

    @property
    def log_times_ns(self) -> Integers:
        """When they were heard. Shape=(count,)."""
        return self.table.log_times_ns.numbers()[self.places]

    @property
    def plans(self) -> Integers:
        """Numbers of the newest plans there were. Shape=(count,)."""
        return self.table.plans.numbers()[self.places] if self._plans is None else self._plans

    def with_plans(self, plans: Integers) -> Commands:
        """The same commands, with other plans known to them."""
        return Commands(self.table, self.places, plans)


@dataclass
class PlanTable:
    """What was told of plans, in the order of being heard; columns as in :class:`PlanMade`."""

    numbers: Integer = field(default_factory=Integer)
    sequences: Integer = field(default_factory=Integer)
    stamps_ns: Integer = field(default_factory=Integer)
    figures: Rows = field(default_factory=lambda: Rows("/planner_status"))

    def __len__(self) -> int:
        """How many."""
        return len(self.numbers)

    def append(self, number: int, sequence: int, stamp_ns: int, figures: Array) -> None:
        """Add one; figures as in :data:`FIGURES`."""
        self.numbers.append(number)
        self.sequences.append(sequence)
        self.stamps_ns.append(stamp_ns)
        self.figures.append(figures)

    def at(self, index: int) -> PlanMade:
        """One of them."""
        figures = dict(zip(FIGURES, self.figures.row(index).tolist(), strict=True))
        return PlanMade(self.numbers[index], self.sequences[index], self.stamps_ns[index], figures)


class Plans(Mapping[int, PlanMade]):
    """Some plans of a table by number; of two with one number the last one counts.

    Args:
        table: Holds them.
        places: Of each number.
    """

    def __init__(self, table: PlanTable, places: Mapping[int, int]) -> None:
        self.table, self.places = table, places

    def __len__(self) -> int:
        """How many."""
        return len(self.places)

    def __iter__(self) -> Iterator[int]:
        """Their numbers."""
        return iter(self.places)

    def __getitem__(self, number: int) -> PlanMade:
        """One of them."""
        return self.table.at(self.places[number])

    def sequence(self, number: int) -> int:
        """Number of the observation that a plan was made from."""
        return self.table.sequences[self.places[number]]

    def figures(self) -> Array:
        """Figures of all, in the order of their numbers' appearance. Shape=(count, len(FIGURES))."""
        rows = self.table.figures.read(0, len(self.table))
        return rows.reshape(-1, len(FIGURES))[np.fromiter(self.places.values(), np.int64, len(self.places))]
