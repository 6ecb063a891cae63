"""When things happened on the robot: ages, jitter, overruns, losses."""

from __future__ import annotations

import numpy as np

from demo_control.bags.blocks import Blocks
from demo_control.bags.layer_runs import LayerLog, LayerRun
from demo_control.bags.layer_tables import FIGURES, Plans
from demo_control.bags.stretches import Integers
from demo_control.tasks import Array, Task

_MILLISECOND_NS = 1e6
_SECOND_NS = 1e9
_P99 = 99.0
_LATEST_S = 1.0
"""How much later than due a command may be heard; where it is more, the clock was set, or nobody was in control."""
_WITHOUT_PLAN = (":no_plan", ":stale_plan")
"""How the sources of commands end that had to do without a plan, though nobody had switched the layer off."""


def timing(task: Task, log: LayerLog, blocks: Blocks) -> dict[str, object]:
    """Figures in milliseconds of the robot's clock, and counts.

    Args:
        task: Gives the control period.
        log: The recording.
        blocks: Told of ages, overruns, fallbacks and losses.

    Returns:
        Ready for JSON.
    """
    period_ms = task.control_period_s * 1e3
    table = log.runs[0].commands.table
    commands = [run.commands for run in log.runs]
    stamps = np.concatenate([c.stamps_ns for c in commands])
    ages = np.concatenate([c.stamps_ns - c.observation_stamps_ns for c in commands]) / _MILLISECOND_NS
    periods = np.concatenate([np.diff(c.stamps_ns) for c in commands]) / _MILLISECOND_NS
    plans = np.concatenate([run.plans.figures() for run in log.runs])
    plan_age_ms, plan_ms = plans[:, FIGURES.index("plan_age_s")] * 1e3, plans[:, FIGURES.index("plan_time_s")] * 1e3
    lost = np.maximum(np.diff(log.observations.sequences.numbers()[slice(*log.commanded())]) - 1.0, 0.0)
    unanswered = sum(_missing(c.sequences) for c in commands)
    blocks.add_percentile("command_age_p99_ms", stamps, ages, _P99)
    plan_stamps = np.concatenate([_plan_stamps(run.plans) for run in log.runs])
    blocks.add_percentile("plan_age_p99_ms", plan_stamps, plan_age_ms, _P99)
    overruns = np.concatenate([_overruns(run) for run in log.runs])
    blocks.add("overruns", plan_stamps, overruns)
    fallback = np.array([text.endswith(_WITHOUT_PLAN) for text in table.sources.texts], float)
    blocks.add("fallbacks", table.stamps_ns.numbers(), fallback[table.sources.codes()])
    blocks.add("observations_lost", log.observations.stamps_ns.numbers()[slice(*log.commanded())][1:], lost, 1.0 + lost)
    return {
        "control_period_ms": period_ms,
        "observation_period_ms": _spread(_periods(log)),
        "command_period_ms": _spread(periods),
        "command_jitter_ms": _spread(np.abs(periods - period_ms)),
        "command_age_ms": _spread(ages),
        "commands_older_than_a_period": int((ages > period_ms).sum()),
        "applied_age_ms": _spread(_applied_ages(log)),
        "plan_ms": _spread(plan_ms),
        "plan_age_ms": _spread(plan_age_ms),
        "plans_older_than_their_effect": _late_plans(task, plan_age_ms),
        "observations_lost": int(lost.sum()),
        "observations_not_answered": unanswered,
        "overruns": int(overruns.sum()),
    }


def recorded_time(task: Task, log: LayerLog) -> tuple[float, list[str]]:
    """How long there were commands, in seconds, and what is odd about the recorder's clock.

    Its steps count, but for those that cannot be: there, the observations' numbers say how much time went by.
    """
    pieces = [_steps(task, log, run) for run in log.runs]
    steps_s, due_s = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    if len(steps_s) and not steps_s.any():
        return float(due_s.sum()), ["the recorder's clock stands still: recorded_s is by the observations' numbers"]
    odd = (steps_s < 0.0) | (steps_s > due_s + _LATEST_S)
    warnings = []
    if odd.any():
        farthest_s = float(np.abs(steps_s - due_s)[odd].max())
        warnings.append(
            f"the recorder's clock jumps {odd.sum()} times, by up to {farthest_s:.6g} s, or nobody was in control "
            "meanwhile: recorded_s is by the observations' numbers there"
        )
    return float(np.where(odd, due_s, steps_s).sum()), warnings


def _steps(task: Task, log: LayerLog, run: LayerRun) -> tuple[Array, Array]:
    """From each command to the next, by the recorder's clock, and by the observations that they answer, s."""
    # Numbers without a checksum may be any; that more are missing than there are is not believed.
    passed = np.clip(np.diff(run.commands.sequences), 1, max(len(log.observations), len(run.commands)))
    return np.diff(run.commands.log_times_ns) / _SECOND_NS, passed * task.control_period_s


def _spread(values: Array) -> dict[str, float | None]:
    values = values[np.isfinite(values)]
    if not len(values):
        return {"p50": None, "p99": None, "max": None}
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50": float(p50), "p99": float(p99), "max": float(values.max())}


def _missing(sequences: Integers) -> int:
    """Numbers that were passed over; a driver that counts anew passes over none."""
    return int(np.maximum(np.diff(sequences) - 1, 0).sum())


def _periods(log: LayerLog) -> Array:
    """Between observations that follow one another, ms."""
    piece, observations = slice(*log.commanded()), log.observations
    sequences, stamps = observations.sequences.numbers()[piece], observations.stamps_ns.numbers()[piece]
    return np.asarray(np.diff(stamps)[np.diff(sequences) == 1] / _MILLISECOND_NS)


def _applied_ages(log: LayerLog) -> Array:
    """From an observation to what answers it being carried out, ms."""
    table = log.applied
    if not len(table):
        return np.zeros(0)
    own = np.array([text.startswith("driver:") for text in table.sources.texts])[table.sources.codes()]
    return np.asarray((table.stamps_ns.numbers() - table.values.stamps_ns.numbers())[~own] / _MILLISECOND_NS)


def _plan_stamps(plans: Plans) -> Integers:
    places = np.fromiter(plans.places.values(), np.int64, len(plans))
    return plans.table.stamps_ns.numbers()[places]


def _late_plans(task: Task, ages_ms: Array) -> int:
    """Plans that were ready only after the control period in which they should have begun."""
    return int((ages_ms > task.planning_problem.planning_ticks * task.control_period_s * 1e3).sum())


def _overruns(run: LayerRun) -> Array:
    """Overruns since the plan before; the layer counts them from each activation on. Shape=(count,)."""
    totals = np.nan_to_num(run.plans.figures()[:, FIGURES.index("overruns")])
    # What had overrun before somebody began to record is not of this recording.
    before = totals[:1] if not run.from_start else np.zeros(1)
    return np.asarray(np.maximum(np.diff(totals, prepend=before), 0.0))
