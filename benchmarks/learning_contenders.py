"""Who takes part in ``democtl bench learning``: one kind of work, done by us and by others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata

OURS = "ours"
PACKAGES = ("numpy", "torch", "stable_baselines3", "mbrl", "gymnasium", "mujoco")
_EXTRA = "pip install -e '.[bench]'"
_HOW_TO_INSTALL = {
    "torch": _EXTRA,
    "stable_baselines3": _EXTRA,
    # Its pins (an old hydra-core) do not install on current Pythons; the extra has what it really needs.
    "mbrl": f"{_EXTRA} && pip install --no-deps 'mbrl==0.2.*'",
}


class DifferentResultsError(RuntimeError):
    """A contender does not compute what the others compute: its time would mean nothing."""


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


def those_there(
    makers: Mapping[str, Callable[[], Sequence[Contender]]],
) -> tuple[list[Contender], dict[str, str]]:
    """The contenders that can be made, and how to get the others.

    Args:
        makers: By the package that they need.
    """
    found: list[Contender] = []
    absent: dict[str, str] = {}
    for package, make in makers.items():
        try:
            found += make()
        except ImportError as error:
            absent[package] = f"{_HOW_TO_INSTALL[package]} ({error})"
    return found, absent


def versions() -> dict[str, str | None]:
    """Versions of what takes part; None for what is absent."""
    found: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found
