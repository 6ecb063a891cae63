"""Where a bundle comes from: revision and versions, as far as they can be known."""

from __future__ import annotations

import platform
import shlex
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from demo_control.configuration import Scalar

_DISTRIBUTIONS = ("demo-stack", "numpy", "onnx", "onnxruntime", "torch")


def training_command(
    task_name: str, seed: int, settings: Mapping[str, Scalar], stage: str = "all", policy: str = "linear"
) -> str:
    """The command that does the same again.

    Args:
        task_name: Name of the task.
        seed: Of the run.
        settings: That differ from the task's own, by ``group.name``.
        stage: 'all', or the only one.
        policy: Its kind.
    """
    words = ["democtl", "train", task_name, "--seed", str(seed)]
    if policy != "linear":
        words += ["--policy", policy]
    if stage != "all":
        words += ["--stage", stage]
    for name, value in settings.items():
        words += ["--set", f"{name}={value}"]
    return shlex.join(words)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape the result."""
    found = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_revision() -> str:
    """Commit of the source tree this package runs from, '' if it is not in one."""
    folder = Path(__file__).resolve().parent
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", str(folder.parent))
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{commit} (changed)" if changed else commit


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
