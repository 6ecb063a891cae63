"""Worker processes that an interruption ends at once, with nobody left who waits for somebody else."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from types import FrameType, TracebackType
from typing import Any, TypeVar

from demo_control.processes import end_with_parent

T = TypeVar("T")


class WorkerPool:
    """Calls functions in processes of their own; a context manager.

    After an exception, Ctrl-C among them, the workers are terminated. Left to the executor they would finish what they
    have begun, and a second Ctrl-C would end the wait for them half-way: parent and workers then wait for each other
    for ever. So the first Ctrl-C is the only one that is heard: ``timeout`` sends two at once.

    Args:
        jobs: Processes at most.
    """

    def __init__(self, jobs: int) -> None:
        # 'spawn': a forked child would inherit the threads of numerical libraries in an unknown state.
        context = multiprocessing.get_context("spawn")
        self._executor = ProcessPoolExecutor(jobs, context, _begin, (os.getpid(),))
        self._hears_once = False

    def __enter__(self) -> WorkerPool:
        """From now on Ctrl-C is heard once; processes are started when there is work."""
        here = threading.current_thread() is threading.main_thread()
        # Who has a handler of their own, an outer pool for one, knows what to do.
        self._hears_once = here and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._hears_once:
            signal.signal(signal.SIGINT, _interrupt_once)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, _: TracebackType | None) -> None:
        """Wait for what was submitted; after an exception end the workers instead."""
        try:
            if kind is None:
                self._executor.shutdown()
            else:
                self._terminate()
        except KeyboardInterrupt:
            self._terminate()
            raise
        finally:
            if self._hears_once:
                signal.signal(signal.SIGINT, signal.default_int_handler)

    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:  # noqa: ANN401 - whatever it takes
        """Call a function of a module in a worker, and start one if none is free; all of it must survive pickling."""
        return self._executor.submit(function, *arguments)

    def _terminate(self) -> None:
        # Python itself can do this only from 3.14 on.
        executor: Any = self._executor
        for process in list((executor._processes or {}).values()):
            process.terminate()
        # Whoever reads half a result waits for the rest of it as long as somebody could write it, this process too.
        if executor._result_queue is not None:
            executor._result_queue._writer.close()
        executor.shutdown(cancel_futures=True)


def _interrupt_once(_signal: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _begin(parent: int) -> None:
    """First thing in a worker: the parent tells it when to stop, not the terminal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(parent)
