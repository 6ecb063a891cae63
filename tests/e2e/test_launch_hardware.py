"""democtl launch on emulated devices, whole tasks over the wire with one frame in a hundred corrupt."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from demo_control.bundle import default_bundle

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.ros,
    pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="ROS 2 is not installed"),
    pytest.mark.skipif(not default_bundle("stoch2").is_dir(), reason="no bundle of Stoch2 is shipped"),
]

sys.path.insert(0, str(Path(__file__).parents[1] / "ros"))
if importlib.util.find_spec("rclpy") is not None:
    from hardware_support import emulated

DEMOCTL = [sys.executable, "-m", "demo_control.cli.main"]


def launch(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DEMOCTL, "launch", *arguments], cwd=folder, text=True, capture_output=True, check=False,
        timeout=110,
    )  # fmt: skip


def run(robot: str, bringup: str, folder: Path, *arguments: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The run's own figures, and the emulator's: what really happened."""
    with emulated(robot, folder, "--seed", "1", "--fault", "corrupt=0.01") as one:
        options = ("--hardware", str(one.wiring), "--arm", "true", "--json", "run.json", *arguments)
        done = launch(folder, bringup, *options)
        assert done.returncode == 0, done.stderr
        return json.loads((folder / "run.json").read_text()), one.end()


def test_the_cartpole_swings_up_through_motor_and_encoder(tmp_path: Path) -> None:
    figures, truth = run("cartpole", "cartpole_swingup", tmp_path, "--duration", "14", "--seed", "3")
    plant = truth["plant"]
    # A machine that is busy with other tests loses commands: the pole must be up for some time all the same.
    assert plant["upright_s"] > 3.0, (figures, truth)
    assert not plant["rail_left"]
    assert plant["largest_force_n"] <= 10.1
    assert truth["outside_limits"] == 0
    assert truth["lines"]["encoder"]["to_host"]["corrupt"] > 0
    assert plant["force_at_the_end_n"] == 0.0
    assert figures["commands"] > 300


def test_stoch2_stands_up_walks_stops_and_sits_down_through_twelve_servos(tmp_path: Path) -> None:
    figures, truth = run("stoch2", "stoch2_walk", tmp_path, "--duration", "8", "--command", "0.3,0")
    plant = truth["plant"]
    assert figures["success"], (figures, truth)
    # 1.5 m where nothing is late. A machine that others keep busy loses commands, and the robot slows down: who only
    # stands does not come that far.
    assert plant["distance_m"] > 0.1, (figures, truth)
    assert plant["largest_height_m"] > 0.2
    assert not plant["fell"]
    assert truth["outside_limits"] == 0
    assert truth["lines"]["legs"]["to_host"]["corrupt"] > 0
    # It sat down before its motors were switched off.
    assert plant["torque_at_the_end_nm"] == 0.0
    assert plant["height_at_the_end_m"] < 0.15


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--hardware", "none.yaml"), "hardware = 'none.yaml': no such file"),
        (("--arm", "true"), "arm and dry_run need hardware"),
    ],
)
def test_what_cannot_work_is_told_before_anything_starts(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = launch(tmp_path, "cartpole_swingup", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
