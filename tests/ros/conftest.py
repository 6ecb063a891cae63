"""Fixtures of the tests over DDS; without ROS 2 they are not collected."""

from __future__ import annotations

import importlib.util
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for ros_support
collect_ignore_glob: list[str] = []

if importlib.util.find_spec("rclpy") is None or importlib.util.find_spec("demo_msgs") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    import rclpy
    from rclpy.context import Context
    from ros_support import Peer, StartNode, save_test_bundle

    from demo_control.bringup.description import NodeDescription
    from demo_control.bringup.process import NodeProcess, end_all
    from demo_control.bringup.shared_memory import remove_leftovers
    from demo_control.bringup.supervisor import write_parameters
    from demo_control.network import LOCALHOST_ONLY, PROFILE, TRANSPORTS
    from demo_control.tasks import Task, load_task


@pytest.fixture(autouse=True)
def domain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ROS domain that no one else is likely to use, on this machine only."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(random.SystemRandom().randint(1, 101)))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    # What the code under test sets, here and for its children, must not reach the next test.
    for name in (LOCALHOST_ONLY, PROFILE, TRANSPORTS):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def context() -> Iterator[Context]:
    """A ROS context of the test's own, for nodes in this process."""
    context = Context()
    rclpy.init(context=context, args=[])
    yield context
    context.try_shutdown()


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartNode]:
    """Starts a node as a process; all are ended after the test."""
    processes: list[NodeProcess] = []

    def start_node(module: str, *, parameters: dict[str, Any] | None = None, file: Path | None = None) -> NodeProcess:
        name = module.rsplit(".", 1)[-1]
        description = NodeDescription("", "", module, name, parameters or {}, lifecycle=True)
        path = file or write_parameters(description, tmp_path)
        processes.append(NodeProcess(description, path, os.environ))
        return processes[-1]

    yield start_node
    end_all(processes, grace_s=5.0)
    remove_leftovers(set().union(*(process.segments for process in processes)))


@pytest.fixture(scope="session")
def task() -> Task:
    return load_task("cartpole")


@pytest.fixture(scope="session")
def bundle_directory(task: Task, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose model is the cart-pole's equations, and whose policy pushes against the cart's velocity."""
    return save_test_bundle(task, tmp_path_factory.mktemp("models") / "exact", velocity_gain=-0.1)


@pytest.fixture(scope="session")
def other_bundle_directory(task: Task, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another policy, the same model."""
    return save_test_bundle(task, tmp_path_factory.mktemp("models") / "other", velocity_gain=-0.2)
