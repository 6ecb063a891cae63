"""What was said on the topics during a run, as arrays; knows messages by their fields only, not rclpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from demo_control.tasks import Array

_SECOND_NS = 1e9


@dataclass(frozen=True)
class Series:
    """Vectors in time.

    Attributes:
        times_s: Stamps, from the first true observation on. Shape=(length,).
        sequences: Number of the observation that each is or answers. Shape=(length,).
        values: Shape=(length, dimension).
    """

    times_s: Array
    sequences: npt.NDArray[np.int64]
    values: Array

    def __len__(self) -> int:
        """Number of vectors."""
        return len(self.times_s)

    def at(self, times_s: Array) -> Array:
        """The vectors in force at some times: the last that is not later; NaN before the first.

        Args:
            times_s: Shape=(num_times,).

        Returns:
            Shape=(num_times, dimension).
        """
        index = np.searchsorted(self.times_s, times_s, side="right") - 1
        found: Array = np.where(index[:, None] >= 0, self.values[np.maximum(index, 0)], np.nan)
        return found


@dataclass(frozen=True)
class Plans:
    """What the planner said of its plans, one entry per plan; Shape=(num_plans,) each.

    Attributes:
        times_s: When the plan was ready, from the first true observation on.
        plan_times_s: Wall time of planning.
        plan_ages_s: From the observation's stamp to the plan being ready.
        nominal_costs: Predicted cost of the policy's own sequence.
        plan_costs: Predicted cost of the plan.
        accepted: Whether it was used.
        overruns: Plans that could not be started in time, up to then.
        path_lengths: How far the search moved from what its shift model proposed, summed up to then.
        regrets: Plan costs minus those of the best fixed rule in hindsight, summed up to then.
    """

    times_s: Array
    plan_times_s: Array
    plan_ages_s: Array
    nominal_costs: Array
    plan_costs: Array
    accepted: npt.NDArray[np.bool_]
    overruns: npt.NDArray[np.int64]
    path_lengths: Array
    regrets: Array

    def __len__(self) -> int:
        """Number of plans."""
        return len(self.times_s)


@dataclass(frozen=True)
class Recording:
    """A whole run.

    Attributes:
        true_observations: The true states in the observation's coordinates.
        nominal_actions: The policy's actions; the commands themselves where no layer runs.
        commands: What was sent to the driver.
        applied_actions: What the driver really applied.
        plans: All plans.
        sources: Who made each command, and why it was not corrected; as long as ``commands``.
        command_ages_s: From the observation's stamp to the command being made. Shape=(len(commands),).
    """

    true_observations: Series
    nominal_actions: Series
    commands: Series
    applied_actions: Series
    plans: Plans
    sources: tuple[str, ...]
    command_ages_s: Array


def make_recording(
    ground_truth: Sequence[Any],
    nominal_actions: Sequence[Any],
    commands: Sequence[Any],
    applied_actions: Sequence[Any],
    statuses: Sequence[Any],
) -> Recording:
    """Turn messages into arrays; the order of arrival does not matter.

    Args:
        ground_truth: Observation messages of the true state.
        nominal_actions: Action messages of the policy.
        commands: Action messages to the driver.
        applied_actions: Action messages of the driver.
        statuses: PlannerStatus messages.
    """
    # While the plant is held, its first state may be told more than once: the run starts with the last telling.
    truth = list({message.sequence: message for message in sorted(ground_truth, key=_stamp_ns)}.values())
    start_ns = _stamp_ns(truth[0]) if truth else 0
    commands = sorted(commands, key=_stamp_ns)
    return Recording(
        true_observations=_series(truth, start_ns, "sequence"),
        nominal_actions=_series(nominal_actions, start_ns, "observation_sequence"),
        commands=_series(commands, start_ns, "observation_sequence"),
        applied_actions=_series(applied_actions, start_ns, "observation_sequence"),
        plans=_plans(statuses, start_ns),
        sources=tuple(message.source for message in commands),
        command_ages_s=_floats([(_stamp_ns(m) - _nanoseconds(m.observation_stamp)) / _SECOND_NS for m in commands]),
    )


def _series(messages: Sequence[Any], start_ns: int, sequence_field: str) -> Series:
    """Messages with values, in the order of their stamps; odd lengths are left out."""
    ordered = sorted(messages, key=_stamp_ns)
    length = len(ordered[0].values) if ordered else 0
    ordered = [message for message in ordered if len(message.values) == length]
    return Series(
        times_s=_floats([(_stamp_ns(message) - start_ns) / _SECOND_NS for message in ordered]),
        sequences=np.array([getattr(message, sequence_field) for message in ordered], np.int64),
        values=np.array([message.values for message in ordered], np.float64).reshape(len(ordered), length),
    )


def _plans(statuses: Sequence[Any], start_ns: int) -> Plans:
    ordered = sorted(statuses, key=_stamp_ns)
    return Plans(
        times_s=_floats([(_stamp_ns(s) - start_ns) / _SECOND_NS for s in ordered]),
        plan_times_s=_floats([s.plan_time_s for s in ordered]),
        plan_ages_s=_floats([s.plan_age_s for s in ordered]),
        nominal_costs=_floats([s.nominal_cost for s in ordered]),
        plan_costs=_floats([s.plan_cost for s in ordered]),
        accepted=np.array([s.accepted for s in ordered], np.bool_),
        overruns=np.array([s.overruns for s in ordered], np.int64),
        path_lengths=_floats([s.path_length for s in ordered]),
        regrets=_floats([s.regret for s in ordered]),
    )


def _floats(values: Sequence[float]) -> Array:
    return np.array(values, np.float64)


def _stamp_ns(message: Any) -> int:  # noqa: ANN401 - any message with a header
    return _nanoseconds(message.header.stamp)


def _nanoseconds(stamp: Any) -> int:  # noqa: ANN401 - builtin_interfaces/Time
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
