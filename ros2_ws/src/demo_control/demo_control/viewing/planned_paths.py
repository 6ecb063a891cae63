"""Where a recording's plans would have taken the robot, as the model predicts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from demo_control.bags.evaluation import watch_plans
from demo_control.bags.prediction import Model
from demo_control.bags.reader import Bag
from demo_control.bundle import Bundle
from demo_control.layer import DemoLayer, PlanBegun
from demo_control.tasks import Array, Task


@dataclass
class _Plans:
    """Plans on one bundle."""

    bundle: Bundle
    numbers: list[int] = field(default_factory=list)
    observations: list[Array] = field(default_factory=list)
    controls: list[Array] = field(default_factory=list)


def planned_paths(bag: Bag, task: Task) -> Mapping[int, Array]:
    """Make a recording's plans again and follow each on the model.

    The members' mean, each going its own way; without what the layer had adapted of the model.

    Args:
        bag: The recording.
        task: Its robot; must have a ``planned_path``.

    Returns:
        Points by the plan's number; see :attr:`~demo_control.tasks.Task.planned_path`. Shape=(num_states, 3) each.

    Raises:
        BagError: A recording that cannot be answered again.
        BundleError: Its bundle does not fit the robot.
        ConfigurationError: A setting that cannot be.
    """
    if task.planned_path is None:
        return {}
    groups: dict[tuple[str, int], _Plans] = {}

    def watch(number: int, begun: PlanBegun, layer: DemoLayer) -> None:
        plan = layer.newest_plan
        if plan is None:
            return
        # What is on its way comes first, then the plan.
        controls = np.concatenate([begun.situations.pending[0], plan.controls])
        plans = groups.setdefault((layer.bundle.sha256, len(controls)), _Plans(layer.bundle))
        plans.numbers.append(number)
        plans.observations.append(begun.situations.observations[0])
        plans.controls.append(controls)

    watch_plans(bag, watch)
    paths: dict[int, Array] = {}
    for plans in groups.values():
        states = _followed(task.planning_problem, plans)
        paths.update(zip(plans.numbers, task.planned_path(states), strict=True))
    return paths


def _followed(problem: Task, plans: _Plans) -> Array:
    """The members' mean state at each step. Shape=(num_plans, num_controls + 1, planning_dim)."""
    model = Model(problem, plans.bundle)
    start, controls = np.array(plans.observations), np.array(plans.controls)
    states = np.broadcast_to(start, (model.members, *start.shape))
    means = [start]
    for step in range(controls.shape[1]):
        states, _ = model.predict(states, np.broadcast_to(controls[:, step], (model.members, *controls[:, step].shape)))
        means.append(states.mean(axis=0))
    return np.stack(means, axis=1)
