"""Bars, tables and plot of the benchmark of the commands' age."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

Report = Mapping[str, Any]
QUIET, HOGS = "nothing", "hogs"
_PERCENTILES = ("p50", "p99", "p99.9", "max")
PERIOD_MS = 5.0
_HEAD = (
    "nodes", "scheduling", "beside", "p50", "p99", "p99.9", "longest", "overruns", "unexplained", "tick p99", "taken",
    "stood still",
)  # fmt: skip

# Bars: name, run, figure, bound in ms or percent.
_BARS = (
    ("median", ("none", "fifo", QUIET), "p50", 1.5),
    ("99th percentile", ("none", "fifo", QUIET), "p99", 3.0),
    ("99.9th percentile", ("none", "fifo", QUIET), "p99.9", 5.0),
    ("overruns, percent", ("none", "fifo", QUIET), "overruns_percent", 0.01),
    ("overruns that no standstill explains, percent", ("none", "fifo", QUIET), "overruns_unexplained_percent", 0.01),
    ("99th percentile beside hogs", ("none", "fifo", HOGS), "p99", 5.0),
    ("99th percentile, all in one process", ("all", "fifo", QUIET), "p99", 1.5),
)


def name_of(composed: str, scheduling: str, beside: str) -> str:
    """The name of a kind of run."""
    nodes = {"none": "separate", "policy,layer": "policy+layer", "all": "all in one"}[composed]
    return f"{nodes}, {scheduling}, beside {beside}"


def bars(runs: Mapping[str, Report]) -> dict[str, Any]:
    """Which bars hold; those whose run was not made, or that nothing is known of, are left out."""
    result = {}
    for text, case, figure, bound in _BARS:
        found = runs.get(name_of(*case))
        if found is not None:
            value = found["age_ms"][figure] if figure in _PERCENTILES else found.get(figure)
            if value is None and figure not in _PERCENTILES:
                continue
            holds = value is not None and value <= bound
            result[text] = {"value": value, "bound": bound, "holds": holds}
    return result


def _rows(report: Report) -> Iterator[tuple[str, ...]]:
    for run in report["runs"].values():
        ages = (f"{run['age_ms'][name]:.2f}" for name in _PERCENTILES)
        nodes = name_of(run["composed"], run["scheduling"], run["beside"]).split(",")[0]
        late = f"{run['tick_lateness_ms']['p99']:.2f}"
        yield (
            nodes,
            run["scheduling"],
            run["beside"],
            *ages,
            f"{run['overruns_percent']:.3f} %",
            _percent(run.get("overruns_unexplained_percent")),
            late,
            _taken(run),
            _stood_still(run),
        )


def _percent(value: float | None) -> str:
    return "?" if value is None else f"{value:.3f} %"


def _taken(run: Report) -> str:
    """Interruptions of over 1 ms a second, before and after a run."""
    counts = (found.get("over_1_ms_per_s") for found in run["interruptions"])
    return ", ".join("?" if count is None else f"{count:.2g}" for count in counts)


def _stood_still(run: Report) -> str:
    """How often cores stood still for longer than a control period meanwhile, for how long at most, and their share."""
    found = run.get("standstills")
    if found is None:
        return "?"
    share = f", {found['share_percent']:.2g} %" if "share_percent" in found else ""
    return f"{found['number']} ×, {found['longest_ms']:.1f}{share}"


def console_tables(report: Report) -> tuple[Table, Table]:
    """For the terminal: the runs, and the bars."""
    title = f"Age of commands at the driver, ms; runs of {report['seconds']:g} s"
    runs = Table("run", *_PERCENTILES, "overruns", "unexplained", "stood still", title=title)
    for name, run in report["runs"].items():
        ages = (f"{run['age_ms'][p]:.2f}" for p in _PERCENTILES)
        unexplained = _percent(run.get("overruns_unexplained_percent"))
        runs.add_row(name, *ages, f"{run['overruns_percent']:.3f} %", unexplained, _stood_still(run))
    bounds = Table("bar", "measured", "bound", "")
    for text, bar in report.get("bars", {}).items():
        holds = "[green]holds[/]" if bar["holds"] else "[red]does not hold[/]"
        bounds.add_row(text, f"{bar['value']:.3g}", f"{bar['bound']:g}", holds)
    return runs, bounds


def table(report: Report) -> Iterator[str]:
    """As Markdown."""
    load = report["load_average"]["before"]
    yield f"Age of commands at the driver in ms, 200 Hz, runs of {report['seconds']:g} s. {report['processor']},"
    yield f"{report['cores']} cores, load {load:.1f} beforehand. taken: how often in a second the machine itself"
    yield "stopped a real-time thread for over 1 ms, right before and after the run (`democtl doctor`: interruptions)."
    yield "stood still: how often, meanwhile, a thread of a higher priority than the nodes' had to wait for over 5 ms"
    yield "for its core, the longest, and the share of the time in which one had to wait for over 0.2 ms: at such times"
    yield "no node ran there either. unexplained: overruns (late commands, left-out ticks) that would have been some"
    yield "without those times, too."
    yield ""
    yield "| " + " | ".join(_HEAD) + " |"
    yield "|" + "---|" * len(_HEAD)
    for row in _rows(report):
        yield "| " + " | ".join(row) + " |"
    yield ""
    yield "| bar | measured | bound | |"
    yield "|---|---|---|---|"
    for text, bar in report.get("bars", {}).items():
        yield f"| {text} | {bar['value']:.3g} | {bar['bound']:g} | {'holds' if bar['holds'] else 'does not hold'} |"


def plot(report: Report, path: Path) -> None:
    """Percentiles of each kind of run."""
    import matplotlib as mpl  # noqa: PLC0415 - only figures need it

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415 - see above

    figure, axes = pyplot.subplots(figsize=(9, 5))
    colours = {"none": "tab:blue", "policy,layer": "tab:orange", "all": "tab:green"}
    for name, run in report["runs"].items():
        values = [run["age_ms"][p] for p in _PERCENTILES]
        axes.plot(
            _PERCENTILES,
            values,
            color=colours[run["composed"]],
            linestyle="-" if run["scheduling"] == "fifo" else ":",
            marker="o" if run["beside"] == QUIET else "x",
            label=name,
        )
    axes.axhline(PERIOD_MS, color="black", linewidth=0.8)
    axes.text(1.5, PERIOD_MS, "control period", va="bottom", ha="center")
    axes.set_yscale("log")
    for labels in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        labels("{x:g}")  # not as powers of ten
    axes.set_ylabel("age of a command at the driver, ms")
    axes.set_xlabel("percentile")
    axes.grid(which="both", alpha=0.3)
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=120, format="png")
    pyplot.close(figure)
