"""The measurement behind ``democtl bench learning``."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from learning_contenders import OURS, Case, versions
from learning_ensemble import ensemble_case
from learning_environments import environments_case
from learning_sac import sac_case

from demo_control.configuration import ConfigurationError
from demo_control.machine import processor_name, usable_cores

Told = Callable[[str, int, int], None]
"""Is told what is measured, how far it has come, and how far it will go."""


@dataclass(frozen=True)
class Figure:
    """What a case gives.

    Attributes:
        key: In the report.
        make: Builds the case.
        per_second: It is work per second, else seconds per unit of work.
    """

    key: str
    make: Callable[[], Case]
    per_second: bool = True


CASES: Mapping[str, Figure] = {
    "sac": Figure("sac_updates_per_s", sac_case),
    "ensemble": Figure("ensemble_epoch_s", ensemble_case, per_second=False),
    "environments": Figure("env_steps_per_s", environments_case),
}


@dataclass(frozen=True)
class Bar:
    """How many times faster one contender is to be than another.

    Attributes:
        case: Of both.
        quick: Who is to be faster.
        slow: Than whom.
        bound: At least so many times.
    """

    case: str
    quick: str
    slow: str
    bound: float


BARS = (
    Bar("sac", OURS, "stable_baselines3", 1.5),
    Bar("ensemble", OURS, "mbrl", 1.05),
    Bar("environments", OURS, "gymnasium", 1.4),
    Bar("environments", "two_processes", "one_process", 1.8),
)


def measure(names: Sequence[str], rounds: int, told: Told) -> dict[str, Any]:
    """Everything.

    Args:
        names: Of cases.
        rounds: Turns of each contender.
        told: Progress.

    Returns:
        The report; see docs/training.md.

    Raises:
        ConfigurationError: An unknown case.
        DifferentResultsError: Someone computes something else.
    """
    for name in names:
        if name not in CASES:
            raise ConfigurationError(f"case '{name}': must be one of {', '.join(CASES)}")
    load = [os.getloadavg()[0]]
    found: dict[str, dict[str, float]] = {}
    absent: dict[str, str] = {}
    differences: dict[str, dict[str, float]] = {}
    for name in names:
        told(name, 0, rounds)
        case = CASES[name].make()
        try:
            rates = _rates(name, case, rounds, told)
        finally:
            case.close()
        per_second = CASES[name].per_second
        found[name] = {who: rate if per_second else 1.0 / rate for who, rate in rates.items()}
        absent.update(case.absent)
        differences[name] = dict(case.differences)
    load.append(os.getloadavg()[0])
    return {
        **{CASES[name].key: figures for name, figures in found.items()},
        "differences": differences,
        "threads": 1,
        "rounds": rounds,
        "processor": processor_name(),
        "cores": usable_cores(),
        "load_average": {"before": load[0], "after": load[1]},
        "versions": {"python": platform.python_version(), **versions()},
        "absent": absent,
        "bars": _judged(found),
    }


def _rates(name: str, case: Case, rounds: int, told: Told) -> dict[str, float]:
    """Median work per second of each contender."""
    generator = np.random.default_rng(0)
    rates: dict[str, list[float]] = {contender.name: [] for contender in case.contenders}
    for contender in case.contenders:
        contender.run()  # allocates what it keeps
    for number in range(1, rounds + 1):
        for index in generator.permutation(len(case.contenders)):
            contender = case.contenders[index]
            clock = time.perf_counter if contender.wall else time.process_time
            started = clock()
            work = contender.run()
            rates[contender.name].append(work / (clock() - started))
        told(name, number, rounds)
    return {who: float(np.median(values)) for who, values in rates.items()}


def _judged(found: Mapping[str, Mapping[str, float]]) -> list[dict[str, object]]:
    """The bars whose figures were measured, and whether each holds."""
    judged: list[dict[str, object]] = []
    for bar in BARS:
        figures = found.get(bar.case, {})
        if bar.quick in figures and bar.slow in figures:
            ratio = figures[bar.quick] / figures[bar.slow]
            value = ratio if CASES[bar.case].per_second else 1.0 / ratio
            text = f"{bar.case}: {bar.quick} / {bar.slow}"
            judged.append({"figure": text, "value": value, "at_least": bar.bound, "holds": value >= bar.bound})
    return judged
