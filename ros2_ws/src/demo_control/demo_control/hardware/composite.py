"""All buses of a wiring as one."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from demo_control.hardware.bus import Bus, BusDescription, BusError, PartialReadingError, Reading
from demo_control.hardware.wiring import InstalledKinds, Wiring
from demo_control.tasks import Array

_FIRST_LIMIT_S = 1.0


def open_bus(wiring: Wiring) -> CompositeBus:
    """The buses of a wiring, not connected yet.

    Raises:
        ConfigurationError: A bus cannot be made as it is wired.
    """
    kinds = InstalledKinds()
    return CompositeBus([kinds[bus.kind].make(bus) for bus in wiring.buses])


def first_reading(bus: Bus, where: Path, period_s: float) -> Reading:
    """The first reading of a connected bus in which everything has spoken.

    Args:
        bus: Connected.
        where: The wiring's file, for the error.
        period_s: Between two readings.

    Raises:
        BusError: That does not come soon, or a connection is lost.
    """
    deadline_s = time.monotonic() + _FIRST_LIMIT_S
    while True:
        reading = bus.read()
        heard = bool(np.isfinite(reading.ages_s).all()) and (reading.imu is not None or not bus.describe().has_imu)
        if heard:
            return reading
        if time.monotonic() > deadline_s:
            raise BusError(f"{where}: not all joints and sensors tell anything")
        time.sleep(period_s)


class CompositeBus:
    """Several buses one after the other; see :class:`~demo_control.hardware.bus.Bus`.

    Args:
        buses: In the order of the joints.
    """

    def __init__(self, buses: Sequence[Bus]) -> None:
        self.buses = tuple(buses)
        counts = [len(bus.describe().commanded) for bus in buses]
        self._ends = np.cumsum(counts).tolist()
        self._starts = [end - count for end, count in zip(self._ends, counts, strict=True)]
        self._newest: dict[int, tuple[Reading, float]] = {}
        """What each bus said last, and when."""

    def describe(self) -> BusDescription:
        """All joints."""
        parts = [bus.describe() for bus in self.buses]
        return BusDescription(
            tuple(joint for part in parts for joint in part.joints),
            any(part.has_imu for part in parts),
            tuple(note for part in parts for note in part.notes),
        )

    def connect(self) -> None:
        """Connect all or none.

        Raises:
            BusError: One cannot be connected.
        """
        try:
            for bus in self.buses:
                bus.connect()
        except BaseException:
            self.disconnect()
            raise

    def read(self) -> Reading:
        """Read all: also those behind one that fails, as whoever brakes the robot needs to know how fast it is.

        Raises:
            PartialReadingError: A connection is lost.
            BusError: The same, before its devices have told anything.
        """
        failures = []
        for place, bus in enumerate(self.buses):
            try:
                self._newest[place] = bus.read(), time.monotonic()
            except BusError as failure:
                failures.append(failure)
        newest = [self._newest[place] for place in range(len(self.buses)) if place in self._newest]
        if not failures:
            return _joined([reading for reading, _ in newest])
        if len(newest) < len(self.buses):
            raise failures[0]
        now_s = time.monotonic()
        aged = [_aged(reading, now_s - read_s) for reading, read_s in newest]
        raise PartialReadingError(str(failures[0]), _joined(aged))

    def write(self, values: Array) -> Array:
        """Command all: also those behind one that fails, which must hold or brake all the more.

        Raises:
            BusError: A connection is lost, or an actuator cannot be switched on; the first one of these.
        """
        sent, failures = [np.zeros(0)], []
        for bus, start, end in zip(self.buses, self._starts, self._ends, strict=True):
            if end > start:
                try:
                    sent.append(bus.write(values[start:end]))
                except BusError as failure:
                    failures.append(failure)
        if failures:
            raise failures[0]
        return np.concatenate(sent)

    def stop(self) -> None:
        """Stop all."""
        for bus in self.buses:
            bus.stop()

    def disconnect(self) -> None:
        """Disconnect all."""
        for bus in self.buses:
            bus.disconnect()

    def counters(self) -> Mapping[str, object]:
        """Of all."""
        return {name: value for bus in self.buses for name, value in bus.counters().items()}


def _aged(reading: Reading, since_s: float) -> Reading:
    """A reading some time after it was made."""
    imu = None if reading.imu is None else replace(reading.imu, age_s=reading.imu.age_s + since_s)
    return replace(reading, ages_s=reading.ages_s + since_s, imu=imu)


def _joined(readings: Sequence[Reading]) -> Reading:
    """Readings of several buses as one."""
    return Reading(
        np.concatenate([reading.positions for reading in readings]),
        np.concatenate([reading.velocities for reading in readings]),
        np.concatenate([reading.efforts for reading in readings]),
        np.concatenate([reading.ages_s for reading in readings]),
        next((reading.imu for reading in readings if reading.imu is not None), None),
        next((reading.contact_forces for reading in readings if reading.contact_forces is not None), None),
        tuple(problem for reading in readings for problem in reading.problems),
    )
