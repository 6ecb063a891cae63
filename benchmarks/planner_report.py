"""What the planner's benchmark found: bars that hold or not, and tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.markup import escape
from rich.table import Column, Table

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Bar:
    """What a figure is to reach.

    Attributes:
        text: What is measured.
        place: Keys of the figure in the report.
        bound: The figure is at most this, or at least.
        at_least: Which of both.
    """

    text: str
    place: tuple[str, ...]
    bound: float
    at_least: bool = False


def _times_limit(case: str, engine: str, bound: float) -> Bar:
    return Bar(f"{case}: {engine} / limit", ("cases", case, "engines", engine, "times_limit"), bound)


def _times_native(case: str, engine: str, bound: float) -> Bar:
    return Bar(f"{case}: {engine} / native", ("cases", case, "engines", engine, "times_native"), bound, at_least=True)


BARS = (
    _times_limit("a1", "native", 1.7),
    *(_times_limit(case, "native", 1.15) for case in ("b1", "b2", "b4")),
    *(_times_limit(case, "onnx", 1.5) for case in ("b1", "b2")),
    Bar("b2, two threads: native / limit", ("two_threads", "engines", "native", "times_limit"), 1.25),
    _times_native("a1", "pytorch_mppi", 8.0),
    _times_native("b1", "pytorch_mppi", 2.2),
    _times_native("ensemble", "mbrl_cem", 3.0),
    Bar("b1: whole plan / native", ("planner_overhead", "b1", "native"), 1.10),
    *(Bar(f"{case}: plans' p99 / p50, quiet", ("jitter", "cases", case, "quiet", "p99_over_p50"), 1.4)
      for case in ("a1", "b1")),
)  # fmt: skip


def judged(report: Report) -> list[dict[str, object]]:
    """The bars whose figures were measured, and whether each holds."""
    found = []
    for bar in BARS:
        value: Any = report
        for key in bar.place:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            holds = value >= bar.bound if bar.at_least else value <= bar.bound
            side = "at_least" if bar.at_least else "at_most"
            found.append({"figure": bar.text, "value": value, side: bar.bound, "holds": holds})
    return found


def tables(report: Report) -> Iterator[Table]:
    """The report for people."""
    yield _engine_table(report)
    if report["two_threads"]:
        yield _thread_table(report["two_threads"])
    if report["jitter"]:
        yield _jitter_table(report["jitter"])
    if report["bars"]:
        yield _bar_table(report["bars"])


def _engine_table(report: Report) -> Table:
    title = f"One thread, median processor time; {report['peak_gflops']:.0f} GF/s at most ({report['variant']})"
    names = (Column(name, no_wrap=True) for name in ("plan", "engine"))
    table = Table(*names, *_right("ms", "× limit", "against native", "difference"), title=title)
    for name, case in report["cases"].items():
        for engine, figures in case["engines"].items():
            table.add_row(
                name,
                engine,
                f"{figures['median_ms']:.3f}",
                f"{figures['times_limit']:.2f}",
                _against(engine, figures["times_native"]),
                f"{figures['difference']:.0e}",
            )
        table.add_section()
    return table


def _against(engine: str, ratio: float) -> str:
    """'8.3 × slower'; for a whole plan on native, what it adds."""
    if engine == "native":
        return ""
    if engine == "native_plan":
        return f"+{100 * (ratio - 1.0):.0f} %"
    return f"{ratio:.1f} × slower" if ratio >= 1.0 else f"{1.0 / ratio:.1f} × faster"


def _thread_table(found: Report) -> Table:
    table = Table("engine", *_right("ms", "× limit"), title=f"{found['case']}, two threads, median wall time")
    for engine, figures in found["engines"].items():
        table.add_row(engine, f"{figures['median_ms']:.3f}", f"{figures['times_limit']:.2f}")
    return table


def _jitter_table(found: Report) -> Table:
    title = (
        f"{found['plans']} whole plans ({found['engine']}), ms; rests of {found['rest_ms']:g} ms between them, or none"
    )
    names = (Column(name, no_wrap=True) for name in ("plan", "beside", "clock"))
    table = Table(*names, *_right("p50", "p99", "p99.9", "max", "p99/p50"), title=title)
    busy = f"{found['busy_processes']} busy"
    beside = {"quiet": "nothing", "busy": busy, "busy_resting": f"{busy}, rests"}
    keys = ("p50_ms", "p99_ms", "p99_9_ms", "max_ms", "p99_over_p50")
    for name, case in found["cases"].items():
        for kind, figures in case.items():
            table.add_row(name, beside[kind], "wall", *(f"{figures[key]:.2f}" for key in keys))
            table.add_row("", "", "cpu", *(f"{figures['processor'][key]:.2f}" for key in keys))
    return table


def _bar_table(bars: list[Report]) -> Table:
    table = Table("bar", *_right("value", "bound"), "", title="Bars")
    for bar in bars:
        bound = f"≥ {bar['at_least']:g}" if "at_least" in bar else f"≤ {bar['at_most']:g}"
        holds = "[green]holds" if bar["holds"] else "[red]missed"
        table.add_row(escape(str(bar["figure"])), f"{bar['value']:.2f}", bound, holds)
    return table


def _right(*names: str) -> Iterator[Column]:
    return (Column(name, justify="right", no_wrap=True) for name in names)
