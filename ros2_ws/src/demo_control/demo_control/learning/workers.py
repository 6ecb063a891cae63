"""Work shared out over processes, with results that do not depend on their number."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Any, TypeVar

from demo_control.processes import one_thread_each
from demo_control.tasks import Task, load_task, task_names
from demo_control.worker_pool import WorkerPool

T = TypeVar("T")
P = TypeVar("P", bound="Processes")


class Processes:
    """Runs functions in processes of their own; a context manager.

    Args:
        jobs: Processes; with one, everything runs in this one.
    """

    def __init__(self, jobs: int) -> None:
        self._pool = WorkerPool(jobs) if jobs > 1 else None

    def __enter__(self: P) -> P:
        """Nothing more to start."""
        if self._pool is not None:
            self._pool.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes; after an error without waiting for what they do."""
        if self._pool is not None:
            self._pool.__exit__(kind, value, trace)

    def map(self, function: Callable[..., T], arguments: Sequence[tuple[Any, ...]]) -> Iterator[T]:
        """Call a function of a module with each of the arguments; all of it must survive pickling.

        Yields:
            The results, in the order of the arguments.
        """
        if self._pool is None:
            yield from (function(*values) for values in arguments)
            return
        with one_thread_each():
            futures = [self._pool.submit(function, *values) for values in arguments]
        for future in futures:
            yield future.result()


class Workers(Processes):
    """Runs functions of a task.

    A task that is not installed (it is made up by a test) cannot be loaded in another process; its work is done in
    this one.

    Args:
        task: First argument of every function.
        jobs: Processes; as many as cores by default.
    """

    def __init__(self, task: Task, jobs: int | None = None) -> None:
        self._task = task
        super().__init__((jobs or num_cores()) if task.name in task_names() else 1)

    def map(self, function: Callable[..., T], arguments: Sequence[tuple[Any, ...]]) -> Iterator[T]:
        """Call a function of a module with the task and each of the arguments.

        Args:
            function: Called with (task, *arguments); all of it must survive pickling.
            arguments: One tuple per call.

        Yields:
            The results, in the order of the arguments.
        """
        if self._pool is None:
            yield from (function(self._task, *values) for values in arguments)
            return
        yield from super().map(_call, [(self._task.name, function, values) for values in arguments])


def num_cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def _call(task_name: str, function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    return function(_loaded(task_name), *arguments)


@lru_cache(maxsize=1)
def _loaded(task_name: str) -> Task:
    return load_task(task_name)
