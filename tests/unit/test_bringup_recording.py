"""From messages to arrays and figures; messages are stood in for by plain objects with the same fields."""

from __future__ import annotations

import io
import json
import math
import os
import random
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from rich.console import Console

from demo_control.bringup.description import BringUp, BringUpArguments, NodeDescription
from demo_control.bringup.processor_time import ProcessorUse
from demo_control.bringup.recording import make_recording
from demo_control.bringup.result import REFUSED, RunResult, fallbacks
from demo_control.cli.launch import summary_table
from demo_control.tasks import load_task

START_S = 1000.0


def stamp(time_s: float) -> Any:  # noqa: ANN401
    nanoseconds = round((START_S + time_s) * 1e9)
    return SimpleNamespace(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def truth(sequence: int, time_s: float, values: list[float]) -> Any:  # noqa: ANN401
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp(time_s)), sequence=sequence, values=values)


def action(sequence: int, made_s: float, observed_s: float, value: float, source: str = "demo_layer") -> Any:  # noqa: ANN401
    return SimpleNamespace(
        header=SimpleNamespace(stamp=stamp(made_s)), observation_sequence=sequence,
        observation_stamp=stamp(observed_s), source=source, values=[value],
    )  # fmt: skip


def upright_run(num_ticks: int, force: float = 1.0) -> RunResult:
    """A pole that stands still in the middle, with a command 5 ms after each observation; out of order."""
    generator = random.Random(3)
    truths = [truth(k, 0.02 * k, [0.0, 0.0, 1.0, 0.0, 0.0]) for k in range(num_ticks)]
    commands = [action(k, 0.02 * k + 0.005, 0.02 * k, force) for k in range(num_ticks)]
    for messages in (truths, commands):
        generator.shuffle(messages)
    recording = make_recording(truths, commands, commands, commands, [])
    driver = NodeDescription("p", "driver", "p.driver", "driver", ends_run=True)
    bringup = BringUp("swingup", "cartpole", BringUpArguments(seed=4), (driver,))
    return RunResult(bringup, load_task("cartpole"), recording, {"driver": 0}, 20.0)


def test_figures_of_a_perfect_run() -> None:
    summary = upright_run(1001).summary()

    assert summary["success"] is True
    assert summary["upright_fraction_last_10s"] == 1.0
    assert summary["duration_s"] == pytest.approx(20.0)
    assert (summary["observations"], summary["commands"], summary["plans"]) == (1001, 1001, 0)
    assert summary["command_age_ms"] == {"p50": 5.0, "p99": 5.0}
    assert summary["plan_ms"] == {"p50": None, "p99": None}
    assert summary["cost"] == pytest.approx(0.01 * 0.1**2)
    assert summary["return"] == pytest.approx(1000 * (1.0 - 0.01 * 0.1**2))
    assert (summary["seed"], summary["use_layer"], summary["exit_codes"]) == (4, True, {"driver": 0})
    json.dumps(summary, allow_nan=False)


@pytest.mark.parametrize("num_ticks", [0, 1, 2])
def test_a_run_that_hardly_began_still_has_all_figures(num_ticks: int) -> None:
    summary = upright_run(num_ticks).summary()

    assert summary["success"] is False
    assert set(summary) >= {"duration_s", "return", "cost", "overruns", "fallbacks"}
    assert ("upright_fraction_last_10s" in summary) == (num_ticks > 0), "other robots have other figures"
    json.dumps(summary, allow_nan=False)


class FedScore:
    """Knows its figures once it has seen something, and leaves one out where it means nothing."""

    def __init__(self) -> None:
        self._heights: list[float] = []

    def update(self, _time_s: float, observation: npt.NDArray[np.float64], failed: bool) -> None:
        assert not failed
        self._heights.append(float(observation[2]))

    def result(self) -> dict[str, float | bool]:
        lowest = min(self._heights)
        return {"success": True, "lowest": lowest} | ({"long": 1.0} if len(self._heights) > 5 else {})


