"""Walks with Stoch2 over ROS 2 for long, and watches what must not grow: memory, descriptors, shared memory, phase.

    democtl bench soak --minutes 60 --json docs/experiments/soak.json --figures

The report is kept up to date while it runs. Ctrl-C ends it with a verdict on what there is; the same command with the
same file goes on with another walk, up to the minutes that it was told.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Annotated, Any

import rclpy
import typer
from bench_support import machine, write_figures
from demo_msgs.msg import Observation
from rclpy.context import Context
from rich.console import Console
from soak_report import console_table, plot, table, verdict

from demo_control.bringup.description import load_recipe
from demo_control.bringup.run import BringUpError, Run, RunInterruptedError, run_bringup
from demo_control.bringup.shared_memory import FOLDER
from demo_control.cli.output import check_destinations, error_console, fail, one_line_errors, write_json
from demo_control.nodes.quality import RECORDING

BRINGUP = "stoch2_walk"
PERIOD_S = 0.005
SAMPLE_EVERY_S = 10.0
_LONGEST_WALK_S = 3600.0
_KEPT = ("walked_s", "falls", "ticks", "missed_ticks", "late_commands", "tick_lateness_ms", "command_age_at_driver_ms")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_BLOCK = 512  # of st_blocks


class Watch:
    """Samples the processes of a run, and the phase of its observations.

    Args:
        elapsed_s: Walked before this run, by the report.
    """

    def __init__(self, elapsed_s: float) -> None:
        self.samples: list[dict[str, Any]] = []
        self._before_s = elapsed_s
        self._next_s = 0.0
        self._run: Run | None = None
        self._phases_s: list[float] = []
        self._origin_s: float | None = None
        self._context = Context()
        rclpy.init(context=self._context, args=[])
        self._node = rclpy.create_node("democtl_soak", context=self._context)
        self._subscription = self._node.create_subscription(Observation, "observation", lambda _m: None, RECORDING)

    def begin(self, run: Run) -> None:
        """The run is under way."""
        self._run = run

    def look(self, elapsed_s: float) -> bool:
        """Take the observations that have come; sample if it is time. Whether it was."""
        self._take()
        if self._run is None or elapsed_s < self._next_s:
            return False
        self._next_s = elapsed_s + SAMPLE_EVERY_S
        processes = self._run.supervisor.process_ids()
        phases = sorted(self._phases_s)
        self._phases_s = []
        self.samples.append(
            {
                "elapsed_s": round(self._before_s + elapsed_s, 3),
                "memory_mb": {name: _memory_mb(number) for name, number in processes.items()},
                "descriptors": {name: _descriptors(number) for name, number in processes.items()},
                "shared_memory_mb": _shared_memory_mb(self._run.supervisor.segments()),
                "phase_ms": round(1e3 * phases[len(phases) // 2], 4) if phases else None,
            }
        )
        return True

    def close(self) -> None:
        """Leave the ROS graph."""
        self._node.destroy_node()
        self._context.try_shutdown()

    def _take(self) -> None:
        """When each observation was published, by the steady clock, against its number."""
        steady_ns = time.monotonic_ns() - time.time_ns()
        handle = self._subscription.handle
        with handle:
            while (taken := handle.take_message(Observation, False)) is not None:
                message, about = taken
                published_s = (about["source_timestamp"] + steady_ns) / 1e9
                phase_s = published_s - message.sequence * PERIOD_S
                self._origin_s = phase_s if self._origin_s is None else self._origin_s
                self._phases_s.append(phase_s - self._origin_s)


def _memory_mb(process: int) -> float | None:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE / 1e6
    except OSError:
        return None


def _descriptors(process: int) -> int | None:
    try:
        return len(os.listdir(f"/proc/{process}/fd"))
    except OSError:
        return None


def _shared_memory_mb(segments: set[str]) -> float:
    """Of Fast DDS, of some segments."""
    total = 0
    for name in segments:
        try:
            total += (FOLDER / name).stat().st_blocks * _BLOCK
        except OSError:
            continue
    return total / 1e6


def walk(seconds: float, composed: str, watch: Watch, report: dict[str, Any], json_file: str) -> bool:
    """One walk; whether it came to its end."""
    recipe = load_recipe(BRINGUP)
    bringup = recipe.make(recipe.arguments(duration=seconds, composed=composed))
    before = list(report["samples"])

    def told(elapsed_s: float) -> None:
        if watch.look(elapsed_s):
            report["samples"] = before + watch.samples
            report["verdict"] = verdict(report)
            if json_file:
                write_json(report, json_file)

    try:
        result = run_bringup(bringup, progress=told, on_active=watch.begin, keeps_all=False)
    except RunInterruptedError:
        return False
    report["walks"].append({name: result.figures.get(name) for name in _KEPT})
    return True


def main(
    minutes: Annotated[float, typer.Option(help="To walk altogether.", min=0.2)] = 60.0,
    composed: Annotated[str, typer.Option(help="none, policy,layer or all.")] = "none",
    json_file: Annotated[str, typer.Option("--json", help="Keep the report in FILE.", metavar="FILE")] = "",
    figures: Annotated[bool, typer.Option(help="Draw table and plot beside the report.")] = False,
) -> None:
    """Walk for long, and say whether anything grew."""
    with one_line_errors():
        check_destinations(json_file)
    report = _report(json_file, composed)
    whole_s = 60.0 * minutes
    with error_console().status("walking"):
        while (elapsed_s := _elapsed_s(report)) < whole_s - SAMPLE_EVERY_S:
            # Each walk is a segment of its own: its processes are new.
            report["segments"].append(elapsed_s)
            watch = Watch(elapsed_s)
            try:
                if not walk(min(whole_s - elapsed_s, _LONGEST_WALK_S), composed, watch, report, json_file):
                    break
            except BringUpError as error:
                fail(str(error))
            finally:
                watch.close()
    report["verdict"] = verdict(report)
    if json_file:
        write_json(report, json_file)
    Console().print(console_table(report))
    if json_file and figures and report["samples"]:
        write_figures(Path(json_file), table, plot)
    raise typer.Exit(0 if all(bar["holds"] for bar in report["verdict"].values()) else 1)


def _elapsed_s(report: dict[str, Any]) -> float:
    """Walked so far."""
    return float(report["samples"][-1]["elapsed_s"]) if report["samples"] else 0.0


def _report(json_file: str, composed: str) -> dict[str, Any]:
    """The report so far, or a new one."""
    about = machine(["rclpy", "onnxruntime", "mujoco"], os.getloadavg()[0])
    fresh: dict[str, Any] = {**about, "composed": composed, "segments": [], "samples": [], "walks": [], "verdict": {}}
    if not json_file or not Path(json_file).exists():
        return fresh
    try:
        report = dict(json.loads(Path(json_file).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        fail(f"{json_file}: is no report ({error})")
    if report.get("composed") != composed:
        fail(f"{json_file}: is of composed = {report.get('composed')}, not {composed}")
    return report


if __name__ == "__main__":
    typer.run(main)
