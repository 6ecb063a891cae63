"""What corrections were worth: the gain that the model predicted beside the one that came of it.

An estimate from one run, off the policy: what the policy alone would have cost there was never observed. It is the
model's prediction of it, less the model's bias where that can be seen, namely where the policy alone acted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from demo_control.bags.blocks import Blocks
from demo_control.bags.layer_runs import LayerRun, State
from demo_control.bags.layer_tables import FIGURES, Plans
from demo_control.bags.model_error import rank_correlation
from demo_control.bags.stretches import Integers, Mask, Stretch, effect_ticks, planning_observations
from demo_control.layer import LayerSettings
from demo_control.tasks import Array, Task

_LEAST_FOR_BIAS = 20
_LATEST_PLAN_NS = 10 * 10**9


def correction_value(
    task: Task, runs: Sequence[LayerRun], stretches: Iterable[Stretch], blocks: Blocks
) -> dict[str, object]:
    """Compare predicted gains with what was realised over the same horizon.

    Args:
        task: The robot's.
        runs: Of the layer, with what it told of its plans.
        stretches: Of the recording.
        blocks: Told of every gain.

    Returns:
        Ready for JSON; None where nothing can be said.
    """
    found = [part for run in runs for stretch in stretches for part in _judged(task, run, stretch)]
    nothing = np.zeros((0, len(_COLUMNS)))
    table = np.concatenate([nothing, *(rows for rows, _ in found)])
    stamps = np.concatenate([np.zeros(0, np.int64), *(times for _, times in found)])
    finite = np.isfinite(table).all(axis=1)
    table, stamps = table[finite], stamps[finite]
    nominal, gain, realised, accepted, alone = table.T
    alone_rows, followed = alone > 0.0, accepted > 0.0
    bias = float((nominal - realised)[alone_rows].mean()) if alone_rows.sum() >= _LEAST_FOR_BIAS else None
    came = nominal - (bias or 0.0) - realised
    blocks.add("correction_gain", stamps[followed], came[followed])
    count = int(followed.sum())
    return {
        "plans": len(table),
        "followed": count,
        "policy_alone": int(alone_rows.sum()),
        "bias": bias,
        "predicted_gain_mean": float(gain[followed].mean()) if count else None,
        "realised_gain_mean": float(came[followed].mean()) if count else None,
        "gain_came_true": float((came[followed] > 0.0).mean()) if count else None,
        "correlation": rank_correlation(gain[followed], came[followed]),
        "cost_correlation": rank_correlation((nominal - gain)[followed], realised[followed]),
    }


_COLUMNS = ("nominal", "gain", "realised", "accepted", "alone")


def _judged(task: Task, run: LayerRun, stretch: Stretch) -> list[tuple[Array, Integers]]:
    """Plans whose whole horizon is in a stretch, by the state of the layer they were made under: rows, and stamps."""
    plans = run.plans
    places = np.fromiter(plans.places.values(), np.int64, len(plans))
    places = places[np.argsort(plans.table.numbers.numbers()[places])] if len(places) else places
    if not len(places):
        return []
    numbers, sequences = plans.table.numbers.numbers()[places], plans.table.sequences.numbers()[places]
    figures = _figures(plans, places)
    parts = []
    limits = [*(state.plans for state in run.states[1:]), int(numbers[-1]) + 1]
    first = 0
    for state, last in zip(run.states, limits, strict=True):
        settings = LayerSettings.from_mapping(state.settings, source="the recording's layer_state")
        span = (_delay(task, settings) + settings.horizon) * task.decision_ticks
        starts = sequences - stretch.first_sequence
        stamps = stretch.first_ns + np.round(starts * task.control_period_s * 1e9).astype(np.int64)
        age = plans.table.stamps_ns.numbers()[places] - stamps
        # A driver that began anew counts from 0 again: the stamps tell the two apart.
        here = (numbers > first) & (numbers <= last) & (starts >= 0) & (starts + span < len(stretch))
        here &= (age >= 0) & (age < _LATEST_PLAN_NS)
        first = last
        if here.any():
            realised = _realised(task, state, settings, stretch, starts[here])
            alone = _policy_alone(sequences, np.asarray(figures[:, 2] > 0.0), span, settings.maximum_plan_age_ticks)
            rows = np.stack([*figures[here, :2].T, realised, figures[here, 2], alone[here]], axis=1)
            parts.append((rows, stamps[here]))
    return parts


def _figures(plans: Plans, places: Integers) -> Array:
    """Nominal cost, gain of what was followed, and whether anything was. Shape=(count, 3)."""
    rows = plans.table.figures.take(places)
    at = {name: index for index, name in enumerate(FIGURES)}
    share = np.nan_to_num(rows[:, at["followed_share"]], nan=1.0) * (rows[:, at["accepted"]] > 0.0)
    with np.errstate(invalid="ignore"):
        gain = np.where(share > 0.0, share * rows[:, at["predicted_gain"]], 0.0)
    return np.stack([rows[:, at["nominal_cost"]], gain, share > 0.0], axis=1)


def _delay(task: Task, settings: LayerSettings) -> int:
    """Steps that are rolled out before a plan begins."""
    return settings.command_delay_ticks + task.planning_problem.unmodelled_ticks


def _realised(task: Task, state: State, settings: LayerSettings, stretch: Stretch, starts: Integers) -> Array:
    """Cost, as a plan's is reckoned, of what was observed and carried out in its place. Shape=(len(starts),)."""
    problem, horizon = task.planning_problem, settings.horizon
    rows = starts[:, None] + task.decision_ticks * (_delay(task, settings) + np.arange(horizon + 1))
    # After the last state no action follows: it counts as zero.
    controls = np.zeros((*rows.shape, problem.action_dim))
    controls[:, :-1] = stretch.controls[rows[:, :-1] + effect_ticks(task, stretch)]
    observations = planning_observations(task, stretch.observations[rows], stretch.controls[rows])
    weights = np.array([state.cost_weights.get(term.name, term.weight) for term in problem.cost_terms])
    steps = np.power(settings.discount, np.arange(horizon + 1))
    steps[-1] *= settings.terminal_weight
    with np.errstate(over="ignore", invalid="ignore"):
        costs = problem.stage_costs(observations, controls) * problem.cost_counts(horizon + 1)
        return np.asarray(np.einsum("rht,h,t->r", costs, steps, weights))


def _policy_alone(sequences: Integers, followed: Mask, span: int, maximum_age: int) -> Array:
    """Whether no plan is followed from a plan's start to its horizon's end; 1 or 0. Shape=(len(sequences),)."""
    followed_at = np.sort(sequences[followed])
    before = np.searchsorted(followed_at, sequences - maximum_age, side="left")
    after = np.searchsorted(followed_at, sequences + span, side="right")
    return np.asarray(before == after, float)
