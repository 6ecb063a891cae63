"""The outcome of a run: figures for people and for JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from demo_control.bringup.description import BringUp
from demo_control.bringup.recording import Recording
from demo_control.tasks import Array, Task
from demo_control.texts import finite_only

_MILLISECONDS = 1000.0
REFUSED = "; refused: "
"""In what a node's process was granted, before what it was not."""


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes:
        bringup: What was run.
        task: What was judged.
        recording: What was said on the topics.
        exit_codes: Exit code by node.
        wall_time_s: From the first to the last command, in wall time.
        figures: The driver's own, which count where the task has the same ones.
        cores: Mean use of the processor by process, this one included.
        recorder: What the recorder said last of its health; '' where nothing is recorded.
        real_time: What each node's process was granted by Linux, and what it was refused.
    """

    bringup: BringUp
    task: Task
    recording: Recording
    exit_codes: Mapping[str, int | None]
    wall_time_s: float
    figures: Mapping[str, object] = field(default_factory=dict)
    cores: Mapping[str, float] = field(default_factory=dict)
    recorder: str = ""
    real_time: Mapping[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, object]:
        """All figures, ready for JSON; one that the run gave no data for, or that is not finite, is None."""
        recording, arguments = self.recording, self.bringup.arguments
        with np.errstate(over="ignore", invalid="ignore"):  # a robot may measure anything, and say so of itself
            rewards = self.rewards()
        figures: dict[str, object] = finite_only({**self.score(), **self.figures, **self._costs(rewards)})
        return {
            "bringup": self.bringup.name,
            "task": self.task.name,
            "simulator": arguments.as_mapping().get("simulator"),
            "use_layer": arguments.use_layer,
            "seed": arguments.seed,
            "real_time_factor": arguments.real_time_factor,
            **figures,
            "observations": len(recording.true_observations),
            "commands": len(recording.commands),
            "plans": len(recording.plans),
            "plan_ms": _percentiles(recording.plans.plan_times_s),
            "command_age_ms": _percentiles(recording.command_ages_s),
            "overruns": int(recording.plans.overruns.max(initial=0)),
            "fallbacks": fallbacks(recording.sources),
            "wall_time_s": self.wall_time_s,
            "processor_cores": {**self.cores, "total": round(sum(self.cores.values()), 4)} if self.cores else {},
            "composed": arguments.composed,
            "real_time": dict(self.real_time),
            "exit_codes": dict(self.exit_codes),
        }

    def _costs(self, rewards: Array) -> dict[str, float | None]:
        """Return, and mean stage cost: None where the reward is not made of stage costs, or nothing happened."""
        knows_costs = self.task.reward_function is None and len(rewards)
        cost = float((self.task.alive_reward - rewards).mean()) if knows_costs else None
        return {"return": float(rewards.sum()), "cost": cost}

    def score(self) -> dict[str, float | bool]:
        """The task's verdict on the true states; without any there is no success."""
        truth = self.recording.true_observations
        score = self.task.make_score()
        for time_s, observation in zip(truth.times_s, truth.values, strict=True):
            score.update(float(time_s), observation, False)
        verdict = score.result() if len(truth) else {"success": False}
        return {**verdict, "duration_s": float(truth.times_s[-1]) if len(truth) else 0.0}

    def rewards(self) -> Array:
        """Rewards of the true states with the actions applied to them. Shape=(num_steps,)."""
        truth, applied = self.recording.true_observations, self.recording.applied_actions
        if not len(truth) or not len(applied):
            return np.zeros(0)
        # The command of a period comes within it: what was in force at its end acted on its state.
        actions = np.nan_to_num(applied.at(truth.times_s[1:]))
        return self.task.reward(truth.values[:-1], actions)


def fallbacks(sources: tuple[str, ...]) -> dict[str, int]:
    """How often nominal actions passed through, by reason; from ``policy:reason`` in each command's source."""
    reasons = (source.partition(":")[2] for source in sources)
    return dict(sorted(Counter(reason for reason in reasons if reason).items()))


def _percentiles(seconds: Array) -> dict[str, float | None]:
    """Median and 99th percentile in milliseconds."""
    if not len(seconds):
        return {"p50": None, "p99": None}
    p50, p99 = np.percentile(seconds, [50, 99]) * _MILLISECONDS
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}
