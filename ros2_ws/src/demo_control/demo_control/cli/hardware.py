"""``democtl hardware``: a real robot's devices, and emulated ones."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Annotated

import typer

from demo_control.cli.output import error_console, one_line_errors
from demo_control.configuration import parse_assignments
from demo_control.files import write_text_atomically
from demo_control.hardware.emulation.emulator import Emulator
from demo_control.hardware.emulation.faults import FaultSettings
from demo_control.hardware.emulation.plant import make_plant
from demo_control.hardware.wiring import load_wiring
from demo_control.machine import settle_memory

# Above that of the nodes: real devices need no processor of this machine.
_PRIORITY = 10

_WIRING = typer.Argument(help="The robot's wiring, a YAML file.", metavar="WIRING")

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Look at a real robot's devices, or emulate them.")


@app.callback()
def _hardware() -> None:
    """Look at a real robot's devices, or emulate them."""


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
