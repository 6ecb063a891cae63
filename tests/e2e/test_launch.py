"""democtl launch as a user calls it: results, errors, interruptions, and what is left behind."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from demo_control.bringup.shared_memory import segments_in_use, segments_of
from demo_control.bundle import default_bundle
from demo_control.network import TRANSPORTS

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.ros,
    pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="ROS 2 is not installed"),
    pytest.mark.skipif(not default_bundle("cartpole").is_dir(), reason="no bundle of the cart-pole is shipped"),
]

DEMOCTL = [sys.executable, "-m", "demo_control.cli.main"]
NODES = ("cartpole_driver", "demo_layer_node", "policy_node")
KEYS = {
    "task", "use_layer", "duration_s", "success", "upright_fraction_last_10s", "observations", "commands", "plans",
    "plan_ms", "command_age_ms", "overruns", "fallbacks", "exit_codes", "seed", "simulator", "cost", "return",
}  # fmt: skip

Launch = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def environment() -> dict[str, str]:
    return dict(os.environ)


@pytest.fixture
def shared_memory(environment: dict[str, str]) -> None:
    """Fast DDS's own way between processes, for which a user has asked: what dead ones leave there is removed."""
    environment[TRANSPORTS] = "DEFAULT"


@pytest.fixture
def launch(environment: dict[str, str], tmp_path: Path) -> Iterator[Launch]:
    """Starts ``democtl launch``; whatever is left is killed after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [*DEMOCTL, "launch", *arguments],
                env=environment,
                cwd=tmp_path,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def children(process: subprocess.Popen[str]) -> dict[str, int]:
    """Process numbers of the nodes by name."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and parent_of(entry) == process.pid:
            line = (entry / "cmdline").read_bytes().decode().split("\0")
            names = [word.removeprefix("__node:=") for word in line if word.startswith("__node:=")]
            found.update({name: int(entry.name) for name in names})
    return found


def parent_of(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1


def alive(process_id: int) -> bool:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.02)


def wait_until_running(process: subprocess.Popen[str]) -> dict[str, int]:
    """Wait until all nodes are active; returns their process numbers by name."""

    assert process.stderr is not None
    for line in process.stderr:
        # --verbose: the policy is activated last, when all nodes are configured and have met.
        if "policy_node]: activate: done" in line:
            return children(process)
    pytest.fail(f"democtl ended with exit code {process.wait()}")


def test_the_demonstration_succeeds_and_reports_one_json_object(launch: Launch) -> None:
    process = launch("cartpole_swingup", "--seed", "3", "--json", "-")
    out, errors = process.communicate(timeout=90)

    assert process.returncode == 0, errors
    summary = json.loads(out)
    assert set(summary) >= KEYS
    assert summary["success"] is True
    assert summary["upright_fraction_last_10s"] == 1.0
    assert summary["duration_s"] == pytest.approx(20.0, abs=0.05)
    assert summary["exit_codes"] == dict.fromkeys(NODES, 0)
    assert (summary["task"], summary["use_layer"], summary["seed"]) == ("cartpole", True, 3)
    assert summary["observations"] == pytest.approx(1001, abs=10)
    assert summary["commands"] >= 0.95 * summary["observations"]
    assert 0.0 < summary["plan_ms"]["p50"] <= summary["plan_ms"]["p99"]
    assert 0.0 < summary["command_age_ms"]["p50"] < 20.0


def test_without_the_layer_the_policy_commands_directly(launch: Launch, tmp_path: Path) -> None:
    bundle = str(default_bundle("cartpole_sac"))
    arguments = ("--use-layer", "false", "--bundle", bundle, "--duration", "5", "--json", "result.json")
    process = launch("cartpole_swingup", *arguments)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 0, errors
    summary = json.loads((tmp_path / "result.json").read_text())
    assert (summary["use_layer"], summary["plans"], summary["fallbacks"]) == (False, 0, {})
    assert summary["plan_ms"] == {"p50": None, "p99": None}
    assert set(summary["exit_codes"]) == {"cartpole_driver", "policy_node"}
    assert summary["commands"] > 200
    assert summary["time_upright_s"] < 4.5, "this policy needs no layer"
    assert "policy alone" in errors


def test_simulated_time_runs_faster_on_demand(launch: Launch) -> None:
    arguments = ("--use-layer", "false", "--duration", "8", "--real-time-factor", "4", "--json", "-")
    out, errors = launch("cartpole_swingup", *arguments).communicate(timeout=60)

    summary = json.loads(out or errors)
    assert summary["duration_s"] == pytest.approx(8.0, abs=0.1)
    assert summary["wall_time_s"] < 6.0


