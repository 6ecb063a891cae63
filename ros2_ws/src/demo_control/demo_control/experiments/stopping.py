"""Runs that are asked to stop, and do so where they can go on from."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


def stop_now(_signal: int, _frame: FrameType | None) -> None:
    """A signal's handler: what is under way cleans up after an exception.

    Raises:
        KeyboardInterrupt: Always.
    """
    raise KeyboardInterrupt


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM (of timeout, systemd, Slurm) interrupts the work like Ctrl-C, once: it may come twice for one wish.

    Where it is ignored, or somebody else handles it, it stays so.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        stop_now(number, frame)

    # Only the main thread may set handlers.
    here = threading.current_thread() is threading.main_thread()
    ours = here and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def stops_between_steps() -> Iterator[Callable[[], bool]]:
    """Let a signal that would interrupt the work only be noted, so that the trainer can save what it has done.

    It is still interrupted at once when somebody presses Ctrl-C again. SIGTERM may come twice for one wish: who sends
    it to all processes of a group (timeout, systemd, Slurm) sends it to the parent, too, which passes it on.

    Yields:
        Whether the trainer was asked to stop.
    """
    asked = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked and number == signal.SIGINT:
            stop_now(number, frame)
        asked = True

    # Only the main thread may set handlers, and only it is interrupted. Signals that are ignored stay so.
    here = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM) if here}
    noted = {n: handler for n, handler in before.items() if handler in {stop_now, signal.default_int_handler}}
    for number in noted:
        signal.signal(number, note)
    try:
        yield lambda: asked
    finally:
        for number, handler in noted.items():
            signal.signal(number, handler)
