"""Runs the stages that are not done yet, and says in one line what to do if one fails."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType

from environment_setup.machine import look_at_machine, problems
from environment_setup.progress import CommandError, Progress
from environment_setup.recipe import Recipe, own_folder
from environment_setup.stages import Stage, Stamps

TAIL_LINES = 15
INTERRUPTED = 130
# What pip and the libraries below it say when the package index cannot be reached.
NETWORK_SIGNS = (
    "NewConnectionError",
    "NameResolutionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ProxyError",
    "ProtocolError",
    "Failed to establish a new connection",
    "Temporary failure in name resolution",
    "Network is unreachable",
    "Connection refused",
    "Connection reset by peer",
    "connection broken by",
)
CERTIFICATE_SIGNS = ("CERTIFICATE_VERIFY_FAILED", "SSLCertVerificationError")
SPACE_SIGNS = ("No space left on device", "Disk quota exceeded")
TORCH_HINT = (
    "PyPI's torch is a CUDA build of several GB; a much smaller one without CUDA: "
    "TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu make ..."
)


def set_up(root: str, interpreter: str, extras: Iterable[str]) -> int:
    """Makes the environment, or the part of it that is missing.

    Args:
        root: The repository.
        interpreter: Path of the Python that the environment is made from.
        extras: What is wanted beside what running needs: `test`, `train`.

    Returns:
        Exit code: 0 if the environment is ready.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    own = own_folder(Path(root))
    if own.parent.exists() and any(own.parent.iterdir()) and not own.exists():
        return _complain(f"{own.parent} was not made by this command: move it away.")
    own.mkdir(parents=True, exist_ok=True)
    with (own / "lock").open("w") as lock:
        try:
            _wait_for(lock.fileno())
            progress = Progress(own / "setup.log", held_files=(lock.fileno(),))
            recipe = Recipe(Path(root), interpreter, dict(os.environ), progress)
            return run_stages(Path(root), interpreter, recipe.stages(extras), progress)
        except KeyboardInterrupt:
            _say("\nsetup: interrupted; the same command continues where it stopped.")
            return INTERRUPTED


def run_stages(root: Path, interpreter: str, stages: Sequence[Stage], progress: Progress) -> int:
    """Runs each stage that has no current stamp.

    Args:
        root: The repository.
        interpreter: Path of the Python that the environment is made from.
        stages: The stages, in their order.
        progress: The lines that the user sees.

    Returns:
        Exit code: 0 if all are done.
    """
    start_s = time.monotonic()
    stamps = Stamps(own_folder(root) / "stamps")
    progress.expect(len(stages))
    checked = False
    for number, stage in enumerate(stages):
        if stamps.is_current(stage):
            progress.skip()
            continue
        if not checked:
            pending_gb = sum(later.needed_gb for later in stages[number:])
            found = list(problems(look_at_machine(root, interpreter), pending_gb))
            if found:
                return _complain(*found)
            checked = True
        failure = run_stage(stage, stamps, progress, own_folder(root) / "setup.log")
        if failure:
            return _complain(failure)
    took = f" after {time.monotonic() - start_s:.0f} s" if checked else ", nothing to do"
    _say(f"setup: .venv is ready{took}")
    return 0


def run_stage(stage: Stage, stamps: Stamps, progress: Progress, log: Path) -> str:
    """Runs one stage and stamps it.

    Args:
        stage: The stage.
        stamps: The stamps.
        progress: The lines that the user sees.
        log: Where the whole output of the commands is.

    Returns:
        What to do if it failed; empty if it did not.
    """
    stamps.clear(stage)
    if stage.name == "train" and "TORCH_INDEX_URL" not in os.environ:
        _say(f"      {TORCH_HINT}")
    progress.begin(stage.title)
    try:
        stage.run()
        stamps.set(stage)
    except CommandError as error:
        progress.fail()
        known = remedy(error.output)
        if not known:
            _say(*error.output.splitlines()[-TAIL_LINES:])
        return known or f"{error}; all of its output is in {log}."
    except OSError as error:
        progress.fail()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return remedy(SPACE_SIGNS[0])
        return f"{error}: mend this and run the same command again."
    progress.end()
    return ""


def remedy(output: str) -> str:
    """Says what to do about a failure that is known.

    Args:
        output: What the failed command wrote.

    Returns:
        One line; empty if the failure is not known.
    """
    if any(sign in output for sign in SPACE_SIGNS):
        return "The disk is full: free some space and run the same command again."
    if any(sign in output for sign in CERTIFICATE_SIGNS):
        return (
            "The package index's certificate is not trusted here: name your certificates with "
            "PIP_CERT=/path/to/ca.pem and run the same command again."
        )
    if any(sign in output for sign in NETWORK_SIGNS):
        return (
            "No network: pip cannot reach the package index. Connect (or set HTTPS_PROXY or "
            "PIP_INDEX_URL) and run the same command again; it continues where it stopped."
        )
    return ""


def _wait_for(lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _say("setup: waiting for another set-up that is at work here")
        fcntl.flock(lock, fcntl.LOCK_EX)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _complain(*lines: str) -> int:
    for line in lines:
        sys.stderr.write(f"setup: {line}\n")
    return 1


def _say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
