"""What a recording cost by the task's own terms, and the task's own verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from demo_control.bags.blocks import Blocks
from demo_control.bags.layer_runs import LayerLog
from demo_control.bags.stretches import Integers, Stretch, effect_ticks, planning_observations, starts_of
from demo_control.tasks import Array, Task

_PIECE = 4096


def task_costs(
    task: Task,
    stretches: Iterable[Stretch],
    weights: Mapping[str, float],
    horizon: int,
    blocks: Blocks,
) -> dict[str, object]:
    """Mean stage cost of what was observed and carried out, in all and by term.

    A term that counts at the end of a plan only (a distance that is to be made up over the horizon) counts its share of
    a step, so that the figure is the cost of a plan, by the step.

    Args:
        task: The robot's.
        stretches: Of the recording.
        weights: Of the cost terms, by name, as the layer had them.
        horizon: Steps of a plan.
        blocks: Told of all.

    Returns:
        Ready for JSON.
    """
    problem = task.planning_problem
    names = [term.name for term in problem.cost_terms]
    factors = np.array([weights.get(term.name, term.weight) for term in problem.cost_terms])
    factors *= [1.0 / horizon if term.counts == "end" else 1.0 for term in problem.cost_terms]
    sums, count, unknown = np.zeros(len(names)), 0, 0
    for stretch in stretches:
        observations, controls, ticks = _states(task, stretch)
        guessed = ~np.isfinite(controls).all(axis=1)
        with np.errstate(over="ignore", invalid="ignore"):
            costs = problem.stage_costs(np.nan_to_num(observations), np.nan_to_num(controls)) * factors
        good = np.isfinite(costs).all(axis=1)
        sums += costs[good].sum(axis=0)
        count += int(good.sum())
        unknown += int((guessed & good).sum())
        times = stretch.first_ns + np.round(ticks * task.control_period_s * 1e9).astype(np.int64)
        blocks.add("cost_per_second", times, costs.sum(axis=1), problem.control_period_s)
        for index, name in enumerate(names):
            blocks.add(f"cost_per_second.{name}", times, costs[:, index], problem.control_period_s)
    seconds = count * problem.control_period_s
    return {
        "cost_per_second": float(sums.sum() / seconds) if count else None,
        "cost_terms_per_second": {
            name: float(value / seconds) if count else None for name, value in zip(names, sums, strict=True)
        },
        "states": count,
        "states_with_unknown_control": unknown,
    }


def _states(task: Task, stretch: Stretch) -> tuple[Array, Array, Integers]:
    """States one step apart, what was decided in them, and their ticks; lost observations are left out."""
    effect = effect_ticks(task, stretch)
    decided = starts_of(task, stretch, 1)
    first = max(0, -effect) + (int(decided[0]) % task.decision_ticks if len(decided) and effect > 0 else 0)
    ticks = np.arange(first, len(stretch) - max(0, effect), task.decision_ticks)
    ticks = ticks[np.isfinite(stretch.observations[ticks]).all(axis=1)]
    observations = planning_observations(task, stretch.observations[ticks], np.nan_to_num(stretch.controls[ticks]))
    return observations, stretch.controls[ticks + effect], ticks


def verdict(task: Task, log: LayerLog) -> dict[str, object]:
    """What the task's score says of the recorded observations, and what the driver told at the end.

    The score judges true states; here it sees what the sensors reported, and knows of a failure only where the driver
    told of it.
    """
    told = {name: value for name, value in log.result.items() if isinstance(value, (bool, int, float, str))}
    observations = log.observations
    score, last_s, start_ns = task.make_score(), 0.0, None
    if observations.rows.width == task.observation_dim:
        first, end = log.commanded()
        for start in range(first, end, _PIECE):
            piece = slice(start, min(start + _PIECE, end))
            stamps, values = observations.stamps_ns.numbers()[piece], observations.rows.read(piece.start, piece.stop)
            for stamp_ns, row in zip(stamps.tolist(), values, strict=True):
                start_ns = stamp_ns if start_ns is None else start_ns
                time_s = (stamp_ns - start_ns) / 1e9
                # A score's times rise; after a restart the rest of the recording is another episode.
                if time_s >= last_s and np.isfinite(row).all():
                    score.update(time_s, row, failed=False)
                    last_s = time_s
    figures = score.result() if start_ns is not None else {}
    # Without the simulator nobody knows whether the robot failed: the driver's word, or none.
    figures.pop("success", None)
    return {"score": figures, "told_by_driver": told, "success": told.get("success")}
