"""Node processes: their last words, their end, and what is left of them."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from demo_control.bringup.description import BringUp, BringUpArguments, NodeDescription
from demo_control.bringup.process import NodeProcess, command_line, end_all
from demo_control.bringup.shared_memory import remove_leftovers, segments_of
from demo_control.bringup.supervisor import write_parameters

OBEDIENT = "import time; print('ready', flush=True); time.sleep(60)"
DEAF = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
DEAFER = DEAF + "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
SLEEP = "print('ready', flush=True)\ntime.sleep(60)"
DYING = "print('first'); print('the reason'); raise SystemExit(3)"

RESTING = """
import signal, sys, time

def rest(_number, _frame):
    time.sleep(1.5)
    sys.exit(0)

signal.signal(signal.SIGINT, rest)
"""

Make = Callable[..., NodeProcess]


def wait_until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Starts a module of the given text as a node."""
    processes: list[NodeProcess] = []

    def start(text: str, rest_s: float = 0.0) -> NodeProcess:
        (tmp_path / "node_for_tests.py").write_text(text)
        description = NodeDescription("p", "e", "node_for_tests", "node_for_tests", rest_s=rest_s)
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONUNBUFFERED": "1"}
        processes.append(NodeProcess(description, tmp_path / "parameters.yaml", environment))
        return processes[-1]

    yield start
    end_all(processes, grace_s=0.1)


def test_the_command_line_is_what_ros_expects(tmp_path: Path) -> None:
    description = NodeDescription("p", "e", "a.module", "driver", remappings={"nominal_action": "action"})
    line = command_line(description, tmp_path / "driver.yaml")

    assert line[:3] == [sys.executable, "-m", "a.module"]
    assert " ".join(line[3:]) == (
        f"--ros-args -r __node:=driver -r nominal_action:=action --params-file {tmp_path / 'driver.yaml'}"
    )


def test_nodes_that_share_a_process_keep_their_own_topics_and_parameters(tmp_path: Path) -> None:
    layer = NodeDescription("p", "e", "a.layer", "layer", {"seed": 3}, lifecycle=True)
    policy = NodeDescription("p", "e", "a.policy", "policy", remappings={"nominal_action": "action"}, lifecycle=True)
    driver = NodeDescription("p", "e", "a.driver", "driver", ends_run=True, rest_s=7.0)
    bringup = BringUp("walk", "task", BringUpArguments(composed="policy,layer"), (driver, layer, policy))
    composition, alone = bringup.processes
    (all_in_one,) = BringUp("walk", "task", BringUpArguments(composed="all"), (driver, layer, policy)).processes
    path = write_parameters(composition, tmp_path)
    line = command_line(composition, path)

    assert alone == driver
    assert (composition.name, composition.controls, composition.ends_run) == ("layer+policy", True, False)
    assert (composition.rest_s, all_in_one.rest_s) == (0.0, 7.0)
    assert line[2:5] == ["demo_control.nodes.composed", "a.layer", "a.policy"]
    assert " ".join(line[5:]) == f"--ros-args -r policy:nominal_action:=action --params-file {path}"
    sections = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert sections == {"layer": {"ros__parameters": {"seed": 3}}, "policy": {"ros__parameters": {}}}


def test_a_dead_node_leaves_its_exit_code_and_last_lines(make: Make) -> None:
    process = make(DYING)
    wait_until(lambda: process.exit_code is not None)

    assert process.exit_code == 3
    assert process.last_lines() == ["first", "the reason"]
    assert process.last_lines(1) == ["the reason"]


def test_a_node_comes_before_other_programs_where_that_is_allowed(make: Make) -> None:
    process = make(OBEDIENT)
    wait_until(process.last_lines)
    probe = "import os\nos.setpriority(os.PRIO_PROCESS, 0, -10)"
    allowed = subprocess.run([sys.executable, "-c", probe], capture_output=True, check=False).returncode == 0
    own = os.getpriority(os.PRIO_PROCESS, 0)

    assert os.getpriority(os.PRIO_PROCESS, process.process_id) == (-10 if allowed else own)


