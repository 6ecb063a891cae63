"""What the layer heard and said in a recording, one run of the layer after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from demo_control.bags.layer_tables import Commands, CommandTable, Keyed, Plans, PlanTable
from demo_control.bags.stretches import Integers


@dataclass(frozen=True)
class State:
    """A message of ``layer_state``, understood."""

    stamp_ns: int
    activation: int
    commands: int
    plans: int
    task: str
    bundle_sha256: str
    bundle_directory: str
    seed: int
    engine: str
    settings: Mapping[str, Any]
    cost_weights: Mapping[str, float]


@dataclass
class LayerRun:
    """What happened between one activation of the layer and the next.

    Attributes:
        states: What its answers depended on, the first from its start on.
        commands: In the order of being made.
        plans: By number.
        from_start: Whether the first command that was made is here.
    """

    states: list[State]
    commands: Commands
    plans: Plans
    from_start: bool = True


@dataclass
class LayerLog:
    """All of it.

    Attributes:
        runs: One for each activation that was heard of, and that commanded something.
        observations: Shape=(observation_dim,) each.
        nominal: Shape=(action_dim,) each.
        applied: What the driver really carried out; empty where it was not recorded.
        result: What the driver told at the end of the run; empty where it did not.
        warnings: What is missing or odd, one line each.
        namespace: In which the robot's topics were, '' for none.
    """

    runs: list[LayerRun]
    observations: Keyed
    nominal: Keyed
    applied: CommandTable
    result: Mapping[str, Any]
    warnings: list[str]
    namespace: str = ""

    def carried_out(self, action_dim: int) -> CommandTable | None:
        """What the driver told to have carried out, None where it did not, or told of other vectors."""
        return self.applied if len(self.applied) and self.applied.values.rows.width == action_dim else None

    def commanded(self) -> tuple[int, int]:
        """Places of the first observation that was answered and of the one after the last.

        Before, the robot is held while the other nodes load, and afterwards nobody is in control.
        """
        observations = self.observations
        ends = [(run.commands[0].key, run.commands[-1].key) for run in self.runs]
        known = [index for keys in ends for key in keys if (index := observations.index(key)) >= 0]
        return (min(known), min(max(known) + 2, len(observations))) if known else (0, len(observations))


def runs_of(commands: CommandTable, plans: PlanTable, states: list[State], first_sequence: int) -> list[LayerRun]:
    """Put everything into the run of the layer that it is of.

    Args:
        commands: At least one.
        plans: What was told of.
        states: At least one, in the order of being heard.
        first_sequence: The publisher's count of the first command.
    """
    groups = _activations(states)
    starts = [group[0].stamp_ns for group in groups]
    homes, homes_of_plans = _homes(commands, plans, starts)
    numbered: list[dict[int, int]] = [{} for _ in groups]
    for place, home in enumerate(homes_of_plans.tolist()):
        numbered[home][plans.numbers[place]] = place
    runs = [
        LayerRun(group, Commands(commands, np.flatnonzero(homes == index)), Plans(plans, numbered[index]))
        for index, group in enumerate(groups)
    ]
    first = next(run for run in runs if run.commands)
    # A publisher counts from 1 on; what was said before the recorder listened is missing.
    first.from_start = first_sequence == 1 or first is not runs[0]
    for run in runs:
        run.from_start = run.from_start and run.states[0].commands == 0
    return [run for run in runs if run.commands]


def _homes(commands: CommandTable, plans: PlanTable, starts: list[int]) -> tuple[Integers, Integers]:
    """Which activation each command and each plan is of, by their stamps.

    Where a clock was set back stamps do not say it. Then the layer's counts do, which begin anew with each activation.
    """
    last = len(starts) - 1
    stamps, plan_stamps = commands.stamps_ns.numbers(), plans.stamps_ns.numbers()
    made, told = commands.plans.numbers(), plans.numbers.numbers()
    ordered = sorted(starts) == starts
    if last and not (ordered and (np.diff(stamps) >= 0).all() and (np.diff(plan_stamps) >= 0).all()):
        counted = [np.cumsum(np.concatenate([[0], begins])) for begins in (np.diff(made) < 0, np.diff(told) <= 0)]
        if len(told) and all(homes[-1] == last for homes in counted):
            return counted[0], counted[1]
    if not ordered:
        return np.full(len(stamps), last), np.full(len(plan_stamps), last)
    # Where simulated time stands still, a plan of the run before may have the next one's first stamp.
    begun = np.asarray(starts)
    homes = [np.searchsorted(begun, times, side="right") - 1 for times in (stamps, plan_stamps - (told > 1))]
    return np.maximum(homes[0], 0), np.maximum(homes[1], 0)


def _activations(states: list[State]) -> list[list[State]]:
    """The states of each activation."""
    groups: list[list[State]] = []
    for state in states:
        before = groups[-1][-1] if groups else None
        counts = (state.commands, state.plans)
        # A node that was started anew counts its activations anew; where nothing was made yet, nothing is forgotten.
        if (
            before is None
            or state.activation != before.activation
            or counts == (0, 0)
            or counts < (before.commands, before.plans)
        ):
            groups.append([])
        groups[-1].append(state)
    return groups
