"""A refit and its hot swap on real nodes over DDS, in real time.

    .venv/bin/python benchmarks/refit_live.py cartpole
    .venv/bin/python benchmarks/refit_live.py stoch2

First a minute of the robot that the model does not know is recorded (`democtl launch … --record`) and refitted to.
Then the robot runs once more: after a sixth of the time the new bundle is loaded into the running layer; after two
thirds, its trial being over, the old one is, which predicts worse and has to go back by itself. What the recording of
that run says: commands missed around the swaps, overruns, and whether it is answered again bit for bit.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import rclpy
import typer
import yaml
from demo_msgs.srv import LoadBundle
from refit_study import CASES, DOCS

from demo_control.bags.evaluation import Request, evaluate_bag
from demo_control.bags.layer_log import read_layer_log
from demo_control.bags.reader import Bag
from demo_control.bundle import default_bundle
from demo_control.cli.output import write_json
from demo_control.files import write_text_atomically
from demo_control.tasks import load_task

_LAUNCHED = {"cartpole": ("cartpole_swingup", "cartpole_driver"), "stoch2": ("stoch2_walk", "stoch2_driver")}
_NEAR_S = 1.0
"""What is told of a swap is told of this time before and after it."""


def live(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(CASES)}.")],
    work: Annotated[Path, typer.Option(help="Recordings and bundles.")] = Path("out/refit-live"),
    minute_s: Annotated[float, typer.Option(help="Length of the recording that is refitted to.")] = 60.0,
    swap_s: Annotated[float, typer.Option(help="Length of the run with the swaps.")] = 50.0,
    settings: Annotated[list[str] | None, typer.Option("--set", help="name=value of the refit.")] = None,
) -> None:
    """Record, refit, swap; writes docs/experiments/refit_live_NAME.json."""
    case, folder = CASES[name], (work / name).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    old, new = default_bundle(case.task), folder / "bundle"
    bringup, driver = _LAUNCHED[name]
    parameters = folder / "robot.yaml"
    write_text_atomically(parameters, yaml.safe_dump({driver: {"ros__parameters": dict(case.robot)}}))
    common = ["launch", bringup, "--parameters", str(parameters)]
    if not (folder / "minute").exists():
        _democtl(*common, "--seed", "0", "--duration", str(minute_s), "--record", str(folder / "minute"))
    if not new.exists():
        file = folder / "refit.json"
        changed = [word for setting in settings or [] for word in ("--set", setting)]
        paths = ["--bundle", str(old), "--out", str(new), "--json", str(file)]
        _democtl("bag", "refit", str(folder / "minute"), *paths, *changed)
    bag = folder / "swaps"
    answers = []
    if not bag.exists():
        arguments = ["--seed", "1", "--duration", str(swap_s), "--record", str(bag)]
        run = subprocess.Popen([sys.executable, "-m", "demo_control.cli.main", *common, *arguments])
        answers = _swap(run, bag, ((swap_s / 6.0, new), (2.0 * swap_s / 3.0, old)))
        run.wait()
    report = {
        "robot": dict(case.robot),
        "refit_settings": settings or [],
        "refit": _some(json.loads((folder / "refit.json").read_text(encoding="utf-8"))),
        "answers": answers,
        "swaps": _told(bag, case.task),
    }
    write_json(report, str(DOCS / f"refit_live_{name}.json"))


def _democtl(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "demo_control.cli.main", *arguments], check=True)


def _some(refit: Mapping[str, Any]) -> dict[str, Any]:
    return {key: refit[key] for key in ("better", "horizon_error_ratio", "interval", "judged_pieces")}


def _swap(run: subprocess.Popen[bytes], bag: Path, wanted: tuple[tuple[float, Path], ...]) -> list[str]:
    """Load bundles at times after the first command is on the disk; returns what the node answered."""
    rclpy.init()
    node = rclpy.create_node("refit_live")
    client = node.create_client(LoadBundle, "/demo_layer_node/load_bundle")
    answers = []
    try:
        while run.poll() is None and not client.wait_for_service(timeout_sec=1.0):
            pass
        began_s = time.monotonic()
        for due_s, directory in wanted:
            time.sleep(max(0.0, began_s + due_s - time.monotonic()))
            future = client.call_async(LoadBundle.Request(directory=str(directory)))
            rclpy.spin_until_future_complete(node, future, timeout_sec=10.0)
            answers.append(f"success: {future.result().success}" if future.done() else "no answer")
    finally:
        node.destroy_node()
        rclpy.shutdown()
    return answers


def _told(bag: Path, task_name: str) -> dict[str, Any]:
    """What the recording says of each change of the bundle, and as a whole."""
    log, task = read_layer_log(Bag.open(bag)), load_task(task_name)
    run = log.runs[-1]
    stamps, sequences = run.commands.stamps_ns, run.commands.sequences
    evaluated = evaluate_bag(Request(bag))
    changes = []
    for before, after in pairwise(run.states):
        if before.bundle_sha256 == after.bundle_sha256:
            continue
        near = np.abs(stamps - after.stamp_ns) <= _NEAR_S * 1e9
        periods = np.diff(stamps[near]) * 1e-6
        changes.append(
            {
                "at_s": (after.stamp_ns - int(stamps[0])) * 1e-9,
                "to": after.bundle_sha256[:12],
                "commands_near": int(near.sum()),
                "observations_not_answered_near": int((np.diff(sequences[near]) - 1).clip(0).sum()),
                "longest_period_near_ms": float(periods.max()),
                "control_period_ms": task.control_period_s * 1e3,
            }
        )
    kept = ("actions", "identical_actions", "bit_exact", "plans", "identical_plans", "bundle_sha256", "timing")
    return {"changes": changes, **{key: evaluated[key] for key in kept}, "warnings": evaluated["warnings"]}


if __name__ == "__main__":
    typer.run(live)
