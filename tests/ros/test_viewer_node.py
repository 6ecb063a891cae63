"""`democtl view` beside a running layer: it shows what is said, and ends in order."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ros_support import Peer, StartNode, start_robot

pytestmark = pytest.mark.ros


def test_what_is_said_is_shown_while_it_runs(
    peer: Peer, start: StartNode, bundle_directory: Path, tmp_path: Path
) -> None:
    pytest.importorskip("rerun", reason="the extra 'view' is not installed")
    robot, _ = start_robot(peer, start, bundle_directory, minimum_gain=-1e9)
    out = tmp_path / "live.rrd"
    command = [sys.executable, "-m", "demo_control.cli.main", "view", "--save", str(out)]
    viewer = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        # Without a robot description it waits for a moment, then shows what there is.
        peer.wait_until(lambda: robot.tick() or (out.is_file() and out.stat().st_size > 50_000), "a picture", 60.0)
        viewer.send_signal(signal.SIGINT)
        _, errors = viewer.communicate(timeout=20.0)
    finally:
        viewer.kill()

    assert viewer.returncode == 0, errors
    assert "showing cartpole" in errors
    assert "Traceback" not in errors
    content = out.read_bytes()
    assert content.startswith(b"RRF")
    for entity in (b"observation/pole_cosine", b"commands/cart_force/commanded", b"plans/plan_cost", b"costs/upright"):
        assert entity in content, entity
