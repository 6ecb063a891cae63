"""Many recordings evaluated beside each other: whatever one of them is like, the others are done, each once."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from demo_control.bags.errors import BagError
from demo_control.bags.evaluation import Request, evaluate_bag
from demo_control.bags.folder import is_recording_file
from demo_control.bags.metadata import METADATA_FILE
from demo_control.bags.provenance import contract_hash
from demo_control.bundle import BundleError
from demo_control.configuration import ConfigurationError
from demo_control.files import write_text_atomically
from demo_control.processes import one_thread_each
from demo_control.worker_pool import WorkerPool

FORMAT = 2
"""Of what is kept; raised when a figure changes its meaning, so that nothing old is taken for new."""

Evaluate = Callable[[Request], Mapping[str, Any]]
"""Evaluates one recording; a function of a module, as it is called in another process."""

_WAITING_FOR_EACH = 2
_DISTRIBUTIONS = ("demo-stack", "demo_control")


@dataclass(frozen=True)
class Outcome:
    """What came of one recording.

    Attributes:
        path: The recording.
        result: What :func:`evaluate_bag` returned, or None.
        error: Why there is none, one line.
        kept: Whether it had been evaluated before.
    """

    path: Path
    result: Mapping[str, Any] | None
    error: str = ""
    kept: bool = False


def find_bags(paths: Sequence[Path]) -> list[Path]:
    """The recordings that paths name: themselves, or what is in a folder of recordings, sorted, each once.

    A recording may be named in several ways: through a link, by its metadata.yaml, or by a file beside its folder.

    Raises:
        BagError: A path that is not there, or a folder with no recording in it.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if is_bag(path):
            found.setdefault(_identity(path), path)
            continue
        if not path.is_dir():
            raise BagError(f"{path}: no such bag")
        inside = sorted(
            {file.parent for file in path.rglob("*") if file.name == METADATA_FILE or is_recording_file(file)}
        )
        if not inside:
            raise BagError(f"{path}: no bag (no .mcap or .db3 file in it)")
        for folder in inside:
            found.setdefault(_identity(folder), folder)
    return [path for identity, path in found.items() if not (identity.is_file() and identity.parent in found)]


def is_bag(path: Path) -> bool:
    """Whether a path is one recording, its folder or a file of it, and not a folder of recordings."""
    if not path.is_dir():
        return path.is_file()
    return (path / METADATA_FILE).is_file() or any(is_recording_file(file) for file in path.iterdir())


def _identity(path: Path) -> Path:
    """Where a recording really is."""
    resolved = path.resolve()
    return resolved.parent if resolved.name == METADATA_FILE else resolved


def evaluate_many(
    requests: Sequence[Request], jobs: int, kept: Path | None = None, evaluate: Evaluate | None = None
) -> Generator[Outcome, None, None]:
    """Evaluate recordings over processes, in whatever order they are done; closing the generator ends them.

    Args:
        requests: One for each recording.
        jobs: Processes; 0 for this one, which a recording may then end.
        kept: Folder of results that were and will be kept, or None.
        evaluate: Evaluates one recording in a process of its own; :func:`evaluate_bag` unless given.

    Yields:
        One outcome for each; a recording that cannot be evaluated, or that ends a process, has its reason in it.
    """
    waiting: deque[Request] = deque()
    # Named before: what a recorder writes meanwhile is not in the result.
    files: dict[Path, Path] = {}
    for request in requests:
        result = None
        if kept is not None:
            files[request.path] = kept / _name(request)
            result = _kept_result(files[request.path])
        if result is None:
            waiting.append(request)
        else:
            yield Outcome(request.path, result, kept=True)
    with closing(_over_processes(waiting, jobs, evaluate or evaluate_bag)) as outcomes:
        for outcome in outcomes:
            if kept is not None and outcome.result is not None:
                write_text_atomically(files[outcome.path], json.dumps(outcome.result, allow_nan=False) + "\n")
            yield outcome


def _over_processes(waiting: deque[Request], jobs: int, evaluate: Evaluate) -> Generator[Outcome, None, None]:
    """Results as they come."""
    if jobs == 0:
        yield from (_outcome(evaluate, request) for request in waiting)
        return
    suspects: deque[Request] = deque()
    while waiting or suspects:
        # One of several that were under way ended its process: each is given one to itself.
        alone = bool(suspects)
        source, workers = (suspects, 1) if alone else (waiting, jobs)
        most = 1 if alone else _WAITING_FOR_EACH * jobs
        with WorkerPool(workers) as pool:
            running: dict[Future[Outcome], Request] = {}
            try:
                while source or running:
                    while source and len(running) < most:
                        request = source.popleft()
                        with one_thread_each():
                            running[pool.submit(_outcome, evaluate, request)] = request
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        outcome = future.result()
                        del running[future]
                        yield outcome
            except BrokenProcessPool:
                if alone:
                    for request in running.values():
                        yield Outcome(request.path, None, "its evaluation ended the process (out of memory?)")
                else:
                    suspects.extend(running.values())


def _outcome(evaluate: Evaluate, request: Request) -> Outcome:
    """In a process of its own: one recording, with everything that may be wrong with it."""
    try:
        return Outcome(request.path, evaluate(request))
    except (BagError, BundleError, ConfigurationError) as error:
        return Outcome(request.path, None, str(error))
    except MemoryError:
        return Outcome(request.path, None, "too large for this machine's memory")
    except OSError as error:
        return Outcome(request.path, None, f"{error.filename or request.path}: {error.strerror or error}")
    except Exception as error:  # the other recordings must not suffer from what nobody foresaw
        return Outcome(request.path, None, f"{type(error).__name__}: {error}")


def _name(request: Request) -> str:
    """Name of the file of a result: another recording, request or version has another."""
    path = _identity(request.path)
    files = [path] if path.is_file() else sorted(path.glob("*"))
    about: dict[str, object] = {
        "format": FORMAT,
        "version": _version(),
        "path": str(request.path.resolve()),
        "files": [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()],
        "bundle": _contract(request.bundle),
        "settings": dict(sorted((request.settings or {}).items())),
        "namespace": request.namespace,
    }
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32] + ".json"


def _contract(bundle: Path | None) -> str:
    """What tells a bundle from others: the hash of its contract."""
    if bundle is None:
        return ""
    return contract_hash(str(bundle)) or str(bundle)


def _version() -> str:
    """Of this software: pip knows it by another name than colcon does."""
    for name in _DISTRIBUTIONS:
        with suppress(PackageNotFoundError):
            return version(name)
    return ""


def _kept_result(path: Path) -> Mapping[str, Any] | None:
    """A result that was kept, None where it is not there or not whole."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) and "blocks" in result else None
