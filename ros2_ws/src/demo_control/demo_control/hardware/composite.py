"""All buses of a wiring as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from demo_control.hardware.bus import Bus, BusDescription, BusError, Reading
from demo_control.hardware.wiring import InstalledKinds, Wiring
from demo_control.tasks import Array


def open_bus(wiring: Wiring) -> CompositeBus:
    """The buses of a wiring, not connected yet.

    Raises:
        ConfigurationError: A bus cannot be made as it is wired.
    """
    kinds = InstalledKinds()
    return CompositeBus([kinds[bus.kind].make(bus) for bus in wiring.buses])


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
        """Read all.

        Raises:
            BusError: A connection is lost.
        """
        readings = [bus.read() for bus in self.buses]
        return Reading(
            np.concatenate([reading.positions for reading in readings]),
            np.concatenate([reading.velocities for reading in readings]),
            np.concatenate([reading.efforts for reading in readings]),
            np.concatenate([reading.ages_s for reading in readings]),
            next((reading.imu for reading in readings if reading.imu is not None), None),
            next((reading.contact_forces for reading in readings if reading.contact_forces is not None), None),
            tuple(problem for reading in readings for problem in reading.problems),
        )

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