@pytest.mark.parametrize(
    ("text", "number"),
    [(OBEDIENT, signal.SIGINT), (DEAF + SLEEP, signal.SIGTERM), (DEAFER + SLEEP, signal.SIGKILL)],
)
def test_the_signals_get_stronger_until_it_ends(make: Make, text: str, number: signal.Signals) -> None:
    process = make(text)
    wait_until(process.last_lines)
    end_all([process], grace_s=0.5)

    # Python turns SIGINT into KeyboardInterrupt and reports it as this signal.
    assert process.exit_code == -number
    end_all([process], grace_s=0.5)  # a second time does no harm


def test_a_node_that_brings_its_robot_to_rest_is_given_the_time_for_it(make: Make) -> None:
    patient, hasty = make(RESTING + SLEEP, rest_s=20.0), make(RESTING + SLEEP)
    wait_until(lambda: patient.last_lines() and hasty.last_lines())
    began_s = time.monotonic()
    end_all([patient], grace_s=0.2)
    assert patient.exit_code == 0
    # It is not waited for longer than it takes.
    assert time.monotonic() - began_s < 10.0
    end_all([hasty], grace_s=0.2)
    assert hasty.exit_code == -signal.SIGTERM


def test_nodes_end_with_their_parent_however_it_dies(tmp_path: Path) -> None:
    (tmp_path / "node_for_tests.py").write_text(OBEDIENT)
    parent_text = (
        "import os, time\nfrom pathlib import Path\n"
        "from demo_control.bringup.description import NodeDescription\n"
        "from demo_control.bringup.process import NodeProcess\n"
        "node = NodeProcess(NodeDescription('p', 'e', 'node_for_tests', 'n'), Path('none'), os.environ)\n"
        "while not node.last_lines(): time.sleep(0.01)\n"
        "print(node.process_id, flush=True)\ntime.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen([sys.executable, "-c", parent_text], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert running(child)
        parent.kill()

    wait_until(lambda: not running(child))


def running(process_id: int) -> bool:
    """Whether a process exists and is no zombie (in a container no one may collect an orphan)."""
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_only_named_and_unowned_segments_are_removed(tmp_path: Path) -> None:
    dead, owned, foreign = "fastrtps_" + "a" * 16, "fastrtps_port7999", "fastrtps_" + "b" * 16
    for name in (dead, owned, foreign):
        for path in (tmp_path / name, tmp_path / f"{name}_el", tmp_path / f"sem.{name}_mutex"):
            path.touch()
    with (tmp_path / f"{owned}_el").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        removed = remove_leftovers([dead, owned, "fastrtps_" + "c" * 16], tmp_path)

    assert removed == [dead]
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f"{p}{n}{s}" for n in (owned, foreign) for p, s in (("", ""), ("", "_el"), ("sem.", "_mutex"))}


MAPPING = """
import mmap, sys, time
with open(sys.argv[1], "r+b") as file, mmap.mmap(file.fileno(), 0):
    print("mapped", flush=True)
    time.sleep(60)
"""


def test_a_segment_that_another_process_maps_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / ("fastrtps_" + "d" * 16)
    path.write_bytes(b"x" * 4096)
    with subprocess.Popen([sys.executable, "-c", MAPPING, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert path.name in segments_of(process.pid)
        assert remove_leftovers([path.name], tmp_path) == []
        process.kill()
    assert segments_of(process.pid) == set()
    assert remove_leftovers([path.name], tmp_path) == [path.name]
    assert list(tmp_path.iterdir()) == []


def test_segments_of_this_process_are_found_while_its_files_come_and_go(tmp_path: Path) -> None:
    path = tmp_path / ("fastrtps_" + "e" * 16 + "_el")
    with path.open("w"):
        assert "fastrtps_" + "e" * 16 in segments_of("self")
