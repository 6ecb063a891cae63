"""The page of plots is drawn from any recording, also from an empty one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demo_control.bringup.recording import Plans, Recording, Series
from demo_control.report.run_plot import PlottedRun, write_run_plot
from demo_control.tasks import Array, Task


def series(values: Array) -> Series:
    return Series(0.1 * np.arange(len(values)), np.arange(len(values)), values)


def recording(length: int, num_plans: int) -> Recording:
    generator = np.random.default_rng(length)
    times = 0.1 * np.arange(num_plans)
    plans = Plans(
        times_s=times,
        plan_times_s=generator.uniform(0.002, 0.004, num_plans),
        plan_ages_s=generator.uniform(0.003, 0.005, num_plans),
        nominal_costs=generator.uniform(10.0, 1000.0, num_plans),
        plan_costs=generator.uniform(1.0, 10.0, num_plans),
        accepted=np.ones(num_plans, bool),
        overruns=np.zeros(num_plans, int),
        path_lengths=np.cumsum(generator.uniform(0.0, 1.0, num_plans)),
        regrets=-np.cumsum(generator.uniform(0.0, 5.0, num_plans)),
    )
    return Recording(
        true_observations=series(generator.normal(size=(length, 2))),
        nominal_actions=series(generator.normal(size=(length, 1))),
        commands=series(generator.normal(size=(length, 1))),
        applied_actions=series(generator.normal(size=(length, 1))),
        plans=plans,
        sources=("demo_layer",) * length,
        command_ages_s=generator.uniform(0.001, 0.002, length),
    )


@pytest.mark.parametrize(("length", "num_plans"), [(60, 59), (60, 0), (2, 1)])
def test_a_page_is_drawn(linear_task: Task, tmp_path: Path, length: int, num_plans: int) -> None:
    runs = [
        PlottedRun("policy alone", recording(length, 0), np.zeros(length - 1)),
        PlottedRun("policy + DeMo Layer", recording(length, num_plans), np.ones(length - 1)),
    ]
    write_run_plot(tmp_path / "page.png", linear_task, runs, "integrator")
    picture = Image.open(tmp_path / "page.png")
    assert min(picture.size) > 500
    assert len(np.unique(np.asarray(picture.convert("L")))) > 50
    assert [path.name for path in tmp_path.iterdir()] == ["page.png"]
