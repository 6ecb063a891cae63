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
from pathlib import Path

SOURCES = Path(__file__).parent / "kernel"
COMPILERS = ("c++", "g++", "clang++")
LIBRARY = "_kernel.so"
"""Where :func:`build_in_place` puts it; setup.py's file has the interpreter's suffix."""

_X86_VARIANTS = {
    "avx512": ("-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mavx2", "-mfma"),
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


def sources_hash() -> str:
    """Hash of the kernel's sources; the library that was made from them answers with the same."""
    digest = hashlib.sha256()
    for path in sorted(SOURCES.iterdir()):
        if path.suffix in {".cpp", ".hpp"}:
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


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


def variants() -> dict[str, tuple[str, ...]]:
    """Instruction sets to compile for on this machine, and the compiler's options."""
    return dict(_X86_VARIANTS) if platform.machine() in {"x86_64", "AMD64"} else {"baseline": ()}


def build(target: Path) -> None:
    """Compile the kernel to ``target``; written beside, then renamed.

    Args:
        target: The library's file; its folder is made if missing.

    Raises:
        BuildError: No compiler, or one that fails.
    """
    compiler = find_compiler()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        objects, built = [], {}
        for name, options in variants().items():
            objects.append(_compile(compiler, "rollout", Path(folder), name, [*options, f"-DDEMO_VARIANT={name}"]))
            built[name] = options
        listed = " ".join(f"X({name})" for name in built)
        objects.append(
            _compile(
                compiler, "library", Path(folder), "library",
                [f"-DDEMO_VARIANTS(X)={listed}", f'-DDEMO_SOURCES="{sources_hash()}"'],
            )
        )  # fmt: skip
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


def _compile(compiler: list[str], source: str, folder: Path, name: str, options: list[str]) -> Path:
    """Compile one source to an object file."""
    output = folder / f"{name}.o"
    _run([*compiler, *_FLAGS, *options, "-pthread", "-c", str(SOURCES / f"{source}.cpp"), "-o", str(output)])
    return output


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
