"""Compiles the kernel: at installation (setup.py), in place for a source tree, or to where a test wants it.

Needs nothing but the standard library, because setup.py runs it in an environment that has nothing else.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parent / "kernel"
COMPILERS = ("c++", "g++", "clang++")
EXTENSION = "demo_control.rollout.native._kernel"
"""Its name for setuptools, although it is no Python module: any interpreter can load it."""

LIBRARY = "_kernel.so"
"""Where :func:`build_in_place` puts it; setup.py's file has the interpreter's suffix."""

_AVX512 = ("-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mavx2", "-mfma")
_X86_VARIANTS = {
    "amx": ("-mamx-tile", "-mamx-bf16", *_AVX512),
    "avx512": _AVX512,
    "avx2": ("-mavx2", "-mfma"),
    "baseline": (),
}
"""Instruction sets and what selects them, the best first; library.cpp asks the processor for the same."""

# -ffast-math would break the rounding of the exponential, and what NaN and infinity do. Contraction to fused
# multiply-adds is GCC's default but not Clang's, and makes every way through a layer round alike.
_FLAGS = (
    "-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-ffp-contract=fast", "-fno-math-errno", "-Wall", "-Wextra",
    "-Wno-psabi", "-Wno-ignored-attributes", "-Wno-unknown-pragmas",
)  # fmt: skip


class BuildError(RuntimeError):
    """The kernel could not be compiled; the text says why."""


def sources() -> list[Path]:
    """The files that the library is made from, this one included: it holds the compiler's options."""
    return sorted(path for path in (*SOURCES.iterdir(), Path(__file__)) if path.suffix in {".cpp", ".hpp", ".py"})


def sources_hash() -> str:
    """Hash of the sources; the library that was made from them answers with the same."""
    digest = hashlib.sha256()
    for path in sources():
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:32]


def is_current(library: Path) -> bool:
    """Whether a library was made from these sources on a machine of this kind."""
    mark = _mark().encode()
    return library.is_file() and mark in library.read_bytes()


def _mark() -> str:
    """What a library holds so that :func:`is_current` need not load it."""
    return f"{sources_hash()} {platform.machine()}"


def find_compiler() -> list[str]:
    """The C++ compiler's command: that of the environment variable CXX, or the first of :data:`COMPILERS`.

    Raises:
        BuildError: There is none.
    """
    wanted = shlex.split(os.environ.get("CXX", ""))
    if wanted:
        if shutil.which(wanted[0]) is None:
            raise BuildError(f"CXX = '{wanted[0]}': no such program")
        return wanted
    for name in COMPILERS:
        if shutil.which(name) is not None:
            return [name]
    raise BuildError(f"no C++ compiler: none of {', '.join(COMPILERS)} is installed")


def variants(compiler: list[str]) -> dict[str, tuple[str, ...]]:
    """Instruction sets of this kind of machine that the compiler knows, and its options."""
    if platform.machine() not in {"x86_64", "AMD64"}:
        return {"baseline": ()}
    return {name: options for name, options in _X86_VARIANTS.items() if not options or _knows(compiler, options)}


def _knows(compiler: list[str], options: tuple[str, ...]) -> bool:
    """Whether the compiler takes these options: GCC has AMX from version 11 on, Clang from 12."""
    try:
        _run([*compiler, *options, "-fsyntax-only", "-x", "c++", os.devnull])
    except BuildError:
        return False
    return True


def build(target: Path) -> None:
    """Compile the kernel to ``target``; written beside, then renamed. Nothing is done where it is current.

    Args:
        target: The library's file; its folder is made if missing.

    Raises:
        BuildError: No compiler, or one that fails.
    """
    if is_current(target):
        return
    compiler = find_compiler()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        objects = _compile_all(compiler, Path(folder))
        beside = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            _run([*compiler, "-shared", "-pthread", "-o", str(beside), *map(str, objects)])
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)


def build_in_place() -> Path:
    """Compile the kernel beside this file, where a source tree that is not installed finds it."""
    target = Path(__file__).parent / LIBRARY
    build(target)
    return target


def setuptools_arguments(package_folder: str) -> dict[str, Any]:
    """What setup.py hands to setuptools so that installing compiles the kernel, and goes on where that fails.

    Args:
        package_folder: Of demo_control, relative to setup.py.

    Returns:
        The arguments ``ext_modules`` and ``cmdclass``.
    """
    from setuptools import Extension  # noqa: PLC0415 - only at installation
    from setuptools.command.build_ext import build_ext  # noqa: PLC0415
    from setuptools.errors import CompileError  # noqa: PLC0415

    class BuildKernel(build_ext):  # type: ignore[misc, unused-ignore]
        """Compiles with :func:`build`: once per instruction set, which setuptools cannot."""

        def build_extension(self, ext: Extension) -> None:
            target = Path(self.get_ext_fullpath(ext.name))
            in_place = Path(__file__).parent / target.name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                if is_current(in_place) and not target.exists():
                    shutil.copy2(in_place, target)
                build(target)
            except BuildError as error:
                print(f"The native kernel was not built; ONNX Runtime and PyTorch take its place. {error}")
                raise CompileError(str(error)) from error

    folder = Path(package_folder) / "rollout" / "native" / "kernel"
    kernel = Extension(
        EXTENSION, [str(folder / path.name) for path in sources() if path.suffix == ".cpp"],
        depends=[str(folder / path.name) for path in sources() if path.suffix == ".hpp"], optional=True,
    )  # fmt: skip
    return {"ext_modules": [kernel], "cmdclass": {"build_ext": BuildKernel}}


def _compile_all(compiler: list[str], folder: Path) -> list[Path]:
    """Compile the kernel once per instruction set, and the library around it; on two cores at once."""
    names = variants(compiler)
    jobs = {name: ("rollout", [*options, f"-DDEMO_VARIANT={name}"]) for name, options in names.items()}
    listed = " ".join(f"X({name})" for name in names)
    jobs |= {f"multiply {name}": ("multiply", [*options, f"-DDEMO_VARIANT={name}"]) for name, options in names.items()}
    jobs |= {name: (name, ["-ffp-contract=off"]) for name in ("perturb", "weigh", "mirror_step")}
    jobs["library"] = ("library", [f"-DDEMO_VARIANTS(X)={listed}", f'-DDEMO_SOURCES="{_mark()}"'])

    def compile_one(name: str) -> Path:
        source, options = jobs[name]
        output = folder / f"{name}.o"
        _run([*compiler, *_FLAGS, *options, "-pthread", "-c", str(SOURCES / f"{source}.cpp"), "-o", str(output)])
        return output

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(compile_one, jobs))


def _run(command: list[str]) -> None:
    """Run a compiler.

    Raises:
        BuildError: With the end of what it said.
    """
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BuildError(f"{command[0]}: {error.strerror}") from None
    if result.returncode != 0:
        lines = [line for line in result.stderr.splitlines() if "error" in line] or result.stderr.splitlines()
        raise BuildError(f"{command[0]} failed with code {result.returncode}: {(lines or ['no message'])[0]}")


if __name__ == "__main__":
    try:
        print(build_in_place())
    except BuildError as problem:
        sys.exit(f"native kernel: {problem}")
