"""democtl launch stoch2_walk as a user calls it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from demo_control.bundle import default_bundle

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.ros,
    pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="ROS 2 is not installed"),
    pytest.mark.skipif(not default_bundle("stoch2").is_dir(), reason="no bundle of Stoch2 is shipped"),
]

DEMOCTL = [sys.executable, "-m", "demo_control.cli.main"]
NODES = {"stoch2_driver", "demo_layer_node", "policy_node"}
KEYS = {
    "task", "use_layer", "simulator", "seed", "duration_s", "success", "falls", "distance_m", "speed_error_rms",
    "yaw_rate_error_rms", "pushes", "plans", "plan_ms", "command_age_ms", "overruns", "fallbacks", "missed_ticks",
    "worst_lateness_ms", "processor_cores", "exit_codes",
}  # fmt: skip


def test_it_stands_up_walks_and_stops_by_itself(tmp_path: Path) -> None:
    arguments = ("--duration", "6", "--slope", "5", "--command", "0.3,0", "--seed", "2", "--json", "result.json")
    done = subprocess.run(
        [*DEMOCTL, "launch", "stoch2_walk", *arguments], cwd=tmp_path, text=True,
        capture_output=True, check=False, timeout=90,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "result.json").read_text())
    assert set(summary) >= KEYS
    assert (summary["success"], summary["falls"], summary["seed"]) == (True, 0, 2), summary
    assert summary["duration_s"] == pytest.approx(6.0, abs=0.05)
    assert 0.2 < summary["distance_m"] < 1.6
    assert summary["plans"] > 20
    # A machine that stood still for moments answers fewer: a robot that walked has most of them all the same.
    assert summary["commands"] > 0.5 * summary["observations"]
    assert set(summary["processor_cores"]) == {*NODES, "democtl", "total"}
    assert summary["exit_codes"] == dict.fromkeys(NODES, 0)
    assert "policy + DeMo Layer" in done.stderr
    assert "distance m" in done.stderr
