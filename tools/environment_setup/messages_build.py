"""Builds demo_msgs into the virtual environment, so that nothing has to be sourced.

With the environment itself as the install prefix, the Python modules land in its site-packages and
the type support in its lib/, which the ROS 2 wheels put on the library path of every Python that
starts there.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from environment_setup.stages import write_whole

EXPORTS = "share/*/cmake/export_*__rosidl_generator_pyExport.cmake"
INCLUDE_LINE = re.compile(r'(?<=INTERFACE_INCLUDE_DIRECTORIES ")[^"]*(?=")')
PYTHON_INCLUDE = re.compile(r"/include/python3\.\d+$")
NUMPY_INCLUDE = re.compile(r"/numpy/_?core/include$")


def mend_exports(prefix: Path, python_include: str, numpy_include: str) -> list[Path]:
    """Makes the ROS 2 wheels' CMake files name this machine's include folders.

    The files name the folders of the machine that built the wheels, and CMake refuses to use a
    folder that does not exist. Folders that exist are left as they are, so a second call changes
    nothing.

    Args:
        prefix: The virtual environment.
        python_include: Folder of Python.h.
        numpy_include: Folder of NumPy's headers.

    Returns:
        The files that were changed.
    """

    def replacement(folder: str) -> str:
        if PYTHON_INCLUDE.search(folder) and not Path(folder).is_dir():
            return python_include
        if NUMPY_INCLUDE.search(folder) and not Path(folder).is_dir():
            return numpy_include
        return folder

    changed = []
    for path in sorted(prefix.glob(EXPORTS)):
        before = path.read_text(encoding="utf-8")
        after = INCLUDE_LINE.sub(lambda match: ";".join(map(replacement, match[0].split(";"))), before)
        if after != before:
            write_whole(path, after)
            changed.append(path)
    return changed


def configure_command(source: Path, build: Path, prefix: Path) -> list[str]:
    """Gives the command that prepares the build.

    Args:
        source: The package demo_msgs.
        build: Folder to build in.
        prefix: The virtual environment.

    Returns:
        The command and its arguments.
    """
    python = prefix / "bin" / "python"
    return [
        "cmake",
        "-S",
        str(source),
        "-B",
        str(build),
        f"-DCMAKE_INSTALL_PREFIX={prefix}",
        f"-DPython3_EXECUTABLE={python}",
        "-DCMAKE_BUILD_TYPE=Release",
        "-DBUILD_TESTING=OFF",
    ]


def build_environment(inherited: dict[str, str], prefix: Path) -> dict[str, str]:
    """Gives the environment variables of the build.

    Args:
        inherited: The variables of this process.
        prefix: The virtual environment.

    Returns:
        The same, pointing to the virtual environment.
    """
    return {
        **inherited,
        "AMENT_PREFIX_PATH": str(prefix),
        "CMAKE_PREFIX_PATH": str(prefix),
        "VIRTUAL_ENV": str(prefix),
        "PATH": f"{prefix / 'bin'}:{inherited.get('PATH', '/usr/bin:/bin')}",
    }


def remove_installed(manifest: Path) -> None:
    """Removes what an earlier build installed: a message may have been renamed since.

    Args:
        manifest: CMake's list of the files that it installed; it need not exist.
    """
    if not manifest.exists():
        return
    for line in manifest.read_text(encoding="utf-8").splitlines():
        Path(line).unlink(missing_ok=True)
    manifest.unlink()


def keep_manifest(build: Path, manifest: Path) -> None:
    """Keeps the list of installed files and removes the build folder.

    Args:
        build: Folder of the build.
        manifest: Where to keep the list.
    """
    write_whole(manifest, (build / "install_manifest.txt").read_text(encoding="utf-8"))
    shutil.rmtree(build)