def test_runs_are_compared_by_the_figures_that_they_have() -> None:
    demonstration = pytest.importorskip("demo_control.report.demonstration", reason="needs ROS 2")
    task = replace(load_task("cartpole"), make_score=FedScore)
    short, long = (replace(upright_run(num_ticks), task=task) for num_ticks in (5, 10))
    table = demonstration.comparison_table(demonstration.Demonstration(task, (short, long), {}, ""))

    rows = {cells[0]: cells[1:] for cells in zip(*(column.cells for column in table.columns), strict=True)}
    assert rows["lowest"] == ("1.000", "1.000")
    assert rows["long"] == ("–", "1.000")


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e200])
def test_a_state_that_is_no_number_costs_its_figures_alone(value: float) -> None:
    truths = [truth(k, 0.02 * k, [0.0, value if k == 5 else 0.0, 1.0, 0.0, 0.0]) for k in range(20)]
    commands = [action(k, 0.02 * k + 0.005, 0.02 * k, 1.0) for k in range(20)]
    recording = make_recording(truths, commands, commands, commands, [])
    summary = replace(upright_run(2), recording=recording, figures={"told": value}).summary()
    assert (summary["return"], summary["cost"], summary["commands"]) == (None, None, 20)
    json.dumps(summary, allow_nan=False)


def test_the_run_starts_when_the_held_plant_is_released() -> None:
    held = [truth(0, time_s, [0.0] * 5) for time_s in (0.0, 0.5, 1.0)]
    recording = make_recording([*held, truth(1, 1.02, [1.0] * 5)], [], [], [], [])

    np.testing.assert_allclose(recording.true_observations.times_s, [0.0, 0.02])
    assert recording.true_observations.values[1, 0] == 1.0


def test_the_vector_in_force_at_a_time() -> None:
    commands = make_recording([], [], [action(0, 1.0, 0.9, 3.0), action(1, 2.0, 1.9, 4.0)], [], []).commands
    first = commands.times_s[0]

    found = commands.at(np.array([first - 0.1, first, first + 0.9, first + 1.0, first + 9.0]))[:, 0]
    assert math.isnan(found[0])
    assert found[1:].tolist() == [3.0, 3.0, 4.0, 4.0]


def test_vectors_of_odd_length_are_left_out() -> None:
    odd = action(1, 0.02, 0.02, 1.0)
    odd.values = [1.0, 2.0]
    recording = make_recording([truth(0, 0.0, [0.0] * 5)], [], [action(0, 0.0, 0.0, 1.0), odd], [], [])

    assert len(recording.commands) == 1


def test_the_drivers_own_figures_come_before_the_tasks() -> None:
    run = upright_run(100)
    figures = {"success": True, "distance_m": 1.5}
    told = RunResult(
        run.bringup, run.task, run.recording, run.exit_codes, 20.0, figures, {"driver": 0.2, "democtl": 0.1}
    )

    summary = told.summary()
    assert (summary["success"], summary["distance_m"], summary["upright_fraction_last_10s"]) == (True, 1.5, 1.0)
    assert summary["processor_cores"] == {"driver": 0.2, "democtl": 0.1, "total": pytest.approx(0.3)}
    assert run.summary()["processor_cores"] == {}


def test_processor_use_is_measured_in_cores() -> None:
    use, names = ProcessorUse(), {"busy": os.getpid(), "gone": 2**22 + 1}
    use.sample(names)
    used_s, began_s = time.process_time(), time.monotonic()
    while time.process_time() < used_s + 0.2:
        math.sqrt(2.0)
    use.sample(names)
    expected = (time.process_time() - used_s) / (time.monotonic() - began_s)

    assert set(use.cores()) == {"busy"}
    assert use.cores()["busy"] == pytest.approx(expected, abs=0.15)


def test_fallbacks_are_counted_by_reason() -> None:
    sources = ("policy:no_plan", "demo_layer", "policy:stale_plan", "policy:no_plan", "policy")
    assert fallbacks(sources) == {"no_plan": 2, "stale_plan": 1}


def test_the_age_at_the_driver_and_what_was_not_permitted_are_shown() -> None:
    quiet = upright_run(101)
    figures = {"command_age_at_driver_ms": {"p50": 1.234, "p99": 2.5, "p99.9": 4.0, "max": 9.0}}
    real_time = {"driver": f"16 MB of heap reserved{REFUSED}fifo 45 (not allowed)", "layer": "fifo 40"}
    summary = replace(quiet, figures=figures, real_time=real_time).summary()
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(summary_table(summary))
    shown = console.export_text()

    assert summary["real_time"] == real_time
    assert summary["composed"] == "none"
    assert "1.23 / 2.50 / 4.00 ms" in shown
    assert "driver: fifo 45 (not allowed)" in shown
    assert shown.count("not permitted") == 1
    console.print(summary_table(quiet.summary()))
    assert "at the driver" not in console.export_text()
