"""``democtl teleop``: drive a robot with the keyboard."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from demo_control.bringup.supervisor import prepare_environment
from demo_control.cli.output import error_console, fail, one_line_errors
from demo_control.security.environment import join_secured
from demo_control.security.roles import OPERATOR
from demo_control.teleop.driving import HELP, QUIT, REQUESTS, STANDSTILL, STOP_KEY, DrivingSettings, Velocity, pressed
from demo_control.teleop.keyboard import Keyboard, NoTerminalError

if TYPE_CHECKING:
    from demo_control.teleop.node import Teleop

_PERIOD_S = 0.05
_CLEAR_LINE = "\r\x1b[K"


def command(
    speed: Annotated[float, typer.Option(help="Fastest forward speed, m/s.")] = 0.6,
    turn: Annotated[float, typer.Option(help="Fastest turn, rad/s.")] = 0.6,
) -> None:
    """Drive a robot that listens to cmd_vel with the arrow keys, or W, A, S and D."""
    try:
        from demo_control.teleop.node import Teleop  # noqa: PLC0415 - only this needs ROS 2
    except ImportError as error:
        fail(f"teleop needs ROS 2 and demo_msgs: Python cannot import '{error.name}'")
    with one_line_errors():
        settings = DrivingSettings(forward_limit_mps=speed, turn_limit_radps=turn)
        prepare_environment()
        arguments = join_secured(OPERATOR)
    try:
        with Keyboard() as keyboard:
            _show_help()
            teleop = Teleop(arguments)
            try:
                _drive(keyboard, teleop, settings)
            except KeyboardInterrupt:
                pass
            finally:
                teleop.close()
                sys.stdout.write("\n")
    except NoTerminalError as error:
        fail(f"teleop: {error}")


def _show_help() -> None:
    for line in HELP:
        error_console().print(line, markup=False, soft_wrap=True)


def _drive(keyboard: Keyboard, teleop: Teleop, settings: DrivingSettings) -> None:
    """Publish the command at 20 Hz until the user quits or the terminal is gone."""
    velocity, due_s = STANDSTILL, time.monotonic()
    while True:
        keys = keyboard.read(due_s - time.monotonic())
        if keys is None:
            return
        for key in keys:
            if key == QUIT:
                return
            velocity = pressed(key, velocity, settings)
            if key == STOP_KEY:
                teleop.emergency_stop()
            if key in REQUESTS:
                teleop.ask(REQUESTS[key])
        teleop.spin()
        if time.monotonic() >= due_s:
            teleop.send(velocity)
            sys.stdout.write(_CLEAR_LINE + status(velocity, teleop.measured, _robot(teleop)))
            sys.stdout.flush()
            due_s = max(due_s + _PERIOD_S, time.monotonic())


def _robot(teleop: Teleop) -> str:
    """What the robot does, and what it said last."""
    if not teleop.connected:
        return "no robot listens to cmd_vel here"
    return "; ".join(text for text in (teleop.state.replace("_", " "), teleop.told) if text)


def status(velocity: Velocity, measured: Velocity | None, robot: str) -> str:
    """The line that the user sees."""
    return f"command {_text(velocity)} | robot {'?' if measured is None else _text(measured)} | {robot}"


def _text(velocity: Velocity) -> str:
    side = f" side {velocity.side_mps:+.2f} m/s" if velocity.side_mps else ""
    return f"{velocity.forward_mps:+.2f} m/s{side} {velocity.turn_radps:+.2f} rad/s"
