"""What the hardware tests share: emulated robots in a thread, and wirings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from demo_control.hardware.bus import Bus, Reading
from demo_control.hardware.emulation.emulator import Emulator
from demo_control.hardware.emulation.faults import FaultSettings
from demo_control.hardware.emulation.plant import Drive, PlantState
from demo_control.hardware.wiring import Wiring, load_wiring
from demo_control.tasks import Array

TWO_SERVOS = {
    "robot": "bench-01",
    "task": "bench",
    "buses": {
        "arm": {
            "kind": "dynamixel",
            "port": "/dev/null",
            "baud_rate": 1_000_000,
            "watchdog_ms": 1000,
            # Two processes of a busy machine, not two devices.
            "read_limit_ms": 50.0,
            "health_every_ticks": 3,
            "joints": {
                "shoulder": {"id": 3, "model": "xm430-w350", "sign": -1, "offset_rad": 0.5},
                "elbow": {"id": 4, "model": "xm540-w150", "minimum_rad": -1.0, "maximum_rad": 1.0, "torque_nm": 2.0},
            },
        }
    },
}


class StillPlant:
    """Joints that are where they are told to be at once, and rest otherwise."""

    joints = ("shoulder", "elbow")
    step_s = 0.002

    def __init__(self) -> None:
        self.positions = np.array([0.25, -0.5])
        self.velocities: Array = np.zeros(2)
        self.drives: tuple[Drive, ...] = ()

    def state(self) -> PlantState:
        return PlantState(self.positions, self.velocities, np.array([0.5, -0.25]))

    def advance(self, drives: list[Drive]) -> None:
        self.drives = tuple(drives)
        for column, drive in enumerate(drives):
            if drive.kind == "position":
                self.positions[column] = drive.target

    def verdict(self) -> dict[str, object]:
        return {}


class Bench:
    """An emulator that runs in a thread of this process."""

    def __init__(self, folder: Path, content: dict[str, object], faults: FaultSettings, seed: int = 0) -> None:
        source = folder / "source.yaml"
        source.write_text(yaml.safe_dump(content, sort_keys=False))
        self.plant = StillPlant()
        self.emulator = Emulator(load_wiring(source), self.plant, faults, seed)
        path = folder / "wiring.yaml"
        path.write_text(self.emulator.wiring_text())
        self.wiring: Wiring = load_wiring(path)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self.emulator.run, args=(lambda: not self._ended.is_set(),))
        self._thread.start()

    @property
    def port(self) -> str:
        return self.emulator.lines["arm"].terminal.path

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self.emulator.close()


def heard(bus: Bus) -> Reading:
    """A reading in which all joints have spoken: on a busy machine not every answer comes in time."""
    for _ in range(200):
        reading = bus.read()
        if not reading.ages_s.any():
            return reading
    pytest.fail("not all joints answer")


MakeBench = Callable[..., Bench]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[MakeBench]:
    benches: list[Bench] = []

    def make(content: dict[str, object] | None = None, seed: int = 0, **faults: float) -> Bench:
        benches.append(Bench(tmp_path, content or TWO_SERVOS, FaultSettings(**faults), seed))
        return benches[-1]

    yield make
    for one in benches:
        one.close()
