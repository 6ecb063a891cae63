"""What a recording holds that people want to see, as arrays over one time line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from demo_control.recorded_run import Motion, RecordedRun
from demo_control.tasks import Array


@dataclass(frozen=True)
class Series:
    """Vectors in time.

    Attributes:
        times_s: Since the first command, rising. Shape=(length,).
        values: Shape=(length, dimension).
    """

    times_s: Array
    values: Array

    def __len__(self) -> int:
        """Number of vectors."""
        return len(self.times_s)


@dataclass(frozen=True)
class Span:
    """Something that lasted; ``name`` is its kind, from the recording."""

    start_s: float
    end_s: float
    name: str


@dataclass(frozen=True)
class PlanTable:
    """What was told of the plans, one row each.

    Attributes:
        times_s: When they were ready. Shape=(num_plans,).
        starts_s: Of the observations that they start from. Shape=(num_plans,).
        figures: By the names of PlannerStatus's fields. Shape=(num_plans,) each.
        accepted: Shape=(num_plans,).
        reasons: Why one was rejected; '' otherwise.
        terms: Names of the cost terms.
        nominal_costs: Following the policy. Shape=(num_plans, num_terms).
        plan_costs: Following the plan. Shape=(num_plans, num_terms).
    """

    times_s: Array
    starts_s: Array
    figures: Mapping[str, Array]
    accepted: npt.NDArray[np.bool_]
    reasons: tuple[str, ...]
    terms: tuple[str, ...]
    nominal_costs: Array
    plan_costs: Array

    def __len__(self) -> int:
        """Number of plans."""
        return len(self.times_s)


@dataclass
class BagContents:
    """See the module.

    Attributes:
        observations: As the robot reported them.
        truth: The true ones, where a simulator told them.
        nominal: The policy's actions.
        commands: What was sent to the driver.
        applied: What the driver carried out.
        command_ages_s: From the observation to the command. Shape=(len(commands),).
        uncorrected: When commands passed through unchanged, by the reason.
        plans: All plans.
        settings: Of the layer, as they were last; weights of the cost terms as ``cost_weight_<term>``.
        changes: When the layer was activated, and when settings or bundle were changed.
        states: What the robot was doing, where it tells.
        pushes: Forces in newtons, as text.
        motion: Joints and base, or None.
        result: The driver's own verdict.
        description: The robot's URDF, or ''.
        parameters: Of the nodes, by node and name.
        warnings: What could not be used, one line each.
    """

    observations: Series
    truth: Series
    nominal: Series
    commands: Series
    applied: Series
    command_ages_s: Array
    uncorrected: tuple[Span, ...]
    plans: PlanTable
    settings: Mapping[str, Any]
    changes: tuple[Span, ...]
    states: tuple[Span, ...]
    pushes: tuple[Span, ...]
    motion: Motion | None
    result: Mapping[str, Any]
    description: str
    parameters: Mapping[str, Mapping[str, object]]
    warnings: tuple[str, ...]

    @property
    def span_s(self) -> tuple[float, float]:
        """From just before the first command, or else the first observation, to the last of both."""
        shown = [series for series in (self.observations, self.truth, self.commands) if len(series)]
        if not shown:
            return 0.0, 1.0
        start = -0.3 if len(self.commands) else min(float(series.times_s[0]) for series in shown)
        return start, max([start + 0.1, *(float(series.times_s[-1]) for series in shown)])

    def run(self, label: str) -> RecordedRun | None:
        """For pictures: from the first command on; None where nothing was observed."""
        seen = self.truth if len(self.truth) else self.observations
        rows = seen.times_s >= 0.0
        if not rows.any():
            return None
        return RecordedRun(label, seen.times_s[rows], seen.values[rows], self.motion, self.parameters)


def bag_name(path: Path) -> str:
    """How a bag is called on a page."""
    return path.resolve().stem if path.suffix == ".mcap" else path.resolve().name
