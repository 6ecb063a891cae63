"""``democtl hardware``: a real robot's devices, and emulated ones."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from demo_control.cli.output import check_destinations, error_console, fail, one_line_errors, write_json
from demo_control.configuration import ConfigurationError, parse_assignments
from demo_control.files import write_text_atomically
from demo_control.hardware import commissioning
from demo_control.hardware.bus import BusError
from demo_control.hardware.composite import open_bus
from demo_control.hardware.emulation.emulator import Emulator
from demo_control.hardware.emulation.faults import FaultSettings
from demo_control.hardware.emulation.plant import make_plant
from demo_control.hardware.wiring import Wiring, load_wiring
from demo_control.machine import settle_memory

# Above that of the nodes: real devices need no processor of this machine.
_PRIORITY = 10

_FAILED = 1
_JSON = typer.Option("--json", help="Write the result to FILE, '-' for standard output.", metavar="FILE")
_WIRING = typer.Argument(help="The robot's wiring, a YAML file.", metavar="WIRING")

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Look at a real robot's devices, or emulate them.")


@app.callback()
def _hardware() -> None:
    """Look at a real robot's devices, or emulate them."""


@app.command()
def check(
    wiring: Annotated[Path, _WIRING],
    reboot: Annotated[bool, typer.Option("--reboot", help="Restart servos with a fault, which clears it.")] = False,
    move: Annotated[
        list[str] | None,
        typer.Option(help="A joint to move by STEP in its positive direction and back; 'all' for one after the other."),
    ] = None,
    step: Annotated[float, typer.Option(help="How far, rad.", min=0.001, max=0.5)] = 0.05,
    yes: Annotated[bool, typer.Option("--yes", help="Move without asking before each joint.")] = False,
    json_file: Annotated[str, _JSON] = "",
) -> None:
    """Find the devices; check ids, models, firmware, voltages, faults; with --move the joints' directions."""
    with one_line_errors():
        check_destinations(json_file)
        loaded = load_wiring(wiring)
        findings = commissioning.check(loaded, reboot=reboot)
        if json_file != "-":
            error_console().print(_findings_table(loaded, findings))
        tried = {} if any(one.problem for one in findings) else _try_joints(loaded, move or [], step, yes)
    report = {"robot": loaded.robot, "findings": [vars(one) for one in findings], "moved": tried}
    wrong = [one for one in findings if one.problem]
    for name, moved in tried.items():
        error_console().print(f"{name} went {moved:+.3f}", markup=False)
    if json_file:
        with one_line_errors():
            write_json(report, json_file)
    if wrong or any(moved < 0.5 * step for moved in tried.values()):
        raise typer.Exit(_FAILED)


def _try_joints(loaded: Wiring, names: list[str], step: float, yes: bool) -> dict[str, float]:
    """Move joints one at a time; how far each went by its own measurement."""
    positions = [joint.name for joint in open_bus(loaded).describe().joints if joint.command == "position"]
    tried = {}
    for name in positions if names == ["all"] else names:
        if not yes:
            typer.confirm(f"{name} will move by {step:+g}; is everybody clear of it?", abort=True, err=True)
        try:
            tried[name] = commissioning.try_joint(loaded, name, step)
        except BusError as error:
            fail(str(error))
        if not yes and not typer.confirm("Did it move in its positive direction?", err=True):
            fail(f"{name}: turn its sign in the wiring, then calibrate it anew")
    return tried


def _findings_table(loaded: Wiring, findings: list[commissioning.Finding]) -> Table:
    """What was found, for people."""
    zeros = f"zeros of {loaded.calibrated}" if loaded.calibrated else "zeros of the wiring itself"
    table = Table("bus", "device", "joint", "found", title=f"{loaded.robot}, {zeros}")
    for one in findings:
        problem = f" [red]{escape(one.problem)}[/red]" if one.problem else ""
        table.add_row(one.bus, one.device, one.joint, escape(one.text) + problem)
    return table


