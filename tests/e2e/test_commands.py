"""The commands without ROS, and the demonstration, called as a user calls them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demo_control.bundle import default_bundle

pytestmark = pytest.mark.e2e

DEADLINE_S = 100.0


def democtl(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "demo_control.cli.main", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


def report_of(*arguments: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(democtl(*arguments, "--json", "-").stdout)
    return report


def test_the_policy_alone_fails_and_the_layer_succeeds() -> None:
    """The product's claim, on the shipped bundle with its learned model, in MuJoCo."""
    policy = report_of("evaluate", "cartpole", "--controller", "policy", "--episodes", "20")
    demo = report_of("evaluate", "cartpole", "--controller", "demo", "--episodes", "10")
    assert policy["successes"] <= 1
    assert demo["successes"] >= 9
    assert demo["return_mean"] > policy["return_mean"] + 200.0
    expected = {"task", "controller", "simulator", "episodes", "successes", "success_rate", "return_mean", "return_std"}
    assert expected <= set(demo)


def test_the_number_of_processes_does_not_change_the_result() -> None:
    one, two = (
        report_of("evaluate", "cartpole", "--controller", "policy", "--episodes", "30", "--jobs", jobs)
        for jobs in ("1", "2")
    )
    assert one == two


def test_settings_reach_the_plant() -> None:
    nominal, heavy = (
        report_of("evaluate", "cartpole", "--controller", "policy", "--episodes", "2", *extra)
        for extra in ((), ("--set", "cart_mass=1.5"))
    )
    assert heavy["settings"] == {"cart_mass": 1.5}
    assert heavy["return_mean"] != nominal["return_mean"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "walker"), "task 'walker' is not installed"),
        (("evaluate", "cartpole", "--controller", "pid"), "controller = 'pid': must be one of policy, demo"),
        (("evaluate", "cartpole", "--set", "pole_mas=1.2"), "did you mean 'pole_mass'?"),
        (("evaluate", "cartpole", "--set", "step_size=2"), "must be between 0 and 1"),
        (("evaluate", "cartpole", "--bundle", "nowhere"), "bundle directory 'nowhere' does not exist"),
        (("evaluate", "cartpole", "--preset", "cim"), "preset = 'cim': must be one of"),
        (("evaluate", "cartpole", "--scenario", "walk"), "scenario = 'walk': task 'cartpole' has no scenarios"),
        (("evaluate", "stoch2", "--scenario", "run"), "scenario = 'run': must be one of walk, track, push"),
        (
            ("evaluate", "stoch2", "--scenario", "push", "--set", "push=3"),
            "unknown setting 'push'; did you mean",
        ),
        (("demo", "stoch2", "--set", "first_push=3"), "unknown setting 'first_push'; did you mean 'first_push_n'?"),
        (("demo", "cartpole", "--set", "pole_mass=2"), "--set: task 'cartpole' is shown as it is"),
        (("bundle", "check", "nowhere"), "bundle directory 'nowhere' does not exist"),
        (("demo", "walker"), "task 'walker' is not installed"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_code_2(arguments: tuple[str, ...], message: str) -> None:
    done = democtl(*arguments, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def test_the_shipped_bundle_is_valid_and_a_spoilt_one_is_not(tmp_path: Path) -> None:
    report = report_of("bundle", "check", str(default_bundle("cartpole")))
    assert str(report["rollouts"]).startswith(("native: ", "onnx: native is not possible: "))
    assert report["ok"]
    assert report["task"] == "cartpole"
    shutil.copytree(default_bundle("cartpole"), tmp_path / "spoilt")
    (tmp_path / "spoilt" / "dynamics.onnx").write_bytes(b"no graph")
    done = democtl("bundle", "check", str(tmp_path / "spoilt"), check=False)
    assert done.returncode == 2
    assert "dynamics.onnx: SHA-256" in done.stderr


def test_workers_end_with_an_evaluation_that_is_killed() -> None:
    arguments = ("evaluate", "cartpole", "--controller", "demo", "--episodes", "100", "--jobs", "2")
    command = [sys.executable, "-m", "demo_control.cli.main", *arguments]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        # Two workers, and multiprocessing's resource tracker.
        _wait_until(lambda: len(_children(process.pid)) >= 3, "workers started")
        children = _children(process.pid)
        os.kill(process.pid, signal.SIGKILL)
    _wait_until(lambda: not any(_alive(child) for child in children), "workers ended")


def _wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S:g} s: {what}"
        os.sched_yield()


def _children(process_id: int) -> list[int]:
    threads = Path(f"/proc/{process_id}/task").glob("*/children")
    try:
        return [int(child) for thread in threads for child in thread.read_text().split()]
    except (FileNotFoundError, ProcessLookupError):  # a thread that ended meanwhile
        return []


def _alive(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the latter if it ended between opening and reading
        return False
    return state != "Z"


def test_the_demonstration_leaves_plot_and_video(tmp_path: Path) -> None:
    pytest.importorskip("rclpy")
    pytest.importorskip("demo_msgs")
    report = report_of("demo", "cartpole", "--duration", "2", "--out", str(tmp_path))
    assert report["policy"]["use_layer"] is False
    assert report["demo"]["use_layer"] is True
    assert report["demo"]["plans"] > 50
    assert (tmp_path / "cartpole.png").stat().st_size > 20_000
    assert (tmp_path / "cartpole.mp4").stat().st_size > 10_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cartpole.mp4", "cartpole.png"]


def test_a_scenario_s_report() -> None:
    arguments = ("evaluate", "stoch2", "--controller", "constant", "--scenario", "push", "--episodes", "4")
    report = report_of(*arguments, "--set", "push_n=1000", "--set", "step_length=0.2")
    assert report["falls"] == 4 - report["successes"] == 4
    assert report["settings"]["push_n"] == 1000.0
    assert report["settings"]["latency_ms"] == 20.0
    assert report["recovery_cost_mean"] > 500.0
    assert report["settle_time_s_mean"] is None
    assert [cell["episodes"] for cell in report["cells"]] == [2, 2]


@pytest.mark.ros
def test_the_walk_is_shown_here_and_over_ros(tmp_path: Path) -> None:
    pytest.importorskip("rclpy")
    pytest.importorskip("demo_msgs")
    report = report_of("demo", "stoch2", "--duration", "1.5", "--live", "4", "--out", str(tmp_path))
    assert report["policy"]["plans"] == 0
    assert report["demo"]["plans"] > 10
    assert report["live"]["use_layer"] is True
    assert report["live"]["plans"] > 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["walk.mp4", "walk.png"]
    assert (tmp_path / "walk.mp4").stat().st_size > 10_000


def test_presets_are_printed_from_the_code() -> None:
    table = democtl("presets").stdout
    settings = report_of("presets")
    for name in ("mppi", "cem", "pets", "icem", "polo", "mopac", "mbpo", "topdm", "demo_rl", "demo_layer"):
        assert f" {name} " in table
        assert f"{name} (" in table
        assert {"source", "shift"} <= settings[name].keys()
    assert settings["mbpo"]["mirror_steps"] == 0
    assert "…" not in table
