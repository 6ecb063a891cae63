"""Child processes that do not outlive their parent."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_LIBC = ctypes.CDLL(None, use_errno=True)


def end_with_parent(parent: int) -> None:
    """Call in a child: it is told to end when its parent dies, however that dies (Linux).

    The parent must have started the child in a thread that lives as long as the child shall.

    Args:
        parent: The parent's process number.
    """
    _LIBC.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the call
        os._exit(1)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """While processes are started: their numerical libraries shall not fight for the cores."""
    with environment_variables(dict.fromkeys(THREAD_VARIABLES, "1")):
        yield


@contextmanager
def environment_variables(values: Mapping[str, str]) -> Iterator[None]:
    """For a while: this process, and those that it starts, have other values of some variables."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
