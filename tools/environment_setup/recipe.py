"""The stages of the set-up: virtual environment, Python packages, ROS 2 wheels, demo_msgs, check."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from environment_setup.messages_build import (
    build_environment,
    configure_command,
    keep_manifest,
    mend_exports,
    remove_installed,
)
from environment_setup.progress import Progress
from environment_setup.stages import Stage, file_inputs

# What pip itself must be able to do: report the progress of a download (24.1).
INSTALLER = ("pip>=24.1", "setuptools>=77,<80", "wheel")
PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input")
# Wheels only: a source distribution would need compilers and libraries that nobody asked for, and
# pip would build one rather than fail. empy (a dependency of ROS 2) is pure Python without a wheel.
PIP_INSTALL = (*PIP, "install", "--only-binary", ":all:", "--no-binary", "empy")
DOWNLOAD_PROGRESS = ("--progress-bar", "raw")
RUNNING_EXTRAS = ("ros", "ros-build", "pybullet")
MESSAGES = Path("ros2_ws", "src", "demo_msgs")
KERNEL = Path("ros2_ws", "src", "demo_control", "demo_control", "rollout", "native")
# What follows in pyproject.toml configures linters and tests and changes nothing that is installed.
TOOLS_ONLY = "\n[tool.ruff]"
CHECK = """
import demo_control, demo_msgs.msg, mujoco, onnxruntime, rclpy, stoch2_sim
rclpy.init()
rclpy.create_node("setup_check").destroy_node()
rclpy.shutdown()
"""


class Recipe:
    """Makes the stages for one environment.

    Args:
        root: The repository.
        interpreter: Path of the Python that the environment is made from.
        environment: Environment variables for every command.
        progress: Runs the commands and shows what they do.
    """

    def __init__(self, root: Path, interpreter: str, environment: dict[str, str], progress: Progress) -> None:
        self._root = root
        self._interpreter = interpreter
        self._environment = environment
        self._progress = progress
        self._prefix = root / ".venv"
        self._own = own_folder(root)
        self._python = self._prefix / "bin" / "python"

    def stages(self, extras: Iterable[str]) -> list[Stage]:
        """Gives the stages in their order.

        Args:
            extras: What is wanted beside what running needs: `test`, `train`.

        Returns:
            The stages.
        """
        stages = [
            Stage(
                name="environment",
                title="Virtual environment",
                inputs=lambda: [str(self._prefix), os.path.realpath(self._interpreter), *INSTALLER],
                run=self._make_environment,
                outputs=lambda: [self._python],
                needed_gb=0.1,
            ),
            self._packages("running", "Python packages and ROS 2", RUNNING_EXTRAS, needed_gb=2.0),
            Stage(
                name="messages",
                title="Messages (demo_msgs)",
                inputs=self._message_inputs,
                run=self._build_messages,
                outputs=lambda: [self._site_packages() / "demo_msgs"],
                needed_gb=0.1,
            ),
            Stage(
                name="check",
                title="Check",
                inputs=lambda: [CHECK, *self._message_inputs()],
                run=self._check,
                outputs=list,
            ),
        ]
        wanted = set(extras)
        if "test" in wanted:
            stages.append(self._packages("test", "Tools for the tests", ["test"], needed_gb=0.3))
        if "train" in wanted:
            # First, from PyPI: PyTorch may come from an index that has nothing else.
            stages.append(self._packages("train-tools", "Tools of training", ["train-tools"], needed_gb=0.1))
            stages.append(self._packages("train", "PyTorch", ["train"], needed_gb=1.5))
        return stages

    def _packages(self, name: str, title: str, extras: Sequence[str], needed_gb: float) -> Stage:
        return Stage(
            name=name,
            title=title,
            inputs=lambda: [*self._base_inputs(), *extras, *(self._kernel_inputs() if name == "running" else ())],
            run=lambda: self._install(name, extras),
            outputs=lambda: self._site_packages().glob("demo_stack-*.dist-info"),
            needed_gb=needed_gb,
        )

    def _make_environment(self) -> None:
        for path in self._prefix.iterdir():
            if path == self._own:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        self._run([self._interpreter, "-m", "venv", str(self._prefix)])
        self._run([str(self._python), *PIP_INSTALL, "--upgrade", *INSTALLER])

    def _install(self, name: str, extras: Sequence[str]) -> None:
        discard_half_installed(self._site_packages())
        command = [str(self._python), *PIP_INSTALL, *DOWNLOAD_PROGRESS, "--no-build-isolation"]
        index = self._environment.get("TORCH_INDEX_URL")
        if name == "train" and index:
            command += ["--index-url", index]
        self._run([*command, "--editable", f"{self._root}[{','.join(extras)}]"])

    def _build_messages(self) -> None:
        query = "import numpy, sysconfig as s; print(s.get_path('include')); print(numpy.get_include())"
        includes = self._run([str(self._python), "-c", query]).splitlines()
        mend_exports(self._prefix, includes[0], includes[1])
        build, manifest = self._own / "build", self._own / "installed_messages.txt"
        environment = build_environment(self._environment, self._prefix)
        shutil.rmtree(build, ignore_errors=True)
        source = self._root / MESSAGES
        self._progress.run(configure_command(source, build, self._prefix), environment)
        jobs = str(os.cpu_count() or 1)
        self._progress.run(["cmake", "--build", str(build), "--parallel", jobs], environment)
        remove_installed(manifest)
        self._progress.run(["cmake", "--install", str(build)], environment)
        keep_manifest(build, manifest)

    def _check(self) -> None:
        self._run([str(self._python), "-c", CHECK])

    def _run(self, command: list[str]) -> str:
        return self._progress.run(command, self._environment)

    def _base_inputs(self) -> list[str]:
        project = (self._root / "pyproject.toml").read_text(encoding="utf-8")
        configuration = self._prefix / "pyvenv.cfg"
        return [project.split(TOOLS_ONLY)[0], configuration.read_text(encoding="utf-8")]

    def _kernel_inputs(self) -> list[str]:
        """What installing compiles; see setup.py."""
        folder = self._root / KERNEL
        return file_inputs([*folder.glob("build.py"), *folder.glob("kernel/*.?pp"), *self._root.glob("setup.py")])

    def _message_inputs(self) -> list[str]:
        files = [path for path in (self._root / MESSAGES).rglob("*") if path.is_file()]
        installed = sorted(
            path.name for path in self._site_packages().glob("*.dist-info") if path.name.startswith(("ros_", "numpy-"))
        )
        return [*file_inputs(files), *installed, *self._base_inputs()[1:]]

    def _site_packages(self) -> Path:
        return next(self._prefix.glob("lib/python3.*/site-packages"), self._prefix / "missing")


def own_folder(root: Path) -> Path:
    """Gives the folder for stamps, log and lock.

    Args:
        root: The repository.

    Returns:
        The folder, inside the environment, so that `rm -rf .venv` forgets everything.
    """
    return root / ".venv" / "setup"


def discard_half_installed(site_packages: Path) -> None:
    """Makes pip forget the packages whose installation was interrupted.

    pip writes the file INSTALLER after a package's own files; where it is missing pip would take
    the package for installed although files may be missing.

    Args:
        site_packages: Where pip installs.
    """
    for information in site_packages.glob("*.dist-info"):
        if not (information / "INSTALLER").exists():
            shutil.rmtree(information)
