"""What a search for sizes of plans found: for programs, and as a parameter file."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata

import yaml

from demo_control.configuration import Scalar
from demo_control.machine import processor_name, usable_cores
from demo_control.tuning.records import Measurement, Tuned, TuningGoal

NODE = "demo_layer_node"
_DISTRIBUTION = "demo-stack"
_WIDTH = 110


@dataclass(frozen=True)
class TuningReport:
    """A search and its outcome.

    Attributes:
        task: The task's name.
        goal: What had to hold.
        tuned: What was found.
        overrides: Settings other than the task's own, which were measured and belong to the proposal.
        engine: What 'auto' would take, and why.
    """

    task: str
    goal: TuningGoal
    tuned: Tuned
    overrides: Mapping[str, Scalar]
    engine: str

    def as_mapping(self) -> dict[str, object]:
        """All of it, for JSON."""
        goal, tuned = self.goal, self.tuned
        return {
            "task": self.task,
            "period_ms": goal.period_ms,
            "share": goal.share,
            "deadline_ms": 1e3 * goal.deadline_s,
            "quantile": goal.quantile,
            "holds": tuned.proposal is not None,
            "proposal": None if tuned.proposal is None else _figures(tuned.proposal),
            "fastest": _figures(tuned.fastest),
            "measured": [_figures(measurement) for measurement in tuned.measured],
            "settings": dict(self.overrides),
            "engine": self.engine,
            "processor": processor_name(),
            "cores": usable_cores(),
        }

    def parameters(self) -> dict[str, Scalar]:
        """The proposal as parameters of the layer's node.

        Raises:
            ValueError: Nothing was found.
        """
        if self.tuned.proposal is None:
            raise ValueError("no proposal: nothing keeps to the deadline")
        found = self.tuned.proposal.candidate
        sizes = {"horizon": found.horizon, "num_samples": found.num_samples}
        return {**self.overrides, **sizes, "engine": found.engine, "engine_threads": found.threads}

    def parameter_file(self) -> str:
        """The proposal as a ROS parameter file that says how it was found.

        Raises:
            ValueError: Nothing was found.
        """
        parameters, proposal = self.parameters(), self.tuned.proposal
        assert proposal is not None
        told = (
            f"For {self.task}, from 'democtl tune {self.task} --period-ms {self.goal.period_ms:g}' "
            f"({_DISTRIBUTION} {_version()}).",
            f"A plan may take {1e3 * self.goal.deadline_s:.4g} ms, {self.goal.share:.0%} of the period. Measured were "
            f"{proposal.plans} whole plans with rests between them: {told_quantile(self.goal.quantile)} "
            f"{1e3 * proposal.quantile_s:.2f} ms, median {1e3 * proposal.median_s:.2f} ms, longest "
            f"{1e3 * proposal.longest_s:.2f} ms.",
            f"On {processor_name()}, {usable_cores()} cores ({self.engine}). Another machine, or more work "
            "beside the planner, needs another measurement.",
            "democtl launch … --parameters FILE, or ros2 launch … parameters:=FILE.",
        )
        comment = [f"# {line}" for text in told for line in textwrap.wrap(text, _WIDTH)]
        section = yaml.safe_dump({NODE: {"ros__parameters": parameters}}, sort_keys=False, default_flow_style=False)
        return "\n".join(comment) + "\n" + section


def told_quantile(quantile: float) -> str:
    """'p99', 'p99.9'."""
    return f"p{100 * quantile:g}"


def _version() -> str:
    try:
        return metadata.version(_DISTRIBUTION)
    except metadata.PackageNotFoundError:  # a source tree that is not installed, or built by colcon
        return "from source"


def _figures(measurement: Measurement) -> dict[str, object]:
    candidate = measurement.candidate
    return {
        "engine": candidate.engine,
        "engine_threads": candidate.threads,
        "horizon": candidate.horizon,
        "num_samples": candidate.num_samples,
        "plans": measurement.plans,
        "p50_ms": 1e3 * measurement.median_s,
        "quantile_ms": 1e3 * measurement.quantile_s,
        "max_ms": 1e3 * measurement.longest_s,
    }
