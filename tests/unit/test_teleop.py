"""Keyboard driving: keys from a terminal, what they mean, and what the user sees; no ROS."""

from __future__ import annotations

import os
import pty
import termios
from collections.abc import Iterator
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo_control.cli.teleop import _drive, status
from demo_control.teleop.driving import STANDSTILL, DrivingSettings, Velocity, pressed
from demo_control.teleop.keyboard import Keyboard, NoTerminalError, decode


@pytest.mark.parametrize(
    ("text", "keys", "rest"),
    [
        ("wA ", ["w", "a", " "], ""),
        ("\x1b[A\x1bOB\x1b[1;2C", ["up", "down", "right"], ""),
        ("\x1b[15~x", ["x"], ""),
        ("s\x1b", ["s"], "\x1b"),
        ("\x1b[1;", [], "\x1b[1;"),
        ("\x1bq", ["q"], ""),
    ],
)
def test_arrow_codes_are_told_from_other_keys(text: str, keys: list[str], rest: str) -> None:
    assert decode(text) == (keys, rest)


@given(st.text("\x1b[OABCD19;~wq", max_size=12), st.integers(0, 12))
def test_a_code_may_come_in_two_pieces(text: str, cut: int) -> None:
    first, rest = decode(text[:cut])
    second, _ = decode(rest + text[cut:])
    # A lone escape at the cut is held back, never lost or taken for a key.
    assert [*first, *second] == decode(text)[0]


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ends = pty.openpty()
    yield ends
    for end in ends:
        os.close(end)


def test_single_keys_arrive_and_the_terminal_is_put_back(terminal: tuple[int, int]) -> None:
    user, program = terminal
    before = termios.tcgetattr(program)
    with Keyboard(program) as keyboard:
        assert not termios.tcgetattr(program)[3] & (termios.ICANON | termios.ECHO)
        os.write(user, b"w\x1b[Aq")
        assert keyboard.read(5.0) == ["w", "up", "q"]
        assert keyboard.read(0.0) == []
    assert termios.tcgetattr(program) == before


def test_the_end_of_the_terminal_is_noticed() -> None:
    user, program = pty.openpty()
    with Keyboard(program) as keyboard:
        os.close(user)
        assert keyboard.read(5.0) is None
    os.close(program)


def test_without_a_terminal_it_refuses() -> None:
    reading, writing = os.pipe()
    with pytest.raises(NoTerminalError, match="no terminal"), Keyboard(reading):
        pass
    os.close(reading)
    os.close(writing)


def drive(keys: list[str], velocity: Velocity = STANDSTILL) -> Velocity:
    for key in keys:
        velocity = pressed(key, velocity, DrivingSettings())
    return velocity


def test_keys_change_the_velocity_step_by_step() -> None:
    assert drive(["up", "w", "a", "left", "d", "z"]) == Velocity(0.1, 0.02, 0.1)
    assert drive(["w"] * 3 + ["s"] * 3) == STANDSTILL
    assert drive(["x", "\t"]) == STANDSTILL
    assert drive(["w", "a", " "]) == STANDSTILL
    assert drive(["w", "h"]) == STANDSTILL


@given(st.lists(st.sampled_from(["up", "down", "left", "right", "z", "c"]), max_size=60))
def test_velocities_stay_within_their_limits(keys: list[str]) -> None:
    velocity = drive(keys)
    assert -0.1 <= velocity.forward_mps <= 0.6
    assert abs(velocity.turn_radps) <= 0.6
    assert abs(velocity.side_mps) <= 0.1


@pytest.mark.parametrize(("typed", "stops", "asked"), [("xq", 1, []), ("qx", 0, []), ("xmq", 1, ["arm"])])
def test_what_is_pressed_before_quitting_counts(typed: str, stops: int, asked: list[str]) -> None:
    """Over a slow connection keys come together."""
    keyboard, teleop = Mock(), Mock()
    keyboard.read.side_effect = [list(typed), None]
    _drive(keyboard, teleop, DrivingSettings())
    assert teleop.emergency_stop.call_count == stops
    assert [call.args[0] for call in teleop.ask.call_args_list] == asked


def test_the_user_sees_command_and_robot() -> None:
    line = status(Velocity(0.3, 0.0, -0.1), Velocity(0.28, 0.01, -0.09), "walking")
    assert line == "command +0.30 m/s -0.10 rad/s | robot +0.28 m/s side +0.01 m/s -0.09 rad/s | walking"
    assert "robot ? |" in status(STANDSTILL, None, "")
