"""What a driver notes of its loop: lateness, ages, and when it was late."""

from __future__ import annotations

import pytest

from demo_control.nodes import loop_figures
from demo_control.nodes.loop_figures import LoopFigures


class Clock:
    @staticmethod
    def monotonic() -> float:
        return 100.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_figures, "time", Clock)


def test_late_commands_and_left_out_ticks_are_noted_with_their_times() -> None:
    figures = LoopFigures(0.005, times_overruns=True)
    figures.add_tick(0.0001, 0)
    figures.add_tick(0.066, 13)
    figures.add_command(0.002)
    figures.add_command(0.0062, 0.001)

    result = figures.result()
    assert result["ticks"] == 2
    assert result["late_commands"] == 1
    assert result["command_age_at_driver_ms"] == {"p50": 2.01, "p99": 6.2, "p99.9": 6.2, "max": 6.2}
    assert result["late_from_until"] == [(99.934, 100.0, 13), (99.9928, 99.999, 1)]


def test_a_run_that_is_always_late_keeps_a_bounded_number_of_times() -> None:
    figures = LoopFigures(0.005, times_overruns=True)
    for _ in range(1500):
        figures.add_command(0.006)

    result = figures.result()
    assert result["late_commands"] == 1500
    assert len(result["late_from_until"]) == 1000  # type: ignore[arg-type]


def test_times_that_are_not_real_are_not_noted() -> None:
    figures = LoopFigures(0.005, times_overruns=False)
    figures.add_command(0.006)

    assert figures.result()["late_commands"] == 1
    assert figures.result()["late_from_until"] == []
