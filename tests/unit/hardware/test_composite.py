"""Several buses as one: what fails on one must not keep the others from being told."""

from __future__ import annotations

import numpy as np
import pytest

from demo_control.hardware.bus import BusError
from demo_control.hardware.composite import CompositeBus
from demo_control.tasks import Array

from .robot_benches import CartBus


class DeafBus(CartBus):
    """A cart's bus whose connection is lost for writing."""

    def write(self, values: Array) -> Array:
        raise BusError(f"port gone: lost while writing {values[0]:g}")


def test_each_bus_gets_its_own_part() -> None:
    first, second = CartBus(), CartBus()
    assert CompositeBus([first, second]).write(np.array([1.0, 2.0])).tolist() == [1.0, 2.0]
    assert (first.written, second.written) == ([1.0], [2.0])


def test_the_buses_behind_one_that_fails_are_told_all_the_same() -> None:
    behind = CartBus()
    with pytest.raises(BusError, match="lost while writing 1"):
        CompositeBus([DeafBus(), behind, DeafBus()]).write(np.array([1.0, 2.0, 3.0]))
    assert behind.written == [2.0]
