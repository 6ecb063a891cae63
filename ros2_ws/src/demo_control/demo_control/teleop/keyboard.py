"""Single keys from a terminal, without waiting for the return key; the standard library is enough for that."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import tty
from types import TracebackType
from typing import Any

_ARROWS = {"A": "up", "B": "down", "C": "right", "D": "left"}
_ESCAPE = "\x1b"
_BYTES_AT_ONCE = 256


class NoTerminalError(RuntimeError):
    """Standard input is no terminal; the text says what to do."""


def decode(text: str) -> tuple[list[str], str]:
    """Keys by name: a character as itself in lower case, 'up', 'down', 'left' and 'right' for the arrows.

    Args:
        text: What the terminal sent, both kinds of arrow codes (``ESC [ A`` and ``ESC O A``) among it.

    Returns:
        The keys, and the beginning of a code whose end has not come yet. Other codes (function keys) are left out.
    """
    keys = []
    while text:
        if text[0] != _ESCAPE:
            keys.append(text[0].lower())
            text = text[1:]
            continue
        if len(text) == 1:
            return keys, text
        if text[1] not in "[O":
            text = text[1:]
            continue
        # A code ends with a letter or a tilde; digits and semicolons are its arguments.
        end = next((i for i, character in enumerate(text[2:], 2) if not (character.isdigit() or character == ";")), 0)
        if not end:
            return keys, text
        if text[end] in _ARROWS:
            keys.append(_ARROWS[text[end]])
        text = text[end + 1 :]
    return keys, ""


class Keyboard:
    """The keys pressed on a terminal, as they come. A context manager: leaving it puts the terminal back.

    Args:
        descriptor: Of the terminal; standard input by default.

    Raises:
        NoTerminalError: On entering, where there is no terminal.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = sys.stdin.fileno() if descriptor is None else descriptor
        self._settings: list[Any] = []
        self._rest = ""

    def __enter__(self) -> Keyboard:
        """Let single keys through, without showing them. Ctrl-C stays a signal."""
        if not os.isatty(self._descriptor):
            raise NoTerminalError("standard input is no terminal; start it from one (with docker: run -it)")
        self._settings = termios.tcgetattr(self._descriptor)
        tty.setcbreak(self._descriptor)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Put the terminal back as it was, if it is still there."""
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._settings)

    def read(self, timeout_s: float) -> list[str] | None:
        """The keys pressed since the last call; waits for the first of them.

        Args:
            timeout_s: Longest time to wait.

        Returns:
            See :func:`decode`; None once the terminal is gone.
        """
        ready, _, _ = select.select([self._descriptor], [], [], max(0.0, timeout_s))
        if not ready:
            return []
        try:
            data = os.read(self._descriptor, _BYTES_AT_ONCE)
        except OSError:
            data = b""
        if not data:
            return None
        keys, self._rest = decode(self._rest + data.decode(errors="ignore"))
        return keys
