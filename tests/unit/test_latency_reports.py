"""Verdicts, tables and plots of the benchmarks of latency and of the long walk, on reports that are made up."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import latency
import latency_report
import soak_report

from demo_control.standstill import Standstills

STANDSTILLS = {"longest_ms": 99.4, "number": 2, "total_ms": 150.0, "share_percent": 0.0512}


def run(composed: str, beside: str, p50: float, p99: float, overruns: float = 0.0) -> dict[str, Any]:
    ages = {"p50": p50, "p99": p99, "p99.9": 2.0 * p99, "max": 3.0 * p99}
    return {
        "composed": composed, "scheduling": "fifo", "beside": beside, "age_ms": ages, "tick_lateness_ms": ages,
        "overruns_percent": overruns, "overruns_unexplained_percent": 0.5 * overruns if beside == "nothing" else None,
        "interruptions": [{"over_1_ms_per_s": 0.25}, {"refusal": "not permitted"}],
        "standstills": STANDSTILLS if beside == "nothing" else None,
    }  # fmt: skip


def report_of(*runs: dict[str, Any]) -> dict[str, Any]:
    named = {latency_report.name_of(r["composed"], r["scheduling"], r["beside"]): r for r in runs}
    about = {"seconds": 600.0, "processor": "p", "cores": 2, "load_average": {"before": 0.1}}
    return {**about, "runs": named, "bars": latency_report.bars(named)}


def test_each_bar_is_held_against_its_own_run() -> None:
    report = report_of(run("none", "nothing", 1.2, 2.4), run("none", "hogs", 1.3, 5.1), run("all", "nothing", 0.4, 1.5))

    assert {text: bar["holds"] for text, bar in report["bars"].items()} == {
        "median": True,
        "99th percentile": True,
        "99.9th percentile": True,
        "overruns, percent": True,
        "overruns that no standstill explains, percent": True,
        "99th percentile beside hogs": False,
        "99th percentile, all in one process": True,
    }


def test_runs_that_were_not_made_have_no_bars_and_overruns_count() -> None:
    report = report_of(run("none", "nothing", 1.6, 2.4, overruns=0.016))

    assert [text for text, bar in report["bars"].items() if not bar["holds"]] == ["median", "overruns, percent"]
    assert len(report["bars"]) == 5


def test_a_standstill_explains_an_overrun_that_would_have_been_in_time_without_it() -> None:
    found = Standstills(((10.001, 10.003), (20.0, 20.065)))
    late = [(10.0, 10.0065, 1), (10.0025, 10.009, 1), (20.002, 20.067, 12), (30.0, 30.006, 1)]

    assert latency.explained(found, late) == 13
    assert latency.explained(Standstills(), late) == 0


def test_the_tables_and_the_plot_have_every_run(tmp_path: Path) -> None:
    report = report_of(run("none", "nothing", 1.2, 2.4), run("all", "hogs", 0.4, 1.5))
    lines = list(latency_report.table(report))
    latency_report.plot(report, tmp_path / "latency.png")

    assert "| overruns that no standstill explains, percent | 0 | 0.01 | holds |" in lines
    [separate] = [line for line in lines if line.startswith("| separate | fifo | nothing | 1.20 | 2.40 | 4.80")]
    assert separate.endswith("| 0.25, ? | 2 ×, 99.4, 0.051 % |")
    [composed] = [line for line in lines if line.startswith("| all in one | fifo | hogs | 0.40 | 1.50")]
    assert composed.endswith("| 0.25, ? | ? |")
    assert (tmp_path / "latency.png").stat().st_size > 5000
    assert [table.row_count for table in latency_report.console_tables(report)] == [2, 5]


def walk(seconds: int = 3600, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - anything that a sample has
    samples = []
    for elapsed in range(0, seconds, 10):
        warm = min(1.0, elapsed / 60.0)
        sample: dict[str, Any] = {
            "elapsed_s": float(elapsed),
            "memory_mb": {"driver": 100.0 + 20.0 * warm},
            "descriptors": {"driver": 15 + round(5 * warm)},
            "shared_memory_mb": 10.0,
            "phase_ms": 0.02 * (elapsed // 10 % 2),
        }
        for name, per_hour in changes.items():
            grown = per_hour * elapsed / 3600.0
            if isinstance(sample[name], dict):
                sample[name] = {"driver": sample[name]["driver"] + round(grown, 3 if name == "memory_mb" else 0)}
            else:
                sample[name] += grown
        samples.append(sample)
    report = {"segments": [0.0], "samples": samples, "walks": [{"falls": 0}], "composed": "none"}
    return {**report, "processor": "p", "cores": 2, "verdict": soak_report.verdict(report)}


def failing(report: dict[str, Any]) -> list[str]:
    return [text for text, bar in report["verdict"].items() if not bar["holds"]]


def test_what_fills_while_warming_up_is_no_growth() -> None:
    assert failing(walk()) == []


@pytest.mark.parametrize(
    ("changes", "bar"),
    [
        ({"memory_mb": 2.0}, "growth of memory after warm-up, percent"),
        ({"descriptors": 3}, "descriptors more than after warm-up"),
        ({"shared_memory_mb": 0.3}, "growth of shared memory, percent"),
        ({"phase_ms": 0.2}, "shift of the loop's phase, ms"),
        ({"phase_ms": -0.2}, "shift of the loop's phase, ms"),
    ],
)
def test_what_grows_or_moves_is_found(changes: dict[str, float], bar: str) -> None:
    assert failing(walk(**changes)) == [bar]


def test_a_fall_counts_and_a_walk_that_goes_on_is_judged_by_its_new_processes() -> None:
    report = walk(600)
    report["walks"].append({"falls": 1})
    later = [{**sample, "elapsed_s": sample["elapsed_s"] + 600.0} for sample in walk(600)["samples"]]
    for sample in later:
        sample["memory_mb"] = {"driver": sample["memory_mb"]["driver"] + 50.0}
    report["samples"] += later
    report["segments"].append(600.0)
    report["verdict"] = soak_report.verdict(report)

    assert failing(report) == ["falls"]


def test_the_long_walk_is_drawn(tmp_path: Path) -> None:
    report = walk(600)
    soak_report.plot(report, tmp_path / "soak.png")

    assert (tmp_path / "soak.png").stat().st_size > 5000
    assert any("shift of the loop's phase" in line for line in soak_report.table(report))
    assert soak_report.console_table(report).row_count == 5


@pytest.mark.parametrize("seconds", [0, 100])
def test_what_was_not_measured_does_not_hold(seconds: int) -> None:
    report = walk(seconds)
    report["walks"] = []
    report["verdict"] = soak_report.verdict(report)

    assert len(failing(report)) == 5
    assert {bar["value"] for bar in report["verdict"].values()} == {None}
    assert soak_report.console_table(report).row_count == 5
