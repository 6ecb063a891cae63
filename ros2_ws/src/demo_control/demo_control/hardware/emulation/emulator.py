"""Runs emulated devices on pseudo-terminals, in real time."""

from __future__ import annotations

import contextlib
import heapq
import os
import select
import time
import tty
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import yaml

from demo_control.hardware.emulation.devices import Device, columns_of, make_device
from demo_control.hardware.emulation.faults import FaultSettings, FaultyLine
from demo_control.hardware.emulation.plant import Drive, EmulatedPlant
from demo_control.hardware.wiring import BusWiring, JointWiring, Wiring
from demo_control.security.environment import refuse_secured
from demo_control.yaml_reader import read_yaml

if TYPE_CHECKING:
    from demo_control.hardware.emulation.ros2_control_side import Ros2ControlSide

_LARGEST_READ = 4096
_ROS = "ros2_control"
# Of a joint's range: more than a device's resolution.
_TOLERANCE = 0.01
# A machine that stood still this many steps goes on from there instead of catching up.
_LARGEST_BACKLOG = 20


class PseudoTerminal:
    """A serial line without a wire: what is written to its path arrives here, and the other way round."""

    def __init__(self) -> None:
        self.descriptor, self._other_end = os.openpty()
        # The other end stays open here, too: otherwise a program that closes it would end the line.
        tty.setraw(self._other_end)
        os.set_blocking(self.descriptor, False)
        self.path = os.ttyname(self._other_end)

    def read(self) -> bytes:
        """What has come."""
        try:
            return os.read(self.descriptor, _LARGEST_READ)
        except BlockingIOError:
            return b""

    def write(self, data: bytes) -> None:
        """Send; what does not fit because nobody reads is lost, as on a wire."""
        with contextlib.suppress(BlockingIOError):
            os.write(self.descriptor, data)

    def close(self) -> None:
        """End the line."""
        os.close(self.descriptor)
        os.close(self._other_end)


class Line:
    """A pseudo-terminal, the devices on it, and what goes wrong in between.

    Args:
        device: All devices of the line.
        faults: What happens to frames.
        generator: Draws the faults.
    """

    def __init__(self, device: Device, faults: FaultSettings, generator: np.random.Generator) -> None:
        self.device = device
        self.terminal = PseudoTerminal()
        to_device, to_host = generator.spawn(2)
        self.to_device, self.to_host = FaultyLine(to_device, faults), FaultyLine(to_host, faults)
        self._queue: list[tuple[float, int, bool, bytes]] = []
        self._queued = 0

    def receive(self, now_s: float) -> None:
        """Take what the host has written; a write is a frame."""
        data = self.terminal.read()
        if data:
            for delay_s, piece in self.to_device.carry(data):
                self._push(now_s + delay_s, True, piece)

    def send(self, frames: list[tuple[float, bytes]], now_s: float) -> None:
        """Put frames of the devices on the line."""
        for delay_s, frame in frames:
            for late_s, piece in self.to_host.carry(frame):
                self._push(now_s + delay_s + late_s, False, piece)

    def _push(self, due_s: float, to_device: bool, data: bytes) -> None:
        heapq.heappush(self._queue, (due_s, self._queued, to_device, data))
        self._queued += 1

    @property
    def due_s(self) -> float:
        """When the next bytes arrive somewhere."""
        return self._queue[0][0] if self._queue else float("inf")

    def carry_on(self, now_s: float) -> None:
        """Let everything arrive that is due."""
        to_host = b""
        while self._queue and self._queue[0][0] <= now_s:
            _, _, to_device, data = heapq.heappop(self._queue)
            if to_device:
                self.send(self.device.receive(data, now_s), now_s)
            else:
                to_host += data
        if to_host:
            self.terminal.write(to_host)


