"""What the bring-up's monitor makes of messages that are not its nodes', or not as they should be."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_support import Peer
from std_msgs.msg import String

from demo_control.bringup import run as run_module
from demo_control.bringup.description import load_recipe
from demo_control.bringup.monitor import Monitor
from demo_control.bringup.run import Run, Signals

pytestmark = pytest.mark.ros

DRIVER = "/cartpole_driver"


class Others:
    """Publishes what others may, and lets the monitor hear it."""

    def __init__(self, peer: Peer, monitor: Monitor) -> None:
        self._peer, self._monitor = peer, monitor
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._diagnostics = peer.node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._result = peer.node.create_publisher(String, "run_result", latched)
        matched = (self._diagnostics.get_subscription_count, self._result.get_subscription_count)
        peer.wait_until(lambda: all(count() for count in matched), "the monitor")

    def tell(self, name: str, **values: str) -> None:
        pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
        self._diagnostics.publish(DiagnosticArray(status=[DiagnosticStatus(name=name, message="told", values=pairs)]))

    def tell_result(self, text: str) -> None:
        self._result.publish(String(data=text))

    def wait_for(self, name: str, **values: str) -> None:
        """Tell it as a node of the run, and wait until it is heard: all before has been heard, too."""
        self._monitor.health.clear()
        self.tell(name, **values)

        def heard() -> bool:
            self._monitor.spin(0.02)
            return name.lstrip("/") in self._monitor.health

        self._peer.wait_until(heard, f"diagnostics of {name}")


@pytest.fixture
def monitor(bundle_directory: Path) -> Iterator[Monitor]:
    recipe = load_recipe("cartpole_swingup")
    made = Monitor(recipe.make(recipe.arguments(bundle=str(bundle_directory))))
    yield made
    made.close()


def test_diagnostics_of_others_are_not_this_runs(peer: Peer, monitor: Monitor) -> None:
    others = Others(peer, monitor)
    others.tell("camera", played_s="n/a")
    others.tell("camera", real_time="yes", played_s="7.0")
    others.wait_for(DRIVER, real_time="SCHED_FIFO", real_time_refused="locked memory")

    assert set(monitor.health) == {DRIVER.lstrip("/")}
    assert set(monitor.real_time) == {DRIVER.lstrip("/")}
    assert monitor.elapsed_s() == 0.0


def test_what_is_not_as_it_should_be_is_left_out(peer: Peer, monitor: Monitor) -> None:
    """Whoever has the name of one of the run's nodes."""
    others = Others(peer, monitor)
    others.wait_for(DRIVER, played_s="2.5", real_time="SCHED_FIFO")
    for played in ("n/a", "nan", ""):
        others.wait_for(DRIVER, played_s=played)

    assert monitor.elapsed_s() == 2.5
    assert monitor.real_time == {DRIVER.lstrip("/"): "SCHED_FIFO"}


def test_a_run_that_is_over_before_anybody_listens_has_its_drivers_figures(peer: Peer, monitor: Monitor) -> None:
    recipe = load_recipe("cartpole_swingup")
    bringup = recipe.make(recipe.arguments())
    driver = SimpleNamespace(description=bringup.nodes[0], exit_code=0)
    supervisor: Any = SimpleNamespace(ended=lambda *, of_control: driver)
    Others(peer, monitor).tell_result(json.dumps({"success": False}))
    Run(bringup, supervisor, monitor, Signals()).finish(lambda _elapsed_s: None)

    assert monitor.figures() == {"success": False}


def test_a_clock_that_is_set_back_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stamps of a real robot are of the computer's clock."""
    monkeypatch.setattr(run_module, "_STALL_TIMEOUT_S", 0.5)
    recipe = load_recipe("cartpole_swingup")
    bringup = recipe.make(recipe.arguments())
    driver = SimpleNamespace(description=bringup.nodes[0], exit_code=0)
    heard_s = iter([*np.arange(100.0, 100.5, 0.1), *np.arange(40.0, 41.5, 0.1)])
    over: list[float] = []

    def elapsed_s() -> float:
        value = next(heard_s, None)
        over.extend([] if value is not None else [1.0])
        return 41.5 if value is None else float(value)

    supervisor: Any = SimpleNamespace(
        ended=lambda *, of_control: driver if over else None, note_segments=lambda: None, process_ids=dict
    )
    monitor: Any = SimpleNamespace(
        elapsed_s=elapsed_s, spin=time.sleep, figures=lambda: {"success": True}, health={}, unmatched=list
    )
    told: list[float] = []
    Run(bringup, supervisor, monitor, Signals()).finish(told.append)
    assert max(told) == pytest.approx(100.4)
    assert told[-1] == 41.5


def test_a_result_that_is_no_object_is_left_out(peer: Peer, monitor: Monitor) -> None:
    others = Others(peer, monitor)
    others.tell_result(json.dumps({"falls": 0}))

    def heard() -> bool:
        monitor.spin(0.02)
        return bool(monitor.figures())

    peer.wait_until(heard, "the result")
    for text in ("done", "[1, 2]", "3"):
        others.tell_result(text)
        for _ in range(10):
            monitor.spin(0.02)

    assert monitor.figures() == {"falls": 0}
