"""The Python environment, and the compiled kernel."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from demo_control.doctor.findings import Check, Finding
from demo_control.rollout.native import KernelError
from demo_control.rollout.native.library import BUILD_COMMAND, load_kernel

_DISTRIBUTION = "demo-stack"


class Software:
    """Looks at this Python.

    Args:
        environment: Of the process.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment

    def checks(self) -> list[tuple[str, Check]]:
        """All checks by topic."""
        return [("Python", self.versions), ("other ROS", self.other_ros), ("kernel extension", self.kernel)]

    def versions(self) -> Iterator[Finding]:
        """Whether all packages are there in the versions that we work with."""
        python = f"Python {platform.python_version()} in {sys.prefix}"
        try:
            requirements = metadata.requires(_DISTRIBUTION) or []
        except metadata.PackageNotFoundError:
            # colcon installs the two packages, and leaves their dependencies to rosdep and pip.
            yield Finding("Python", "ok", f"{python}; built by colcon, versions are not checked")
            return
        wrong = list(unmet(requirements))
        if wrong:
            advice = "make setup, or python3 tools/setup_environment.py"
            yield Finding("Python", "problem", f"{python}: {'; '.join(wrong)}", advice)
        else:
            yield Finding("Python", "ok", f"{python}, all packages in the versions asked for")

    def other_ros(self) -> Iterator[Finding]:
        """Whether another ROS was sourced over that of this environment."""
        sourced = self._environment.get("ROS_DISTRO", "")
        prefixes = self._environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
        foreign = [prefix for prefix in prefixes if prefix.startswith("/opt/ros/")]
        ours = _from_pip()
        if sourced not in {"", "jazzy"}:
            text = f"ROS 2 {sourced} is sourced, this is made for jazzy"
            yield Finding("other ROS", "problem", text, "open a new terminal, and source jazzy or nothing")
        elif ours and foreign:
            text = f"rclpy comes from pip, and {', '.join(foreign)} is sourced: their libraries mix"
            yield Finding("other ROS", "problem", text, "open a new terminal without 'source /opt/ros/…'")
        else:
            yield Finding("other ROS", "ok", "none sourced" if ours or not foreign else f"{foreign[0]} is used")

    def kernel(self) -> Iterator[Finding]:
        """Whether the compiled kernel is built, and for which instruction set."""
        try:
            kernel = load_kernel()
        except KernelError as error:
            text = f"not in use, plans take up to twice as long: {error}"
            yield Finding("kernel extension", "warning", text, BUILD_COMMAND)
        else:
            yield Finding("kernel extension", "ok", f"built, runs with {kernel.variants[0]}")


def unmet(requirements: list[str]) -> Iterator[str]:
    """What is wrong with the packages that are always needed, in words.

    Args:
        requirements: As a distribution's metadata has them.
    """
    for requirement in map(Requirement, requirements):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield f"{requirement.name} is missing"
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement.name} {version} is not {requirement.specifier}"


def _from_pip() -> bool:
    """Whether rclpy is a package of this Python environment."""
    try:
        files = metadata.distribution("ros-rclpy")
    except metadata.PackageNotFoundError:
        return False
    return Path(str(files.locate_file(""))).is_relative_to(sys.prefix)
