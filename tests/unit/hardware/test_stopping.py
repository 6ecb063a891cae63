"""How real robots stop when they are disarmed, or their driver ends."""

from __future__ import annotations

import numpy as np
import pytest

from demo_control.drivers.safety import Safety, SafetyRequest
from demo_control.drivers.walking import Request, Walking
from demo_control.tasks import Array
from stoch2_sim.drivers.hardware_stoch2 import HardwareStoch2
from stoch2_sim.drivers.simulated_stoch2_bus import SimulatedStoch2Bus
from stoch2_sim.drivers.stoch2_motion import tread

from .robot_benches import Bench, stoch2

_TREADING = tread(np.zeros(0))


def _walking(action: Array) -> tuple[Bench, HardwareStoch2, SimulatedStoch2Bus]:
    """A Stoch2 that has walked for 2 s, and stops as slowly as it does by default."""
    bench, bus = stoch2(quick=False)
    robot = bench.robot
    assert isinstance(robot, HardwareStoch2)
    robot.request(SafetyRequest.ARM, "me")
    bench.run(2.1, action)
    robot.ask(Request.STAND_UP, "me")
    bench.run(1.7, action)
    assert robot.ask(Request.WALK, "me") == ""
    bench.run(2.0, action)
    assert robot.machine.state is Walking.WALKING
    return bench, robot, bus


@pytest.mark.parametrize("ends", ["disarmed", "run over"])
def test_a_stoch2_that_treads_stays_where_it_is_while_it_stops(ends: str) -> None:
    bench, robot, bus = _walking(_TREADING)
    if ends == "run over":
        robot.core.finish("run_over", 0)
    assert robot.request(SafetyRequest.DISARM, "me") == ""
    start = bus.truth().position[0, 0]
    bench.run(1.5, _TREADING)
    assert robot.safety.state is Safety.STOPPING
    # Half-length steps would take it 0.35 m forward.
    assert abs(bus.truth().position[0, 0] - start) < 0.05
    bench.run(2.0)
    assert robot.safety.state is Safety.IDLE


def test_a_stoch2_that_walks_comes_to_a_stop_without_falling() -> None:
    bench, robot, bus = _walking(np.zeros(20))
    assert robot.request(SafetyRequest.DISARM, "me") == ""
    bench.run(0.5)
    braked = bus.truth().position[0, 0]
    bench.run(0.5)
    assert abs(bus.truth().position[0, 0] - braked) < 0.05
    bench.run(3.0)
    assert bench.states[-2:] == [Safety.STOPPING, Safety.IDLE]
