"""Several buses as one: what fails on one must not keep the others from being told."""

from __future__ import annotations

import numpy as np
import pytest

from demo_control.drivers.safety import Safety
from demo_control.hardware.bus import BusDescription, BusError, ImuReading, PartialReadingError, Reading
from demo_control.hardware.composite import CompositeBus
from demo_control.tasks import Array

from .robot_benches import CartBus, armed


class DeafBus(CartBus):
    """A cart's bus whose connection is lost for writing."""

    def write(self, values: Array) -> Array:
        raise BusError(f"port gone: lost while writing {values[0]:g}")


class OneJointBus(CartBus):
    """Of a cart's bus one joint alone.

    Args:
        joint: 0 for the cart, 1 for the pole.
        cart: Whose joint it is; this bus itself if there is none.
    """

    def __init__(self, joint: int, cart: CartBus | None = None) -> None:
        super().__init__()
        self.joint, self.cart = joint, cart or self

    def describe(self) -> BusDescription:
        return BusDescription((super().describe().joints[self.joint],), has_imu=False)

    def read(self) -> Reading:
        if self.is_lost:
            raise BusError(f"port of joint {self.joint} gone: lost while reading")
        one, whole = slice(self.joint, self.joint + 1), CartBus.read(self.cart)
        return Reading(whole.positions[one], whole.velocities[one], whole.efforts[one], whole.ages_s[one])


class ImuBus(CartBus):
    """An attitude unit alone."""

    def describe(self) -> BusDescription:
        return BusDescription((), has_imu=True)

    def read(self) -> Reading:
        if self.is_lost:
            raise BusError("port of the IMU gone: lost while reading")
        nothing = np.zeros(0)
        imu = ImuReading(np.array([1.0, 0.0, 0.0, 0.0]), np.zeros(3), np.array([0.0, 0.0, 9.81]), 0.001)
        return Reading(nothing, nothing, nothing, nothing, imu)


def test_each_bus_gets_its_own_part() -> None:
    first, second = CartBus(), CartBus()
    assert CompositeBus([first, second]).write(np.array([1.0, 2.0])).tolist() == [1.0, 2.0]
    assert (first.written, second.written) == ([1.0], [2.0])


def test_the_buses_behind_one_that_fails_are_told_all_the_same() -> None:
    behind = CartBus()
    with pytest.raises(BusError, match="lost while writing 1"):
        CompositeBus([DeafBus(), behind, DeafBus()]).write(np.array([1.0, 2.0, 3.0]))
    assert behind.written == [2.0]


def test_what_the_others_say_is_read_all_the_same() -> None:
    imu, cart, pole = ImuBus(), OneJointBus(0), OneJointBus(1)
    bus = CompositeBus([imu, pole, cart])
    bus.read()
    imu.is_lost = pole.is_lost = True
    cart.position = 0.7
    with pytest.raises(PartialReadingError, match="port of the IMU gone") as told:
        bus.read()
    reading = told.value.reading
    assert reading.positions.tolist() == [np.pi, 0.7]
    assert reading.ages_s[0] > reading.ages_s[1]
    assert reading.imu is not None
    assert reading.imu.age_s > 0.001


def test_a_bus_that_has_not_said_anything_yet_makes_no_reading() -> None:
    silent = OneJointBus(1)
    silent.is_lost = True
    with pytest.raises(BusError, match="port of joint 1 gone") as told:
        CompositeBus([OneJointBus(0), silent]).read()
    assert not isinstance(told.value, PartialReadingError)


def test_a_cart_whose_pole_cannot_be_read_any_more_is_braked_to_rest() -> None:
    cart = OneJointBus(0)
    pole = OneJointBus(1, cart)
    bench = armed(cart, bus=CompositeBus([cart, pole]))
    bench.run(0.3, np.array([5.0]))
    speed = cart.velocity
    pole.is_lost = True
    slowest = speed
    for _ in range(50):
        bench.run(0.02, np.array([5.0]))
        slowest = min(slowest, cart.velocity)
    assert (bench.robot.safety.state, bench.robot.failure) == (
        Safety.FAULT,
        "port of joint 1 gone: lost while reading",
    )
    # Braked by the speed that it had, it would go back faster and faster.
    assert -0.05 * speed < slowest < 0.05 * speed
