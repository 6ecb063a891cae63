"""A node may end while its planner is still in the kernel."""

from __future__ import annotations

import subprocess
import sys

import pytest

from demo_control.bundle import default_bundle

SCRIPT = """
import atexit, time
atexit.register(time.sleep, 0.3)  # the first to be registered runs last, when all else has been tidied away

import threading
import numpy as np
from demo_control.bundle import default_bundle, load_bundle
from demo_control.rollout import RolloutShape
from demo_control.rollout.native.engine import NativeEngine
from demo_control.tasks import load_task

task = load_task("cartpole")
bundle = load_bundle(default_bundle("cartpole"), task)
engine = NativeEngine(task, bundle, RolloutShape(8, False, False, False), threads=1)
members, n, m = engine.num_members, task.observation_dim, task.action_dim
planning = threading.Event()

def plan():
    ones, zeros = np.ones((512, n)), np.zeros((512, n))
    while True:
        observations, controls = np.zeros((members, 512, n)), np.zeros((8, members, 512, m))
        engine.roll_out(observations, controls, None, np.ones(9), ones, zeros)
        planning.set()

threading.Thread(target=plan, daemon=True).start()
planning.wait()
"""


@pytest.mark.skipif(not default_bundle("cartpole").is_dir(), reason="no bundle of the cart-pole is shipped")
def test_the_interpreter_may_end_while_a_thread_plans() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
