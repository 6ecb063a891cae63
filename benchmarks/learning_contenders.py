"""Who takes part in ``democtl bench learning``: one kind of work, done by us and by others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

OURS = "ours"
OURS_IN_BFLOAT16 = "ours_bfloat16"
PACKAGES = ("numpy", "torch", "stable_baselines3", "mbrl", "gymnasium", "mujoco")


@dataclass(frozen=True)
class Contender:
    """Someone who does the work.

    Attributes:
        name: In tables and reports.
        run: Does some of it; how much, in the units of its case.
        wall: Its time is the wall's and not the process's own: it works in several processes.
    """

    name: str
    run: Callable[[], float]
    wall: bool = False


@dataclass(frozen=True)
class Case:
    """A kind of work.

    Attributes:
        contenders: Who is there.
        absent: How to get the others, by package.
        differences: Largest relative difference between results that must be the same, by contender.
        close: Releases what the contenders hold.
    """

    contenders: Sequence[Contender]
    absent: Mapping[str, str]
    differences: Mapping[str, float]
    close: Callable[[], None] = lambda: None
