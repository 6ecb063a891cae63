"""The compiled kernel as Python sees it: found, checked, and called through ctypes, which lets the GIL go."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

from demo_control.rollout.native.build import LIBRARY, sources_hash
from demo_control.rollout.native.instructions import Operator

Pointer = ctypes.c_void_p

BUILD_COMMAND = "python -m demo_control.rollout.native.build"


class KernelError(RuntimeError):
    """The kernel cannot be used here; the text says why and what to do."""


class Arrays(ctypes.Structure):
    """One call's arrays; see kernel/program.hpp."""

    _fields_ = [
        (f"{name}_{axis}_stride", ctypes.c_int64)
        for name in ("observation", "control", "change_scale", "change_offset") for axis in ("step", "lane", "row")
    ] + [
        (name, Pointer)
        for name in (
            "observations", "controls", "feedback", "step_weights", "change_scale", "change_offset", "term_costs",
            "applied", "policy_actions", "trajectory", "predictions",
        )
    ]  # fmt: skip


@dataclass(frozen=True)
class Kernel:
    """A loaded library.

    Attributes:
        path: Its file.
        variants: Instruction sets that it has and this machine runs, the best first.
    """

    path: Path
    variants: tuple[str, ...]
    functions: ctypes.CDLL

    def multiply_add_rate(self, variant: str, repetitions: int = 2_000_000) -> float:
        """Peak of one thread: float32 operations per second of multiply-adds between registers, two each."""
        return float(self.functions.demo_native_peak(variant.encode(), repetitions))


def candidates() -> list[Path]:
    """Where the library may be: what the set-up built, then what was built in place (:data:`LIBRARY`)."""
    folder = Path(__file__).parent
    found = [path for suffix in EXTENSION_SUFFIXES if (path := folder / f"_kernel{suffix}").is_file()]
    return found or [folder / LIBRARY]


@lru_cache(maxsize=1)
def load_kernel() -> Kernel:
    """The kernel of this installation.

    Raises:
        KernelError: It was not built, or from other sources, or does not run here.
    """
    problems = []
    for path in candidates():
        try:
            return open_kernel(path)
        except KernelError as error:
            problems.append(str(error))
    raise KernelError("; ".join(problems))


@lru_cache(maxsize=1)
def installed_kernel() -> Kernel | None:
    """The same, or None where there is none: for what NumPy or PyTorch do in its place."""
    try:
        return load_kernel()
    except KernelError:
        return None


def open_kernel(path: Path) -> Kernel:
    """Load one library.

    Raises:
        KernelError: See :func:`load_kernel`.
    """
    if not path.is_file():
        raise KernelError(f"the kernel was not built at installation; '{BUILD_COMMAND}' builds it")
    try:
        functions = ctypes.CDLL(str(path))
        _declare(functions)
    except (OSError, AttributeError) as error:
        raise KernelError(f"{path.name} cannot be loaded: {error}") from None
    if functions.demo_native_sources().decode().split()[0] != sources_hash():
        raise KernelError(f"{path.name} was built from other sources; '{BUILD_COMMAND}' builds it anew")
    if functions.demo_native_operators().decode().split() != [operator.name.lower() for operator in Operator]:
        raise KernelError(f"{path.name} knows other operators than instructions.py")
    variants = tuple(functions.demo_native_variants().decode().split())
    if not variants:
        raise KernelError(f"{path.name} has no instruction set that this processor runs")
    return Kernel(path, variants, functions)


def address(array: Any) -> int:  # noqa: ANN401 - NumPy's arrays are not typed as the buffers that they are
    """Where an array's numbers lie; ``array.ctypes`` takes four times as long, which a short plan would notice."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))
    except (TypeError, ValueError):  # read-only, or not in one piece, or empty
        return int(array.__array_interface__["data"][0])


def _declare(functions: ctypes.CDLL) -> None:
    """Argument and result types."""
    for name in ("sources", "operators", "variants"):
        getattr(functions, f"demo_native_{name}").restype = ctypes.c_char_p
    functions.demo_native_create.restype = Pointer
    functions.demo_native_create.argtypes = [
        ctypes.c_char_p, Pointer, Pointer, Pointer, Pointer, ctypes.c_int64, Pointer, ctypes.c_int64, Pointer, Pointer,
    ]  # fmt: skip
    functions.demo_native_run.restype = ctypes.c_int
    functions.demo_native_run.argtypes = [Pointer, ctypes.POINTER(Arrays), ctypes.c_int64, ctypes.c_int64]
    functions.demo_native_destroy.restype = None
    functions.demo_native_destroy.argtypes = [Pointer]
    functions.demo_native_perturb.restype = ctypes.c_int
    functions.demo_native_perturb.argtypes = [Pointer]
    functions.demo_native_weigh.restype = None
    functions.demo_native_weigh.argtypes = [Pointer]
    functions.demo_native_select.restype = ctypes.c_int
    functions.demo_native_select.argtypes = [Pointer]
    functions.demo_native_mirror_step.restype = ctypes.c_int
    functions.demo_native_mirror_step.argtypes = [Pointer]
    functions.demo_native_multiplier.restype = Pointer
    functions.demo_native_multiplier.argtypes = [ctypes.c_char_p]
    functions.demo_native_product_workspace.restype = ctypes.c_int64
    functions.demo_native_product_workspace.argtypes = [Pointer, Pointer, ctypes.c_int64]
    functions.demo_native_multiply.restype = None
    functions.demo_native_multiply.argtypes = [Pointer, Pointer, ctypes.c_int64, Pointer]
    functions.demo_native_peak.restype = ctypes.c_double
    functions.demo_native_peak.argtypes = [ctypes.c_char_p, ctypes.c_int64]