@app.command()
def calibrate(
    wiring: Annotated[Path, _WIRING],
    at: Annotated[
        list[str] | None, typer.Option(help="JOINT=POSITION that a joint is held at; the others are held at zero.")
    ] = None,
    joint: Annotated[list[str] | None, typer.Option(help="Calibrate these alone.")] = None,
) -> None:
    """Measure the joints' zeros, torque off, while the robot is held in a known pose; saved beside the wiring."""
    with one_line_errors():
        loaded = load_wiring(wiring)
        try:
            offsets = commissioning.measure_zeros(loaded, _places(at or []))
        except BusError as error:
            fail(str(error))
        for name in joint or []:
            if name not in offsets:
                fail(f"joint '{name}' is not wired; wired: {', '.join(offsets)}")
        chosen = {name: value for name, value in offsets.items() if not joint or name in joint}
        date = datetime.now(timezone.utc).isoformat(timespec="seconds")
        commissioning.save_zeros(loaded, chosen, date)
        before = {one.name: one.offset_rad for one in loaded.joints}
        for name, value in chosen.items():
            error_console().print(f"{name}: {before[name]:+.4f} -> {value:+.4f} rad", markup=False)
        error_console().print(f"saved: {loaded.calibration_path}", markup=False)


def _places(assignments: list[str]) -> dict[str, float]:
    """The positions in 'JOINT=POSITION'."""
    places = {}
    for name, value in parse_assignments(assignments).items():
        if isinstance(value, (bool, str)) or not math.isfinite(value):
            raise ConfigurationError(f"--at {name}={value}: expected a position, rad or m")
        places[name] = float(value)
    return places


@app.command("dry-run")
def dry_run(
    wiring: Annotated[Path, _WIRING],
    rate: Annotated[float, typer.Option(help="Readings per second.", min=1.0, max=2000.0)] = 200.0,
    seconds: Annotated[float, typer.Option(help="How long.", min=0.1, max=3600.0)] = 5.0,
    json_file: Annotated[str, _JSON] = "",
) -> None:
    """Read all devices at the control rate, actuators off, and say how fast and how complete the answers are."""
    with one_line_errors():
        check_destinations(json_file)
        bus = open_bus(load_wiring(wiring))
        try:
            bus.connect()
            times = commissioning.time_readings(bus, rate, seconds)
        except BusError as error:
            fail(str(error))
        finally:
            bus.disconnect()
    if json_file != "-":
        for note in bus.describe().notes:
            error_console().print(note, markup=False)
        for name in ("read_ms", "oldest_ms"):
            middle, high, most = getattr(times, name)
            error_console().print(f"{name}: p50 {middle:g}, p99 {high:g}, largest {most:g}", markup=False)
        error_console().print(f"{times.readings} readings, {times.late} late; {dict(times.counters)}", markup=False)
    if json_file:
        with one_line_errors():
            write_json(vars(times), json_file)


@app.command()
def emulate(
    wiring: Annotated[Path, _WIRING],
    into: Annotated[Path, typer.Option(help="Folder for wiring.yaml with the emulated ports, and for result.json.")],
    seed: Annotated[int, typer.Option(help="Of start, sensor noise and faults.", min=0)] = 0,
    duration: Annotated[float, typer.Option(help="Seconds; 0 until a signal.", min=0.0)] = 0.0,
    fault: Annotated[
        list[str] | None, typer.Option(help="Share of frames, for example corrupt=0.01; lost, late, repeated; late_ms.")
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of the simulated robot, NAME=VALUE.")
    ] = None,
) -> None:
    """Emulate the devices of a wiring on pseudo-terminals, with the task's simulated robot behind them."""
    with one_line_errors():
        loaded = load_wiring(wiring)
        faults = FaultSettings.from_mapping(parse_assignments(fault or []), source="--fault")
        plant = make_plant(loaded.task, seed, parse_assignments(changes or []))
        emulator = Emulator(loaded, plant, faults, seed)
        into.mkdir(parents=True, exist_ok=True)
        ended: list[int] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _frame: ended.append(number))
        _prefer_real_time()
        settle_memory()
        write_text_atomically(into / "wiring.yaml", emulator.wiring_text())
        error_console().print(f"emulating {loaded.task}: {into / 'wiring.yaml'}; end it with Ctrl-C", markup=False)
        end_s = time.monotonic() + duration if duration else float("inf")
        try:
            emulator.run(lambda: not ended and time.monotonic() < end_s)
        finally:
            emulator.close()
        write_text_atomically(into / "result.json", json.dumps(emulator.verdict(), indent=2) + "\n")


def _prefer_real_time() -> None:
    """Emulated devices answer as fast as real ones only if nothing else comes first; that needs root."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_PRIORITY))
