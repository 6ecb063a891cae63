"""What the benchmark of learning found: bars that hold or not, and tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from learning_contenders import OURS, OURS_IN_BFLOAT16
from rich.table import Column, Table

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Figure:
    """What is measured of a case.

    Attributes:
        key: Of the figures in the report.
        text: For people.
        rate: More is better; else it is a time.
    """

    key: str
    text: str
    rate: bool


FIGURES: Mapping[str, Figure] = {
    "sac": Figure("sac_updates_per_s", "SAC, updates per second", rate=True),
    "ensemble": Figure("ensemble_epoch_s", "Ensemble, seconds per epoch", rate=False),
    "environments": Figure("env_steps_per_s", "Half-cheetah with a linear policy, steps per second", rate=True),
}


@dataclass(frozen=True)
class Bar:
    """How many times faster someone is to be than someone else.

    Attributes:
        text: What is compared.
        case: Of :data:`FIGURES`.
        who: Is to be faster.
        reference: Than this one.
        bound: At least so many times.
    """

    text: str
    case: str
    who: str
    reference: str
    bound: float


BARS = (
    Bar("SAC updates against stable-baselines3", "sac", OURS, "stable_baselines3", 1.5),
    Bar("ensemble epochs against mbrl-lib", "ensemble", OURS, "mbrl", 1.05),
    Bar("environment steps against Gymnasium", "environments", OURS, "gymnasium", 1.4),
    Bar("environment steps of two processes against one", "environments", "two_processes", "one_process", 1.8),
)

TEXTS = {
    OURS: "DeMo Control",
    OURS_IN_BFLOAT16: "DeMo Control, bfloat16",
    "autograd": "PyTorch, plain",
    "stable_baselines3": "stable-baselines3",
    "mbrl": "mbrl-lib",
    "gymnasium": "Gymnasium",
    "one_process": "one process (wall)",
    "two_processes": "two processes (wall)",
}


def judged(report: Report) -> list[dict[str, object]]:
    """The bars whose figures were measured, and whether each holds."""
    found = []
    for bar in BARS:
        figure = FIGURES[bar.case]
        measured = report.get(figure.key, {})
        if bar.who in measured and bar.reference in measured:
            ratio = measured[bar.who] / measured[bar.reference]
            value = ratio if figure.rate else 1.0 / ratio
            found.append({"figure": bar.text, "value": value, "bound": bar.bound, "holds": value >= bar.bound})
    return found


def tables(report: Report) -> Iterator[Table]:
    """The report for people."""
    table = Table("case", "who", *_right("median"), title="One thread, median processor time unless 'wall' is said")
    for figure in FIGURES.values():
        for who, value in report.get(figure.key, {}).items():
            table.add_row(figure.text, TEXTS[who], f"{value:.0f}" if value >= 100 else f"{value:.3g}")
        table.add_section()
    yield table
    bars = Table("bar", *_right("× faster", "bound"), "", title="Bars")
    for bar in report["bars"]:
        holds = "[green]holds" if bar["holds"] else "[red]missed"
        bars.add_row(bar["figure"], f"{bar['value']:.2f}", f"≥ {bar['bound']:g}", holds)
    yield bars


def _right(*names: str) -> Iterator[Column]:
    return (Column(name, justify="right", no_wrap=True) for name in names)
