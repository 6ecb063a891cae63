"""Real robots on buses that a test holds, and who gives them their control periods; no ROS, no clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np

from demo_control.drivers.core import Command, Rejection
from demo_control.drivers.hardware_robot import HardwareRobot
from demo_control.drivers.hardware_settings import HardwareSettings
from demo_control.drivers.safety import Safety, SafetyRequest
from demo_control.drivers.walking import WalkingSettings
from demo_control.hardware.bus import Bus, BusDescription, BusError, ImuReading, JointDescription, Reading
from demo_control.hardware.wiring import Wiring, load_wiring
from demo_control.tasks import Array
from stoch2_sim.cartpole import task as cartpole_task
from stoch2_sim.drivers.cartpole_settings import CartpoleDriverSettings
from stoch2_sim.drivers.hardware_cartpole import HardwareCartpole
from stoch2_sim.drivers.hardware_stoch2 import HardwareStoch2
from stoch2_sim.drivers.simulated_stoch2_bus import SimulatedStoch2Bus
from stoch2_sim.drivers.stoch2_motion import Stoch2Setup
from stoch2_sim.drivers.stoch2_settings import Stoch2DriverSettings
from stoch2_sim.robots.stoch2.episode import SensingParameters
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.placement import sitting_stance
from stoch2_sim.robots.stoch2.reference import CommandSettings, LeashSettings


def wiring(robot: str) -> Wiring:
    return load_wiring(Path(str(files("stoch2_sim").joinpath("wiring", f"{robot}.yaml"))))


def with_safety(robot: str, **safety: object) -> Wiring:
    """The shipped wiring of a robot, with other safety settings."""
    wired = wiring(robot)
    return replace(wired, safety=replace(wired.safety, **safety))


class CartBus:
    """A cart of 1 kg with a pole that hangs still."""

    def __init__(self) -> None:
        self.position, self.velocity, self.force = 0.1, 0.0, 0.0
        self.ages_s = np.zeros(2)
        self.problems: tuple[str, ...] = ()
        self.is_on = False
        self.written: list[float] = []
        self.is_lost = False
        self.disconnected = False

    def describe(self) -> BusDescription:
        joints = (JointDescription("cart", "effort", "m", ""), JointDescription("pole", "none", "rad", ""))
        return BusDescription(joints, has_imu=False)

    def connect(self) -> None:
        pass

    def read(self) -> Reading:
        if self.is_lost:
            raise BusError("port gone: lost while reading")
        positions = np.array([self.position, math.pi])
        return Reading(
            positions, np.array([self.velocity, 0.0]), np.zeros(2), self.ages_s.copy(), problems=self.problems
        )

    def write(self, values: Array) -> Array:
        if self.is_lost:
            raise BusError("port gone: lost while writing")
        self.is_on = True
        self.force = float(values[0])
        self.written.append(self.force)
        return values

    def stop(self) -> None:
        self.is_on, self.force = False, 0.0

    def disconnect(self) -> None:
        self.disconnected = True

    def counters(self) -> Mapping[str, object]:
        return {}

    def advance(self, period_s: float) -> None:
        self.velocity += self.force * period_s
        self.position += self.velocity * period_s


class Bench:
    """Gives a robot its control periods, and commands."""

    def __init__(self, robot: HardwareRobot, advance: Callable[[], None]) -> None:
        self.robot = robot
        self.advance = advance
        self.tick = 0
        self.states = [robot.safety.state]
        self.publication = 0
        self.rejections: list[Rejection | None] = []

    def run(self, seconds: float, action: Array | None = None) -> None:
        robot = self.robot
        period_ns = round(robot.period_s * 1e9)
        for _ in range(round(seconds / robot.period_s)):
            now_ns = self.tick * period_ns
            robot.core.observed(self.tick, now_ns, self.tick)
            robot.sense()
            self.note()
            if action is not None:
                self.publication += 1
                robot.deliver(Command(self.tick, self.tick, 0, "test", action, self.publication), now_ns + 1000)
                self.note()
            robot.run_period(now_ns)
            self.advance()
            self.tick += 1
            self.note()

    def note(self) -> None:
        if self.robot.safety.state is not self.states[-1]:
            self.states.append(self.robot.safety.state)


def cartpole(cart: CartBus, wired: Wiring | None = None, bus: Bus | None = None, **settings: bool) -> Bench:
    robot = HardwareCartpole(
        cartpole_task(),
        CartpoleDriverSettings(),
        HardwareSettings(**settings),
        wired or wiring("cartpole"),
        bus or cart,
    )
    return Bench(robot, lambda: cart.advance(robot.period_s))


def armed(cart: CartBus, bus: Bus | None = None, **safety: object) -> Bench:
    """A cart-pole that is armed.

    Args:
        cart: Of its joints.
        bus: By which the cart's is reached, if it is not that itself.
        safety: What the wiring says otherwise.
    """
    bench = cartpole(cart, with_safety("cartpole", **safety), bus)
    bench.run(0.1, np.array([1.0]))
    assert bench.robot.request(SafetyRequest.ARM, "me") == ""
    bench.run(0.6)
    assert bench.robot.safety.state is Safety.ARMED
    return bench


class LegsBus:
    """Twelve joints that stay wherever they are put, each exactly where it is told to be, and a trunk that tilts."""

    def __init__(self) -> None:
        self.positions: Array = sitting_stance().ravel()
        self.roll = 0.0
        self.is_on = False
        self.written: list[Array] = []

    def describe(self) -> BusDescription:
        joints = tuple(JointDescription(joint.name, "position", "rad", "") for joint in wiring("stoch2").joints)
        return BusDescription(joints, has_imu=True)

    def connect(self) -> None:
        pass

    def read(self) -> Reading:
        orientation = np.array([math.cos(0.5 * self.roll), math.sin(0.5 * self.roll), 0.0, 0.0])
        down = 9.81 * np.array([0.0, math.sin(self.roll), math.cos(self.roll)])
        return Reading(
            self.positions.copy(),
            np.zeros(12),
            np.zeros(12),
            np.zeros(12),
            ImuReading(orientation, np.zeros(3), down, 0.0),
        )

    def write(self, values: Array) -> Array:
        self.is_on = True
        self.positions = values.copy()
        self.written.append(self.positions)
        return values

    def stop(self) -> None:
        self.is_on = False

    def disconnect(self) -> None:
        pass

    def counters(self) -> Mapping[str, object]:
        return {}


def stoch2(*, quick: bool = True) -> tuple[Bench, SimulatedStoch2Bus]:
    noise = np.random.default_rng(0)
    bus = SimulatedStoch2Bus("mujoco", RobotParameters(), SensingParameters(foot_sensors=False), noise)
    durations = {"stand_up_s": 0.5, "brake_s": 0.2, "stop_s": 0.2} if quick else {}
    setup = _setup(WalkingSettings(**durations))
    robot = HardwareStoch2(setup, HardwareSettings(), wiring("stoch2"), bus)
    return Bench(robot, lambda: bus.advance(np.zeros((1, 3)))), bus


def legs(bus: LegsBus, **safety: object) -> Bench:
    """A Stoch2 whose legs somebody can move by hand.

    Args:
        bus: Of its joints.
        safety: What the wiring says otherwise.
    """
    wired = with_safety("stoch2", **safety)
    return Bench(HardwareStoch2(_setup(WalkingSettings()), HardwareSettings(), wired, bus), lambda: None)


def _setup(walking: WalkingSettings) -> Stoch2Setup:
    return Stoch2Setup(
        Stoch2DriverSettings(autonomous=False),
        RobotParameters(),
        SensingParameters(ideal_sensing=False, foot_sensors=False),
        walking,
        CommandSettings(),
        LeashSettings(),
    )
