"""A few cases of the fault campaign as they are: real processes over real DDS."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from demo_control.faults.bringup import RELAY
from demo_control.faults.campaign import Campaign
from demo_control.faults.judge import Sent
from demo_control.faults.report import summary
from demo_control.faults.rig import Rig
from demo_control.faults.table import RISING, Case, cases

pytestmark = pytest.mark.ros

CHOSEN = ("lose_commands_all", "command_huge", "kill_policy")


def test_faults_are_survived_within_the_limits_and_results_are_kept(tmp_path: Path) -> None:
    chosen = [case for case in cases(["cartpole"]) if case.phase == RISING and case.fault.name in CHOSEN]
    told: list[str] = []

    def tell(case: Case, _result: dict[str, object]) -> None:
        told.append(case.name)

    results = Campaign(chosen, tmp_path, 1, tell).run()
    total = summary(results)
    assert told == [case.name for case in chosen]
    assert total["cases"] == len(CHOSEN)
    assert total["failures"] == []
    assert total["commands_outside_limits"] == total["unsafe"] == 0
    assert 100.0 <= total["time_to_safe_ms"]["max"] <= 120.0
    assert all(result["outputs"] > 20 and (result["recovered"] or result["latched"]) for result in results)

    again = Campaign(chosen, tmp_path, 1, tell)
    assert again.finished == len(CHOSEN)
    assert again.run() == results
    assert len(told) == len(CHOSEN), "what has a result is not run again"


def test_what_stands_between_the_nodes_runs_before_them(priority_permitted: bool) -> None:
    """All of its threads: with those in which DDS receives left out, programs that start made it late for 0.1 s."""
    with Rig("cartpole", 1, pushed=False, check=lambda: None) as rig:
        process = rig.supervisor.process(RELAY).process_id
        threads = [int(name) for name in os.listdir(f"/proc/{process}/task")]
        policies = [os.sched_getscheduler(thread) for thread in threads]

    assert len(threads) > 3
    assert set(policies) == {os.SCHED_FIFO if priority_permitted else os.SCHED_OTHER}


def test_a_robot_that_cannot_be_set_up_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("demo_control.faults.running_robot.default_bundle", lambda _: tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        Rig("cartpole", 0, pushed=False, check=lambda: None)
    assert list(tmp_path.iterdir()) == []


class Lagging(Rig):
    """A rig whose observer is behind by some outputs, and of which more come with every look."""

    def __init__(self, behind: int) -> None:
        super().__init__("cartpole", 0, pushed=False, check=lambda: None)
        self._next_s = (time.time_ns() - self._origin_ns) / 1e9 - 0.02 * behind

    def spin(self, timeout_s: float) -> None:
        """One output at a time."""
        assert timeout_s == 0.0
        self.log.append(Sent(self._next_s, (0.0,), "demo_layer", len(self.log)))
        self._next_s += 0.02


def test_outputs_that_wait_are_taken_in_before_they_are_counted_and_those_to_come_are_not_waited_for() -> None:
    rig = Lagging(behind=50)
    try:
        assert 50 <= rig.outputs_until_now() <= 60
    finally:
        rig.close()
