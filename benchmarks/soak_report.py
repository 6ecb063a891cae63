"""Verdict, table and plot of the long walk."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

Report = Mapping[str, Any]

WARM_UP_S = 60.0
"""From each walk's start on: until then, buffers fill to the size that they keep."""
_FEWEST_SAMPLES = 10
_BOUNDS = {
    "falls": 0.0,
    "growth of memory after warm-up, percent": 1.0,
    "descriptors more than after warm-up": 0.0,
    "growth of shared memory, percent": 1.0,
    "shift of the loop's phase, ms": 0.1,
}


def verdict(report: Report) -> dict[str, dict[str, Any]]:
    """The bars, each with its figure, bound and whether it holds; on the last walk's processes.

    Without a walk that came to its end, or enough samples after the warm-up, a figure is None, and its bar does not
    hold.
    """
    samples, walks = _warm(report), report["walks"]
    figures: dict[str, float | None] = dict.fromkeys(_BOUNDS)
    if walks:
        figures["falls"] = sum(walk["falls"] or 0 for walk in walks)
    if len(samples) >= _FEWEST_SAMPLES:
        memory, descriptors = ([list(s[name].values()) for s in samples] for name in ("memory_mb", "descriptors"))
        figures["growth of memory after warm-up, percent"] = max(map(_growth_percent, zip(*memory, strict=True)))
        figures["descriptors more than after warm-up"] = max(
            last - first for first, last in zip(descriptors[0], descriptors[-1], strict=True)
        )
        figures["growth of shared memory, percent"] = _growth_percent([s["shared_memory_mb"] for s in samples])
        figures["shift of the loop's phase, ms"] = abs(_moved_ms(samples))
    return {text: _bar(figures[text], bound) for text, bound in _BOUNDS.items()}


def _warm(report: Report) -> list[Report]:
    """Samples of the last walk after its warm-up, with all its processes there."""
    start = (report["segments"] or [0.0])[-1]
    warm = [s for s in report["samples"] if s["elapsed_s"] >= start + WARM_UP_S]
    return [s for s in warm if None not in s["memory_mb"].values() and None not in s["descriptors"].values()]


def _bar(value: float | None, bound: float) -> dict[str, Any]:
    shown = None if value is None else round(float(value), 4)
    return {"value": shown, "bound": bound, "holds": value is not None and bool(value <= bound)}


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """The medians of the first and the last tenth: single samples say little."""
    part = max(1, len(values) // 10)
    return float(np.median(values[:part])), float(np.median(values[-part:]))


def _growth_percent(values: Sequence[float]) -> float:
    first, last = _ends(values) if values else (0.0, 0.0)
    return 100.0 * (last - first) / first if first else 0.0


def _moved_ms(samples: Sequence[Report]) -> float:
    phases = [s["phase_ms"] for s in samples if s["phase_ms"] is not None]
    first, last = _ends(phases) if phases else (0.0, 0.0)
    return last - first


def console_table(report: Report) -> Table:
    """For the terminal."""
    minutes = (report["samples"][-1]["elapsed_s"] if report["samples"] else 0.0) / 60.0
    result = Table("", "measured", "bound", "", title=f"{minutes:.1f} minutes of walking")
    for text, bar in report["verdict"].items():
        colour = "green" if bar["holds"] else "red"
        result.add_row(text, _value(bar), f"{bar['bound']:g}", f"[{colour}]{_word(bar)}[/]")
    return result


def _value(bar: Report) -> str:
    return "" if bar["value"] is None else f"{bar['value']:g}"


def _word(bar: Report) -> str:
    return "not measured" if bar["value"] is None else "holds" if bar["holds"] else "does not hold"


def table(report: Report) -> Iterator[str]:
    """As Markdown."""
    samples = report["samples"]
    yield f"{samples[-1]['elapsed_s'] / 60.0:.0f} minutes of walking, composed: {report['composed']}. "
    yield f"{report['processor']}, {report['cores']} cores."
    yield ""
    yield "| bar | measured | bound | |"
    yield "|---|---|---|---|"
    for text, bar in report["verdict"].items():
        yield f"| {text} | {_value(bar)} | {bar['bound']:g} | {_word(bar)} |"


def plot(report: Report, path: Path) -> None:
    """Memory, descriptors and phase over time."""
    import matplotlib as mpl  # noqa: PLC0415 - only figures need it

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415 - see above
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - see above

    samples = report["samples"]
    minutes = np.array([s["elapsed_s"] for s in samples]) / 60.0
    figure, axes = pyplot.subplots(3, 1, figsize=(9, 8), sharex=True)
    # Processes have the same number of descriptors: dashes show what lies below.
    for name, line in zip(samples[0]["memory_mb"], itertools.cycle(("-", "--", ":"))):
        axes[0].plot(minutes, [s["memory_mb"].get(name) or np.nan for s in samples], line, label=name)
        axes[1].plot(minutes, [s["descriptors"].get(name) or np.nan for s in samples], line, label=name)
    axes[1].yaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_ylabel("resident memory, MB")
    axes[1].set_ylabel("open descriptors")
    axes[2].set_ylabel("phase, ms from\nthe walk's median")
    phases = np.array([np.nan if s["phase_ms"] is None else s["phase_ms"] for s in samples])
    starts = [*report["segments"], np.inf]
    for start, end in itertools.pairwise(starts):
        walk = (60.0 * minutes >= start) & (60.0 * minutes < end)
        if walk.any():
            axes[2].plot(minutes[walk], phases[walk] - np.nanmedian(phases[walk]), color="tab:blue")
    axes[2].set_xlabel("minutes")
    axes[0].legend(fontsize=8)
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=120, format="png")
    pyplot.close(figure)
