"""A page about figures that no robot has: what a recording's numbers are, nobody has vouched for."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo_control.bags.reader import Bag
from demo_control.bundle import default_bundle
from demo_control.report.bag_reading import read_contents
from demo_control.report.figures import histogram
from demo_control.report.realised_costs import realised_costs
from demo_control.tasks import load_task

from .recorded_bag import RobotRecorder, record_cartpole

needs_bundle = pytest.mark.skipif(
    not default_bundle("cartpole").is_dir(), reason="no bundle of the cart-pole is shipped"
)


@pytest.mark.parametrize("value", [-1e21, -1.75e308, 1.75e308, 0.0, 1e30])
def test_times_of_any_size_are_counted(value: float) -> None:
    """Ages are far below zero where the stamps are of two clocks."""
    figure = histogram(np.array([value, value, np.nan]), "ms", "#000000", {"limit": 20.0})
    counts = [int(sum(bars.y)) for bars in figure.data if bars.type == "bar"]
    assert counts == ([] if abs(value) > 1e38 else [2])


@needs_bundle
@pytest.mark.parametrize("age_s", [math.nan, math.inf, 1e300])
def test_a_plan_of_no_age_and_no_observation_is_shown_where_it_was_ready(age_s: float, tmp_path: Path) -> None:
    recorder = RobotRecorder(tmp_path / "bag")
    say = recorder.scribe.say

    def lie(topic: str, kind: str, stamp_ns: int, **fields: Any) -> None:  # noqa: ANN401 - of the type
        if topic == "/planner_status":
            fields.update(plan_age_s=age_s, observation_sequence=10**6)
        say(topic, kind, stamp_ns, **fields)

    recorder.scribe.say = lie  # type: ignore[method-assign]
    recorder.activate()
    recorder.run(20)
    plans = read_contents(Bag.open(recorder.close())).plans
    assert len(plans) > 0
    assert plans.starts_s.tolist() == plans.times_s.tolist()


@needs_bundle
@pytest.mark.parametrize("horizon", ["NaN", "Infinity", "1000000000000", "1" + 400 * "0", "true"])
def test_settings_that_cannot_be_cost_the_comparison_alone(horizon: str, tmp_path: Path) -> None:
    contents = read_contents(Bag.open(record_cartpole(tmp_path / "bag", 20)))
    contents.settings = {**contents.settings, "horizon": json.loads(horizon)}
    found = realised_costs(contents, load_task("cartpole"), contents.settings)
    assert found is not None
    assert len(found.costs) == len(contents.observations)
