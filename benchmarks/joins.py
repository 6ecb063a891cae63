"""Whether a robot that walks minds that other programs join it, as `ros2 topic echo` and recorders do.

A listener with stock settings comes every few seconds, hears two topics for a while and goes. A stop is an interval
between commands that were carried out which is longer than the driver's timeout. Our nodes use sockets unless the
environment says otherwise (`demo_control/network.py`):

    democtl bench joins --json docs/experiments/joins.json
    FASTDDS_BUILTIN_TRANSPORTS=DEFAULT democtl bench joins --json docs/experiments/joins_shared_memory.json
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import numpy as np
import typer
from bench_support import machine
from rich.console import Console
from rich.table import Table

from demo_control.bringup.description import load_recipe
from demo_control.bringup.recording import Series
from demo_control.bringup.run import BringUpError, RunInterruptedError, run_bringup
from demo_control.cli.output import (
    EXIT_INTERRUPTED,
    check_destinations,
    error_console,
    fail,
    one_line_errors,
    write_json,
)
from demo_control.drivers.settings import DriverSettings
from demo_control.network import NEWER_PROFILE, PROFILE, TRANSPORTS, uses_sockets
from demo_control.standstill import StandstillWatch

BRINGUP = "stoch2_walk"
EVERY_S = 4.0
WALKING_S = 6.0
"""So long after the start it walks, and the first listener comes."""
STANDSTILL_MS = 50.0
"""A machine that stood still for longer may have made the stop by itself."""

LISTENER = """
import time
import rclpy
from demo_msgs.msg import Action, Observation

rclpy.init(args=[])
node = rclpy.create_node("listener")
for kind, topic in ((Observation, "observation"), (Action, "action")):
    node.create_subscription(kind, topic, lambda message: None, 10)
end_s = time.monotonic() + 2.5
while time.monotonic() < end_s:
    rclpy.spin_once(node, timeout_sec=0.05)
node.destroy_node()
rclpy.shutdown()
"""


@dataclass
class Join:
    """One listener.

    Attributes:
        at_s: When it was started, on the run's time line.
        stood_still_ms: For how long at most the machine itself stood still until the next came.
        longest_interval_ms: Between two commands that were carried out.
    """

    at_s: float
    stood_still_ms: float = 0.0
    longest_interval_ms: float = 0.0


@dataclass
class Listeners:
    """Starts them one after the other while the robot walks.

    Args:
        watch: Tells how long the machine stood still.
        environment: Of the listeners.
    """

    watch: StandstillWatch
    environment: dict[str, str]
    joins: list[Join] = field(default_factory=list)
    _process: subprocess.Popen[bytes] | None = None

    def look(self, time_s: float) -> None:
        """Start the next one if it is time, and the last one has gone."""
        if self._process is not None and self._process.poll() is None:
            return
        if time_s < (self.joins[-1].at_s + EVERY_S if self.joins else WALKING_S):
            return
        self.end()
        self._process = subprocess.Popen([sys.executable, "-c", LISTENER], env=self.environment)
        self.joins.append(Join(time_s))

    def end(self) -> None:
        """Wait for the last one's end, and note what the machine did meanwhile."""
        standstills = self.watch.take()
        if self._process is not None:
            self._process.wait()
            self.joins[-1].stood_still_ms = 0.0 if standstills is None else standstills.longest_ms


def longest_interval_s(applied: Series, start_s: float, end_s: float) -> float:
    """The longest time between two commands that were carried out, among those that end between two times.

    Args:
        applied: What the driver gave to the actuators; its own outputs answer nothing new.
        start_s: From when on.
        end_s: Until when.
    """
    newest = np.maximum.accumulate(np.concatenate([[-1], applied.sequences[:-1]])) if len(applied) else np.zeros(0)
    times_s = applied.times_s[applied.sequences > newest]
    intervals_s = np.diff(times_s)[(times_s[1:] > start_s) & (times_s[1:] <= end_s)]
    return float(intervals_s.max(initial=0.0))


def run(seconds: float, told: Any) -> list[Join]:  # noqa: ANN401 - called with the time
    """Let the robot walk while listeners come and go."""
    stock = {name: value for name, value in os.environ.items() if name not in (PROFILE, NEWER_PROFILE, TRANSPORTS)}
    recipe = load_recipe(BRINGUP)
    arguments = recipe.arguments(duration=seconds, real_time=True)
    with StandstillWatch() as watch:
        listeners = Listeners(watch, stock)

        def progress(time_s: float) -> None:
            told(time_s)
            if time_s < seconds - EVERY_S:
                listeners.look(time_s)

        result = run_bringup(recipe.make(arguments), progress=progress)
        listeners.end()
    ends_s = [join.at_s for join in listeners.joins[1:]] + [seconds]
    for join, end_s in zip(listeners.joins, ends_s, strict=True):
        join.longest_interval_ms = 1e3 * longest_interval_s(result.recording.applied_actions, join.at_s, end_s)
    return listeners.joins


def summary(joins: list[Join]) -> dict[str, float]:
    """How many there were, with a stop, with one for which the machine may be to blame; and the others' worst."""
    timeout_ms = 1e3 * DriverSettings().command_timeout_s
    stops = [join for join in joins if join.longest_interval_ms > timeout_ms]
    others = [join for join in joins if join.stood_still_ms <= STANDSTILL_MS]
    return {
        "joins": len(joins),
        "with_a_stop": len(stops),
        "while_the_machine_stood_still": sum(join not in others for join in stops),
        "longest_interval_beside_these_ms": round(max((join.longest_interval_ms for join in others), default=0.0), 1),
    }


def table(report: dict[str, Any]) -> Table:
    """For the console."""
    columns = ("joins", "with a stop", "while the machine stood still", "longest interval beside these, ms")
    shown = Table("our nodes use", *columns)
    shown.add_row(report["transport"], *(str(number) for number in report["summary"].values()))
    return shown


def main(
    seconds: Annotated[float, typer.Option(help="Length of the run.", min=20.0)] = 180.0,
    json_file: Annotated[str, typer.Option("--json", help="Keep the report in FILE.", metavar="FILE")] = "",
) -> None:
    """Count the stops of a robot that walks while listeners join and leave."""
    with one_line_errors():
        check_destinations(json_file)
    report: dict[str, Any] = {
        **machine(["rclpy", "onnxruntime", "mujoco"], os.getloadavg()[0]),
        "seconds": seconds,
        "transport": "sockets" if uses_sockets(os.environ) else "shared memory",
    }
    with error_console().status("joins") as status:
        try:
            joins = run(seconds, lambda time_s: status.update(f"joins: {time_s:.0f} of {seconds:.0f} s"))
        except RunInterruptedError:
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except BringUpError as error:
            fail(f"joins: {error}")
    report |= {"summary": summary(joins), "listeners": [asdict(join) for join in joins]}
    Console().print(table(report))
    if json_file:
        with one_line_errors():
            write_json(report, json_file)


if __name__ == "__main__":
    typer.run(main)