def test_a_node_that_refuses_to_configure_fails_the_bringup_with_its_reason(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("demo_layer_node: {ros__parameters: {step_size: 7.5}}")
    process = launch("cartpole_swingup", "--parameters", "bad.yaml", "--json", "-")
    out, errors = process.communicate(timeout=60)

    assert process.returncode == 1
    assert out == ""
    assert "demo_layer_node did not configure" in errors
    assert "step_size = 7.5: must be between 0 and 1" in errors
    assert "Traceback" not in errors


@pytest.mark.usefixtures("shared_memory")
def test_one_signal_ends_everything_and_leaves_nothing(launch: Launch) -> None:
    process = launch("cartpole_swingup", "--verbose")
    nodes = wait_until_running(process)
    segments = set().union(*(segments_of(node) for node in [*nodes.values(), process.pid]))
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)

    assert process.returncode == 130
    assert time.monotonic() - began < 5.0
    assert "interrupted, all nodes have ended" in errors
    assert "Traceback" not in errors
    assert_nothing_left(nodes, segments)


@pytest.mark.usefixtures("shared_memory")
def test_a_dead_node_fails_the_bringup_and_leaves_nothing(launch: Launch) -> None:
    victim = "demo_layer_node"
    process = launch("cartpole_swingup", "--verbose")
    nodes = wait_until_running(process)
    segments = set().union(*(segments_of(node) for node in [*nodes.values(), process.pid]))
    os.kill(nodes[victim], signal.SIGKILL)
    _, errors = process.communicate(timeout=30)

    assert process.returncode == 1
    assert f"node {victim} ended unexpectedly (signal SIGKILL); it said last:" in errors
    assert "Traceback" not in errors
    assert_nothing_left(nodes, segments)


def test_nodes_end_when_democtl_is_killed(launch: Launch) -> None:
    process = launch("cartpole_swingup", "--verbose")
    nodes = wait_until_running(process)
    process.kill()

    wait_until(lambda: not any(map(alive, nodes.values())), "the nodes' end", 10.0)


def test_a_second_robot_in_the_same_domain_is_refused(launch: Launch) -> None:
    first = launch("cartpole_swingup", "--verbose")
    wait_until_running(first)
    second = launch("cartpole_swingup", "--duration", "3")
    _, errors = second.communicate(timeout=60)

    assert second.returncode == 1
    assert "set ROS_DOMAIN_ID" in errors
    assert first.poll() is None


@pytest.mark.parametrize("domain", ["abc", "300"])
def test_what_is_no_domain_is_refused_in_one_line(launch: Launch, environment: dict[str, str], domain: str) -> None:
    environment["ROS_DOMAIN_ID"] = domain
    process = launch("cartpole_swingup", "--duration", "1")
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 2
    assert errors.strip() == f"democtl: ROS_DOMAIN_ID = '{domain}': must be a number between 0 and 232"


def assert_nothing_left(nodes: dict[str, int], segments: set[str]) -> None:
    assert not [name for name, process_id in nodes.items() if alive(process_id)]
    assert segments
    # Other robots' tests may use the same names of ports meanwhile; what they use is not left over.
    assert not [name for name in segments - segments_in_use() if Path("/dev/shm", name).exists()]


@pytest.mark.parametrize("composed", ["none", "all"])
def test_a_recorded_run_is_answered_again_bit_for_bit(launch: Launch, tmp_path: Path, composed: str) -> None:
    arguments = ("--duration", "4", "--seed", "3", "--record", "bag", "--json", "-", "--composed", composed)
    out, errors = launch("cartpole_swingup", *arguments).communicate(timeout=90)
    recording = json.loads(out or errors)["recording"]
    assert (recording["complete"], recording["missing"], recording["gaps"]) == (True, {}, {})

    evaluation = subprocess.run(
        [*DEMOCTL, "bag", "evaluate", "bag", "--json", "-"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    report = json.loads(evaluation.stdout or evaluation.stderr)
    assert report["bit_exact"] is True
    assert report["actions"] == json.loads(out)["commands"] > 150
    assert report["identical_plans"] == report["plans"]
    assert report["warnings"] == []
    # Judged by what the driver said it carried out: only then is the model right over its horizon.
    assert report["closeness"]["of"] == "applied_action"
    assert report["model_error"]["horizon_count"] > 100
    assert report["model_error"]["relative"]["horizon"] < 0.5
    assert report["correction_value"]["followed"] > 100


def test_a_killed_recorder_does_not_end_the_run(launch: Launch, tmp_path: Path) -> None:
    process = launch("cartpole_swingup", "--duration", "4", "--record", "bag", "--json", "result.json", "--verbose")
    nodes = wait_until_running(process)
    assert "recorder_node" in nodes
    wait_until(lambda: (tmp_path / "bag" / "bag_0.mcap").stat().st_size > 5000, "a flush")
    os.kill(nodes["recorder_node"], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 0, errors
    summary = json.loads((tmp_path / "result.json").read_text())
    assert summary["duration_s"] == pytest.approx(4.0, abs=0.1)
    assert summary["recording"]["complete"] is False
    assert summary["recording"]["messages"] > 0
