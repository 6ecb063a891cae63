"""What the machine must have before anything is installed, each with one line that says what to do."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MINIMUM_CMAKE = (3, 22)
MINIMUM_GLIBC = (2, 28)
GIGABYTE = 1e9

INTERPRETER_PROBE = """
import importlib.util, os, sysconfig
print("venv" if importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip") else "")
header = os.path.join(sysconfig.get_path("include"), "Python.h")
print("header" if os.path.exists(header) else "")
"""


@dataclass(frozen=True)
class Machine:
    """What is asked of the machine; a test passes its own answers.

    Attributes:
        system: Operating system, as `platform.system()` names it.
        architecture: Processor, as `platform.machine()` names it.
        libc: Name and version of the C library, as `platform.libc_ver()` gives them.
        tools: Path of each tool that was found, by command name.
        cmake_version: What `cmake --version` says.
        has_venv: Whether the interpreter brings venv and ensurepip.
        has_header: Whether the interpreter's Python.h is installed.
        python: Version of the interpreter, `3.x`.
        free_gb: Free space where the environment goes, in gigabytes.
    """

    system: str
    architecture: str
    libc: tuple[str, str]
    tools: dict[str, str] = field(default_factory=dict)
    cmake_version: str = ""
    has_venv: bool = True
    has_header: bool = True
    python: str = "3"
    free_gb: float = 1e3


def look_at_machine(root: Path, interpreter: str) -> Machine:
    """Looks at this machine.

    Args:
        root: Folder that the environment goes to.
        interpreter: Path of the Python that it is made from.

    Returns:
        What is there.
    """
    names = ("cmake", os.environ.get("CC", "cc"), os.environ.get("CXX", "c++"))
    found = {name: shutil.which(name.split()[0]) for name in names}
    probe = first_lines([interpreter, "-I", "-c", INTERPRETER_PROBE])
    version = first_lines([interpreter, "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
    return Machine(
        system=platform.system(),
        architecture=platform.machine(),
        libc=platform.libc_ver(interpreter),
        tools={name: path for name, path in found.items() if path},
        cmake_version=" ".join(first_lines(["cmake", "--version"])[:1]),
        has_venv="venv" in probe,
        has_header="header" in probe,
        python=version[0] if version else "3",
        free_gb=shutil.disk_usage(root).free / GIGABYTE,
    )


def first_lines(command: list[str]) -> list[str]:
    """Runs a short command.

    Args:
        command: The command and its arguments.

    Returns:
        Lines of its standard output; none if it cannot be run.
    """
    try:
        answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError:
        return []
    return answer.stdout.splitlines()


def problems(machine: Machine, needed_gb: float) -> Iterator[str]:
    """Says what is missing, the most fundamental first.

    Args:
        machine: What is there.
        needed_gb: Space that the missing stages need, in gigabytes.

    Yields:
        One line for each problem: what it is and what to do.
    """
    yield from platform_problems(machine)
    yield from tool_problems(machine)
    if machine.free_gb < needed_gb:
        yield (
            f"{needed_gb:.1f} GB of free disk space are needed here, {machine.free_gb:.1f} GB are "
            "left: free some, or clone to another disk."
        )


def platform_problems(machine: Machine) -> Iterator[str]:
    """Says why the ROS 2 wheels cannot be used on this platform.

    Args:
        machine: What is there.

    Yields:
        One line for each problem.
    """
    if machine.system != "Linux":
        yield f"{machine.system} is not supported: use Linux (x86-64), a container or WSL 2."
    elif machine.architecture != "x86_64":
        yield (
            f"The ROS 2 wheels exist for x86-64 only, this is {machine.architecture}: install "
            "ROS 2 Jazzy from apt on Ubuntu 24.04 and run `colcon build` in ros2_ws."
        )
    elif machine.libc[0] != "glibc" or version_of(machine.libc[1]) < MINIMUM_GLIBC:
        name = " ".join(machine.libc).strip() or "another C library"
        yield (f"The ROS 2 wheels need glibc 2.28 or newer, this is {name}: use Debian 10, Ubuntu 20.04 or newer.")


def tool_problems(machine: Machine) -> Iterator[str]:
    """Says which tool is missing or too old.

    Args:
        machine: What is there.

    Yields:
        One line for each problem.
    """
    if not machine.has_venv:
        yield (
            f"Python's venv module is missing: sudo apt install python{machine.python}-venv "
            "(or make PYTHON=/path/to/another/python3 ...)."
        )
    if "cmake" not in machine.tools:
        yield "cmake is missing (it builds the messages): sudo apt install cmake"
    elif version_of(machine.cmake_version) < MINIMUM_CMAKE:
        yield (
            f"{machine.cmake_version} is too old, 3.22 or newer is needed: install it with "
            "`pipx install cmake`, or from https://cmake.org/download."
        )
    for variable, default, language in (("CC", "cc", "C"), ("CXX", "c++", "C++")):
        compiler = os.environ.get(variable, default)
        if compiler not in machine.tools:
            yield (
                f"The {language} compiler ({compiler}) is missing (it builds the messages): "
                "sudo apt install build-essential"
            )
    if not machine.has_header:
        yield (f"Python.h is missing (the messages are built against it): sudo apt install python{machine.python}-dev")


def version_of(text: str) -> tuple[int, int]:
    """Finds the first version number in a text.

    Args:
        text: For instance `cmake version 3.25.1`.

    Returns:
        Major and minor number; `(0, 0)` if there is none.
    """
    match = re.search(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)