class Emulator:
    """A robot's devices and the plant that they are on.

    Args:
        wiring: Of the robot; its ports are not used.
        plant: Moves.
        faults: On every line.
        seed: Of the faults.

    Raises:
        ConfigurationError: The wiring does not fit the plant, or a kind of bus is not emulated.
    """

    def __init__(self, wiring: Wiring, plant: EmulatedPlant, faults: FaultSettings, seed: int) -> None:
        self._plant = plant
        self._wiring = wiring
        generators = np.random.default_rng(seed).spawn(len(wiring.buses))
        self.lines = {
            bus.name: Line(make_device(bus, plant.joints), faults, generator)
            for bus, generator in zip(wiring.buses, generators, strict=True)
            if bus.kind != _ROS
        }
        self._sides = [_ros_side(bus, plant.joints) for bus in wiring.buses if bus.kind == _ROS]
        self.steps = 0
        self.late_steps = 0
        self.outside_limits = 0
        """Steps of joints that were told to be, or to give, more than the wiring allows."""

    def wiring_text(self) -> str:
        """The wiring as YAML, with the pseudo-terminals as ports."""
        whole = read_yaml(self._wiring.path)
        content = dict(whole.values)
        ports = {name: {"port": line.terminal.path} for name, line in self.lines.items()}
        content["buses"] = {name: {**one.values, **ports.get(name, {})} for name, one in whole.sections("buses")}
        return yaml.safe_dump(content, sort_keys=False)

    def run(self, goes_on: Callable[[], bool]) -> None:
        """Emulate in real time until it shall end."""
        due_s = time.monotonic()
        self._measure(due_s)
        while goes_on():
            wake_s = min([due_s, *(line.due_s for line in self.lines.values())])
            self._listen(max(0.0, wake_s - time.monotonic()))
            now_s = time.monotonic()
            if now_s >= due_s:
                self._step(now_s)
                due_s += self._plant.step_s
                if now_s - due_s > _LARGEST_BACKLOG * self._plant.step_s:
                    self.late_steps += round((now_s - due_s) / self._plant.step_s)
                    due_s = now_s
            for line in self.lines.values():
                line.carry_on(now_s)

    def _listen(self, wait_s: float) -> None:
        """Take what hosts write."""
        by_descriptor = {line.terminal.descriptor: line for line in self.lines.values()}
        ready, _, _ = select.select(list(by_descriptor), [], [], wait_s)
        now_s = time.monotonic()
        for descriptor in ready:
            by_descriptor[descriptor].receive(now_s)

    def _step(self, now_s: float) -> None:
        """Move the plant by a step."""
        drives = [Drive()] * len(self._plant.joints)
        driven = [line.device.drives() for line in self.lines.values()] + [side.drives() for side in self._sides]
        for by_column in driven:
            for column, drive in by_column.items():
                drives[column] = drive
        self._count_outside(drives)
        self._plant.advance(drives)
        self.steps += 1
        self._measure(now_s)

    def _count_outside(self, drives: list[Drive]) -> None:
        """Count the joints that are driven beyond their limits."""
        positions = self._plant.state().positions
        for joint in self._wiring.joints:
            column = self._plant.joints.index(joint.name)
            self.outside_limits += _is_outside(joint, drives[column], float(positions[column]))

    def _measure(self, now_s: float) -> None:
        """Let the devices look at the plant."""
        state = self._plant.state()
        for line in self.lines.values():
            line.send(line.device.step(state, now_s), now_s)
        for side in self._sides:
            side.step(state, now_s)

    def verdict(self) -> Mapping[str, object]:
        """What really happened, and what the lines did to it; ready for JSON."""
        lines = {
            name: {"to_device": dict(line.to_device.counts), "to_host": dict(line.to_host.counts)}
            for name, line in self.lines.items()
        }
        return {
            "steps": self.steps,
            "late_steps": self.late_steps,
            "outside_limits": self.outside_limits,
            "plant": self._plant.verdict(),
            "lines": lines,
        }

    def close(self) -> None:
        """End the lines."""
        for line in self.lines.values():
            line.terminal.close()
        for side in self._sides:
            side.close()


def _is_outside(joint: JointWiring, drive: Drive, position: float) -> bool:
    """Whether a joint is driven beyond its limits; one that lies beyond them may be brought back."""
    if drive.kind == "effort":
        return abs(drive.target) > joint.effort * (1.0 + _TOLERANCE)
    reach = _TOLERANCE * (joint.maximum - joint.minimum)
    low, high = min(joint.minimum, position) - reach, max(joint.maximum, position) + reach
    return drive.kind == "position" and not low <= drive.target <= high


def _ros_side(wiring: BusWiring, joints: tuple[str, ...]) -> Ros2ControlSide:
    """The other side of a bridge."""
    # Only here: emulated devices on wires need no ROS.
    from demo_control.hardware.emulation.ros2_control_side import Ros2ControlSide  # noqa: PLC0415

    refuse_secured("the emulated side of ros2_control")
    return Ros2ControlSide(wiring, columns_of(wiring, joints))
