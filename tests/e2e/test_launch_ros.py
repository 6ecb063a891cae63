"""The real ``ros2 launch``, where launch_ros and the built packages are installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from demo_control.bundle import default_bundle

pytest.importorskip("launch_ros")
get_package_prefix = pytest.importorskip("ament_index_python.packages").get_package_prefix

pytestmark = [pytest.mark.e2e, pytest.mark.ros]

LAUNCH = ["ros2", "launch", "demo_control"]
COMMAND = [*LAUNCH, "cartpole_swingup.launch.py"]


@pytest.fixture(autouse=True)
def installed() -> None:
    if shutil.which("ros2") is None:
        pytest.skip("ros2 is not installed")
    for package in ("demo_control", "stoch2_sim", "demo_msgs"):
        try:
            get_package_prefix(package)
        except LookupError:
            pytest.skip(f"{package} is not built with colcon and sourced")
    for task in ("cartpole", "stoch2"):
        if not default_bundle(task).is_dir():
            pytest.skip(f"no bundle of {task} is shipped")


Launch = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def launch(request: pytest.FixtureRequest) -> Launch:

    def start(*arguments: str, file: str = COMMAND[-1]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*LAUNCH, file, *arguments], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        request.addfinalizer(process.kill)
        return process

    return start


@pytest.mark.parametrize(
    ("file", "own"),
    [("cartpole_swingup", ()), ("stoch2_walk", ("terrain", "slope", "command", "push"))],
)
def test_the_arguments_are_declared(file: str, own: tuple[str, ...]) -> None:
    command = [*LAUNCH, f"{file}.launch.py", "--show-args"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    for name in ("simulator", "use_layer", "seed", "duration", "real_time_factor", "bundle", "record", *own):
        assert f"'{name}'" in shown


def test_it_runs_to_its_end_and_succeeds(launch: Launch) -> None:
    process = launch("seed:=3")
    said, _ = process.communicate(timeout=100)

    assert process.returncode == 0, said
    assert said.count("activate: done") == 2
    assert "run over after 20.00 s: success" in said


@pytest.mark.parametrize("composed", ["policy,layer", "all"])
def test_composed_nodes_activate_themselves_and_run_to_the_end(launch: Launch, composed: str) -> None:
    process = launch("duration:=4.0", f"composed:={composed}")
    said, _ = process.communicate(timeout=100)

    assert process.returncode == 0, said
    assert said.count("activate: done") == 2
    assert "run over after 4.00 s" in said


def test_a_composed_node_that_cannot_be_configured_fails_the_launch(launch: Launch, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("policy_node:\n  ros__parameters:\n    task: nothing\n")
    process = launch("duration:=4.0", "composed:=all", f"parameters:={file}")
    said, _ = process.communicate(timeout=100)

    assert process.returncode != 0
    assert "cannot configure" in said


def test_stoch2_walks(launch: Launch) -> None:
    process = launch("duration:=5.0", "slope:=5.0", "command:=0.3,0.2", file="stoch2_walk.launch.py")
    said, _ = process.communicate(timeout=100)

    assert process.returncode == 0, said
    assert said.count("activate: done") == 2
    assert "sits on ground 'slope 5°'" in said
    assert "run over after 5.00 s: success, walked" in said


def test_sigint_ends_it_cleanly(launch: Launch) -> None:
    process = launch("duration:=60.0")
    assert process.stdout is not None
    for line in process.stdout:
        if "commands arrive" in line:
            break
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=20)

    assert said.count("process has finished cleanly") == 3, said
    assert "Traceback" not in said


@pytest.mark.parametrize("argument", ["bundle:=nowhere", "seed:=x", "simulator:=gazebo", "security:=nowhere"])
def test_a_bad_argument_fails_the_launch(launch: Launch, argument: str) -> None:
    process = launch(argument)
    said, _ = process.communicate(timeout=60)

    assert process.returncode != 0
    assert argument.partition(":=")[0] in said
    assert "process started" not in said


def test_without_the_layer_only_driver_and_policy_run(launch: Launch) -> None:
    process = launch("use_layer:=false", "duration:=1.0")
    said, _ = process.communicate(timeout=60)

    assert process.returncode == 0, said
    assert said.count("process started") == 2
    assert "run over after 1.00 s" in said


def test_a_dead_node_ends_all_and_fails_the_launch(launch: Launch) -> None:
    process = launch("duration:=60.0")
    assert process.stdout is not None
    victim = 0
    for line in process.stdout:
        if "demo_layer_node" in line and "process started with pid" in line:
            victim = int(line.rpartition("[")[2].partition("]")[0])
        if "commands arrive" in line:
            break
    os.kill(victim, signal.SIGKILL)
    said, _ = process.communicate(timeout=20)

    assert process.returncode == 1
    assert "node 'demo_layer_node' ended unexpectedly (exit code -9)" in said
    assert said.count("process has finished cleanly") == 2


def test_a_node_that_refuses_to_configure_fails_the_launch(launch: Launch, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("demo_layer_node: {ros__parameters: {step_size: 7.5}}")
    said, _ = (process := launch(f"parameters:={file}")).communicate(timeout=60)

    assert process.returncode == 1
    assert "step_size = 7.5: must be between 0 and 1" in said
    assert "node 'demo_layer_node' refused a transition" in said
