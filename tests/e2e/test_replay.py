"""democtl launch replay as a user calls it: live nodes on a recording, compared, recorded again, and ended cleanly."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from demo_control.bags.evaluation import Request, evaluate_bag
from demo_control.bags.info import bag_info
from demo_control.bundle import default_bundle

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.ros,
    pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="ROS 2 is not installed"),
    pytest.mark.skipif(not default_bundle("cartpole").is_dir(), reason="no bundle of the cart-pole is shipped"),
]


def democtl(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    domain = str(random.SystemRandom().randint(1, 101))
    environment = {**os.environ, "ROS_DOMAIN_ID": domain, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    command = [sys.executable, "-m", "demo_control.cli.main", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=100
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds a run of four seconds."""
    folder = tmp_path_factory.mktemp("runs")
    result = democtl(folder, "launch", "cartpole_swingup", "--duration", "4", "--seed", "3", "--record", "bag")
    assert result.returncode == 0, result.stderr
    return folder


def test_the_layer_answers_a_recording_live(folder: Path) -> None:
    result = democtl(folder, "launch", "replay", "--bag", "bag", "--record", "again", "--json", "-")
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)

    assert (summary["task"], summary["seed"], summary["real_time_factor"]) == ("cartpole", 3, 1.0)
    assert summary["duration_s"] == pytest.approx(4.0, abs=0.1)
    assert summary["exit_codes"] == {"demo_layer_node": 0, "player_node": 0, "recorder_node": 0}
    assert summary["recorded_commands"] > 150
    assert summary["compared_commands"] > 0.5 * summary["recorded_commands"]
    assert summary["plans"] > 50
    assert 0.0 <= summary["command_difference_share"] < 1.0
    assert summary["recording_complete"] is True
    assert any("live timing" in note for note in summary["notes"])

    topics = {topic["name"]: topic["messages"] for topic in bag_info(folder / "again")["topics"]}
    assert topics["/clock"] > 100
    assert topics["/recorded/action"] > 0.5 * summary["recorded_commands"]
    assert topics["/action"] == summary["live_commands"]
    # What was commanded live can itself be answered again.
    assert evaluate_bag(Request(folder / "again"))["bit_exact"] is True


def test_the_policy_answers_faster_than_it_was_recorded(folder: Path) -> None:
    arguments = ("--bag", "bag", "--policy", "true", "--use-layer", "false", "--rate", "2", "--json", "-")
    result = democtl(folder, "launch", "replay", *arguments)
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)

    assert summary["wall_time_s"] < summary["duration_s"]
    assert summary["exit_codes"] == {"player_node": 0, "policy_node": 0}
    assert summary["live_commands"] > 50


def test_a_bad_recording_starts_nothing(folder: Path, tmp_path: Path) -> None:
    content = next((folder / "bag").glob("*.mcap")).read_bytes()
    (tmp_path / "cut.mcap").write_bytes(content[:100])
    result = democtl(tmp_path, "launch", "replay", "--bag", "cut.mcap", "--verbose")

    assert result.returncode == 2
    assert result.stderr.splitlines() == ["democtl: no message on /observation: there is nothing to play"]
