"""The compiled kernel, for the parts of a plan that it has as well: NumPy takes its place where there is none."""

from __future__ import annotations

from functools import lru_cache

from demo_control.rollout.native import KernelError, load_kernel
from demo_control.rollout.native.library import Kernel


@lru_cache(maxsize=1)
def planning_kernel() -> Kernel | None:
    """The kernel of this installation, if there is one."""
    try:
        return load_kernel()
    except KernelError:
        return None
