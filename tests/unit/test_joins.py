"""What the benchmark of joining programs makes of a run."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from demo_control.bringup.recording import Series

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import joins


def applied(times_s: list[float], sequences: list[int]) -> Series:
    return Series(np.array(times_s), np.array(sequences), np.zeros((len(times_s), 1)))


def test_an_interval_is_between_commands_whatever_the_driver_puts_out_in_between() -> None:
    # Commands at 0, 0.02 and 0.2; at 0.12 the driver stops, answering nothing new.
    series = applied([0.0, 0.02, 0.12, 0.14, 0.2, 0.22], [1, 2, 2, 0, 11, 12])
    assert joins.longest_interval_s(series, 0.0, 1.0) == pytest.approx(0.18)
    assert joins.longest_interval_s(series, 0.0, 0.1) == pytest.approx(0.02)
    assert joins.longest_interval_s(series, 0.2, 1.0) == pytest.approx(0.02)


@pytest.mark.parametrize(("times_s", "sequences"), [([], []), ([0.5], [3])])
def test_without_two_commands_there_is_no_interval(times_s: list[float], sequences: list[int]) -> None:
    assert joins.longest_interval_s(applied(times_s, sequences), 0.0, 1.0) == 0.0


def test_stops_are_told_apart_by_what_the_machine_did() -> None:
    counted = joins.summary(
        [
            joins.Join(6.0, 1.0, 20.0),
            joins.Join(10.0, 99.0, 20.0),
            joins.Join(14.0, 2.0, 330.0),
            joins.Join(18.0, 99.0, 150.0),
        ]
    )
    assert counted == {
        "joins": 4,
        "with_a_stop": 2,
        "while_the_machine_stood_still": 1,
        "longest_interval_beside_these_ms": 330.0,
    }
