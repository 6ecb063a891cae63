"""The measurement behind ``democtl bench learning``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from bench_support import Told, machine
from learning_contenders import PACKAGES, Case
from learning_ensemble import ensemble_case
from learning_environments import environments_case
from learning_report import FIGURES, judged
from learning_sac import sac_case

from demo_control.configuration import ConfigurationError

CASES: Mapping[str, Callable[[], Case]] = {
    "sac": sac_case,
    "ensemble": ensemble_case,
    "environments": environments_case,
}


def measure(names: Sequence[str], rounds: int, told: Told) -> dict[str, Any]:
    """Everything.

    Args:
        names: Of cases.
        rounds: Turns of each contender.
        told: Progress.

    Returns:
        The report; see docs/learning_speed.md.

    Raises:
        ConfigurationError: An unknown case.
        DifferentResultsError: Someone computes something else.
    """
    for name in names:
        if name not in CASES:
            raise ConfigurationError(f"case = '{name}': must be one of {', '.join(CASES)}")
    load = os.getloadavg()[0]
    report: dict[str, Any] = {}
    absent: dict[str, str] = {}
    differences: dict[str, Mapping[str, float]] = {}
    for name in names:
        told(name, 0, rounds)
        case = CASES[name]()
        try:
            medians = _medians(case, rounds, partial(told, name))
        finally:
            case.close()
        figure = FIGURES[name]
        report[figure.key] = {who: (1.0 / median if figure.rate else median) for who, median in medians.items()}
        absent.update(case.absent)
        differences[name] = case.differences
    return {
        **report,
        "bars": judged(report),
        "differences": differences,
        "rounds": rounds,
        "threads": 1,
        **machine(PACKAGES, load),
        "absent": absent,
    }


def _medians(case: Case, rounds: int, told: Callable[[int, int], None]) -> dict[str, float]:
    """Seconds per unit of work, of all contenders, which take turns in random order."""
    generator = np.random.default_rng(0)
    for contender in case.contenders:  # what is done once only: memory, caches
        contender.run()
    times: dict[str, list[float]] = {contender.name: [] for contender in case.contenders}
    for number in range(1, rounds + 1):
        for index in generator.permutation(len(case.contenders)):
            contender = case.contenders[index]
            clock = time.perf_counter if contender.wall else time.process_time
            started = clock()
            done = contender.run()
            times[contender.name].append((clock() - started) / done)
        told(number, rounds)
    return {name: float(np.median(values)) for name, values in times.items()}
